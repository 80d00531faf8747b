package store

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocateBlocks gives [off, off+n) disk blocks. The file keeps its length and its bytes.
func allocateBlocks(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return writeBlocks(f, off, n)
		}
		return err
	}
}

// punchHole makes [off, off+n) read as zeros and frees its blocks.
func punchHole(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// populate makes the pages of b present and writable, so that a store to them does not fault. A kernel that does not
// know the call (before 5.14) leaves the faults to whoever writes.
func populate(b []byte) error {
	for {
		err := unix.Madvise(b, unix.MADV_POPULATE_WRITE)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
			return nil
		case errors.Is(err, unix.EFAULT): // what would be a SIGBUS: no block can be had
			return unix.ENOSPC
		}
		return err
	}
}

// How the pages of a mapping are used. Only of those that are pagesAsUsed does the kernel count how often, to keep the busy ones.
const (
	pagesAsUsed = unix.MADV_NORMAL     // a fault brings what lies around it
	pagesSingly = unix.MADV_RANDOM     // a fault brings one page
	pagesInTurn = unix.MADV_SEQUENTIAL // a fault brings what lies behind it
)

// advisePages tells the kernel how the pages of b, which begins with one, are used.
func advisePages(b []byte, how int) { _ = unix.Madvise(b, how) }

// wantPages begins to read the pages of b, which begins with one, into memory.
func wantPages(b []byte) { _ = unix.Madvise(b, unix.MADV_WILLNEED) }

// readAhead begins to read [from, to) of a file into memory.
func readAhead(fd int, from, to int64) {
	_ = unix.Fadvise(fd, from, to-from, unix.FADV_WILLNEED) // a hint
}

// presentBytes is how much of b, the beginning of pages of a mapping, is in memory without a gap.
func presentBytes(b []byte) int64 {
	var pages [coldReadBytes / 4096]byte // of the smallest pages
	if len(b) == 0 {
		return 0
	}
	b = b[:min(len(b), len(pages)*int(pageBytes))]
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&pages)))
	if errno != 0 {
		return int64(len(b)) // as if: whoever looks at them will see
	}
	n := int64(0)
	for at := int64(0); at < int64(len(b)) && pages[at/pageBytes]&1 != 0; at += pageBytes {
		n = min(at+pageBytes, int64(len(b)))
	}
	return n
}

// dropPages takes the clean pages of b, a mapping of f at off, out of memory. It is a hint: b reads as before.
func dropPages(f *os.File, b []byte, off int64) {
	_ = unix.Madvise(b, unix.MADV_DONTNEED)
	_ = unix.Fadvise(int(f.Fd()), off, int64(len(b)), unix.FADV_DONTNEED)
}

// syncMapping writes the dirty pages of data[from:to] to disk and waits; from is the beginning of a page.
func syncMapping(_ string, data []byte, from, to int64) error {
	for {
		err := unix.Msync(data[from:to], unix.MS_SYNC)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// startWriteback asks the kernel to begin writing [from, to) of a file, without waiting.
func startWriteback(f *os.File, from, to int64) {
	// A hint: where it does not work the flush does all.
	_ = unix.SyncFileRange(int(f.Fd()), from, to-from, unix.SYNC_FILE_RANGE_WRITE)
}

// awaitWriteback writes [off, off+n) of a file to disk and waits. It flushes neither what the file system notes of it nor the
// drive's cache; the next flush does.
func awaitWriteback(f *os.File, off, n int64) error {
	for {
		err := unix.SyncFileRange(int(f.Fd()), off, n,
			unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSYS):
			return nil
		}
		return err
	}
}

// syncFileSystem flushes all of the file system that dir lies on; false where that cannot be done in one call.
func syncFileSystem(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return true, err
	}
	defer d.Close()
	return true, unix.Syncfs(int(d.Fd()))
}

// mayHaveData reports whether a file has anything but a hole from pos on.
func mayHaveData(f *os.File, pos int64) bool {
	_, err := unix.Seek(int(f.Fd()), pos, unix.SEEK_DATA)
	return !errors.Is(err, unix.ENXIO)
}
