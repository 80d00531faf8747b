package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
)

// Layout of a queue entry, big-endian, on disk, do not change. Apache: ConsumeQueue.
//
//	0 physical offset 8 | 8 record size 4 | 12 tags code 8
//
// A file of a queue that does not begin at 0 is filled up to its first entry with blanks: (0, 0x7FFFFFFF, 0).
const (
	entryBytes     = 20
	blankEntrySize = math.MaxInt32
)

// entry is one line of a queue: of one message, or of a record with several in a batch queue.
type entry struct {
	physOffset int64
	size       int32
	count      int32 // messages
	tagsCode   int64
	// queueOffset is that of the first message. storeMs is known in a batch queue only.
	queueOffset, storeMs int64
}

// entryAt reads the three numbers that entries of all kinds begin with.
func entryAt(b []byte) entry {
	return entry{
		physOffset: int64(binary.BigEndian.Uint64(b)),
		size:       int32(binary.BigEndian.Uint32(b[8:])),
		count:      1,
		tagsCode:   int64(binary.BigEndian.Uint64(b[12:])),
	}
}

func putEntry(b []byte, e entry) {
	_ = b[entryBytes-1]
	binary.BigEndian.PutUint64(b, uint64(e.physOffset))
	binary.BigEndian.PutUint32(b[8:], uint32(e.size))
	binary.BigEndian.PutUint64(b[12:], uint64(e.tagsCode))
}

// written tells an entry from the zeros behind the last one.
func (e entry) written() bool {
	return e.physOffset >= 0 && e.size > 0 && e.count > 0 && e.queueOffset >= 0
}

// end is the queue offset after the last message.
func (e entry) end() int64 { return e.queueOffset + int64(e.count) }

// errGone says that a queue was deleted while somebody had it in hand.
var errGone = errors.New("queue is deleted")

// queue is the consume queue of one topic and queue id: a row of entries in files, which are mapped while they are in
// use. Entries are written by the dispatcher, or by recovery before it starts. An idle queue is this struct and a
// queueFile. Apache: ConsumeQueue, BatchConsumeQueue.
//
// It is five lines of the processor's cache, of which an append looks at the first and the dispatcher at the last two. Those of many
// queues are in no cache, and those that both write would go to and fro between two processors.
type queue struct {
	next int64 // offset of the next put; guarded by the append lock
	queueKey
	removed bool        // the topic was deleted; guarded by the append lock
	gone    bool        // files are removed; guarded by mu
	faulty  atomic.Bool // an entry was found damaged, and said so
	// min is the first offset whose record was in the log when the log began at minFor.
	min, minFor atomic.Int64
	_           [8]byte

	all   *queues
	kind  queueKind
	files []*queueFile // guarded by mu
	ext   *extUnits    // nil until they are looked for; guarded by mu
	// compaction is what is read instead of the log when the topic's cleanup policy is COMPACTION, nil otherwise.
	compaction *compactionLog

	late lateRun // where the entries in memory are to go
	_    [32]byte

	mu        sync.Mutex   // guards what follows, but for what is said to be another's
	max       atomic.Int64 // offset after the last entry that readers may see; written under mu
	end       int64        // position after the last entry
	maxPhys   int64        // physical offset after the last entry's record
	tail      lateTail     // the entries that are not in their file yet
	arrived   int32        // where the arrival of a batch may be; belongs to the dispatcher
	arrivedID int32        // id, for it
	schedule  bool         // of SCHEDULE_TOPIC_XXXX: tag codes are due times; never changes
	extended  bool         // new entries get units; never changes
	compacted bool         // compaction is not nil; never changes
	_         [5]byte
	stage     [stagedEntries * entryBytes]byte // the last of the tail
}

// queueFile is one file of a queue. Its fields but recent are guarded by the queue's mu.
type queueFile struct {
	q         *queue
	ext       bool  // of units
	base      int64 // position in the queue, in bytes
	size      int64
	allocated int64 // has blocks up to here
	first     int64 // queue offset of the first entry, or unknownFirst; of batch queues
	m         *segment
	// cleanBehind says that nothing but entries put since lies behind where recovery found the queue's end.
	cleanBehind bool
	recent      atomic.Bool // looked at since the cache's hand passed
	slot        int         // in the cache, while m is set

	dirtyFrom, dirtyTo int64 // bytes not flushed; none when equal
	dirtyMs            int64 // store time of the first of them
	fresh              bool  // its name may not be on disk yet
}

func (q *queue) dir() string {
	return filepath.Join(q.all.rootOf(q.kind), q.topic, strconv.Itoa(int(q.id)))
}

// dir is the directory that the file lies in.
func (f *queueFile) dir() string {
	if f.ext {
		return f.q.extDir()
	}
	return f.q.dir()
}

func (f *queueFile) path() string {
	if !f.ext {
		return f.q.filePath(f.base)
	}
	return filepath.Join(f.dir(), segmentName(f.base))
}

// filePath is the path of the queue's file that begins at base. It allocates once: a start asks for that of each queue.
func (q *queue) filePath(base int64) string {
	b := append(make([]byte, 0, 256), q.all.rootOf(q.kind)...)
	b = append(append(b, filepath.Separator), q.topic...)
	b = strconv.AppendInt(append(b, filepath.Separator), int64(q.id), 10)
	return string(appendSegmentName(append(b, filepath.Separator), base))
}

// fileLocked returns the file that holds the byte at pos, or nil.
func (q *queue) fileLocked(pos int64) *queueFile {
	i := len(q.files) - 1
	if i >= 0 && q.files[i].base > pos {
		i = sort.Search(len(q.files), func(i int) bool { return q.files[i].base > pos }) - 1
	}
	if i < 0 || pos >= q.files[i].base+q.files[i].size {
		return nil
	}
	return q.files[i]
}

// mapLocked maps f if it is not.
func (q *queue) mapLocked(f *queueFile) error {
	f.recent.Store(true)
	if f.m != nil {
		return nil
	}
	m, err := openSegment(f.path(), f.base, q.all.faults)
	if err != nil {
		return err
	}
	if m.size != f.size {
		m.release()
		return fmt.Errorf("%w: queue file %s has %d bytes, had %d", ErrCorrupt, m.path, m.size, f.size)
	}
	m.readAround()
	f.m = m
	q.all.cache.add(f)
	if q.late.f == f {
		return q.writeLateLocked()
	}
	return nil
}

// view returns the entries from that of queueOffset on that lie in one file, with a reference on the file; a nil segment
// when no file holds them. With hotOnly it returns ErrCold instead of opening a file.
func (q *queue) view(queueOffset int64, hotOnly bool) (*segment, []byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return nil, nil, errGone
	}
	pos, err := q.kind.findLocked(q, queueOffset, hotOnly)
	if err != nil {
		return nil, nil, err
	}
	f := q.fileLocked(pos)
	if f == nil || pos >= q.end {
		return nil, nil, nil
	}
	if err := q.openLocked(f, hotOnly); err != nil {
		return nil, nil, err
	}
	f.m.acquire()
	return f.m, f.m.data[pos-f.base : min(q.end-f.base, f.size)], nil
}

// entry returns the entry that holds queueOffset, in a batch queue the one behind it when none does.
func (q *queue) entry(queueOffset int64) (entry, bool) {
	if queueOffset < 0 || queueOffset >= q.max.Load() {
		return entry{}, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return entry{}, false
	}
	e, err := q.entryLocked(queueOffset)
	return e, err == nil && e.count > 0
}

// put writes an entry and makes it visible. In a queue without files its offset may be any; otherwise it must be max, or
// in a batch queue above.
func (q *queue) put(e entry) error { return q.putExtended(e, nil) }

// putExtended is put with the bit map for the entry's unit. Among many queues nearly all that it waits for is the lines of memory
// that it looks at: those of the queue's last fields.
func (q *queue) putExtended(e entry, bits []byte) error {
	q.mu.Lock()
	if pos := e.queueOffset * entryBytes; pos == q.end && q.tail.takes() {
		q.addLate(e)
		q.passLocked(pos+entryBytes, e)
		q.mu.Unlock()
		return nil
	}
	err := q.putLocked(e, bits)
	q.mu.Unlock()
	return err
}

func (q *queue) putLocked(e entry, bits []byte) error {
	if q.gone {
		return nil
	}
	if q.extended {
		if err := q.readyExtLocked(); err != nil {
			return err
		}
	}
	pos, n := q.kind.putPos(e.queueOffset, q.end), q.kind.entryBytes()
	f := q.fileLocked(pos)
	if done, err := q.putColdLocked(f, pos, e); done || err != nil {
		if err == nil {
			q.passLocked(pos+n, e)
		}
		return err
	}
	if err := q.writeLateLocked(); err != nil {
		return err
	}
	if f == nil {
		var err error
		if f, err = q.growLocked(pos, e.queueOffset); err != nil {
			return err
		}
	}
	if err := q.writableLocked(f, pos-f.base+n); err != nil {
		return err
	}
	if q.extended && e.size != blankEntrySize {
		var err error
		if e.tagsCode, err = q.putUnitLocked(e, bits); err != nil {
			return err
		}
	}
	q.kind.encode(f.m.data[pos-f.base:], e)
	q.dirtyLocked(f, pos-f.base, pos-f.base+n, e.storeMs)
	q.passLocked(pos+n, e)
	return nil
}

// passLocked makes an entry the last one and visible.
func (q *queue) passLocked(end int64, e entry) {
	q.end = end
	q.maxPhys = e.physOffset + int64(e.size)
	q.max.Store(e.end())
}

// growLocked creates the file for the entry of queueOffset at pos. When it is the queue's first, it is filled with blanks
// below pos.
func (q *queue) growLocked(pos, queueOffset int64) (*queueFile, error) {
	size := q.kind.fileBytes(q.all.opts)
	base := pos / size * size
	first := len(q.files) == 0
	if !first {
		last := q.files[len(q.files)-1]
		base = last.base + last.size
	}
	if err := q.makeDir(); err != nil {
		return nil, err
	}
	m, err := createSegment(q.dir(), base, size, q.all.faults)
	if err != nil {
		return nil, err
	}
	m.readAround()
	f := &queueFile{q: q, base: base, size: size, first: unknownFirst, m: m, fresh: true}
	if first && pos > base {
		if err := q.writableLocked(f, pos-base); err != nil {
			return nil, errors.Join(err, m.remove())
		}
		for at := int64(0); at < pos-base; at += entryBytes {
			putEntry(m.data[at:], entry{size: blankEntrySize})
		}
		q.dirtyLocked(f, 0, pos-base, 0)
	}
	f.recent.Store(true)
	q.all.cache.add(f)
	q.files = append(q.files, f)
	if first {
		q.beginLocked(pos, queueOffset)
	}
	return f, nil
}

// writableLocked maps f and gives it blocks up to end, in chunks that grow with the file: one block for a queue that
// hardly moves, and few calls for one that does.
func (q *queue) writableLocked(f *queueFile, end int64) error {
	if f.m == nil || !f.recent.Load() {
		if err := q.mapLocked(f); err != nil {
			return err
		}
	}
	if end <= f.allocated {
		return nil
	}
	const block, most = 4096, 256 << 10
	to := min(roundUp(max(end, f.allocated+min(f.allocated, most)), block), f.size)
	if err := allocateFile(f.m.path, f.allocated, to-f.allocated, q.all.faults); err != nil {
		return err
	}
	f.allocated = to
	return nil
}

func (q *queue) dirtyLocked(f *queueFile, from, to, storeTimestampMs int64) {
	if f.dirtyFrom == f.dirtyTo {
		f.dirtyFrom, f.dirtyTo, f.dirtyMs = from, to, storeTimestampMs
		q.all.addDirty(f)
		return
	}
	f.dirtyFrom, f.dirtyTo = min(f.dirtyFrom, from), max(f.dirtyTo, to)
}

// fill writes blanks for the entries in [max, queueOffset), whose records are lost. They lead readers to physOffset,
// that of the record behind them. A batch queue needs none.
func (q *queue) fill(queueOffset, physOffset, storeTimestampMs int64) error {
	if q.isBatch() {
		return nil
	}
	for n := q.max.Load(); n < queueOffset; n++ {
		blank := entry{queueOffset: n, count: 1, physOffset: physOffset, size: blankEntrySize, storeMs: storeTimestampMs}
		if err := q.put(blank); err != nil {
			return err
		}
	}
	return nil
}

// minOffset returns the first offset whose record is in the log, which begins at logMin. Apache: correctMinOffset.
func (q *queue) minOffset(logMin int64) int64 {
	if q.minFor.Load() == logMin {
		return q.min.Load()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	least := q.max.Load()
	if q.maxPhys == 0 || q.maxPhys > logMin { // else none is left, and no file needs to be looked at
		var err error
		if least, err = q.searchLocked(q.min.Load(), logMin); err != nil {
			q.all.opts.Logger.Error("queue's first offset is unknown", "topic", q.topic, "queue", q.id, "err", err)
			return q.min.Load()
		}
	}
	q.min.Store(least)
	q.minFor.Store(logMin)
	return least
}

// searchLocked returns the first offset from queueOffset on whose record lies at physOffset or behind, max when there is none.
func (q *queue) searchLocked(queueOffset, physOffset int64) (int64, error) {
	from, failed := q.kind.findLocked(q, queueOffset, false)
	if len(q.files) > 0 {
		from = max(from, q.files[0].base)
	}
	width := q.kind.entryBytes()
	n := int(max(q.end-from, 0) / width)
	first := sort.Search(n, func(i int) bool {
		e, err := q.entryAtLocked(from + int64(i)*width)
		if err != nil {
			failed = err
		}
		return e.physOffset >= physOffset && (e.physOffset > 0 || e.size != blankEntrySize)
	})
	if first == n || failed != nil {
		return q.max.Load(), failed
	}
	e, err := q.entryAtLocked(from + int64(first)*width)
	return e.queueOffset, err
}

// entryLocked returns the entry that holds queueOffset, in a batch queue the one behind it when none does, and one without
// messages when there is none.
func (q *queue) entryLocked(queueOffset int64) (entry, error) {
	pos, err := q.kind.findLocked(q, queueOffset, false)
	if err != nil {
		return entry{}, err
	}
	return q.entryAtLocked(pos)
}

// entryAtLocked returns the entry at a position, one without messages when no file has it.
func (q *queue) entryAtLocked(pos int64) (entry, error) {
	f := q.fileLocked(pos)
	if f == nil {
		return entry{}, nil
	}
	if err := q.mapLocked(f); err != nil {
		return entry{}, err
	}
	return q.kind.decode(f.m.data[pos-f.base:], pos), nil
}

// load finds the files of the queue and its last entry whose record lies before trimPhys; put goes on behind it.
// ErrCorrupt says that the queue has to be made anew.
func (q *queue) load(trimPhys, logMin int64, logger *slog.Logger) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.listLocked(logger); err != nil {
		return err
	}
	q.minFor.Store(-1)
	if len(q.files) == 0 {
		q.minFor.Store(logMin)
	} else if logMin == 0 && q.files[0].base > 0 { // nothing was ever deleted
		return fmt.Errorf("%w: queue in %s begins with file %d", ErrCorrupt, q.dir(), q.files[0].base)
	}
	return q.findEndLocked(trimPhys)
}

func (q *queue) listLocked(logger *slog.Logger) error {
	entries, err := os.ReadDir(q.dir())
	if err != nil {
		return wrapFileError(OpRead, q.dir(), err)
	}
	for i, e := range entries {
		path := filepath.Join(q.dir(), e.Name())
		base, ok := segmentBase(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return wrapFileError(OpRead, path, err)
		}
		size := info.Size()
		if size == 0 && i == len(entries)-1 {
			logger.Warn("empty queue file removed", "path", path)
			if err := os.Remove(path); err != nil {
				return wrapFileError(OpRemove, path, err)
			}
			continue
		}
		n := len(q.files)
		if width := q.kind.entryBytes(); size == 0 || size%width != 0 || base%width != 0 || n > 0 && q.files[n-1].base+q.files[n-1].size != base {
			return fmt.Errorf("%w: queue file %s of %d bytes does not fit", ErrCorrupt, path, size)
		}
		q.files = append(q.files, &queueFile{q: q, base: base, size: size, first: unknownFirst})
	}
	return nil
}

// findEndLocked makes end the position of the first entry that is not written or whose record is not before trimPhys, and
// max the offset it has. The entries before it are all good: they were flushed, or the log that trimPhys comes from says
// so.
func (q *queue) findEndLocked(trimPhys int64) (err error) {
	q.end, q.maxPhys = 0, 0
	if len(q.files) == 0 {
		q.max.Store(0)
		q.min.Store(0)
		return nil
	}
	tail := queueTail{q: q}
	defer func() { err = errors.Join(err, tail.close()) }()
	lastFile, width := q.files[len(q.files)-1], q.kind.entryBytes()
	first := q.files[0].base
	q.end, err = tail.search(first, lastFile.base+lastFile.size, func(e entry) bool { return !e.written() || e.physOffset >= trimPhys })
	if err != nil {
		return err
	}
	if pos := q.end - width; pos >= first && q.tornLocked(pos) {
		e, err := tail.entryAt(pos)
		if err != nil {
			return err
		}
		if !q.all.recorded(e) {
			q.end = pos
		}
	}
	for _, f := range q.files {
		f.allocated = min(max(roundUp(q.end-f.base, 4096), 0), f.size)
		f.first, f.cleanBehind = unknownFirst, false
	}
	if f := q.fileLocked(q.end); f != nil {
		f.cleanBehind = tail.emptyBehind(f, q.end)
	}
	last, err := tail.entryAt(max(q.end-width, first))
	if err != nil {
		return err
	}
	end := max(last.queueOffset, 0) // of the first one, when none is left
	if q.end > first {
		end = last.end()
		if last.size != blankEntrySize {
			q.maxPhys = last.physOffset + int64(last.size)
		}
	}
	q.max.Store(end)
	q.min.Store(min(q.min.Load(), end))
	return nil
}

// cut removes what lies behind max: files, and the rest of the one that holds it; unless hard, the rest only when there
// is something in it.
func (q *queue) cut(hard bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	pos := q.end
	for n := len(q.files); n > 0 && q.files[n-1].base >= pos; n = len(q.files) {
		f := q.files[n-1]
		if n == 1 && f.base > 0 {
			break // retention has deleted those before it: without it the queue would begin again at 0
		}
		q.files = q.files[:n-1]
		q.dropLocked(f)
		path := filepath.Join(q.dir(), segmentName(f.base))
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRemove, path, err)
		}
	}
	f := q.fileLocked(pos)
	if f == nil || f.cleanBehind {
		return nil
	}
	if f.m == nil && pos > f.base {
		width := q.kind.entryBytes()
		b, empty, err := q.readBehindLocked(f, pos-f.base-width, width)
		if err != nil {
			return err
		}
		q.all.pieces.Put(b)
		if f.cleanBehind = empty; empty {
			return nil
		}
	}
	if err := q.mapLocked(f); err != nil {
		return err
	}
	if !hard && allZero(f.m.data[pos-f.base:][:q.kind.entryBytes()]) {
		return nil
	}
	f.allocated = roundUp(pos-f.base, 4096)
	q.dirtyLocked(f, pos-f.base, f.size, 0) // the zeros have to be on disk before the log grows up to what was there
	return f.m.zeroFrom(pos - f.base)
}

// dropLocked unmaps f and forgets that it is dirty.
func (q *queue) dropLocked(f *queueFile) {
	if f.m != nil {
		q.all.cache.remove(f)
		f.m.release()
		f.m = nil
	}
	f.dirtyFrom, f.dirtyTo = 0, 0
	if q.late.f == f {
		q.dropLateLocked()
	}
}

// clear removes all entries and files. The next put may have any offset.
func (q *queue) clear() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.files {
		q.dropLocked(f)
	}
	q.files, q.end, q.maxPhys = nil, 0, 0
	q.max.Store(0)
	q.min.Store(0)
	if err := os.RemoveAll(q.dir()); err != nil {
		return wrapFileError(OpRemove, q.dir(), err)
	}
	return q.clearExtLocked()
}
