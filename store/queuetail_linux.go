package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// readTail reads what a file has at pos into b, and returns how many bytes that are, the length of the file, and whether it may have
// anything but a hole behind the page that b ends in. It is for many files in a row: os.File would double the system calls.
func readTail(path string, b []byte, pos int64) (n, length int64, more bool, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, false, err
	}
	var st unix.Stat_t
	got := 0
	if err = unix.Fstat(fd, &st); err == nil {
		got, err = unix.Pread(fd, b, pos)
	}
	if edge := roundUp(pos+int64(len(b)), 4096); edge < st.Size {
		_, seekErr := unix.Seek(fd, edge, unix.SEEK_DATA)
		more = !errors.Is(seekErr, unix.ENXIO)
	}
	return int64(max(got, 0)), st.Size, more, errors.Join(err, unix.Close(fd))
}
