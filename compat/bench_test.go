package compat

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Message semantics at speed, ours and Apache's server in one run, each held to core 0 where taskset is there; run the
// test itself on the others (make bench-semantics does). APOGEE_BENCH_SECONDS is how long a cell lasts, 5 by default.
//
// The client is this process; it works on frames made beforehand. Before a cell counts it runs for twice as long, so that the JVM
// has compiled what it will compile. core is how much of its core the server used, client-core the same of the client: a rate
// is the server's where core is near 1 and client-core is not.

const (
	benchQueues = 8
	benchBody   = 128
	benchConns  = 8
)

// benchCell is one kind of work. run works until the time is over and returns the messages that were done.
type benchCell struct {
	name    string
	prepare func(b *benchRun)
	run     func(b *benchRun, until time.Time) int64
}

// benchRun is a cell on a target.
type benchRun struct {
	testing.TB
	target *Target
	topic  string
	group  string
	ms     []float64 // latencies, if the cell has some
}

var benchCells = []benchCell{
	{"delayed-sends", nil, (*benchRun).sendDelayed},
	{"transactions", nil, (*benchRun).transactions},
	{"sql-pulls", (*benchRun).loadForSQL, (*benchRun).pullSQL},
	{"pop-ack", (*benchRun).loadForPop, (*benchRun).popAndAck},
	{"wake-parked-pull-at-5000", nil, func(b *benchRun, until time.Time) int64 { return b.wake(until, b.parkedPulls()) }},
	{"wake-parked-pop-at-5000", nil, func(b *benchRun, until time.Time) int64 { return b.wake(until, b.parkedPops()) }},
}

// BenchmarkSemantics runs every cell on both servers, in turn, once for each b.N, and those that wake beside a bare server.
func BenchmarkSemantics(b *testing.B) {
	kinds := []Kind{Apogee}
	if JavaMissing() == nil {
		kinds = append(kinds, Apache)
	} else {
		b.Log("Apache's server needs java and mvn")
	}
	for _, cell := range benchCells {
		for _, kind := range kinds {
			b.Run(cell.name+"/"+string(kind), func(b *testing.B) {
				for b.Loop() {
					cell.measure(b, kind)
				}
			})
		}
	}
	bare := bareCell{"wake-at-5000/bare", bareRelay(wakeRate, 1, benchQueues, time.Millisecond)}
	b.Run(bare.name, func(b *testing.B) {
		for b.Loop() {
			bare.measure(b)
		}
	})
}

func benchSeconds() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("APOGEE_BENCH_SECONDS")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return 5 * time.Second
}

func (cell *benchCell) measure(b *testing.B, kind Kind) {
	tg, err := newTarget(kind, b.TempDir(), ForSpeed())
	require.NoError(b, err)
	defer tg.Close()
	require.NoError(b, tg.start())
	run := &benchRun{TB: b, target: tg, topic: unique("Bench"), group: unique("BG")}
	require.NoError(b, createTopic(tg.Broker(), run.topic, benchQueues))
	if cell.prepare != nil {
		cell.prepare(run)
	}
	cell.run(run, time.Now().Add(2*benchSeconds()))
	run.ms = nil
	pid := tg.broker.cmd.Process.Pid
	before, err := cpuTime(pid)
	require.NoError(b, err)
	mine, err := cpuTime(os.Getpid())
	require.NoError(b, err)
	began := time.Now()
	done := cell.run(run, began.Add(benchSeconds()))
	took := time.Since(began)
	after, err := cpuTime(pid)
	require.NoError(b, err)
	mineAfter, err := cpuTime(os.Getpid())
	require.NoError(b, err)
	b.ReportMetric(0, "ns/op")
	if done == 0 {
		require.NotEqual(b, Apogee, kind, "nothing was done")
		b.Log("nothing came in time")
		return
	}
	b.ReportMetric(float64(done)/took.Seconds(), "msg/s")
	b.ReportMetric(float64((after-before).Microseconds())/float64(done), "cpu-us/msg")
	b.ReportMetric((after-before).Seconds()/took.Seconds(), "core")
	b.ReportMetric((mineAfter-mine).Seconds()/took.Seconds(), "client-core")
	reportLatencies(b, run.ms)
}

func reportLatencies(b *testing.B, ms []float64) {
	if len(ms) == 0 {
		return
	}
	slices.Sort(ms)
	b.ReportMetric(ms[len(ms)/2], "p50-ms")
	b.ReportMetric(ms[len(ms)*99/100], "p99-ms")
	b.ReportMetric(ms[len(ms)*999/1000], "p99.9-ms")
}

// each runs work on so many connections and waits for all.
func (b *benchRun) each(conns int, work func(i int, p *pipe) error) {
	b.Helper()
	var wg sync.WaitGroup
	errs := make([]error, conns)
	for i := range conns {
		wg.Go(func() {
			p, err := openPipe(b.target.Broker())
			if err != nil {
				errs[i] = err
				return
			}
			defer p.close()
			errs[i] = work(i, p)
		})
	}
	wg.Wait()
	require.NoError(b, errors.Join(errs...))
}

func (b *benchRun) sender(properties string, sysFlag int) *frameMaker {
	fields := with(sendFields(b.topic, 0, properties), "sysFlag", sysFlag, "producerGroup", b.group)
	return newFrameMaker(codeSendMessageV2, without(shortened(fields), "e"))
}

func queueField(n int) field { return field{name: "e", n: int64(n % benchQueues)} }

// sendDelayed sends messages that rest for a second.
func (b *benchRun) sendDelayed(until time.Time) int64 {
	maker, body := b.sender(props("DELAY", "1"), 0), make([]byte, benchBody)
	var done atomic.Int64
	b.each(benchConns, func(i int, p *pipe) error {
		n := i
		return p.windowed(32, until, func(slot int, a *reply, dst []byte) []byte {
			if n++; a != nil {
				done.Add(1)
			}
			return maker.append(dst, firstOpaque+slot, body, queueField(n))
		})
	})
	return done.Load()
}

// transactions sends half messages and commits each.
func (b *benchRun) transactions(until time.Time) int64 {
	half := b.sender(props("TRAN_MSG", "true", "PGROUP", b.group), 4)
	end := newFrameMaker(codeEndTransaction, ext("producerGroup", b.group, "commitOrRollback", tranCommit, "fromTransactionCheck", false))
	body := make([]byte, benchBody)
	var done atomic.Int64
	b.each(benchConns, func(i int, p *pipe) error {
		const window = 8
		var ending [window]bool
		n := i
		return p.windowed(window, until, func(slot int, a *reply, dst []byte) []byte {
			if a == nil || ending[slot] {
				if n++; a != nil {
					done.Add(1)
				}
				ending[slot] = false
				return half.append(dst, firstOpaque+slot, body, queueField(n))
			}
			ending[slot] = true
			return end.append(dst, firstOpaque+slot, nil, field{name: "tranStateTableOffset", text: a.field("queueOffset")},
				field{name: "commitLogOffset", n: physOffsetOf(a.field("msgId"))}, field{name: "msgId", text: a.field("transactionId")})
		})
	})
	return done.Load()
}

// physOffsetOf is the position in an id that the broker gave: address, port, position.
func physOffsetOf(id []byte) int64 {
	var b [16]byte
	if n, err := hex.Decode(b[:], id); err != nil || n != len(b) {
		return -1
	}
	return int64(binary.BigEndian.Uint64(b[8:]))
}

// load stores messages in batches, n of them over all queues.
func (b *benchRun) load(n, bodyBytes int, properties string) {
	const batch = 32
	fields := with(sendFields(b.topic, 0, ""), "batch", true, "producerGroup", b.group)
	maker := newFrameMaker(codeSendBatch, without(shortened(fields), "e"))
	body := sameBatch(batch, strings.Repeat("x", bodyBytes), properties)
	b.each(benchConns, func(i int, p *pipe) error {
		left := n / batch / benchConns
		return p.windowed(4, time.Now().Add(time.Minute), func(slot int, a *reply, dst []byte) []byte {
			if a != nil {
				left--
			}
			if left <= 0 {
				return dst
			}
			return maker.append(dst, firstOpaque+slot, body, queueField(i))
		})
	})
}

const sqlBacklog = 160_000

// loadForSQL stores two kinds of messages, of which one matches.
func (b *benchRun) loadForSQL() {
	for range 10 {
		b.load(sqlBacklog/20, benchBody, props("a", "30", "b", "x", "c", "other"))
		b.load(sqlBacklog/20, benchBody, props("a", "70", "b", "x", "c", "other"))
	}
}

// pullSQL pulls the backlog again and again. Messages that the filter drops do not count.
func (b *benchRun) pullSQL(until time.Time) int64 {
	fields := with(pullFields(b.group, b.topic, 0, 0), "subscription", "a BETWEEN 10 AND 50 AND b = 'x'", "expressionType", "SQL92")
	maker := newFrameMaker(codePullMessage, without(fields, "queueId", "queueOffset"))
	var done atomic.Int64
	b.each(benchConns, func(i int, p *pipe) error {
		var a reply
		from := int64(0)
		for time.Now().Before(until) {
			p.out = maker.append(p.out[:0], firstOpaque, nil, field{name: "queueId", n: int64(i)}, field{name: "queueOffset", n: from})
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
			if err := p.read(&a); err != nil {
				return err
			}
			switch a.code {
			case resSuccess:
				if err := records(a.body, func([]byte) { done.Add(1) }); err != nil {
					return err
				}
				from = a.number("nextBeginOffset")
			case resPullRetry:
				from = a.number("nextBeginOffset")
			case resPullNotFound, resPullOffsetMoved:
				from = 0
			default:
				return fmt.Errorf("answer %s", a.header)
			}
		}
		return nil
	})
	return done.Load()
}

// popBacklog is popped by one group after the other.
const popBacklog = 480_000

func (b *benchRun) loadForPop() { b.load(popBacklog, benchBody, "") }

// popAndAck pops 32 messages at a time and acknowledges each of them.
func (b *benchRun) popAndAck(until time.Time) int64 {
	pop := newFrameMaker(codePop, ext("topic", b.topic, "queueId", -1, "maxMsgNums", 32, "invisibleTime", 60000, "pollTime", 0,
		"initMode", 0, "expType", "TAG", "exp", "*", "order", false))
	ack := newFrameMaker(codeAck, ext("topic", b.topic))
	group := unique("BG")
	var done atomic.Int64
	b.each(benchConns, func(_ int, p *pipe) error {
		acks := &ackMaker{maker: ack, broker: b.target.BrokerName}
		var a, acked reply
		var of []byte
		for time.Now().Before(until) {
			of = strconv.AppendInt(append(of[:0], group...), done.Load()/popBacklog, 10)
			p.out = pop.append(p.out[:0], firstOpaque, nil, field{name: "consumerGroup", text: of}, field{name: "bornTime", n: nowMs()})
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
			if err := p.read(&a); err != nil {
				return err
			}
			if a.code == resPullNotFound || a.code == resPollingTimeout {
				continue
			}
			if a.code != resSuccess {
				return fmt.Errorf("answer to a pop %s", a.header)
			}
			var n int
			var err error
			if p.out, n, err = acks.append(p.out[:0], &a, of); err != nil {
				return err
			}
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
			for range n {
				if err := p.read(&acked); err != nil {
					return err
				}
				if acked.code != resSuccess {
					return fmt.Errorf("answer to an acknowledgement %s", acked.header)
				}
			}
			done.Add(int64(n))
		}
		return nil
	})
	return done.Load()
}
