package remoting

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vector is a loop's room for the slices of a writev.
type vector struct{ iov []unix.Iovec }

// write hands slices, at most maxVector and none empty, to the kernel and returns how many bytes it took: 0 after an error, which
// the next write meets again.
func (w *vector) write(fd int, v [][]byte) int {
	w.iov = w.iov[:0]
	for _, b := range v {
		iov := unix.Iovec{Base: unsafe.SliceData(b)}
		iov.SetLen(len(b))
		w.iov = append(w.iov, iov)
	}
	n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(w.iov))), uintptr(len(w.iov)))
	runtime.KeepAlive(v)
	clear(w.iov)
	if errno != 0 {
		return 0
	}
	return int(n)
}
