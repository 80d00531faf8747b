package store

import (
	"errors"
	"os"
	"path/filepath"
	"sort"

	"github.com/apogee-mq/apogee/codec"
)

// healLocked makes the entries of a mapped file anew from its records; those before the at-th are good. Where a record is
// damaged and the commit log still has it, the log is cut off there and copied again from the commit log; otherwise the
// damage is named and passed over.
func (c *compactionLog) healLocked(f *compactionFile, at int) error {
	logger := c.all.opts.Logger
	logger.Warn("compaction queue file does not fit its records, it is made anew", "path", f.queue.path, "pos", at*batchEntryBytes)
	inLog, inQueue := c.inLog()
	again := int64(-1) // queue offset from which on the commit log has what is damaged here
	last := c.lastBefore(f)
	before := f.entries
	n, pos := 0, int64(0)
	f.end = 0
	var m codec.Message
	for int64(n+1)*batchEntryBytes < f.queueBytes && pos < f.log.size {
		size, err := readRecord(f.log, pos, f.log.size, true, &m)
		if errors.Is(err, codec.ErrBlank) {
			break
		}
		if err == nil && (m.QueueID != c.q.id || string(m.Topic) != c.q.topic || m.QueueOffset <= last) {
			err = errWrongPlace
		}
		if err != nil {
			skip, found := c.all.log.resync(f.log, pos, f.log.size)
			behind := inQueue
			if found {
				_, _ = readRecord(f.log, pos+skip, f.log.size, true, &m) // resync has
				behind = min(m.QueueOffset, inQueue)
			}
			if lost := max(last+1, inLog); lost < behind {
				again = lost
				break
			}
			if !found {
				break
			}
			logger.Error("compaction log is damaged, what lies there is lost",
				"path", f.log.path, "pos", pos, "until", pos+skip, "err", err)
			pos += skip
			continue
		}
		if err := f.queue.extend(int64(n+1)*batchEntryBytes, 64<<10); err != nil {
			return err
		}
		tags, _ := codec.Property(m.Properties, codec.PropTags)
		e := batchEntry{physOffset: f.base + pos, size: int32(size), storeMs: m.StoreTimestampMs, queueOffset: m.QueueOffset,
			count: 1, compacted: notCompacted}
		if len(tags) > 0 {
			e.tagsCode = codec.TagsCode(tags)
		}
		putBatchEntry(f.queue.data[n*batchEntryBytes:], e)
		if n == 0 {
			f.first = m.QueueOffset
		}
		last = m.QueueOffset
		n, pos = n+1, pos+size
		f.last, f.end = last, pos
	}
	f.entries = n
	used := int64(n) * batchEntryBytes
	if full := used + batchEntryBytes; f.torn() || full > f.queueBytes {
	} else if _, err := readRecord(f.log, f.end, f.log.size, false, &m); errors.Is(err, codec.ErrBlank) {
		if err := f.queue.extend(full, 64<<10); err != nil {
			return err
		}
		putBatchEntry(f.queue.data[used:], endOfEntries)
		used = full
	}
	if err := errors.Join(f.log.flush(0, f.end), f.queue.flush(0, used)); err != nil {
		return err
	}
	if err := f.queue.zeroFrom(used); err != nil {
		return err
	}
	if after := last + 1; again < 0 && after >= inLog && after < inQueue {
		again = after // the records ended before the entries did
	}
	return c.copyAgainLocked(f, before > n || f.torn(), again)
}

// inLog are the queue offsets that the commit log has records of: from the first entry that is not blank, for a record that a power
// cut took from the log and not from here, up to the queue's end.
func (c *compactionLog) inLog() (from, to int64) {
	from, to = c.q.minOffset(c.all.log.minPhys()), c.q.max.Load()
	for ; from < to; from++ {
		if e, ok := c.q.entry(from); ok && e.size != blankEntrySize {
			break
		}
	}
	return from, to
}

// lastBefore is the queue offset of the last record before f, -1 for none.
func (c *compactionLog) lastBefore(f *compactionFile) int64 {
	last := int64(-1)
	for _, before := range c.row.files {
		if before == f {
			break
		}
		if before.entries > 0 {
			last = before.last
		}
	}
	return last
}

// copyAgainLocked cuts the log off behind a mapped file that lacks records, when the commit log has them and all after
// them, from again on: catchUp copies them. -1 says that it does not.
func (c *compactionLog) copyAgainLocked(f *compactionFile, lacks bool, again int64) error {
	from := c.lastBefore(f) + 1
	if f.entries > 0 {
		from = f.last + 1
	}
	switch {
	case !lacks:
		return nil
	case again < 0:
		c.all.opts.Logger.Error("compaction log lacks records that the commit log does not have either",
			"topic", c.q.topic, "queue", c.q.id, "path", f.log.path, "pos", f.end, "from", from)
		if f != c.row.files[len(c.row.files)-1] {
			return nil
		}
		return f.cutBehind(true)
	}
	if err := c.cutLocked(again); err != nil {
		return err
	}
	if _, c.next = c.boundsLocked(); c.all.running && !c.behind {
		c.fallBehindLocked()
	}
	if n := len(c.row.files); n == 0 || c.row.files[n-1] != f {
		return nil
	}
	return f.cutBehind(true)
}

// torn reports whether a mapped file's records end with neither filler nor zeros.
func (f *compactionFile) torn() bool {
	var m codec.Message
	_, err := readRecord(f.log, f.end, f.log.size, false, &m)
	return !errors.Is(err, codec.ErrBlank) && !allZero(f.log.data[f.end:min(f.end+minRecordBytes, f.log.size)])
}

// cutLocked removes all from queueOffset on.
func (c *compactionLog) cutLocked(queueOffset int64) error {
	for n := len(c.row.files); n > 0; n = len(c.row.files) {
		f := c.row.files[n-1]
		if f.entries > 0 && f.first < queueOffset {
			break
		}
		f.unmap()
		f.dirtyLog, f.dirtyQueue = byteRange{}, byteRange{}
		c.row.files = c.row.files[:n-1]
		name := segmentName(f.base)
		if err := errors.Join(os.Remove(filepath.Join(c.row.queueDir, name)), os.Remove(filepath.Join(c.row.logDir, name))); err != nil {
			return wrapFileError(OpRemove, filepath.Join(c.row.logDir, name), err)
		}
	}
	if len(c.row.files) == 0 {
		return nil
	}
	f := c.row.files[len(c.row.files)-1]
	if f.last < queueOffset {
		return nil
	}
	if err := c.mapLocked(f); err != nil {
		return err
	}
	if f.log == nil || f.entries == 0 || f.last < queueOffset {
		return nil // healing found less in it
	}
	f.entries = sort.Search(f.entries, func(i int) bool { return f.entry(i).queueOffset >= queueOffset })
	e := f.entry(f.entries - 1)
	f.last, f.end = e.queueOffset, e.physOffset+int64(e.size)-f.base
	return f.cutBehind(true)
}

// cutBehind makes zero what lies behind the last record and the last entry of a mapped file; unless hard, only when there
// is something.
func (f *compactionFile) cutBehind(hard bool) error {
	at := int64(f.entries) * batchEntryBytes
	if !hard && allZero(f.log.data[f.end:min(f.end+blankHeadBytes, f.logBytes)]) {
		return nil
	}
	if err := errors.Join(f.log.zeroFrom(f.end), f.queue.zeroFrom(at)); err != nil {
		return err
	}
	f.log.startAt(f.end)
	f.queue.startAt(at)
	return nil
}
