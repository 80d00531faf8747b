package store

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// putColdLocked writes an entry to a file that is not mapped, which holds pos or is made; false when it has to be mapped, since the
// entry needs more than bytes in the file. Where the file has blocks the entry may stay in memory, with those behind it: a
// mapping for each of 10,000 queues that are written and not read costs the dispatcher seconds, for which it waits for
// whoever makes pages of the log. Readers have files mapped.
func (q *queue) putColdLocked(f *queueFile, pos int64, e entry) (done bool, err error) {
	if q.extended || q.isBatch() || f != nil && f.m != nil {
		return false, nil
	}
	if err := q.writeOtherLateLocked(f, pos); err != nil {
		return false, err
	}
	if f == nil {
		f, err = q.createColdLocked(pos, e)
	} else if kept, failed := q.keepLocked(f, pos, e); failed != nil {
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
	if err := writeOnce(path, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, f.size, b[:], 0); err != nil {
		return wrapFileError(OpCreate, path, err)
	}
	f.wrote(entryBytes)
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
	if err := writeOnce(path, unix.O_RDWR, 0, b, at); err != nil {
		return wrapFileError(op, path, err)
	}
	f.wrote(at + int64(len(b)))
	return nil
}

// readCold reads what was written to a file.
func (f *queueFile) readCold(b []byte, at int64) error {
	path := f.path()
	if err := f.q.all.faults.check(OpRead, path); err != nil {
		return err
	}
	n, _, _, err := readTail(path, b, at)
	if err == nil && n < int64(len(b)) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// wrote notes that the file has blocks up to end.
func (f *queueFile) wrote(end int64) {
	f.allocated = max(f.allocated, min(roundUp(end, 4096), f.size))
}

// writeOnce opens a file, cuts or extends it to length if that is not 0, writes b at a position and closes it. One that it was to make
// and cannot write is removed. An os.File asks the kernel twice as often, and where GOMAXPROCS is 1 each of these calls may cost the
// dispatcher a turn of the event loop: with 8,192 files that were made at once it fell behind by 1.1 to 7.9 s, now by 0.4 to 1.1.
func writeOnce(path string, flags int, length int64, b []byte, at int64) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	for err == unix.EINTR {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	}
	if err != nil {
		return err
	}
	if length > 0 {
		err = unix.Ftruncate(fd, length)
	}
	if err == nil {
		var n int
		if n, err = unix.Pwrite(fd, b, at); err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil && flags&unix.O_CREAT != 0 {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// beginLocked says where a queue begins that has got its first file.
func (q *queue) beginLocked(pos, queueOffset int64) {
	q.min.Store(queueOffset)
	q.minFor.Store(q.all.logMin())
	q.max.Store(queueOffset)
	q.end = pos
}
