package compat

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// popLedger is what popping clients saw of their messages.
type popLedger struct {
	mu    sync.Mutex
	acked map[string]bool
	until map[string]int64 // to when a message is invisible at least, by the clock of the broker that popped it
	wrong []string
	pops  int
}

// popMember pops and acknowledges three of four messages until its connection ends.
func (l *popLedger) popMember(c *client, tg *Target, group, topic string, invisible time.Duration) {
	for i := 0; ; i++ {
		p, err := c.call(codePop, with(popFields(group, topic, invisible), "maxMsgNums", 4, "pollTime", 2000), nil)
		if err != nil {
			return
		}
		list, err := poppedOf(group, topic, tg.BrokerName, p)
		l.mu.Lock()
		if err != nil {
			l.wrong = append(l.wrong, err.Error())
		}
		for _, m := range list {
			body, popped := string(m.Body), popTimeOf(m)
			if l.acked[body] {
				l.wrong = append(l.wrong, body+" came although it was acknowledged")
			}
			if until := l.until[body]; popped < until {
				l.wrong = append(l.wrong, fmt.Sprintf("%s came %d ms before its invisible time was over", body, until-popped))
			}
			l.until[body] = popped + invisible.Milliseconds()
			l.pops++
		}
		l.mu.Unlock()
		for n, m := range list {
			if (i+n)%4 == 3 {
				continue // it comes again
			}
			if res, err := c.call(codeAck, m.ackFields(), nil); err != nil || res.Code != resSuccess {
				return
			}
			l.mu.Lock()
			l.acked[string(m.Body)] = true
			l.mu.Unlock()
		}
	}
}

func popTimeOf(m popped) (ms int64) {
	_, _ = fmt.Sscan(m.part(1), &ms)
	return ms
}

// TestPopKill kills our broker under popping clients. No message is lost, none that was acknowledged comes again, and none comes
// while it is invisible. This is what our broker promises; nothing is said of Apache's.
func TestPopKill(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("a promise of our broker")
	}
	tg := onOwn(t, WithConf("mappedFileSizeCommitLog", "1048576"))
	const queues, each, invisible = 3, 400, 4 * time.Second
	topic, group := newTopic(t, tg, queues), newGroup(t, tg)
	ledger := &popLedger{acked: map[string]bool{}, until: map[string]int64{}}
	sent := 0
	for range 3 {
		c := connect(t, tg.Broker())
		for range each {
			put(t, c, topic, sent%queues, fmt.Sprint("m", sent), "")
			sent++
		}
		var members sync.WaitGroup
		for range 4 {
			c := connect(t, tg.Broker())
			members.Go(func() { ledger.popMember(c, tg, group, topic, invisible) })
		}
		want := ledger.count() + each/2
		eventually(t, popAgain, func() error {
			if n := ledger.count(); n < want {
				return fmt.Errorf("%d of %d are acknowledged", n, want)
			}
			return nil
		})
		tg.KillBroker(t)
		members.Wait()
		tg.StartBroker(t)
	}
	c := connect(t, tg.Broker())
	var member sync.WaitGroup
	member.Go(func() { ledger.popMember(c, tg, group, topic, invisible) })
	// An ack whose answer the kill took may have been made: its message does not come again.
	eventually(t, 2*popAgain, func() error {
		ledger.mu.Lock()
		defer ledger.mu.Unlock()
		for i := range sent {
			if body := fmt.Sprint("m", i); ledger.until[body] == 0 || !ledger.acked[body] && ledger.until[body]+10_000 > nowMs() {
				return fmt.Errorf("%s is not done with", body)
			}
		}
		return nil
	})
	c.close()
	member.Wait()
	require.Empty(t, ledger.wrong)
	require.GreaterOrEqual(t, ledger.count(), sent-3*4, "of each kill and client one ack may have gone unanswered")
}

func (l *popLedger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}
