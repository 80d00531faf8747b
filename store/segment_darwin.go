package store

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// allocateBlocks gives [off, off+n) disk blocks. F_PREALLOCATE only works beyond the end of a file, so it writes.
func allocateBlocks(f *os.File, off, n int64) error { return writeBlocks(f, off, n) }

// punchHole is not used here: the caller writes zeros.
func punchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }

// populate has no counterpart here: whoever writes takes the faults.
func populate([]byte) error { return nil }

// How the pages of a mapping are used.
const (
	pagesAsUsed = iota
	pagesSingly
	pagesInTurn
)

// advisePages is a hint that is not given here: whoever writes takes the faults.
func advisePages([]byte, int) {}

// wantPages is a hint that is not given here.
func wantPages([]byte) {}

// readAhead is a hint that is not given here.
func readAhead(int, int64, int64) {}

// presentBytes takes all of b to be in memory.
func presentBytes(b []byte) int64 { return int64(len(b)) }

// dropPages is a hint that is not given here.
func dropPages(*os.File, []byte, int64) {}

// syncMapping writes the dirty pages of data[from:to] to disk and waits; from is the beginning of a page. msync leaves
// them in the drive's cache, F_FULLFSYNC does not.
func syncMapping(path string, data []byte, from, to int64) error {
	if err := unix.Msync(data[from:to], unix.MS_SYNC); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// startWriteback is a hint that cannot be given here.
func startWriteback(*os.File, int64, int64) {}

// awaitWriteback is left to the next flush here.
func awaitWriteback(*os.File, int64, int64) error { return nil }

// syncFileSystem flushes all of the file system that dir lies on; false where that cannot be done in one call.
func syncFileSystem(string) (bool, error) { return false, nil }

// mayHaveData reports whether a file has anything but a hole from pos on; here nobody is asked.
func mayHaveData(*os.File, int64) bool { return true }

// readPiece reads what a file has at pos into b, and returns how many bytes that are and the length of the file.
func readPiece(path string, b []byte, pos int64) (n, length int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	got, err := f.ReadAt(b, pos)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return int64(got), info.Size(), err
}
