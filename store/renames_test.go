package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// unsynced are the names that were given in directories which were not flushed since: a power cut may take them back.
type unsynced struct {
	t    *testing.T
	dir  string // of the store
	root string // of the copies
	// note is called before each copy; what it returns looks whether the copy, after the power cut, has what was promised until then.
	note func() func(*powerCut)

	mu       sync.Mutex
	old      map[string][]byte // what lay there before, nil for nothing; by path
	flushing string
	armed    bool
	cuts     []powerCut
}

// powerCut is a copy of the store in front of an operation.
type powerCut struct {
	dir   string
	old   map[string][]byte // of unsynced
	check func(*powerCut)   // from note
}

func newUnsynced(t *testing.T, dir string) *unsynced {
	return &unsynced{t: t, dir: dir, root: fastDir(t), old: make(map[string][]byte)}
}

// during has the power cut in front of all that use does. Nothing may be put into the store meanwhile.
func (u *unsynced) during(use func()) {
	u.do(func() { u.armed = true })
	use()
	u.do(func() { u.armed = false })
}

// do keeps fn and power cuts apart.
func (u *unsynced) do(fn func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	fn()
}

// fault is told before each operation, and cuts the power in front of those with such names. It runs in the store's own goroutines, too,
// which a failed assertion must not end.
func (u *unsynced) fault(op FileOp, path string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.old, func(name string, _ []byte) bool { return filepath.Dir(name) == u.flushing })
	if u.flushing = ""; u.armed && len(u.old) > 0 {
		cut := powerCut{dir: filepath.Join(u.root, fmt.Sprint(len(u.cuts))), old: maps.Clone(u.old)}
		if u.note != nil {
			cut.check = u.note()
		}
		if err := copyLiving(cut.dir, u.dir); err != nil {
			u.t.Errorf("the store cannot be copied: %v", err)
		}
		u.cuts = append(u.cuts, cut)
	}
	switch _, known := u.old[path]; {
	case op == OpFlush:
		u.flushing = path
	case op == OpRename && !known:
		u.old[path], _ = os.ReadFile(path)
	}
	return nil
}

// copyLiving copies a directory in which files come and go.
func copyLiving(to, from string) error {
	for {
		err := os.CopyFS(to, os.DirFS(from))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// takeBack undoes some of the renames in a copy of the store. fromOf says what a file was called before, where that matters.
func (u *unsynced) takeBack(t *testing.T, rnd *rand.Rand, c *powerCut, fromOf func(path string) string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(c.old)) {
		name, err := filepath.Rel(u.dir, path)
		require.NoError(t, err)
		name = filepath.Join(c.dir, name)
		b, err := os.ReadFile(name)
		if err != nil || rnd.IntN(4) == 0 {
			continue
		}
		require.NoError(t, os.Remove(name))
		if c.old[path] != nil {
			require.NoError(t, os.WriteFile(name, c.old[path], 0o644))
		}
		if from := fromOf(name); from != "" {
			require.NoError(t, os.WriteFile(from, b, 0o644))
		}
	}
	require.NoError(t, writeOpened(c.dir, 0)) // by another run of the kernel
}

// A power cut takes back the renames in a directory that was not flushed since, and of the log what was not. Tables are what they were
// when they were acknowledged, or newer; every message that was flushed is there; a deleted topic is gone.
func TestPowerCutTakesRenamesBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		h := newHistory(t, seed)
		rnd := rand.New(rand.NewPCG(seed, 9))
		u := newUnsynced(t, h.o.Dir)
		h.o.Faults = u.fault
		h.open()
		cutDuringFlushes(t, h, u)
		require.NoError(t, h.s.Close())
		require.Greater(t, len(u.cuts), 10)
		for i := range u.cuts {
			cut := &u.cuts[i]
			u.takeBack(t, rnd, cut, func(string) string { return "" })
			cut.check(cut)
			require.NoError(t, os.RemoveAll(cut.dir))
		}
	}
}

// cutDuringFlushes has u cut the power while the store and its tables are flushed and a topic is deleted.
func cutDuringFlushes(t *testing.T, h *history, u *unsynced) {
	var acked promises
	u.note = func() func(*powerCut) {
		promised, puts, flushed := acked, h.puts, h.s.Flushed()
		return func(cut *powerCut) { promised.check(t, h.o, cut, puts, flushed) }
	}
	h.openTables(t, h.o.Dir, u.fault, func(tb *testTables) {
		flush := func() {
			h.s.flusher.log()
			h.s.flusher.queues(true)
		}
		for round := range int32(3) {
			for range 10 {
				h.put()
				require.NoError(t, h.s.PutWait(testMessage("Gone", 0, "x"), new(PutResult)))
			}
			waitDispatched(t, h.s)
			u.during(func() {
				flush()
				_, err := tb.topics.Put(&codec.TopicConfig{TopicName: "T", ReadQueueNums: 4 + round, WriteQueueNums: 4, Perm: 6})
				require.NoError(t, err)
				u.do(func() { acked.queues = 4 + round })
				require.NoError(t, tb.offsets.Commit([]byte("G"), []byte("T"), 1, int64(5+round)))
				require.NoError(t, tb.offsets.Persist())
				u.do(func() { acked.committed = int64(5 + round) })
			})
		}
		u.during(func() {
			require.NoError(t, h.s.DeleteTopic("Gone"))
			u.do(func() { acked.deleted = true })
		})
		for range 10 {
			h.put()
		}
		waitDispatched(t, h.s)
		u.during(flush)
	})
}

// promises are what tables and store have acknowledged.
type promises struct {
	queues    int32
	committed int64
	deleted   bool
}

// check opens what a power cut left: puts had been acknowledged, and the log was on disk up to flushed.
func (p promises) check(t *testing.T, o Options, cut *powerCut, puts []kept, flushed int64) {
	names := slices.Sorted(maps.Keys(cut.old))
	rnd := rand.New(rand.NewPCG(uint64(flushed), uint64(len(puts))))
	eachLogFile(t, cut.dir, func(path string, base int64) {
		pos := max(flushed-base, 0)
		changeFile(t, path, pos, func(b []byte) { loseSectors(rnd, b, pos) })
	})
	h := &history{t: t, o: o, puts: slices.Clone(puts)}
	h.o.Dir, h.o.CommitLogDir, h.o.Faults = cut.dir, "", nil
	h.openTables(t, cut.dir, nil, func(tb *testTables) {
		topic, ok := tb.topics.Get("T")
		require.True(t, ok || p.queues == 0, "%v", names)
		require.True(t, !ok || topic.ReadQueueNums >= p.queues, "%v", names)
		at, ok := tb.offsets.Query([]byte("G"), []byte("T"), 1)
		require.True(t, ok || p.committed == 0, "%v", names)
		require.True(t, !ok || at >= p.committed, "%v", names)
	})
	h.open()
	h.forget(flushed)
	h.checkQueues()
	if p.deleted {
		require.Zero(t, h.s.MaxQueueOffset("Gone", 0), "%v", names)
	}
	require.NoError(t, h.s.Close())
}

// The same in any step of a compaction, which moves new files into the place of the old.
func TestPowerCutTakesBackACompaction(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, fastDir(t))
	rnd := rand.New(rand.NewPCG(3, 9))
	o.FlushInterval, o.QueueFlushInterval = time.Hour, time.Hour // the test flushes
	u := newUnsynced(t, o.Dir)
	o.Faults = u.fault
	s := openTestStore(t, o)
	fillKeys(t, s, 100, 5, "v")
	want := newestOf(readQueue(t, s, compactedTopic, 0, 0))
	waitDispatched(t, s)
	s.flusher.log()
	s.flusher.queues(true)
	u.during(func() { s.compact.compactAll(nil) })
	require.NoError(t, s.Close())
	require.Greater(t, len(u.cuts), 3)
	for i := range u.cuts {
		cut := &u.cuts[i]
		u.takeBack(t, rnd, cut, compactedFrom)
		o.Dir, o.CommitLogDir, o.Faults = cut.dir, "", nil
		s := openTestStore(t, o)
		names := slices.Sorted(maps.Keys(cut.old))
		caughtUp(t, s)
		require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "%v", names)
		compactNow(t, s)
		require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "%v", names)
		require.NoError(t, s.Close())
	}
}

// compactedFrom is where a compaction had written a file of a queue, "" for other files.
func compactedFrom(path string) string {
	for part, was := range map[string]string{"compactionLog": "log", "compactionCq": "queue"} {
		if head, tail, ok := strings.Cut(path, filepath.Join("compaction", part)); ok {
			return filepath.Join(head, ownDir, "compacting", filepath.Dir(tail), was, filepath.Base(tail))
		}
	}
	return ""
}
