package compat

import (
	"encoding/binary"
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
// The client is this process; it works on frames made beforehand. Before a cell counts it runs for a while, so that the JVM
// has compiled what it will compile.

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
	{"wake-parked-pull-5000/s", nil, (*benchRun).wakePulls},
}

// BenchmarkSemantics runs every cell on both servers, in turn, once for each b.N.
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
	cell.run(run, time.Now().Add(benchSeconds()))
	run.ms = nil
	pid := tg.broker.cmd.Process.Pid
	before, err := cpuTime(pid)
	require.NoError(b, err)
	began := time.Now()
	done := cell.run(run, began.Add(benchSeconds()))
	took := time.Since(began)
	after, err := cpuTime(pid)
	require.NoError(b, err)
	require.Positive(b, done)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(done)/took.Seconds(), "msg/s")
	b.ReportMetric(float64((after-before).Microseconds())/float64(done), "cpu-us/msg")
	if len(run.ms) > 0 {
		slices.Sort(run.ms)
		b.ReportMetric(run.ms[len(run.ms)/2], "p50-ms")
		b.ReportMetric(run.ms[len(run.ms)*99/100], "p99-ms")
	}
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
	return &frameMaker{code: codeSendMessageV2, ext: without(shortened(fields), "e")}
}

func queueText(n int) string { return strconv.Itoa(n % benchQueues) }

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
			return maker.append(dst, firstOpaque+slot, body, "e", queueText(n))
		})
	})
	return done.Load()
}

// transactions sends half messages and commits each.
func (b *benchRun) transactions(until time.Time) int64 {
	half := b.sender(props("TRAN_MSG", "true", "PGROUP", b.group), 4)
	end := &frameMaker{code: codeEndTransaction, ext: ext("producerGroup", b.group, "commitOrRollback", tranCommit, "fromTransactionCheck", false)}
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
				return half.append(dst, firstOpaque+slot, body, "e", queueText(n))
			}
			ending[slot] = true
			physOffset, _ := strconv.ParseInt(a.field("msgId")[16:], 16, 64)
			return end.append(dst, firstOpaque+slot, nil, "tranStateTableOffset", a.field("queueOffset"), "commitLogOffset",
				strconv.FormatInt(physOffset, 10), "msgId", a.field("transactionId"))
		})
	})
	return done.Load()
}

// load stores messages in batches, n of them over all queues.
func (b *benchRun) load(n int, properties string) {
	const batch = 32
	fields := with(sendFields(b.topic, 0, ""), "batch", true, "producerGroup", b.group)
	maker := &frameMaker{code: codeSendBatch, ext: without(shortened(fields), "e")}
	body := sameBatch(batch, strings.Repeat("x", benchBody), properties)
	b.each(benchConns, func(i int, p *pipe) error {
		left := n / batch / benchConns
		return p.windowed(4, time.Now().Add(time.Minute), func(slot int, a *reply, dst []byte) []byte {
			if a != nil {
				left--
			}
			if left <= 0 {
				return dst
			}
			return maker.append(dst, firstOpaque+slot, body, "e", queueText(i))
		})
	})
}

const sqlBacklog = 160_000

// loadForSQL stores two kinds of messages, of which one matches.
func (b *benchRun) loadForSQL() {
	for range 10 {
		b.load(sqlBacklog/20, props("a", "30", "b", "x", "c", "other"))
		b.load(sqlBacklog/20, props("a", "70", "b", "x", "c", "other"))
	}
}

// pullSQL pulls the backlog again and again. Messages that the filter drops do not count.
func (b *benchRun) pullSQL(until time.Time) int64 {
	fields := with(pullFields(b.group, b.topic, 0, 0), "subscription", "a BETWEEN 10 AND 50 AND b = 'x'", "expressionType", "SQL92")
	maker := &frameMaker{code: codePullMessage, ext: without(fields, "queueId", "queueOffset")}
	var done atomic.Int64
	b.each(benchConns, func(i int, p *pipe) error {
		var a reply
		from := int64(0)
		for time.Now().Before(until) {
			if _, err := p.conn.Write(maker.append(p.out[:0], firstOpaque, nil, "queueId", queueText(i), "queueOffset", strconv.FormatInt(from, 10))); err != nil {
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

// loadForPop stores more than a run can pop.
func (b *benchRun) loadForPop() { b.load(1_500_000, "") }

// popAndAck pops 32 messages at a time and acknowledges each of them.
func (b *benchRun) popAndAck(until time.Time) int64 {
	pop := &frameMaker{code: codePop, ext: ext("consumerGroup", b.group, "topic", b.topic, "queueId", -1, "maxMsgNums", 32,
		"invisibleTime", 60000, "pollTime", 0, "initMode", 0, "expType", "TAG", "exp", "*", "order", false)}
	ack := &frameMaker{code: codeAck, ext: ext("consumerGroup", b.group, "topic", b.topic)}
	var done atomic.Int64
	b.each(benchConns, func(_ int, p *pipe) error {
		var a, acked reply
		for time.Now().Before(until) {
			if _, err := p.conn.Write(pop.append(p.out[:0], firstOpaque, nil, "bornTime", strconv.FormatInt(nowMs(), 10))); err != nil {
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
			starts := popStarts(a.field("startOffsetInfo"))
			handle := a.field("popTime") + " " + a.field("invisibleTime") + " " + a.field("reviveQid") + " 0 " + b.target.BrokerName + " "
			p.out = p.out[:0]
			n := 0
			err := records(a.body, func(r []byte) {
				queueID, queueOffset := binary.BigEndian.Uint32(r[12:]), strconv.FormatUint(binary.BigEndian.Uint64(r[20:]), 10)
				queue := strconv.Itoa(int(queueID))
				p.out = ack.append(p.out, firstOpaque+n, nil, "queueId", queue, "offset", queueOffset,
					"extraInfo", starts[queue]+" "+handle+queue+" "+queueOffset)
				n++
			})
			if err != nil {
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

// wakePulls measures from the sending of a message to its arrival at a pull that was parked.
func (b *benchRun) wakePulls(until time.Time) int64 {
	var mu sync.Mutex
	stop := make(chan struct{})
	var pullers sync.WaitGroup
	ready := make(chan error, benchQueues)
	for queueID := range benchQueues {
		pullers.Go(func() { b.pullParked(queueID, stop, ready, &mu) })
	}
	for range benchQueues {
		require.NoError(b, <-ready)
	}
	maker := b.sender("", 0)
	var sent int64
	b.each(1, func(_ int, p *pipe) error {
		go func() { // answers are read and forgotten
			var a reply
			for p.read(&a) == nil {
			}
		}()
		var body [benchBody]byte
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for now := range tick.C {
			if now.After(until) {
				return nil
			}
			p.out = p.out[:0]
			binary.BigEndian.PutUint64(body[:], uint64(time.Now().UnixNano()))
			for range 5 {
				p.out = maker.append(p.out, firstOpaque, body[:], "e", queueText(int(sent)))
				sent++
			}
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
		}
		return nil
	})
	close(stop)
	pullers.Wait()
	return sent
}

// pullParked pulls one queue from its end, parked each time it has caught up.
func (b *benchRun) pullParked(queueID int, stop <-chan struct{}, ready chan<- error, mu *sync.Mutex) {
	p, err := openPipe(b.target.Broker())
	if err != nil {
		ready <- err
		return
	}
	defer p.close()
	go func() {
		<-stop
		p.close()
	}()
	end, err := callOnce(b.target.Broker(), codeGetMaxOffset, ext("topic", b.topic, "queueId", queueID), nil)
	ready <- err
	if err != nil {
		return
	}
	from := end.Ext["offset"]
	fields := with(pullFields(b.group, b.topic, queueID, 0), "sysFlag", pullSubExpr|pullSuspend, "suspendTimeoutMillis", 15000)
	maker := &frameMaker{code: codePullMessage, ext: without(fields, "queueOffset")}
	var a reply
	var ms []float64
	for {
		if _, err := p.conn.Write(maker.append(p.out[:0], firstOpaque, nil, "queueOffset", from)); err != nil {
			break
		}
		if err := p.read(&a); err != nil {
			break
		}
		now := time.Now().UnixNano()
		if a.code == resSuccess {
			_ = records(a.body, func(r []byte) { // a record that does not parse counts as none
				bodyAt := 88
				sent := int64(binary.BigEndian.Uint64(r[bodyAt:]))
				ms = append(ms, float64(now-sent)/1e6)
			})
		}
		if next := a.field("nextBeginOffset"); next != "" {
			from = next
		}
	}
	mu.Lock()
	b.ms = append(b.ms, ms...)
	mu.Unlock()
}
