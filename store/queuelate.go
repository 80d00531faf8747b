package store

import (
	"bytes"
	"fmt"
	"os"
)

// lateRun are entries, one behind the other, that recovery has found for a file that is not mapped. Most queues get few, and
// after a kill these are there already: to map each of 100,000 files for them would take the better part of a minute.
type lateRun struct {
	f    *queueFile
	from int64 // in f
	ms   int64 // store time of the first
	b    []byte
}

const (
	// lateRunBytes is the length of a run that is not kept but written, into the mapped file.
	lateRunBytes = 2048
	// lateQueues bounds the queues with a run.
	lateQueues = 32768
)

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
	if l := q.late; l != nil && (l.f != f || l.f.base+l.from+int64(len(l.b)) != pos) {
		if err := q.writeLateLocked(); err != nil {
			return false, false, err
		}
	}
	if q.gone || f == nil || f.m != nil {
		return false, false, nil
	}
	if q.late == nil {
		q.late, started = &lateRun{f: f, from: pos - f.base, ms: e.storeMs}, true
	}
	var b [entryBytes]byte
	q.kind.encode(b[:], e)
	q.late.b = append(q.late.b, b[:]...)
	q.end, q.maxPhys = pos+entryBytes, e.physOffset+int64(e.size)
	q.max.Store(e.end())
	if len(q.late.b) >= lateRunBytes {
		err = q.mapLocked(f)
		if err == nil {
			err = q.writeLateLocked()
		}
	}
	return started, true, err
}

// writeLate writes what putLate has kept.
func (q *queue) writeLate() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.writeLateLocked()
}

func (q *queue) writeLateLocked() error {
	l := q.late
	if l == nil {
		return nil
	}
	q.late = nil
	n := int64(len(l.b))
	if l.f.m != nil {
		if err := q.writableLocked(l.f, l.from+n); err != nil {
			return err
		}
		copy(l.f.m.data[l.from:], l.b)
	} else if err := q.rewriteLocked(l); err != nil {
		return err
	}
	q.dirtyLocked(l.f, l.from, l.from+n, l.ms) // also what was there: it may not be on disk
	return nil
}

// rewriteLocked writes a run to its file unless it is there, and looks what lies behind it.
func (q *queue) rewriteLocked(l *lateRun) error {
	n := int64(len(l.b))
	b, empty, err := q.readBehindLocked(l.f, l.from, n)
	if err != nil {
		return err
	}
	defer q.all.pieces.Put(b)
	l.f.cleanBehind = empty
	if bytes.Equal((*b)[:n], l.b) {
		return nil
	}
	path := l.f.path()
	if err := q.all.faults.check(OpWrite, path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return wrapFileError(OpWrite, path, err)
	}
	defer file.Close()
	if _, err := file.WriteAt(l.b, l.from); err != nil {
		return wrapFileError(OpWrite, path, err)
	}
	l.f.allocated = max(l.f.allocated, min(roundUp(l.from+n, 4096), l.f.size))
	return nil
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
