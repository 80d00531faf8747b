package processor

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// popFields is the header of a POP_MESSAGE as the Java 5.5.0 client sends it.
func (b *rig) popFields(more fields) fields {
	return fields{
		"pollTime": "15000", "invisibleTime": "10000", "queueId": "-1", "bornTime": fmt.Sprint(b.clock.Now().UnixMilli()), "maxMsgNums": "4",
		"bname": "broker-a", "topic": "T", "expType": "TAG", "exp": "*", "consumerGroup": "G", "initMode": "0", "order": "false",
	}.with(more)
}

// popped is one message of an answer with its receipt.
type popped struct {
	topic, body, receipt string
	queueID              int32
	queueOffset          int64
	reconsumed           int32
}

func (b *rig) pops(more fields) []popped {
	b.t.Helper()
	a := b.request(codec.PopMessage, b.popFields(more), "")
	if a == nil {
		return nil
	}
	require.Equal(b.t, codec.Success, a.Code, a.Remark)
	return b.poppedOf(a)
}

// poppedOf makes the receipts as the Java client does.
func (b *rig) poppedOf(a *answer) (list []popped) {
	b.t.Helper()
	starts := map[string]string{}
	for _, info := range strings.Split(a.Fields["startOffsetInfo"], ";") {
		part := strings.Split(info, " ")
		require.Len(b.t, part, 3, info)
		starts[part[0]+"@"+part[1]] = part[2]
	}
	for rest := a.Body; len(rest) > 0; {
		var m codec.Message
		n, err := codec.DecodeMessage(rest, &m)
		require.NoError(b.t, err)
		rest = rest[n:]
		p := popped{topic: string(m.Topic), body: string(m.Body), queueID: m.QueueID, queueOffset: m.QueueOffset, reconsumed: m.ReconsumeTimes}
		if ck, ok := codec.Property(m.Properties, codec.PropPopCK); ok {
			p.receipt = string(ck)
		} else {
			start, ok := starts[fmt.Sprint("0@", m.QueueID)]
			require.True(b.t, ok)
			p.receipt = fmt.Sprintf("%s %s %s %s 0 broker-a %d %d", start, a.Fields["popTime"], a.Fields["invisibleTime"], a.Fields["reviveQid"], m.QueueID,
				m.QueueOffset)
		}
		list = append(list, p)
	}
	return list
}

// ackFields is the header of an ack, to the topic that the receipt names.
func (p popped) ackFields(more fields) fields {
	topic := "T"
	if strings.Fields(p.receipt)[4] == "1" {
		topic = "%RETRY%G_T"
	}
	return fields{"queueId": fmt.Sprint(p.queueID), "offset": fmt.Sprint(p.queueOffset), "topic": topic, "consumerGroup": "G", "extraInfo": p.receipt}.with(more)
}

func (b *rig) acks(list ...popped) {
	b.t.Helper()
	for _, p := range list {
		a := b.request(codec.AckMessage, p.ackFields(nil), "")
		require.Equal(b.t, codec.Success, a.Code, a.Remark)
	}
}

func (b *rig) tickPop(d time.Duration) {
	b.t.Helper()
	b.dispatched()
	b.TickPop(b.clock.move(d))
	b.pool.wait()
	b.dispatched()
}

func (b *rig) putSome(topic string, queues, each int) {
	b.t.Helper()
	for i := range queues * each {
		b.putUnseen(topic, int32(i%queues), "A", fmt.Sprint("m", i))
	}
	b.dispatched()
}

func bodies(list []popped) (all []string) {
	for _, p := range list {
		all = append(all, p.body)
	}
	return all
}

func TestPopAnswersAndAcks(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.groupOf("G")
	b.putSome("T", 4, 2)
	a := b.request(codec.PopMessage, b.popFields(nil), "")
	require.Equal(t, codec.Success, a.Code)
	require.Equal(t, "FOUND", a.Remark)
	require.Equal(t, "0 2 0;0 1 0", a.Fields["startOffsetInfo"], "from a random queue on")
	require.Equal(t, "0 2 0,1;0 1 0,1", a.Fields["msgOffsetInfo"])
	require.Equal(t, "4", a.Fields["restNum"])
	require.Equal(t, "10000", a.Fields["invisibleTime"])
	require.NotContains(t, a.Fields, "orderCountInfo")
	first := b.poppedOf(a)
	second := b.pops(nil)
	require.Len(t, second, 4)
	require.Nil(t, b.request(codec.PopMessage, b.popFields(nil), ""), "all is in flight: it waits")
	b.acks(first...)
	b.acks(second[:3]...)
	b.acks(second[:3]...) // twice
	require.EqualValues(t, 1, b.popping.state.Checkpoints())

	b.tickPop(10 * time.Second)
	again := b.answered()
	require.Equal(t, codec.Success, again.Code, "the parked pop gets what was not acknowledged")
	list := b.poppedOf(again)
	require.Equal(t, bodies(second[3:]), bodies(list))
	require.Equal(t, "T", list[0].topic)
	require.EqualValues(t, 1, list[0].reconsumed)
	require.Contains(t, list[0].receipt, " 1 broker-a 0 0")
	retried := b.at("%RETRY%G_T", 0, 0)
	require.Equal(t, strconv.FormatInt(mustReceipt(t, second[3].receipt).PopTimeMs, 10), propMap(retried.Properties)[codec.PropFirstPopTime])
	b.acks(list...)
	require.Zero(t, b.popping.state.Checkpoints())
	b.tickPop(time.Hour)
	require.EqualValues(t, 1, b.store.MaxQueueOffset("%RETRY%G_T", 0), "nothing comes back")
	require.Eventually(t, func() bool {
		b.tickPop(0)
		queueOffset, ok := b.offsets.Query([]byte("G"), []byte("T"), 1)
		return ok && queueOffset == 2
	}, 10*time.Second, time.Millisecond, "what was popped is committed")
}

// answered takes the answer to a parked request.
func (b *rig) answered() *answer {
	b.t.Helper()
	select {
	case a := <-b.conn.sent:
		return a
	case <-time.After(10 * time.Second):
		require.FailNow(b.t, "no answer")
		return nil
	}
}

func mustReceipt(t testing.TB, text string) *codec.Receipt {
	t.Helper()
	var r codec.Receipt
	require.NoError(t, codec.ParseReceipt([]byte(text), &r))
	return &r
}

func TestParkedPopIsWokenByItsQueue(t *testing.T) {
	t.Parallel()
	for _, queueID := range []string{"-1", "2"} {
		b := newRig(t)
		b.topicOf("T", 4)
		b.groupOf("G")
		require.Nil(t, b.request(codec.PopMessage, b.popFields(fields{"queueId": queueID}), ""))
		b.put("T", 2, "A", "hello")
		a := b.answered()
		require.Equal(t, codec.Success, a.Code)
		require.Equal(t, []string{"hello"}, bodies(b.poppedOf(a)))
	}
}

// TestParkedPopPassesItsWakeOn: one arrival wakes one pop, and what that leaves is another's.
func TestParkedPopPassesItsWakeOn(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	for range 3 {
		require.Nil(t, b.request(codec.PopMessage, b.popFields(fields{"maxMsgNums": "1"}), ""))
	}
	for i := range 3 {
		b.putUnseen("T", 0, "A", fmt.Sprint(i))
	}
	seen := map[string]bool{}
	for range 3 {
		for _, p := range b.poppedOf(b.answered()) {
			seen[p.body] = true
		}
	}
	require.Len(t, seen, 3)
}

func TestPopTimesOut(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	a := b.request(codec.PopMessage, b.popFields(fields{"pollTime": "0"}), "")
	require.Equal(t, codec.PollingTimeout, a.Code)
	require.Equal(t, "NO_MESSAGE_IN_QUEUE", a.Remark)
	require.Equal(t, "0", a.Fields["restNum"])
	require.Empty(t, a.Fields["startOffsetInfo"])
	require.Nil(t, b.request(codec.PopMessage, b.popFields(nil), ""))
	b.tickPop(15 * time.Second)
	require.Equal(t, codec.PollingTimeout, b.answered().Code)
	b.set(func(s *Settings) { s.MaxPopPolling = 0 })
	require.Equal(t, codec.PollingFull, b.request(codec.PopMessage, b.popFields(nil), "").Code)
}

func TestPopRefusals(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.group.AutoCreate = false })
	b.topicOf("T", 4)
	b.topicOf("WriteOnly", 4, func(c *codec.TopicConfig) { c.Perm = codec.PermWrite })
	b.groupOf("G")
	b.groupOf("Off", func(c *codec.SubscriptionGroupConfig) { c.ConsumeEnable = false })
	late := fmt.Sprint(b.clock.Now().Add(-15501 * time.Millisecond).UnixMilli())
	for _, c := range []struct {
		name   string
		more   fields
		code   int32
		remark string
	}{
		{"too late", fields{"bornTime": late}, codec.PollingTimeout, "the broker[127.0.0.2] pop message is timeout too much"},
		{"too many", fields{"maxMsgNums": "33"}, codec.InvalidParameter, "the broker[127.0.0.2] pop message's num is greater than 32"},
		{"no topic", fields{"topic": "None"}, codec.TopicNotExist, "topic[None] not exist, apply first please! " + seeFAQ},
		{"topic not readable", fields{"topic": "WriteOnly"}, codec.NoPermission, "the topic[WriteOnly] peeking message is forbidden"},
		{"no such queue", fields{"queueId": "4"}, codec.InvalidParameter, "queueId[4] is illegal, topic:[T] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:60802]"},
		{"no group", fields{"consumerGroup": "None"}, codec.SubscriptionGroupNotExist, "subscription group [None] does not exist, " + seeFAQ},
		{"group off", fields{"consumerGroup": "Off"}, codec.NoPermission, "subscription group no permission, Off"},
		{"bad expression", fields{"expType": "SQL92", "exp": "a >"}, codec.SubscriptionParseFailed, "parse the consumer's subscription failed"},
		{"unknown expression", fields{"expType": "X", "exp": "a"}, codec.SubscriptionParseFailed, "parse the consumer's subscription failed"},
		{"no number", fields{"maxMsgNums": "x"}, codec.SystemError, ""},
		{"no field", fields{"invisibleTime": absent}, codec.SystemError, ""},
	} {
		a := b.request(codec.PopMessage, b.popFields(c.more), "")
		require.Equal(t, c.code, a.Code, c.name)
		if c.remark != "" {
			require.Equal(t, c.remark, a.Remark, c.name)
		}
	}
	b.set(func(s *Settings) { s.TimerWheel = false })
	a := b.request(codec.PopMessage, b.popFields(nil), "")
	require.Equal(t, "the broker[127.0.0.2] pop message is forbidden because timerWheelEnable is false", a.Remark)
}

func TestPopFilters(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.put("T", 0, "A", "a")
	b.put("T", 0, "B", "b")
	b.put("T", 0, "A", "c")
	b.putWith("T", "x", "7", "sql")
	list := b.pops(fields{"exp": "B"})
	require.Equal(t, []string{"b"}, bodies(list))
	require.Contains(t, list[0].receipt, "0 ", "from the start of what was read")
	require.Nil(t, b.pops(fields{"exp": "B"}), "the rest is passed over")
	b.groupOf("S")
	a := b.request(codec.PopMessage, b.popFields(fields{"consumerGroup": "S", "expType": "SQL92", "exp": "x = 7"}), "")
	require.Equal(t, []string{"sql"}, bodies(b.poppedOf(a)))
}

func TestAckRefusals(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 2)
	list := b.pops(nil)
	p := list[0]
	for _, c := range []struct {
		name   string
		more   fields
		code   int32
		remark string
	}{
		{"no topic", fields{"topic": "None"}, codec.TopicNotExist, "topic[None] not exist, apply first please! " + seeFAQ},
		{"no queue", fields{"queueId": "1"}, codec.MessageIllegal, "queueId[1] is illegal, topic:[T] topicConfig.readQueueNums:[1] consumer:[/127.0.0.1:60802]"},
		{"negative queue", fields{"queueId": "-1"}, codec.MessageIllegal, ""},
		{"behind the end", fields{"offset": "3"}, codec.NoMessage, "offset is illegal, key:T@0, commit:3, store:0~2"},
		{"cut receipt", fields{"extraInfo": "0 1795225886564"}, codec.SystemError, ""},
		{"no receipt", fields{"extraInfo": absent}, codec.SystemError, ""},
		{"forged receipt", fields{"extraInfo": "1 2 3 4 0 other 0 0"}, codec.Success, ""},
		{"of an unknown group", fields{"consumerGroup": "None"}, codec.Success, ""},
		{"not of the delivery", fields{"offset": "2"}, codec.Success, ""},
	} {
		a := b.request(codec.AckMessage, p.ackFields(c.more), "")
		require.Equal(t, c.code, a.Code, c.name)
		if c.remark != "" {
			require.Equal(t, c.remark, a.Remark, c.name)
		}
	}
	require.EqualValues(t, 1, b.popping.state.Checkpoints(), "nothing of it acknowledged anything")
	b.acks(list...)
	require.Zero(t, b.popping.state.Checkpoints())
}

func TestInvisibleTimeIsRenewed(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 2)
	list := b.pops(nil)
	b.tickPop(9 * time.Second)
	a := b.request(codec.ChangeMessageInvisibleTime, list[0].ackFields(fields{"invisibleTime": "30000"}), "")
	require.Equal(t, codec.Success, a.Code)
	require.Equal(t, unsetRemark, a.Remark)
	require.Equal(t, "30000", a.Fields["invisibleTime"])
	require.Equal(t, fmt.Sprint(b.clock.Now().UnixMilli()), a.Fields["popTime"])
	b.tickPop(2 * time.Second)
	require.EqualValues(t, 1, b.store.MaxQueueOffset("%RETRY%G_T", 0), "the other one came back alone")
	renewed := list[0]
	r := mustReceipt(t, renewed.receipt)
	renewed.receipt = fmt.Sprintf("%d %s 30000 %d 0 broker-a 0 0", renewed.queueOffset, a.Fields["popTime"], r.ReviveQueueID)
	expired := b.request(codec.ChangeMessageInvisibleTime, list[1].ackFields(fields{"invisibleTime": "30000"}), "")
	require.Equal(t, codec.Success, expired.Code)
	require.EqualValues(t, 1, b.popping.state.Checkpoints(), "a receipt whose time is over makes no delivery")
	b.acks(list[0])
	require.EqualValues(t, 1, b.popping.state.Checkpoints(), "nor does the old receipt acknowledge")
	b.acks(renewed)
	require.Zero(t, b.popping.state.Checkpoints())
	a = b.request(codec.ChangeMessageInvisibleTime, list[0].ackFields(fields{"invisibleTime": "1", "offset": "2"}), "")
	require.Equal(t, codec.NoMessage, a.Code)
}

func TestBatchAck(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 12)
	list := b.pops(fields{"maxMsgNums": "12"})
	require.Len(t, list, 12)
	r := mustReceipt(t, list[0].receipt)
	body := func(bits string) string {
		return fmt.Sprintf(`{"acks":[{"b":%q,"c":"G","it":%d,"pt":%d,"q":0,"r":"0","rq":%d,"so":%d,"t":"T"}],"brokerName":"broker-a"}`, bits,
			r.InvisibleMs, r.PopTimeMs, r.ReviveQueueID, r.StartOffset)
	}
	require.Equal(t, codec.NoMessage, b.request(codec.BatchAckMessage, nil, "").Code)
	require.Equal(t, codec.NoMessage, b.request(codec.BatchAckMessage, nil, `{"acks":[],"brokerName":"b"}`).Code)
	require.Equal(t, codec.Success, b.request(codec.BatchAckMessage, nil, body("/gf///8=")).Code) // 1 to 10, 16 and more
	b.tickPop(10 * time.Second)
	require.Equal(t, []string{"m0", "m11"}, []string{string(b.at("%RETRY%G_T", 0, 0).Body), string(b.at("%RETRY%G_T", 0, 1).Body)})
	require.EqualValues(t, 2, b.store.MaxQueueOffset("%RETRY%G_T", 0))
}

func TestPeekAndNotification(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 2)
	b.groupOf("G")
	peek := fields{"consumerGroup": "G", "topic": "T", "queueId": "-1", "maxMsgNums": "3"}
	require.Equal(t, codec.PullNotFound, b.request(codec.PeekMessage, peek, "").Code)
	notice := fields{"consumerGroup": "G", "topic": "T", "queueId": "-1", "pollTime": "15000", "bornTime": "0"}
	require.Nil(t, b.request(codec.Notification, notice, ""))
	require.Nil(t, b.pops(nil))
	info := b.request(codec.PollingInfo, fields{"consumerGroup": "G", "topic": "T", "queueId": "-1"}, "")
	require.Equal(t, "2", info.Fields["pollingNum"])
	b.put("T", 1, "A", "x")
	for range 2 {
		a := b.answered()
		require.Equal(t, codec.Success, a.Code)
	}
	b.put("T", 0, "A", "y")
	for range 2 {
		a := b.request(codec.PeekMessage, peek, "")
		require.Equal(t, codec.Success, a.Code)
		require.Equal(t, []string{"y"}, bodiesIn(t, a.Body))
	}
	require.Equal(t, "true", b.request(codec.Notification, notice, "").Fields["hasMsg"])
	require.Equal(t, []string{"y"}, bodies(b.pops(nil)))
	a := b.request(codec.Notification, notice.with(fields{"pollTime": "0"}), "")
	require.Equal(t, "false", a.Fields["hasMsg"])
	require.Equal(t, "false", a.Fields["pollingFull"])
}

func bodiesIn(t testing.TB, b []byte) (all []string) {
	t.Helper()
	for len(b) > 0 {
		var m codec.Message
		n, err := codec.DecodeMessage(b, &m)
		require.NoError(t, err)
		all, b = append(all, string(m.Body)), b[n:]
	}
	return all
}

func TestPopBeginsWhereItsModeSays(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	for _, g := range []string{"G", "Hot", "Last"} {
		b.groupOf(g)
	}
	b.putSome("T", 1, 3)
	require.Len(t, b.pops(nil), 3)
	require.Len(t, b.pops(fields{"consumerGroup": "Hot", "initMode": "1"}), 3, "all messages are in memory")
	b.set(func(s *Settings) { s.PopInitByMemory = false })
	require.Equal(t, []string{"m2"}, bodies(b.pops(fields{"consumerGroup": "Last", "initMode": "1"})))
}

func TestResetWhilePopping(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 4)
	b.acks(b.pops(nil)...)
	require.NoError(t, b.offsets.SetReset("G", "T", 0, 2))
	require.Equal(t, []string{"m2", "m3"}, bodies(b.pops(nil)))
}

// TestPopSurvivesAKill: what was delivered stays invisible in a process that follows, what was acknowledged stays so, and the rest
// comes back when its time is over.
func TestPopSurvivesAKill(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 2)
	b.groupOf("G")
	b.putSome("T", 2, 4)
	list := b.pops(fields{"maxMsgNums": "6"})
	require.Len(t, list, 6)
	b.acks(list[0], list[5])
	renewed := b.request(codec.ChangeMessageInvisibleTime, list[1].ackFields(fields{"invisibleTime": "30000"}), "")
	require.Equal(t, codec.Success, renewed.Code)
	b.dispatched()
	b.reopenPop()
	require.Equal(t, []string{"m5", "m7"}, sorted(bodies(b.pops(nil))), "only what was not delivered")
	b.tickPop(10 * time.Second)
	require.EqualValues(t, 5, b.store.MaxQueueOffset("%RETRY%G_T", 0), "all but the acknowledged and the renewed")
	b.reopenPop()
	b.tickPop(0)
	require.EqualValues(t, 5, b.store.MaxQueueOffset("%RETRY%G_T", 0), "once")
	b.tickPop(20 * time.Second)
	require.EqualValues(t, 6, b.store.MaxQueueOffset("%RETRY%G_T", 0))
}

func sorted(list []string) []string {
	out := append([]string(nil), list...)
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[j] < out[i] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}

// reopenPop has the deliveries read anew, as a process does that follows a killed one: the table of offsets is as it was first.
func (b *rig) reopenPop() {
	b.t.Helper()
	b.offsets.DeleteGroup("G")
	b.offsets.DeleteGroup("CID_RMQ_SYS_REVIVE_GROUP")
	b.openPop()
}

func (b *rig) openPop() {
	b.t.Helper()
	state, err := store.OpenPop(b.store, b.offsets, store.PopOptions{
		TableOptions: store.TableOptions{Now: b.clock.Now, Logger: b.log}, Cluster: "FixtureCluster", BrokerName: "broker-a"})
	require.NoError(b.t, err)
	b.popping.state = state
}
