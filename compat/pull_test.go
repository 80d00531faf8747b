package compat

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dispatched waits until n messages of a queue can be pulled.
func dispatched(t testing.TB, c *client, topic string, queueID int, n int64) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		res, err := c.call(codeGetMaxOffset, ext("topic", topic, "queueId", queueID, "committed", true), nil)
		if err == nil && res.Ext["offset"] != fmt.Sprint(n) {
			err = fmt.Errorf("%s ends at %s", topic, res.Ext["offset"])
		}
		return err
	})
}

func TestPull(t *testing.T) {
	t.Parallel()
	t.Run("messages come in order, with begin and end of the queue", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 10) {
			put(t, c, topic, 0, body, "")
		}
		dispatched(t, c, topic, 0, 10)
		res := c.ok(t, codePullMessage, with(pullFields(unique("G"), topic, 0, 3), "maxMsgNums", 4), nil)
		require.Equal(t, numbered("m", 10)[3:7], bodies(pulled(t, res)))
		require.Equal(t, int64(7), num(t, res, "nextBeginOffset"))
		require.Equal(t, int64(0), num(t, res, "minOffset"))
		require.Equal(t, int64(10), num(t, res, "maxOffset"))
		require.Equal(t, int64(0), num(t, res, "suggestWhichBrokerId"))
		require.Equal(t, "FOUND", res.Remark)
		lite := c.ok(t, codeLitePull, with(pullFields(unique("G"), topic, 0, 0), "maxMsgNums", 4), nil)
		require.Equal(t, numbered("m", 10)[:4], bodies(pulled(t, lite)))
	})

	t.Run("status codes at and beyond the ends of a queue", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 3) {
			put(t, c, topic, 0, body, "")
		}
		dispatched(t, c, topic, 0, 3)
		group := unique("G")
		cases := []struct {
			queueID int
			offset  int64
			code    int
			remark  string
			next    int64
		}{
			{0, 3, resPullNotFound, "OFFSET_OVERFLOW_ONE", 3},
			{0, 4, resPullOffsetMoved, "OFFSET_OVERFLOW_BADLY", 3},
			{0, 1 << 40, resPullOffsetMoved, "OFFSET_OVERFLOW_BADLY", 3},
			{0, -1, resPullOffsetMoved, "OFFSET_TOO_SMALL", 0},
			{1, 0, resPullNotFound, "NO_MESSAGE_IN_QUEUE", 0},
			{1, 5, resPullOffsetMoved, "NO_MESSAGE_IN_QUEUE", 0},
		}
		for _, tc := range cases {
			res := c.refused(t, tc.code, tc.remark, codePullMessage, pullFields(group, topic, tc.queueID, tc.offset), nil)
			require.Equal(t, tc.next, num(t, res, "nextBeginOffset"), "queue %d offset %d", tc.queueID, tc.offset)
		}
	})

	t.Run("refused pulls", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		group := unique("G")
		nowhere := unique("T")
		c.refused(t, resTopicNotExist, "topic["+nowhere+"] not exist, apply first please!", codePullMessage, pullFields(group, nowhere, 0, 0), nil)
		c.refused(t, resInvalidParameter, "queueId[2] is illegal, topic:["+topic+"] topicConfig.readQueueNums:[2]", codePullMessage, pullFields(group, topic, 2, 0), nil)
		c.refused(t, resInvalidParameter, "queueId[-1] is illegal", codePullMessage, pullFields(group, topic, -1, 0), nil)
		mute := unique("T")
		c.ok(t, codeCreateTopic, with(topicFields(mute, 1), "perm", 2), nil)
		unreadable := c.refused(t, resNoPermission, "the topic["+mute+"] pulling message is forbidden", codePullMessage, pullFields(group, mute, 0, 0), nil)
		require.Equal(t, "3", unreadable.Ext["forbiddenType"])
		c.refused(t, resSubscriptionGone, "the consumer's group info not exist", codePullMessage, with(pullFields(group, topic, 0, 0), "sysFlag", 0), nil)
	})

	t.Run("tags are compared by hash, and a pull that skipped says where to go on", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		// Both tags have the hash 2112: the broker cannot tell them apart, the client has to.
		require.Equal(t, javaHash("Aa"), javaHash("BB"))
		for _, tag := range []string{"Aa", "other", "BB", "", "Aa"} {
			properties := ""
			if tag != "" {
				properties = props("TAGS", tag)
			}
			put(t, c, topic, 0, "tag "+tag, properties)
		}
		dispatched(t, c, topic, 0, 5)
		fields := with(pullFields(unique("G"), topic, 0, 0), "subscription", "Aa")
		require.Equal(t, []string{"tag Aa", "tag BB", "tag Aa"}, bodies(pulled(t, c.ok(t, codePullMessage, fields, nil))))
		none := c.refused(t, resPullRetry, "NO_MATCHED_MESSAGE", codePullMessage, with(fields, "subscription", "nobody"), nil)
		require.Equal(t, int64(5), num(t, none, "nextBeginOffset"))
		two := c.ok(t, codePullMessage, with(fields, "subscription", "other || BB"), nil)
		require.Equal(t, []string{"tag Aa", "tag other", "tag BB", "tag Aa"}, bodies(pulled(t, two)))
	})

	t.Run("the subscription of the heartbeat filters pulls that carry none", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "a", props("TAGS", "A"))
		put(t, c, topic, 0, "b", props("TAGS", "B"))
		dispatched(t, c, topic, 0, 2)
		sub := subscription{Topic: topic, SubString: "B", ExpressionType: "TAG", TagsSet: []string{"B"}, CodeSet: []int32{javaHash("B")}, SubVersion: 7}
		c.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("id"), consumerGroup: group, subs: []subscription{sub}}.body())
		fields := with(without(pullFields(group, topic, 0, 0), "subscription"), "sysFlag", 0, "subVersion", 7)
		require.Equal(t, []string{"b"}, bodies(pulled(t, c.ok(t, codePullMessage, fields, nil))))
		c.refused(t, 25, "the consumer's subscription not latest", codePullMessage, with(fields, "subVersion", 8), nil)
		other := newTopic(t, tg, 1)
		c.refused(t, resSubscriptionGone, "the consumer's subscription not exist", codePullMessage, with(fields, "topic", other), nil)
	})

	t.Run("a pull can commit an offset", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "x", "")
		dispatched(t, c, topic, 0, 1)
		c.ok(t, codePullMessage, with(pullFields(group, topic, 0, 0), "sysFlag", pullSubExpr|pullCommit, "commitOffset", 1), nil)
		require.Equal(t, int64(1), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
	})

	t.Run("32 messages at most, and 256 KiB", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 40) {
			put(t, c, topic, 0, body, "")
		}
		for range 8 {
			put(t, c, topic, 1, string(make([]byte, 64<<10)), "")
		}
		dispatched(t, c, topic, 0, 40)
		dispatched(t, c, topic, 1, 8)
		fields := with(pullFields(unique("G"), topic, 0, 0), "maxMsgNums", 1000)
		require.Len(t, pulled(t, c.ok(t, codePullMessage, fields, nil)), 32)
		fat := pulled(t, c.ok(t, codePullMessage, with(fields, "queueId", 1), nil))
		require.Less(t, len(fat), 5)
	})
}

func TestLongPolling(t *testing.T) {
	t.Parallel()
	held := func(group, topic string, queueID int, offset int64, limit time.Duration) *packet {
		return &packet{Code: codePullMessage, Ext: with(pullFields(group, topic, queueID, offset),
			"sysFlag", pullSubExpr|pullSuspend, "suspendTimeoutMillis", limit.Milliseconds())}
	}

	t.Run("a message wakes the pull of its queue at once", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c, sender := connect(t, tg.Broker()), connect(t, tg.Broker())
		var waits []time.Duration
		for i := range 5 {
			answer, err := c.send(held(unique("G"), topic, 0, int64(i), 20*time.Second))
			require.NoError(t, err)
			c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", 0), nil) // the pull before it is held by now
			put(t, sender, topic, 1, "for the other queue", "")
			before := time.Now()
			put(t, sender, topic, 0, fmt.Sprint("wake ", i), "")
			res, err := c.await(answer, callTimeout)
			require.NoError(t, err)
			waits = append(waits, time.Since(before))
			require.Equal(t, []string{fmt.Sprint("wake ", i)}, bodies(pulled(t, res)))
		}
		// Well below the five seconds after which Apache looks for pulls it forgot to wake.
		for _, wait := range waits {
			require.Less(t, wait, 3*time.Second)
		}
	})

	t.Run("nothing arrives: 19 when the time is over", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		before := time.Now()
		res, err := c.callPacket(held(unique("G"), topic, 0, 0, 2*time.Second), 20*time.Second)
		require.NoError(t, err)
		require.Equal(t, resPullNotFound, res.Code)
		require.GreaterOrEqual(t, time.Since(before), 1900*time.Millisecond)
		require.Less(t, time.Since(before), 10*time.Second)
	})

	t.Run("a message with another tag does not answer a filtered pull", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c, sender := connect(t, tg.Broker()), connect(t, tg.Broker())
		p := held(unique("G"), topic, 0, 0, 20*time.Second)
		p.Ext["subscription"] = "mine"
		answer, err := c.send(p)
		require.NoError(t, err)
		c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", 0), nil)
		put(t, sender, topic, 0, "not mine", props("TAGS", "theirs"))
		put(t, sender, topic, 0, "mine", props("TAGS", "mine"))
		res, err := c.await(answer, callTimeout)
		require.NoError(t, err)
		require.Equal(t, []string{"mine"}, bodies(pulled(t, res)))
		require.Equal(t, int64(2), num(t, res, "nextBeginOffset"))
	})

	t.Run("a held pull does not delay other requests of its connection", func(t *testing.T) {
		tg := onShared(t)
		topic, busy := newTopic(t, tg, 1), newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		for range 20 {
			_, err := c.send(held(unique("G"), topic, 0, 0, 20*time.Second))
			require.NoError(t, err)
		}
		for i := range 10 {
			require.Equal(t, int64(i), put(t, c, busy, 0, "x", ""))
		}
	})
}

// offsetFields are the fields of QUERY_CONSUMER_OFFSET.
func offsetFields(group, topic string, queueID int) map[string]string {
	return ext("consumerGroup", group, "topic", topic, "queueId", queueID)
}
