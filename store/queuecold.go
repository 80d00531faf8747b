package store

import (
	"errors"
	"io/fs"
	"os"
)

// putColdLocked writes an entry to a file that is not mapped, which holds pos or is made; false when it has to be mapped, since the
// entry needs more than bytes in the file. Where the file has blocks the entry may stay in memory, with those behind it: a
// mapping for each of 10,000 queues that are written and not read costs the dispatcher seconds, for which it waits for
// whoever makes pages of the log. Readers have files mapped.
func (q *queue) putColdLocked(f *queueFile, pos int64, e entry) (done bool, err error) {
	if q.extended || q.isBatch() || f != nil && f.m != nil {
		return false, nil
	}
	if l := q.late; l != nil && (l.f != f || l.end() != pos-f.base) {
		if err := q.writeLateLocked(); err != nil {
			return false, err
		}
	}
	if f == nil {
		f, err = q.createColdLocked(pos, e)
	} else if kept, failed := q.keepLocked(f, pos-f.base, e); failed != nil {
		err = failed
	} else if !kept {
		err = q.writeColdLocked(f, pos, e)
	}
	if f == nil || err != nil {
		return false, err
	}
	q.dirtyLocked(f, pos-f.base, pos-f.base+entryBytes, e.storeMs)
	return true, nil
}

// createColdLocked makes the file that begins with an entry; nil when there has to be something in front of the entry.
func (q *queue) createColdLocked(pos int64, e entry) (*queueFile, error) {
	size := q.kind.fileBytes(q.all.opts)
	base := pos / size * size
	first := len(q.files) == 0
	if !first {
		last := q.files[len(q.files)-1]
		base = last.base + last.size
	}
	if base != pos {
		return nil, nil
	}
	f := &queueFile{q: q, base: base, size: size, first: unknownFirst, fresh: true}
	if err := q.makeDir(); err != nil {
		return nil, err
	}
	if err := f.createCold(e); err != nil {
		return nil, err
	}
	q.files = append(q.files, f)
	if first {
		q.beginLocked(pos, e.queueOffset)
	}
	return f, nil
}

// makeDir makes the queue's directory; usually that of its topic is there.
func (q *queue) makeDir() error {
	dir := q.dir()
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return wrapFileError(OpCreate, dir, err)
	}
	return nil
}

// createCold makes the file at its full length, with an entry at the beginning.
func (f *queueFile) createCold(e entry) error {
	var b [entryBytes]byte
	putEntry(b[:], e)
	path, faults := f.path(), f.q.all.faults
	for _, op := range []FileOp{OpCreate, OpAllocate} {
		if err := faults.check(op, path); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return wrapFileError(OpCreate, path, err)
	}
	err = file.Truncate(f.size)
	if err == nil {
		err = f.writeTo(file, b[:], 0)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return wrapFileError(OpCreate, path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// writeColdLocked writes an entry to a file that is there.
func (q *queue) writeColdLocked(f *queueFile, pos int64, e entry) error {
	var b [entryBytes]byte
	putEntry(b[:], e)
	return f.writeCold(b[:], pos-f.base)
}

// writeCold writes entries to a file that is there, which gives it blocks where it had none.
func (f *queueFile) writeCold(b []byte, at int64) error {
	path := f.path()
	op := OpWrite
	if at+int64(len(b)) > f.allocated {
		op = OpAllocate
	}
	if err := f.q.all.faults.check(op, path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return wrapFileError(op, path, err)
	}
	if err := errors.Join(f.writeTo(file, b, at), file.Close()); err != nil {
		return wrapFileError(op, path, err)
	}
	return nil
}

func (f *queueFile) writeTo(file *os.File, b []byte, at int64) error {
	if _, err := file.WriteAt(b, at); err != nil {
		return err
	}
	f.allocated = max(f.allocated, min(roundUp(at+int64(len(b)), 4096), f.size))
	return nil
}

// beginLocked says where a queue begins that has got its first file.
func (q *queue) beginLocked(pos, queueOffset int64) {
	q.min.Store(queueOffset)
	q.minFor.Store(q.all.logMin())
	q.max.Store(queueOffset)
	q.end = pos
}
