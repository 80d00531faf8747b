package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestScheduleCrashes sends to some levels, lets time pass, persists, and ends the delay levels at any point: by a stop, by a
// kill, by a power cut of the whole store. Nothing is lost or early, the first deliveries of a level are in its order, and
// only what was delivered after the last file may come once more.
func TestScheduleCrashes(t *testing.T) {
	t.Parallel()
	seeds := uint64(16)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &delayHistory{T: t, rnd: rand.New(rand.NewPCG(seed, 11))}
			h.nowMs.Store(1_700_000_000_000)
			h.levels = DelayLevels{1, 1000, 5000, 60_000}
			h.opts = smallStoreOptions(fastDir(t))
			h.opts.SegmentBytes, h.opts.QueueSegmentEntries = 1<<15, 40
			h.opts.FlushInterval, h.opts.QueueFlushInterval = time.Hour, time.Hour // the test flushes
			h.opts.Now = func() time.Time { return time.UnixMilli(h.nowMs.Load()) }
			h.run()
		})
	}
}

// delayHistory drives delay levels over a store; everything runs in the test's goroutine but for what the store does.
type delayHistory struct {
	*testing.T
	rnd    *rand.Rand
	nowMs  atomic.Int64
	opts   Options
	levels DelayLevels

	d      *delayStore
	broken bool
	sent   []delayedSend
	// again is how often each message of a level, by its queue offset, may come beside the first time.
	again [4]map[int64]int
	saved [4]int64 // offsets in the file
}

type delayedSend struct {
	id          string
	level       int
	queueOffset int64
	end, dueMs  int64
}

func (h *delayHistory) open() {
	h.d = openDelayStore(h, h.opts, h.levels)
	h.reopen()
}

// reopen forgets the delay levels as a killed process would, and reads their file.
func (h *delayHistory) reopen() {
	var err error
	h.d.schedule, err = openSchedule(filepath.Join(h.opts.Dir, "config", "delayOffset.json"), h.d.Store, ScheduleOptions{
		Levels: h.levels, TableOptions: TableOptions{Now: h.opts.Now, Faults: func(op FileOp, _ string) error {
			if h.broken && op == OpRename {
				return syscall.EIO
			}
			return nil
		}}})
	require.NoError(h, err)
}

func (h *delayHistory) run() {
	for i := range h.again {
		h.again[i] = map[int64]int{}
	}
	h.open()
	for step := range 150 {
		for range h.rnd.IntN(6) {
			h.put(fmt.Sprintf("%d-%d", step, len(h.sent)))
		}
		if h.rnd.IntN(3) == 0 {
			require.NoError(h, h.d.awaitFlushed(h.d.Written()))
		}
		h.work(h.rnd.IntN(3))
		h.nowMs.Add(h.rnd.Int64N(3_000))
		h.work(h.rnd.IntN(3))
		if h.rnd.IntN(6) == 0 {
			h.persist()
		}
		switch h.rnd.IntN(15) {
		case 0:
			h.persist()
			h.reopen()
		case 1:
			h.mayRepeat()
			h.reopen()
		case 2:
			h.broken = true
			require.Error(h, errorOr(h.d.schedule.Persist(), !h.d.schedule.dirty.Load()))
			h.broken = false
		case 3:
			h.cutPower()
		}
	}
	for range 40 {
		h.nowMs.Add(3_000)
		h.work(3)
	}
	h.check()
}

// errorOr is err, or one that says that nothing was to be done.
func errorOr(err error, idle bool) error {
	if err == nil && idle {
		return errFault
	}
	return err
}

func (h *delayHistory) put(id string) {
	level := 1 + h.rnd.IntN(len(h.levels))
	m := delayedMessage("Orders", id)
	h.d.schedule.Redirect(m, level)
	var r PutResult
	require.NoError(h, h.d.PutWait(m, &r))
	h.sent = append(h.sent, delayedSend{id, level, r.QueueOffset, r.EndOffset, m.TagsCode})
}

// work gives the levels some turns, as Run does.
func (h *delayHistory) work(turns int) {
	for range turns {
		require.Eventually(h, func() bool { return h.d.Dispatched() == h.d.Written() }, 30*time.Second, 50*time.Microsecond)
		for _, q := range h.d.schedule.levels {
			q.idle.Store(false)
		}
		_, err := h.d.schedule.deliverDue(context.Background())
		require.NoError(h, err)
	}
}

func (h *delayHistory) persist() {
	require.NoError(h, h.d.schedule.Persist())
	for i, q := range h.d.schedule.levels {
		h.saved[i] = q.offset.Load()
	}
}

// mayRepeat notes what was delivered since the last file.
func (h *delayHistory) mayRepeat() {
	for i, q := range h.d.schedule.levels {
		for queueOffset := h.saved[i]; queueOffset < q.offset.Load(); queueOffset++ {
			h.again[i][queueOffset]++
		}
	}
}

// cutPower goes on with a copy of the store whose log ends where it is known to be on disk. What was sent behind that is lost.
func (h *delayHistory) cutPower() {
	h.mayRepeat()
	flushed := h.d.Flushed()
	dir := fastDir(h)
	require.NoError(h, os.CopyFS(dir, os.DirFS(h.opts.Dir)))
	eachLogFile(h.T, dir, func(path string, base int64) {
		pos := max(flushed-base, 0)
		changeFile(h.T, path, pos, func(b []byte) { clear(b) })
	})
	require.NoError(h, os.RemoveAll(filepath.Join(dir, "consumequeue"))) // is made anew
	require.NoError(h, os.Remove(filepath.Join(dir, "lock")))
	require.NoError(h, h.d.Close())
	h.opts.Dir, h.opts.CommitLogDir = dir, ""
	kept := h.sent[:0]
	for _, s := range h.sent {
		if s.end <= flushed {
			kept = append(kept, s)
		}
	}
	h.sent = kept
	h.open()
}

func (h *delayHistory) check() {
	byID := map[string]delayedSend{}
	for _, s := range h.sent {
		byID[s.id] = s
	}
	times, newest := map[string]int{}, map[int]int64{}
	for i := range h.d.MaxQueueOffset("Orders", 3) {
		m := h.d.message(h, "Orders", 3, i)
		s, ok := byID[string(m.Body)]
		require.True(h, ok, "%s was lost before", m.Body)
		require.GreaterOrEqual(h, m.StoreTimestampMs, s.dueMs, "%s came early", s.id)
		if times[s.id]++; times[s.id] == 1 {
			require.GreaterOrEqual(h, s.queueOffset, newest[s.level], "%s came out of order", s.id)
			newest[s.level] = s.queueOffset
		}
	}
	for _, s := range h.sent {
		require.GreaterOrEqual(h, times[s.id], 1, "%s was lost", s.id)
		require.LessOrEqual(h, times[s.id], 1+h.again[s.level-1][s.queueOffset], "%s came too often", s.id)
	}
}
