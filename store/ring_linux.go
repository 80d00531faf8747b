package store

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring waits for the disk while its callers wait in the runtime's poller. A goroutine in msync or fdatasync keeps the processor it runs
// on until the runtime's monitor takes that back, some 10 ms later, and one that meets a page which is not in memory all the time; where
// GOMAXPROCS is 1 no event loop runs meanwhile, while the core has nothing to do. It is an io_uring with one operation at a time, whose end
// is told to an eventfd. A ring that fails is not asked again, and whoever asked it goes on as if there were none: what it was asked for
// harms nobody when it is done twice. Of a nil ring, flushes, write-back, populate and close do nothing.
type ring struct {
	limit  time.Duration   // for one operation
	failed func(err error) // told once

	mu    sync.Mutex
	dead  bool
	fd    int
	ended *os.File // eventfd
	queue []byte   // heads, tails and completions, shared with the kernel
	ops   []byte   // submissions, shared with the kernel
	p     ringParams
}

// ringParams is struct io_uring_params of <linux/io_uring.h>.
type ringParams struct {
	entries, completions, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	submit                                               struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	complete struct {
		head, tail, mask, entries, overflow, results, flags, _ uint32
		_                                                      uint64
	}
}

const (
	ringSingleMap    = 1 << 0  // IORING_FEAT_SINGLE_MMAP, Linux 5.4
	ringQueueAt      = 0       // IORING_OFF_SQ_RING
	ringOpsAt        = 1 << 28 // IORING_OFF_SQES
	ringRegisterEnd  = 4       // IORING_REGISTER_EVENTFD
	ringFsync        = 3       // IORING_OP_FSYNC
	ringWriteback    = 8       // IORING_OP_SYNC_FILE_RANGE
	ringFadvise      = 24      // IORING_OP_FADVISE
	ringMadvise      = 25      // IORING_OP_MADVISE
	ringDatasync     = 1       // IORING_FSYNC_DATASYNC
	ringOpBytes      = 64      // struct io_uring_sqe
	ringResultBytes  = 16      // struct io_uring_cqe
	ringQueueEntries = 1
)

// ringLimit is much more than a flush takes; the kernel has forgotten one that takes longer.
const ringLimit = 30 * time.Second

// errRingLate says that an operation did not end.
var errRingLate = errors.New("io_uring: no answer")

// newRing makes a ring; failed is told when that is of no use any more. An error where the kernel has none or does not let the process
// have it, as in many containers.
func newRing(failed func(error)) (r *ring, err error) {
	r = &ring{fd: -1, limit: ringLimit, failed: failed}
	defer func() {
		if err != nil {
			r.close()
			r = nil
		}
	}()
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringQueueEntries, uintptr(unsafe.Pointer(&r.p)), 0)
	if errno != 0 {
		return r, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r.fd = int(fd)
	if r.p.features&ringSingleMap == 0 {
		return r, fmt.Errorf("io_uring of two mappings: %w", errors.ErrUnsupported)
	}
	size := max(r.p.submit.array+4*r.p.entries, r.p.complete.results+ringResultBytes*r.p.completions)
	if r.queue, err = unix.Mmap(r.fd, ringQueueAt, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return r, fmt.Errorf("map io_uring: %w", err)
	}
	if r.ops, err = unix.Mmap(r.fd, ringOpsAt, int(r.p.entries*ringOpBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return r, fmt.Errorf("map io_uring: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return r, fmt.Errorf("eventfd: %w", err)
	}
	r.ended = os.NewFile(uintptr(event), "eventfd")
	told := int32(event)
	if _, _, errno = unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), ringRegisterEnd, uintptr(unsafe.Pointer(&told)), 1, 0, 0); errno != 0 {
		return r, fmt.Errorf("io_uring_register: %w", errno)
	}
	return r, nil
}

// ringOp is the beginning of struct io_uring_sqe.
type ringOp struct {
	code, flags uint8
	_           uint16
	fd          int32
	off, addr   uint64
	n, how      uint32
}

// word is a number that the kernel reads and writes, too.
func (r *ring) word(at uint32) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&r.queue[at])) }

// sync writes [from, to) of a file to disk and waits, as fdatasync does; done is false when that was not to be had.
func (r *ring) sync(path string, from, to int64) (done bool, err error) {
	if r == nil {
		return false, nil
	}
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false, nil // whoever has it mapped can still flush it
	}
	defer syscall.Close(fd)
	result, ok := r.do(ringOp{code: ringFsync, fd: int32(fd), off: uint64(from), n: uint32(to - from), how: ringDatasync})
	if !ok {
		return false, nil
	}
	switch errno := unix.Errno(-result); {
	case result >= 0:
		return true, nil
	case errno == unix.ECANCELED || errno == unix.EINTR || errno == unix.EAGAIN || errno == unix.ENOMEM: // no thread for it
		return false, nil
	default:
		return true, errno
	}
}

// startWriteback is the function of that name; false when it was not to be had.
func (r *ring) startWriteback(f *os.File, from, to int64) bool {
	if r == nil {
		return false
	}
	result, ok := r.do(ringOp{code: ringWriteback, fd: int32(f.Fd()), off: uint64(from), n: uint32(to - from), how: unix.SYNC_FILE_RANGE_WRITE})
	return ok && result >= 0
}

// readAhead is the function of that name, if it can.
func (r *ring) readAhead(fd int, from, to int64) {
	r.do(ringOp{code: ringFadvise, fd: int32(fd), off: uint64(from), n: uint32(to - from), how: unix.FADV_WILLNEED})
}

// present brings the pages of b, a mapping, into memory and waits; false when that was not to be had, as before Linux 5.14.
func (r *ring) present(b []byte) bool { return r.advise(b, unix.MADV_POPULATE_READ) }

// populate is the function of that name; false when that was not to be had, or failed, which the function says of itself.
func (r *ring) populate(b []byte) bool { return r != nil && r.advise(b, unix.MADV_POPULATE_WRITE) }

func (r *ring) advise(b []byte, how uint32) bool {
	result, ok := r.do(ringOp{code: ringMadvise, fd: -1, addr: uint64(uintptr(unsafe.Pointer(&b[0]))), n: uint32(len(b)), how: how})
	return ok && result >= 0
}

// do has an operation done and waits for its result; ok is false when the ring is of no use.
func (r *ring) do(op ringOp) (result int32, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return 0, false
	}
	err := r.submit(op)
	if err == nil {
		result, err = r.await()
	}
	if err != nil {
		r.dead = true
		r.failed(err)
		return 0, false
	}
	runtime.Gosched() // others have waited, if the kernel has used this processor for it
	return result, true
}

// submit begins an operation.
func (r *ring) submit(op ringOp) error {
	clear(r.ops[:ringOpBytes])
	*(*ringOp)(unsafe.Pointer(&r.ops[0])) = op
	r.word(r.p.submit.array).Store(0)
	r.word(r.p.submit.tail).Add(1)
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 0, 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return fmt.Errorf("io_uring_enter: %w", errno)
		case n != 1:
			return fmt.Errorf("io_uring_enter took %d operations of 1", n)
		default:
			return nil
		}
	}
}

// await waits for the end of the one operation under way and returns its result; the error is errRingLate when it takes too long.
func (r *ring) await() (result int32, err error) {
	head, tail := r.word(r.p.complete.head), r.word(r.p.complete.tail)
	if err := r.ended.SetReadDeadline(time.Now().Add(r.limit)); err != nil {
		return 0, fmt.Errorf("eventfd: %w", err)
	}
	var count [8]byte
	for tail.Load() == head.Load() {
		_, err := r.ended.Read(count[:])
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, fmt.Errorf("eventfd: %w", err)
		case tail.Load() == head.Load():
			return 0, errRingLate
		}
	}
	at := r.p.complete.results + (head.Load()&r.word(r.p.complete.mask).Load())*ringResultBytes
	result = int32(r.word(at + 8).Load())
	head.Add(1)
	return result, nil
}

// close ends the ring; nobody waits on it.
func (r *ring) close() {
	if r == nil {
		return
	}
	if r.ended != nil {
		r.ended.Close()
	}
	if r.ops != nil {
		_ = unix.Munmap(r.ops)
	}
	if r.queue != nil {
		_ = unix.Munmap(r.queue)
	}
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
}
