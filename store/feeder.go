package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// minAheadBytes is how far the feeder stays ahead of a log that hardly moves.
	minAheadBytes = 1 << 20
	// bulkAheadBytes is how far the feeder is ahead of a log that grows too fast for pages to be made one by one.
	bulkAheadBytes = 32 << 20
	// aheadTime is for how long pages ahead last.
	aheadTime = 500 * time.Millisecond
	// feedRetry is how long the feeder waits after a failed allocation.
	feedRetry = 100 * time.Millisecond
	// zeroChunkBytes is how much is written with zeros at a time, and zeroAheadBytes how far ahead the feeder is then at least.
	zeroChunkBytes = 2 << 20
	zeroAheadBytes = 2 << 20
)

// feeder keeps blocks ready and pages present ahead of the log's end: appends then neither fault nor wait, and a full disk is
// an error here and never a signal there. It is further ahead the faster the log grows: pages come one by one in small steps, so that a
// processor which it shares with an event loop is never kept for long, and of a fast log in steps of populateBytes, which take less of
// it; a ring makes them where there is one. It makes the next segment when the current one is four fifths used. PAGES.md has why. Apache:
// AllocateMappedFileService.
type feeder struct {
	log  *commitLog
	wake chan struct{}       // holds one token
	fed  func(written int64) // told where the log is, after each round
	ring *ring               // makes pages while appends go on; nil where there is none
	// smallFlushes says whether callers wait for flushes of little each. These are dear on blocks that are only allocated, so the
	// feeder writes zeros ahead then, which costs a second write of each byte; a large flush does not feel the difference.
	smallFlushes func() bool
	unsettled    atomic.Bool // flushes have become smaller, see segment.settle

	next   atomic.Pointer[segment] // made, not yet in the log; set by the feeder, taken under the append lock
	wakeAt atomic.Int64            // physical offset at which an append wakes the feeder
	need   atomic.Int64            // bytes an append could not get
	failed atomic.Pointer[error]   // why the last round gave nothing

	ahead       int64 // belongs to the feeder's goroutine
	lastFeed    time.Time
	lastWritten int64 // as of lastFeed

	mu     sync.Mutex
	moved  chan struct{} // closed and replaced when ready moved on; guarded by mu
	waited bool          // somebody took moved; guarded by mu
}

func (f *feeder) init(l *commitLog) {
	f.log = l
	f.wake = make(chan struct{}, 1)
	f.moved = make(chan struct{})
	f.ahead = min(minAheadBytes, l.opts.TouchAheadBytes)
}

// run feeds until stop is closed.
func (f *feeder) run(stop <-chan struct{}) {
	var retry <-chan time.Time
	if f.failed.Load() != nil {
		retry = time.After(feedRetry)
	}
	for {
		select {
		case <-stop:
			return
		case <-f.wake:
			if retry != nil || !f.due() {
				continue
			}
		case <-retry:
		}
		retry = nil
		f.adapt()
		failed := f.failed.Load() != nil
		switch err := f.feed(); {
		case err != nil:
			retry = time.After(feedRetry)
			if !failed {
				f.log.opts.Logger.Error("commit log cannot grow, tried again until it can", "err", err)
			}
		case failed:
			f.log.opts.Logger.Info("commit log can grow again")
		}
		f.fed(f.log.written.Load())
	}
}

// due reports whether there is something to do. Appends wake the feeder until it has moved wakeAt, so that it may find a token of the
// round before, and would take the log for a fast one.
func (f *feeder) due() bool {
	return f.need.Load() > 0 || f.failed.Load() != nil || f.unsettled.Load() || f.log.written.Load() >= f.wakeAt.Load()
}

// settleSoon has the feeder prepare what is ahead for small flushes.
func (f *feeder) settleSoon() {
	f.unsettled.Store(true)
	f.poke()
}

// adapt looks as far ahead as the log grows in aheadTime, about: it doubles and halves. After a rush it is back at single pages at once: large
// stretches, of which each keeps the core for as long as the device reads ahead, are for as long as the log needs them.
func (f *feeder) adapt() {
	now, written := f.log.opts.Now(), f.log.written.Load()
	gap := max(now.Sub(f.lastFeed), time.Millisecond)
	want := (written - f.lastWritten) * aheadTime.Microseconds() / gap.Microseconds()
	switch {
	case want > f.ahead:
		f.ahead = min(f.ahead*2, f.log.opts.TouchAheadBytes)
	case !f.singly():
		for want < f.ahead/2 && f.ahead > minAheadBytes {
			f.ahead /= 2
		}
	case want < f.ahead/4:
		f.ahead = max(f.ahead/2, min(minAheadBytes, f.log.opts.TouchAheadBytes))
	}
	f.lastFeed, f.lastWritten = now, written
}

// passed is told of each append's end, under the append lock.
func (f *feeder) passed(end int64) {
	if end >= f.wakeAt.Load() {
		f.poke()
	}
}

func (f *feeder) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// notReady is the answer to an append that found no room for n bytes.
func (f *feeder) notReady(n int64) error {
	f.need.Store(n)
	f.poke()
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return ErrWouldBlock
}

// waitChan returns a channel that is closed when more has become ready, or nothing can.
func (f *feeder) waitChan() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited = true
	return f.moved
}

func (f *feeder) broadcast() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waited {
		close(f.moved)
		f.moved, f.waited = make(chan struct{}), false
	}
}

// feed makes ready what the log will need soon. It keeps the outcome for notReady.
func (f *feeder) feed() error {
	for made := int64(0); ; made += singlyBytes {
		if f.singly() && made > 2*f.ahead { // the log grows as fast as pages come one by one
			f.ahead, made = min(f.ahead*2, f.log.opts.TouchAheadBytes), 0
		}
		more, err := f.step()
		if err != nil {
			if !errors.Is(err, ErrNoSpace) {
				err = fmt.Errorf("%w: %w", ErrNoSpace, err)
			}
			f.failed.Store(&err)
			f.broadcast()
			return err
		}
		f.failed.Store(nil)
		f.broadcast()
		if !more {
			return nil
		}
	}
}

// step does one piece of work; more is false when nothing was left to do.
func (f *feeder) step() (more bool, err error) {
	l := f.log
	l.mu.Lock()
	cur, pos, next := l.cur, l.pos, f.next.Load() // together: an append may make next the current one, which looks as if cur had none
	l.mu.Unlock()
	need := f.need.Load()
	want := max(f.ahead, need) + blankHeadBytes
	cur.present = max(cur.present, pos) // an append that came first has taken the faults
	smaller := f.unsettled.Swap(false)
	if f.smallFlushes() {
		want = max(want, min(zeroAheadBytes, l.opts.TouchAheadBytes))
		if cur.settled < cur.allocated || smaller && cur.inBulk > pos {
			f.ahead = min(minAheadBytes, l.opts.TouchAheadBytes)
			return true, cur.settle(f.ring, pos)
		}
	}
	if cur.present < min(pos+want, cur.size) {
		return true, l.extend(cur, f.stepTo(cur.present, pos+want))
	}
	rest := cur.size - pos
	switch {
	case next == nil && rest <= max(cur.size/5, want):
		return true, f.makeNext(cur, want)
	case next != nil && rest <= want && next.present < min(want, next.size):
		return true, l.extend(next, f.stepTo(next.present, want))
	}
	f.need.CompareAndSwap(need, 0)
	wakeAt := cur.end()
	if cur.present < cur.size {
		wakeAt = cur.base + cur.present - want + f.room(want)
	}
	switch {
	case next == nil:
		wakeAt = min(wakeAt, cur.end()-max(cur.size/5, want))
	case rest > want:
		wakeAt = min(wakeAt, cur.end()-want)
	}
	f.wakeAt.Store(wakeAt)
	return l.written.Load() >= wakeAt, nil
}

// extend makes the pages of seg below to present, and blocks ready some way behind: when the feeder is late, for want of a processor,
// appends go on and take the page faults themselves.
func (l *commitLog) extend(seg *segment, to int64) error {
	chunk, written := l.opts.AllocChunkBytes, l.feeder.smallFlushes()
	if written {
		chunk = min(chunk, zeroChunkBytes)
	}
	if err := seg.allocate(to+chunk/2, chunk, written); err != nil {
		return err
	}
	return seg.touch(l.feeder.ring, to, l.feeder.singly())
}

// singly reports whether pages are made one by one.
func (f *feeder) singly() bool { return f.ahead < bulkAheadBytes }

// room is how much of what the feeder wants to be ahead may be used up before it is woken: half, or what one call makes of single
// pages. Each call is over before the next one is due, so that whoever shares the processor waits for one at most.
func (f *feeder) room(want int64) int64 {
	if f.singly() {
		return min(want/2, singlyBytes)
	}
	return want - want/2
}

// stepTo is where the next step ends on the way from ready to limit. For a log that grows fast it is the end of a whole
// stretch of populateBytes, even behind limit: the kernel is several times faster with those.
func (f *feeder) stepTo(ready, limit int64) int64 {
	if f.singly() {
		return min(ready&^(singlyBytes-1)+singlyBytes, limit)
	}
	return ready&^(populateBytes-1) + populateBytes
}

// makeNext creates the segment after cur, with its first bytes ready.
func (f *feeder) makeNext(cur *segment, want int64) error {
	l := f.log
	next, err := l.create(cur.end(), min(want, singlyBytes))
	if err != nil {
		return err
	}
	f.next.Store(next)
	return nil
}

// close removes the segment that was made and not used, as Java does at a clean stop.
func (f *feeder) close() error {
	next := f.next.Swap(nil)
	if next == nil {
		return nil
	}
	next.release()
	if err := os.Remove(next.path); err != nil {
		return wrapFileError(OpRemove, next.path, err)
	}
	return nil
}
