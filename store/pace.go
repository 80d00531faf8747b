package store

import (
	"os"
	"sync/atomic"
)

// paceBytes is how much of the log may be written before write-back of it begins, so that a flush never meets a gigabyte
// of dirty pages.
const paceBytes = 8 << 20

// pacer begins the write-back of the log behind its end as it grows. The kernel lets whoever asks for it wait while the disk is busy, for
// up to a fifth of a second, so it has a goroutine and a ring of its own.
type pacer struct {
	s     *Store
	wake  chan struct{} // holds one token
	begun atomic.Int64  // physical offset up to which write-back was asked for
	ring  *ring         // nil where there is none; set by start
}

// tell says how far the log is written.
func (p *pacer) tell(written int64) {
	if written-p.from() < paceBytes {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// from is where what is still to be written to disk begins.
func (p *pacer) from() int64 { return max(p.begun.Load(), p.s.log.flushed.Load()) }

// run paces until stop is closed.
func (p *pacer) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-p.wake:
			p.pace(p.s.log.written.Load())
		}
	}
}

// pace begins the write-back of whole pages below written.
func (p *pacer) pace(written int64) {
	from := p.from()
	if written-from < paceBytes {
		return
	}
	seg := p.s.log.find(from)
	if seg == nil {
		return
	}
	defer seg.release()
	file, err := os.OpenFile(seg.path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	to := min(written, seg.end())
	begin, end := (from-seg.base)&^(pageBytes-1), (to-seg.base)&^(pageBytes-1)
	if !p.ring.startWriteback(file, begin, end) {
		startWriteback(file, begin, end)
	}
	p.begun.Store(to)
}
