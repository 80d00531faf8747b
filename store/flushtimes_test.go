package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFlushTimesHaveSteps(t *testing.T) {
	t.Parallel()
	s := &Store{flusher: &flusher{}}
	for _, took := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, 3 * time.Second} {
		s.flusher.times.add(took)
	}
	times := s.FlushTimes()
	require.Equal(t, []int64{2, 1}, times.Counts[:2])
	require.Equal(t, int64(1), times.Counts[len(times.Ends)], "longer than the last step")
	require.Equal(t, 3*time.Second+201*time.Microsecond, times.Sum)
}
