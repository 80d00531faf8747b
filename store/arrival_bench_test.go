package store

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkArrival puts 5,000 messages a second into eight queues, five each millisecond, and reports how long after that those who wait are
// told. Queue files are flushed meanwhile as in a broker. Run it with -benchtime 50000x or more.
func BenchmarkArrival(b *testing.B) {
	const perSecond, each = 5000, 5
	opts := DefaultOptions(b.TempDir())
	opts.IndexEnabled = false
	began := time.Now()
	var mu sync.Mutex
	put := map[int64]time.Duration{} // by physical offset
	var took []time.Duration
	opts.OnArrival = eachArrival(func(a Arrival) {
		now := time.Since(began)
		mu.Lock()
		took = append(took, now-put[a.PhysOffset])
		mu.Unlock()
	})
	s, err := Open(opts)
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	m := &Message{Topic: "T", Body: make([]byte, 128), BornHost: opts.StoreHost}
	var r PutResult
	tick := time.NewTicker(time.Second * each / perSecond)
	defer tick.Stop()
	b.ResetTimer()
	for n := 0; n < b.N; <-tick.C {
		for range each {
			m.QueueID = int32(n % 8)
			at := time.Since(began)
			mu.Lock()
			require.NoError(b, s.PutWait(m, &r))
			put[r.PhysOffset] = at
			mu.Unlock()
			n++
		}
	}
	require.Eventually(b, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return s.Dispatched() == s.Written() && len(took) > 0
	}, time.Minute, time.Millisecond)
	b.StopTimer()
	slices.Sort(took)
	for name, share := range map[string]float64{"p50-us": 0.5, "p99-us": 0.99, "p99.9-us": 0.999, "max-us": 1} {
		b.ReportMetric(float64(took[int(float64(len(took)-1)*share)].Microseconds()), name)
	}
	b.ReportMetric(0, "ns/op")
}
