package compat

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropPages takes the clean pages of a file out of memory.
func dropPages(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// flushData writes what is dirty of a file to disk.
func flushData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
