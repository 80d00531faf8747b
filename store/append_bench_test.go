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

// BenchmarkCopy is what an append is to be compared with: the bytes of a record copied into a mapped file whose pages are
// present.
func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			seg, err := createSegment(b.TempDir(), 0, 256<<20, nil)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, seg.remove()) })
			require.NoError(b, seg.extend(seg.size, seg.size))
			record := make([]byte, size)
			b.SetBytes(int64(size))
			b.ResetTimer()
			at := 0
			for range b.N {
				if at+size > int(seg.size) {
					at = 0
				}
				at += copy(seg.data[at:], record)
			}
		})
	}
}

// BenchmarkAppendAlone is the way of one record into a log whose pages are present: no index, and nobody but the appender and the
// dispatcher at work. It is to be read beside BenchmarkCopy.
func BenchmarkAppendAlone(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			o := benchOptions(b)
			o.IndexEnabled = false
			o.TouchAheadBytes = 512 << 20
			s := openTestStore(b, o)
			m := benchMessage(size)
			var r PutResult
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.ResetTimer()
			for range b.N {
				if err := s.Put(m, &r); err != nil {
					b.StopTimer()
					require.ErrorIs(b, err, ErrWouldBlock)
					require.NoError(b, s.PutWait(m, &r))
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkAppendAcrossSegments puts 20,000 messages of 1 KiB a second and prints how long each took: all of them, and those near
// the change to a new segment, which the feeder makes meanwhile.
func BenchmarkAppendAcrossSegments(b *testing.B) {
	o := benchOptions(b)
	o.SegmentBytes = 64 << 20
	s := openTestStore(b, o)
	m := benchMessage(1024)
	var r PutResult
	var all, near []time.Duration
	const rate = 20000
	b.ResetTimer()
	began := time.Now()
	for i := range max(b.N, 10*rate) {
		for time.Since(began) < time.Duration(i)*time.Second/rate { // the load is steady
		}
		from := time.Now()
		require.NoError(b, s.PutWait(m, &r))
		took := time.Since(from)
		all = append(all, took)
		if at := r.PhysOffset % o.SegmentBytes; at < 2<<20 || at > o.SegmentBytes*4/5 {
			near = append(near, took)
		}
	}
	b.StopTimer()
	for name, list := range map[string][]time.Duration{"all": all, "new-segment": near} {
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
