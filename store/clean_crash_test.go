package store

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A stop in the middle of a deletion, kill or power cut: what was not deleted is there, byte for byte, queues begin where the log
// does and keep their offsets, and retention goes on.
func TestCrashWhileDeleting(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 25, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed)
		h.o.SegmentBytes = 16 << 10
		h.open()
		for range 3 {
			h.run(50 + h.rnd.IntN(250))
			if h.rnd.IntN(2) == 0 {
				h.s.flusher.log()
				h.s.flusher.queues(true)
				rules := DefaultRetention()
				rules.Pause, rules.MaxLogBytes = 0, 1+h.rnd.Int64N(h.s.Written()-h.s.MinPhysOffset())
				h.s.SetRetention(rules)
				require.NoError(t, h.s.cleaner.tick(context.Background(), true, true))
				h.forgetHead(h.s.MinPhysOffset())
			}
			flushed, first := h.s.Flushed(), h.s.MinPhysOffset()
			fates, powerCut := h.queueFates(), h.rnd.IntN(2) == 0
			written := h.s.Written()
			list, n := h.s.log.all(), 0
			for h.s.deletable(list, n) && h.rnd.IntN(8) > 0 {
				n++
			}
			h.crash(func(dir string) {
				first = h.deleteSome(dir, n, fates)
				if powerCut {
					h.cutPower(dir, flushed, fates)
				}
			})
			h.open()
			require.Equal(t, first, h.s.MinPhysOffset())
			if !powerCut {
				require.Equal(t, written, h.s.Written())
			}
			h.forget(flushed)
			h.forgetHead(first)
			h.check()
		}
		require.NoError(t, h.s.Close())
		h.open()
		h.check()
		require.NoError(t, h.s.Close())
	})
}

// deleteSome deletes the first n segments of a directory's log, as a round does that is cut off, and the first files of some
// queues that lead before it. It returns where the log begins then.
func (h *history) deleteSome(dir string, n int, fates []queueFate) (first int64) {
	var bases []int64
	eachLogFile(h.t, dir, func(_ string, base int64) { bases = append(bases, base) })
	slices.Sort(bases)
	for _, base := range bases[:n] {
		require.NoError(h.t, os.Remove(filepath.Join(dir, "commitlog", segmentName(base))))
	}
	first = bases[n]
	for _, topic := range crashTopics {
		for _, id := range []string{"0", "1", "2", "3"} {
			name := filepath.Join("consumequeue", topic, id)
			fresh := slices.ContainsFunc(fates, func(f queueFate) bool { return f.fresh && filepath.Dir(f.name) == name })
			if !fresh {
				h.trimSome(filepath.Join(dir, name), first)
			}
		}
	}
	return first
}

// trimSome deletes up to all files of a queue but the last whose entries lead before first.
func (h *history) trimSome(dir string, first int64) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return
	}
	require.NoError(h.t, err)
	for _, e := range entries[:max(len(entries)-1, 0)] {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(h.t, err)
		if entryAt(b[len(b)-entryBytes:]).physOffset >= first || h.rnd.IntN(2) == 0 {
			return
		}
		require.NoError(h.t, os.Remove(filepath.Join(dir, e.Name())))
	}
}

// forgetHead drops from the history what lies before physOffset, where the log begins.
func (h *history) forgetHead(physOffset int64) {
	if h.gone == nil {
		h.gone = make(map[queueKey]int64)
	}
	n := 0
	for n < len(h.puts) && h.puts[n].phys < physOffset {
		if k := h.puts[n]; k.queued {
			h.gone[queueKey{k.topic, k.queueID}] += k.count
		}
		n++
	}
	h.puts = h.puts[n:]
}
