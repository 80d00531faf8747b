package compat

import (
	"os"
	"runtime"

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

// onFirstCore has f run on core 0, as servers that are measured do: the end of a disk's operation is told to one of the cores, and
// comes to the others later.
func onFirstCore(f func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, first unix.CPUSet
	first.Set(0)
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		return err
	}
	f()
	return unix.SchedSetaffinity(0, &was)
}

// runLast gives the goroutine a thread of its own until it ends, which the kernel has make way at once for any other: a thread of low
// priority (nice) may end its slice of 3 ms first.
func runLast() error {
	runtime.LockOSThread()
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
}
