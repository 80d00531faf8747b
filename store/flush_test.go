package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// faults makes file operations fail as a test says.
type faults struct {
	fail atomic.Pointer[func(op FileOp, path string) error]
}

func (f *faults) check(op FileOp, path string) error {
	if fail := f.fail.Load(); fail != nil {
		return (*fail)(op, path)
	}
	return nil
}

func (f *faults) set(fail func(op FileOp, path string) error) {
	if fail == nil {
		f.fail.Store(nil)
		return
	}
	f.fail.Store(&fail)
}

// inLog tells operations on the commit log from those on queues, index and tables.
func inLog(path string) bool { return strings.Contains(path, "commitlog") }

func TestAfterFlush(t *testing.T) {
	t.Parallel()
	var fs faults
	o := testOptions(t)
	o.FlushMode = FlushSync
	o.FlushInterval = time.Hour
	o.Faults = fs.check
	s := openTestStore(t, o)

	// The first flush is held up; whoever comes meanwhile shares the second one.
	entered, leave := make(chan struct{}), make(chan struct{})
	var flushes atomic.Int32
	fs.set(func(op FileOp, path string) error {
		if op == OpFlush && inLog(path) && flushes.Add(1) == 1 {
			close(entered)
			<-leave
		}
		return nil
	})
	answers := make(chan error, 100)
	var r PutResult
	require.NoError(t, s.PutWait(testMessage("T", 0, "first"), &r))
	s.AfterFlush(r.EndOffset, func(err error) { answers <- err })
	<-entered
	for range 50 {
		require.NoError(t, s.PutWait(testMessage("T", 0, "more"), &r))
		s.AfterFlush(r.EndOffset, func(err error) { answers <- err })
	}
	require.Empty(t, answers)
	require.Less(t, s.Flushed(), r.EndOffset)
	close(leave)
	for range 51 {
		require.NoError(t, <-answers)
	}
	require.EqualValues(t, 2, flushes.Load())
	require.Equal(t, r.EndOffset, s.Flushed())

	called := false // what is flushed already is answered at once
	s.AfterFlush(r.EndOffset, func(err error) { called = err == nil })
	require.True(t, called)
	require.NoError(t, s.Close())
	s.AfterFlush(r.EndOffset, func(err error) { answers <- err })
	require.NoError(t, <-answers)
	s.AfterFlush(r.EndOffset+1, func(err error) { answers <- err })
	require.ErrorIs(t, <-answers, ErrClosed)
}

// In FlushAsync whoever waits is answered by the next flush in the background.
func TestAfterFlushAsync(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	var r PutResult
	require.NoError(t, s.PutWait(testMessage("T", 0, "text"), &r))
	answer := make(chan error)
	s.AfterFlush(r.EndOffset, func(err error) { answer <- err })
	require.NoError(t, <-answer)
	require.GreaterOrEqual(t, s.Flushed(), r.EndOffset)
}

func TestAfterFlushTimesOut(t *testing.T) {
	t.Parallel()
	var fs faults
	o := testOptions(t)
	o.FlushMode, o.SyncFlushTimeout = FlushSync, 10*time.Millisecond
	o.FlushInterval = 100 * time.Millisecond
	o.Faults = fs.check
	s := openTestStore(t, o)
	leave := make(chan struct{})
	fs.set(func(op FileOp, path string) error {
		if op == OpFlush && inLog(path) {
			<-leave
		}
		return nil
	})
	answers := make(chan error, 2)
	var r PutResult
	for range 2 {
		require.NoError(t, s.PutWait(testMessage("T", 0, "text"), &r))
		s.AfterFlush(r.EndOffset, func(err error) { answers <- err })
	}
	require.ErrorIs(t, <-answers, ErrFlushTimeout)
	require.ErrorIs(t, <-answers, ErrFlushTimeout)
	close(leave)
	require.Eventually(t, func() bool { return s.Flushed() == r.EndOffset }, time.Minute, time.Millisecond)
	require.Empty(t, answers)
}

// A failed flush is not tried again: the store turns read-only and says so, what it has can be read, and the next start
// recovers.
func TestFailedFlushMakesReadOnly(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"commitlog", "consumequeue"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			var fs faults
			o := testOptions(t)
			o.FlushMode = FlushSync
			o.FlushInterval, o.QueueFlushInterval = time.Hour, time.Millisecond
			o.Faults = fs.check
			s := openTestStore(t, o)
			var r PutResult
			require.NoError(t, s.PutWait(testMessage("T", 0, "acked"), &r))
			done := make(chan error, 1)
			s.AfterFlush(r.EndOffset, func(err error) { done <- err })
			require.NoError(t, <-done)

			fs.set(func(op FileOp, path string) error {
				if op == OpFlush && strings.Contains(path, where) {
					return syscall.EIO
				}
				return nil
			})
			for s.PutWait(testMessage("T", 0, strings.Repeat("x", 9000)), &r) == nil {
				s.AfterFlush(r.EndOffset, func(err error) { done <- err })
				if err := <-done; err != nil {
					require.ErrorIs(t, err, ErrReadOnly)
					require.ErrorIs(t, err, syscall.EIO)
				}
			}
			require.ErrorIs(t, s.PutWait(testMessage("T", 0, "refused"), &r), ErrReadOnly)
			require.True(t, s.ReadOnly())
			waitDispatched(t, s)
			require.Equal(t, "acked", string(readQueue(t, s, "T", 0, 0)[0].Body))
			fs.set(nil)
			require.ErrorIs(t, s.PutWait(testMessage("T", 0, "refused"), &r), ErrReadOnly)
			require.NoError(t, s.Close())
			require.FileExists(t, abortPath(o.Dir))

			s = openTestStore(t, o)
			require.Equal(t, "acked", string(readQueue(t, s, "T", 0, 0)[0].Body))
			require.NoError(t, s.PutWait(testMessage("T", 0, "again"), &r))
		})
	}
}

// The checkpoint never vouches for queue entries that are not flushed.
func TestCheckpointStaysBehindDirtyQueues(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.o.QueueSegmentEntries, h.o.IndexEnabled, h.o.QueueListBytes = 3000, false, 0
	h.open()
	defer func() { require.NoError(t, h.s.Close()) }()
	read := func() checkpoint {
		c, err := readCheckpoint(h.o.Dir, nil)
		require.NoError(t, err)
		return c
	}
	first := h.clock.Add(1000)
	putMany(t, h.s, "T", 0, 1, 10)
	h.s.flusher.log()
	h.s.flusher.queues(false)
	require.Equal(t, checkpoint{physicMs: first, logicsMs: first - 1}, read()) // too little to flush yet
	second := h.clock.Add(1000)
	putMany(t, h.s, "T", 1, 500, 10)
	h.s.flusher.log()
	h.s.flusher.queues(false)
	require.Equal(t, checkpoint{physicMs: second, logicsMs: first - 1}, read())
	third := h.clock.Add(lazyFlushMs)
	putMany(t, h.s, "T", 2, 1, 10)
	h.s.flusher.queues(false)
	require.Equal(t, checkpoint{physicMs: second, logicsMs: third - 1}, read())
	h.s.flusher.queues(true)
	require.Equal(t, third, read().logicsMs)
	info, err := os.Stat(filepath.Join(h.o.Dir, "checkpoint"))
	require.NoError(t, err)
	require.EqualValues(t, checkpointBytes, info.Size())
}

// With very many dirty queues one call flushes the file system instead of thousands their files.
func TestManyDirtyQueuesAreFlushed(t *testing.T) {
	t.Parallel()
	var fs faults
	o := testOptions(t)
	o.QueueFlushInterval = time.Hour
	o.Faults = fs.check
	s := openTestStore(t, o)
	for q := range int32(manyDirty + 10) {
		putMany(t, s, "T", q, 1, 10)
	}
	var files atomic.Int32
	fs.set(func(op FileOp, path string) error {
		if op == OpFlush && strings.Contains(path, filepath.Join("consumequeue", "T")) {
			files.Add(1)
		}
		return nil
	})
	s.flusher.queues(true)
	require.Zero(t, files.Load())
	require.Empty(t, s.queues.dirty)
	require.Equal(t, s.dispatcher.doneMs.Load(), s.flusher.saved.logicsMs)
}

// The whole file system is flushed every manyFlushMs at most, unless all has to be: what is much and young waits then, and counts as not flushed.
func TestManyDirtyQueuesAreFlushedSeldom(t *testing.T) {
	t.Parallel()
	var fs faults
	o := testOptions(t)
	o.QueueFlushInterval = time.Hour
	o.Faults = fs.check
	s := openTestStore(t, o)
	var whole atomic.Int32
	fs.set(func(op FileOp, path string) error {
		if op == OpFlush && path == s.queues.simpleRoot {
			whole.Add(1)
		}
		return nil
	})
	const queues = manyDirty + 10
	grow := func() {
		for q := range int32(queues) {
			putMany(t, s, "T", q, lazyFlushBytes/entryBytes+1, 10)
		}
	}
	flush := func(all bool, nowMs int64) (oldestMs int64) {
		t.Helper()
		oldestMs, err := s.queues.flush(all, nowMs, nowMs, nil)
		require.NoError(t, err)
		return oldestMs
	}
	now := time.Now().UnixMilli() + 5*manyFlushMs // what is in memory is old by then, and written
	grow()
	require.Equal(t, notDirty, flush(false, now))
	require.EqualValues(t, 1, whole.Load())
	grow()
	require.Less(t, flush(false, now+manyFlushMs-1), notDirty)
	require.EqualValues(t, 1, whole.Load())
	require.Len(t, s.queues.dirty, queues)
	require.Equal(t, notDirty, flush(false, now+manyFlushMs))
	require.EqualValues(t, 2, whole.Load())
	require.Empty(t, s.queues.dirty)
	grow()
	require.Equal(t, notDirty, flush(true, now+manyFlushMs+1))
	require.EqualValues(t, 3, whole.Load())
	grow()
	require.Equal(t, notDirty, flush(false, now), "the clock was set back")
	require.EqualValues(t, 4, whole.Load())
}

func TestFlushWaitersFail(t *testing.T) {
	t.Parallel()
	w := flushWaiters{timeout: time.Hour}
	none := func() int64 { return 0 }
	var got []error
	take := func(err error) { got = append(got, err) }
	w.add(10, none, take)
	w.add(20, none, take)
	w.passed(10)
	require.Equal(t, []error{nil}, got)
	cause := errors.New("broken")
	w.fail(cause)
	require.False(t, w.add(30, none, take))
	require.Equal(t, []error{nil, cause, cause}, got)
}

// The flusher hears of the first who waits and, when most of those that it answered last are back, of the one that makes them so.
func TestFlushWaitersComeBack(t *testing.T) {
	t.Parallel()
	w := flushWaiters{timeout: time.Hour}
	rings := func(n int) (at []int) {
		for i := range n {
			if w.add(10, func() int64 { return 0 }, func(error) {}) {
				at = append(at, i+1)
			}
		}
		return at
	}
	require.Equal(t, []int{1}, rings(16), "nobody is expected yet")
	w.passed(10)
	require.Equal(t, 14, w.missing())
	require.Equal(t, []int{1, 14}, rings(16))
	w.passed(10)
	require.Equal(t, []int{1}, rings(1))
	w.passed(10)
	require.LessOrEqual(t, w.missing(), 0, "whoever is alone does not wait for others")
}

// What the feeder writes ahead of a log that is flushed in small pieces does not touch what is there.
func TestZerosAheadKeepWhatIsThere(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.FlushMode = FlushSync
	o.SegmentBytes = 64 << 10
	n := 0
	for range 5 {
		s := openTestStore(t, o)
		require.True(t, s.flusher.small())
		for range 100 {
			var r PutResult
			require.NoError(t, s.PutWait(testMessage("T", 0, strings.Repeat("x", 1+n*7%900)), &r))
			require.NoError(t, s.awaitFlushed(r.EndOffset))
			n++
		}
		waitDispatched(t, s)
		require.Len(t, readQueue(t, s, "T", 0, 0), n)
		require.NoError(t, s.Close())
	}
	_, found := checkStore(t, o.Dir)
	require.Empty(t, found)
}

// When flushes become small, what was only allocated before is written, and what appends put there meanwhile stays.
func TestBlocksAheadAreSettled(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.FlushMode = FlushSync
	o.SegmentBytes, o.AllocChunkBytes = 64<<20, 1<<20
	s := openTestStore(t, o)
	s.flusher.group.Store(64 << 20)
	n := 0
	put := func() (r PutResult) {
		require.NoError(t, s.PutWait(testMessage("T", 0, strings.Repeat("x", 10_000)), &r))
		n++
		return r
	}
	for range 300 {
		put()
	}
	require.False(t, s.flusher.small())
	for !s.flusher.small() {
		require.NoError(t, s.awaitFlushed(put().EndOffset))
	}
	require.Eventually(t, func() bool { return !s.log.feeder.unsettled.Load() }, time.Minute, time.Millisecond)
	waitDispatched(t, s)
	require.Len(t, readQueue(t, s, "T", 0, 0), n)
	cur := s.log.cur
	require.NoError(t, s.Close())
	require.Less(t, int64(1<<20), cur.allocated)
	require.Equal(t, cur.allocated, cur.settled)
	_, found := checkStore(t, o.Dir)
	require.Empty(t, found)
}

// Many files are flushed one by one while that keeps no processor and takes less than the flush of all that the file system holds.
func TestWholeIsBetter(t *testing.T) {
	t.Parallel()
	some, fresh := make([]flushRange, manyDirty), make([]flushRange, manyDirty)
	for i := range fresh {
		fresh[i].fresh = true
	}
	var qs queues
	r := new(ring)
	require.False(t, qs.wholeIsBetter(some, r))
	require.True(t, qs.wholeIsBetter(some, nil))
	require.True(t, qs.wholeIsBetter(fresh, r))
	qs.eachTook = flushEachTook/manyDirty + time.Microsecond
	require.True(t, qs.wholeIsBetter(some, r))
	require.False(t, qs.wholeIsBetter(some[1:], nil))
}
