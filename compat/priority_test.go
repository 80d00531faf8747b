package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// priority is the property of a message's priority.
const priority = "_SYS_MSG_PRIORITY_"

// popAllFields are the fields of a pop of 32 messages of a whole topic, with an end to waiting.
func popAllFields(group, topic string) map[string]string {
	return ext("consumerGroup", group, "topic", topic, "queueId", -1, "maxMsgNums", 32, "invisibleTime", 60_000, "pollTime", 2000,
		"bornTime", nowMs(), "initMode", 0, "expType", "TAG", "exp", "*", "order", false)
}

func TestPriority(t *testing.T) {
	tg := onShared(t)
	c := connect(t, tg.Broker())
	topicOf := func(messageType string, queues int) string {
		topic := unique("T")
		c.ok(t, codeCreateTopic, with(topicFields(topic, queues), "attributes", "+message.type="+messageType), nil)
		return topic
	}
	groupOf := func(factor string) string {
		group := unique("G")
		c.ok(t, codeCreateGroup, nil, mustJSON(map[string]any{
			"groupName": group, "consumeEnable": true, "retryQueueNums": 1, "retryMaxTimes": 16, "attributes": map[string]string{"+priority.factor": factor},
		}))
		return group
	}

	t.Run("a message goes to the queue of its priority", func(t *testing.T) {
		for _, messageType := range []string{"PRIORITY", "NORMAL"} {
			topic := topicOf(messageType, 4)
			for sent, want := range map[string]string{"0": "0", "3": "3", "4": "3", "2147483647": "3", "-1": "1", "x": "1", "2147483648": "1"} {
				res := c.ok(t, codeSendMessage, sendFields(topic, 1, props(priority, sent)), []byte(sent))
				require.Equal(t, want, res.Ext["queueId"], "%s to a topic of type %s", sent, messageType)
			}
			dispatched(t, c, topic, 3, 3)
			all, err := readQueue(c, topic, 3)
			require.NoError(t, err)
			for _, r := range all {
				require.Equal(t, string(r.Body), r.Props[priority])
			}
		}
	})

	t.Run("also from the Go client", func(t *testing.T) {
		topic, group := topicOf("PRIORITY", 4), newGroup(t, tg)
		awaitRoute(t, tg, topic)
		p := newProducer(t, tg)
		var want []string
		for i := range 6 {
			msg := message(topic, fmt.Sprint("p", i))
			msg.WithProperty(priority, fmt.Sprint(i))
			res, err := p.SendSync(context.Background(), msg)
			require.NoError(t, err)
			require.Equal(t, min(i, 3), res.MessageQueue.QueueId)
			want = append(want, string(msg.Body))
		}
		var got inbox
		startPush(t, tg, group, topic, got.consume)
		got.awaitBodies(t, time.Minute, want)
		for _, m := range got.all() {
			require.Equal(t, string(m.Body), "p"+m.GetProperty(priority))
		}
	})

	t.Run("sharded and delayed messages lose it", func(t *testing.T) {
		topic := topicOf("PRIORITY", 4)
		res := c.ok(t, codeSendMessage, sendFields(topic, 1, props(priority, "3", "__SHARDINGKEY", "k")), []byte("sharded"))
		require.Equal(t, "1", res.Ext["queueId"])
		c.ok(t, codeSendMessage, sendFields(topic, 1, props(priority, "3", "DELAY", "1")), []byte("level"))
		c.ok(t, codeSendMessage, sendFields(topic, 1, props(priority, "3", "TIMER_DELAY_MS", "1000")), []byte("timer"))
		dispatched(t, c, topic, 1, 3)
		all, err := readQueue(c, topic, 1)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"sharded", "level", "timer"}, bodies(all))
		for _, r := range all {
			require.NotContains(t, r.Props, priority)
		}
	})

	t.Run("pops read the highest first", func(t *testing.T) {
		topic, group := topicOf("PRIORITY", 8), groupOf("100")
		for i := range 16 {
			put(t, c, topic, 0, fmt.Sprint("p", i%8), props(priority, fmt.Sprint(i%8)))
		}
		for queueID := range 8 {
			dispatched(t, c, topic, queueID, 2)
		}
		// Each pop begins anew, so that the order holds between pops, too.
		var got []string
		for len(got) < 16 {
			res := c.ok(t, codePop, with(popAllFields(group, topic), "maxMsgNums", 2), nil)
			list, err := decodeRecords(res.Body)
			require.NoError(t, err)
			got = append(got, bodies(list)...)
		}
		require.Equal(t, "[p7 p7 p6 p6 p5 p5 p4 p4 p3 p3 p2 p2 p1 p1 p0 p0]", fmt.Sprint(got))
	})

	t.Run("with a factor of 0 they begin anywhere", func(t *testing.T) {
		topic := topicOf("PRIORITY", 8)
		for i := range 8 {
			put(t, c, topic, 0, fmt.Sprint("p", i), props(priority, fmt.Sprint(i)))
			dispatched(t, c, topic, i, 1)
		}
		firsts := map[string]bool{}
		for range 40 {
			res := c.ok(t, codePop, with(popAllFields(groupOf("0"), topic), "maxMsgNums", 1), nil)
			list, err := decodeRecords(res.Body)
			require.NoError(t, err)
			require.Len(t, list, 1)
			firsts[string(list[0].Body)] = true
		}
		require.Greater(t, len(firsts), 1)
	})

	t.Run("bad factors and types are refused", func(t *testing.T) {
		for factor, remark := range map[string]string{"101": "value is not in range(0, 100)", "-1": "value is not in range(0, 100)", "x": "For input string"} {
			res, err := c.call(codeCreateGroup, nil, mustJSON(map[string]any{"groupName": unique("G"), "attributes": map[string]string{"+priority.factor": factor}}))
			require.NoError(t, err)
			require.Equal(t, resSystemError, res.Code)
			require.Contains(t, res.Remark, remark)
		}
		res, err := c.call(codeCreateTopic, with(topicFields(unique("T"), 1), "attributes", "+message.type=NONE"), nil)
		require.NoError(t, err)
		require.NotEqual(t, resSuccess, res.Code)
		require.Contains(t, res.Remark, "value is not in set: [UNSPECIFIED, MIXED, TRANSACTION, PRIORITY, FIFO, DELAY, ")
	})
}
