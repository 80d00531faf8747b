package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/edsrzf/mmap-go"
)

const (
	// populateBytes is how much of a mapping is made present by one call for a log that grows fast: large enough for the kernel to
	// work in large folios.
	populateBytes = 4 << 20
	// singlyBytes is how much a call makes present page by page, and singlyWindow the stretch of which the kernel is told so.
	singlyBytes  = 256 << 10
	singlyWindow = 64 << 20
)

var pageBytes = int64(os.Getpagesize())

// faultFunc is Options.Faults; nil never fails.
type faultFunc func(op FileOp, path string) error

func (f faultFunc) check(op FileOp, path string) error {
	if f == nil {
		return nil
	}
	if err := f(op, path); err != nil {
		return wrapFileError(op, path, err)
	}
	return nil
}

// wrapFileError names the act and the file, and makes a full disk an ErrNoSpace.
func wrapFileError(op FileOp, path string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s %s: %w: %w", op, path, ErrNoSpace, err)
	}
	return fmt.Errorf("%s %s: %w", op, path, err)
}

// segment is one file, mapped for its whole length: of the commit log, or of a consume queue while it is in use. No
// descriptor is kept. Apache: DefaultMappedFile.
//
// Whoever looks at data holds a reference; the one that drops the last reference unmaps. Data is written by one
// goroutine at a time and only below ready, where blocks are allocated: a page without a block would be a SIGBUS on a
// full disk instead of an error. Readers look only at what a watermark (written, or a queue's max) covers.
type segment struct {
	base int64 // position of the first byte, the file's name
	size int64
	path string

	data mmap.MMap

	_    [64]byte // readers write refs all the time; appends, which do not, look at what is around
	refs atomic.Int64
	_    [64]byte

	faults    faultFunc
	allocated int64        // has blocks up to here; belongs to the goroutine that calls extend
	settled   int64        // its blocks up to here were written, not only allocated; belongs to it, too
	present   int64        // has pages up to here; belongs to it, too
	inBulk    int64        // up to here they may be large ones; belongs to it, too
	singly    byteRange    // where the kernel makes one page a fault; belongs to it, too
	ready     atomic.Int64 // may be written up to here: behind present at the price of page faults
}

// segmentName is the name of a file that begins at base, on disk, do not change. Apache: UtilAll.offset2FileName.
func segmentName(base int64) string { return fmt.Sprintf("%020d", base) }

// appendSegmentName appends segmentName(base).
func appendSegmentName(b []byte, base int64) []byte {
	var digits [20]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + base%10)
		base /= 10
	}
	return append(b, digits[:]...)
}

// segmentBase reads a name made by segmentName.
func segmentBase(name string) (base int64, ok bool) {
	if len(name) != 20 {
		return 0, false
	}
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return 0, false
		}
	}
	base, err := strconv.ParseInt(name, 10, 64)
	return base, err == nil
}

// createSegment makes an empty file of size bytes without blocks, in place of what is there.
func createSegment(dir string, base, size int64, faults faultFunc) (*segment, error) {
	return createSegmentWith(os.O_TRUNC, dir, base, size, faults)
}

// createNewSegment is createSegment for a place where nothing may be: an error that is os.ErrExist says that there is a file.
func createNewSegment(dir string, base, size int64, faults faultFunc) (*segment, error) {
	return createSegmentWith(os.O_EXCL, dir, base, size, faults)
}

func createSegmentWith(flag int, dir string, base, size int64, faults faultFunc) (*segment, error) {
	path := filepath.Join(dir, segmentName(base))
	if err := faults.check(OpCreate, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o644)
	if err != nil {
		return nil, wrapFileError(OpCreate, path, err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return nil, wrapFileError(OpCreate, path, err)
	}
	return mapSegment(f, path, base, size, faults)
}

// openSegment maps an existing file. Nothing of it is ready to be written.
func openSegment(path string, base int64, faults faultFunc) (*segment, error) {
	if err := faults.check(OpRead, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, wrapFileError(OpRead, path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, wrapFileError(OpRead, path, err)
	}
	return mapSegment(f, path, base, info.Size(), faults)
}

func mapSegment(f *os.File, path string, base, size int64, faults faultFunc) (*segment, error) {
	if err := faults.check(OpMap, path); err != nil {
		return nil, err
	}
	data, err := mmap.MapRegion(f, int(size), mmap.RDWR, 0, 0)
	if err != nil {
		return nil, wrapFileError(OpMap, path, err)
	}
	s := &segment{base: base, size: size, path: path, data: data, faults: faults}
	s.refs.Store(1)
	return s, nil
}

// acquire takes a reference; false when the segment is on its way out.
func (s *segment) acquire() bool {
	for {
		n := s.refs.Load()
		if n <= 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back.
func (s *segment) release() {
	if s.refs.Add(-1) == 0 {
		// The mapping was made by mapSegment and nobody can see it any more, so there is nothing to do about an error.
		_ = s.data.Unmap()
	}
}

// end is the position after the last byte.
func (s *segment) end() int64 { return s.base + s.size }

// extend makes the bytes below to ready, in steps of chunk, and their pages present. One goroutine at a time calls it, allocate and
// touch.
func (s *segment) extend(to, chunk int64) error {
	if err := s.allocate(to, chunk, false); err != nil {
		return err
	}
	return s.touch(nil, to, false)
}

// allocate makes the bytes below to ready in steps of chunk. With written the new blocks are written with zeros and on disk: a file
// system notes of blocks that are only allocated, at the first flush of what is written to each, that they hold something now, and
// that costs the flush more than the data.
func (s *segment) allocate(to, chunk int64, written bool) error {
	to = min(roundUp(to, pageBytes), s.size)
	if to <= s.allocated {
		return nil
	}
	end := min(roundUp(max(to, s.allocated+chunk), pageBytes), s.size)
	if err := allocateFile(s.path, s.allocated, end-s.allocated, s.faults); err != nil {
		return err
	}
	if from := roundUp(max(s.allocated, s.ready.Load()), pageBytes); written && from < end { // below ready there may be data
		if err := writeZeros(s.path, from, end-from, s.faults); err != nil {
			return err
		}
		if s.settled == s.allocated {
			s.settled = end
		}
	}
	s.allocated = end
	s.ready.Store(end)
	return nil
}

// largestFolio is the most that the kernel keeps in the page cache as one piece, of which a flush writes all.
const largestFolio = 2 << 20

// settle prepares what is ahead of pos for small flushes: its blocks are written, and its pages, which a fast log got in large pieces,
// are dropped, to come again one by one. Appends may write to them meanwhile: what is dirty stays.
func (s *segment) settle(r *ring, pos int64) error {
	from, to := roundUp(pos, largestFolio), s.inBulk
	if err := s.touch(r, s.allocated, true); err != nil {
		return err
	}
	if err := s.faults.check(OpWrite, s.path); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return wrapFileError(OpWrite, s.path, err)
	}
	defer f.Close()
	if begin := max(s.settled, pos&^(pageBytes-1)); begin < s.allocated {
		if err := awaitWriteback(f, begin, s.allocated-begin); err != nil {
			return wrapFileError(OpWrite, s.path, err)
		}
	}
	s.settled, s.inBulk = s.allocated, 0
	if from < to {
		dropPages(f, s.data[from:to], from)
		s.present = from
		s.advise(false)
	}
	return nil
}

// touch makes the pages below to present, as far as they are ready, by a ring where there is one. Singly it takes more time for it, and
// never much in one call: otherwise a fault brings all that the device reads ahead, which may be 8 MiB and 16 ms.
func (s *segment) touch(r *ring, to int64, singly bool) error {
	to = min(roundUp(to, pageBytes), s.allocated)
	most := int64(populateBytes)
	if singly {
		most = singlyBytes
	}
	for s.present < to {
		s.advise(singly)
		step := min(s.present&^(most-1)+most, to)
		if pages := s.data[s.present&^(pageBytes-1) : step]; !r.populate(pages) {
			if err := populate(pages); err != nil {
				return wrapFileError(OpAllocate, s.path, err)
			}
		}
		s.present = step
		if !singly {
			s.inBulk = step
		}
	}
	if to == s.size {
		s.singly = byteRange{}
		s.readOnce()
	}
	return nil
}

// readOnce tells the kernel not to count how often a page is used: a log is read once or twice soon after it was written, and its pages would
// drive out what is used all the time.
func (s *segment) readOnce() { advisePages(s.data, pagesInTurn) }

// advise tells the kernel how to make the pages from present on. Behind them readers want it to read ahead.
func (s *segment) advise(singly bool) {
	r := &s.singly
	if singly && s.present < r.to {
		return
	}
	if r.size() > 0 {
		advisePages(s.data[r.from:r.to], pagesAsUsed)
		*r = byteRange{}
	}
	if singly {
		from := s.present &^ (pageBytes - 1)
		*r = byteRange{from, min(from+singlyWindow, s.size)}
		advisePages(s.data[r.from:r.to], pagesSingly)
	}
}

// readAround tells the kernel that bytes are looked at here and there, so that a fault brings one page: of a file that is mostly
// a hole everything else are zeros.
func (s *segment) readAround() { advisePages(s.data, pagesSingly) }

// startAt says that bytes below pos are in use, so that extend begins there.
func (s *segment) startAt(pos int64) {
	s.allocated, s.settled, s.present = pos&^(pageBytes-1), pos&^(pageBytes-1), pos
	s.ready.Store(pos)
}

// flush writes the bytes in [from, to) to disk and waits.
func (s *segment) flush(from, to int64) error { return s.flushBy(nil, from, to) }

// flushBy is flush by a ring, where there is one.
func (s *segment) flushBy(r *ring, from, to int64) error {
	if from >= to {
		return nil
	}
	if err := s.faults.check(OpFlush, s.path); err != nil {
		return err
	}
	from &^= pageBytes - 1
	done, err := r.sync(s.path, from, to)
	if !done {
		err = syncMapping(s.path, s.data, from, to)
	}
	if err != nil {
		return wrapFileError(OpFlush, s.path, err)
	}
	return nil
}

// zeroFrom makes all bytes from pos on zero, so that what a crash or an earlier recovery left there is never taken for
// data once the file has grown up to it. It frees the blocks where the file system can.
func (s *segment) zeroFrom(pos int64) error {
	if pos >= s.size {
		return nil
	}
	if err := s.faults.check(OpWrite, s.path); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return wrapFileError(OpWrite, s.path, err)
	}
	defer f.Close()
	edge := min(roundUp(pos, pageBytes), s.size)
	if err := s.zeroRange(f, pos, edge); err != nil {
		return err
	}
	if edge < s.size && punchHole(f, edge, s.size-edge) != nil {
		return s.zeroRange(f, edge, s.size)
	}
	return nil
}

// zeroRange overwrites what is not zero in [from, to). It writes through f: a page without a block stays untouched.
func (s *segment) zeroRange(f *os.File, from, to int64) error {
	const step = 1 << 20
	var zeros []byte
	for from < to {
		n := min(to-from, step)
		if !allZero(s.data[from : from+n]) {
			if zeros == nil {
				zeros = make([]byte, step)
			}
			if _, err := f.WriteAt(zeros[:n], from); err != nil {
				return wrapFileError(OpWrite, s.path, err)
			}
		}
		from += n
	}
	return nil
}

// remove deletes the file and drops the list's reference; readers keep what they hold.
func (s *segment) remove() error {
	defer s.release()
	return s.unlink()
}

// unlink deletes the file; what is mapped stays.
func (s *segment) unlink() error {
	if err := s.faults.check(OpRemove, s.path); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrapFileError(OpRemove, s.path, err)
	}
	return nil
}

// allocateFile gives [off, off+n) of a file disk blocks without changing its length or its bytes.
func allocateFile(path string, off, n int64, faults faultFunc) error {
	if err := faults.check(OpAllocate, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return wrapFileError(OpAllocate, path, err)
	}
	defer f.Close()
	if err := allocateBlocks(f, off, n); err != nil {
		return wrapFileError(OpAllocate, path, err)
	}
	return nil
}

// writeZeros writes zeros to [off, off+n) of a file, page by page so that the page cache holds single pages: of a larger piece a
// flush writes all when one byte has changed. It returns when they are on disk.
func writeZeros(path string, off, n int64, faults faultFunc) error {
	if err := faults.check(OpAllocate, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return wrapFileError(OpAllocate, path, err)
	}
	defer f.Close()
	zeros := make([]byte, pageBytes)
	for at := off; at < off+n; at += pageBytes {
		if _, err := f.WriteAt(zeros[:min(pageBytes, off+n-at)], at); err != nil {
			return wrapFileError(OpAllocate, path, err)
		}
	}
	if err := awaitWriteback(f, off, n); err != nil {
		return wrapFileError(OpAllocate, path, err)
	}
	return nil
}

// writeBlocks is allocateBlocks for file systems without such a call: it writes what is there again, one byte a block,
// as posix_fallocate does. Nobody else writes to the range meanwhile.
func writeBlocks(f *os.File, off, n int64) error {
	var b [1]byte
	for end := off + n; off < end; off = off&^4095 + 4096 {
		if _, err := f.ReadAt(b[:], off); err != nil {
			return err
		}
		if _, err := f.WriteAt(b[:], off); err != nil {
			return err
		}
	}
	return nil
}

// syncFileBy flushes bytes of a file that is not mapped, by a ring where there is one.
func syncFileBy(r *ring, path string, from, to int64, faults faultFunc) error {
	if err := faults.check(OpFlush, path); err != nil {
		return err
	}
	done, err := r.sync(path, from, to)
	if !done {
		err = syncFile(path)
	}
	if err != nil {
		return wrapFileError(OpFlush, path, err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return wrapFileError(OpFlush, dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return wrapFileError(OpFlush, dir, err)
	}
	return nil
}

// syncDir is the function of that name, which can be told to fail.
func (f faultFunc) syncDir(dir string) error {
	if err := f.check(OpFlush, dir); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncQueueDir is syncDir for the directory of a queue or of its topic, which may have been deleted meanwhile.
func syncQueueDir(dir string) error {
	if err := syncDir(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
