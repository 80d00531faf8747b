package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// compactedHistory drives a store with compaction topics and remembers what was put.
type compactedHistory struct {
	*history
	bodies map[int32][]string // by queue and queue offset
	keys   map[int32][]string
	phys   map[int32][]int64
}

func newCompactedHistory(t *testing.T, seed uint64) *compactedHistory {
	h := &compactedHistory{history: newHistory(t, seed), bodies: make(map[int32][]string), keys: make(map[int32][]string), phys: make(map[int32][]int64)}
	h.o.CompactionTopic = func(topic string) bool { return topic == compactedTopic }
	h.o.CompactionQueueBytes = int64(5+h.rnd.IntN(40)) * batchEntryBytes
	h.o.CompactionLogBytes = 8 << 10
	h.o.CompactionInterval = 1 << 40
	return h
}

// run puts messages and compacts and flushes now and then.
func (h *compactedHistory) run(n int) {
	for range n {
		h.clock.Add(int64(h.rnd.IntN(200)))
		id := int32(h.rnd.IntN(2))
		key := fmt.Sprint("key", h.rnd.IntN(12))
		m := keyed(compactedTopic, id, key, string(h.text(1+h.rnd.IntN(1<<(1+h.rnd.IntN(9))))))
		if h.rnd.IntN(15) == 0 {
			m.Body = nil
		}
		var r PutResult
		require.NoError(h.t, h.s.PutWait(m, &r))
		require.EqualValues(h.t, len(h.bodies[id]), r.QueueOffset)
		h.bodies[id], h.keys[id] = append(h.bodies[id], string(m.Body)), append(h.keys[id], key)
		h.phys[id] = append(h.phys[id], r.PhysOffset)
		switch h.rnd.IntN(25) {
		case 0:
			h.s.flusher.log()
		case 1:
			caughtUp(h.t, h.s)
			h.s.flusher.queues(h.rnd.IntN(2) == 0)
		case 2:
			caughtUp(h.t, h.s)
			h.s.compact.compactAll(nil)
		}
	}
	caughtUp(h.t, h.s)
}

// forgetLost drops from the history what the reopened store lost with the end of the log: it was not flushed. The compaction log may
// have some of it, which stays.
func (h *compactedHistory) forgetLost() {
	for id, list := range h.bodies {
		n := h.s.MaxQueueOffset(compactedTopic, id)
		h.bodies[id], h.keys[id], h.phys[id] = list[:n], h.keys[id][:n], h.phys[id][:n]
		if n == 0 || h.phys[id][n-1] < h.s.Written() {
			continue
		}
		caughtUp(h.t, h.s)
		there := make(map[int64]bool)
		for _, m := range readQueue(h.t, h.s, compactedTopic, id, 0) {
			there[m.QueueOffset] = true
		}
		for i, phys := range h.phys[id] {
			if phys >= h.s.Written() {
				if !there[int64(i)] {
					h.keys[id][i] = ""
				}
				h.phys[id][i] = -1 // another record may come to lie there
			}
		}
	}
}

// check looks that every key has its newest value, and that nothing else than what was put is read.
func (h *compactedHistory) check() {
	t := h.t
	t.Helper()
	caughtUp(t, h.s)
	for id := range int32(2) {
		newest := make(map[string]string)
		for i, key := range h.keys[id] {
			if key == "" {
				continue
			}
			if newest[key] = key + "=" + h.bodies[id][i]; h.bodies[id][i] == "" {
				delete(newest, key)
			}
		}
		want := make([]string, 0, len(newest))
		for _, text := range newest {
			want = append(want, text)
		}
		slices.Sort(want)
		got := readQueue(t, h.s, compactedTopic, id, 0)
		h.checkBytes(id, got)
		require.ElementsMatch(t, want, newestOf(got), "queue %d", id)
	}
}

func (h *compactedHistory) checkBytes(id int32, got []codec.Message) {
	t := h.t
	t.Helper()
	last := int64(-1)
	for _, m := range got {
		require.Greater(t, m.QueueOffset, last)
		last = m.QueueOffset
		require.Less(t, last, int64(len(h.bodies[id])))
		require.Equal(t, h.bodies[id][last], string(m.Body), "queue %d offset %d", id, last)
		keys, _ := codec.Property(m.Properties, codec.PropKeys)
		require.Equal(t, h.keys[id][last], string(keys))
	}
}

// After a kill every key has its newest value, whatever was going on.
func TestCompactionCrashKill(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 8, func(t *testing.T, seed uint64) {
		h := newCompactedHistory(t, seed)
		h.open()
		for range 3 {
			h.run(h.rnd.IntN(200))
			h.crash(func(string) {})
			h.open()
			h.forgetLost()
			h.check()
		}
		require.NoError(t, h.s.Close())
		h.open()
		h.check()
		require.NoError(t, h.s.Close())
	})
}

// After a power cut the newest value of each key is there of all that was flushed: bytes that were not are any.
func TestCompactionCrashPowerCut(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 8, func(t *testing.T, seed uint64) {
		h := newCompactedHistory(t, seed)
		h.open()
		for range 3 {
			h.run(h.rnd.IntN(200))
			flushed := h.s.Flushed()
			fates := append(h.queueFates(), h.compactionFates()...)
			h.crash(func(dir string) { h.cutPower(dir, flushed, fates) })
			h.open()
			require.GreaterOrEqual(t, h.s.Written(), flushed)
			h.forgetLost()
			h.check()
		}
		require.NoError(t, h.s.Close())
		h.open()
		h.check()
		require.NoError(t, h.s.Close())
	}, 157, 175, 314, 846, 958)
}

// compactionFates are what a power cut may take from compaction files.
func (h *compactedHistory) compactionFates() (list []queueFate) {
	h.s.compact.each(func(c *compactionLog) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.row.files {
			for _, half := range []struct {
				dir  string
				dirt byteRange
			}{{c.row.logDir, f.dirtyLog}, {c.row.queueDir, f.dirtyQueue}} {
				name, err := filepath.Rel(h.o.Dir, filepath.Join(half.dir, segmentName(f.base)))
				require.NoError(h.t, err)
				if half.dirt.size() > 0 {
					list = append(list, queueFate{name, half.dirt.from, half.dirt.to, f.fresh})
				}
			}
		}
	})
	return list
}

// The same history with compactions, stops and other file sizes leaves the same newest values as without.
func TestCompactionChangesNoNewestValue(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 3, func(t *testing.T, seed uint64) {
		values := func(change func(h *compactedHistory)) (all [][]string) {
			h := newCompactedHistory(t, seed)
			puts := rand.New(rand.NewPCG(seed, 9))
			change(h)
			h.open()
			for i := range 600 {
				m := keyed(compactedTopic, int32(puts.IntN(2)), fmt.Sprint("key", puts.IntN(20)), fmt.Sprint("value", i))
				if puts.IntN(20) == 0 {
					m.Body = nil
				}
				require.NoError(t, h.s.PutWait(m, new(PutResult)))
				if i%50 == 49 && h.o.CompactionTopic != nil {
					caughtUp(t, h.s)
					h.s.flusher.log()
					h.s.compact.compactAll(nil)
				}
				if i%200 == 199 {
					require.NoError(t, h.s.Close())
					h.open()
				}
			}
			waitDispatched(t, h.s)
			caughtUp(t, h.s)
			for id := range int32(2) {
				all = append(all, newestOf(readQueue(t, h.s, compactedTopic, id, 0)))
			}
			require.NoError(t, h.s.Close())
			return all
		}
		want := values(func(h *compactedHistory) { h.o.CompactionTopic = nil })
		require.Equal(t, want, values(func(*compactedHistory) {}))
		require.Equal(t, want, values(func(h *compactedHistory) { h.o.CompactionKeyBytes = 0 }))
		require.Equal(t, want, values(func(h *compactedHistory) { h.o.CompactionQueueBytes, h.o.CompactionLogBytes = 3*batchEntryBytes, 0 }))
	})
}

// damagedStore is a stopped store with compacted files, and what could be read from it.
func damagedStore(t *testing.T) (o Options, said *lockedBuffer, want []codec.Message) {
	o = compactionOptions(t, t.TempDir())
	said = new(lockedBuffer)
	o.Logger = slog.New(slog.NewTextHandler(said, nil))
	s := openTestStore(t, o)
	for i := range 200 {
		require.NoError(t, s.PutWait(keyed(compactedTopic, 0, fmt.Sprint("k", i%60), fmt.Sprint("value ", i)), new(PutResult)))
	}
	caughtUp(t, s)
	compactNow(t, s)
	want = readQueue(t, s, compactedTopic, 0, 0)
	require.NoError(t, s.Close())
	return o, said, want
}

func (o *Options) compactionPath(folder string, base int64) string {
	return filepath.Join(o.Dir, "compaction", folder, compactedTopic, "0", segmentName(base))
}

// Entries that are damaged, lost, or not of this file are made anew from the records; nobody notices but the log.
func TestDamagedCompactionQueue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"an offset", func(t *testing.T, path string) {
			changeFile(t, path, 5*batchEntryBytes+28, func(b []byte) { b[6] ^= 0x40 })
		}},
		{"a position", func(t *testing.T, path string) { changeFile(t, path, 7*batchEntryBytes, func(b []byte) { b[7] ^= 1 }) }},
		{"a size", func(t *testing.T, path string) { changeFile(t, path, 2*batchEntryBytes+8, func(b []byte) { b[3]++ }) }},
		{"zeros in the middle", func(t *testing.T, path string) {
			changeFile(t, path, 3*batchEntryBytes, func(b []byte) { clear(b[:4*batchEntryBytes]) })
		}},
		{"all zeros", func(t *testing.T, path string) { changeFile(t, path, 0, func(b []byte) { clear(b) }) }},
		{"random", func(t *testing.T, path string) {
			rnd := rand.New(rand.NewPCG(1, 1))
			changeFile(t, path, 0, func(b []byte) {
				for i := range b {
					b[i] = byte(rnd.Uint32())
				}
			})
		}},
		{"missing", func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }},
		{"cut", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 100)) }},
		{"empty", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, said, want := damagedStore(t)
			before := compactionFiles(t, o.Dir)
			c.damage(t, o.compactionPath("compactionCq", 0))
			s := openTestStore(t, o)
			caughtUp(t, s)
			got := readQueue(t, s, compactedTopic, 0, 0)
			require.Equal(t, offsetsOf(want), offsetsOf(got))
			require.Equal(t, newestOf(want), newestOf(got))
			require.Contains(t, said.String(), "made anew")
			require.NoError(t, s.Close())
			requireSameFiles(t, before, compactionFiles(t, o.Dir))
		})
	}
}

// A damaged record is copied again while the commit log has it. Otherwise it is named and the others are served.
func TestDamagedCompactionRecord(t *testing.T) {
	t.Parallel()
	damage := func(b []byte) { b[codec.PosTotalSize+1] ^= 0x10 }
	t.Run("in the commit log", func(t *testing.T) {
		t.Parallel()
		o, _, want := damagedStore(t)
		path := o.compactionPath("compactionLog", 0)
		changeFile(t, path, want[3].PhysOffset, damage)
		require.NoError(t, os.Remove(o.compactionPath("compactionCq", 0)))
		s := openTestStore(t, o)
		caughtUp(t, s)
		require.Equal(t, newestOf(want), newestOf(readQueue(t, s, compactedTopic, 0, 0)))
	})
	t.Run("nowhere else", func(t *testing.T) {
		t.Parallel()
		o := compactionOptions(t, fastDir(t))
		o.SegmentBytes, o.FlushInterval, o.QueueFlushInterval = 16<<10, time.Hour, time.Hour // the test flushes
		said := new(lockedBuffer)
		o.Logger = slog.New(slog.NewTextHandler(said, nil))
		s := openTestStore(t, o)
		fillKeys(t, s, 50, 50, "old")
		fillKeys(t, s, 200, 60, "new")
		s.flusher.log()
		s.flusher.queues(true)
		_, err := s.deleteHead(1000)
		require.NoError(t, err)
		want := readQueue(t, s, compactedTopic, 0, 0)
		require.Less(t, want[3].QueueOffset, s.queues.find(compactedTopic, 0).minOffset(s.log.minPhys()))
		require.NoError(t, s.Close())
		changeFile(t, o.compactionPath("compactionLog", 0), want[3].PhysOffset, damage)
		without := slices.Delete(slices.Clone(offsetsOf(want)), 3, 4)

		s = openTestStore(t, o) // the entry is good, the record is not
		require.Equal(t, without, offsetsOf(readQueue(t, s, compactedTopic, 0, 0)))
		require.Contains(t, said.String(), "a message is passed over")
		require.NoError(t, s.Close())

		require.NoError(t, os.Remove(o.compactionPath("compactionCq", 0)))
		s = openTestStore(t, o)
		require.Equal(t, without, offsetsOf(readQueue(t, s, compactedTopic, 0, 0)))
		require.Contains(t, said.String(), "compaction log is damaged")
	})
}

// Bits flipped and files cut anywhere: no panic, and no byte that was not put is read.
func TestDamagedCompactionFiles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		o, _, want := damagedStore(t)
		var files []string
		require.NoError(t, filepath.WalkDir(filepath.Join(o.Dir, "compaction"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, path)
			}
			return err
		}))
		for range 1 + rnd.IntN(3) {
			path := files[rnd.IntN(len(files))]
			switch rnd.IntN(4) {
			case 0:
				info, err := os.Stat(path)
				require.NoError(t, err)
				require.NoError(t, os.Truncate(path, rnd.Int64N(info.Size()+1)))
			default:
				changeFile(t, path, 0, func(b []byte) {
					if len(b) > 0 {
						b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
					}
				})
			}
		}
		if rnd.IntN(2) == 0 {
			require.NoError(t, os.WriteFile(abortPath(o.Dir), nil, 0o644))
		}
		s, err := Open(o)
		require.NoError(t, err)
		caughtUp(t, s)
		byOffset := make(map[int64]string)
		for i := range 200 {
			byOffset[int64(i)] = fmt.Sprint("value ", i)
		}
		for _, m := range readRaw(t, s) {
			if m.CheckBody() == nil { // as in the commit log, a flipped bit in a body is found when it is looked for
				require.Equal(t, byOffset[m.QueueOffset], string(m.Body), "seed %d", seed)
			}
		}
		s.compact.compactAll(nil)
		for _, m := range readRaw(t, s) {
			if m.CheckBody() == nil {
				require.Equal(t, byOffset[m.QueueOffset], string(m.Body), "seed %d", seed)
			}
		}
		_ = want
		require.NoError(t, s.Close())
	}
}

// readRaw is readQueue that does not look at checksums, and ends for certain.
func readRaw(t *testing.T, s *Store) (list []codec.Message) {
	var r GetResult
	for at, tries := int64(0), 0; tries < 2000; tries++ {
		require.NoError(t, s.Get(&GetRequest{Topic: compactedTopic, QueueOffset: at, MaxMsgs: 32}, &r))
		for _, part := range r.Parts {
			for part = bytes.Clone(part); len(part) > 0; {
				var m codec.Message
				n, err := codec.DecodeMessage(part, &m)
				if err != nil {
					break // a length inside the record is damaged: clients find that, too
				}
				list = append(list, m)
				part = part[n:]
			}
		}
		r.Release()
		if r.NextQueueOffset >= r.MaxQueueOffset {
			return list
		}
		require.Greater(t, r.NextQueueOffset, at, "a reader would never get on")
		at = r.NextQueueOffset
	}
	t.Fatal("no end")
	return nil
}

// What Java's compaction leaves when it is killed is taken back or finished; Java itself does not start with it.
func TestCompactionThatJavaDidNotFinish(t *testing.T) {
	t.Parallel()
	const logs, queues = "compaction/compactionLog/Compacted/0", "compaction/compactionCq/Compacted/0"
	written, compacted := unpackFixture(t, "compaction-written", ""), unpackFixture(t, "compaction-compacted", "")
	olds := []string{segmentName(0), segmentName(11040), segmentName(22080)}
	whole := openTestStore(t, compactionOptions(t, unpackFixture(t, "compaction-written", "")))
	want := newestOf(readQueue(t, whole, compactedTopic, 0, 0))
	move := func(t *testing.T, from, to string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.Rename(from, to))
	}
	take := func(t *testing.T, dir, part, sub string) {
		b, err := os.ReadFile(filepath.Join(compacted, part, segmentName(0)))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, part, sub), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, part, sub, segmentName(0)), b, 0o644))
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
	}{
		{"new files are being written", func(t *testing.T, dir string) {
			take(t, dir, logs, javaCompacting)
			take(t, dir, queues, javaCompacting)
		}},
		{"one old file is renamed", func(t *testing.T, dir string) {
			take(t, dir, logs, javaCompacting)
			take(t, dir, queues, javaCompacting)
			move(t, filepath.Join(dir, logs, olds[0]), filepath.Join(dir, logs, olds[0]+javaDeletedSuffix))
		}},
		{"the new file is in its place", func(t *testing.T, dir string) {
			for _, name := range olds {
				move(t, filepath.Join(dir, logs, name), filepath.Join(dir, logs, name+javaDeletedSuffix))
			}
			take(t, dir, logs, "")
			take(t, dir, queues, javaCompacting)
		}},
		{"the old files are gone", func(t *testing.T, dir string) {
			for _, name := range olds {
				require.NoError(t, os.Remove(filepath.Join(dir, logs, name)))
			}
			take(t, dir, logs, "")
			take(t, dir, queues, javaCompacting)
		}},
		{"the old queue files are renamed", func(t *testing.T, dir string) {
			for _, name := range olds {
				require.NoError(t, os.Remove(filepath.Join(dir, logs, name)))
				move(t, filepath.Join(dir, queues, name), filepath.Join(dir, queues, name+javaDeletedSuffix))
			}
			take(t, dir, logs, "")
			take(t, dir, queues, "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := fastDir(t)
			require.NoError(t, os.CopyFS(dir, os.DirFS(written)))
			c.prepare(t, dir)
			require.NoError(t, os.WriteFile(abortPath(dir), nil, 0o644))
			s := openTestStore(t, compactionOptions(t, dir))
			caughtUp(t, s)
			list := readQueue(t, s, compactedTopic, 0, 0)
			require.Equal(t, want, newestOf(list))
			require.EqualValues(t, 129, list[len(list)-1].QueueOffset)
			require.NoError(t, s.Close())
			for name := range compactionFiles(t, dir) {
				require.False(t, strings.Contains(name, javaCompacting) || strings.HasSuffix(name, javaDeletedSuffix), name)
			}
		})
	}
}

// A swap.json that cannot be read is named; one of a topic that is gone does nothing.
func TestCompactionSwapPlans(t *testing.T) {
	t.Parallel()
	o, _, want := damagedStore(t)
	temp := filepath.Join(o.Dir, ownDir, "compacting")
	require.NoError(t, os.MkdirAll(filepath.Join(temp, "Gone", "0"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(temp, "Gone", "0", swapPlanName), []byte(`{"files":[0],"before":1}`), 0o644))
	s := openTestStore(t, o)
	require.Equal(t, offsetsOf(want), offsetsOf(readQueue(t, s, compactedTopic, 0, 0)))
	require.NoDirExists(t, temp)
	require.NoError(t, s.Close())
	bad := filepath.Join(temp, compactedTopic, "0", swapPlanName)
	require.NoError(t, os.MkdirAll(filepath.Dir(bad), 0o755))
	require.NoError(t, os.WriteFile(bad, []byte("{"), 0o644))
	_, err := Open(o)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, bad)
}

// What healing cuts off while a record is about to be put is copied again, and the record comes behind it.
func TestCompactionHealsBeforeItPuts(t *testing.T) {
	t.Parallel()
	for _, reopened := range []bool{false, true} {
		t.Run(fmt.Sprint("reopened=", reopened), func(t *testing.T) {
			t.Parallel()
			h := newCompactedHistory(t, 7)
			h.open()
			h.run(200)
			var c *compactionLog
			h.s.compact.each(func(one *compactionLog) {
				if one.q.id == 0 {
					c = one
				}
			})
			c.mu.Lock()
			require.GreaterOrEqual(t, len(c.row.files), 2)
			last := c.row.files[len(c.row.files)-1]
			require.NotZero(t, last.entries)
			paths := []string{filepath.Join(c.row.logDir, segmentName(last.base)), filepath.Join(c.row.queueDir, segmentName(last.base))}
			c.mu.Unlock()
			if reopened {
				require.NoError(t, h.s.Close())
			}
			for _, path := range paths {
				file, err := os.OpenFile(path, os.O_WRONLY, 0)
				require.NoError(t, err)
				_, err = file.WriteAt([]byte{0xff, 0xff, 0xff, 0xff}, 0)
				require.NoError(t, errors.Join(err, file.Close()))
			}
			if reopened {
				h.open()
			} else {
				c.mu.Lock()
				for _, f := range c.row.files {
					f.unmap()
					f.checked = false
				}
				c.mu.Unlock()
			}
			h.run(20)
			h.check()
			require.NoError(t, h.s.Close())
			h.open()
			h.check()
			require.NoError(t, h.s.Close())
		})
	}
}
