package store

import (
	"errors"
	"sort"

	"github.com/apogee-mq/apogee/codec"
)

// verifyTailLocked reads the records that may not have reached the disk, and cuts the log off at the first that did not: those
// stored after trustedMs, and those that were copied when they were older than that.
func (c *compactionLog) verifyTailLocked(trustedMs int64) error {
	if trustedMs == maxPhys {
		return nil
	}
	files, doubted := c.row.files, c.all.doubts.get(c.q.topic, c.q.id)
	i := len(files)
	for i > 0 {
		f := files[i-1]
		if err := c.mapLocked(f); err != nil {
			return err
		}
		i--
		if f.entries > 0 && f.entry(0).storeMs <= trustedMs && f.first <= doubted {
			break
		}
	}
	for ; i < len(c.row.files); i++ {
		f := c.row.files[i]
		if err := c.mapLocked(f); err != nil {
			return err
		}
		from := sort.Search(f.entries, func(k int) bool {
			e := f.entry(k)
			return e.storeMs > trustedMs || e.queueOffset >= doubted
		})
		if at := f.firstBadRecord(from); at < f.entries {
			if err := c.healLocked(f, at); err != nil {
				return err
			}
		}
		if i >= len(c.row.files) || c.row.files[i] != f {
			return nil
		}
		if missing, ok := c.firstHole(f, from); ok {
			return c.cutLocked(missing)
		}
		// The next checkpoint vouches for what was found here.
		err := errors.Join(f.log.flush(0, f.end), f.queue.flush(0, int64(f.entries)*batchEntryBytes))
		if err == nil && from < f.entries {
			err = c.row.sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// firstBadRecord reads the records of a mapped file from an entry on and returns the first one that is not whole.
func (f *compactionFile) firstBadRecord(from int) int {
	var m codec.Message
	for at := from; at < f.entries; at++ {
		e := f.entry(at)
		if e.record(f.log) == nil {
			return at
		}
		if n, err := readRecord(f.log, e.physOffset-f.base, f.log.size, true, &m); err != nil || n != int64(e.size) {
			return at
		}
	}
	return f.entries
}

// firstHole returns the first queue offset that is missing before an entry of f, or one behind it: not because compaction
// left it out, and the commit log has it. A file whose name did not reach the disk leaves such a hole.
func (c *compactionLog) firstHole(f *compactionFile, from int) (missing int64, ok bool) {
	compacted := c.all.positions.get(c.q.topic, c.q.id)
	inLog, inQueue := c.inLog()
	last := c.lastBefore(f)
	if from > 0 && from <= f.entries {
		last = f.entry(from - 1).queueOffset
	}
	for at := from; at < f.entries; at++ {
		e := f.entry(at)
		if next := max(last, compacted) + 1; e.queueOffset > next && next >= inLog && next < inQueue {
			return next, true
		}
		last = e.queueOffset
	}
	return 0, false
}
