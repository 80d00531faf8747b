package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// BenchmarkTimer takes in a message per op and delivers it: 10,000 a second with delays of 1 to 3 s, beside a million that wait
// for an hour. It reports how late they are stored in their topic, and the heap. Run it with -benchtime 30000x or more.
func BenchmarkTimer(b *testing.B) {
	const waiting, perSecond = 1_000_000, 10_000
	opts := DefaultOptions(b.TempDir())
	opts.IndexEnabled = false
	var timer atomic.Pointer[Timer]
	opts.OnArrival = eachArrival(func(a Arrival) {
		if t := timer.Load(); t != nil && a.Topic == TopicWheelTimer {
			t.Notify()
		}
	})
	s, err := Open(opts)
	require.NoError(b, err)
	t, err := OpenTimer(s, TimerOptions{})
	require.NoError(b, err)
	timer.Store(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- t.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-done)
		require.NoError(b, t.Close())
		require.NoError(b, s.Close())
	})
	body := make([]byte, 128)
	send := func(i int, deliverMs int64) {
		m := &Message{Topic: "T", QueueID: 3, Body: body, BornHost: opts.StoreHost, Properties: textOf(codec.PropUniqKey, fmt.Sprint(i), codec.PropTimerDeliverMs, fmt.Sprint(deliverMs))}
		t.Redirect(m, t.SlotMs(deliverMs))
		require.NoError(b, s.PutWait(m, new(PutResult)))
	}
	for i := range waiting {
		send(i, time.Now().UnixMilli()+3_600_000+rand.Int64N(3_600_000))
	}
	require.Eventually(b, func() bool { return t.Stats().Enqueued.Load() == waiting }, 5*time.Minute, 10*time.Millisecond)
	b.ResetTimer()
	began := time.Now()
	for i := range b.N {
		if i%100 == 0 {
			<-time.After(time.Until(began.Add(time.Duration(i) * time.Second / perSecond)))
		}
		send(waiting+i, time.Now().UnixMilli()+1000+rand.Int64N(2000))
	}
	require.Eventually(b, func() bool { return s.MaxQueueOffset("T", 3) == int64(b.N) }, time.Minute, time.Millisecond)
	b.StopTimer()
	reportLateness(b, s)
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.HeapAlloc)/(1<<20), "heap-MB")
}

// reportLateness compares when messages were asked for with when they were stored.
func reportLateness(b *testing.B, s *Store) {
	var late []int64
	for i := range s.MaxQueueOffset("T", 3) {
		physOffset, _, _, ok := s.QueueEntry("T", 3, i)
		require.True(b, ok)
		record, err := s.MessageAt(physOffset)
		require.NoError(b, err)
		var m timerMessage
		require.NoError(b, m.parse(record))
		late = append(late, m.StoreTimestampMs-m.dueMs(1000))
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[0]), "first-ms")
	b.ReportMetric(float64(late[len(late)/2]), "p50-ms")
	b.ReportMetric(float64(late[len(late)*99/100]), "p99-ms")
	b.ReportMetric(float64(late[len(late)-1]), "max-ms")
}
