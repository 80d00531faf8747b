package compat

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropPages takes the clean pages of a file out of memory.
func dropPages(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// flushData writes what is dirty of a file to disk.
func flushData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// freeMemory is how many bytes of memory nobody uses, not even for pages of files, but for a reserve of the kernel's.
func freeMemory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, err
	}
	return max(0, int64(info.Freeram)*int64(info.Unit)-512<<20), nil
}
