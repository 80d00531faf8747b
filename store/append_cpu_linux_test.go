package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// threadCPU is the processor time of this thread. On a machine that does other things too it says what wall time cannot.
func threadCPU(b *testing.B) time.Duration {
	var t unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

// BenchmarkAppend is the way of one message into a log whose pages are ready, and in the same run, piece by piece in turn, a plain
// copy of as many bytes into a mapping whose pages are: "of-copy" is the append's throughput as a share of the copy's, both in
// bytes of the log. As in the server a turn is 32 messages, each with a body of its own, for which the clock is read once. All times are the appending thread's own, the median of the pieces; what the dispatcher, the feeder and the
// flusher do is not in them, and "waits" is how often the appender found no page.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) { benchAppend(b, size) })
	}
}

// BenchmarkAppendLock prints for how long the append lock is taken for a message of 1 KiB, the reading of the clock at both ends
// included, which "clock-p50-ns" says by itself.
func BenchmarkAppendLock(b *testing.B) {
	o := benchOptions(b)
	o.IndexEnabled = false
	s := openTestStore(b, o)
	m := benchMessage(1024)
	var r PutResult
	require.NoError(b, s.PutWait(m, &r))
	q := s.queues.find(m.Topic, m.QueueID)
	held, clock := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		rec := &r.record
		s.encode(rec, m, m.Properties)
		rec.fill(m.Flag, m.Body, m.Properties, m.TagsCode)
		began := time.Now()
		err := s.appendOne(q, rec, 0, &r)
		took := time.Since(began)
		s.dispatcher.published()
		if err != nil {
			require.NoError(b, s.PutWait(m, &r))
			continue
		}
		held = append(held, took)
		began = time.Now()
		clock = append(clock, time.Since(began))
	}
	b.StopTimer()
	for name, list := range map[string][]time.Duration{"lock": held, "clock": clock} {
		slices.Sort(list)
		at := func(q float64) float64 { return float64(list[int(q*float64(len(list)-1))].Nanoseconds()) }
		b.ReportMetric(at(0.5), name+"-p50-ns")
		b.ReportMetric(at(0.99), name+"-p99-ns")
	}
}

func benchAppend(b *testing.B, size int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o := benchOptions(b)
	o.IndexEnabled = false
	s := openTestStore(b, o)
	var r PutResult
	require.NoError(b, s.PutWait(benchMessage(size), &r))
	const turn = 32
	var turns [turn]*Message
	var records [turn][]byte
	for i := range turn {
		turns[i] = benchMessage(size)
		turns[i].QueueID = int32(i & 7)
		records[i] = make([]byte, r.EndOffset-r.PhysOffset)
	}
	warm, err := createSegment(b.TempDir(), 0, 64<<20, nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, warm.remove()) }()
	require.NoError(b, warm.extend(warm.size, warm.size))

	const piece = 1024                   // messages
	var appended, copied []time.Duration // of a message, by piece
	waits, at := 0, 0
	b.ReportAllocs()
	b.SetBytes(r.EndOffset - r.PhysOffset)
	b.ResetTimer()
	for done := 0; done < b.N; done += piece {
		n := min(piece, b.N-done)
		began := threadCPU(b)
		nowMs := int64(0)
		for i := range n {
			if i%turn == 0 {
				nowMs = time.Now().UnixMilli()
			}
			m := turns[i%turn]
			m.NowMs = nowMs
			for s.Put(m, &r) != nil {
				waits++
				b.StopTimer()
				require.NoError(b, s.PutWait(m, &r))
				b.StartTimer()
			}
		}
		middle := threadCPU(b)
		b.StopTimer()
		for i := range n {
			if at+len(records[0]) > len(warm.data) {
				at = 0
			}
			at += copy(warm.data[at:], records[i%turn])
		}
		appended = append(appended, (middle-began)/time.Duration(n))
		copied = append(copied, (threadCPU(b)-middle)/time.Duration(n))
		b.StartTimer()
	}
	b.StopTimer()
	slices.Sort(appended)
	slices.Sort(copied)
	put, plain := float64(appended[len(appended)/2]), float64(copied[len(copied)/2])
	b.ReportMetric(put, "append-cpu-ns")
	b.ReportMetric(plain, "copy-cpu-ns")
	b.ReportMetric(float64(len(records[0]))/put, "append-GB/s")
	b.ReportMetric(float64(len(records[0]))/plain, "copy-GB/s")
	b.ReportMetric(plain/put, "of-copy")
	b.ReportMetric(float64(waits), "waits")
}

// BenchmarkManyQueues puts to 8 queues and to 8,192 of 1,024 topics in turn, a piece each, on one store. It prints the processor time
// of a message on the appending thread, and of the whole process, in which the dispatcher's, the feeder's and the flusher's are.
func BenchmarkManyQueues(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o := benchOptions(b)
	s := openTestStore(b, o)
	const topics, ids, piece = 1024, 8, 8192
	type place struct {
		topic string
		id    int32
	}
	var all [topics * ids]place
	for i := range all {
		all[i] = place{fmt.Sprintf("apogee-bench-%04d", i/ids), int32(i % ids)}
	}
	few := slices.Clone(all[:ids])
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	m := benchMessage(1024)
	var r PutResult
	var waits float64
	put := func(list []place) (thread, process time.Duration) {
		wasProcess, was := processCPU(b), threadCPU(b)
		for i := range piece {
			to := &list[i%len(list)]
			m.Topic, m.QueueID = to.topic, to.id
			if s.Put(m, &r) != nil {
				waits++
				require.NoError(b, s.PutWait(m, &r))
			}
		}
		thread = threadCPU(b) - was
		require.Eventually(b, func() bool { return s.Dispatched() == s.Written() }, time.Minute, time.Millisecond)
		return thread / piece, (processCPU(b) - wasProcess) / piece
	}
	put(all[:]) // makes the queues' files
	var times [4][]time.Duration
	b.ResetTimer()
	for done := 0; done < b.N; done += 2 * piece {
		for i, list := range [][]place{few, all[:]} {
			thread, process := put(list)
			times[i], times[2+i] = append(times[i], thread), append(times[2+i], process)
		}
	}
	b.StopTimer()
	for i, name := range []string{"append-8-ns", "append-8192-ns", "process-8-ns", "process-8192-ns"} {
		slices.Sort(times[i])
		b.ReportMetric(float64(times[i][len(times[i])/2]), name)
	}
	b.ReportMetric(waits, "waits")
}

func processCPU(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppendParallel puts from many goroutines at once, each to a queue of its own; run it with -cpu 1,2. "lock-wait-ns" is what
// all of them together waited for locks, per message.
func BenchmarkAppendParallel(b *testing.B) {
	s := openTestStore(b, benchOptions(b))
	waited := func() float64 {
		v := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
		metrics.Read(v)
		return v[0].Value.Float64()
	}
	var id atomic.Int32
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	before := waited()
	b.RunParallel(func(pb *testing.PB) {
		m := benchMessage(1024)
		m.QueueID = id.Add(1)
		var r PutResult
		for pb.Next() {
			if err := s.PutWait(m, &r); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric((waited()-before)*1e9/float64(b.N), "lock-wait-ns")
}
