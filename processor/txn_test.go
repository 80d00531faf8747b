package processor

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// halfProps are the properties that a producer sends with a half message.
func halfProps(pairs ...string) string {
	return propText(append([]string{"TRAN_MSG", "true", "PGROUP", "PG_tx", "UNIQ_KEY", "C00002020CB74E0E2F2A676361CC0000", "TAGS", "TagTx"}, pairs...)...)
}

// sendHalf sends a half message and returns its record.
func (b *rig) sendHalf(body string, pairs ...string) *codec.Message {
	b.t.Helper()
	head := sendFields("FxTx", fields{"i": halfProps(pairs...), "f": "4", "e": "3", "g": strconv.FormatInt(b.clock.Now().UnixMilli(), 10)})
	got := b.request(codec.SendMessageV2, head, body)
	require.Equal(b.t, codec.Success, got.Code, got.Remark)
	require.Equal(b.t, "3", got.Fields["queueId"])
	require.Equal(b.t, "C00002020CB74E0E2F2A676361CC0000", got.Fields["transactionId"])
	_, physOffset, err := codec.ParseOffsetMsgID(got.Fields["msgId"])
	require.NoError(b.t, err)
	half := b.stored(physOffset)
	require.Equal(b.t, strconv.FormatInt(half.QueueOffset, 10), got.Fields["queueOffset"])
	return half
}

// endFields are those of an END_TRANSACTION.
func endFields(half *codec.Message, commitOrRollback int32) fields {
	return fields{
		"producerGroup": "PG_tx", "bname": "broker-a", "topic": "FxTx", "msgId": "C00002020CB74E0E2F2A676361CC0000",
		"tranStateTableOffset": strconv.FormatInt(half.QueueOffset, 10), "commitLogOffset": strconv.FormatInt(half.PhysOffset, 10),
		"commitOrRollback": strconv.Itoa(int(commitOrRollback)), "fromTransactionCheck": "false",
	}
}

func (b *rig) tickTransactions(d time.Duration) {
	for end := b.clock.Now().Add(d); b.clock.Now().Before(end); {
		b.dispatched()
		b.TickTransactions(b.clock.move(500 * time.Millisecond))
	}
}

func TestHalfMessage(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	half := b.sendHalf("tx commit", "__transactionId__", "stale", "REAL_QID", "9")
	require.Equal(t, store.TopicTransHalf, string(half.Topic))
	require.Equal(t, int32(0), half.QueueID)
	require.Equal(t, int32(0), half.SysFlag)
	require.Equal(t, map[string]string{
		"TRAN_MSG": "true", "PGROUP": "PG_tx", "UNIQ_KEY": "C00002020CB74E0E2F2A676361CC0000", "TAGS": "TagTx",
		"__transactionId__": "C00002020CB74E0E2F2A676361CC0000", "REAL_TOPIC": "FxTx", "REAL_QID": "3",
		"CLUSTER": "FixtureCluster", "MSG_REGION": "DefaultRegion", "TRACE_ON": "true",
	}, propMap(half.Properties))
	b.dispatched()
	_, _, tags, ok := b.store.QueueEntry(store.TopicTransHalf, 0, half.QueueOffset)
	require.True(t, ok)
	require.Equal(t, int64(80567198), tags)
	require.Equal(t, int64(0), b.store.MaxQueueOffset("FxTx", 3))
}

func TestHalfMessagesRefused(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.maxOpen = 1 })
	b.topicOf("FxTx", 4)
	b.sendHalf("one")
	b.tickTransactions(3 * time.Second)
	got := b.request(codec.SendMessageV2, sendFields("FxTx", fields{"i": halfProps()}), "x")
	require.Equal(t, codec.SystemBusy, got.Code)
	require.Contains(t, got.Remark, "too many transactions")
	b.set(func(s *Settings) { s.RejectTransactions = true })
	got = b.request(codec.SendMessageV2, sendFields("FxTx", fields{"i": halfProps()}), "x")
	require.Equal(t, codec.NoPermission, got.Code)
	require.Equal(t, "the broker[127.0.0.2] sending transaction message is forbidden", got.Remark)
	plain := b.request(codec.SendMessageV2, sendFields("FxTx", fields{"i": propText("TRAN_MSG", "false")}), "x")
	require.Equal(t, codec.Success, plain.Code)
}

func TestEndTransaction(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	half := b.sendHalf("tx commit")
	back := b.sendHalf("tx rollback")
	for range 2 { // the second one changes nothing
		got := b.request(codec.EndTransaction, endFields(half, codec.SysCommit), "")
		require.Equal(t, codec.Success, got.Code, got.Remark)
		require.Empty(t, got.Remark)
		require.Equal(t, codec.Success, b.request(codec.EndTransaction, endFields(back, codec.SysRollback), "").Code)
	}
	final := b.at("FxTx", 3, 0)
	require.Equal(t, int64(1), b.store.MaxQueueOffset("FxTx", 3))
	require.Equal(t, "tx commit", string(final.Body))
	require.Equal(t, codec.SysCommit, final.SysFlag)
	require.Equal(t, half.PhysOffset, final.PreparedTransactionOffset)
	require.Equal(t, half.BornTimestampMs, final.BornTimestampMs)
	want := propMap(half.Properties)
	delete(want, "REAL_TOPIC")
	delete(want, "REAL_QID")
	require.Equal(t, want, propMap(final.Properties))
	b.tickTransactions(4 * time.Second)
	require.Equal(t, "0,1,", string(b.at(store.TopicTransOp, 0, 0).Body))
}

func TestEndTransactionOneway(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	half := b.sendHalf("one-way")
	b.run(frameOf(codec.EndTransaction, endFields(half, codec.SysCommit), "", codec.FlagOneway))
	require.Equal(t, "one-way", string(b.at("FxTx", 3, 0).Body))
}

func TestEndTransactionDelayed(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	half := b.sendHalf("later", "DELAY", "3")
	require.Equal(t, codec.Success, b.request(codec.EndTransaction, endFields(half, codec.SysCommit), "").Code)
	delayed := b.at(store.TopicSchedule, 2, 0)
	props := propMap(delayed.Properties)
	require.Equal(t, "FxTx", props["REAL_TOPIC"])
	require.Equal(t, "3", props["REAL_QID"])
	require.Equal(t, "later", string(delayed.Body))
	require.Equal(t, int64(0), b.store.MaxQueueOffset("FxTx", 3))
}

func TestEndTransactionAfterFlush(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.store.FlushMode = store.FlushSync })
	b.topicOf("FxTx", 4)
	half := b.sendHalf("flushed")
	b.set(func(s *Settings) { s.SyncFlush = true })
	require.Nil(t, b.request(codec.EndTransaction, endFields(half, codec.SysCommit), ""))
	require.Equal(t, codec.Success, b.conn.next(t).Code)
	require.Equal(t, b.store.Written(), b.store.Flushed())
}

var endRefusals = []struct {
	name   string
	change fields
	move   time.Duration
	props  []string
	want   int32
	remark string
}{
	{name: "another group", change: fields{"producerGroup": "other"}, want: 1, remark: "The producer group wrong"},
	{name: "wrong queue offset", change: fields{"tranStateTableOffset": "5"}, want: 1, remark: "The transaction state table offset wrong"},
	{name: "no record there", change: fields{"commitLogOffset": "1"}, want: 1, remark: textNoHalf},
	{name: "behind the log", change: fields{"commitLogOffset": "999999999"}, want: 1, remark: textNoHalf},
	{name: "negative offset", change: fields{"commitLogOffset": "-1"}, want: 1, remark: textNoHalf},
	{name: "neither commit nor rollback", change: fields{"commitOrRollback": "5"}, want: 1, remark: "commitOrRollback field wrong"},
	{name: "no group", change: fields{"producerGroup": absent}, want: 1},
	{name: "no message id", change: fields{"msgId": absent}, want: 1},
	{name: "no decision", change: fields{"commitOrRollback": absent}, want: 1},
	{name: "offset is no number", change: fields{"commitLogOffset": "x"}, want: 1},
	{name: "after the immunity time", props: []string{codec.PropCheckImmunitySeconds, "10"}, move: 10001 * time.Millisecond, want: 604},
	{name: "after the immunity time, wrong group", props: []string{codec.PropCheckImmunitySeconds, "10"}, move: 10001 * time.Millisecond,
		change: fields{"producerGroup": "other"}, want: 604},
	{name: "immunity shorter than the time-out", props: []string{codec.PropCheckImmunitySeconds, "1"}, move: 6001 * time.Millisecond, want: 604},
}

func TestEndTransactionRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range endRefusals {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRig(t)
			b.topicOf("FxTx", 4)
			half := b.sendHalf("refused", tt.props...)
			b.clock.move(tt.move)
			before := b.store.Written()
			for _, end := range []int32{codec.SysCommit, codec.SysRollback} {
				got := b.request(codec.EndTransaction, endFields(half, end).with(tt.change), "")
				require.Equal(t, tt.want, got.Code, got.Remark)
				if tt.remark != "" {
					require.Equal(t, tt.remark, got.Remark)
				}
			}
			require.Equal(t, before, b.store.Written())
			// It can still be ended the right way, by who was asked at least.
			got := b.request(codec.EndTransaction, endFields(half, codec.SysCommit).with(fields{"fromTransactionCheck": "true"}), "")
			require.Equal(t, codec.Success, got.Code, got.Remark)
			require.Equal(t, "refused", string(b.at("FxTx", 3, 0).Body))
		})
	}
}

func TestEndTransactionOfAnotherMessage(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	got := b.request(codec.SendMessageV2, sendFields("FxTx", fields{"i": propText("PGROUP", "PG_tx", "REAL_TOPIC", "FxTx", "REAL_QID", "0")}), "forged")
	_, physOffset, err := codec.ParseOffsetMsgID(got.Fields["msgId"])
	require.NoError(t, err)
	got = b.request(codec.EndTransaction, endFields(b.stored(physOffset), codec.SysCommit), "")
	require.Equal(t, codec.SystemError, got.Code)
	require.Equal(t, textNoHalf, got.Remark)
}

func TestEndTransactionUnknown(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	half := b.sendHalf("unknown")
	require.Nil(t, b.request(codec.EndTransaction, endFields(half, codec.SysNotTransaction), ""))
	b.conn.none(t)
	require.Equal(t, 0, b.opts.Txn.Open())
}

func TestEndTransactionStoreClosed(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	half := b.sendHalf("closed")
	b.dispatched()
	b.close()
	got := b.request(codec.EndTransaction, endFields(half, codec.SysCommit), "")
	require.Equal(t, codec.SystemError, got.Code)
}

func TestCheckTransactionState(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	conns := []*fakeConn{newFakeConn("127.0.0.1:1001"), newFakeConn("127.0.0.1:1002"), newFakeConn("127.0.0.1:1003"), newFakeConn("127.0.0.1:1004")}
	for i, conn := range conns {
		group := "PG_tx"
		if i == 3 {
			group = "PG_other"
		}
		require.NoError(t, b.clients.RegisterProducer(Client{Conn: conn, ID: fmt.Sprint("p", i)}, group, b.clock.Now()))
	}
	half := b.sendHalf("tx commit")
	conns[0].Close(nil)
	conns[1].unread = true
	b.tickTransactions(7 * time.Second)
	asked := conns[2].next(t)
	require.Equal(t, codec.CheckTransactionState, asked.Code)
	var m codec.Message
	_, err := codec.DecodeMessage(asked.Body, &m)
	require.NoError(t, err)
	require.Equal(t, fields{
		"bname": "broker-a", "topic": store.TopicTransHalf, "msgId": "C00002020CB74E0E2F2A676361CC0000", "tranStateTableOffset": "1",
		"transactionId": "C00002020CB74E0E2F2A676361CC0000", "commitLogOffset": strconv.FormatInt(m.PhysOffset, 10),
		"offsetMsgId": string(codec.AppendOffsetMsgID(nil, testHost, m.PhysOffset)),
	}, asked.Fields)
	require.Equal(t, "FxTx", string(m.Topic))
	require.Equal(t, int32(3), m.QueueID)
	require.Equal(t, half.StoreTimestampMs, m.StoreTimestampMs)
	props := propMap(m.Properties)
	require.Equal(t, "1", props["TRANSACTION_CHECK_TIMES"])
	require.Equal(t, "false", props["WAIT"])

	// Nobody who can be written to is left: then one who is alive.
	conns[2].Close(nil)
	b.tickTransactions(30 * time.Second)
	again := conns[1].next(t)
	require.Equal(t, "2", again.Fields["tranStateTableOffset"])
	got := b.request(codec.EndTransaction, endFields(half, codec.SysCommit).with(fields{
		"fromTransactionCheck": "true", "tranStateTableOffset": again.Fields["tranStateTableOffset"], "commitLogOffset": again.Fields["commitLogOffset"],
	}), "")
	require.Equal(t, codec.Success, got.Code, got.Remark)
	require.Equal(t, "tx commit", string(b.at("FxTx", 3, 0).Body))
	b.tickTransactions(2 * time.Minute)
	conns[1].none(t)
	conns[3].none(t)
}

func TestTransactionGivenUpAndResumed(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxTx", 4)
	b.set(func(s *Settings) { s.TransactionCheckMax = 1 })
	b.sendHalf("given up")
	b.tickTransactions(time.Minute)
	given := b.at(store.TopicTransCheckMax, 0, 0)
	require.Equal(t, "given up", string(given.Body))
	topic, ok := b.topics.Get(store.TopicTransCheckMax)
	require.True(t, ok)
	require.Equal(t, codec.PermRead|codec.PermWrite, topic.Perm)
	require.Equal(t, int32(1), topic.ReadQueueNums)

	require.NoError(t, b.clients.RegisterProducer(Client{Conn: b.conn, ID: "p"}, "PG_tx", b.clock.Now()))
	id := string(codec.AppendOffsetMsgID(nil, testHost, given.PhysOffset))
	got := b.request(codec.ResumeCheckHalfMessage, fields{"msgId": id, "topic": "FxTx"}, "")
	require.Equal(t, codec.Success, got.Code, got.Remark)
	half := b.at(store.TopicTransHalf, 0, 2)
	require.Equal(t, "0", propMap(half.Properties)["TRANSACTION_CHECK_TIMES"])
	b.tickTransactions(3 * time.Second)
	require.Equal(t, codec.CheckTransactionState, b.conn.next(t).Code)
}

func TestResumeCheckRefused(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	for _, id := range []string{"", "7F00", string(codec.AppendOffsetMsgID(nil, testHost, 4711))} {
		got := b.request(codec.ResumeCheckHalfMessage, fields{"msgId": id}, "")
		require.Equal(t, codec.SystemError, got.Code)
		require.Equal(t, textResumeThrown, got.Remark)
	}
}
