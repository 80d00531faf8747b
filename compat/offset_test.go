package compat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func commitFields(group, topic string, queueID int, queueOffset int64) map[string]string {
	return with(offsetFields(group, topic, queueID), "commitOffset", queueOffset)
}

func TestConsumerOffset(t *testing.T) {
	t.Parallel()
	t.Run("what was committed is answered, also when it went back", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		c := connect(t, tg.Broker())
		for _, offset := range []int64{5, 9, 2} {
			c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, offset), nil)
			require.Equal(t, offset, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
		}
		require.NoError(t, c.oneway(codeUpdateConsumerOffset, commitFields(group, topic, 1, 77), nil))
		eventually(t, 10*time.Second, func() error {
			res, err := c.call(codeQueryConsumerOffset, offsetFields(group, topic, 1), nil)
			if err == nil && res.Ext["offset"] != "77" {
				err = fmt.Errorf("offset %s", res.Ext["offset"])
			}
			return err
		})
	})

	t.Run("code 22 exactly when there is nothing to begin with", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "x", "")
		dispatched(t, c, topic, 0, 1)
		// The queue begins at 0 and its first record is still in memory: the group begins there.
		require.Equal(t, int64(0), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
		// Asked not to make that up.
		c.refused(t, resQueryNotFound, "Not found", codeQueryConsumerOffset, with(offsetFields(group, topic, 0), "setZeroIfNotFound", false), nil)
		require.Equal(t, int64(0), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(unique("G"), topic, 0), nil), "offset"))
		const none = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
		for _, fields := range []map[string]string{
			offsetFields(group, topic, 1), // a queue without messages
			offsetFields(group, topic, 9),
			offsetFields(group, unique("T"), 0),
		} {
			c.refused(t, resQueryNotFound, none, codeQueryConsumerOffset, fields, nil)
		}
	})

	t.Run("refused commits", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		nowhere := unique("T")
		c := connect(t, tg.Broker())
		c.refused(t, resTopicNotExist, "Topic "+nowhere+" not exist!", codeUpdateConsumerOffset, commitFields(group, nowhere, 0, 1), nil)
		c.refused(t, resInvalidParameter, "QueueId is null", codeUpdateConsumerOffset, without(commitFields(group, topic, 0, 1), "queueId"), nil)
		c.refused(t, resInvalidParameter, "Offset is null", codeUpdateConsumerOffset, without(commitFields(group, topic, 0, 1), "commitOffset"), nil)
	})
}

func TestQueueOffsets(t *testing.T) {
	t.Parallel()
	t.Run("begin, end and earliest store time", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 3) {
			put(t, c, topic, 0, body, "")
		}
		first := readTopic(t, tg, topic, 1, 3)[0]
		at := func(topic string, queueID int) map[string]string { return ext("topic", topic, "queueId", queueID) }
		require.Equal(t, int64(3), num(t, c.ok(t, codeGetMaxOffset, at(topic, 0), nil), "offset"))
		require.Equal(t, int64(0), num(t, c.ok(t, codeGetMinOffset, at(topic, 0), nil), "offset"))
		require.Equal(t, first.StoreMs, num(t, c.ok(t, codeGetEarliestStoreTime, at(topic, 0), nil), "timestamp"))
		require.Equal(t, int64(-1), num(t, c.ok(t, codeGetEarliestStoreTime, at(topic, 1), nil), "timestamp"))
		nowhere := unique("T")
		require.Equal(t, int64(0), num(t, c.ok(t, codeGetMaxOffset, at(nowhere, 0), nil), "offset"))
		require.Equal(t, int64(0), num(t, c.ok(t, codeGetMinOffset, at(nowhere, 0), nil), "offset"))
	})

	t.Run("by time, forward and back, to the millisecond", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 6) {
			put(t, c, topic, 0, body, "")
			sent := nowMs()
			eventually(t, time.Second, func() error {
				if nowMs() < sent+20 {
					return fmt.Errorf("the clock stands at %d", sent)
				}
				return nil
			})
		}
		all := readTopic(t, tg, topic, 1, 6)
		search := func(ms int64, boundary string) int64 {
			fields := ext("topic", topic, "queueId", 0, "timestamp", ms)
			if boundary != "" {
				fields["boundaryType"] = boundary
			}
			return num(t, c.ok(t, codeSearchOffset, fields, nil), "offset")
		}
		for i, r := range all {
			require.Equal(t, int64(i), search(r.StoreMs, ""), "exactly at message %d", i)
			require.Equal(t, int64(i), search(r.StoreMs, "LOWER"))
			require.Equal(t, int64(i), search(r.StoreMs-1, "LOWER"), "just before message %d", i)
			require.Equal(t, int64(i+1), search(r.StoreMs+1, "LOWER"), "just after message %d", i)
			require.Equal(t, int64(i), search(r.StoreMs, "UPPER"))
			require.Equal(t, int64(i), search(r.StoreMs+1, "UPPER"))
			require.Equal(t, int64(max(i-1, 0)), search(r.StoreMs-1, "upper"))
		}
		require.Equal(t, int64(0), search(0, ""))
		require.Equal(t, int64(6), search(nowMs()+3_600_000, ""))
		require.Equal(t, int64(0), num(t, c.ok(t, codeSearchOffset, ext("topic", topic, "queueId", 1, "timestamp", nowMs()), nil), "offset"))
	})
}

func TestResetOffset(t *testing.T) {
	t.Parallel()
	fields := func(group, topic string, timestamp int64) map[string]string {
		return ext("group", group, "topic", topic, "timestamp", timestamp, "isForce", true, "queueId", -1)
	}

	t.Run("the next pull is sent to the new offset, commits before it do not count", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 5) {
			put(t, c, topic, 0, body, "")
		}
		all := readTopic(t, tg, topic, 1, 5)
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 5), nil)
		res := c.ok(t, codeResetOffset, with(fields(group, topic, 0), "timestamp", all[0].StoreMs), nil)
		require.Contains(t, string(res.Body), fmt.Sprintf(`{"brokerName":%q,"queueId":0,"topic":%q}:0`, tg.BrokerName, topic))

		ignored := c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 4), nil)
		require.Equal(t, "Offset has been previously reset", ignored.Remark)
		require.Equal(t, int64(0), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
		moved := c.must(t, codePullMessage, pullFields(group, topic, 0, 5), nil)
		require.Equal(t, resPullOffsetMoved, moved.Code, moved.Remark)
		require.Equal(t, int64(0), num(t, moved, "nextBeginOffset"))
		require.Len(t, pulled(t, c.ok(t, codePullMessage, pullFields(group, topic, 0, 0), nil)), 5)
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 3), nil)
		require.Equal(t, int64(3), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
	})

	t.Run("to one offset of one queue", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 3) {
			put(t, c, topic, 1, body, "")
		}
		dispatched(t, c, topic, 1, 3)
		one := with(fields(group, topic, 0), "queueId", 1, "offset", 2)
		c.ok(t, codeResetOffset, one, nil)
		moved := c.must(t, codePullMessage, pullFields(group, topic, 1, 3), nil)
		require.Equal(t, resPullOffsetMoved, moved.Code)
		require.Equal(t, int64(2), num(t, moved, "nextBeginOffset"))
		c.refused(t, resSystemError, "Target offset 99 not in consume queue range [0-3]", codeResetOffset, with(one, "offset", 99), nil)
	})

	t.Run("refused", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		nowhere, nobody := unique("T"), unique("G")
		c := connect(t, tg.Broker())
		c.refused(t, resTopicNotExist, "Topic "+nowhere+" does not exist", codeResetOffset, fields(group, nowhere, -1), nil)
		c.refused(t, resGroupNotExist, "Group "+nobody+" does not exist", codeResetOffset, fields(nobody, topic, -1), nil)
	})
}

// TestResetOffsetByClient has the broker tell its consumers, as brokers before 5.0 did.
func TestResetOffsetByClient(t *testing.T) {
	tg := onOwn(t, WithConf("useServerSideResetOffset", "false"))
	topic, group := newTopic(t, tg, 1), newGroup(t, tg)
	c := connect(t, tg.Broker())
	for _, body := range numbered("m", 4) {
		put(t, c, topic, 0, body, "")
	}
	dispatched(t, c, topic, 0, 4)
	fields := ext("group", group, "topic", topic, "timestamp", 0, "isForce", true)
	c.refused(t, resSystemError, "THe consumer group <"+group+"> not exist", codeResetOffset, fields, nil)
	c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 4), nil)
	c.refused(t, resConsumerOffline, "Consumer not online, so can not reset offset, Group: "+group, codeResetOffset, fields, nil)

	c.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("id"), consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
	c.ok(t, codeResetOffset, fields, nil)
	p := awaitPush(t, c, codeResetConsumer)
	require.Equal(t, group, p.Ext["group"])
	require.Equal(t, topic, p.Ext["topic"])
	want := fmt.Sprintf(`{"offsetTable":{{"brokerName":%q,"queueId":0,"topic":%q}:0}}`, tg.BrokerName, topic)
	require.Equal(t, want, string(p.Body))

	// A client in C++ is told in another form, when the request came from one.
	res, err := c.callPacket(&packet{Code: codeResetOffset, Language: "CPP", Version: goVersion, Ext: fields}, callTimeout)
	require.NoError(t, err)
	require.Equal(t, resSuccess, res.Code, res.Remark)
	list := awaitPush(t, c, codeResetConsumer)
	require.True(t, strings.HasPrefix(string(list.Body), `{"offsetTable":[{`), "%s", list.Body)
}

// awaitPush takes requests of the server until one has the code.
func awaitPush(t testing.TB, c *client, code int) *packet {
	t.Helper()
	for {
		if p := receive(t, c.pushed); p.Code == code {
			return p
		}
	}
}
