package compat

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	delayRate    = 10_000    // messages a second
	timersAtRest = 1_000_000 // that wait beside them
	storeMsAt    = 56        // in a record of a born host with an IPv4 address
)

// BenchmarkDelays sends 10,000 messages a second that rest for a second of delay level 1, and then as many timer messages that rest for
// one to three seconds, beside a million that wait for an hour. It prints how much later than asked for they are stored in their topic,
// and the anonymous memory of the broker. Each broker has core 0 to itself, and refuses nothing because it is behind: it is then late.
// A JVM's heap is set when it starts.
func BenchmarkDelays(b *testing.B) {
	kinds := []Kind{Apogee}
	if JavaMissing() == nil {
		kinds = append(kinds, Apache)
	}
	for _, kind := range kinds {
		b.Run(string(kind), func(b *testing.B) {
			tg, err := newTarget(kind, b.TempDir(), ForSpeed(), WithConf("brokerFastFailureEnable", "false"), WithConf("sendThreadPoolQueueCapacity", "1000000"))
			require.NoError(b, err)
			defer tg.Close()
			require.NoError(b, tg.start())
			for b.Loop() {
				b.ReportMetric(0, "ns/op")
				levels := newDelayRun(b, tg)
				levels.sendPaced(levels.sender(props("DELAY", "1"), 0), func() (int64, []field) { return nowMs() + 1000, nil })
				levels.report("level")
				timers := newDelayRun(b, tg)
				timers.rest(timersAtRest)
				b.ReportMetric(anonymousKiB(b, tg)/1024, "anon-MB")
				n := 0
				timers.sendPaced(timers.withTimers(), func() (int64, []field) {
					n++
					due := nowMs() + 1000 + rand.Int64N(2000)
					return due, []field{timerField(due, n)}
				})
				timers.report("timer")
			}
		})
	}
}

// delayRun is a topic of messages that rest.
type delayRun struct {
	benchRun
	sent int
}

func newDelayRun(b *testing.B, tg *Target) *delayRun {
	r := &delayRun{benchRun: benchRun{TB: b, target: tg, topic: unique("Bench"), group: unique("BG")}}
	require.NoError(b, createTopic(tg.Broker(), r.topic, benchQueues))
	return r
}

// withTimers makes frames of messages whose properties come with each.
func (r *delayRun) withTimers() *frameMaker {
	return newFrameMaker(codeSendMessageV2, without(shortened(with(sendFields(r.topic, 0, ""), "producerGroup", r.group)), "e", "i"))
}

func timerField(dueMs int64, n int) field {
	return field{name: "i", text: fmt.Appendf(nil, `TIMER_DELIVER_MS\u0001%d\u0002UNIQ_KEY\u0001%d-%d\u0002`, dueMs, dueMs, n)}
}

// rest sends messages that wait for one to two hours, and waits until all are taken in.
func (r *delayRun) rest(n int) {
	maker, body := r.withTimers(), make([]byte, benchBody)
	until := time.Now().Add(10 * time.Minute)
	r.each(benchConns, func(i int, p *pipe) error {
		left := n / benchConns
		return p.windowed(32, until, func(slot int, a *reply, dst []byte) []byte {
			if left--; left < 0 {
				return dst
			}
			return maker.append(dst, firstOpaque+slot, body, queueField(left), timerField(nowMs()+3_600_000+rand.Int64N(3_600_000), left*benchConns+i))
		})
	})
	require.NoError(r, poll(10*time.Minute, func() error {
		end, err := callOnce(r.target.Broker(), codeGetMaxOffset, ext("topic", timerTopic, "queueId", 0), nil)
		if err != nil {
			return err
		}
		check, err := callOnce(r.target.Broker(), codeTimerCheckPoint, nil, nil)
		if err != nil {
			return err
		}
		if have := fmt.Sprint(binary.BigEndian.Uint64(check.Body[16:])); have != end.Ext["offset"] {
			return fmt.Errorf("%s of %s are taken in", have, end.Ext["offset"])
		}
		return nil
	}))
}

// sendPaced sends what is due each millisecond, for as long as a cell lasts. The body of a message begins with when it is to come.
func (r *delayRun) sendPaced(maker *frameMaker, next func() (dueMs int64, more []field)) {
	r.each(1, func(_ int, p *pipe) error {
		answered := make(chan error, 1)
		lasts := benchSeconds()
		want := int(lasts.Seconds() * delayRate)
		go func() {
			var a reply
			for range want {
				if err := p.read(&a); err != nil || a.code != resSuccess {
					answered <- fmt.Errorf("answer %s: %w", a.header, err)
					return
				}
			}
			answered <- nil
		}()
		var body [benchBody]byte
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for began := time.Now(); r.sent < want; <-tick.C {
			p.out = p.out[:0]
			for due := int(time.Since(began) * delayRate / time.Second); r.sent < min(due, want); r.sent++ {
				dueMs, more := next()
				binary.BigEndian.PutUint64(body[:], uint64(dueMs))
				p.out = maker.append(p.out, firstOpaque, body[:], append(more, queueField(r.sent))...)
			}
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
		}
		return <-answered
	})
}

// report waits until all have come and says how late they were.
func (r *delayRun) report(what string) {
	var late []int64
	require.NoError(r, poll(5*time.Minute, func() error {
		late = late[:0]
		for queueID := range benchQueues {
			if err := r.lateness(queueID, &late); err != nil {
				return err
			}
		}
		if len(late) < r.sent {
			return fmt.Errorf("%d of %d have come", len(late), r.sent)
		}
		return nil
	}))
	require.Len(r, late, r.sent)
	slices.Sort(late)
	b := r.TB.(*testing.B)
	for name, ms := range map[string]int64{"first": late[0], "p50": late[len(late)/2], "p99": late[len(late)*99/100], "max": late[len(late)-1]} {
		b.ReportMetric(float64(ms), what+"-"+name+"-ms")
	}
}

// lateness reads a queue.
func (r *delayRun) lateness(queueID int, late *[]int64) error {
	p, err := openPipe(r.target.Broker())
	if err != nil {
		return err
	}
	defer p.close()
	maker := newFrameMaker(codePullMessage, without(pullFields(r.group, r.topic, queueID, 0), "queueOffset"))
	var a reply
	for from := int64(0); ; from = a.number("nextBeginOffset") {
		p.out = maker.append(p.out[:0], firstOpaque, nil, field{name: "queueOffset", n: from})
		if _, err := p.conn.Write(p.out); err != nil {
			return err
		}
		if err := p.read(&a); err != nil {
			return err
		}
		if a.code != resSuccess {
			return nil
		}
		if err := records(a.body, func(r []byte) {
			*late = append(*late, int64(binary.BigEndian.Uint64(r[storeMsAt:])-binary.BigEndian.Uint64(r[bodyAt:])))
		}); err != nil {
			return err
		}
	}
}
