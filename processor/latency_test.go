package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLatencyBuckets(t *testing.T) {
	t.Parallel()
	last := -1
	for d := time.Duration(0); d < 2*time.Minute; d += 1 + d/50 {
		i := latencyBucket(d)
		require.GreaterOrEqual(t, i, last, "%s", d)
		require.LessOrEqual(t, bucketFrom(i), d)
		if i < len(latencies{}.buckets)-1 {
			require.Less(t, d, bucketFrom(i+1), "bucket %d of %s", i, d)
		}
		last = i
	}
	require.Equal(t, len(latencies{}.buckets)-1, last)
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	var l latencies
	require.Zero(t, l.quantile(0.99))
	for range 990 {
		l.add(100 * time.Microsecond)
	}
	for range 10 {
		l.add(30 * time.Millisecond)
	}
	require.InDelta(t, 100, l.quantile(0.5).Microseconds(), 30)
	require.InDelta(t, 30, l.quantile(0.999).Milliseconds(), 8)
	require.Equal(t, 30*time.Millisecond, time.Duration(l.maxNs.Load()))
	require.Equal(t, "[<=0ms]:990 [0~10ms]:0 [10~50ms]:10 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 [500ms~1s]:0 [1~2s]:0 [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:0 ", l.distribution())
	timed := 0
	for range 10 * latencySample {
		if !l.begin().IsZero() {
			timed++
		}
	}
	require.Equal(t, 10, timed)
}
