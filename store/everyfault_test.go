package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// script is a store that a killed broker left, with tables beside it, from which each case starts anew.
type script struct {
	h     *history
	dir   string
	clean string // the same after a clean stop
}

func newScript(t *testing.T) *script {
	h := newHistory(t, 11)
	h.o.SegmentBytes, h.o.QueueSegmentEntries = 32<<10, 40
	h.open()
	h.run(120)
	s := &script{h: h, dir: fastDir(t), clean: fastDir(t)}
	h.openTables(t, h.o.Dir, nil, func(tb *testTables) {
		_, err := tb.topics.Put(&codec.TopicConfig{TopicName: "T", ReadQueueNums: 4, WriteQueueNums: 4, Perm: 6})
		require.NoError(t, err)
		require.NoError(t, tb.offsets.Commit([]byte("G"), []byte("T"), 1, 5))
		require.NoError(t, tb.offsets.Persist())
	})
	require.NoError(t, os.CopyFS(s.dir, os.DirFS(h.o.Dir)))
	require.NoError(t, h.s.Close())
	require.NoError(t, os.CopyFS(s.clean, os.DirFS(h.o.Dir)))
	return s
}

// testTables are tables of a store directory.
type testTables struct {
	topics  *Topics
	groups  *Groups
	offsets *Offsets
}

// openTables opens tables, has use work on them and closes them; the first error ends it.
func (h *history) openTables(t *testing.T, dir string, fault func(FileOp, string) error, use func(*testTables)) {
	require.NoError(t, h.tryTables(dir, fault, use))
}

func (h *history) tryTables(dir string, fault func(FileOp, string) error, use func(*testTables)) error {
	options := TableOptions{Now: h.o.Now, Faults: fault, Logger: slog.New(slog.DiscardHandler)}
	config := func(name string) string { return filepath.Join(dir, "config", name) }
	var tb testTables
	var err error
	if tb.topics, err = OpenTopics(config("topics.json"), TopicsOptions{TableOptions: options, Cluster: "C", Broker: "b", DefaultQueueNums: 8}); err != nil {
		return err
	}
	if tb.groups, err = OpenGroups(config("subscriptionGroup.json"), GroupsOptions{TableOptions: options}); err != nil {
		return errors.Join(err, tb.topics.Close())
	}
	if tb.offsets, err = OpenOffsets(config("consumerOffset.json"), OffsetsOptions{TableOptions: options}); err != nil {
		return errors.Join(err, tb.groups.Close(), tb.topics.Close())
	}
	if use != nil {
		use(&tb)
	}
	return errors.Join(tb.offsets.Close(), tb.groups.Close(), tb.topics.Close())
}

// open opens the store in dir with faults, puts some messages and closes it: everything that can go wrong may.
func (s *script) play(t *testing.T, dir string, fault func(FileOp, string) error) error {
	o := s.h.o
	o.Dir, o.CommitLogDir, o.Faults = dir, "", fault
	o.SyncFlushTimeout = 100 * time.Millisecond
	if err := s.h.tryTables(dir, fault, nil); err != nil {
		return err
	}
	st, err := Open(o)
	if err != nil {
		return err
	}
	var r PutResult
	for i := range 40 {
		if err = st.PutWait(testMessage("More", int32(i&3), strings.Repeat("z", 1200)), &r); err != nil {
			break
		}
		if i%10 == 0 {
			st.flusher.log()
			st.flusher.queues(true)
		}
	}
	return errors.Join(err, st.Close())
}

// The n-th call of every file operation fails, for every n of a run from the recovery after a kill to the next stop: an error
// names the cause, or the run does without; nothing that was there before is lost, and nothing else is served.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	cause := errors.New("broken disk")
	for _, op := range []FileOp{OpCreate, OpAllocate, OpMap, OpFlush, OpRename, OpRemove, OpRead, OpWrite} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			root := fastDir(t)
			for nth, more := int64(0), true; more; nth++ {
				dir := filepath.Join(root, fmt.Sprint(nth))
				require.NoError(t, os.CopyFS(dir, os.DirFS(s.dir)))
				var calls atomic.Int64
				err := s.play(t, dir, func(o FileOp, path string) error {
					if o == op && calls.Add(1) == nth+1 {
						return cause
					}
					return nil
				})
				more = calls.Load() > nth
				if err != nil && !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrNoSpace) {
					require.ErrorIs(t, err, cause)
				}
				s.requireAll(t, dir)
				require.NoError(t, os.RemoveAll(dir))
			}
		})
	}
}

// requireAll opens the store in dir and compares it with what was put before the kill.
func (s *script) requireAll(t *testing.T, dir string) {
	t.Helper()
	s.h.openTables(t, dir, nil, func(tb *testTables) {
		topic, ok := tb.topics.Get("T")
		require.True(t, ok)
		require.EqualValues(t, 4, topic.ReadQueueNums)
		at, ok := tb.offsets.Query([]byte("G"), []byte("T"), 1)
		require.True(t, ok)
		require.EqualValues(t, 5, at)
	})
	h := &history{t: t, o: s.h.o, puts: s.h.puts}
	h.o.Dir, h.o.CommitLogDir = dir, ""
	h.open()
	h.checkQueues()
	require.NoError(t, h.s.Close())
}

// One bit of any file is flipped, or the file is cut. A start refuses, or serves nothing but whole messages; no bad table is
// taken for a good one without a word.
func TestFlippedBitsAndCutFiles(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	rnd, root := rand.New(rand.NewPCG(5, 5)), fastDir(t)
	for i := range 180 {
		from, checked := s.dir, true
		if rnd.IntN(2) == 0 {
			from, checked = s.clean, false
		}
		dir := filepath.Join(root, fmt.Sprint(i))
		require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
		kinds := filesByKind(t, dir)
		kind := fileKinds[i%len(fileKinds)] // each as often, however many files it has
		if len(kinds[kind]) == 0 {
			require.True(t, kind == "abort" && !checked, kind)
			continue
		}
		path := kinds[kind][rnd.IntN(len(kinds[kind]))]
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if len(b) == 0 {
			continue
		}
		if rnd.IntN(2) == 0 {
			b = b[:rnd.IntN(len(b))]
		} else {
			at := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 {
				at %= 4096
				at %= len(b)
			}
			b[at] ^= 1 << rnd.IntN(8)
		}
		require.NoError(t, os.WriteFile(path, b, 0o644))
		if err := s.h.tryTables(dir, nil, nil); err != nil { // there is no other copy
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, path)
			continue
		}
		o := s.h.o
		o.Dir, o.CommitLogDir = dir, ""
		st, err := Open(o)
		if err != nil {
			require.ErrorContains(t, err, path)
			continue
		}
		requireWhole(t, st, checked && st.warmFrom == 0) // recovery reads from there on
		require.NoError(t, st.Close())
	}
}

// fileKinds are the kinds of files of a store, by their first directories. Those of timers and compaction have tests of their own.
var fileKinds = []string{"abort", "apogee/opened.json", "apogee/queues.json", "batchconsumequeue", "checkpoint", "commitlog", "config", "consumequeue",
	"consumequeue_ext", "index", "lock"}

// filesByKind lists the files in a store directory.
func filesByKind(t *testing.T, dir string) map[string][]string {
	kinds := make(map[string][]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kind, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		if first, _, _ := strings.Cut(kind, "/"); first != ownDir {
			kind = first
		}
		require.Contains(t, fileKinds, kind, "a kind of file that is not damaged here")
		kinds[kind] = append(kinds[kind], path)
		return nil
	}))
	return kinds
}
