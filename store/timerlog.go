package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const (
	// timerViewBytes is how much of the timer log is read at once on the way back through a slot.
	timerViewBytes = 8 << 10
	// timerOpenFiles bounds the files of the timer log that are open at one time.
	timerOpenFiles = 16
)

// timerLog is the timer's own log: where in the commit log the messages of each slot lie. Its files have their full length
// from the beginning, and zeros behind the last record. A position is the byte in all files together. Only sync may be
// called from another goroutine than the rest. Apache: TimerLog.
type timerLog struct {
	dir       string
	fileBytes int64
	faults    faultFunc

	first int64 // of the first file
	made  int64 // behind the last file
	end   int64 // where the next record goes

	batch   []byte // records that are not written yet; they end at end
	files   map[int64]*os.File
	view    []byte
	viewPos int64
}

// openTimerLog finds the files in dir. New ones have fileBytes unless there are some of another length. damage says why
// they cannot be used; then there are none for the log, and removeAll takes them away.
func openTimerLog(dir string, fileBytes int64, faults faultFunc) (l *timerLog, damage, err error) {
	l = &timerLog{dir: dir, fileBytes: fileBytes, faults: faults, files: make(map[int64]*os.File)}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil, nil
	}
	if err != nil {
		return nil, nil, wrapFileError(OpRead, dir, err)
	}
	for _, e := range entries {
		base, ok := segmentBase(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, nil, wrapFileError(OpRead, filepath.Join(dir, e.Name()), err)
		}
		size := info.Size()
		if size == 0 && l.made == base { // killed while it was made
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, nil, wrapFileError(OpRemove, dir, err)
			}
			continue
		}
		if l.made == 0 && size >= timerRecordBytes+timerBlankBytes && size < 1<<31 {
			l.fileBytes, l.first, l.made = size, base, base
		}
		if size != l.fileBytes || base != l.made || base%size != 0 {
			damage = fmt.Errorf("%w: timer log %s has %d bytes, expected a file of %d at %d", ErrCorrupt, filepath.Join(dir, e.Name()), size, l.fileBytes, l.made)
			l.first, l.made, l.fileBytes = 0, 0, fileBytes
			return l, damage, nil
		}
		l.made += size
	}
	l.end = l.made
	return l, nil, nil
}

func (l *timerLog) path(base int64) string { return filepath.Join(l.dir, segmentName(base)) }

func (l *timerLog) baseOf(pos int64) int64 { return pos - pos%l.fileBytes }

// file returns the open file that begins at base.
func (l *timerLog) file(base int64) (*os.File, error) {
	if f := l.files[base]; f != nil {
		return f, nil
	}
	if err := l.faults.check(OpRead, l.path(base)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(l.path(base), os.O_RDWR, 0)
	if err != nil {
		return nil, wrapFileError(OpRead, l.path(base), err)
	}
	l.keep(base, f)
	return f, nil
}

// keep remembers an open file, and closes another one when there are too many.
func (l *timerLog) keep(base int64, f *os.File) {
	if len(l.files) >= timerOpenFiles {
		for other, old := range l.files {
			if other != l.baseOf(l.end) {
				old.Close()
				delete(l.files, other)
				break
			}
		}
	}
	l.files[base] = f
}

// append adds a record and returns its position. It is written by commit. After an error nothing was added.
func (l *timerLog) append(r *timerRecord) (pos int64, err error) {
	left := l.made - l.end
	if left > 0 && left < timerRecordBytes+timerBlankBytes {
		if err := l.commit(); err != nil {
			return 0, err
		}
		if err := l.writeAt(appendTimerBlank(nil, left), l.end); err != nil {
			return 0, err
		}
		l.end = l.made
	}
	if l.end == l.made {
		if err := l.commit(); err != nil {
			return 0, err
		}
		if err := l.grow(); err != nil {
			return 0, err
		}
	}
	pos = l.end
	l.batch = appendTimerRecord(l.batch, r)
	l.end += timerRecordBytes
	return pos, nil
}

// grow makes the next file.
func (l *timerLog) grow() error {
	path := l.path(l.made)
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return wrapFileError(OpCreate, l.dir, err)
	}
	if err := l.faults.check(OpCreate, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return wrapFileError(OpCreate, path, err)
	}
	if err = f.Truncate(l.fileBytes); err == nil {
		err = syncDir(l.dir)
	}
	if err != nil {
		return errors.Join(wrapFileError(OpCreate, path, err), f.Close(), os.Remove(path))
	}
	l.keep(l.made, f)
	l.made += l.fileBytes
	return nil
}

// commit writes what was added since the last one. After an error it may be called again.
func (l *timerLog) commit() error {
	if len(l.batch) == 0 {
		return nil
	}
	if err := l.writeAt(l.batch, l.end-int64(len(l.batch))); err != nil {
		return err
	}
	l.batch = l.batch[:0]
	return nil
}

func (l *timerLog) writeAt(b []byte, pos int64) error {
	base := l.baseOf(pos)
	f, err := l.file(base)
	if err != nil {
		return err
	}
	if err := l.faults.check(OpWrite, l.path(base)); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, pos-base); err != nil {
		return wrapFileError(OpWrite, l.path(base), err)
	}
	return nil
}

// read returns the record at pos, which must be committed. ErrCorrupt names file and position of what is none.
func (l *timerLog) read(pos int64) (timerRecord, error) {
	base := l.baseOf(pos)
	if pos < l.first || pos+timerRecordBytes > l.end || base+l.fileBytes-pos < timerRecordBytes {
		return timerRecord{}, fmt.Errorf("%w: timer log has no position %d, only %d to %d", ErrCorrupt, pos, l.first, l.end)
	}
	if pos < l.viewPos || pos+timerRecordBytes > l.viewPos+int64(len(l.view)) {
		if err := l.look(pos); err != nil {
			return timerRecord{}, err
		}
	}
	r, ok := parseTimerRecord(l.view[pos-l.viewPos:])
	if !ok || r.prevPos >= pos {
		return r, l.damaged(pos, "no record")
	}
	return r, nil
}

// damaged is the error of a place in the log.
func (l *timerLog) damaged(pos int64, what string) error {
	base := l.baseOf(pos)
	return fmt.Errorf("%w: timer log %s at %d: %s", ErrCorrupt, l.path(base), pos-base, what)
}

// look fills the view with what ends behind the record at pos.
func (l *timerLog) look(pos int64) error {
	base := l.baseOf(pos)
	f, err := l.file(base)
	if err != nil {
		return err
	}
	from := max(base, pos+timerRecordBytes-timerViewBytes)
	l.view = slices.Grow(l.view[:0], timerViewBytes)[:pos+timerRecordBytes-from]
	l.viewPos = from
	if _, err := f.ReadAt(l.view, from-base); err != nil {
		l.view = l.view[:0]
		return wrapFileError(OpRead, l.path(base), err)
	}
	return nil
}

// forget drops what was read, since it is going to change.
func (l *timerLog) forget() { l.view = l.view[:0] }

// each calls fn with the records from pos on, which must be where one begins, until fn returns false or there is none.
// It returns the position behind the last one that fn took.
func (l *timerLog) each(pos int64, fn func(pos int64, r *timerRecord) bool) (int64, error) {
	const chunk = timerRecordBytes * 20_000
	var buf []byte
	for pos < l.made {
		base := l.baseOf(pos)
		room := (base + l.fileBytes - pos - timerBlankBytes) / timerRecordBytes * timerRecordBytes // the rest has its end's mark
		if room <= 0 {
			if base+l.fileBytes == l.made {
				break
			}
			pos = base + l.fileBytes
			continue
		}
		f, err := l.file(base)
		if err != nil {
			return pos, err
		}
		buf = slices.Grow(buf[:0], chunk)[:min(chunk, room)]
		if _, err := f.ReadAt(buf, pos-base); err != nil {
			return pos, wrapFileError(OpRead, l.path(base), err)
		}
		for b := buf; len(b) > 0; b = b[timerRecordBytes:] {
			r, ok := parseTimerRecord(b)
			if !ok || r.prevPos >= pos || !fn(pos, &r) {
				return pos, nil
			}
			pos += timerRecordBytes
		}
	}
	return pos, nil
}

// endsAt reports whether there is no room for a record between pos and the end of the log.
func (l *timerLog) endsAt(pos int64) bool {
	fileEnd := l.baseOf(pos) + l.fileBytes
	return fileEnd == l.end && fileEnd-pos < timerRecordBytes+timerBlankBytes
}

// startAt makes end the end of the log: later files go, and what lies behind it in its file becomes zeros.
func (l *timerLog) startAt(end int64) error {
	l.forget()
	for l.made > l.first && l.made-l.fileBytes >= end {
		base := l.made - l.fileBytes
		if err := l.remove(base); err != nil {
			return err
		}
		l.made = base
	}
	l.end = min(end, l.made)
	if l.end == l.made {
		return nil
	}
	base := l.baseOf(l.end)
	f, err := l.file(base)
	if err != nil {
		return err
	}
	if err := l.faults.check(OpWrite, l.path(base)); err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(l.end-base), f.Truncate(l.fileBytes)); err != nil {
		return wrapFileError(OpWrite, l.path(base), err)
	}
	return nil
}

func (l *timerLog) remove(base int64) error {
	if f := l.files[base]; f != nil {
		f.Close()
		delete(l.files, base)
	}
	if err := l.faults.check(OpRemove, l.path(base)); err != nil {
		return err
	}
	if err := os.Remove(l.path(base)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrapFileError(OpRemove, l.path(base), err)
	}
	return nil
}

// removeAll deletes every file; the log begins anew at 0.
func (l *timerLog) removeAll() error {
	l.forget()
	l.close()
	if err := l.faults.check(OpRemove, l.dir); err != nil {
		return err
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return wrapFileError(OpRemove, l.dir, err)
	}
	l.first, l.made, l.end, l.batch = 0, 0, 0, l.batch[:0]
	return nil
}

// dropDone deletes the oldest files as long as done says that their last record is of no more use, but never the last file.
func (l *timerLog) dropDone(done func(last *timerRecord) bool) (dropped int, err error) {
	lastAt := ((l.fileBytes-timerBlankBytes)/timerRecordBytes - 1) * timerRecordBytes
	for l.first+l.fileBytes < l.made && l.first+l.fileBytes <= l.end {
		r, err := l.read(l.first + lastAt)
		if err != nil || !done(&r) {
			return dropped, err
		}
		l.forget()
		if err := l.remove(l.first); err != nil {
			return dropped, err
		}
		l.first += l.fileBytes
		dropped++
	}
	return dropped, nil
}

// sync flushes the files that hold what lies between two positions.
func (l *timerLog) sync(from, to int64) error {
	if to <= from {
		return nil
	}
	for base := l.baseOf(from); base < to; base += l.fileBytes {
		if err := syncFileBy(nil, l.path(base), 0, 0, l.faults); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (l *timerLog) close() {
	for base, f := range l.files {
		f.Close()
		delete(l.files, base)
	}
}
