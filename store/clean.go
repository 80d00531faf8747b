package store

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// probePeriod is how often the disks are measured.
	probePeriod = time.Second
	// firstRound is how long after the start nothing is deleted but what a full disk demands: clients come back meanwhile.
	// Apache: DefaultMessageStore.addScheduleTask.
	firstRound = time.Minute
	// manualRounds is for how many rounds CleanSoon holds. Apache: CleanCommitLogService.MAX_MANUAL_DELETE_FILE_TIMES.
	manualRounds = 20
)

// cleaner deletes the oldest segments of the log, and then what of queues and index only led to them. It measures the disks
// and refuses puts while one is full. Apache: CleanCommitLogService, CleanConsumeQueueService.
type cleaner struct {
	s     *Store
	rules atomic.Pointer[Retention]
	full  atomic.Bool // a disk is above its warning watermark: puts are refused

	logRatio, queueRatio atomic.Uint64 // float64 bits, as last measured
	manual               atomic.Int32  // rounds that delete what has expired at any hour
	counts               cleanCounts

	mu       sync.Mutex // one round at a time; guards what follows
	trimmed  int64      // where the log began when queues and index were last trimmed
	hopeless bool       // a disk is filling, nothing could be deleted, and that was said
	blind    bool       // a disk could not be measured, and that was said
	risk     risk
}

// pressure is what the disks demand.
type pressure struct {
	any    bool // expired segments go at any hour
	forced bool // segments go before they expire
}

func newCleaner(s *Store) *cleaner {
	c := &cleaner{s: s, trimmed: -1}
	c.setRules(s.opts.Retention)
	return c
}

func (c *cleaner) setRules(r Retention) {
	r = r.within()
	c.rules.Store(&r)
}

// SetRetention replaces the rules by which Retain deletes.
func (s *Store) SetRetention(r Retention) { s.cleaner.setRules(r) }

// DeletesAt reports whether now is in one of the hours at which expired messages are deleted.
func (s *Store) DeletesAt(now time.Time) bool { return s.cleaner.rules.Load().timeUp(now) }

// CleanSoon makes the next rounds of Retain delete what has expired without waiting for its hour. Apache:
// DefaultMessageStore.executeDeleteFilesManually.
func (s *Store) CleanSoon() { s.cleaner.manual.Store(manualRounds) }

// Retain measures the disks every second and deletes what may go: every interval, and more often while a disk is about to
// be full. It returns when ctx ends. Apache: DefaultMessageStore.cleanFilesPeriodically.
func (s *Store) Retain(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(probePeriod)
	defer ticker.Stop()
	next := s.opts.Now().Add(firstRound)
	for started := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := s.opts.Now()
		due := !now.Before(next) || now.Add(max(interval, firstRound)).Before(next) // the clock was set back
		if err := s.cleaner.tick(ctx, due, started || due); err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("deletion of old messages has failed and will be tried again", "err", err)
		}
		if due {
			next, started = now.Add(interval), true
		}
	}
}

// tick measures, and does a round when one is due or a disk needs it before. Until started only a full disk is a reason.
func (c *cleaner) tick(ctx context.Context, due, started bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	rules := c.rules.Load()
	p := c.measure(rules)
	switch {
	case due:
		return c.round(ctx, rules, p, rules.BatchMax)
	case p.forced && c.full.Load():
		return c.round(ctx, rules, p, rules.BatchMax)
	case p.forced && rules.CleanForcibly: // at Java's pace, but evenly: ten files in ten seconds
		return c.round(ctx, rules, p, max(rules.BatchMax/10, 1))
	case started && c.tooLong(rules):
		return c.round(ctx, rules, p, rules.BatchMax)
	}
	return nil
}

// measure asks how full the disks are and turns the refusal of puts on and off. Apache: CleanCommitLogService.isSpaceToDelete.
func (c *cleaner) measure(r *Retention) pressure {
	logRatio, queueRatio := c.ratios(r)
	c.logRatio.Store(math.Float64bits(logRatio))
	c.queueRatio.Store(math.Float64bits(queueRatio))
	switch {
	case logRatio > r.WarningRatio:
		c.setFull(true, "commit log", logRatio)
		return pressure{any: true, forced: true}
	case logRatio > r.ForciblyRatio: // what was full stays so
		return pressure{any: true, forced: true}
	case queueRatio > r.WarningRatio:
		c.setFull(true, "consume queue", queueRatio)
		return pressure{any: true, forced: true}
	}
	c.setFull(false, "commit log", logRatio)
	return pressure{
		any:    logRatio < 0 || logRatio > r.MaxUsedRatio || queueRatio < 0 || queueRatio > r.MaxUsedRatio,
		forced: queueRatio > r.ForciblyRatio,
	}
}

// ratios measures the disk of the log, the emptiest where it has several, and the one of the queues. -1 is unknown. A
// directory that is nearly full gets no new segments while there are others.
func (c *cleaner) ratios(r *Retention) (logRatio, queueRatio float64) {
	s := c.s
	logRatio = 1
	var full []string
	var failed error
	for _, dir := range s.log.dirs.all() {
		ratio, err := s.usedRatio(dir)
		failed = errors.Join(failed, err)
		logRatio = min(logRatio, ratio)
		if ratio > r.ForciblyRatio {
			full = append(full, dir)
		}
	}
	s.log.dirs.setFull(full)
	queueDir := s.queues.rootOf(simpleKind{})
	if _, err := os.Stat(queueDir); errors.Is(err, os.ErrNotExist) { // it comes with the first message
		queueDir = s.opts.Dir
	}
	queueRatio, err := s.usedRatio(queueDir)
	if failed = errors.Join(failed, err); failed != nil && !c.blind {
		s.opts.Logger.Error("disk cannot be measured, expired messages are deleted at any hour", "err", failed)
	}
	c.blind = failed != nil
	return logRatio, queueRatio
}

func (s *Store) usedRatio(path string) (float64, error) {
	disk, err := s.opts.DiskUsage(path)
	if err != nil {
		return -1, err
	}
	return disk.UsedRatio(), nil
}

func (c *cleaner) setFull(full bool, what string, ratio float64) {
	switch {
	case c.full.Swap(full) == full:
	case full:
		c.s.opts.Logger.Error("disk is full, messages are refused", "disk", what, "used", ratio)
	default:
		c.s.opts.Logger.Info("disk has room again, messages are taken", "disk", what, "used", ratio)
	}
}

// tooLong reports whether the log is longer than the rules allow and has a segment that can go.
func (c *cleaner) tooLong(r *Retention) bool {
	list := c.s.log.all()
	return r.MaxLogBytes > 0 && len(list) > 1 && list[len(list)-1].end()-list[0].base > r.MaxLogBytes
}

// round deletes up to most segments, and what led to them.
func (c *cleaner) round(ctx context.Context, r *Retention, p pressure, most int) error {
	now := c.s.opts.Now()
	anyHour := r.timeUp(now)
	if n := c.manual.Load(); n > 0 && c.manual.CompareAndSwap(n, n-1) {
		anyHour = true
	}
	c.lookAhead(r, now)
	deleted := 0
	for deleted < most && ctx.Err() == nil {
		head, safe := c.head()
		if !safe {
			break
		}
		forced := p.forced && r.CleanForcibly
		due := c.tooLong(r) || (anyHour || p.any) && head.expired(r.ReservedTime, now)
		if !due && !forced || r.KeepUnread && !p.forced && c.holdsUnread(head) {
			break
		}
		if !forced && head.end() > c.s.compact.needs() {
			break
		}
		if deleted > 0 && !c.pause(ctx, r.Pause) {
			break
		}
		if err := c.deleteHead(head, !due); err != nil {
			return err
		}
		deleted++
		if p.any { // no more than it takes
			p = c.measure(r)
		}
	}
	c.tellHopeless(p.any && deleted == 0)
	return c.trim(ctx)
}

// head is the oldest segment, and whether it can go.
func (c *cleaner) head() (head *segment, safe bool) {
	list := c.s.log.all()
	if len(list) < 2 {
		return nil, false
	}
	if !c.s.deletable(list, 0) {
		c.s.flusher.pokeAll() // the next round finds it flushed
		return nil, false
	}
	return list[0], true
}

// deletable reports whether segment i of the log may go: not the last one, and all its records flushed, visible, and with queue
// entries that are on disk. Without those a power cut would make queues shorter than they were.
func (s *Store) deletable(list []*segment, i int) bool {
	if i >= len(list)-1 || list[i].end() > min(s.Dispatched(), s.Flushed()) {
		return false
	}
	var m codec.Message
	next, newestMs := list[i+1], s.log.lastMs.Load()
	if limit := min(s.Written()-next.base, next.size); limit > 0 {
		if _, err := readRecord(next, 0, limit, false, &m); err == nil {
			newestMs = m.StoreTimestampMs
		}
	}
	return newestMs <= s.flusher.queuesMs.Load()
}

// expired reports whether the file was last modified longer ago than reserved.
func (s *segment) expired(reserved time.Duration, now time.Time) bool {
	info, err := os.Stat(s.path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist) // somebody else has deleted it
	}
	return !info.ModTime().Add(reserved).After(now)
}

// deleteHead deletes the oldest segment and tells what of it was not consumed.
func (c *cleaner) deleteHead(head *segment, forced bool) error {
	s := c.s
	c.tellUnread(head)
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	n, err := s.deleteHead(1)
	if n > 0 {
		c.counts.logFiles.Add(1)
		c.counts.logBytes.Add(head.size)
		logRatio, _ := c.measured()
		s.opts.Logger.Info("commit log segment deleted", "path", head.path, "forced", forced, "used", logRatio)
	}
	return err
}

// deleteHead removes up to n segments from the beginning of the log and returns how many it removed: only those that are
// deletable. Readers keep what they hold; queues find their new first offset when they are next asked (queue.minOffset). Apache:
// CommitLog.deleteExpiredFile.
func (s *Store) deleteHead(n int) (int, error) {
	list := s.log.all()
	may := 0
	for may < n && s.deletable(list, may) {
		may++
	}
	return s.log.deleteHead(may)
}

// pause keeps the disk free for others between two deletions; false when ctx has ended.
func (c *cleaner) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (c *cleaner) tellHopeless(hopeless bool) {
	if hopeless && !c.hopeless {
		logRatio, queueRatio := c.measured()
		c.s.opts.Logger.Warn("disk is filling and there is nothing that may be deleted", "logRatio", logRatio, "queueRatio", queueRatio)
	}
	c.hopeless = hopeless
}

// trim deletes queue files, index files and deletion marks that only lead to what the log has no more, once for each
// beginning of the log. Apache: ConsumeQueueStore.CleanConsumeQueueService.
func (c *cleaner) trim(ctx context.Context) error {
	s := c.s
	first := s.log.minPhys()
	if first == c.trimmed {
		return nil
	}
	var errs []error
	ext := s.hasExt()
	s.queues.each("", func(q *queue) {
		if ctx.Err() != nil {
			return
		}
		files, bytes, err := q.trim(first)
		if ext {
			err = errors.Join(err, q.trimExt(first))
		}
		c.counts.queueFiles.Add(int64(files))
		c.counts.queueBytes.Add(bytes)
		if err != nil && len(errs) < 10 {
			errs = append(errs, err)
		}
	})
	if x := s.index.index; x != nil {
		n, err := x.DeleteBelow(first)
		c.counts.indexFiles.Add(int64(n))
		errs = append(errs, err)
	}
	errs = append(errs, s.deleted.forget(first))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if ctx.Err() == nil {
		c.trimmed = first
	}
	return nil
}

// trim deletes files of the queue whose records all lie before logMin, never the last file. Apache:
// MappedFileQueue.deleteExpiredFileByOffset.
func (q *queue) trim(logMin int64) (files int, bytes int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.files) > 1 && !q.gone && !q.files[1].fresh { // a queue that lost all its files would begin again at 0
		f := q.files[0]
		if files > 0 { // a stop must leave no gap
			if err := syncDir(q.dir()); err != nil {
				return files, bytes, err
			}
		}
		last, err := q.entryAtLocked(f.base + f.size - q.kind.entryBytes())
		if err != nil {
			return files, bytes, err
		}
		if last.physOffset >= logMin {
			break
		}
		path := filepath.Join(q.dir(), segmentName(f.base))
		if err := q.all.faults.check(OpRemove, path); err != nil {
			return files, bytes, err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return files, bytes, wrapFileError(OpRemove, path, err)
		}
		q.dropLocked(f)
		q.files = append([]*queueFile(nil), q.files[1:]...)
		files++
		bytes += f.size
	}
	return files, bytes, nil
}
