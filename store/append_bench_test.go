package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkAppendAcrossSegments puts 20,000 messages of 1 KiB a second into segments of 16 MiB and prints how long each took: those
// put while the next segment is made and taken into use, and all others. There is to be no step between the two.
func BenchmarkAppendAcrossSegments(b *testing.B) {
	o := benchOptions(b)
	o.SegmentBytes = 16 << 20
	s := openTestStore(b, o)
	m := benchMessage(1024)
	var r PutResult
	const rate = 20000
	n := max(b.N, 10*rate)
	change, plain := make([]time.Duration, 0, n), make([]time.Duration, 0, n)
	b.ResetTimer()
	began := time.Now()
	for i := range n {
		for time.Since(began) < time.Duration(i)*time.Second/rate { // the load is steady
		}
		from := time.Now()
		require.NoError(b, s.PutWait(m, &r))
		took := time.Since(from)
		if at := r.PhysOffset % o.SegmentBytes; at < 1<<20 || at > o.SegmentBytes*4/5 {
			change = append(change, took)
		} else {
			plain = append(plain, took)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(s.Written()/o.SegmentBytes), "segments")
	for name, list := range map[string][]time.Duration{"plain": plain, "change": change} {
		slices.Sort(list)
		at := func(q float64) float64 { return float64(list[int(q*float64(len(list)-1))].Nanoseconds()) / 1000 }
		b.ReportMetric(at(0.5), name+"-p50-us")
		b.ReportMetric(at(0.99), name+"-p99-us")
		b.ReportMetric(at(0.999), name+"-p99.9-us")
		b.ReportMetric(at(1), name+"-max-us")
	}
}

// BenchmarkDispatchLag puts as fast as it goes and prints how far, in time, the dispatcher was behind at most.
func BenchmarkDispatchLag(b *testing.B) {
	s := openTestStore(b, benchOptions(b))
	m := benchMessage(128)
	var r PutResult
	most := time.Duration(0)
	type mark struct {
		end int64
		at  time.Time
	}
	var waiting []mark
	b.ResetTimer()
	for i := range b.N {
		m.QueueID = int32(i & 7)
		require.NoError(b, s.PutWait(m, &r))
		if i%256 == 0 {
			now, done := time.Now(), s.Dispatched()
			for len(waiting) > 0 && waiting[0].end <= done {
				most = max(most, now.Sub(waiting[0].at))
				waiting = waiting[1:]
			}
			waiting = append(waiting, mark{r.EndOffset, now})
		}
	}
	b.StopTimer()
	waitDispatched(b, s)
	b.ReportMetric(float64(most.Microseconds())/1000, "most-ms-behind")
}

// BenchmarkGroupCommit waits for the disk with each message, from one and from many at a time, beside plain writes of the same
// size each followed by fdatasync.
func BenchmarkGroupCommit(b *testing.B) {
	b.Run("write+fdatasync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
		require.NoError(b, err)
		defer f.Close()
		require.NoError(b, f.Truncate(1<<30))
		record := make([]byte, 1200)
		for i := range b.N {
			_, err := f.WriteAt(record, int64(i%800000)*1200)
			require.NoError(b, err)
			require.NoError(b, f.Sync())
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	})
	for _, writers := range []int{1, 64, 2048} {
		b.Run(fmt.Sprintf("waiting=%d", writers), func(b *testing.B) {
			o := benchOptions(b)
			o.FlushMode = FlushSync
			s := openTestStore(b, o)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					m := benchMessage(1024)
					m.QueueID = int32(w & 7)
					var r PutResult
					flushed := make(chan error, 1)
					for left.Add(-1) >= 0 {
						if err := s.PutWait(m, &r); err != nil {
							b.Error(err)
							return
						}
						s.AfterFlush(r.EndOffset, func(err error) { flushed <- err })
						if err := <-flushed; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
