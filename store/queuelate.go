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
	pos   int64      // of the first, in the queue
	ms    int64      // store time of the first
	size  int32      // how many bytes of entries there is room for
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
	// A queue that had hotEntries or more, one each hotEntryMs, has a run up to the next block of its file: 60 MB in all.
	hotEntries  = 32
	hotEntryMs  = 60
	hotRunBytes = (4096/entryBytes + 1) * entryBytes
	hotRuns     = 12288
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
	l := &q.late
	if l.f == nil {
		room := f.base + f.allocated - pos
		if room < entryBytes {
			return false, nil
		}
		b := q.all.takeRun(q.hot)
		if b == nil {
			return false, nil
		}
		*l, q.hot = lateRun{f: f, pos: pos, ms: e.storeMs, size: int32(cap(b))}, false
		q.tail = lateTail{b: unsafe.SliceData(b), plain: uint16(min(int64(cap(b)-entryBytes), room))}
	}
	q.addLate(e)
	if q.tail.n <= q.tail.plain {
		return true, nil
	}
	entries := int64(q.tail.n / entryBytes)
	q.hot = entries > hotEntries && e.storeMs-l.ms < entries*hotEntryMs
	err := q.writeLateLocked()
	if err != nil {
		q.tail.n -= entryBytes
	}
	return err == nil, err
}

// takeRun returns the memory of a run, a long one for a hot queue if there are not too many of them, and nil when there are too many
// in all.
func (qs *queues) takeRun(hot bool) []byte {
	if hot {
		if qs.keptHot.Add(1) <= hotRuns {
			return takeFrom(&qs.hotRuns, hotRunBytes)
		}
		qs.keptHot.Add(-1)
	}
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
		pool, kept := &q.all.runs, &q.all.kept
		switch l.size {
		case smallRunBytes:
			pool = &q.all.smallRuns
		case hotRunBytes:
			pool, kept = &q.all.hotRuns, &q.all.keptHot
		}
		pool.Put(b) // a pointer, which is not made on the heap to be kept
		kept.Add(-1)
	}
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

func (q *queue) writeLateLocked() error {
	l := &q.late
	if l.f == nil {
		return nil
	}
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
		err = l.f.writeCold(b, from)
	}
	if err != nil {
		q.tail.plain = 0 // tried again with the next entry
		return err
	}
	q.dirtyLocked(l.f, from, to, l.ms) // also what was there: it may not be on disk
	q.dropLateLocked()
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
