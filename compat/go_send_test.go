package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

func TestGoSend(t *testing.T) {
	t.Parallel()
	t.Run("sync send answers with id, queue and offset", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		p := newProducer(t, tg)
		for i, res := range sendAll(t, p, topic, numbered("sync", 5)) {
			require.Equal(t, int64(i), res.QueueOffset)
			require.Equal(t, tg.BrokerName, res.MessageQueue.BrokerName)
			require.Equal(t, 0, res.MessageQueue.QueueId)
			require.Len(t, res.OffsetMsgID, 32)
			require.Equal(t, res.MsgID, res.TransactionID)
			require.Equal(t, "DefaultRegion", res.RegionID)
		}
		require.Equal(t, numbered("sync", 5), bodies(readTopic(t, tg, topic, 1, 5)))
	})

	t.Run("async send calls back", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		p := newProducer(t, tg)
		type outcome struct {
			res *primitive.SendResult
			err error
		}
		done := make(chan outcome, 20)
		for _, body := range numbered("async", 20) {
			require.NoError(t, p.SendAsync(context.Background(), func(_ context.Context, res *primitive.SendResult, err error) {
				done <- outcome{res, err}
			}, message(topic, body)))
		}
		var offsets []int64
		for range 20 {
			o := receive(t, done)
			require.NoError(t, o.err)
			offsets = append(offsets, o.res.QueueOffset)
		}
		slices.Sort(offsets)
		for i, offset := range offsets {
			require.Equal(t, int64(i), offset)
		}
	})

	t.Run("one-way send arrives unanswered", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		p := newProducer(t, tg)
		require.NoError(t, p.SendOneWay(context.Background(), message(topic, "nobody answers")))
		require.Equal(t, []string{"nobody answers"}, bodies(readTopic(t, tg, topic, 1, 1)))
	})

	t.Run("batch send stores single messages in order", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		p := newProducer(t, tg)
		var batch []*primitive.Message
		for i, body := range numbered("batch", 10) {
			batch = append(batch, message(topic, body).WithTag(fmt.Sprint("tag", i)))
		}
		res, err := p.SendSync(context.Background(), batch...)
		require.NoError(t, err)
		require.Equal(t, int64(0), res.QueueOffset)
		require.Len(t, strings.Split(res.OffsetMsgID, ","), 10)
		all := readTopic(t, tg, topic, 1, 10)
		require.Equal(t, numbered("batch", 10), bodies(all))
		for i, r := range all {
			require.Equal(t, fmt.Sprint("tag", i), r.Props["TAGS"])
			require.Equal(t, int64(i), r.QueueOffset)
		}
	})

	t.Run("messages with one sharding key stay in one queue, in order", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 4)
		p := newProducer(t, tg, producer.WithQueueSelector(producer.NewHashQueueSelector()))
		for i := range 20 {
			for _, order := range []string{"order-a", "order-b", "order-c"} {
				_, err := p.SendSync(context.Background(), message(topic, fmt.Sprintf("%s %02d", order, i)).WithShardingKey(order))
				require.NoError(t, err)
			}
		}
		seen := map[string][]string{}
		home := map[string]int32{}
		for _, r := range readTopic(t, tg, topic, 4, 60) {
			order, _, _ := strings.Cut(string(r.Body), " ")
			if _, ok := home[order]; !ok {
				home[order] = r.QueueID
			}
			require.Equal(t, home[order], r.QueueID)
			seen[order] = append(seen[order], string(r.Body))
		}
		for _, order := range []string{"order-a", "order-b", "order-c"} {
			require.Len(t, seen[order], 20)
			require.True(t, slices.IsSorted(seen[order]))
		}
	})

	t.Run("an unknown topic is made on the pattern of TBW102", func(t *testing.T) {
		tg := onShared(t)
		topic := unique("T")
		_, err := newProducer(t, tg).SendSync(context.Background(), message(topic, "first"))
		require.NoError(t, err)
		r := awaitRoute(t, tg, topic)
		require.Len(t, r.QueueDatas, 1)
		require.Equal(t, 4, r.QueueDatas[0].WriteQueueNums)
		require.Equal(t, 4, r.QueueDatas[0].ReadQueueNums)
		require.Equal(t, 6, r.QueueDatas[0].Perm)
	})

	t.Run("tags, keys and user properties travel", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		p := newProducer(t, tg)
		msg := message(topic, "属性").WithTag("TagÄ").WithKeys([]string{"k1", "k2"})
		msg.WithProperty("colour", "grün")
		_, err := p.SendSync(context.Background(), msg)
		require.NoError(t, err)
		r := readTopic(t, tg, topic, 1, 1)[0]
		require.Equal(t, "属性", string(r.Body))
		require.Equal(t, "TagÄ", r.Props["TAGS"])
		require.Equal(t, "grün", r.Props["colour"])
		require.Equal(t, "k1 k2", strings.TrimSpace(r.Props["KEYS"]))
		require.Equal(t, tg.ClusterName, r.Props["CLUSTER"])
		require.NotEmpty(t, r.Props["UNIQ_KEY"])
	})

	t.Run("a large body is compressed by the client and arrives whole", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		body := strings.Repeat("compress me ", 20_000)
		p := newProducer(t, tg)
		_, err := p.SendSync(context.Background(), message(topic, body))
		require.NoError(t, err)
		stored := readTopic(t, tg, topic, 1, 1)[0]
		require.Equal(t, int32(1), stored.SysFlag&1)
		require.Less(t, len(stored.Body), len(body))
		var got inbox
		startPush(t, tg, group, topic, got.consume)
		got.awaitBodies(t, 30*time.Second, []string{body})
	})

	t.Run("the second port takes sends", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.VIP())
		require.Equal(t, int64(0), put(t, c, topic, 0, "through the side door", ""))
		c.refused(t, resNotSupported, " request type 11 not supported", codePullMessage, pullFields(unique("G"), topic, 0, 0), nil)
	})
}

func TestGoSendWithoutAutoCreate(t *testing.T) {
	tg := onOwn(t, WithConf("autoCreateTopicEnable", "false"))
	topic := unique("T")
	p := newProducer(t, tg)
	_, err := p.SendSync(context.Background(), message(topic, "nowhere to go"))
	require.Error(t, err)

	c := connect(t, tg.Broker())
	c.refused(t, resTopicNotExist, "topic["+topic+"] not exist, apply first please!", codeSendMessage,
		sendFields(topic, 0, ""), []byte("x"))
	_, err = routeOf(tg.Namesrv(), topic)
	require.ErrorContains(t, err, "code 17")
	_, err = routeOf(tg.Namesrv(), createTable)
	require.ErrorContains(t, err, "code 17")

	require.NoError(t, createTopic(tg.Broker(), topic, 1))
	awaitRoute(t, tg, topic)
	_, err = p.SendSync(context.Background(), message(topic, "now it goes"))
	require.NoError(t, err)
}

var errTimeout = errors.New("nothing arrived")

// receive takes the next value of a channel, within ten seconds.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		require.NoError(t, errTimeout)
		panic("unreachable")
	}
}

// readTopic reads all queues from their beginning until n records are there, ordered by queue and offset. A record is
// readable a moment after its send was answered, as Apache dispatches behind the answer.
func readTopic(t testing.TB, tg *Target, topic string, queues, n int) []record {
	t.Helper()
	c := connect(t, tg.Broker())
	var all []record
	eventually(t, 20*time.Second, func() error {
		all = all[:0]
		for q := range queues {
			some, err := readQueue(c, topic, q)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		if len(all) < n {
			return fmt.Errorf("%d of %d records in %s", len(all), n, topic)
		}
		return nil
	})
	require.Len(t, all, n)
	return all
}

// readQueue pulls a queue from its first record to its end.
func readQueue(c *client, topic string, queueID int) ([]record, error) {
	var all []record
	for next := int64(0); ; {
		res, err := c.call(codePullMessage, pullFields("READ_compat", topic, queueID, next), nil)
		if err != nil {
			return nil, err
		}
		var begin int64
		if _, err := fmt.Sscan(res.Ext["nextBeginOffset"], &begin); err != nil {
			return nil, fmt.Errorf("code %d, %s: %w", res.Code, res.Remark, err)
		}
		if res.Code == resSuccess {
			some, err := decodeRecords(res.Body)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		} else if begin <= next {
			return all, nil
		}
		next = begin
	}
}
