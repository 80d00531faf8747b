package compat

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

const (
	tranNotKnown = 0
	tranCommit   = 8
	tranRollback = 12

	halfTopic     = "RMQ_SYS_TRANS_HALF_TOPIC"
	opTopic       = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
	checkMaxTopic = "TRANS_CHECK_MAX_TIME_TOPIC"
)

// withQuickChecks has producers asked after a second, and every second.
func withQuickChecks(checkMax string) []Option {
	return []Option{WithConf("transactionTimeOut", "1000"), WithConf("transactionCheckInterval", "1000"), WithConf("transactionCheckMax", checkMax)}
}

// half is a half message that was sent.
type half struct {
	group  string
	fields map[string]string // of its END_TRANSACTION, but for the decision
	id     string            // offset message id
}

func sendHalf(t testing.TB, c *client, topic, group, body string, properties ...string) half {
	t.Helper()
	text := props(append([]string{"TRAN_MSG", "true", "PGROUP", group}, properties...)...)
	res := c.ok(t, codeSendMessage, with(sendFields(topic, 1, text), "sysFlag", 4, "producerGroup", group), []byte(body))
	require.Equal(t, "1", res.Ext["queueId"])
	return half{group: group, id: res.Ext["msgId"], fields: ext("producerGroup", group, "msgId", res.Ext["transactionId"],
		"transactionId", res.Ext["transactionId"], "tranStateTableOffset", res.Ext["queueOffset"],
		"commitLogOffset", offsetOfID(t, res.Ext["msgId"]), "fromTransactionCheck", false)}
}

// offsetOfID is the physical offset in an offset message id.
func offsetOfID(t testing.TB, id string) int64 {
	t.Helper()
	require.Len(t, id, 32)
	var offset int64
	_, err := fmt.Sscanf(id[16:], "%X", &offset)
	require.NoError(t, err)
	return offset
}

// asked is the question about a half, which the broker sends a producer.
func asked(t testing.TB, c *client) *packet {
	t.Helper()
	for {
		timer := time.NewTimer(30 * time.Second)
		select {
		case p := <-c.pushed:
			timer.Stop()
			if p.Code == codeCheckTransaction {
				return p
			}
		case <-timer.C:
			require.FailNow(t, "the broker did not ask")
		}
	}
}

// answerTo are the fields of the END_TRANSACTION that answers a question.
func answerTo(p *packet, group string, decision int) map[string]string {
	return ext("producerGroup", group, "msgId", p.Ext["msgId"], "transactionId", p.Ext["transactionId"], "commitOrRollback", decision,
		"tranStateTableOffset", p.Ext["tranStateTableOffset"], "commitLogOffset", p.Ext["commitLogOffset"], "fromTransactionCheck", true)
}

func heartbeatAsProducer(t testing.TB, c *client, group string) {
	t.Helper()
	c.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("txn"), producerGroup: group}.body())
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	t.Run("a half message is seen when it is committed", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), unique("PG")
		c := connect(t, tg.Broker())
		first := sendHalf(t, c, topic, group, "committed", "KEYS", "k", "TAGS", "A")
		second := sendHalf(t, c, topic, group, "rolled back")
		third := sendHalf(t, c, topic, group, "committed one-way")
		require.Equal(t, "0", c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", 1), nil).Ext["offset"])
		c.ok(t, codeEndTransaction, with(first.fields, "commitOrRollback", tranCommit), nil)
		c.ok(t, codeEndTransaction, with(second.fields, "commitOrRollback", tranRollback), nil)
		require.NoError(t, c.oneway(codeEndTransaction, with(third.fields, "commitOrRollback", tranCommit), nil))
		all := readTopic(t, tg, topic, 2, 2)
		require.Equal(t, []string{"committed", "committed one-way"}, bodies(all))
		r := all[0]
		require.Equal(t, int32(1), r.QueueID)
		require.Equal(t, int32(tranCommit), r.SysFlag)
		require.Equal(t, "k", r.Props["KEYS"])
		require.Equal(t, "A", r.Props["TAGS"])
		require.Equal(t, group, r.Props["PGROUP"])
		require.Equal(t, "true", r.Props["TRAN_MSG"])
		require.Equal(t, r.Props["UNIQ_KEY"], r.Props["__transactionId__"])
		require.NotContains(t, r.Props, "REAL_TOPIC")
		require.NotContains(t, r.Props, "REAL_QID")
	})

	t.Run("what does not fit the half message is refused", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 2), unique("PG")
		c := connect(t, tg.Broker())
		h := sendHalf(t, c, topic, group, "x")
		commit := with(h.fields, "commitOrRollback", tranCommit)
		c.refused(t, resSystemError, "The producer group wrong", codeEndTransaction, with(commit, "producerGroup", "other"), nil)
		c.refused(t, resSystemError, "The transaction state table offset wrong", codeEndTransaction, with(commit, "tranStateTableOffset", 987654), nil)
		c.refused(t, resSystemError, "Find prepared transaction message failed", codeEndTransaction, with(commit, "commitLogOffset", 1<<50), nil)
		c.refused(t, resSystemError, "", codeEndTransaction, with(commit, "commitOrRollback", 5), nil)
		_, err := c.callPacket(&packet{Code: codeEndTransaction, Ext: with(commit, "commitOrRollback", tranNotKnown)}, 500*time.Millisecond)
		require.ErrorIs(t, err, errNoAnswer)
		c.ok(t, codeEndTransaction, commit, nil)
		require.Equal(t, []string{"x"}, bodies(readTopic(t, tg, topic, 2, 1)))
	})

	t.Run("half messages can be switched off", func(t *testing.T) {
		tg := onOwn(t, WithConf("rejectTransactionMessage", "true"))
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		c.refused(t, resNoPermission, "the broker[127.0.0.1] sending transaction message is forbidden", codeSendMessage,
			sendFields(topic, 1, props("TRAN_MSG", "true", "PGROUP", "PG")), []byte("x"))
	})
}

func TestTransactionCheck(t *testing.T) {
	t.Parallel()
	t.Run("a producer of the group is asked", func(t *testing.T) {
		tg := onOwn(t, withQuickChecks("15")...)
		topic, group := newTopic(t, tg, 2), unique("PG")
		c := connect(t, tg.Broker())
		h := sendHalf(t, c, topic, group, "undecided", "KEYS", "k")
		heartbeatAsProducer(t, c, group)
		p := asked(t, c)
		require.Equal(t, flagOneway, p.Flag&flagOneway)
		require.Equal(t, halfTopic, p.Ext["topic"])
		require.Equal(t, h.fields["transactionId"], p.Ext["transactionId"])
		require.Equal(t, tg.BrokerName, p.Ext["bname"])
		require.Equal(t, num(t, p, "commitLogOffset"), offsetOfID(t, p.Ext["offsetMsgId"]))
		list, err := decodeRecords(p.Body)
		require.NoError(t, err)
		require.Equal(t, topic, list[0].Topic)
		require.Equal(t, int32(1), list[0].QueueID)
		require.Equal(t, "undecided", string(list[0].Body))
		require.Equal(t, "false", list[0].Props["WAIT"])
		require.NotEmpty(t, list[0].Props["TRANSACTION_CHECK_TIMES"])
		c.ok(t, codeEndTransaction, answerTo(p, group, tranCommit), nil)
		require.Equal(t, []string{"undecided"}, bodies(readTopic(t, tg, topic, 2, 1)))
	})

	t.Run("one that nobody decides is given up and can be resumed", func(t *testing.T) {
		tg := onOwn(t, withQuickChecks("2")...)
		topic, group := newTopic(t, tg, 2), unique("PG")
		c := connect(t, tg.Broker())
		sendHalf(t, c, topic, group, "orphan")
		given := readTopic(t, tg, checkMaxTopic, 1, 1)
		require.Equal(t, "orphan", string(given[0].Body))
		require.Equal(t, topic, given[0].Props["REAL_TOPIC"])
		require.Equal(t, "2", given[0].Props["TRANSACTION_CHECK_TIMES"])
		heartbeatAsProducer(t, c, group)
		id := fmt.Sprintf("7F000001%08X%016X", tg.ports.broker, given[0].PhysOffset)
		c.ok(t, codeResumeCheck, ext("topic", topic, "msgId", id), nil)
		c.ok(t, codeEndTransaction, answerTo(asked(t, c), group, tranCommit), nil)
		require.Equal(t, []string{"orphan"}, bodies(readTopic(t, tg, topic, 2, 1)))
	})

	t.Run("a killed broker asks after its restart", func(t *testing.T) {
		tg := onOwn(t, withQuickChecks("15")...)
		topic, group := newTopic(t, tg, 2), unique("PG")
		c := connect(t, tg.Broker())
		open := sendHalf(t, c, topic, group, "open")
		done := sendHalf(t, c, topic, group, "done")
		c.ok(t, codeEndTransaction, with(done.fields, "commitOrRollback", tranCommit), nil)
		tg.KillBroker(t)
		tg.StartBroker(t)
		c = connect(t, tg.Broker())
		heartbeatAsProducer(t, c, group)
		for {
			p := asked(t, c)
			c.ok(t, codeEndTransaction, answerTo(p, group, tranCommit), nil)
			if p.Ext["transactionId"] == open.fields["transactionId"] {
				break
			}
			// Apache asks about the other one too: its op message was not written yet.
			require.Equal(t, Apache, needTarget(t))
		}
		if needTarget(t) == Apogee {
			require.Equal(t, []string{"done", "open"}, bodies(readTopic(t, tg, topic, 2, 2)))
		}
	})
}

// decider is a transaction listener that decides by the body, first when it is sent and then when it is asked.
type decider struct {
	mu     sync.Mutex
	checks []string
}

func (d *decider) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	switch string(m.Body) {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (d *decider) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checks = append(d.checks, string(m.Body))
	if string(m.Body) == "unknown, then commit" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (d *decider) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.checks...)
}

func TestGoTransactionProducer(t *testing.T) {
	tg := onOwn(t, withQuickChecks("15")...)
	topic := newTopic(t, tg, 2)
	d := new(decider)
	p, err := rocketmq.NewTransactionProducer(d, producer.WithNameServer(primitive.NamesrvAddr{tg.Namesrv()}),
		producer.WithGroupName(unique("PG")), producer.WithInstanceName(unique("producer")), producer.WithRetry(0))
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Shutdown() })
	for _, body := range []string{"commit", "rollback", "unknown, then commit", "unknown, then rollback"} {
		res, err := p.SendMessageInTransaction(context.Background(), message(topic, body))
		require.NoError(t, err)
		require.Equal(t, primitive.SendOK, res.Status)
	}
	eventually(t, 60*time.Second, func() error {
		if got := d.asked(); len(got) < 2 {
			return fmt.Errorf("asked about %q", got)
		}
		return nil
	})
	require.ElementsMatch(t, []string{"commit", "unknown, then commit"}, bodies(readTopic(t, tg, topic, 2, 2)))
	eventually(t, 20*time.Second, func() error {
		ops, err := readQueue(connect(t, tg.Broker()), opTopic, 0)
		if err == nil && len(ops) == 0 {
			err = fmt.Errorf("no op message")
		}
		return err
	})
}

// TestTakeOverTransactions hands open transactions from our broker to Apache's and back.
func TestTakeOverTransactions(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	if JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	tg := onOwn(t, append(withQuickChecks("15"), WithConf("mappedFileSizeCommitLog", "1048576"), WithConf("flushConsumerOffsetInterval", "1000"))...)
	besideApache(t)
	ours := tg.launch
	apache, err := newApacheLauncher()
	require.NoError(t, err)
	topic, group := newTopic(t, tg, 2), unique("PG")
	var want []string
	for round, next := range []launcher{apache, ours, apache, ours} {
		c := connect(t, tg.Broker())
		open, done := fmt.Sprint("open ", round), fmt.Sprint("done ", round)
		h := sendHalf(t, c, topic, group, done)
		c.ok(t, codeEndTransaction, with(h.fields, "commitOrRollback", tranCommit), nil)
		h = sendHalf(t, c, topic, group, open)
		eventually(t, 20*time.Second, func() error { // the op message that says done is written
			ops, err := readQueue(c, opTopic, 0)
			if err == nil && len(ops) < 2*round+1 {
				err = fmt.Errorf("%d op messages", len(ops))
			}
			return err
		})
		if round%2 == 0 {
			tg.KillBroker(t)
		} else {
			tg.StopBroker(t)
		}
		tg.launch = next
		tg.StartBroker(t)
		c = connect(t, tg.Broker())
		heartbeatAsProducer(t, c, group)
		p := asked(t, c)
		require.Equal(t, h.fields["transactionId"], p.Ext["transactionId"], "only the open one is asked about")
		c.ok(t, codeEndTransaction, answerTo(p, group, tranCommit), nil)
		want = append(want, done, open)
		require.Equal(t, want, bodies(readTopic(t, tg, topic, 2, len(want))))
		eventually(t, 20*time.Second, func() error {
			ops, err := readQueue(c, opTopic, 0)
			if err == nil && len(ops) < 2*round+2 {
				err = fmt.Errorf("%d op messages", len(ops))
			}
			return err
		})
	}
}
