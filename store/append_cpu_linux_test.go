package store

import (
	"fmt"
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
