package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// errStopped says that a compaction was given up because the store closes or the topic is deleted.
var errStopped = errors.New("compaction was stopped")

// runCompaction compacts every log once an interval, one after the other, until stop is closed.
func (cs *compactions) runCompaction(stop <-chan struct{}) {
	tick := time.NewTicker(cs.opts.CompactionInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		cs.compactAll(stop)
	}
}

// compactAll compacts every log that has new files.
func (cs *compactions) compactAll(stop <-chan struct{}) {
	var list []*compactionLog
	cs.each(func(c *compactionLog) { list = append(list, c) })
	for _, c := range list {
		err := c.compact(stop)
		switch {
		case errors.Is(err, errStopped):
		case err != nil:
			cs.opts.Logger.Error("compaction failed, it is tried again", "topic", c.q.topic, "queue", c.q.id, "err", err)
		}
	}
}

// compactionRun is one compaction: it leaves the newest record of each key in the files before the last one, and none
// without a body. Apache: CompactionLog.doCompaction.
type compactionRun struct {
	c     *compactionLog
	stop  <-chan struct{}
	files []*compactionFile // to be compacted; copies, mapped on their own
	whole []*compactionFile // those of c, for comparison
	keys  *keyOffsets
	from  int64 // what was put into keys lies behind this offset
	kept  compactionRow
	drops int
}

// compact makes the files before the last one anew when one of them came since the last time. Only one goroutine calls
// it, and no other one changes files before the last, but when they are damaged.
func (c *compactionLog) compact(stop <-chan struct{}) error {
	temp := filepath.Join(c.all.tempRoot(), c.q.topic, strconv.Itoa(int(c.q.id)))
	r := compactionRun{c: c, stop: stop, from: c.all.positions.get(c.q.topic, c.q.id)}
	if !r.choose() {
		return nil
	}
	defer func() {
		for _, f := range r.files {
			f.unmap()
		}
	}()
	if err := r.collect(); err != nil {
		return err
	}
	if r.keys.last < 0 {
		return nil
	}
	if err := r.scan(func(m *codec.Message, _ []byte) error {
		if !r.keeps(m) {
			r.drops++
		}
		return nil
	}); err != nil {
		return err
	}
	if r.drops == 0 {
		if r.stopped() {
			return errStopped
		}
		return c.all.positions.set(c.q.topic, c.q.id, r.keys.last)
	}
	if err := removeTemp(temp); err != nil {
		return err
	}
	r.kept = compactionRow{logDir: filepath.Join(temp, "log"), queueDir: filepath.Join(temp, "queue"),
		logBytes: r.files[0].logBytes, queueBytes: r.files[0].queueBytes, faults: c.row.faults}
	err := r.write()
	if err == nil {
		err = r.swap(temp)
	}
	for _, f := range r.kept.files {
		f.unmap()
	}
	if err != nil && !errors.Is(err, errSwapping) { // a swap that has begun is finished by the next start
		err = errors.Join(err, removeTemp(temp))
	}
	return err
}

// removeTemp removes what lies in temp, and the topic's folder with its last queue.
func removeTemp(temp string) error {
	if err := os.RemoveAll(temp); err != nil {
		return wrapFileError(OpRemove, temp, err)
	}
	_ = os.Remove(filepath.Dir(temp)) // fails while there is more in it
	return nil
}

// choose takes the files before the last one with records; false when none of them is new.
func (r *compactionRun) choose() bool {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.row.files)
	for n > 0 && c.row.files[n-1].entries == 0 {
		n--
	}
	// A record that a power cut may take from the commit log must not replace another one.
	for n >= 2 && !c.flushedLocked(c.row.files[n-2].last) {
		n--
	}
	if n < 2 || c.gone || c.failed != nil || c.row.files[n-2].last <= r.from {
		return false
	}
	for _, f := range c.row.files[:n-1] {
		if f.logBytes != c.row.files[0].logBytes || f.queueBytes != c.row.files[0].queueBytes {
			c.all.opts.Logger.Warn("compaction log has files of several sizes, it stays as it is", "dir", c.row.logDir)
			return false
		}
		if f.entries > 0 {
			r.files = append(r.files, &compactionFile{base: f.base, logBytes: f.logBytes, queueBytes: f.queueBytes,
				end: f.end, entries: f.entries, first: f.first, last: f.last, checked: true})
		}
		r.whole = append(r.whole, f)
	}
	return true
}

// flushedLocked reports whether the record at queueOffset is on disk in the commit log, or deleted from it.
func (c *compactionLog) flushedLocked(queueOffset int64) bool {
	e, ok := c.q.entry(queueOffset)
	return !ok || e.physOffset+int64(e.size) <= c.all.log.flushed.Load()
}

// collect notes the newest offset of each key in the new files. When there is no room for all keys, records behind the
// last one noted stay as they are until the next time.
func (r *compactionRun) collect() error {
	records := 0
	for _, f := range r.files {
		if f.last > r.from {
			records += f.entries
		}
	}
	r.keys = newKeyOffsets(records, r.c.all.opts.CompactionKeyBytes)
	err := r.scan(func(m *codec.Message, _ []byte) error {
		if keys, ok := codec.Property(m.Properties, codec.PropKeys); ok && m.QueueOffset > r.from && !r.keys.put(keys, m.QueueOffset) {
			return errKeysFull
		}
		return nil
	})
	if errors.Is(err, errKeysFull) {
		r.c.all.opts.Logger.Warn("not all keys fit into maxOffsetMapSize, the rest is compacted next time",
			"topic", r.c.q.topic, "queue", r.c.q.id, "upTo", r.keys.last)
		return nil
	}
	return err
}

var errKeysFull = errors.New("no room for more keys")

// keeps reports whether a record stays. Apache: CompactionLog.shouldRetainMsg.
func (r *compactionRun) keeps(m *codec.Message) bool {
	if m.QueueOffset > r.keys.last {
		return true
	}
	keys, _ := codec.Property(m.Properties, codec.PropKeys)
	return len(m.Body) > 0 && m.QueueOffset >= r.keys.get(keys)
}

// scan calls fn with every whole record of the files. A damaged one is named and left out.
func (r *compactionRun) scan(fn func(m *codec.Message, rec []byte) error) error {
	var m codec.Message
	for _, f := range r.files {
		if err := f.open(r.c.row.logDir, r.c.row.queueDir, r.c.row.faults); err != nil {
			return err
		}
		for i := range f.entries {
			if i%1024 == 0 && r.stopped() {
				return errStopped
			}
			e := f.entry(i)
			rec := e.record(f.log)
			err := ErrCorrupt
			if rec != nil {
				_, err = readRecord(f.log, e.physOffset-f.base, f.log.size, true, &m)
			}
			if err != nil {
				r.c.all.opts.Logger.Error("compaction leaves out a damaged record", "path", f.log.path, "pos", e.physOffset-f.base,
					"offset", e.queueOffset, "err", err)
				continue
			}
			if err := fn(&m, rec); err != nil {
				return err
			}
		}
		f.unmap()
	}
	return nil
}

func (r *compactionRun) stopped() bool {
	select {
	case <-r.stop:
		return true
	default:
		return r.c.isGone()
	}
}

// write puts what stays into new files and has them on disk.
func (r *compactionRun) write() error {
	err := r.scan(func(m *codec.Message, rec []byte) error {
		if !r.keeps(m) {
			return nil
		}
		tags, ok := codec.Property(m.Properties, codec.PropTags)
		e := batchEntry{size: m.TotalSizeBytes, storeMs: m.StoreTimestampMs, queueOffset: m.QueueOffset, count: 1, compacted: notCompacted}
		if ok {
			e.tagsCode = codec.TagsCode(tags)
		}
		before := len(r.kept.files)
		if err := r.kept.append(rec, e); err != nil {
			return err
		}
		if before > 0 && len(r.kept.files) > before {
			return r.settle(before - 1)
		}
		return nil
	})
	if n := len(r.kept.files); err == nil && n > 0 {
		err = r.settle(n - 1)
	}
	return err
}

// settle flushes a new file that gets no more records, and unmaps it.
func (r *compactionRun) settle(i int) error {
	f := r.kept.files[i]
	x := f.takeDirty()
	err := x.run(&r.kept)
	f.unmap()
	f.checked = true
	return err
}

// swapPlan is apogee/compacting/<topic>/<queueId>/swap.json: the files beside it take the place of those that begin before
// Before. Once it is on disk the new files count, and a start after a crash puts them where they belong.
type swapPlan struct {
	Files    []int64 `json:"files"`
	Before   int64   `json:"before"`
	Position int64   `json:"position"`
}

const swapPlanName = "swap.json"

func readSwapPlan(path string) (plan swapPlan, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return plan, wrapFileError(OpRead, path, err)
	}
	if err := unseal(text, &plan); err != nil {
		return swapPlan{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return plan, nil
}

func (p *swapPlan) write(path string, faults faultFunc) error {
	text, err := sealed(p)
	if err != nil {
		return err
	}
	return writeWhole(path, text, faults)
}

// errSwapping says that a swap has begun and could not be finished.
var errSwapping = errors.New("compacted files are not in their place yet, the next start puts them there")

// swap puts the new files in the place of the old ones. Whoever reads an old one goes on with it.
func (r *compactionRun) swap(temp string) error {
	c := r.c
	plan := swapPlan{Before: r.whole[len(r.whole)-1].base + 1, Position: r.keys.last, Files: []int64{}}
	for _, f := range r.kept.files {
		if f.base >= plan.Before {
			return fmt.Errorf("%w: compaction made more files of %s than there were", ErrCorrupt, c.row.logDir)
		}
		plan.Files = append(plan.Files, f.base)
	}
	if err := plan.write(filepath.Join(temp, swapPlanName), c.row.faults); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(r.whole)
	if c.gone || len(c.row.files) <= n || !slices.Equal(c.row.files[:n], r.whole) {
		return errStopped // deleted, or cut because it is damaged
	}
	if err := plan.carryOut(temp, c.row.logDir, c.row.queueDir, c.row.faults); err != nil {
		c.failed = fmt.Errorf("%w: %w", errSwapping, err)
		return c.failed
	}
	for _, f := range r.whole {
		f.unmap()
	}
	c.row.files = append(slices.Clone(r.kept.files), c.row.files[n:]...)
	r.kept.files = nil
	c.all.opts.Logger.Info("compacted", "topic", c.q.topic, "queue", c.q.id, "dropped", r.drops, "files", n, "left", len(plan.Files))
	return errors.Join(c.all.positions.set(c.q.topic, c.q.id, plan.Position), removeTemp(temp))
}

// carryOut moves the files. It may have been cut off before, at any point.
func (p *swapPlan) carryOut(temp, logDir, queueDir string, faults faultFunc) error {
	for _, to := range []struct{ from, dir string }{{filepath.Join(temp, "log"), logDir}, {filepath.Join(temp, "queue"), queueDir}} {
		for _, base := range p.Files {
			src, dst := filepath.Join(to.from, segmentName(base)), filepath.Join(to.dir, segmentName(base))
			if err := faults.check(OpRename, dst); err != nil {
				return err
			}
			if err := os.Rename(src, dst); err != nil && !errors.Is(err, os.ErrNotExist) {
				return wrapFileError(OpRename, dst, err)
			}
		}
		old, err := segmentSizes(to.dir)
		if err != nil {
			return err
		}
		for base := range old {
			if base >= p.Before || slices.Contains(p.Files, base) {
				continue
			}
			path := filepath.Join(to.dir, segmentName(base))
			if err := faults.check(OpRemove, path); err != nil {
				return err
			}
			if err := os.Remove(path); err != nil {
				return wrapFileError(OpRemove, path, err)
			}
		}
		if err := faults.check(OpFlush, to.dir); err != nil {
			return err
		}
		if err := syncDir(to.dir); err != nil {
			return err
		}
	}
	return nil
}

// finishSwaps carries out the swaps that a stop cut off, and removes what other compactions left.
func (cs *compactions) finishSwaps() error {
	plans, err := fs.Glob(os.DirFS(cs.tempRoot()), "*/*/"+swapPlanName)
	if err != nil {
		return err
	}
	for _, name := range plans {
		path := filepath.Join(cs.tempRoot(), name)
		temp := filepath.Dir(path)
		topic, id := filepath.Base(filepath.Dir(temp)), filepath.Base(temp)
		logDir, queueDir := filepath.Join(cs.logRoot(), topic, id), filepath.Join(cs.queueRoot(), topic, id)
		plan, err := readSwapPlan(path)
		if err != nil {
			return err
		}
		if !hasEntries(logDir) { // the topic was deleted
			continue
		}
		if err := plan.carryOut(temp, logDir, queueDir, cs.opts.Faults); err != nil {
			return err
		}
		queueID, err := strconv.ParseInt(id, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: %s is not in a queue's folder", ErrCorrupt, path)
		}
		if err := cs.positions.set(topic, int32(queueID), plan.Position); err != nil {
			return err
		}
		cs.opts.Logger.Info("compaction that was cut off is finished", "topic", topic, "queue", id)
	}
	if err := os.RemoveAll(cs.tempRoot()); err != nil {
		return wrapFileError(OpRemove, cs.tempRoot(), err)
	}
	return nil
}
