package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// unsynced are the names that were given in directories which were not flushed since: a power cut may take them back.
type unsynced struct {
	mu       sync.Mutex
	old      map[string][]byte // what lay there before, nil for nothing; by path
	flushing string
	cut      func(old map[string][]byte)
}

// fault is told before each operation, and cuts the power in front of those with such names.
func (u *unsynced) fault(op FileOp, path string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.old, func(name string, _ []byte) bool { return filepath.Dir(name) == u.flushing })
	if u.flushing = ""; len(u.old) > 0 {
		u.cut(u.old)
	}
	switch _, known := u.old[path]; {
	case op == OpFlush:
		u.flushing = path
	case op == OpRename && !known:
		u.old[path], _ = os.ReadFile(path)
	}
	return nil
}

// takeBack undoes some renames in a copy of dir. fromOf says what a file was called before, where that matters.
func takeBack(t *testing.T, rnd *rand.Rand, dir, to string, old map[string][]byte, fromOf func(path string) string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(old)) {
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		name = filepath.Join(to, name)
		b, err := os.ReadFile(name)
		if err != nil || rnd.IntN(4) == 0 {
			continue
		}
		require.NoError(t, os.Remove(name))
		if old[path] != nil {
			require.NoError(t, os.WriteFile(name, old[path], 0o644))
		}
		if from := fromOf(name); from != "" {
			require.NoError(t, os.WriteFile(from, b, 0o644))
		}
	}
}

// A power cut takes back the renames in a directory that was not flushed since, and of the log what was not. Tables are what they were
// when they were acknowledged, or newer; every message that was flushed is there; a deleted topic is gone.
func TestPowerCutTakesRenamesBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		h := newHistory(t, seed)
		root, rnd := fastDir(t), rand.New(rand.NewPCG(seed, 9))
		var checks []func()
		var acked struct { // what the tables and the store have promised
			queues    int32
			committed int64
			deleted   bool
		}
		u := &unsynced{old: make(map[string][]byte)}
		u.cut = func(old map[string][]byte) {
			flushed, puts, promised, dir := int64(0), slices.Clone(h.puts), acked, filepath.Join(root, fmt.Sprint(len(checks)))
			if h.s != nil {
				flushed = h.s.Flushed()
			}
			require.NoError(t, os.CopyFS(dir, os.DirFS(h.o.Dir)))
			takeBack(t, rnd, h.o.Dir, dir, old, func(string) string { return "" })
			require.NoError(t, writeOpened(dir, 0)) // by another run of the kernel
			eachLogFile(t, dir, func(path string, base int64) {
				pos := max(flushed-base, 0)
				changeFile(t, path, pos, func(b []byte) { loseSectors(rnd, b, pos) })
			})
			names := slices.Sorted(maps.Keys(old))
			checks = append(checks, func() {
				after := &history{t: t, o: h.o, puts: puts}
				after.o.Dir, after.o.CommitLogDir, after.o.Faults = dir, "", nil
				after.openTables(t, dir, nil, func(tb *testTables) {
					topic, ok := tb.topics.Get("T")
					require.True(t, ok || promised.queues == 0, "%v", names)
					require.True(t, !ok || topic.ReadQueueNums >= promised.queues, "%v", names)
					at, ok := tb.offsets.Query([]byte("G"), []byte("T"), 1)
					require.True(t, ok || promised.committed == 0, "%v", names)
					require.True(t, !ok || at >= promised.committed, "%v", names)
				})
				after.open()
				after.forget(flushed)
				after.checkQueues()
				if promised.deleted {
					require.Zero(t, after.s.MaxQueueOffset("Gone", 0), "%v", names)
				}
				require.NoError(t, after.s.Close())
				require.NoError(t, os.RemoveAll(dir))
			})
		}
		h.o.Faults = u.fault
		h.open()
		h.openTables(t, h.o.Dir, u.fault, func(tb *testTables) {
			for round := range int32(3) {
				for range 10 {
					h.put()
					require.NoError(t, h.s.PutWait(testMessage("Gone", 0, "x"), new(PutResult)))
				}
				waitDispatched(t, h.s)
				h.s.flusher.log()
				h.s.flusher.queues(true)
				_, err := tb.topics.Put(&codec.TopicConfig{TopicName: "T", ReadQueueNums: 4 + round, WriteQueueNums: 4, Perm: 6})
				require.NoError(t, err)
				acked.queues = 4 + round
				require.NoError(t, tb.offsets.Commit([]byte("G"), []byte("T"), 1, int64(5+round)))
				require.NoError(t, tb.offsets.Persist())
				acked.committed = int64(5 + round)
			}
			require.NoError(t, h.s.DeleteTopic("Gone"))
			acked.deleted = true
			for range 10 {
				h.put()
			}
			waitDispatched(t, h.s)
			h.s.flusher.log()
			h.s.flusher.queues(true)
		})
		require.NoError(t, h.s.Close())
		require.Greater(t, len(checks), 10)
		for _, check := range checks {
			check()
		}
	}
}

// The same in any step of a compaction, which moves new files into the place of the old.
func TestPowerCutTakesBackACompaction(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, fastDir(t))
	root, rnd := fastDir(t), rand.New(rand.NewPCG(3, 9))
	var cuts [][]string
	armed := false
	u := &unsynced{old: make(map[string][]byte)}
	u.cut = func(old map[string][]byte) {
		if !armed {
			return
		}
		dir := filepath.Join(root, fmt.Sprint(len(cuts)))
		require.NoError(t, os.CopyFS(dir, os.DirFS(o.Dir)))
		takeBack(t, rnd, o.Dir, dir, old, func(path string) string {
			for part, was := range map[string]string{"compactionLog": "log", "compactionCq": "queue"} {
				if head, tail, ok := strings.Cut(path, filepath.Join("compaction", part)); ok {
					return filepath.Join(head, ownDir, "compacting", filepath.Dir(tail), was, filepath.Base(tail))
				}
			}
			return ""
		})
		require.NoError(t, writeOpened(dir, 0))
		cuts = append(cuts, slices.Sorted(maps.Keys(old)))
	}
	o.Faults = u.fault
	s := openTestStore(t, o)
	fillKeys(t, s, 100, 5, "v")
	want := newestOf(readQueue(t, s, compactedTopic, 0, 0))
	waitDispatched(t, s)
	s.flusher.log()
	s.flusher.queues(true)
	u.mu.Lock()
	armed = true
	u.mu.Unlock()
	s.compact.compactAll(nil)
	u.mu.Lock()
	armed = false
	u.mu.Unlock()
	require.NoError(t, s.Close())
	require.Greater(t, len(cuts), 3)
	for i, names := range cuts {
		o.Dir, o.CommitLogDir, o.Faults = filepath.Join(root, fmt.Sprint(i)), "", nil
		s := openTestStore(t, o)
		caughtUp(t, s)
		require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "%v", names)
		compactNow(t, s)
		require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "%v", names)
		require.NoError(t, s.Close())
	}
}
