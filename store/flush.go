package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// maxGather bounds how long a flush waits for callers that are expected to share it.
	maxGather = 5 * time.Millisecond
	// smallFlushBytes is how much a flush writes at most that is dear by what the file system adds to it, see feeder.
	smallFlushBytes = 512 << 10
	// tinyFlushBytes is how much a flush writes at most that must not be made to write large pages, see segment.settle.
	tinyFlushBytes = 32 << 10
	// ringCallers is from how many callers on a flush is left to the ring although there are other cores: few hear sooner of one that
	// keeps its processor. On one core nobody does, since the Go runtime has to look for whoever runs instead.
	ringCallers = 32
)

// flusher moves the flushed watermark: every FlushInterval, and at once for AfterFlush in FlushSync. A flush that fails
// is not tried again, since the kernel may have dropped the dirty pages: the store turns read-only. Apache:
// CommitLog.FlushRealTimeService, CommitLog.GroupCommitService, ConsumeQueueStore.FlushConsumeQueueService.
type flusher struct {
	s       *Store
	waiters flushWaiters
	wake    chan struct{} // holds one token

	physicMs atomic.Int64  // store time up to which the log is flushed
	queuesMs atomic.Int64  // store time up to which queue entries are flushed
	all      atomic.Bool   // the next flush of queue files leaves none for later
	wakeAll  chan struct{} // holds one token
	before   mark          // an end of the log not flushed when it was looked at; belongs to run
	ring     *ring         // nil where there is none; set by start
	took     time.Duration // by the last flushes that callers waited for; belongs to run
	group    atomic.Int64  // bytes of those flushes, 0 before the first
	times    flushTimes

	// What follows belongs to runQueues, and to Close after it.
	check checkpoint
	saved checkpoint // what the file holds
	late  bool       // it could not be written for want of space, and that was said
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
			f.log()
		case <-tick.C:
			f.tick()
		}
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
		case <-f.wakeAll:
			f.queues(f.all.Swap(false))
		case <-tick.C:
			f.queues(false)
		}
	}
}

// openRings prepares flushes, write-back and new pages of the log that keep no processor.
func (s *Store) openRings() {
	log := s.opts.Logger
	for _, of := range []**ring{&s.flusher.ring, &s.pacer.ring, &s.log.feeder.ring} {
		r, err := newRing(func(err error) {
			log.Warn("flushes, or new pages of the log, do without io_uring from here on and keep a processor while they wait", "err", err)
		})
		if err != nil {
			log.Info("no io_uring: a flush keeps one of GOMAXPROCS processors while it waits for the disk, and so do new pages of the log", "err", err)
			return
		}
		*of = r
	}
}

// pokeAll makes runQueues flush all queue files now.
func (f *flusher) pokeAll() {
	f.all.Store(true)
	select {
	case f.wakeAll <- struct{}{}:
	default:
	}
}

// poke makes run flush the log now.
func (f *flusher) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// awaitFlushed has the log flushed up to a place and waits for it; the errors are those of AfterFlush.
func (s *Store) awaitFlushed(physOffset int64) error {
	done := make(chan error, 1)
	s.AfterFlush(physOffset, func(err error) { done <- err })
	s.flusher.poke()
	return <-done
}

// mark is a place in the log and the store time of the record before it.
type mark struct {
	physOffset, storeMs int64
}

// tick is the periodic flush. While the log grows it leaves the last, unfinished page for later: flushing makes a page
// read-only for a moment, and the next append would have to wait for the file system to make it writable again.
func (f *flusher) tick() {
	l := f.s.log
	whole := l.written.Load() &^ (pageBytes - 1)
	from := l.flushed.Load()
	if whole <= from || f.waiters.count() > 0 {
		f.log()
		return
	}
	now := l.mark()
	if !f.flushTo(whole) {
		return
	}
	if f.before.physOffset <= whole {
		f.physicMs.Store(f.before.storeMs)
		f.before = now
	}
}

// log flushes the log up to what is written and answers those who wait for it.
func (f *flusher) log() {
	l := f.s.log
	for {
		f.gather()
		now := l.mark()
		if from := l.flushed.Load(); now.physOffset > from {
			began := time.Now()
			if !f.flushTo(now.physOffset) {
				return
			}
			f.learn(now.physOffset-from, time.Since(began))
			f.before = now
			f.physicMs.Store(now.storeMs)
		}
		f.waiters.passed(now.physOffset)
		if f.waiters.count() == 0 || l.written.Load() == now.physOffset {
			return
		}
	}
}

// gather waits, as long as a flush takes, for callers that the last flush answered: they come back one after the other, and the
// first one alone would take the disk from all others. Whoever is alone never waits.
func (f *flusher) gather() {
	if f.s.opts.FlushMode != FlushSync || f.waiters.missing() <= 0 || f.waiters.count() == 0 {
		return
	}
	late := time.NewTimer(min(f.took, maxGather))
	defer late.Stop()
	for f.waiters.missing() > 0 {
		select {
		case <-f.wake:
		case <-late.C:
			return
		case <-f.s.stop:
			return
		}
	}
}

// learn keeps means of a flush that callers waited for.
func (f *flusher) learn(n int64, took time.Duration) {
	if f.s.opts.FlushMode != FlushSync {
		return
	}
	f.took += (took - f.took) / 8
	was := f.group.Load()
	if was == 0 {
		was = n
	}
	now := max(was+(n-was)/8, 1)
	f.group.Store(now)
	for _, step := range [...]int64{smallFlushBytes, tinyFlushBytes} {
		if was > step && now <= step {
			f.s.log.feeder.settleSoon()
		}
	}
}

// small reports whether callers wait for flushes of little each, as far as is known.
func (f *flusher) small() bool {
	return f.s.opts.FlushMode == FlushSync && f.group.Load() <= smallFlushBytes
}

// flushTo moves the flushed watermark to physOffset; false when the store is read-only or has become so.
func (f *flusher) flushTo(physOffset int64) bool {
	if f.s.readOnly.Load() {
		return false
	}
	began := time.Now()
	err := f.flushRange(f.s.log.flushed.Load(), physOffset)
	f.times.add(time.Since(began))
	if err != nil {
		f.s.turnReadOnly(err)
		return false
	}
	f.s.log.flushed.Store(physOffset)
	return true
}

func (f *flusher) flushRange(from, to int64) error {
	by := f.ring
	if n := f.waiters.count(); f.s.opts.FlushMode == FlushSync && 0 < n && n < ringCallers && runtime.NumCPU() > 1 {
		by = nil
	}
	for from < to {
		seg := f.s.log.find(from)
		if seg == nil {
			return fmt.Errorf("%w: commit log has no segment for %d", ErrCorrupt, from)
		}
		end := min(to, seg.end())
		err := seg.flushBy(by, from-seg.base, end-seg.base)
		seg.release()
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

// queues flushes queue files and then the checkpoint that vouches for them.
func (f *flusher) queues(all bool) {
	s := f.s
	if s.readOnly.Load() {
		return
	}
	upTo := s.dispatcher.doneMs.Load()
	if s.lister.due(s) {
		s.lister.take(s)
		all = true
	}
	oldest, err := s.queues.flush(all, s.opts.Now().UnixMilli(), upTo, f.ring)
	if err == nil {
		var ms int64
		ms, err = s.compact.flush(all, s.opts.Now().UnixMilli())
		oldest = min(oldest, ms)
	}
	if err == nil {
		f.check.logicsMs = max(f.check.logicsMs, min(upTo, oldest-1))
		f.queuesMs.Store(f.check.logicsMs)
	}
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
	s.lister.write(s)
	f.check.physicMs = max(f.check.physicMs, f.physicMs.Load())
	if f.check == f.saved {
		return
	}
	if err := f.check.write(s.opts.Dir, s.opts.Faults, f.ring); err != nil {
		if errors.Is(err, ErrNoSpace) {
			if !f.late {
				s.opts.Logger.Warn("checkpoint not written, tried again until it can be", "err", err)
			}
			f.late = true
			return
		}
		s.turnReadOnly(err)
		return
	}
	f.saved, f.late = f.check, false
}
