package compat

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// txnLedger is what producers of transactions know. A message's first word is its decision.
type txnLedger struct {
	mu     sync.Mutex
	halves map[string]bool // acknowledged half messages
	ended  int             // acknowledged ends
	asked  map[string]int
	wrong  []string
}

func decisionOf(body string) int {
	if strings.HasPrefix(body, "rollback") {
		return tranRollback
	}
	return tranCommit
}

// produce sends half messages and ends two of three, until the connection ends; the third is ended when it is asked about.
func (l *txnLedger) produce(c *client, topic, group, name string) {
	for i := 0; ; i++ {
		body := fmt.Sprintf("%s %s-%06d", []string{"commit", "rollback"}[i%2], name, i)
		res, err := c.call(codeSendMessage, with(sendFields(topic, i%2, props("TRAN_MSG", "true", "PGROUP", group)), "sysFlag", 4, "producerGroup", group),
			[]byte(body))
		if err != nil {
			return
		}
		if res.Code != resSuccess {
			l.note(res, body)
			continue
		}
		l.mu.Lock()
		l.halves[body] = true
		l.mu.Unlock()
		if i%3 == 0 {
			continue
		}
		var at int64
		if _, err := fmt.Sscanf(res.Ext["msgId"][16:], "%X", &at); err != nil {
			l.note(res, body)
			return
		}
		res, err = c.call(codeEndTransaction, ext("producerGroup", group, "msgId", res.Ext["transactionId"], "transactionId", res.Ext["transactionId"],
			"tranStateTableOffset", res.Ext["queueOffset"], "commitLogOffset", at, "fromTransactionCheck", false, "commitOrRollback", decisionOf(body)), nil)
		if err != nil {
			return
		}
		l.note(res, body)
	}
}

func (l *txnLedger) note(res *packet, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if res.Code == resSuccess {
		l.ended++
		return
	}
	l.wrong = append(l.wrong, fmt.Sprintf("%s: code %d, %s", body, res.Code, res.Remark))
}

// answer answers the broker's questions until the connection ends. About what begins with "late" it knows the third time.
func (l *txnLedger) answer(c *client, group string) {
	for {
		select {
		case <-c.done:
			return
		case p := <-c.pushed:
			if p.Code != codeCheckTransaction {
				continue
			}
			list, err := decodeRecords(p.Body)
			if err != nil || len(list) != 1 {
				l.note(&packet{Code: -1, Remark: "a question without its message"}, p.Remark)
				continue
			}
			body := string(list[0].Body)
			l.mu.Lock()
			l.asked[body]++
			undecided := strings.HasPrefix(body, "late") && l.asked[body] < 3
			l.mu.Unlock()
			if undecided {
				continue
			}
			// What somebody decided meanwhile is refused by Apache's broker, and answered by ours.
			_, _ = c.call(codeEndTransaction, answerTo(p, group, decisionOf(body)), nil)
		}
	}
}

func (l *txnLedger) committed() (bodies []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for body := range l.halves {
		if decisionOf(body) == tranCommit {
			bodies = append(bodies, body)
		}
	}
	return bodies
}

// TestKillDuringTransactions kills the broker three times under producers of transactions, which are in all their steps. What was
// acknowledged is delivered when it was committed, also by an answer to a question, and never when it was rolled back; by our broker once.
func TestKillDuringTransactions(t *testing.T) {
	tg := onOwn(t, append(withQuickChecks("1000"), WithConf("mappedFileSizeCommitLog", "1048576"))...)
	topic, group := newTopic(t, tg, 2), unique("PG")
	l := &txnLedger{halves: map[string]bool{}, asked: map[string]int{}}
	var all sync.WaitGroup
	join := func() *client {
		c := connect(t, tg.Broker())
		heartbeatAsProducer(t, c, group)
		all.Go(func() { l.answer(c, group) })
		return c
	}
	for round := range 3 {
		l.mu.Lock()
		want := l.ended + 300
		l.mu.Unlock()
		for i := range 4 {
			c := join()
			all.Go(func() { l.produce(c, topic, group, fmt.Sprintf("r%d-p%d", round, i)) })
		}
		eventually(t, steadyLimit, func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.ended < want {
				return fmt.Errorf("%d of %d transactions are ended", l.ended, want)
			}
			return nil
		})
		tg.KillBroker(t)
		all.Wait()
		tg.StartBroker(t)
	}
	c := join()
	beat := heartbeat{clientID: unique("txn"), producerGroup: group}.body() // Apache's broker closes connections of producers without
	times := map[string]int{}
	awaitDelivered := func(want []string) {
		eventually(t, steadyLimit, func() error {
			clear(times)
			if _, err := c.call(codeHeartbeat, nil, beat); err != nil {
				return err
			}
			for queueID := range 2 {
				list, err := readQueue(c, topic, queueID)
				if err != nil {
					return err
				}
				for _, r := range list {
					times[string(r.Body)]++
				}
			}
			for _, body := range want {
				if times[body] == 0 {
					return fmt.Errorf("%q is not delivered", body)
				}
			}
			return nil
		})
	}
	awaitDelivered(l.committed())
	// When a later one has been asked about three times, all before it have had their turns.
	sendHalf(t, c, topic, group, "late")
	awaitDelivered([]string{"late"})
	c.close()
	all.Wait()
	for body, n := range times {
		require.Equal(t, tranCommit, decisionOf(body), "%q is delivered", body)
		if tg.Kind == Apogee {
			require.Equal(t, 1, n, "%q is delivered", body)
		}
	}
	require.Empty(t, l.wrong)
	t.Logf("%d half messages, %d ended, %d asked about, %d delivered", len(l.halves), l.ended, len(l.asked), len(times))
}
