package processor

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

func TestQueryOffset(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.store.HotBytes = 1 << 20 })
	b.topicOf("T", 2)
	b.put("T", 0, "", "first")
	ask := func(more fields) *answer {
		return b.request(codec.QueryConsumerOffset, fields{"consumerGroup": "G", "topic": "T", "queueId": "0"}.with(more), "")
	}
	require.Equal(t, &answer{Fields: fields{"offset": "0"}}, ask(nil), "young queue")
	got := ask(fields{"setZeroIfNotFound": "false"})
	require.Equal(t, &answer{Code: codec.QueryNotFound, Remark: "Not found, do not set to zero, maybe this group boot first", Fields: fields{}}, got)
	want := &answer{Code: codec.QueryNotFound, Remark: "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first", Fields: fields{}}
	require.Equal(t, want, ask(fields{"queueId": "1"}), "queue without a message")
	require.Equal(t, want, ask(fields{"queueId": "9"}))
	require.Equal(t, want, ask(fields{"topic": "none"}))
	require.Equal(t, codec.SystemError, ask(fields{"queueId": absent}).Code)
	require.Equal(t, codec.SystemError, ask(fields{"queueId": "x"}).Code)

	for range 40 { // the first message leaves the hot window
		b.putUnseen("T", 1, "", string(make([]byte, 64<<10)))
	}
	b.dispatched()
	require.Equal(t, want, ask(nil), "queue whose first message is cold")
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 0))
	require.Equal(t, "0", ask(nil).Fields["offset"])
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 77))
	require.Equal(t, "77", ask(fields{"setZeroIfNotFound": "false"}).Fields["offset"])
}

func TestUpdateOffset(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	good := fields{"consumerGroup": "G", "topic": "T", "queueId": "0", "commitOffset": "5"}
	tests := []struct {
		name   string
		change fields
		code   int32
		remark string
	}{
		{"good", nil, codec.Success, ""},
		{"lower than before", fields{"commitOffset": "3"}, codec.Success, ""},
		{"unknown group", fields{"consumerGroup": "H"}, codec.SubscriptionGroupNotExist, "Group H not exist!"},
		{"no group", fields{"consumerGroup": absent}, codec.SubscriptionGroupNotExist, "Group null not exist!"},
		{"unknown topic", fields{"topic": "U"}, codec.TopicNotExist, "Topic U not exist!"},
		{"no topic", fields{"topic": absent}, codec.TopicNotExist, "Topic null not exist!"},
		{"no queue", fields{"queueId": absent}, codec.InvalidParameter, "QueueId is null, topic is T"},
		{"no offset", fields{"commitOffset": absent}, codec.InvalidParameter, "Offset is null, topic is T"},
		{"offset is no number", fields{"commitOffset": "1.5"}, codec.InvalidParameter, "Offset is null, topic is T"},
	}
	for _, test := range tests {
		got := b.request(codec.UpdateConsumerOffset, good.with(test.change), "")
		require.Equal(t, test.code, got.Code, test.name)
		require.Equal(t, test.remark, got.Remark, test.name)
	}
	queueOffset, ok := b.offsets.Query([]byte("G"), []byte("T"), 0)
	require.True(t, ok)
	require.Equal(t, int64(3), queueOffset)
}

func TestOffsetsOfQueues(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	var times []int64
	for range 4 {
		times = append(times, b.clock.move(time.Second).UnixMilli())
		b.put("T", 0, "", "x")
	}
	ask := func(code int32, more fields) string {
		got := b.request(code, fields{"topic": "T", "queueId": "0"}.with(more), "")
		require.Equal(t, codec.Success, got.Code, got.Remark)
		return got.Fields["offset"] + got.Fields["timestamp"]
	}
	at := func(ms int64, boundary string) fields {
		return fields{"timestamp": strconv.FormatInt(ms, 10), "boundaryType": boundary}
	}
	require.Equal(t, "4", ask(codec.GetMaxOffset, nil))
	require.Equal(t, "0", ask(codec.GetMinOffset, nil))
	require.Equal(t, strconv.FormatInt(times[0], 10), ask(codec.GetEarliestMsgStoreTime, nil))
	require.Equal(t, "1", ask(codec.SearchOffsetByTimestamp, at(times[1], absent)))
	require.Equal(t, "2", ask(codec.SearchOffsetByTimestamp, at(times[1]+1, "lower")))
	require.Equal(t, "1", ask(codec.SearchOffsetByTimestamp, at(times[1]+1, "UPPER")))
	require.Equal(t, "4", ask(codec.SearchOffsetByTimestamp, at(times[3]+1, "LOWER")))
	require.Equal(t, "0", ask(codec.SearchOffsetByTimestamp, at(0, "upper")))
	for _, code := range []int32{codec.GetMaxOffset, codec.GetMinOffset, codec.GetEarliestMsgStoreTime, codec.SearchOffsetByTimestamp} {
		require.Equal(t, codec.SystemError, b.request(code, fields{"topic": "T"}, "").Code)
	}
}

func TestUpdateOffsetDoesNotAllocate(t *testing.T) {
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	req := b.requestOf(frameOf(codec.UpdateConsumerOffset, fields{"consumerGroup": "G", "topic": "T", "queueId": "0", "commitOffset": "5"}, "", 0), true)
	_, err := b.updateOffset(req)
	require.NoError(t, err)
	require.Zero(t, leastAllocs(100, func() {
		if _, err := b.updateOffset(req); err != nil {
			t.Fatal(err)
		}
	}))
}

func TestLocks(t *testing.T) {
	t.Parallel()
	l := NewLocks(discardLog())
	now := time.Unix(1000, 0)
	q := func(ids ...int32) (queues []codec.MessageQueue) {
		for _, id := range ids {
			queues = append(queues, codec.MessageQueue{Topic: "T", BrokerName: "b", QueueID: id})
		}
		return queues
	}
	require.Equal(t, q(0, 1), l.Lock("G", "c1", q(0, 1), now))
	require.Equal(t, q(2), l.Lock("G", "c2", q(1, 2), now))
	require.Equal(t, q(1), l.Lock("H", "c2", q(1), now), "another group")
	now = now.Add(60 * time.Second)
	require.Equal(t, q(0), l.Lock("G", "c1", q(0), now), "renewed at the last moment")
	require.True(t, l.HeldBy("G", now))
	now = now.Add(time.Second)
	require.Equal(t, q(1), l.Lock("G", "c2", q(0, 1), now), "queue 1 has expired, queue 0 has not")
	l.Unlock("G", "c2", q(0, 1))
	require.Equal(t, q(1), l.Lock("G", "c3", q(0, 1), now))
	l.Release("G", "c3")
	l.Sweep(now.Add(time.Hour))
	require.Zero(t, l.count)
	require.Empty(t, l.groups)
	require.False(t, l.HeldBy("G", now))
}

func TestLockRequests(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	body := func(client string) string {
		return `{"clientId":"` + client + `","consumerGroup":"G","mqSet":[{"brokerName":"broker-a","queueId":3,"topic":"T"}],"onlyThisBroker":false}`
	}
	held := `{"lockOKMQSet":[{"brokerName":"broker-a","queueId":3,"topic":"T"}]}`
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	require.Equal(t, held, string(b.request(codec.LockBatchMQ, nil, body("c1")).Body))
	require.Equal(t, `{"lockOKMQSet":[]}`, string(b.request(codec.LockBatchMQ, nil, body("c2")).Body))
	require.Equal(t, codec.Success, b.request(codec.UnlockBatchMQ, nil, body("c2")).Code)
	b.ConnClosed(newFakeConn("127.0.0.1:9"))
	require.Equal(t, `{"lockOKMQSet":[]}`, string(b.request(codec.LockBatchMQ, nil, body("c2")).Body))
	b.request(codec.UnregisterClient, fields{"clientID": "c1", "consumerGroup": "G"}, "")
	require.Equal(t, held, string(b.request(codec.LockBatchMQ, nil, body("c2")).Body), "released by leaving")
	b.TickClients(b.clock.move(61 * time.Second))
	require.Zero(t, b.locks.count)
	for _, bad := range []string{"", "{", `{"clientId":"c"}`, `{"consumerGroup":"G"}`} {
		require.Equal(t, codec.SystemError, b.request(codec.LockBatchMQ, nil, bad).Code)
		require.Equal(t, codec.SystemError, b.request(codec.UnlockBatchMQ, nil, bad).Code)
	}
}

func TestQueryMessages(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	var puts []store.PutResult
	for i := range 40 {
		m := store.Message{Topic: "T", BornHost: testHost, Body: []byte("x"),
			Properties: []byte(propText(codec.PropKeys, "all k"+strconv.Itoa(i), codec.PropUniqKey, "U"+strconv.Itoa(i)))}
		var r store.PutResult
		require.NoError(t, b.store.PutWait(&m, &r))
		puts = append(puts, r)
	}
	b.dispatched()
	count := func(head fields) int {
		got := b.request(codec.QueryMessage, fields{"topic": "T", "maxNum": "64", "beginTimestamp": "0", "endTimestamp": "9999999999999"}.with(head), "")
		if got.Code != codec.Success {
			require.Equal(t, codec.QueryNotFound, got.Code)
			require.Equal(t, "can not find message, maybe time range not correct", got.Remark)
		}
		require.Contains(t, got.Fields, "indexLastUpdateTimestamp")
		require.Contains(t, got.Fields, "indexLastUpdatePhyoffset")
		n := 0
		for body := got.Body; len(body) > 0; n++ {
			var m codec.Message
			used, err := codec.DecodeMessage(body, &m)
			require.NoError(t, err)
			body = body[used:]
		}
		return n
	}
	require.Equal(t, 1, count(fields{"key": "k7"}))
	require.Equal(t, 40, count(fields{"key": "all"}))
	require.Equal(t, 5, count(fields{"key": "all", "maxNum": "5"}))
	require.Equal(t, 1, count(fields{"key": "U3", "maxNum": "0", "_UNIQUE_KEY_QUERY": "true"}))
	require.Zero(t, count(fields{"key": "none"}))
	require.Zero(t, count(fields{"key": "all", "endTimestamp": "1"}))
	require.Equal(t, codec.SystemError, b.request(codec.QueryMessage, fields{"topic": "T"}, "").Code)

	view := func(physOffset int64) *answer {
		return b.request(codec.ViewMessageByID, fields{"offset": strconv.FormatInt(physOffset, 10)}, "")
	}
	record, err := b.store.MessageAt(puts[3].PhysOffset)
	require.NoError(t, err)
	require.Equal(t, record, view(puts[3].PhysOffset).Body)
	for _, physOffset := range []int64{-1, puts[3].PhysOffset + 7, 1 << 60} {
		got := view(physOffset)
		require.Equal(t, codec.SystemError, got.Code)
		require.Equal(t, "can not find message by the offset, "+strconv.FormatInt(physOffset, 10), got.Remark)
	}
}
