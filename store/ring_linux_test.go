package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

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
