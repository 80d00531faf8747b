package store

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// open finds the compaction logs on disk and makes them agree with the queues, which are recovered. What they lack is
// copied from the commit log later, by catchUp. Apache: CompactionStore.load.
func (cs *compactions) open(clean bool, check checkpoint) error {
	if cs.opts.CompactionTopic == nil {
		cs.running = true
		return nil
	}
	cs.positions.load(cs.root(), cs.opts)
	if err := cs.doubts.load(cs.opts); err != nil {
		return err
	}
	if err := cs.finishSwaps(); err != nil {
		return err
	}
	if err := cs.find(); err != nil {
		return err
	}
	trustedMs := maxPhys
	if !clean {
		trustedMs = check.trustedMs()
	}
	work := make(chan *compactionLog)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range min(8, 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for c := range work {
				if err := c.load(trustedMs); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	cs.each(func(c *compactionLog) { work <- c })
	close(work)
	wg.Wait()
	cs.running = true
	if failed != nil {
		return failed
	}
	return cs.settleDoubts()
}

// find makes the queues of all folders with compaction logs. Those of other topics are left alone.
func (cs *compactions) find() error {
	for _, root := range []string{cs.logRoot(), cs.queueRoot()} {
		topics, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRead, root, err)
		}
		for _, t := range topics {
			if !t.IsDir() || checkTopic(t.Name()) != nil || !cs.on(t.Name()) {
				continue
			}
			ids, err := os.ReadDir(filepath.Join(root, t.Name()))
			if err != nil {
				return wrapFileError(OpRead, filepath.Join(root, t.Name()), err)
			}
			for _, d := range ids {
				if id, ok := queueIDOf(d); ok {
					cs.queues.findOrCreate(t.Name(), id)
				}
			}
		}
	}
	return nil
}

// load takes over what lies in the folders. Records stored after trustedMs are read; those before were flushed.
func (c *compactionLog) load(trustedMs int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.settleJava(); err != nil {
		return err
	}
	if err := c.listLocked(); err != nil {
		return err
	}
	for i, f := range c.row.files {
		if err := f.open(c.row.logDir, c.row.queueDir, c.row.faults); err != nil {
			return err
		}
		if !f.findEnd() {
			f.checked = true
			if err := c.healLocked(f, 0); err != nil {
				return err
			}
		}
		f.unmap()
		if i >= len(c.row.files)-1 {
			break // healing may have cut the row
		}
	}
	if err := c.verifyTailLocked(trustedMs); err != nil {
		return err
	}
	if err := c.agreeLocked(); err != nil {
		return err
	}
	f, err := c.lastMappedLocked()
	if err == nil && f != nil {
		err = f.cutBehind(trustedMs != maxPhys)
	}
	if err != nil {
		return err
	}
	_, most := c.boundsLocked()
	c.next = most
	c.all.positions.bound(c.q.topic, c.q.id, most)
	if c.next < c.q.max.Load() {
		c.fallBehindLocked()
	}
	return nil
}

// listLocked finds the files. A half without the other one is worth something only when it holds the records.
func (c *compactionLog) listLocked() error {
	logs, err := segmentSizes(c.row.logDir)
	if err != nil {
		return err
	}
	queues, err := segmentSizes(c.row.queueDir)
	if err != nil {
		return err
	}
	logger := c.all.opts.Logger
	for base := range queues {
		if logs[base] > 0 {
			continue
		}
		path := filepath.Join(c.row.queueDir, segmentName(base))
		logger.Error("compaction queue file without records is removed", "path", path)
		if err := os.Remove(path); err != nil {
			return wrapFileError(OpRemove, path, err)
		}
	}
	queueBytes := c.row.queueBytes
	for _, n := range queues {
		if n > 0 && n%batchEntryBytes == 0 {
			queueBytes = n
		}
	}
	for base, n := range logs {
		path := filepath.Join(c.row.logDir, segmentName(base))
		if n == 0 {
			if err := os.Remove(path); err != nil {
				return wrapFileError(OpRemove, path, err)
			}
			continue
		}
		if queues[base] == 0 || queues[base]%batchEntryBytes != 0 {
			logger.Warn("compaction log without a whole queue file, it is made anew", "path", path)
			if err := os.MkdirAll(c.row.queueDir, 0o755); err != nil {
				return wrapFileError(OpCreate, c.row.queueDir, err)
			}
			seg, err := createSegment(c.row.queueDir, base, queueBytes, c.row.faults)
			if err != nil {
				return err
			}
			seg.release()
			queues[base] = queueBytes
		}
		c.row.files = append(c.row.files, &compactionFile{base: base, logBytes: n, queueBytes: queues[base]})
	}
	sort.Slice(c.row.files, func(i, k int) bool { return c.row.files[i].base < c.row.files[k].base })
	return nil
}

// segmentSizes lists the segment files of a folder, which may be missing.
func segmentSizes(dir string) (map[int64]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, wrapFileError(OpRead, dir, err)
	}
	sizes := make(map[int64]int64)
	for _, e := range entries {
		base, ok := segmentBase(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, wrapFileError(OpRead, filepath.Join(dir, e.Name()), err)
		}
		sizes[base] = info.Size()
	}
	return sizes, nil
}

// findEnd finds how many entries a mapped file has. It is false when they cannot be all, or not be right.
func (f *compactionFile) findEnd() bool {
	f.entries = sort.Search(int(f.queueBytes/batchEntryBytes), func(i int) bool { return !f.entry(i).written() })
	f.end, f.first, f.last = 0, 0, 0
	if f.entries > 0 {
		e := f.entry(f.entries - 1)
		if e.record(f.log) == nil || f.entry(0).physOffset != f.base {
			return false
		}
		f.first, f.last = f.entry(0).queueOffset, e.queueOffset
		f.end = e.physOffset + int64(e.size) - f.base
	}
	var m codec.Message
	_, err := readRecord(f.log, f.end, f.log.size, true, &m)
	return err != nil || f.entries > 0 && m.QueueOffset <= f.last // what a stop left behind the end is no record of this row
}

// firstBadEntry looks through the entries of a mapped file: each has to begin where the one before ends.
func (f *compactionFile) firstBadEntry() (at int, ok bool) {
	pos, last := f.base, int64(-1)
	for i := range f.entries {
		e := f.entry(i)
		if !e.written() || e.physOffset != pos || e.queueOffset <= last || e.physOffset+int64(e.size) > f.base+f.end {
			return i, false
		}
		pos, last = pos+int64(e.size), e.queueOffset
	}
	return 0, true
}

// agreeLocked cuts off what the commit log has lost. A log whose records are not those of the queue belonged to a deleted
// topic of the same name, which Java leaves behind: it is made anew. A queue without any entry goes on where the
// compaction log ends.
func (c *compactionLog) agreeLocked() error {
	least, most := c.boundsLocked()
	if most == 0 {
		return nil
	}
	queueMax := c.q.max.Load()
	if queueMax == 0 {
		c.q.next = most
		return nil
	}
	logger := c.all.opts.Logger
	if most > queueMax {
		logger.Warn("compaction log is ahead of its queue, it is cut off", "topic", c.q.topic, "queue", c.q.id, "from", queueMax, "end", most)
		if err := c.cutLocked(queueMax); err != nil {
			return err
		}
		if least, most = c.boundsLocked(); most == 0 {
			return nil
		}
	}
	last, storeMs, err := c.lastLocked()
	if err != nil {
		return err
	}
	e, ok := c.q.entry(last)
	if !ok || e.size == blankEntrySize || last < c.q.minOffset(c.all.log.minPhys()) {
		return nil
	}
	if ms := c.logTime(e); ms >= 0 && ms != storeMs {
		logger.Warn("compaction log is of a deleted topic with the same name, it is made anew",
			"topic", c.q.topic, "queue", c.q.id, "from", least, "end", most)
		c.next = 0
		return c.cutLocked(0)
	}
	return nil
}

// logTime is the store time of an entry's record in the commit log, -1 without one. Nothing counts as written yet.
func (c *compactionLog) logTime(e entry) int64 {
	seg := c.all.log.find(e.physOffset)
	if seg == nil {
		return -1
	}
	defer seg.release()
	var m codec.Message
	if _, err := readRecord(seg, e.physOffset-seg.base, seg.size, false, &m); err != nil {
		return -1
	}
	return m.StoreTimestampMs
}

// lastLocked returns queue offset and store time of the newest record.
func (c *compactionLog) lastLocked() (queueOffset, storeMs int64, err error) {
	for i := len(c.row.files) - 1; i >= 0; i-- {
		f := c.row.files[i]
		if f.entries == 0 {
			continue
		}
		if err := c.mapLocked(f); err != nil {
			return 0, 0, err
		}
		if f.log == nil || f.entries == 0 {
			i = len(c.row.files) // healing cut it off
			continue
		}
		e := f.entry(f.entries - 1)
		return e.queueOffset, e.storeMs, nil
	}
	return 0, 0, nil
}

// settleJava does away with what Java's compaction leaves when it is stopped. It makes new files in compacting, renames the
// old ones to *.delete, moves the new ones to their place, and then does the same with the queue files. While new files
// with records are still in compacting the old ones count; afterwards the new ones do, and their queue files are made anew.
func (c *compactionLog) settleJava() error {
	logDir, queueDir := c.row.logDir, c.row.queueDir
	newLogs, err := segmentSizes(filepath.Join(logDir, javaCompacting))
	if err != nil {
		return err
	}
	newQueues, err := segmentSizes(filepath.Join(queueDir, javaCompacting))
	if err != nil {
		return err
	}
	oldLogs, err := deletedNames(logDir)
	if err != nil {
		return err
	}
	oldQueues, err := deletedNames(queueDir)
	if err != nil {
		return err
	}
	logger := c.all.opts.Logger
	switch {
	case len(oldLogs) > 0 && len(newLogs) > 0:
		logger.Warn("a compaction was cut off, its beginning is undone", "dir", logDir)
		if err := c.bringBack(oldLogs); err != nil {
			return err
		}
	case len(oldLogs)+len(oldQueues) > 0 || len(newQueues) > 0 && len(newLogs) == 0:
		logger.Warn("a compaction was cut off, it is finished", "dir", logDir)
		sizes, err := segmentSizes(queueDir)
		if err != nil {
			return err
		}
		for base := range sizes {
			oldQueues = append(oldQueues, segmentName(base))
		}
		if err := removeNames(queueDir, oldQueues); err != nil {
			return err
		}
		if err := removeNames(logDir, oldLogs); err != nil {
			return err
		}
	}
	for _, dir := range []string{logDir, queueDir} {
		for _, sub := range []string{javaCompacting, "replicating"} {
			if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
				return wrapFileError(OpRemove, dir, err)
			}
		}
	}
	return nil
}

// Names that Java's compaction uses. Apache: CompactionLog.COMPACTING_SUB_FOLDER, DefaultMappedFile.renameToDelete.
const (
	javaCompacting    = "compacting"
	javaDeletedSuffix = ".delete"
)

// bringBack gives old files their names again, and removes new ones, which have no queue file yet.
func (c *compactionLog) bringBack(names []string) error {
	for _, name := range names {
		path := filepath.Join(c.row.logDir, name)
		if err := os.Rename(path, strings.TrimSuffix(path, javaDeletedSuffix)); err != nil {
			return wrapFileError(OpRename, path, err)
		}
	}
	logs, err := segmentSizes(c.row.logDir)
	if err != nil {
		return err
	}
	queues, err := segmentSizes(c.row.queueDir)
	if err != nil {
		return err
	}
	var news []string
	for base := range logs {
		if _, ok := queues[base]; !ok {
			news = append(news, segmentName(base))
		}
	}
	return removeNames(c.row.logDir, news)
}

// deletedNames lists the files of a folder that Java was about to delete.
func deletedNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, wrapFileError(OpRead, dir, err)
	}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), javaDeletedSuffix)
		if _, isSegment := segmentBase(base); ok && isSegment && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func removeNames(dir string, names []string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRemove, filepath.Join(dir, name), err)
		}
	}
	return nil
}
