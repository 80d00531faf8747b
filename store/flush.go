package store

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// paceBytes is how much of the log may be written before write-back of it begins, so that a flush never meets a gigabyte
// of dirty pages.
const paceBytes = 8 << 20

// flusher moves the flushed watermark: every FlushInterval, and at once for AfterFlush in FlushSync. A flush that fails
// is not tried again, since the kernel may have dropped the dirty pages: the store turns read-only. Apache:
// CommitLog.FlushRealTimeService, CommitLog.GroupCommitService, ConsumeQueueStore.FlushConsumeQueueService.
type flusher struct {
	s       *Store
	waiters flushWaiters
	wake    chan struct{} // holds one token

	paced    atomic.Int64 // physical offset up to which write-back was begun
	physicMs atomic.Int64 // store time up to which the log is flushed

	// What follows belongs to runQueues, and to Close after it.
	check checkpoint
	saved checkpoint // what the file holds
}

// run flushes the log until stop is closed.
func (f *flusher) run(stop <-chan struct{}) {
	tick := time.NewTicker(f.s.opts.FlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-f.wake:
		case <-tick.C:
		}
		f.log()
	}
}

// runQueues flushes queue files and writes the checkpoint until stop is closed. It is no business of run's, which has
// callers waiting.
func (f *flusher) runQueues(stop <-chan struct{}) {
	tick := time.NewTicker(f.s.opts.QueueFlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			f.queues(false)
		}
	}
}

// poke makes run flush the log now.
func (f *flusher) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// log flushes the log up to what is written and answers those who wait for it.
func (f *flusher) log() {
	l := f.s.log
	for {
		storeMs, written, from := l.lastMs.Load(), l.written.Load(), l.flushed.Load()
		if written > from {
			if f.s.readOnly.Load() {
				return
			}
			if err := f.flushRange(from, written); err != nil {
				f.s.turnReadOnly(err)
				return
			}
			f.physicMs.Store(storeMs)
			l.flushed.Store(written)
		}
		f.waiters.passed(written)
		if !f.waiters.waiting() || l.written.Load() == written {
			return
		}
	}
}

func (f *flusher) flushRange(from, to int64) error {
	for from < to {
		seg := f.s.log.find(from)
		if seg == nil {
			return fmt.Errorf("%w: commit log has no segment for %d", ErrCorrupt, from)
		}
		end := min(to, seg.end())
		err := seg.flush(from-seg.base, end-seg.base)
		seg.release()
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

// pace begins the write-back of whole pages far behind the end of the log. The feeder calls it as the log grows.
func (f *flusher) pace(written int64) {
	from := max(f.paced.Load(), f.s.log.flushed.Load())
	if written-from < paceBytes {
		return
	}
	seg := f.s.log.find(from)
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
	start := (from - seg.base) &^ (pageBytes - 1)
	startWriteback(file, start, (to-seg.base)&^(pageBytes-1))
	f.paced.Store(to)
}

// queues flushes queue files and then the checkpoint that vouches for them.
func (f *flusher) queues(all bool) {
	s := f.s
	if s.readOnly.Load() {
		return
	}
	upTo := s.dispatcher.doneMs.Load()
	oldest, err := s.queues.flush(all, s.opts.Now().UnixMilli())
	if err == nil && s.index.index != nil {
		var ms int64
		if ms, err = s.index.index.Flush(); ms > 0 {
			f.check.indexMs = ms
		}
	}
	if err != nil {
		s.turnReadOnly(err)
		return
	}
	f.check.logicsMs = max(f.check.logicsMs, min(upTo, oldest-1))
	f.check.physicMs = max(f.check.physicMs, f.physicMs.Load())
	if f.check == f.saved {
		return
	}
	if err := f.check.write(s.opts.Dir, s.opts.Faults); err != nil {
		if errors.Is(err, ErrNoSpace) {
			s.opts.Logger.Warn("checkpoint not written", "err", err)
			return
		}
		s.turnReadOnly(err)
		return
	}
	f.saved = f.check
}
