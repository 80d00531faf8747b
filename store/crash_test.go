package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// eachCrashSeed makes n histories and those of seeds that once found something; STORE_CRASH_SEEDS says how many otherwise, or,
// as FROM-TO, which (without TO), STORE_CRASH_SEED runs one.
func eachCrashSeed(t *testing.T, n int, run func(t *testing.T, seed uint64), also ...uint64) {
	first := 0
	if v := os.Getenv("STORE_CRASH_SEEDS"); v != "" {
		from, to, ranged := strings.Cut(v, "-")
		var err error
		n, err = strconv.Atoi(from)
		require.NoError(t, err)
		if ranged {
			first, also = n, nil
			n, err = strconv.Atoi(to)
			require.NoError(t, err)
		}
	}
	if v := os.Getenv("STORE_CRASH_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		require.NoError(t, err)
		run(t, seed)
		return
	}
	seeds := slices.DeleteFunc(also, func(seed uint64) bool { return seed < uint64(n) })
	for seed := first; seed < n; seed++ {
		seeds = append(seeds, uint64(seed))
	}
	for _, seed := range seeds {
		if !t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { run(t, seed) }) {
			t.Errorf("to repeat: STORE_CRASH_SEED=%d go test -run '%s'", seed, t.Name())
		}
	}
}

// kept is a message that was put, and its bytes in the log.
type kept struct {
	topic       string
	queueID     int32
	queueOffset int64
	count       int64 // messages
	phys, end   int64
	queued      bool
	uniq        string
	raw         []byte
}

// history drives a store and remembers all that it was given.
type history struct {
	t     *testing.T
	rnd   *rand.Rand
	o     Options
	clock atomic.Int64
	s     *Store
	puts  []kept
	count int

	crashes int
	gone    map[queueKey]int64 // messages that retention deleted from the front of each queue

	filters  *Filters // of extended queues, nil without
	filterNo *rand.Rand
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	h.clock.Store(1_700_000_000_000)
	o := testOptions(t)
	o.Dir, o.CommitLogDir = fastDir(t), ""
	o.SegmentBytes = 1 << (14 + h.rnd.IntN(3))
	o.QueueSegmentEntries = 20 + h.rnd.IntN(100)
	o.BatchQueueSegmentEntries = 10 + h.rnd.IntN(50)
	o.QueueType = func(topic string) QueueType {
		if topic == crashBatchTopic {
			return BatchQueue
		}
		return SimpleQueue
	}
	o.DispatchRing = 16 << h.rnd.IntN(6)
	o.MaxMappedQueues = 16 + h.rnd.IntN(20)
	o.IndexSlots, o.IndexEntries = 50, 100+h.rnd.IntN(400)
	o.FlushMode = FlushSync
	o.FlushInterval, o.QueueFlushInterval = time.Hour, time.Hour // the test flushes
	o.Now = func() time.Time { return time.UnixMilli(h.clock.Load()) }
	o.QueueListBytes, o.QueueListInterval = []int64{1, 4096, 1 << 16, 0}[seed/2%4], 0
	h.o = o
	if seed%2 == 1 {
		h.extend(seed)
	}
	return h
}

func (h *history) open() {
	s, err := Open(h.o)
	require.NoError(h.t, err)
	h.s = s
}

// crashBatchTopic has batch queues.
const crashBatchTopic = "Batches"

var crashTopics = []string{crashBatchTopic, "T", "Orders", "%RETRY%group", "%DLQ%group", "%RETRY%" + string(bytes.Repeat([]byte("long"), 40)), "rmq_sys_x"}

// put appends one message or a batch.
func (h *history) put() {
	topic := crashTopics[h.rnd.IntN(len(crashTopics))]
	m := testMessage(topic, int32(h.rnd.IntN(4)), "")
	m.Body = h.text(h.rnd.IntN(1 << (1 + h.rnd.IntN(11))))
	h.clock.Add(int64(h.rnd.IntN(200)))
	if len(topic) <= codec.MaxTopicV1Bytes && h.rnd.IntN(8) == 0 {
		h.putBatch(m)
		return
	}
	h.count++
	uniq := fmt.Sprint("uniq", h.count)
	if topic == crashBatchTopic && h.rnd.IntN(3) > 0 {
		m.SysFlag, m.Body = codec.SysInnerBatch|codec.SysNeedUnwrap, nil
		for range 1 + h.rnd.IntN(9) {
			m.Body = codec.AppendBatchEntry(m.Body, 7, h.text(h.rnd.IntN(200)), nil)
		}
	}
	m.Properties = codec.AppendProperty(nil, codec.PropUniqKey, uniq)
	m.Properties = codec.AppendPropertyBytes(m.Properties, "text", h.text(1+h.rnd.IntN(1<<(1+h.rnd.IntN(9)))))
	m.TagsCode = 0
	if m.SysFlag == 0 && h.rnd.IntN(10) == 0 {
		m.SysFlag = []int32{codec.SysPrepared, codec.SysRollback, codec.SysCommit}[h.rnd.IntN(3)]
	}
	var r PutResult
	require.NoError(h.t, h.s.PutWait(m, &r))
	h.keep(m, uniq, r.QueueOffset, r.PhysOffset, r.EndOffset)
	h.puts[len(h.puts)-1].count = int64(r.Count)
}

func (h *history) putBatch(m *Message) {
	m.Body, m.Properties = nil, nil
	var uniqs []string
	for range 1 + h.rnd.IntN(5) {
		h.count++
		uniq := fmt.Sprint("uniq", h.count)
		uniqs = append(uniqs, uniq)
		m.Body = codec.AppendBatchEntry(m.Body, 7, h.text(h.rnd.IntN(500)), codec.AppendProperty(nil, codec.PropUniqKey, uniq))
	}
	var r BatchPutResult
	require.NoError(h.t, h.s.PutBatchWait(m, &r))
	require.Equal(h.t, len(uniqs), r.Count)
	for i, phys := range r.PhysOffsets {
		end := r.EndOffset
		if i+1 < len(r.PhysOffsets) {
			end = r.PhysOffsets[i+1]
		}
		h.keep(m, uniqs[i], r.QueueOffset+int64(i), phys, end)
	}
}

func (h *history) keep(m *Message, uniq string, queueOffset, phys, end int64) {
	raw, err := h.s.MessageAt(phys)
	require.NoError(h.t, err)
	require.EqualValues(h.t, end-phys, len(raw))
	h.puts = append(h.puts, kept{m.Topic, m.QueueID, queueOffset, 1, phys, end, queued(m.SysFlag), uniq, raw})
}

// text is printable, so that a sector of it never looks as if it had not been written.
func (h *history) text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + h.rnd.IntN(26))
	}
	return b
}

// run puts some messages and flushes now and then.
func (h *history) run(n int) {
	for range n {
		h.changeFilters()
		h.put()
		switch h.rnd.IntN(20) {
		case 0:
			h.s.flusher.log()
		case 1:
			waitDispatched(h.t, h.s)
			h.s.flusher.queues(h.rnd.IntN(2) == 0)
		}
	}
	waitDispatched(h.t, h.s)
}

// crash stops the store without its knowing: the directory goes on as a copy of what it was, changed by damage.
func (h *history) crash(damage func(dir string)) {
	dir := fastDir(h.t)
	info, err := os.Stat(abortPath(h.o.Dir))
	require.NoError(h.t, err)
	require.NoError(h.t, os.CopyFS(dir, os.DirFS(h.o.Dir)))
	if h.crashes++; h.crashes%4 != 0 { // else a copy that does not keep the times of files, or another server's abort
		require.NoError(h.t, os.Chtimes(abortPath(dir), info.ModTime(), info.ModTime()))
	}
	damage(dir)
	require.NoError(h.t, h.s.Close())
	require.NoError(h.t, os.RemoveAll(h.o.Dir))
	h.o.Dir, h.o.CommitLogDir = dir, ""
}

// forget drops from the history what the reopened store does not have, which must be nothing before physOffset.
func (h *history) forget(physOffset int64) {
	end := h.s.Written()
	require.GreaterOrEqual(h.t, end, physOffset)
	n := len(h.puts)
	for n > 0 && h.puts[n-1].phys >= end {
		n--
	}
	h.puts = h.puts[:n]
}

// check compares the store with the history.
func (h *history) check() {
	h.t.Helper()
	h.checkQueues()
	for _, k := range h.puts {
		got, _, _, err := h.s.QueryIndex(k.topic, k.uniq, 32, 0, 1<<62)
		require.NoError(h.t, err)
		rolledBack := codec.TransactionType(sysFlagOf(k.raw)) == codec.SysRollback
		require.Equal(h.t, !rolledBack, len(got) > 0 && got[len(got)-1] >= k.phys, "%s %s %v", k.topic, k.uniq, got)
	}
}

// checkQueues compares all but the index.
func (h *history) checkQueues() {
	t := h.t
	t.Helper()
	waitDispatched(t, h.s)
	byQueue := make(map[queueKey][]kept)
	ends := maps.Clone(h.gone)
	if ends == nil {
		ends = make(map[queueKey]int64)
	}
	for _, k := range h.puts {
		raw, err := h.s.MessageAt(k.phys)
		require.NoError(t, err)
		require.Equal(t, k.raw, raw)
		if k.queued {
			key := queueKey{k.topic, k.queueID}
			require.Equal(t, ends[key], k.queueOffset)
			ends[key] += k.count
			byQueue[key] = append(byQueue[key], k)
		}
	}
	for _, topic := range crashTopics {
		for id := range int32(4) {
			want, gone := byQueue[queueKey{topic, id}], h.gone[queueKey{topic, id}]
			require.Equal(t, ends[queueKey{topic, id}], h.s.MaxQueueOffset(topic, id), "%s/%d", topic, id)
			require.Equal(t, gone, max(h.s.MinQueueOffset(topic, id), 0), "%s/%d", topic, id)
			got := readQueue(t, h.s, topic, id, 0)
			require.Len(t, got, len(want))
			for i, k := range want {
				require.Equal(t, k.phys, got[i].PhysOffset)
				require.Equal(t, k.raw, codec.AppendMessage(nil, &got[i]))
			}
			h.checkUnits(topic, id)
		}
	}
}

func sysFlagOf(raw []byte) int32 {
	var m codec.Message
	_, _ = codec.DecodeMessage(raw, &m)
	return m.SysFlag
}

// eachLogFile calls fn with every segment of a directory's log.
func eachLogFile(t *testing.T, dir string, fn func(path string, base int64)) {
	entries, err := os.ReadDir(filepath.Join(dir, "commitlog"))
	require.NoError(t, err)
	for _, e := range entries {
		base, ok := segmentBase(e.Name())
		require.True(t, ok)
		fn(filepath.Join(dir, "commitlog", e.Name()), base)
	}
}

// changeFile reads a file, lets fn change its bytes from pos on, and writes it back.
func changeFile(t *testing.T, path string, pos int64, fn func(b []byte)) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if pos < int64(len(b)) {
		fn(b[max(pos, 0):])
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
}

// loseSectors zeroes some of the sectors of b, which begins at pos of its file, as if they had not been written.
func loseSectors(rnd *rand.Rand, b []byte, pos int64) {
	odds := []float64{0, 0.05, 0.5, 1}[rnd.IntN(4)]
	for len(b) > 0 {
		n := min(sectorBytes-int(pos%sectorBytes), len(b))
		if rnd.Float64() < odds {
			clear(b[:n])
		}
		b, pos = b[n:], pos+int64(n)
	}
}

// After a kill everything that was written is there: the file is the memory the process wrote to. Behind it there may be
// the beginning of a record, or what an earlier log left.
func TestCrashKill(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 50, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed)
		h.open()
		for range 3 {
			h.run(h.rnd.IntN(250))
			written := h.s.Written()
			h.crash(func(dir string) {
				eachLogFile(t, dir, func(path string, base int64) {
					rnd := rand.New(rand.NewPCG(seed, uint64(base))) // whether the next file is made already, nobody knows
					changeFile(t, path, written-base, func(b []byte) {
						switch rnd.IntN(3) {
						case 0: // an append that was cut off
							n := copy(b, h.partialRecord(rnd))
							clear(b[n:])
						case 1:
							for i := range b {
								b[i] = byte(rnd.Uint32())
							}
						}
					})
				})
			})
			h.open()
			require.Equal(t, written, h.s.Written())
			h.forget(written)
			h.check()
		}
		require.NoError(t, h.s.Close())
		h.open()
		h.check()
		require.NoError(t, h.s.Close())
	})
}

// partialRecord is what an append leaves that is killed in its middle: no size, and not all bytes.
func (h *history) partialRecord(rnd *rand.Rand) []byte {
	if len(h.puts) == 0 {
		return nil
	}
	raw := bytes.Clone(h.puts[rnd.IntN(len(h.puts))].raw)
	clear(raw[:4])
	return raw[:rnd.IntN(len(raw)+1)]
}

// After a power cut what was flushed is there, and of the rest any sectors.
func TestCrashPowerCut(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 50, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed)
		h.open()
		for range 3 {
			h.run(h.rnd.IntN(250))
			flushed := h.s.Flushed()
			fate := h.queueFates()
			h.crash(func(dir string) { h.cutPower(dir, flushed, fate) })
			h.open()
			h.forget(flushed)
			h.check()
		}
		require.NoError(t, h.s.Close())
		h.open()
		h.check()
		require.NoError(t, h.s.Close())
	}, 768)
}

// queueFate is what a power cut may take from a queue file.
type queueFate struct {
	name     string
	from, to int64
	fresh    bool
}

func (h *history) queueFates() (list []queueFate) {
	h.s.queues.each("", func(q *queue) {
		files := q.files
		if q.ext != nil {
			files = append(slices.Clone(files), q.ext.files...)
		}
		for _, f := range files {
			name, err := filepath.Rel(h.o.Dir, f.path())
			require.NoError(h.t, err)
			if f.dirtyFrom < f.dirtyTo {
				list = append(list, queueFate{name, f.dirtyFrom, f.dirtyTo, f.fresh})
			}
		}
	})
	return list
}

func (h *history) cutPower(dir string, flushed int64, fates []queueFate) {
	t, written := h.t, h.s.Written()
	require.NoError(t, writeOpened(dir, 0)) // by another run of the kernel
	eachLogFile(t, dir, func(path string, base int64) {
		if pos := max(flushed-base, 0); base < written { // else it is the next one, if that is made already
			changeFile(t, path, pos, func(b []byte) { loseSectors(h.rnd, b, pos) })
		}
	})
	slices.SortFunc(fates, func(a, b queueFate) int { return strings.Compare(a.name, b.name) })
	for _, f := range fates {
		path := filepath.Join(dir, f.name)
		if f.fresh && h.rnd.IntN(3) == 0 {
			require.NoError(t, os.Remove(path))
			continue
		}
		changeFile(t, path, f.from, func(b []byte) { loseSectors(h.rnd, b[:f.to-f.from], f.from) })
	}
	if h.lastIndexFlushed() {
		return
	}
	last := ""
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "index"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			last = path
		}
		return err
	}))
	if last != "" {
		rnd := rand.New(rand.NewPCG(uint64(flushed), 2)) // how far the indexer is, nobody knows
		changeFile(t, last, 0, func(b []byte) { loseSectors(rnd, b, 0) })
	}
}

// lastIndexFlushed reports whether the newest index file is full, and so on disk for good.
func (h *history) lastIndexFlushed() bool {
	x := h.s.index.index
	x.flushing.Lock()
	defer x.flushing.Unlock()
	files := x.list()
	return len(files) > 0 && files[len(files)-1].synced
}

// A record that survived a power cut behind a lost one is cut off with it. It must not come back when, after the next
// stop, the log has grown up to the place where it was.
func TestCrashLeavesNothingBehindTheEnd(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	put := func() int64 {
		m := testMessage("T", 0, "all of one size")
		var r PutResult
		require.NoError(t, h.s.PutWait(m, &r))
		h.keep(m, "Uall of one size", r.QueueOffset, r.PhysOffset, r.EndOffset)
		return r.PhysOffset
	}
	put()
	h.s.flusher.log()
	lost := put()
	put()
	h.crash(func(dir string) {
		changeFile(t, filepath.Join(dir, "commitlog", segmentName(0)), lost, func(b []byte) { clear(b[:4]) })
	})
	h.open()
	require.Equal(t, lost, h.s.Written())
	h.forget(lost)
	put()
	end := h.s.Written()
	h.crash(func(string) {})
	h.open()
	require.Equal(t, end, h.s.Written())
	require.NoError(t, h.s.Close())
}

// Damage in what was flushed is no torn tail: what follows stays, the queue keeps its offsets, and no bad byte is read.
func TestDamageInTheMiddleIsPassed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(b []byte)
	}{
		{"body", func(b []byte) { b[100] ^= 1 }},
		{"size", func(b []byte) { b[0] ^= 0x40 }},
		{"lost", func(b []byte) { clear(b[:150]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 1)
			h.open()
			const n = 400
			for i := range n {
				h.clock.Add(100)
				var r PutResult
				m := testMessage("T", 0, fmt.Sprintf("%0100d", i))
				require.NoError(t, h.s.PutWait(m, &r))
				h.keep(m, fmt.Sprintf("U%0100d", i), r.QueueOffset, r.PhysOffset, r.EndOffset)
			}
			waitDispatched(t, h.s)
			h.s.flusher.log()
			h.s.flusher.queues(true)
			const bad = 37
			written := h.s.Written()
			h.crash(func(dir string) {
				eachLogFile(t, dir, func(path string, base int64) {
					if pos := h.puts[bad].phys - base; pos >= 0 {
						changeFile(t, path, pos, c.change)
					}
				})
				require.NoError(t, os.Remove(filepath.Join(dir, "consumequeue", "T", "0", segmentName(0))))
			})
			h.open()
			require.Equal(t, written, h.s.Written())
			require.EqualValues(t, n, h.s.MaxQueueOffset("T", 0))
			got := readQueue(t, h.s, "T", 0, 0)
			require.Len(t, got, n-1)
			for i, m := range got {
				k := h.puts[i]
				if i >= bad {
					k = h.puts[i+1]
				}
				require.Equal(t, k.raw, codec.AppendMessage(nil, &m))
			}
			require.NoError(t, h.s.Close())
		})
	}
}

// Nothing protects the queue offset in a record. One that is wrong costs the record its place and no other message its.
func TestWrongQueueOffsetIsNotBelieved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		bad        int
		offset     uint64
		lost, left int
	}{
		{"far ahead", 20, 1 << 40, 1, 50},
		{"a little ahead", 20, 25, 1, 50},
		{"back to the start", 20, 0, 1, 50},
		{"back", 20, 7, 1, 50},
		{"the first", 0, 3, 1, 50},
		{"the last", 49, 1000, 1, 49},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 1)
			h.o.SegmentBytes = 64 << 10
			h.open()
			list := putMany(t, h.s, "T", 0, 50, 20)
			h.crash(func(dir string) {
				changeFile(t, filepath.Join(dir, "commitlog", segmentName(0)), list[c.bad].PhysOffset+codec.PosQueueOffset, func(b []byte) {
					binary.BigEndian.PutUint64(b, c.offset)
				})
			})
			h.open()
			require.EqualValues(t, c.left, h.s.MaxQueueOffset("T", 0))
			got := readQueue(t, h.s, "T", 0, 0)
			require.Len(t, got, 50-c.lost)
			for i, m := range got {
				if i >= c.bad {
					i++
				}
				require.Equal(t, list[i].PhysOffset, m.PhysOffset)
			}
			require.NoError(t, h.s.Close())
		})
	}
}
