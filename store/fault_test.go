package store

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A disk that gives no more blocks is an error that goes away when it does; nothing that was acknowledged is lost, and
// what was refused is not there.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, op := range []FileOp{OpAllocate, OpCreate, OpMap} {
		for nth := range int32(8) {
			t.Run(fmt.Sprint(op, nth), func(t *testing.T) {
				t.Parallel()
				h := newHistory(t, uint64(nth))
				h.o.SegmentBytes = 32 << 10
				h.o.IndexEnabled = nth%2 == 0
				var fs faults
				h.o.Faults = fs.check
				h.open()
				h.run(20)
				var calls atomic.Int32
				fs.set(func(o FileOp, path string) error {
					if o == op && calls.Add(1) > nth {
						return syscall.ENOSPC
					}
					return nil
				})
				refused := false
				for i := 0; i < 20000 && !refused; i++ {
					m := testMessage("T", int32(i&3), strings.Repeat("y", 100))
					var r PutResult
					err := h.s.PutWait(m, &r)
					if err == nil {
						h.keep(m, "U"+strings.Repeat("y", 100), r.QueueOffset, r.PhysOffset, r.EndOffset)
						continue
					}
					require.ErrorIs(t, err, ErrNoSpace)
					refused = true
				}
				require.True(t, refused)
				require.False(t, h.s.ReadOnly())
				fs.set(nil)
				var r PutResult
				require.Eventually(t, func() bool {
					h.clock.Add(1000)
					if h.s.log.feeder.failed.Load() != nil {
						return false
					}
					m := testMessage("T", 1, "after")
					err := h.s.PutWait(m, &r)
					if err == nil {
						h.keep(m, "Uafter", r.QueueOffset, r.PhysOffset, r.EndOffset)
					}
					return err == nil
				}, 10*time.Second, time.Millisecond)
				h.run(50)
				h.checkQueues()
				require.NoError(t, h.s.Close())
				h.open()
				h.checkQueues()
				require.NoError(t, h.s.Close())
			})
		}
	}
}

// Open fails, names the cause and leaves the directory as usable as it was.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	cause := errors.New("broken disk")
	for _, op := range []FileOp{OpCreate, OpMap, OpRead, OpWrite, OpFlush, OpRemove, OpRename} {
		for nth := range int32(6) {
			t.Run(fmt.Sprint(op, nth), func(t *testing.T) {
				t.Parallel()
				h := newHistory(t, uint64(nth))
				h.open()
				h.run(100)
				h.crash(func(string) {})
				var calls atomic.Int32
				h.o.Faults = func(o FileOp, path string) error {
					if o == op && calls.Add(1) > nth {
						return cause
					}
					return nil
				}
				s, err := Open(h.o)
				if err == nil { // not so many of these on the way
					require.NoError(t, ignore(s.Close(), cause))
				} else {
					require.ErrorIs(t, err, cause)
				}
				h.o.Faults = nil
				h.clock.Add(2000)
				h.open()
				h.check()
				require.NoError(t, h.s.Close())
			})
		}
	}
}

// ignore drops an error that a test brought about.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// A queue file that cannot grow holds up visibility, is said, and refuses puts before the log runs away from the queues.
func TestQueueCannotGrow(t *testing.T) {
	t.Parallel()
	var fs faults
	o := testOptions(t)
	o.IndexEnabled = false
	o.Faults = fs.check
	s := openTestStore(t, o)
	fs.set(func(op FileOp, path string) error {
		if op == OpCreate && strings.Contains(path, "consumequeue") {
			return syscall.ENOSPC
		}
		return nil
	})
	var r PutResult
	n := 0
	require.Eventually(t, func() bool {
		err := s.PutWait(testMessage("T", 0, fmt.Sprint(n)), &r)
		if err == nil {
			n++
		}
		return errors.Is(err, ErrNoSpace)
	}, 10*time.Second, 10*time.Microsecond)
	require.Zero(t, s.MaxQueueOffset("T", 0))
	fs.set(nil)
	waitDispatched(t, s)
	require.Len(t, readQueue(t, s, "T", 0, 0), n)
	require.Eventually(t, func() bool { return s.PutWait(testMessage("T", 0, "x"), &r) == nil }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, n, r.QueueOffset)
}
