package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// windowBytes is how much of a file is read at a time.
const windowBytes = 1 << 20

// fileReader reads a file through read(2), a window at a time. A file that is cut short while it is read, or lies on a bad
// disk, gives an error; in a mapping it would be a signal. Not for more than one goroutine.
type fileReader struct {
	path string
	size int64 // when it was opened

	f      *os.File
	window int
	buf    []byte // bytes from at on
	at     int64
	took   func(n int) error // told of each read, may wait; nil for none
}

// openReader opens a file to be read in windows of window bytes.
func openReader(path string, window int) (*fileReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, wrapFileError(OpRead, path, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("it is a directory")
	}
	if err != nil {
		f.Close()
		return nil, wrapFileError(OpRead, path, err)
	}
	return &fileReader{path: path, size: info.Size(), f: f, window: window}, nil
}

func (r *fileReader) close() { _ = r.f.Close() }

// bytes returns the n bytes at pos, fewer where the file ends. They are good until the next call.
func (r *fileReader) bytes(pos int64, n int64) ([]byte, error) {
	if pos < 0 || pos >= r.size {
		return nil, nil
	}
	n = min(n, r.size-pos)
	if pos >= r.at && pos+n <= r.at+int64(len(r.buf)) {
		return r.buf[pos-r.at:][:n:n], nil
	}
	want := min(max(n, int64(r.window)), r.size-pos)
	if int64(cap(r.buf)) < want || int64(cap(r.buf)) > 64*int64(r.window) && want <= int64(r.window) {
		r.buf = make([]byte, want)
	}
	r.buf = r.buf[:want]
	got, err := r.f.ReadAt(r.buf, pos)
	r.buf, r.at = r.buf[:got], pos
	if err != nil && !errors.Is(err, io.EOF) {
		r.buf = r.buf[:0]
		return nil, fmt.Errorf("read %s at %d: %w", r.path, pos, err)
	}
	if r.took != nil {
		if err := r.took(got); err != nil {
			return nil, err
		}
	}
	return r.buf[:min(n, int64(got))], nil
}

// nextData returns the first position at or after pos that is not in a hole of the file, its size when there is none. A
// file system that knows no holes has data everywhere.
func (r *fileReader) nextData(pos int64) int64 {
	if pos >= r.size {
		return r.size
	}
	at, err := unix.Seek(int(r.f.Fd()), pos, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return r.size
	case err != nil || at < pos:
		return pos
	}
	return min(at, r.size)
}

// stopped returns the error of a context that has ended.
func stopped(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	return nil
}

// blockBytes is how much of a file is on disk, without its holes; size when that cannot be told.
func blockBytes(path string, size int64) int64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return size
	}
	return min(size, st.Blocks*512)
}
