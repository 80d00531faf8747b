package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// compactions are the compaction logs of a store. Apache: CompactionStore, CompactionService.
type compactions struct {
	opts   *Options
	log    *commitLog
	queues *queues
	// running says that recovery is over: a queue that is made now is new, and so is its compaction log.
	running   bool
	positions compactionPositions
	doubts    compactionDoubts
	wake      chan struct{} // holds one token: behind has got something

	mu     sync.Mutex // guards what follows; taken with a compactionLog locked
	dirty  []*compactionLog
	behind []*compactionLog
	mapped []mappedCompactionFile
}

type mappedCompactionFile struct {
	c *compactionLog
	f *compactionFile
}

// KeepsNewest reports whether the attributes of a topic ask for compaction. Apache: CleanupPolicyUtils.isCompaction.
func KeepsNewest(topic *codec.TopicConfig) bool {
	return len(topic.Attributes) > 0 && topic.Attributes["cleanup.policy"] == "COMPACTION"
}

const (
	// catchUpBatch is how many records are copied while the dispatcher may have to wait for one of them.
	catchUpBatch = 64
	// catchUpRetry is how long a copy waits after files could not grow.
	catchUpRetry = 100 * time.Millisecond
	// lazyCompactionBytes is the dirt below which a compaction log is left for later.
	lazyCompactionBytes = 64 << 10
)

func newCompactions(opts *Options, log *commitLog, queues *queues) *compactions {
	return &compactions{opts: opts, log: log, queues: queues, wake: make(chan struct{}, 1)}
}

func (cs *compactions) root() string      { return filepath.Join(cs.opts.Dir, "compaction") }
func (cs *compactions) logRoot() string   { return filepath.Join(cs.root(), "compactionLog") }
func (cs *compactions) queueRoot() string { return filepath.Join(cs.root(), "compactionCq") }

// tempRoot holds what a compaction has not put in its place yet. Java takes folders of its own below the files, which it
// goes on with after a stop; so ours is elsewhere.
func (cs *compactions) tempRoot() string { return filepath.Join(cs.opts.Dir, ownDir, "compacting") }

// on reports whether a topic's queues have compaction logs.
func (cs *compactions) on(topic string) bool {
	return cs.opts.CompactionTopic != nil && cs.opts.CompactionTopic(topic)
}

// forNewQueue returns the compaction log of a queue that is being made, nil for most.
func (cs *compactions) forNewQueue(q *queue) *compactionLog {
	if !cs.on(q.topic) {
		return nil
	}
	c := newCompactionLog(cs, q)
	if cs.running {
		c.clearOld()
	}
	return c
}

// clearOld removes files that another topic of the same name has left, as Java's do when a topic is deleted.
func (c *compactionLog) clearOld() {
	for _, dir := range []string{c.row.logDir, c.row.queueDir} {
		if !hasEntries(dir) {
			continue
		}
		c.all.opts.Logger.Warn("compaction log of a deleted topic is removed", "dir", dir)
		if err := os.RemoveAll(dir); err != nil {
			c.all.opts.Logger.Error("compaction log of a deleted topic stays", "dir", dir, "err", err)
		}
	}
}

// each calls fn for all compaction logs.
func (cs *compactions) each(fn func(c *compactionLog)) {
	if cs.opts.CompactionTopic == nil {
		return
	}
	cs.queues.each("", func(q *queue) {
		if c := q.compaction; c != nil {
			fn(c)
		}
	})
}

// callIn has run copy what a log lacks. Called with the log locked.
func (cs *compactions) callIn(c *compactionLog) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.behind = append(cs.behind, c)
	select {
	case cs.wake <- struct{}{}:
	default:
	}
}

// catchUp copies what logs lack until stop is closed.
func (cs *compactions) catchUp(stop <-chan struct{}) {
	var retry <-chan time.Time
	for {
		select {
		case <-stop:
			return
		case <-cs.wake:
		case <-retry:
		}
		retry = nil
		cs.mu.Lock()
		list := slices.Clone(cs.behind)
		cs.mu.Unlock()
		for _, c := range list {
			if err := c.catchUp(stop); err != nil {
				cs.opts.Logger.Error("compaction log cannot grow", "topic", c.q.topic, "queue", c.q.id, "err", err)
				retry = time.After(catchUpRetry)
				continue
			}
			cs.mu.Lock()
			if i := slices.Index(cs.behind, c); i >= 0 {
				cs.behind = slices.Delete(cs.behind, i, i+1)
			}
			cs.mu.Unlock()
		}
	}
}

// catchUp copies what the log lacks and tells those who wait for it.
func (c *compactionLog) catchUp(stop <-chan struct{}) error {
	c.mu.Lock()
	first := c.next
	c.mu.Unlock()
	defer func() {
		least, most := c.bounds()
		if fn := c.all.opts.OnArrival; fn != nil && most > first && least >= 0 {
			fn([]Arrival{{Topic: c.q.topic, QueueID: c.q.id, FirstQueueOffset: first, QueueOffset: most - 1}})
		}
	}()
	for {
		done, err := c.copySome(catchUpBatch)
		if done || err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// needs returns the first physical offset that a log has still to copy from, maxPhys when none has. Retention stays
// behind it unless a disk is full.
func (cs *compactions) needs() int64 {
	needs := maxPhys
	cs.mu.Lock()
	list := slices.Clone(cs.behind)
	cs.mu.Unlock()
	for _, c := range list {
		c.mu.Lock()
		next := c.next
		c.mu.Unlock()
		if e, ok := c.q.entry(max(next, c.q.minOffset(cs.log.minPhys()))); ok {
			needs = min(needs, e.physOffset)
		}
	}
	return needs
}

// keepMapped takes a file that was mapped and unmaps the one that was mapped first when there are too many. Called with
// c locked; f stays mapped, and the last file of c.
func (cs *compactions) keepMapped(c *compactionLog, f *compactionFile) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	limit := max(cs.opts.MaxMappedQueues/2, 16)
	for tries := len(cs.mapped); len(cs.mapped) >= limit && tries > 0; tries-- {
		old := cs.mapped[0]
		cs.mapped = cs.mapped[1:]
		if !old.drop(c) {
			cs.mapped = append(cs.mapped, old)
		}
	}
	cs.mapped = append(cs.mapped, mappedCompactionFile{c, f})
}

// drop unmaps the file unless it is in use or has bytes to flush. It only tries for the lock, since whoever holds it may
// be waiting for the caller's.
func (x mappedCompactionFile) drop(locked *compactionLog) bool {
	if x.c != locked {
		if !x.c.mu.TryLock() {
			return false
		}
		defer x.c.mu.Unlock()
	}
	files := x.c.row.files
	if x.f.dirtyLog.size() > 0 || x.f.dirtyQueue.size() > 0 || x.c == locked && len(files) > 0 && files[len(files)-1] == x.f {
		return false
	}
	x.f.unmap()
	return true
}

func (cs *compactions) addDirty(c *compactionLog) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.dirty = append(cs.dirty, c)
}

// flush writes to disk what is dirty: all, or of logs with much or old dirt. It returns the store time in ms of the oldest
// record that is still not flushed, and notDirty when there is none. One goroutine at a time calls it.
func (cs *compactions) flush(all bool, nowMs int64) (oldestMs int64, err error) {
	cs.mu.Lock()
	list := cs.dirty
	cs.dirty = nil
	cs.mu.Unlock()
	oldestMs = notDirty
	var errs []error
	for _, c := range list {
		c.mu.Lock()
		n, since := c.dirtLocked()
		if c.gone || n > 0 && !all && n < lazyCompactionBytes && nowMs-since < lazyFlushMs {
			if !c.gone {
				oldestMs = min(oldestMs, since)
				cs.addDirty(c)
			}
			c.mu.Unlock()
			continue
		}
		c.listed = false
		whole := !c.behind // else more is being copied
		taken, err := c.takeDirtyLocked()
		c.mu.Unlock()
		errs = append(errs, err)
		failed := err != nil
		for i := range taken {
			if err := taken[i].run(&c.row); err != nil && !c.isGone() {
				errs, failed = append(errs, err), true
			}
		}
		if whole && !failed {
			c.vouch()
		}
	}
	if err := cs.doubts.save(); err != nil && !errors.Is(err, ErrNoSpace) { // an old file only makes the next start read more
		errs = append(errs, err)
	}
	return oldestMs, errors.Join(errs...)
}

func (c *compactionLog) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// close unmaps everything.
func (cs *compactions) close() {
	cs.each(func(c *compactionLog) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dropLocked()
		c.gone = true
	})
}

// detach takes the logs of some queues out of use and moves a topic's folders to names
// that begin with trash. The queues are in no table any
// more.
func (cs *compactions) detach(topic string, list []*queue, trash string) error {
	if cs.opts.CompactionTopic == nil {
		return nil
	}
	for _, q := range list {
		if c := q.compaction; c != nil {
			c.mu.Lock()
			c.dropLocked()
			c.gone = true
			cs.doubts.drop(topic, q.id)
			c.mu.Unlock()
		}
	}
	for i, root := range []string{cs.logRoot(), cs.queueRoot()} {
		dir := filepath.Join(root, topic)
		if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := faultFunc(cs.opts.Faults).check(OpRemove, dir); err != nil {
			return err
		}
		if err := os.Rename(dir, trash+[]string{".compactionLog", ".compactionCq"}[i]); err != nil {
			return wrapFileError(OpRemove, dir, err)
		}
	}
	return nil
}

// fitCompaction makes the lengths of compaction files such as Java opens: whole entries, and the records a multiple of it,
// five times at least. Apache: CompactionLog.getCompactionLogSize.
func (o *Options) fitCompaction() error {
	if o.CompactionTopic == nil {
		return nil
	}
	switch {
	case o.CompactionQueueBytes < 2*batchEntryBytes || o.CompactionQueueBytes > (1<<31-1)/5:
		return fmt.Errorf("compaction queue file of %d bytes: between %d and %d are possible", o.CompactionQueueBytes, 2*batchEntryBytes, (1<<31-1)/5)
	case o.CompactionLogBytes < 0 || o.CompactionLogBytes > 1<<30:
		return fmt.Errorf("compaction log file of %d bytes: at most %d are possible", o.CompactionLogBytes, 1<<30)
	case o.CompactionInterval <= 0:
		return errors.New("compaction interval must be positive")
	}
	unit := o.CompactionQueueBytes / batchEntryBytes * batchEntryBytes
	n, rest := o.CompactionLogBytes/unit, o.CompactionLogBytes%unit
	switch {
	case n < 5:
		n = 5
	case rest == 0 || rest >= unit/2:
		n++
	}
	o.CompactionQueueBytes, o.CompactionLogBytes = unit, n*unit
	return nil
}
