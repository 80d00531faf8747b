package store

import (
	"errors"
	"io"
	"os"
	"sort"
)

// tailBytes is about how much of a queue file is read at a time while its end is looked for.
const tailBytes = 4096

// queueTail finds the end of a queue by reading its files: a start that mapped each of 100,000 queues for the sake of its last
// entry would take minutes. Its queue is locked.
type queueTail struct {
	q    *queue
	f    *queueFile // the one that is open
	file *os.File
	pos  int64 // in f, of piece
	buf  []byte
	read []byte // of buf
}

// entryAt returns the entry at a position, one without messages when no file has it.
func (t *queueTail) entryAt(pos int64) (entry, error) {
	f := t.q.fileLocked(pos)
	if f == nil {
		return entry{}, nil
	}
	at, width := pos-f.base, t.q.kind.entryBytes()
	if f.m != nil {
		return t.q.kind.decode(f.m.data[at:], pos), nil
	}
	if t.f != f || at < t.pos || at+width > t.pos+int64(len(t.read)) {
		if err := t.fill(f, at-at%(tailBytes/width*width)); err != nil {
			return entry{}, err
		}
	}
	return t.q.kind.decode(t.read[at-t.pos:], pos), nil
}

// fill reads the piece of f that begins at pos.
func (t *queueTail) fill(f *queueFile, pos int64) error {
	path := t.q.filePath(f.base)
	if t.f != f {
		if err := t.close(); err != nil {
			return err
		}
		if err := t.q.all.faults.check(OpRead, path); err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return wrapFileError(OpRead, path, err)
		}
		t.f, t.file = f, file
	}
	if t.buf == nil {
		t.buf = make([]byte, tailBytes)
	}
	width := t.q.kind.entryBytes()
	t.pos, t.read = pos, t.buf[:min(tailBytes/width*width, f.size-pos)]
	if _, err := t.file.ReadAt(t.read, pos); err != nil && !errors.Is(err, io.EOF) {
		return wrapFileError(OpRead, path, err)
	}
	return nil
}

// search returns the position of the first entry in [first, limit) of which past is true; it is true of all behind that.
// Most queues are short, and of long ones most files are full: it looks at the beginning of the last file before it halves.
func (t *queueTail) search(first, limit int64, past func(e entry) bool) (int64, error) {
	width := t.q.kind.entryBytes()
	var failed error
	is := func(pos int64) bool {
		e, err := t.entryAt(pos)
		if err != nil {
			failed = err
		}
		if past(e) {
			return true
		}
		if !t.q.tornLocked(pos) {
			return false
		}
		before, err := t.entryAt(pos - width)
		if err != nil {
			failed = err
		}
		return past(before) || before.physOffset > e.physOffset
	}
	if last := t.q.files[len(t.q.files)-1].base; last < limit && !is(last) {
		first = last
	} else if last > first {
		limit = last
	}
	for step := tailBytes / width * width; first+step < limit; step *= 4 {
		if is(first + step) {
			limit = first + step
			break
		}
	}
	n := sort.Search(int((limit-first)/width), func(i int) bool { return is(first + int64(i)*width) })
	return first + int64(n)*width, failed
}

// emptyBehind reports whether all of the file that holds pos, which is open, is zero from pos on.
func (t *queueTail) emptyBehind(f *queueFile, pos int64) bool {
	if t.f != f || f.m != nil {
		return false
	}
	at := pos - f.base
	rest := t.buf[:min(roundUp(at, tailBytes)-at, f.size-at)]
	t.read = nil
	if n, err := t.file.ReadAt(rest, at); n < len(rest) && err != nil || !allZero(rest) {
		return false
	}
	edge := at + int64(len(rest))
	return edge >= f.size || !mayHaveData(t.file, edge)
}

func (t *queueTail) close() error {
	if t.file == nil {
		return nil
	}
	file := t.file
	t.f, t.file = nil, nil
	return file.Close()
}
