package store

import (
	"bytes"
	"fmt"
	"sync"
	"unsafe"
)

// lateRun are entries, one behind the other, for a file that is not mapped, and that are not in it yet: recovery has found them, or
// they were put. Most queues get few, and after a kill these are there already: to map each of 100,000 files for them would take
// the better part of a minute. Whoever looks at the file or flushes it has them written first; what a kill takes is dispatched
// again, as what a power cut takes. This is where they are to go; the queue's lateTail has them.
type lateRun struct {
	f     *queueFile // nil when there is no run
	pos   int64      // of the first byte, in the queue
	ms    int64      // store time of the first
	size  int32      // how many bytes of entries there is room for
	old   uint16     // how many bytes are in the file, of a long run that goes on
	found bool       // by recovery: they may be in the file
}

// lateTail is the entries of a lateRun, small enough for the line that the dispatcher looks at. The last few of them lie in the queue's
// stage: the ends of 8,192 runs lie on as many pages, and the processor would have to translate the address for each entry.
type lateTail struct {
	b      *byte
	n      uint16 // length in bytes
	plain  uint16 // length up to which an entry is only added, with one more the run is written; 0 without a run that was put
	staged uint8  // how many of the entries lie in the stage, not behind b
}

// stagedEntries is how many entries a stage has room for: a line of the processor's cache.
const stagedEntries = 3

const (
	// lateRunBytes is the length of a run of recovery that is not kept but written, into the mapped file.
	lateRunBytes = 2048
	// lateQueues bounds the queues with a run of recovery.
	lateQueues = 32768
	// keptRunBytes is the length of a run that was put and is written, and keptRuns bounds their number. Beyond it there are
	// smallRuns of smallRunBytes: less than 50 MB in all.
	keptRunBytes  = 1024 / entryBytes * entryBytes
	keptRuns      = 16384
	smallRunBytes = 160
	smallRuns     = 131072
	// A run that got hotEntries or more, one each hotEntryMs, becomes a long one, up to the end of a block of its file, with the entry that
	// goes on in the next: 60 MB in all. It is full before it is old.
	hotEntries  = 32
	hotEntryMs  = manyFlushMs / 256
	hotRunBytes = (fileBlockBytes/entryBytes + 2) * entryBytes
	hotRuns     = 12288
	// fileBlockBytes is what a file gets and the kernel reads at a time.
	fileBlockBytes = 4096
)

// lateEnd is the position behind the run. It is the queue's end when there is a run that was put.
func (q *queue) lateEnd() int64 { return q.late.pos + int64(q.tail.n) }

// lateBytes is the run, none of it in the stage.
func (q *queue) lateBytes() []byte {
	q.unstage()
	return unsafe.Slice(q.tail.b, q.late.size)[:q.tail.n]
}

// takes reports whether the queue's next entry only needs to be added to a run. There is no such run of a file that is mapped.
func (t *lateTail) takes() bool { return t.n+entryBytes <= t.plain }

// addLate adds an entry to the run, which has room for it.
func (q *queue) addLate(e entry) {
	t := &q.tail
	putEntry(q.stage[int(t.staged)*entryBytes:], e)
	t.n += entryBytes
	if t.staged++; t.staged == stagedEntries {
		q.unstage()
	}
}

// unstage moves the entries of the stage to the others.
func (q *queue) unstage() {
	t := &q.tail
	if n := int(t.staged) * entryBytes; n > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(t.b), int(t.n)-n)), n), q.stage[:])
		t.staged = 0
	}
}

// keepLocked adds an entry to the queue's run, or begins one with it, and writes the run when it is long enough or the file has no
// block for the entry, which an entry in memory must not lack: a full disk has to be said now. It returns false when there is
// no run and may be none. An entry that is not written for an error is not kept.
func (q *queue) keepLocked(f *queueFile, pos int64, e entry) (bool, error) {
	l, t := &q.late, &q.tail
	if l.f == nil && !q.beginLateLocked(f, pos, e.storeMs) {
		return false, nil
	}
	q.addLate(e)
	if t.n <= t.plain {
		return true, nil
	}
	entries := int64(t.n / entryBytes)
	hot := entries > hotEntries && e.storeMs-l.ms < entries*hotEntryMs
	if err := q.storeLateLocked(); err != nil {
		t.n -= entryBytes
		return false, err
	}
	if !hot || !q.turnLateLocked(e.storeMs) {
		q.dropLateLocked()
	}
	return true, nil
}

// beginLateLocked begins a run at a position; false when there may be none.
func (q *queue) beginLateLocked(f *queueFile, pos, ms int64) bool {
	room := f.base + f.allocated - pos
	if room < entryBytes {
		return false
	}
	b := q.all.takeRun()
	if b == nil {
		return false
	}
	q.late = lateRun{f: f, pos: pos, ms: ms, size: int32(cap(b))}
	q.tail = lateTail{b: unsafe.SliceData(b), plain: uint16(min(int64(cap(b)-entryBytes), room))}
	return true
}

// turnLateLocked makes the run, which is written, a long one that begins with the last block of it; false when it cannot be one. The next
// write is of the whole block then: a part of one that the page cache has not kept is read first, with the dispatcher waiting.
func (q *queue) turnLateLocked(ms int64) bool {
	l, b := q.late, q.lateBytes()
	block := l.f.base + (q.lateEnd()-1-l.f.base)&^(fileBlockBytes-1)
	missing := max(l.pos-block, 0) // bytes of the block that only the file has
	long := b
	if l.size != hotRunBytes {
		long = q.all.takeHotRun()
	} else if missing > 0 {
		return false
	}
	if long == nil {
		return false
	}
	if missing > 0 && l.f.readCold(long[:missing], block-l.f.base) != nil {
		q.all.giveRun(unsafe.SliceData(long), hotRunBytes)
		return false
	}
	long = append(long[:missing], b[max(block-l.pos, 0):]...)
	if l.size != hotRunBytes {
		q.dropLateLocked()
	}
	q.late = lateRun{f: l.f, pos: block, ms: ms, size: hotRunBytes, old: uint16(len(long))}
	q.tail = lateTail{b: unsafe.SliceData(long), n: uint16(len(long)), plain: uint16(min(fileBlockBytes, l.f.base+l.f.allocated-block))}
	return true
}

// blockOf is what to write for a long run that begins with a block: all of it, with the zeros that lie behind the queue's end.
func (l *lateRun) blockOf(b []byte) []byte {
	at := l.pos - l.f.base
	if l.size != hotRunBytes || at%fileBlockBytes != 0 || len(b) >= fileBlockBytes {
		return b
	}
	n := len(b)
	b = b[:min(fileBlockBytes, l.f.size-at)]
	clear(b[n:])
	return b
}

// takeRun returns the memory of a run, and nil when there are too many.
func (qs *queues) takeRun() []byte {
	n := qs.kept.Add(1)
	if n > keptRuns+smallRuns {
		qs.kept.Add(-1)
		return nil
	}
	if n > keptRuns {
		return takeFrom(&qs.smallRuns, smallRunBytes)
	}
	return takeFrom(&qs.runs, keptRunBytes)
}

// takeHotRun is takeRun for a long one.
func (qs *queues) takeHotRun() []byte {
	if qs.keptHot.Add(1) > hotRuns {
		qs.keptHot.Add(-1)
		return nil
	}
	return takeFrom(&qs.hotRuns, hotRunBytes)
}

func takeFrom(pool *sync.Pool, size int) []byte {
	if b, ok := pool.Get().(*byte); ok {
		return unsafe.Slice(b, size)[:0]
	}
	return make([]byte, 0, size)
}

// dropLateLocked forgets the queue's run.
func (q *queue) dropLateLocked() {
	l, b := q.late, q.tail.b
	q.late, q.tail = lateRun{}, lateTail{}
	if l.f != nil && !l.found {
		q.all.giveRun(b, l.size)
	}
}

// giveRun takes back the memory of a run.
func (qs *queues) giveRun(b *byte, size int32) {
	pool, kept := &qs.runs, &qs.kept
	switch size {
	case smallRunBytes:
		pool = &qs.smallRuns
	case hotRunBytes:
		pool, kept = &qs.hotRuns, &qs.keptHot
	}
	pool.Put(b) // a pointer, which is not made on the heap to be kept
	kept.Add(-1)
}

// putLate is put for recovery: the entry may stay in memory until writeLate. started says that it is the first that does.
func (q *queue) putLate(e entry) (started bool, err error) {
	if q.extended || q.isBatch() {
		return false, q.put(e)
	}
	started, taken, err := q.keepLate(e)
	if err != nil || taken {
		return started, err
	}
	return false, q.put(e)
}

func (q *queue) keepLate(e entry) (started, taken bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pos := q.kind.putPos(e.queueOffset, q.end)
	f := q.fileLocked(pos)
	if err := q.writeOtherLateLocked(f, pos); err != nil {
		return false, false, err
	}
	if q.gone || f == nil || f.m != nil {
		return false, false, nil
	}
	if q.late.f == nil {
		q.late, started = lateRun{f: f, pos: pos, ms: e.storeMs, found: true}, true
	}
	var b [entryBytes]byte
	q.kind.encode(b[:], e)
	run := append(q.lateBytes(), b[:]...)
	q.tail.b, q.tail.n, q.late.size = unsafe.SliceData(run), uint16(len(run)), int32(cap(run))
	q.end, q.maxPhys = pos+entryBytes, e.physOffset+int64(e.size)
	q.max.Store(e.end())
	if q.tail.n >= lateRunBytes {
		err = q.mapLocked(f) // writes the run
	}
	return started, true, err
}

// writeLate writes the queue's run to its file.
func (q *queue) writeLate() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.writeLateLocked()
}

// writeOtherLateLocked writes the queue's run unless an entry at pos of f continues it.
func (q *queue) writeOtherLateLocked(f *queueFile, pos int64) error {
	if q.late.f == f && q.lateEnd() == pos {
		return nil
	}
	return q.writeLateLocked()
}

// writeLateLocked writes the run and forgets it.
func (q *queue) writeLateLocked() error {
	if q.late.f == nil {
		return nil
	}
	err := q.storeLateLocked()
	if err == nil {
		q.dropLateLocked()
	}
	return err
}

// flushLateLocked writes the run, which there is. A long one to which entries were added goes on, as one that begins at ms, when the next may
// be: it has the whole block. kept says that it goes on.
func (q *queue) flushLateLocked(ms int64) (kept bool, err error) {
	l := &q.late
	if l.old == q.tail.n {
		q.dropLateLocked()
		return false, nil
	}
	if err := q.storeLateLocked(); err != nil {
		return false, err
	}
	if l.size != hotRunBytes || (l.pos-l.f.base)%fileBlockBytes != 0 {
		q.dropLateLocked()
		return false, nil
	}
	l.old, l.ms = q.tail.n, ms
	return true, nil
}

// storeLateLocked writes the run, which there is.
func (q *queue) storeLateLocked() error {
	l := &q.late
	var err error
	b, from, to := q.lateBytes(), l.pos-l.f.base, q.lateEnd()-l.f.base
	switch {
	case l.f.m != nil:
		if err = q.writableLocked(l.f, to); err == nil {
			copy(l.f.m.data[from:], b)
		}
	case l.found:
		err = q.rewriteLocked(l)
	default:
		err = l.f.writeCold(l.blockOf(b), from)
	}
	if err != nil {
		q.tail.plain = 0 // tried again with the next entry
		return err
	}
	q.dirtyLocked(l.f, from, to, l.ms) // also what was there: it may not be on disk
	return nil
}

// rewriteLocked writes a run to its file unless it is there, and looks what lies behind it.
func (q *queue) rewriteLocked(l *lateRun) error {
	run, from := q.lateBytes(), l.pos-l.f.base
	n := int64(len(run))
	b, empty, err := q.readBehindLocked(l.f, from, n)
	if err != nil {
		return err
	}
	defer q.all.pieces.Put(b)
	l.f.cleanBehind = empty
	if bytes.Equal((*b)[:n], run) {
		return nil
	}
	return l.f.writeCold(run, from)
}

// readBehindLocked reads n bytes at from of a file and what follows on the page, for the caller to give back; and says
// whether nothing lies behind the n bytes.
func (q *queue) readBehindLocked(f *queueFile, from, n int64) (piece *[]byte, empty bool, err error) {
	path := f.path()
	if err := q.all.faults.check(OpRead, path); err != nil {
		return nil, false, err
	}
	piece = q.all.piece()
	b := (*piece)[:min(roundUp(from+n, 4096), f.size)-from]
	got, length, more, err := readTail(path, b, from)
	switch {
	case err != nil:
		err = wrapFileError(OpRead, path, err)
	case length != f.size || got < n:
		err = fmt.Errorf("%w: queue file %s has %d bytes, had %d", ErrCorrupt, path, length, f.size)
	}
	if err != nil {
		q.all.pieces.Put(piece)
		return nil, false, err
	}
	*piece = b
	return piece, !more && allZero(b[n:got]), nil
}

// piece returns a buffer for a run and the page behind it.
func (qs *queues) piece() *[]byte {
	if b, ok := qs.pieces.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, lateRunBytes+2*4096)
	return &b
}

// putLate is the queue's, with the queues that keep something counted.
func (r *recovery) putLate(q *queue, e entry) error {
	started, err := q.putLate(e)
	if err != nil || !started {
		return err
	}
	r.late = append(r.late, q)
	if len(r.late) < lateQueues {
		return nil
	}
	return r.writeLate()
}

// writeLate writes what queues keep.
func (r *recovery) writeLate() error {
	err := inParallel(r.late, (*queue).writeLate)
	r.late = r.late[:0]
	return err
}
