package store

import (
	"errors"
	"os"
	"time"
)

// queueLister writes the queue list while the store runs, so that a start after a kill begins near the end of the log and
// need not look for the ends of all queues. It belongs to the goroutine that flushes queues, and to Close after it.
type queueLister struct {
	stamp int64 // see queueList

	end    int64      // of the last list
	next   time.Time  // none before
	taken  *queueList // on its way: its queues are flushed, but not yet the log
	needed int64      // physical offset up to which the log has to be flushed for it
	failed bool       // a list could not be written, and that was said
}

const (
	// manyGrown is how many files may get entries between two lists.
	manyGrown = 4096
	// listPerDirty is how much later a list is due for each file that has to be flushed for it, and listDirtyWait how much at most. A flush of
	// thousands of files slows appends down for a second or more.
	listPerDirty  = 3 * time.Millisecond
	listDirtyWait = 50 * time.Second
)

// due reports whether it is time for a list: what a start after a kill would have to read again is much by now.
func (x *queueLister) due(s *Store) bool {
	if x.taken != nil || s.opts.QueueListBytes == 0 || s.closed.Load() { // Close writes one of its own
		return false
	}
	grown := s.dispatcher.done.Load() - x.end
	if grown < s.opts.QueueListBytes && (grown == 0 || s.queues.grown.Load() < manyGrown) {
		return false
	}
	return !s.opts.Now().Before(x.next.Add(min(time.Duration(s.queues.countDirty())*listPerDirty, listDirtyWait)))
}

// take lists the queues as they are now; all that it lists has to be flushed then.
func (x *queueLister) take(s *Store) {
	began := time.Now()
	s.queues.grown.Store(0)
	list := s.listQueues()
	if list.Files == nil {
		x.end = list.End
		return
	}
	x.taken, x.needed = &list, s.dispatcher.done.Load()
	x.wait(s, time.Since(began))
}

// wait leaves the store at least 99 % of the time without lists.
func (x *queueLister) wait(s *Store, took time.Duration) {
	if s.opts.QueueListInterval == 0 {
		return
	}
	x.next = s.opts.Now().Add(max(s.opts.QueueListInterval, 100*took))
}

// write writes the list once the log is flushed up to what it lists.
func (x *queueLister) write(s *Store) {
	if x.taken == nil || s.log.flushed.Load() < x.needed {
		return
	}
	began := time.Now()
	list := x.taken
	x.taken, x.end = nil, list.End
	err := list.write(s.opts.Dir, s.opts.Faults)
	if err != nil && !x.failed { // the one before still counts
		s.opts.Logger.Warn("list of queues not written, a start after a kill would take longer", "err", err)
	}
	x.failed = err != nil
	x.wait(s, time.Since(began))
}

// begin ties the list to this opening of the store: the one that was read, if recovery found it true, else the next.
func (x *queueLister) begin(s *Store, r *recovery, listed bool) error {
	x.stamp = r.list.Stamp
	if !listed || x.stamp == 0 || r.list.End > r.end {
		x.stamp = time.Now().UnixMicro() * 1000
	} else {
		x.end = r.list.End
	}
	at := time.Unix(0, x.stamp)
	if err := os.Chtimes(abortPath(s.opts.Dir), at, at); err != nil {
		return wrapFileError(OpWrite, abortPath(s.opts.Dir), err)
	}
	return writeOpened(s.opts.Dir, x.stamp)
}

// abortStamp returns the time of last change of the abort file in ns; 0 when there is none: the last stop was clean.
func abortStamp(dir string) (int64, error) {
	info, err := os.Stat(abortPath(dir))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, wrapFileError(OpRead, abortPath(dir), err)
	}
	return info.ModTime().UnixNano(), nil
}
