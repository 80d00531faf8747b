package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// Whatever the feeder believes, no file with messages is written over.
func TestNoSegmentIsMadeOverAnother(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	puts := putSegments(t, s, 3)
	for _, seg := range s.log.all() {
		for _, base := range []int64{seg.base, seg.base + 100, seg.base - 100} {
			_, err := s.log.create(base, 0)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, filepath.Dir(seg.path))
		}
	}
	requireAllThere(t, s, puts)

	path := filepath.Join(s.log.dirs.writable[0], segmentName(1<<30))
	for _, content := range [][]byte{append(make([]byte, 8), 1), []byte("messages of somebody")} {
		require.NoError(t, os.WriteFile(path, content, 0o644))
		_, err := s.log.create(1<<30, 0)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, path)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, b)
	}
	for _, unused := range []int64{0, 100, o.SegmentBytes} {
		require.NoError(t, os.WriteFile(path, make([]byte, unused), 0o644))
		seg, err := s.log.create(1<<30, 100)
		require.NoError(t, err)
		require.Equal(t, o.SegmentBytes, seg.size)
		require.NoError(t, seg.remove())
	}
}

// The feeder goes to large stretches in steps while a log is fast, and leaves them at once when it is not.
func TestFeederFollowsTheLogsSpeed(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.TouchAheadBytes = bulkAheadBytes
	now := time.Unix(0, 0)
	o.Now = func() time.Time { return now }
	l := commitLog{opts: &o}
	f := &l.feeder
	f.init(&l)
	f.adapt()
	grow := func(bytesPerSecond int64) int64 {
		now = now.Add(time.Second)
		l.written.Add(bytesPerSecond)
		f.adapt()
		return f.ahead
	}
	for _, x := range []struct{ bytesPerSecond, ahead int64 }{
		{5 << 20, 2 << 20}, {5 << 20, 4 << 20}, {5 << 20, 4 << 20},
		{400 << 20, 8 << 20}, {400 << 20, 16 << 20}, {400 << 20, 32 << 20}, {400 << 20, 32 << 20},
		{40 << 20, 32 << 20}, {25 << 20, 16 << 20}, {25 << 20, 16 << 20}, {40 << 20, 32 << 20},
		{5 << 20, 4 << 20}, {1, 2 << 20}, {1, 1 << 20}, {1, 1 << 20},
	} {
		require.Equal(t, x.ahead, grow(x.bytesPerSecond), "%+v", x)
	}
}
