package compat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

func TestGoPush(t *testing.T) {
	t.Parallel()
	t.Run("a group gets each message once, then new ones at once", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 4), newGroup(t, tg)
		p := newProducer(t, tg)
		before := numbered("before", 20)
		sendAll(t, p, topic, before)
		var got inbox
		startPush(t, tg, group, topic, got.consume)
		got.awaitBodies(t, 30*time.Second, before)
		after := numbered("after", 20)
		sendAll(t, p, topic, after)
		got.awaitBodies(t, 20*time.Second, append(before, after...))
	})

	t.Run("two members share a topic, none gets what the other has", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 4), newGroup(t, tg)
		var one, two, both inbox
		first := startPush(t, tg, group, topic, teeing(&one, &both))
		awaitMembers(t, tg, group, 1)
		p := newProducer(t, tg)
		alone := numbered("alone", 40)
		sendAll(t, p, topic, alone)
		one.awaitBodies(t, 30*time.Second, alone)

		startPush(t, tg, group, topic, teeing(&two, &both))
		awaitMembers(t, tg, group, 2)
		// While queues move a message may come twice; once they rest, each member has two of the four.
		round := 0
		eventually(t, 90*time.Second, func() error {
			prefix := fmt.Sprintf("round-%d", round)
			round++
			texts := numbered(prefix, 8)
			sendAll(t, p, topic, texts)
			both.awaitDistinct(t, 60*time.Second, texts)
			if a, b := one.count(prefix), two.count(prefix); a != 4 || b != 4 {
				return fmt.Errorf("%s: %d and %d messages", prefix, a, b)
			}
			return nil
		})

		require.NoError(t, first.Shutdown())
		awaitMembers(t, tg, group, 1)
		left := numbered("left", 40)
		sendAll(t, p, topic, left)
		two.awaitDistinct(t, 60*time.Second, left)
	})

	t.Run("a broadcast group gives each member everything", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		removeBroadcastOffsets(t, group)
		var one, two inbox
		for _, box := range []*inbox{&one, &two} {
			startPush(t, tg, group, topic, box.consume, consumer.WithConsumerModel(consumer.BroadCasting))
		}
		awaitMembers(t, tg, group, 2)
		texts := numbered("to-all", 20)
		sendAll(t, newProducer(t, tg), topic, texts)
		one.awaitBodies(t, 40*time.Second, texts)
		two.awaitBodies(t, 40*time.Second, texts)
	})

	t.Run("tags are filtered by hash on the broker and by text on the client", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		p := newProducer(t, tg)
		for i, tag := range []string{"Aa", "BB", "other", "Aa", "third"} { // Aa and BB have one hash
			_, err := p.SendSync(context.Background(), message(topic, fmt.Sprint(tag, i)).WithTag(tag))
			require.NoError(t, err)
		}
		var got inbox
		startPushTags(t, tg, group, topic, "Aa || third", got.consume)
		got.awaitBodies(t, 30*time.Second, []string{"Aa0", "Aa3", "third4"})
		// All of the queue is done with, what was filtered too.
		awaitCommitted(t, tg, group, topic, 0, 5)
	})

	t.Run("a new group on a young topic begins at its first message", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		sendAll(t, newProducer(t, tg), topic, []string{"old"})
		var got inbox
		startPush(t, tg, group, topic, got.consume, consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset))
		got.awaitBodies(t, 30*time.Second, []string{"old"})
	})

	t.Run("a group goes on where it stopped", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		p := newProducer(t, tg)
		var first, second inbox
		texts := numbered("first", 20)
		sendAll(t, p, topic, texts)
		c := startPush(t, tg, group, topic, first.consume)
		first.awaitBodies(t, 30*time.Second, texts)
		require.NoError(t, c.Shutdown())
		for q := range 2 {
			awaitCommitted(t, tg, group, topic, q, 10)
		}
		more := numbered("second", 20)
		sendAll(t, p, topic, more)
		startPush(t, tg, group, topic, second.consume)
		second.awaitBodies(t, 30*time.Second, more)
	})

	t.Run("offsets are reset while a consumer runs", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		texts := numbered("again", 10)
		sendAll(t, newProducer(t, tg), topic, texts)
		var got inbox
		startPush(t, tg, group, topic, got.consume)
		got.awaitBodies(t, 30*time.Second, texts)
		connect(t, tg.Broker()).ok(t, codeResetOffset, ext("group", group, "topic", topic, "timestamp", 0, "isForce", true, "queueId", -1), nil)
		// The client lets the queue rest for ten seconds and takes it again at its next rebalance.
		got.awaitTimes(t, 90*time.Second, texts, 2)
	})
}

func TestGoOrderly(t *testing.T) {
	t.Parallel()
	t.Run("each queue in order, through two members", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 4), newGroup(t, tg)
		p := newProducer(t, tg, producer.WithQueueSelector(producer.NewHashQueueSelector()))
		var texts []string
		for i := range 15 {
			for _, key := range []string{"k1", "k2", "k3", "k4", "k5"} {
				body := fmt.Sprintf("%s %03d", key, i)
				_, err := p.SendSync(context.Background(), message(topic, body).WithShardingKey(key))
				require.NoError(t, err)
				texts = append(texts, body)
			}
		}
		var got inbox
		for range 2 {
			startPush(t, tg, group, topic, got.consume, consumer.WithConsumerOrder(true))
		}
		awaitMembers(t, tg, group, 2)
		// The client does not unlock a queue that it gives up: another member may have to wait for the end of its lock.
		got.awaitDistinct(t, 150*time.Second, texts)
		first := map[string][]string{}
		for _, body := range got.bodies() {
			key, _, _ := strings.Cut(body, " ")
			if !slices.Contains(first[key], body) { // a queue that moves may repeat, but never skips
				first[key] = append(first[key], body)
			}
		}
		for key, seen := range first {
			require.True(t, slices.IsSorted(seen), "%s: %v", key, seen)
		}
	})

	t.Run("the broker holds the locks of the one who consumes", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		sendAll(t, newProducer(t, tg), topic, []string{"x", "y"})
		var got inbox
		startPush(t, tg, group, topic, got.consume, consumer.WithConsumerOrder(true))
		got.awaitBodies(t, 60*time.Second, []string{"x", "y"})
		require.Empty(t, locked(t, connect(t, tg.Broker()), group, "thief", queues(tg, topic, 2)...))
	})
}

func TestGoRetry(t *testing.T) {
	t.Parallel()
	// failing asks for the shortest back-off until a message was tried so often.
	failing := func(box *inbox, succeedAt int32) handler {
		return func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			box.add(msgs...)
			if msgs[0].ReconsumeTimes >= succeedAt {
				return consumer.ConsumeSuccess, nil
			}
			if c, ok := primitive.GetConcurrentlyCtx(ctx); ok {
				c.DelayLevelWhenNextConsume = 1
			}
			return consumer.ConsumeRetryLater, nil
		}
	}

	t.Run("a message comes back until it is consumed", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		var got inbox
		startPush(t, tg, group, topic, failing(&got, 2))
		sent := sendAll(t, newProducer(t, tg), topic, []string{"stubborn"})[0]
		got.awaitBodies(t, 60*time.Second, []string{"stubborn", "stubborn", "stubborn"})
		for i, m := range got.all() {
			require.Equal(t, int32(i), m.ReconsumeTimes)
			require.Equal(t, topic, m.Topic)
			if i > 0 {
				require.Equal(t, sent.OffsetMsgID, m.GetProperty(primitive.PropertyOriginMessageId))
				require.Equal(t, topic, m.GetProperty(primitive.PropertyRetryTopic))
			}
		}
	})

	t.Run("after the last try it is in the dead letter queue", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		var got inbox
		startPush(t, tg, group, topic, failing(&got, 100), consumer.WithMaxReconsumeTimes(2))
		sendAll(t, newProducer(t, tg), topic, []string{"hopeless"})
		got.awaitBodies(t, 60*time.Second, []string{"hopeless", "hopeless", "hopeless"})
		awaitRoute(t, tg, "%DLQ%"+group)
		dead := readTopic(t, tg, "%DLQ%"+group, 1, 1)[0]
		require.Equal(t, "hopeless", string(dead.Body))
		require.Equal(t, topic, dead.Props["RETRY_TOPIC"])
		require.Equal(t, "%DLQ%"+group, dead.Topic)
	})
}

func TestGoPull(t *testing.T) {
	t.Parallel()
	newPull := func(t *testing.T, tg *Target, group, topic string) interface {
		PullFrom(context.Context, *primitive.MessageQueue, int64, int) (*primitive.PullResult, error)
		Poll(context.Context, time.Duration) (*consumer.ConsumeRequest, error)
		ACK(context.Context, *consumer.ConsumeRequest, consumer.ConsumeResult)
	} {
		c, err := consumer.NewPullConsumer(consumer.WithNameServer(primitive.NamesrvAddr{tg.Namesrv()}),
			consumer.WithGroupName(group), consumer.WithInstance(unique("puller")),
			consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
		require.NoError(t, err)
		require.NoError(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}))
		require.NoError(t, c.Start())
		t.Cleanup(func() { _ = c.Shutdown() })
		return c
	}

	t.Run("from an offset of a queue", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		texts := numbered("m", 10)
		sendAll(t, newProducer(t, tg), topic, texts)
		readTopic(t, tg, topic, 1, 10)
		c := newPull(t, tg, group, topic)
		q := &primitive.MessageQueue{Topic: topic, BrokerName: tg.BrokerName, QueueId: 0}
		res, err := c.PullFrom(context.Background(), q, 4, 3)
		require.NoError(t, err)
		require.Equal(t, primitive.PullFound, res.Status)
		var seen []string
		for _, m := range res.GetMessageExts() {
			seen = append(seen, string(m.Body))
		}
		require.Equal(t, texts[4:7], seen)
		require.Equal(t, int64(7), res.NextBeginOffset)
		require.Equal(t, int64(10), res.MaxOffset)
		beyond, err := c.PullFrom(context.Background(), q, 99, 3)
		require.NoError(t, err)
		require.Equal(t, primitive.PullOffsetIllegal, beyond.Status)
	})

	t.Run("by polling, with acknowledgement", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		texts := numbered("m", 10)
		sendAll(t, newProducer(t, tg), topic, texts)
		c := newPull(t, tg, group, topic)
		var got inbox
		eventually(t, 40*time.Second, func() error {
			cr, err := c.Poll(context.Background(), 5*time.Second)
			if err != nil {
				return err
			}
			got.add(cr.GetMsgList()...)
			c.ACK(context.Background(), cr, consumer.ConsumeSuccess)
			if n := len(got.all()); n < len(texts) {
				return fmt.Errorf("%d messages", n)
			}
			return nil
		})
		got.awaitBodies(t, time.Second, texts)
		awaitCommitted(t, tg, group, topic, 0, 10)
	})
}

// teeing consumes into two inboxes.
func teeing(one, two *inbox) handler {
	return func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		two.add(msgs...)
		return one.consume(ctx, msgs...)
	}
}

// awaitCommitted waits until the group's offset of a queue is n.
func awaitCommitted(t testing.TB, tg *Target, group, topic string, queueID int, n int64) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		res, err := callOnce(tg.Broker(), codeQueryConsumerOffset, with(offsetFields(group, topic, queueID), "setZeroIfNotFound", false), nil)
		if err == nil && res.Ext["offset"] != fmt.Sprint(n) {
			err = fmt.Errorf("offset of queue %d is %q, not %d: %s", queueID, res.Ext["offset"], n, res.Remark)
		}
		return err
	})
}
