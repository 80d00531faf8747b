package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// An append may move on to the next segment while the feeder looks how far the log is. The feeder must not take that for a segment
// without a next one, and make the file anew that is being written.
func TestFeederMeetsTheChangeOfSegments(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := newStore(o)
	var err error
	s.lock, err = takeLock(o.Dir)
	require.NoError(t, err)
	require.NoError(t, s.recover()) // and no goroutine runs yet
	var ends []PutResult
	put := func() {
		var r PutResult
		require.NoError(t, s.Put(testMessage("T", 0, fmt.Sprintf("%0200d", len(ends))), &r))
		ends = append(ends, r)
	}
	for s.log.feeder.next.Load() == nil {
		put()
		require.NoError(t, s.log.feeder.feed())
	}
	moved := false
	s.log.feeder.smallFlushes = func() bool { // asked in the middle of a step
		for first := len(s.log.all()); !moved; moved = len(s.log.all()) > first {
			put()
		}
		return false
	}
	_, err = s.log.feeder.step()
	require.NoError(t, err)
	require.True(t, moved)
	s.log.feeder.smallFlushes = s.flusher.small
	s.start()
	for range 100 {
		var r PutResult
		require.NoError(t, s.PutWait(testMessage("T", 0, fmt.Sprintf("%0200d", len(ends))), &r))
		ends = append(ends, r)
	}
	waitDispatched(t, s)
	read := func(s *Store) {
		got := readQueue(t, s, "T", 0, 0)
		require.Equal(t, len(ends), len(got))
		for i, m := range got {
			require.Equal(t, ends[i].PhysOffset, m.PhysOffset)
			require.Equal(t, fmt.Sprintf("%0200d", i), string(m.Body))
		}
	}
	read(s)
	require.NoError(t, s.Close())
	read(openTestStore(t, o))
}
