package store

import (
	"fmt"
	"math"

	"github.com/apogee-mq/apogee/codec"
)

// maxGetBytes is the most one Get returns whatever is asked for. Apache: DefaultMessageStore.MAX_PULL_MSG_SIZE.
const maxGetBytes = 128 << 20

// Get reads messages of a queue from q.QueueOffset on. Which messages, and which status and next offset, are those of
// Java. The error is ErrCold (with HotOnly), ErrClosed, ErrCorrupt for a queue file that changed its size, or one of the
// disk; after an error r needs no Release. Apache: DefaultMessageStore.getMessage.
func (s *Store) Get(q *GetRequest, r *GetResult) error {
	r.reset()
	if s.closed.Load() {
		return ErrClosed
	}
	cq := s.queues.find(q.Topic, q.QueueID)
	if cq == nil {
		r.Status, r.MinQueueOffset = NoMessageInQueue, emptyMin(s.queues.kindOf(q.Topic)) // Java makes the queue on the way
		return nil
	}
	if cq.compaction != nil {
		return s.getCompacted(cq.compaction, q, r)
	}
	r.MaxQueueOffset = cq.max.Load()
	logMin := s.log.minPhys()
	if q.HotOnly && cq.minFor.Load() != logMin {
		return ErrCold
	}
	r.MinQueueOffset = cq.minOffset(logMin)
	switch {
	case r.MaxQueueOffset == 0:
		r.Status, r.MinQueueOffset = NoMessageInQueue, emptyMin(cq.kind)
	case q.QueueOffset < r.MinQueueOffset:
		r.Status, r.NextQueueOffset = OffsetTooSmall, r.MinQueueOffset
	case q.QueueOffset == r.MaxQueueOffset:
		r.Status, r.NextQueueOffset = OffsetOverflowOne, q.QueueOffset
	case q.QueueOffset > r.MaxQueueOffset:
		r.Status, r.NextQueueOffset = OffsetOverflowBadly, r.MaxQueueOffset
	default:
		return s.getFrom(cq, q, r)
	}
	return nil
}

// getFrom reads from an offset that the queue has. Like Java it stays in one queue file.
func (s *Store) getFrom(cq *queue, q *GetRequest, r *GetResult) error {
	seg, entries, err := cq.view(q.QueueOffset, q.HotOnly)
	switch {
	case s.closed.Load():
		err = ErrClosed
	case err == errGone: // the topic was deleted just now
		*r = GetResult{Status: NoMessageInQueue, Parts: r.Parts, held: r.held}
		return nil
	}
	if err != nil {
		if seg != nil {
			seg.release()
		}
		return err
	}
	if seg == nil { // the file is missing
		r.Status, r.NextQueueOffset = OffsetFoundNull, r.MaxQueueOffset
		if n := int64(s.opts.QueueSegmentEntries); !cq.isBatch() {
			r.NextQueueOffset = q.QueueOffset/n*n + n
		}
		return nil
	}
	defer seg.release()
	if r.MaxQueueOffset-q.QueueOffset > nearEntries && !s.entriesInMemory(seg, entries, q.HotOnly) {
		return ErrCold
	}
	g := getter{s: s, cq: cq, batch: cq.isBatch(), q: q, r: r, written: s.log.written.Load()}
	err = g.read(entries)
	if g.units != nil {
		g.units.release()
	}
	if s.closed.Load() { // what was not found may be there
		err = ErrClosed
	}
	if err != nil {
		r.Release()
		r.reset()
		return err
	}
	r.Cold = g.written-g.lastPhys > s.opts.HotBytes
	return nil
}

// nearEntries is how many of a queue's last entries are taken to be in memory, as they were put last.
const nearEntries = 1024

// entriesInMemory reports whether the first of the entries, as many as a Get looks at for a filter, are in memory. It waits for them unless
// it is to be hotOnly.
func (s *Store) entriesInMemory(seg *segment, entries []byte, hotOnly bool) bool {
	pos := int64(cap(seg.data) - cap(entries)) // entries are the rest of data from there on
	ahead := min(int64(len(entries)), coldEntryBytes)
	n := min(ahead, int64(s.opts.MaxFilterBytes))
	if hotOnly {
		from := pos &^ (pageBytes - 1)
		return from+presentBytes(seg.data[from:pos+n]) >= pos+n
	}
	s.coldPages.turn()
	s.coldPages.await(seg, pos, n, ahead, s.opts.Logger)
	return true
}

// getter is one walk over queue entries.
type getter struct {
	s        *Store
	cq       *queue
	batch    bool // cq is a batch queue
	q        *GetRequest
	r        *GetResult
	written  int64
	lastPhys int64     // of the last entry looked at
	skipTo   int64     // records before are known to be gone
	coldTo   int64     // records before may not be in memory
	there    byteRange // of the log, in memory
	sqlSteps int       // spent on q.SQL
	units    *segment
}

// maxHotSQLSteps bounds what a hot-only Get spends on a SQL filter: some tenths of a millisecond, in which the usual expression gets
// through all the entries of one scan.
const maxHotSQLSteps = 24_000

// taking is what became of a record that was to be added.
type taking uint8

const (
	taken     taking = iota
	gone             // the log has none
	unmatched        // its properties do not pass
	wrong            // it is not the one the entry means
)

func (g *getter) read(entries []byte) error {
	r, q := g.r, g.q
	r.Status, r.NextQueueOffset = NoMatchedMessage, q.QueueOffset
	width := g.cq.kind.entryBytes()
	scan := int64(max(g.s.opts.MaxFilterBytes, q.MaxMsgs*int(width)))
	maxBytes := maxGetBytes
	if q.MaxBytes > 0 {
		maxBytes = min(max(q.MaxBytes, 100), maxGetBytes)
	}
	hotFrom := g.written - g.s.opts.HotBytes
	g.coldTo = max(hotFrom, g.s.warmFrom)
	for ; int64(len(entries)) >= width; entries = entries[width:] {
		e := entryAt(entries)
		if g.batch {
			e = g.cq.kind.decode(entries, 0)
		} else {
			e.queueOffset = r.NextQueueOffset
		}
		moved := r.NextQueueOffset - q.QueueOffset
		if r.NextQueueOffset >= r.MaxQueueOffset || moved > 0 && moved*width >= scan || g.full(&e, maxBytes, e.physOffset >= hotFrom) {
			return nil
		}
		end := e.end()
		if g.batch {
			if end = g.cq.endOf(e, entries[width:], r.NextQueueOffset, r.MaxQueueOffset); end == 0 {
				r.NextQueueOffset++
				continue
			}
		}
		g.lastPhys = e.physOffset
		r.NextQueueOffset = end
		if e.physOffset < g.skipTo {
			continue
		}
		if !isExtAddress(e.tagsCode) && !q.Filter.Match(e.tagsCode) {
			if r.Count == 0 {
				r.Status = NoMatchedMessage
			}
			continue
		}
		if q.Bits != nil && isExtAddress(e.tagsCode) && g.excluded(e) {
			g.pass(unmatched, &e)
			continue
		}
		if q.HotOnly && (e.physOffset < g.coldTo || g.sqlSteps > maxHotSQLSteps) {
			return g.cold(&e)
		}
		if t := g.take(&e); t == taken {
			r.Status, g.skipTo = Found, 0
		} else {
			g.pass(t, &e)
		}
	}
	return nil
}

// excluded reports whether the unit of an entry says that its message does not pass.
func (g *getter) excluded(e entry) bool {
	pos := extPos(e.tagsCode)
	if g.units == nil || pos < g.units.base || pos >= g.units.end() {
		if g.units != nil {
			g.units.release()
		}
		if g.units = g.cq.viewUnits(e.tagsCode, g.q.HotOnly); g.units == nil {
			return false
		}
	}
	u, _, ok := unitAt(g.units.data[pos-g.units.base:])
	return ok && g.q.Bits.excludes(&u, e.physOffset)
}

// pass draws the conclusions of why a record was not taken.
func (g *getter) pass(t taking, e *entry) {
	r := g.r
	switch {
	case t == unmatched && r.Count == 0:
		r.Status = NoMatchedMessage
	case r.Count == 0:
		r.Status = MessageWasRemoving
	}
	// A blank says nothing of the records after it, and the entry of a batch queue may be a damaged one.
	if t == gone && e.size != blankEntrySize && !g.batch {
		g.skipTo = g.s.log.nextSegment(e.physOffset, math.MaxInt64)
	}
}

// cold ends a hot-only walk at a message that is not hot, or would take too long: what was found so far is the result, or nothing
// is.
func (g *getter) cold(e *entry) error {
	if g.r.Count == 0 {
		return ErrCold
	}
	g.r.NextQueueOffset = e.queueOffset
	return nil
}

// full reports whether one more message would be too much. The first one never is. Apache: isTheBatchFull.
func (g *getter) full(e *entry, maxBytes int, hot bool) bool {
	r, o := g.r, &g.s.opts
	if r.Count == 0 {
		return false
	}
	count, bytes := o.MaxHotMessages, o.MaxHotBytes
	if !hot {
		count, bytes = o.MaxColdMessages, o.MaxColdBytes
	}
	size := r.Bytes + int(e.size)
	return r.Count+int(e.count) > g.q.MaxMsgs || r.Count >= count || size > min(bytes, maxBytes)
}

// take adds the record of e to the result, if the log has it and it passes the filter.
func (g *getter) take(e *entry) taking {
	size := int64(e.size)
	if e.physOffset < 0 || e.physOffset > g.written-size || size <= 0 {
		return gone
	}
	r := g.r
	var seg *segment
	if n := len(r.held); n > 0 && r.held[n-1].base <= e.physOffset && e.physOffset < r.held[n-1].end() {
		seg = r.held[n-1]
	} else {
		if seg = g.s.log.find(e.physOffset); seg == nil {
			return gone
		}
		r.held = append(r.held, seg)
		r.end = -1
	}
	pos := e.physOffset - seg.base
	if pos+size > seg.size {
		return gone
	}
	if e.physOffset < g.coldTo && (e.physOffset < g.there.from || e.physOffset+size > g.there.to) {
		upTo := g.s.coldPages.await(seg, pos, size, coldReadBytes, g.s.opts.Logger)
		g.there = byteRange{e.physOffset, seg.base + upTo}
	}
	if g.batch && !g.cq.holds(*e, seg.data[pos:pos+size]) {
		return wrong
	}
	if isExtAddress(e.tagsCode) && !g.cq.passes(g.q.Filter, *e, seg.data[pos:pos+size]) {
		return unmatched
	}
	if f := g.q.SQL; f != nil {
		g.sqlSteps += f.cost()
		if !f.matchRecord(seg.data[pos : pos+size]) {
			return unmatched
		}
	}
	if r.end == e.physOffset { // the neighbour of the last part's end
		last := &r.Parts[len(r.Parts)-1]
		*last = seg.data[pos-int64(len(*last)) : pos+size : pos+size]
	} else {
		r.Parts = append(r.Parts, seg.data[pos:pos+size:pos+size])
	}
	r.end = e.physOffset + size
	r.Bytes += int(size)
	r.Count += int(e.count)
	return taken
}

// reset makes r the result of nothing found. Segments it holds are given back.
func (r *GetResult) reset() {
	r.Release()
	*r = GetResult{Parts: r.Parts, held: r.held, end: -1}
}

// Release gives back the segments that Parts lie in. It may be called more than once. Apache: GetMessageResult.release.
func (r *GetResult) Release() {
	for i, seg := range r.held {
		seg.release()
		r.held[i] = nil
	}
	r.held = r.held[:0]
	clear(r.Parts)
	r.Parts = r.Parts[:0]
}

// MessageAt returns a copy of the record that begins at physOffset. ErrNotFound when none does, ErrCorrupt, with file and
// position, when its body does not match its checksum. Apache:
// DefaultMessageStore.selectOneMessageByOffset.
func (s *Store) MessageAt(physOffset int64) ([]byte, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	seg, b, err := s.log.recordAt(physOffset)
	if err != nil {
		return nil, err
	}
	defer seg.release()
	record := append([]byte(nil), b...)
	var m codec.Message
	if _, err = codec.DecodeMessage(record, &m); err == nil {
		err = m.CheckBody()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: commit log %s at %d: %w", ErrCorrupt, seg.path, physOffset-seg.base, err)
	}
	return record, nil
}

// QueueEntry returns what a queue holds at queueOffset.
func (s *Store) QueueEntry(topic string, queueID int32, queueOffset int64) (physOffset int64, size int32, tagsCode int64, ok bool) {
	q := s.queues.find(topic, queueID)
	if q == nil {
		return 0, 0, 0, false
	}
	e, ok := q.entry(queueOffset)
	if ok {
		e = s.resolve(q, e)
	}
	return e.physOffset, e.size, e.tagsCode, ok
}

// MinQueueOffset returns the first offset of a queue whose message is still in the log, or in the compaction log; 0 for an
// unknown queue; -1, as in Java, for a batch queue that never had a message.
func (s *Store) MinQueueOffset(topic string, queueID int32) int64 {
	q := s.queues.find(topic, queueID)
	switch {
	case q == nil:
		return emptyMin(s.queues.kindOf(topic))
	case q.max.Load() == 0:
		return emptyMin(q.kind)
	}
	return q.minWithCompaction(q.minOffset(s.log.minPhys()))
}

// MaxQueueOffset returns the offset after the last entry of a queue, 0 for an unknown queue.
func (s *Store) MaxQueueOffset(topic string, queueID int32) int64 {
	q := s.queues.find(topic, queueID)
	if q == nil {
		return 0
	}
	if n := q.max.Load(); n > 0 || q.compaction == nil {
		return n
	}
	_, most := q.compaction.bounds() // more than 0 when the queue was lost
	return most
}

// InMemory reports whether physOffset lies in the hot window behind the end of the log, and in the log. Apache:
// DefaultMessageStore.checkInMemByConsumeOffset.
func (s *Store) InMemory(physOffset int64) bool {
	written := s.log.written.Load()
	return physOffset < written && physOffset >= max(s.log.minPhys(), written-s.opts.HotBytes)
}

// MinPhysOffset returns the first physical offset in the log.
func (s *Store) MinPhysOffset() int64 { return s.log.minPhys() }

// MaxPhysOffset returns the physical offset after the last record, the same as Written.
func (s *Store) MaxPhysOffset() int64 { return s.Written() }
