package compat

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// popAgain is how long what was not acknowledged may take beyond its time.
const popAgain = 60 * time.Second

// popFields are the fields of POP_MESSAGE as a proxy sends them: any queue, and an answer at once.
func popFields(group, topic string, invisible time.Duration) map[string]string {
	return ext("consumerGroup", group, "topic", topic, "queueId", -1, "maxMsgNums", 32, "invisibleTime", invisible.Milliseconds(), "pollTime", 0,
		"bornTime", nowMs(), "initMode", 0, "expType", "TAG", "exp", "*", "order", false)
}

// popped is a message with its receipt, and what both name.
type popped struct {
	record
	group, topic, receipt string // topic is the one of the receipt
}

func (m popped) part(i int) string { return strings.Fields(m.receipt)[i] }

// poppedOf makes the receipts of an answer.
func poppedOf(group, topic, broker string, p *packet) ([]popped, error) {
	if p.Code == resPullNotFound || p.Code == resPollingTimeout {
		return nil, nil
	}
	if p.Code != resSuccess {
		return nil, fmt.Errorf("pop: code %d: %s", p.Code, p.Remark)
	}
	all, err := decodeRecords(p.Body)
	if err != nil {
		return nil, err
	}
	starts := popStarts(p.Ext["startOffsetInfo"])
	list := make([]popped, 0, len(all))
	for _, r := range all {
		m := popped{record: r, group: group, topic: topic, receipt: r.Props["POP_CK"]}
		if m.receipt == "" {
			queue := strconv.Itoa(int(r.QueueID))
			m.receipt = fmt.Sprintf("%s %s %s %s 0 %s %s %d", starts[queue], p.Ext["popTime"], p.Ext["invisibleTime"], p.Ext["reviveQid"], broker, queue, r.QueueOffset)
		}
		switch parts := strings.Fields(m.receipt); {
		case len(parts) != 8:
			return nil, fmt.Errorf("receipt %q", m.receipt)
		case parts[4] == "1":
			m.topic = "%RETRY%" + group + "_" + topic
		case parts[4] == "2":
			m.topic = "%RETRY%" + group + "+" + topic
		}
		list = append(list, m)
	}
	return list, nil
}

// popStarts are the first offsets by queue: "0 queueId offset" separated by semicolons.
func popStarts(info string) map[string]string {
	starts := make(map[string]string)
	for _, one := range strings.Split(info, ";") {
		if parts := strings.Fields(one); len(parts) == 3 {
			starts[parts[1]] = parts[2]
		}
	}
	return starts
}

// ackFields are the fields of ACK_MESSAGE for a message.
func (m popped) ackFields() map[string]string {
	return ext("consumerGroup", m.group, "topic", m.topic, "queueId", m.part(6), "offset", m.part(7), "extraInfo", m.receipt)
}

// batchAckBody is the body of BATCH_ACK_MESSAGE for messages of one delivery.
func batchAckBody(broker, topic string, list ...popped) []byte {
	first := list[0]
	start, _ := strconv.ParseInt(first.part(0), 10, 64)
	bits := make([]byte, 4)
	for _, m := range list {
		i, _ := strconv.ParseInt(m.part(7), 10, 64)
		bits[(i-start)/8] |= 1 << ((i - start) % 8)
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(first.part(i), 10, 64); return n }
	return mustJSON(map[string]any{"brokerName": broker, "acks": []any{map[string]any{
		"c": first.group, "t": topic, "r": first.part(4), "so": start, "q": number(6), "rq": number(3), "pt": number(1), "it": number(2),
		"b": base64.StdEncoding.EncodeToString(bits),
	}}})
}

// popRun is a group that pops a topic.
type popRun struct {
	tg           *Target
	c            *client
	topic, group string
}

func newPopRun(t *testing.T, tg *Target, queues int) *popRun {
	return &popRun{tg, connect(t, tg.Broker()), newTopic(t, tg, queues), newGroup(t, tg)}
}

func (r *popRun) pop(t testing.TB, fields map[string]string) []popped {
	t.Helper()
	list, err := poppedOf(r.group, r.topic, r.tg.BrokerName, r.c.must(t, codePop, fields, nil))
	require.NoError(t, err)
	return list
}

// popUntil pops until it has n messages.
func (r *popRun) popUntil(t testing.TB, n int, invisible, limit time.Duration) (all []popped) {
	t.Helper()
	eventually(t, limit, func() error {
		if all = append(all, r.pop(t, popFields(r.group, r.topic, invisible))...); len(all) < n {
			return fmt.Errorf("%d of %d messages came", len(all), n)
		}
		return nil
	})
	require.Len(t, all, n)
	return all
}

func (r *popRun) ack(t testing.TB, list ...popped) {
	t.Helper()
	for _, m := range list {
		r.c.ok(t, codeAck, m.ackFields(), nil)
	}
}

func (r *popRun) put(t testing.TB, queues int, bodies ...string) {
	t.Helper()
	for i, body := range bodies {
		put(t, r.c, r.topic, i%queues, body, props("TAGS", "A"))
	}
}

func poppedBodies(list []popped) (all []string) {
	for _, m := range list {
		all = append(all, string(m.Body))
	}
	slices.Sort(all)
	return all
}

// TestPop pops with frames as a proxy sends them.
func TestPop(t *testing.T) {
	tg := onShared(t)

	t.Run("acks", func(t *testing.T) {
		t.Parallel()
		r := newPopRun(t, tg, 2)
		r.put(t, 2, "a", "b", "c", "d", "e", "f")
		list := r.popUntil(t, 6, 4*time.Second, popAgain)
		require.Equal(t, []string{"a", "b", "c", "d", "e", "f"}, poppedBodies(list))
		for _, m := range list {
			require.Equal(t, r.topic, m.Topic)
			require.Zero(t, m.ReconsumeTimes)
		}
		slices.SortStableFunc(list, func(a, b popped) int { return int(a.QueueID) - int(b.QueueID) })
		r.ack(t, list[:3]...)
		r.ack(t, list[0])                                                                    // twice
		r.c.ok(t, codeBatchAck, nil, batchAckBody(tg.BrokerName, r.topic, list[3], list[4])) // its sixth is left
		again := r.popUntil(t, 1, time.Minute, popAgain)
		require.Equal(t, string(list[5].Body), string(again[0].Body))
		require.Equal(t, r.topic, again[0].Topic)
		require.EqualValues(t, 1, again[0].ReconsumeTimes)
		require.Equal(t, list[5].part(1), again[0].Props["1ST_POP_TIME"])
		require.Equal(t, "1", again[0].part(4))
		r.ack(t, again...)
		require.Empty(t, r.pop(t, popFields(r.group, r.topic, time.Minute)))
	})

	t.Run("renewed", func(t *testing.T) {
		t.Parallel()
		r := newPopRun(t, tg, 1)
		r.put(t, 1, "long", "short")
		list := r.popUntil(t, 2, 4*time.Second, popAgain)
		renewed := r.c.ok(t, codeChangeInvisible, with(list[0].ackFields(), "invisibleTime", 300_000), nil)
		require.Equal(t, "300000", renewed.Ext["invisibleTime"])
		require.Greater(t, num(t, renewed, "popTime"), int64(0))
		again := r.popUntil(t, 1, time.Minute, popAgain)
		require.Equal(t, "short", string(again[0].Body), "the other one is invisible for longer")
		kept := list[0]
		kept.receipt = fmt.Sprintf("%s %s %s %s 0 %s 0 %s", kept.part(7), renewed.Ext["popTime"], renewed.Ext["invisibleTime"], renewed.Ext["reviveQid"],
			tg.BrokerName, kept.part(7))
		r.ack(t, kept, again[0])
		// A time of nothing gives a message back at once.
		r.put(t, 1, "refused")
		list = r.popUntil(t, 1, 5*time.Minute, popAgain)
		r.c.ok(t, codeChangeInvisible, with(list[0].ackFields(), "invisibleTime", 1000), nil)
		again = r.popUntil(t, 1, time.Minute, popAgain)
		require.Equal(t, "refused", string(again[0].Body))
		require.EqualValues(t, 1, again[0].ReconsumeTimes)
	})

	t.Run("parked", func(t *testing.T) {
		t.Parallel()
		r := newPopRun(t, tg, 2)
		waiting, err := r.c.send(&packet{Code: codePop, Ext: with(popFields(r.group, r.topic, time.Minute), "pollTime", 30_000)})
		require.NoError(t, err)
		eventually(t, stopTimeout, func() error {
			if n := num(t, r.c.ok(t, codePollingInfo, ext("consumerGroup", r.group, "topic", r.topic, "queueId", -1), nil), "pollingNum"); n != 1 {
				return fmt.Errorf("%d are parked", n)
			}
			return nil
		})
		put(t, connect(t, tg.Broker()), r.topic, 1, "now", "")
		p, err := r.c.await(waiting, stopTimeout)
		require.NoError(t, err)
		list, err := poppedOf(r.group, r.topic, tg.BrokerName, p)
		require.NoError(t, err)
		require.Equal(t, []string{"now"}, poppedBodies(list))
		r.ack(t, list...)
		require.Equal(t, resPollingTimeout, r.c.must(t, codePop, with(popFields(r.group, r.topic, time.Minute), "pollTime", 1000), nil).Code)
	})

	t.Run("notification", func(t *testing.T) {
		t.Parallel()
		r := newPopRun(t, tg, 2)
		fields := ext("consumerGroup", r.group, "topic", r.topic, "queueId", -1, "pollTime", 1000, "bornTime", nowMs())
		require.Equal(t, "false", r.c.ok(t, codeNotification, fields, nil).Ext["hasMsg"])
		waiting, err := r.c.send(&packet{Code: codeNotification, Ext: with(fields, "pollTime", 30_000, "bornTime", nowMs())})
		require.NoError(t, err)
		r.put(t, 1, "x")
		p, err := r.c.await(waiting, stopTimeout)
		require.NoError(t, err)
		require.Equal(t, "true", p.Ext["hasMsg"])
		r.ack(t, r.popUntil(t, 1, time.Minute, popAgain)...)
	})

	t.Run("peek", func(t *testing.T) {
		t.Parallel()
		r := newPopRun(t, tg, 1)
		fields := ext("consumerGroup", r.group, "topic", r.topic, "queueId", 0, "maxMsgNums", 32)
		require.Equal(t, resPullNotFound, r.c.must(t, codePeek, fields, nil).Code)
		r.put(t, 1, "x", "y")
		eventually(t, 20*time.Second, func() error { // until both are visible
			all, err := decodeRecords(r.c.must(t, codePeek, fields, nil).Body)
			if err == nil && len(all) < 2 {
				err = fmt.Errorf("%d messages are visible", len(all))
			}
			return err
		})
		for range 2 {
			all, err := decodeRecords(r.c.ok(t, codePeek, fields, nil).Body)
			require.NoError(t, err)
			require.Len(t, all, 2)
		}
		require.Len(t, r.popUntil(t, 2, time.Minute, popAgain), 2, "a peek takes nothing")
	})

	t.Run("ordered", func(t *testing.T) { t.Parallel(); popOrdered(t, newPopRun(t, tg, 1)) })
	t.Run("refused", func(t *testing.T) { t.Parallel(); popRefused(t, newPopRun(t, tg, 2)) })
}

// popOrdered pops in order: what is not acknowledged blocks its queue, but not for the attempt that has it.
func popOrdered(t *testing.T, r *popRun) {
	r.put(t, 1, "a", "b", "c", "d")
	fields := func(attempt string) map[string]string {
		return with(popFields(r.group, r.topic, 10*time.Second), "order", true, "queueId", 0, "maxMsgNums", 2, "attemptId", attempt)
	}
	var list []popped
	eventually(t, popAgain, func() error {
		if list = r.pop(t, fields("one")); len(list) == 0 {
			return errors.New("nothing came")
		}
		return nil
	})
	require.Equal(t, []string{"a", "b"}, poppedBodies(list))
	require.Equal(t, "999", list[0].part(3))
	require.Empty(t, r.pop(t, fields("two")), "the queue is blocked")
	require.Equal(t, []string{"a", "b"}, poppedBodies(r.pop(t, fields("one"))), "the attempt that has them gets them again")
	list = r.pop(t, fields("one"))
	r.ack(t, list[1])
	require.Empty(t, r.pop(t, fields("two")))
	r.ack(t, list[0])
	var next []popped
	eventually(t, popAgain, func() error {
		if next = r.pop(t, fields("two")); len(next) == 0 {
			return errors.New("nothing came")
		}
		return nil
	})
	require.Equal(t, []string{"c", "d"}, poppedBodies(next))
	r.ack(t, next[0])
	eventually(t, popAgain, func() error { // d comes again, in its place
		if next = r.pop(t, fields("three")); len(next) == 0 {
			return errors.New("nothing came")
		}
		return nil
	})
	require.Equal(t, []string{"d"}, poppedBodies(next))
	r.ack(t, next...)
}

// popRefused sends what has to be refused, and forged receipts.
func popRefused(t *testing.T, r *popRun) {
	r.put(t, 1, "x")
	list := r.popUntil(t, 1, time.Minute, popAgain)
	pop := popFields(r.group, r.topic, time.Minute)
	for _, tt := range []struct {
		name  string
		code  int
		want  int
		field map[string]string
	}{
		{"a pop of more than 32", codePop, resInvalidParameter, with(pop, "maxMsgNums", 33)},
		{"a pop that is too old", codePop, resPollingTimeout, with(pop, "bornTime", nowMs()-60_000)},
		{"an unknown topic", codePop, resTopicNotExist, with(pop, "topic", "NoSuchTopic")},
		{"a queue that is none", codePop, resInvalidParameter, with(pop, "queueId", 2)},
		{"an ack of an unknown topic", codeAck, resTopicNotExist, with(list[0].ackFields(), "topic", "NoSuchTopic")},
		{"an ack of a queue that is none", codeAck, resMessageIllegal, with(list[0].ackFields(), "queueId", 2)},
		{"an ack beyond the queue", codeAck, resNoMessage, with(list[0].ackFields(), "offset", 5)},
		{"a receipt that is cut", codeAck, resSystemError, with(list[0].ackFields(), "extraInfo", strings.Join(strings.Fields(list[0].receipt)[:4], " "))},
		{"a change beyond the queue", codeChangeInvisible, resNoMessage, with(list[0].ackFields(), "offset", 5, "invisibleTime", 1000)},
		{"a batch without acks", codeBatchAck, resNoMessage, nil},
		{"a peek into an unknown topic", codePeek, resTopicNotExist, ext("consumerGroup", r.group, "topic", "NoSuchTopic", "queueId", 0, "maxMsgNums", 1)},
	} {
		res := r.c.must(t, tt.code, tt.field, nil)
		require.Equal(t, tt.want, res.Code, "%s: %s", tt.name, res.Remark)
	}
	forged := list[0]
	forged.receipt = fmt.Sprintf("%s %d 60000 %s 0 %s 0 0", forged.part(0), nowMs()-5, forged.part(3), r.tg.BrokerName)
	r.ack(t, forged) // like one that is done already
	r.ack(t, list...)
}
