package store

import (
	"sync"
	"time"
)

// flushWaiters are those who wait for the flushed watermark. One flush answers all whose offset it passed, so callers
// that come while a flush runs share the next one. Apache: CommitLog.GroupCommitService.
type flushWaiters struct {
	timeout time.Duration

	mu     sync.Mutex // guards what follows
	list   []flushWaiter
	want   int           // as many are expected to wait before the next flush begins
	spare  []flushWaiter // the slice that list had before
	timer  *time.Timer   // set while list is not empty
	failed error         // nobody is to wait any more
}

type flushWaiter struct {
	physOffset int64
	deadline   time.Time
	fn         func(error)
}

// add takes fn unless flushed has passed physOffset already; then, and after fail, it calls fn. It reports whether the flusher
// has to hear of it: of the first one that waits, and of the last one that it expects.
func (w *flushWaiters) add(physOffset int64, flushed func() int64, fn func(error)) bool {
	w.mu.Lock()
	err := w.failed
	if err != nil || flushed() >= physOffset {
		w.mu.Unlock()
		if flushed() >= physOffset {
			err = nil
		}
		fn(err)
		return false
	}
	w.list = append(w.list, flushWaiter{physOffset, time.Now().Add(w.timeout), fn})
	if w.timer == nil {
		w.timer = time.AfterFunc(w.timeout, w.expire)
	}
	n := len(w.list)
	ring := n == 1 || n == w.want
	w.mu.Unlock()
	return ring
}

// missing returns how many of those that are expected are not there yet.
func (w *flushWaiters) missing() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want - len(w.list)
}

// count is how many wait.
func (w *flushWaiters) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.list)
}

// passed answers those whose offset is flushed. They and those who wait already are what the next flush may expect, but for
// an eighth: a few stragglers hold up nobody. One goroutine at a time calls it.
func (w *flushWaiters) passed(flushed int64) {
	w.mu.Lock()
	list, keep := w.list, w.spare[:0]
	done := 0
	for _, x := range list {
		if x.physOffset <= flushed {
			list[done] = x
			done++
		} else {
			keep = append(keep, x)
		}
	}
	w.want = (done + len(keep)) * 7 / 8
	w.list, w.spare = keep, nil
	w.stopTimerLocked()
	w.mu.Unlock()

	for i, x := range list[:done] {
		list[i] = flushWaiter{}
		x.fn(nil)
	}
	clear(list)
	w.mu.Lock()
	w.spare = list[:0]
	w.mu.Unlock()
}

func (w *flushWaiters) stopTimerLocked() {
	if len(w.list) == 0 && w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// expire answers those whose time is over. They stand in the order of their deadlines.
func (w *flushWaiters) expire() {
	w.mu.Lock()
	now := time.Now()
	n := 0
	for n < len(w.list) && !w.list[n].deadline.After(now) {
		n++
	}
	late := append([]flushWaiter(nil), w.list[:n]...)
	w.list = append(w.list[:0], w.list[n:]...)
	w.timer = nil
	if len(w.list) > 0 {
		w.timer = time.AfterFunc(w.list[0].deadline.Sub(now), w.expire)
	}
	w.mu.Unlock()
	for _, x := range late {
		x.fn(ErrFlushTimeout)
	}
}

// fail answers everybody, now and later, with err.
func (w *flushWaiters) fail(err error) {
	w.mu.Lock()
	list := w.list
	w.list, w.failed = nil, err
	w.stopTimerLocked()
	w.mu.Unlock()
	for _, x := range list {
		x.fn(err)
	}
}
