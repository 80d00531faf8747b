package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// One writer of each kind, ten readers, segments deleted at the head and a topic deleted again and again: readers see
// whole records of the right queue and offset, or are told that they are gone.
func TestReadersWritersAndDeletion(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 64 << 10
	o.QueueSegmentEntries = 200
	o.MaxMappedQueues = 100
	o.DispatchRing = 64
	var arrived atomic.Int64
	o.OnArrival = eachArrival(func(a Arrival) { arrived.Add(a.QueueOffset - a.FirstQueueOffset + 1) })
	s := openTestStore(t, o)
	const queues, n = 30, 20000
	var done atomic.Bool
	var deleted atomic.Int64
	var readers, writers sync.WaitGroup
	for i := range uint64(10) {
		readers.Go(func() { readAtRandom(t, s, queues, i, &done) })
	}
	writers.Go(func() {
		var r PutResult
		for i := range n {
			q := int32(i % queues)
			if !noError(t, s.PutWait(testMessage("T", q, fmt.Sprintf("T-%d-%d", q, i/queues)), &r)) {
				return
			}
			if i%2000 == 1999 { // only what is on disk may go
				flushed := make(chan error, 1)
				s.AfterFlush(r.EndOffset, func(err error) { flushed <- err })
				if !noError(t, <-flushed) {
					return
				}
				for s.Dispatched() < r.EndOffset { // only what is visible may go, and the machine may be busy
					runtime.Gosched()
				}
				s.flusher.pokeAll()
				removed, err := s.deleteHead(20)
				deleted.Add(int64(removed))
				if !noError(t, err) {
					return
				}
			}
		}
	})
	writers.Go(func() {
		m := testMessage("Batch", 0, "")
		m.Body, m.Properties = codec.AppendBatchEntry(codec.AppendBatchEntry(nil, 0, []byte("1"), nil), 0, []byte("2"), nil), nil
		var r BatchPutResult
		for range n / 4 {
			if !noError(t, s.PutBatchWait(m, &r)) {
				return
			}
		}
	})
	writers.Go(func() {
		var r PutResult
		for i := range n / 10 {
			if !noError(t, s.PutWait(testMessage("Gone", 0, "x"), &r)) {
				return
			}
			if i%100 == 99 && !noError(t, s.DeleteTopic("Gone")) {
				return
			}
		}
	})
	writers.Wait()
	waitDispatched(t, s)
	require.Eventually(t, func() bool { // a busy machine may not have flushed the queues so far
		s.flusher.pokeAll()
		removed, err := s.deleteHead(20)
		require.NoError(t, err)
		return deleted.Add(int64(removed)) > 0
	}, time.Minute, 10*time.Millisecond)
	done.Store(true)
	readers.Wait()
	require.EqualValues(t, n/2, s.MaxQueueOffset("Batch", 0))
	for q := range int32(queues) {
		require.EqualValues(t, (n+queues-1-int(q))/queues, s.MaxQueueOffset("T", q))
	}
	require.GreaterOrEqual(t, arrived.Load(), int64(n+n/2))
}

// noError is require.NoError for goroutines that are not the test's own.
func noError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func readAtRandom(t *testing.T, s *Store, queues int32, seed uint64, done *atomic.Bool) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	var r GetResult
	for !done.Load() {
		q := rnd.Int32N(queues)
		at := s.MinQueueOffset("T", q)
		if last := s.MaxQueueOffset("T", q); last > at {
			at += rnd.Int64N(last - at)
		}
		if !noError(t, s.Get(&GetRequest{Topic: "T", QueueID: q, QueueOffset: at, MaxMsgs: 32}, &r)) {
			return
		}
		for _, part := range r.Parts {
			for len(part) > 0 {
				var m codec.Message
				size, err := codec.DecodeMessage(part, &m)
				if !noError(t, err) || !noError(t, m.CheckBody()) {
					return
				}
				if want := fmt.Sprintf("T-%d-%d", q, m.QueueOffset); string(m.Body) != want {
					t.Errorf("read %q, want %q", m.Body, want)
					return
				}
				part = part[size:]
			}
		}
		r.Release()
		if phys, _, _, ok := s.QueueEntry("T", q, at); ok {
			if b, err := s.MessageAt(phys); err == nil && len(b) == 0 {
				t.Error("message without bytes")
			}
		}
		s.QueueOffsetByTime("T", q, 1)
	}
}

// Close may come while everything runs; puts and reads end with ErrClosed.
func TestCloseWhileBusy(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 64 << 10
	s := openTestStore(t, o)
	var wg sync.WaitGroup
	var last atomic.Int64
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			var r PutResult
			for i := 0; ; i++ {
				if i == 100 {
					started <- struct{}{}
				}
				err := s.PutWait(testMessage("T", 0, "text"), &r)
				if err != nil {
					require.ErrorIs(t, err, ErrClosed)
					return
				}
				for old := last.Load(); r.QueueOffset > old && !last.CompareAndSwap(old, r.QueueOffset); old = last.Load() {
				}
			}
		})
		wg.Go(func() {
			var r GetResult
			for s.Get(&GetRequest{Topic: "T", MaxMsgs: 32}, &r) == nil {
				r.Release()
			}
		})
	}
	for range 4 {
		<-started
	}
	require.NoError(t, s.Close())
	wg.Wait()
	s = openTestStore(t, o)
	require.Equal(t, last.Load()+1, s.MaxQueueOffset("T", 0))
}
