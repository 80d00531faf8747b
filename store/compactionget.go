package store

import (
	"slices"
	"sort"
)

// getCompacted is Get for a queue with a compaction log. An offset in a gap, or before the first one, leads to the next
// message; like Java one Get stays in one file. Unlike Java it passes the filter. Apache: CompactionLog.getMessage.
func (s *Store) getCompacted(c *compactionLog, q *GetRequest, r *GetResult) error {
	c.mu.Lock()
	locked := true
	unlock := func() {
		if locked {
			locked = false
			c.mu.Unlock()
		}
	}
	defer unlock()
	if c.gone {
		if s.closed.Load() {
			return ErrClosed
		}
		r.Status = NoMessageInQueue
		return nil
	}
	if c.failed != nil {
		return c.failed
	}
	least, most := c.boundsLocked()
	r.MinQueueOffset, r.MaxQueueOffset = max(least, 0), most
	switch {
	case most == 0:
		r.Status = NoMessageInQueue
	case q.QueueOffset == most || q.QueueOffset > most && c.behind: // what is being copied comes next
		r.Status, r.NextQueueOffset = OffsetOverflowOne, q.QueueOffset
	case q.QueueOffset > most:
		r.Status, r.NextQueueOffset = OffsetOverflowBadly, most
		if least == 0 {
			r.NextQueueOffset = 0
		}
	case q.HotOnly:
		return ErrCold
	default:
		g, err := c.getterLocked(s, q, r)
		unlock()
		if err != nil || g == nil {
			return err
		}
		g.read()
	}
	return nil
}

// compactedGetter is one walk over the entries of one file.
type compactedGetter struct {
	getter
	c       *compactionLog
	log     *segment // held by the result
	queue   *segment // with a reference
	at, end int      // entries
	after   int64    // first queue offset behind the file
	most    int64    // physical offset behind the newest record
}

func (c *compactionLog) getterLocked(s *Store, q *GetRequest, r *GetResult) (*compactedGetter, error) {
	files := c.row.files
	i := slices.IndexFunc(files, func(f *compactionFile) bool { return f.entries > 0 && f.last >= q.QueueOffset })
	f := files[i]
	if err := c.mapLocked(f); err != nil {
		return nil, err
	}
	if f.log == nil || f.entries == 0 { // damaged, and being copied again
		r.Status, r.NextQueueOffset = NoMatchedMessage, q.QueueOffset
		return nil, nil
	}
	g := &compactedGetter{getter: getter{s: s, q: q, r: r}, c: c, log: f.log, queue: f.queue, end: f.entries, after: f.last + 1}
	g.at = sort.Search(f.entries, func(i int) bool { return f.entry(i).queueOffset >= q.QueueOffset })
	newest := files[len(files)-1]
	g.most = newest.base + newest.end
	f.log.acquire()
	f.queue.acquire()
	r.held = append(r.held, f.log)
	return g, nil
}

// read fills the result. It needs no lock: what lies before end does not change, and the files are held.
func (g *compactedGetter) read() {
	defer g.queue.release()
	r, q := g.r, g.q
	r.Status, r.NextQueueOffset = NoMatchedMessage, q.QueueOffset
	maxBytes := maxGetBytes
	if q.MaxBytes > 0 {
		maxBytes = min(max(q.MaxBytes, 100), maxGetBytes)
	}
	scan := g.at + max(g.s.opts.MaxFilterBytes/entryBytes, q.MaxMsgs)
	for ; g.at < g.end; g.at++ {
		e := batchEntryAt(g.queue.data[g.at*batchEntryBytes:])
		if g.full(&entry{physOffset: e.physOffset, size: e.size, count: 1}, maxBytes, g.most-e.physOffset <= g.s.opts.HotBytes) || g.at >= scan {
			return
		}
		rec := e.record(g.log)
		if rec == nil {
			g.c.all.opts.Logger.Error("compaction log is damaged, a message is passed over", "topic", g.c.q.topic, "queue", g.c.q.id,
				"path", g.queue.path, "pos", g.at*batchEntryBytes)
			r.NextQueueOffset = max(r.NextQueueOffset, min(e.queueOffset+1, g.after))
			continue
		}
		r.NextQueueOffset = e.end()
		if !q.Filter.Match(e.tagsCode) || q.SQL != nil && !q.SQL.matchRecord(rec) {
			continue
		}
		g.take(e, rec)
	}
	if r.Count == 0 {
		r.NextQueueOffset = g.after
	}
}

// take adds a record to the result, to its neighbour's piece if there is one.
func (g *compactedGetter) take(e batchEntry, rec []byte) {
	r := g.r
	if r.end == e.physOffset {
		last := &r.Parts[len(r.Parts)-1]
		pos := e.physOffset - g.log.base
		*last = g.log.data[pos-int64(len(*last)) : pos+int64(e.size) : pos+int64(e.size)]
	} else {
		r.Parts = append(r.Parts, rec[:len(rec):len(rec)])
	}
	r.end = e.physOffset + int64(e.size)
	r.Bytes += len(rec)
	r.Count++
	r.Status = Found
	r.Cold = g.most-e.physOffset > g.s.opts.HotBytes
}

// minWithCompaction is the first offset that a queue serves, least being that of the consume queue: records that only the
// compaction log still has come first.
func (q *queue) minWithCompaction(least int64) int64 {
	if q.compaction == nil || least == 0 {
		return least
	}
	if first, most := q.compaction.bounds(); most > 0 {
		return min(first, least)
	}
	return least
}

// before looks for the first record with an offset below limit that passes, which all after it do too. It returns its
// offset and store time.
func (c *compactionLog) before(limit int64, passes func(storeMs int64) bool) (queueOffset, storeMs int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.row.files {
		if f.entries == 0 || f.first >= limit {
			continue
		}
		if c.mapLocked(f) != nil {
			return 0, 0, false
		}
		i := sort.Search(f.entries, func(i int) bool { return passes(f.entry(i).storeMs) })
		if i < f.entries {
			e := f.entry(i)
			return e.queueOffset, e.storeMs, e.queueOffset < limit
		}
	}
	return 0, 0, false
}
