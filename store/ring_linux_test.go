package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testRing(t *testing.T) *ring {
	r, err := newRing(func(err error) { t.Errorf("the ring failed: %v", err) })
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("the kernel gives this process no io_uring: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(r.close)
	return r
}

// TestRingFlushes has many goroutines flush stretches of one mapped file, more often than the ring has places.
func TestRingFlushes(t *testing.T) {
	r := testRing(t)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte{1}, 8*4096), 0o644))
	var all sync.WaitGroup
	for i := range int64(8) {
		all.Go(func() {
			for range 50 {
				done, err := r.sync(path, i*4096, (i+1)*4096)
				if !done || err != nil {
					t.Errorf("stretch %d: done %v, %v", i, done, err)
				}
			}
		})
	}
	all.Wait()
}

func TestRingRefuses(t *testing.T) {
	r := testRing(t)
	t.Run("a file that is gone", func(t *testing.T) {
		done, err := r.sync(filepath.Join(t.TempDir(), "none"), 0, 4096)
		require.False(t, done)
		require.NoError(t, err)
	})
	t.Run("what cannot be flushed", func(t *testing.T) {
		pipe := filepath.Join(t.TempDir(), "pipe")
		require.NoError(t, unix.Mkfifo(pipe, 0o600))
		done, err := r.sync(pipe, 0, 4096)
		require.True(t, done)
		require.ErrorIs(t, err, unix.EINVAL)
	})
	t.Run("no ring", func(t *testing.T) {
		var none *ring
		done, err := none.sync("any", 0, 4096)
		require.False(t, done)
		require.NoError(t, err)
		none.close()
	})
}

// emptyMapping returns a mapping of n bytes of a new file that has only half of them.
func emptyMapping(t *testing.T, n int) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(int64(n/2)))
	b, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(b)) })
	return b
}

func TestRingPopulates(t *testing.T) {
	r := testRing(t)
	const n = 256 << 10
	b := emptyMapping(t, n)
	require.Zero(t, presentBytes(b))
	require.True(t, r.populate(b[:n/2]))
	require.EqualValues(t, n/2, presentBytes(b))
	require.False(t, r.populate(b[n/2:])) // would be a SIGBUS
	require.ErrorIs(t, populate(b[n/2:]), unix.ENOSPC)
	require.False(t, r.dead)
}

// brokenRing is of no use to whoever asks it first, and notes that.
func brokenRing(t *testing.T) *ring {
	t.Helper()
	r := testRing(t)
	r.failed = func(error) {}
	require.NoError(t, unix.Close(r.fd))
	r.fd = -1
	return r
}

// TestFlushAsksRing has flushes go by the ring, or not, by how many wait for them, and on without it when it fails.
func TestFlushAsksRing(t *testing.T) {
	for _, x := range []struct {
		mode    FlushMode
		callers int
		asked   bool
	}{
		{FlushAsync, 1, true},
		{FlushSync, 0, true},
		{FlushSync, 1, runtime.NumCPU() == 1},
		{FlushSync, ringCallers - 1, runtime.NumCPU() == 1},
		{FlushSync, ringCallers, true},
	} {
		t.Run(fmt.Sprint(x.mode, x.callers), func(t *testing.T) {
			o := testOptions(t)
			o.FlushMode = x.mode
			s := newStore(o)
			var err error
			s.lock, err = takeLock(o.Dir)
			require.NoError(t, err)
			require.NoError(t, s.recover()) // and no goroutine runs yet
			var r PutResult
			require.NoError(t, s.Put(testMessage("T", 0, "a"), &r))
			s.flusher.ring = brokenRing(t)
			s.flusher.waiters.timeout = time.Hour
			answered := 0
			for range x.callers {
				s.flusher.waiters.add(s.log.written.Load(), s.log.flushed.Load, func(err error) {
					require.NoError(t, err)
					answered++
				})
			}
			s.flusher.log()
			require.Equal(t, x.callers, answered)
			require.Equal(t, s.log.written.Load(), s.log.flushed.Load())
			require.Equal(t, x.asked, s.flusher.ring.dead)
			s.flusher.ring = nil // closed with the test
			s.start()
			require.NoError(t, s.Close())
		})
	}
}

// TestFeederPopulates has a store's feeder make pages by its ring, and by itself after that is of no use any more.
func TestFeederPopulates(t *testing.T) {
	testRing(t)
	o := testOptions(t)
	o.SegmentBytes = 8 << 20
	s := openTestStore(t, o)
	require.NotNil(t, s.log.feeder.ring)
	ahead := func(r *ring) {
		seg, err := createSegment(t.TempDir(), 0, o.SegmentBytes, nil)
		require.NoError(t, err)
		require.NoError(t, seg.allocate(o.SegmentBytes, 0, false))
		require.NoError(t, seg.touch(r, 100, true))
		require.EqualValues(t, pageBytes, seg.present)
		require.NoError(t, seg.touch(r, 6<<20, false))
		require.EqualValues(t, 6<<20, seg.present)
		for at := 0; at < 6<<20; at += coldReadBytes {
			require.EqualValues(t, coldReadBytes, presentBytes(seg.data[at:at+coldReadBytes]))
		}
		require.NoError(t, seg.remove())
	}
	ahead(s.log.feeder.ring)
	broken := brokenRing(t)
	ahead(broken)
	require.True(t, broken.dead)
}

// TestRingFails has an operation that does not end: whoever waits for it flushes in another way, and the ring is not asked again.
func TestRingFails(t *testing.T) {
	r := testRing(t)
	var told []error
	r.failed = func(err error) { told = append(told, err) }
	r.limit = 0
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, make([]byte, 4096), 0o644))
	result, err := r.await() // nothing is under way
	require.ErrorIs(t, err, errRingLate)
	require.Zero(t, result)
	require.NoError(t, unix.Close(r.fd))
	r.fd = -1
	for range 2 {
		done, err := r.sync(path, 0, 4096)
		require.False(t, done)
		require.NoError(t, err)
	}
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], unix.EBADF)
}
