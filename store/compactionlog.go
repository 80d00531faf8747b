package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// compactionLog is a queue of a topic whose cleanup.policy is COMPACTION: copies of the queue's records, with gaps where
// compaction left records out, and entries that say which are there. It follows the consume queue: the dispatcher hands it
// each record that got an entry there, or it copies on its own what it lacks. Apache: CompactionLog.
type compactionLog struct {
	all *compactions
	q   *queue

	mu     sync.Mutex // guards what follows
	row    compactionRow
	next   int64 // queue offset that is looked at next
	behind bool  // catchUp copies what is missing, the dispatcher's records among it
	noted  int64 // what doubts has on disk of this log, maxPhys for nothing
	failed error // files are half old, half new: nothing may touch them before the next start
	gone   bool
	listed bool // in all.dirty
}

func newCompactionLog(all *compactions, q *queue) *compactionLog {
	id := strconv.Itoa(int(q.id))
	return &compactionLog{all: all, q: q, noted: maxPhys, row: compactionRow{
		logDir: filepath.Join(all.logRoot(), q.topic, id), queueDir: filepath.Join(all.queueRoot(), q.topic, id),
		logBytes: all.opts.CompactionLogBytes, queueBytes: all.opts.CompactionQueueBytes, faults: all.opts.Faults,
	}}
}

// boundsLocked are the first queue offset and the one after the last, -1 and 0 without messages.
func (c *compactionLog) boundsLocked() (least, most int64) {
	least = -1
	for _, f := range c.row.files {
		if f.entries == 0 {
			continue
		}
		if least < 0 {
			least = f.first
		}
		most = f.last + 1
	}
	return least, most
}

// bounds is boundsLocked without the lock.
func (c *compactionLog) bounds() (least, most int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boundsLocked()
}

// follow takes the record of an entry that the dispatcher has just put into the consume queue. A record it has is passed
// over; when some before it are missing, catchUp is called in.
func (c *compactionLog) follow(e entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone || c.failed != nil || c.behind || e.queueOffset < c.next:
		return nil
	case e.queueOffset > c.next:
		c.fallBehindLocked()
		return nil
	}
	return c.takeLocked(e)
}

// fallBehindLocked leaves it to catchUp to copy what is missing.
func (c *compactionLog) fallBehindLocked() {
	c.behind = true
	c.all.callIn(c)
}

// takeLocked copies a record from the commit log. One without keys has no place here, as in Java.
func (c *compactionLog) takeLocked(e entry) error {
	queueOffset, after := e.queueOffset, e.end()
	logger := c.all.opts.Logger
	seg := c.all.log.find(e.physOffset)
	if seg == nil {
		logger.Error("record is not in the commit log any more, it is missing in the compaction log",
			"topic", c.q.topic, "queue", c.q.id, "offset", queueOffset, "phys", e.physOffset)
		c.next = after
		return nil
	}
	defer seg.release()
	var m codec.Message
	pos := e.physOffset - seg.base
	n, err := readRecord(seg, pos, seg.size, false, &m)
	if err == nil && m.QueueOffset != queueOffset {
		err = errWrongPlace
	}
	if err != nil {
		logger.Error("queue entry leads to no record, it is missing in the compaction log",
			"topic", c.q.topic, "queue", c.q.id, "offset", queueOffset, "path", seg.path, "pos", pos, "err", err)
		c.next = after
		return nil
	}
	if !hasKeys(m.Properties) {
		logger.Warn("message of a compaction topic has no keys, it is left out",
			"topic", c.q.topic, "queue", c.q.id, "offset", queueOffset)
		c.next = after
		return nil
	}
	if _, err := c.lastMappedLocked(); err != nil {
		return err
	}
	if c.next < queueOffset {
		return nil // healing cut records off that come before this one
	}
	err = c.appendLocked(seg.data[pos:pos+n], batchEntry{size: e.size, tagsCode: e.tagsCode, storeMs: m.StoreTimestampMs,
		queueOffset: queueOffset, count: 1, compacted: notCompacted})
	if err == nil {
		c.next = after
	}
	return err
}

// appendLocked puts a record behind the last file's, which is mapped.
func (c *compactionLog) appendLocked(rec []byte, e batchEntry) error {
	before := len(c.row.files)
	err := c.row.append(rec, e)
	switch {
	case errors.Is(err, errNoRoom):
		c.all.opts.Logger.Error("message is missing in the compaction log, make compactionMappedFileSize larger",
			"topic", c.q.topic, "queue", c.q.id, "offset", e.queueOffset, "err", err)
	case err != nil:
		return err
	default:
		if n := len(c.row.files); n > before {
			c.all.keepMapped(c, c.row.files[n-1])
		}
		c.markLocked()
	}
	return nil
}

// markLocked has the next flush look at the log.
func (c *compactionLog) markLocked() {
	if !c.listed {
		c.listed = true
		c.all.addDirty(c)
	}
}

// hasKeys reports whether a message has the property KEYS with more than white space in it.
func hasKeys(props []byte) bool {
	keys, ok := codec.Property(props, codec.PropKeys)
	return ok && len(bytes.TrimSpace(keys)) > 0
}

// mapLocked maps a file if it is not, and looks at its entries when it is the first time.
func (c *compactionLog) mapLocked(f *compactionFile) error {
	if f.log != nil {
		return nil
	}
	if err := f.open(c.row.logDir, c.row.queueDir, c.row.faults); err != nil {
		return err
	}
	c.all.keepMapped(c, f)
	if f.checked {
		return nil
	}
	f.checked = true
	if at, ok := f.firstBadEntry(); !ok {
		return c.healLocked(f, at)
	}
	return nil
}

// lastMappedLocked maps the last file and returns it, nil when there is none. Healing may cut off the one that was last; the log then
// is at an earlier c.next.
func (c *compactionLog) lastMappedLocked() (*compactionFile, error) {
	for n := len(c.row.files); n > 0; n = len(c.row.files) {
		f := c.row.files[n-1]
		if f.log != nil {
			return f, nil
		}
		if err := c.mapLocked(f); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// copySome copies up to n records that are missing; done is true when none is.
func (c *compactionLog) copySome(n int) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		if c.gone || c.failed != nil {
			return true, nil
		}
		if least := c.q.minOffset(c.all.log.minPhys()); c.next < least {
			if c.next > 0 {
				c.all.opts.Logger.Error("commit log was deleted before the compaction log had what it held",
					"topic", c.q.topic, "queue", c.q.id, "from", c.next, "to", least)
			}
			c.next = least
		}
		if c.next >= c.q.max.Load() {
			c.behind = false
			if c.noted != maxPhys {
				c.markLocked()
			}
			return true, nil
		}
		if err := c.doubtLocked(); err != nil {
			return false, err
		}
		e, ok := c.q.entry(c.next)
		switch {
		case !ok:
			return true, nil // the queue was deleted
		case e.size == blankEntrySize:
			c.next++
		default:
			if err := c.takeLocked(e); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// dropLocked forgets all files and their mappings.
func (c *compactionLog) dropLocked() {
	for _, f := range c.row.files {
		f.unmap()
	}
	c.row.files = nil
}

// takeDirtyLocked marks all files clean that have bytes to flush. Those are the last ones.
func (c *compactionLog) takeDirtyLocked() (taken []compactionFlush, err error) {
	for i := len(c.row.files) - 1; i >= 0; i-- {
		if i >= len(c.row.files) {
			continue // healing cut it off
		}
		f := c.row.files[i]
		if f.dirtyLog.size() == 0 && f.dirtyQueue.size() == 0 {
			break
		}
		if err := c.mapLocked(f); err != nil {
			return taken, err
		}
		if f.log == nil {
			continue
		}
		taken = append(taken, f.takeDirty())
	}
	return taken, nil
}

// dirtLocked tells how many bytes are not flushed, and the store time of the first of them.
func (c *compactionLog) dirtLocked() (n, sinceMs int64) {
	sinceMs = notDirty
	for i := len(c.row.files) - 1; i >= 0; i-- {
		f := c.row.files[i]
		if f.dirtyLog.size() == 0 && f.dirtyQueue.size() == 0 {
			break
		}
		n += f.dirtyLog.size() + f.dirtyQueue.size()
		sinceMs = min(sinceMs, f.dirtyMs)
	}
	return n, sinceMs
}
