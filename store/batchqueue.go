package store

import (
	"path/filepath"
	"sort"

	"github.com/apogee-mq/apogee/codec"
)

// What only the queues of topics with queue.type=BatchCQ can or need. Apache: BatchConsumeQueue.

// endOf returns the offset after the messages of e, which a reader has come to at the offset at; rest are the entries
// behind it, limit is the offset after the last one. It is 0 when e cannot be right: then it is damaged. An entry never
// reaches into the next one, whatever it says.
func (q *queue) endOf(e entry, rest []byte, at, limit int64) int64 {
	if !e.written() || e.queueOffset >= limit || e.end() <= at {
		q.damaged(e)
		return 0
	}
	end := min(e.end(), limit)
	if len(rest) >= batchEntryBytes {
		if next := q.kind.decode(rest, 0); next.written() && next.queueOffset > max(e.queueOffset, at) {
			end = min(end, next.queueOffset)
		}
	}
	return end
}

// holds reports whether a record is the one that an entry of q says it is. The record must be of this queue and offset,
// so that a damaged entry leads to no message instead of a wrong one.
func (q *queue) holds(e entry, record []byte) bool {
	var m codec.Message
	n, err := codec.DecodeMessage(record, &m)
	if err == nil && n == len(record) && m.PhysOffset == e.physOffset && m.QueueID == q.id && m.QueueOffset == e.queueOffset &&
		string(m.Topic) == q.topic && holdsMessages(&m, e.count) {
		return true
	}
	q.damaged(e)
	return false
}

// damaged says once that an entry of q cannot be right.
func (q *queue) damaged(e entry) {
	if q.faulty.Swap(true) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	file, pos := q.dir(), int64(-1)
	for _, f := range q.files {
		if at := q.placeLocked(f, e); at >= 0 {
			file, pos = filepath.Join(file, segmentName(f.base)), at
			break
		}
	}
	q.all.opts.Logger.Error("batch consume queue is damaged, its entry is passed over; remove the directory to have it made anew",
		"topic", q.topic, "queue", q.id, "path", file, "pos", pos, "phys", e.physOffset, "queue_offset", e.queueOffset)
}

// placeLocked returns where e lies in f, -1 when it does not.
func (q *queue) placeLocked(f *queueFile, e entry) int64 {
	if q.mapLocked(f) != nil {
		return -1
	}
	for at := int64(0); at < min(f.size, q.end-f.base); at += batchEntryBytes {
		if q.kind.decode(f.m.data[at:], f.base+at) == e {
			return at
		}
	}
	return -1
}

// byTime returns the offset of the first entry from least on that was stored at or after timestampMs. Like Java it looks in
// one file only, the last one that begins at or before timestampMs, and takes the last entry of it when none was stored
// later.
func (q *queue) byTime(least, timestampMs int64) int64 {
	return q.timed(least, timestampMs, 0, func(ms int64) bool { return ms >= timestampMs })
}

// byTimeUpper returns the offset of the last entry from least on that was stored at or before timestampMs, least when none
// was.
func (q *queue) byTimeUpper(least, timestampMs int64) int64 {
	return q.timed(least, timestampMs, -1, func(ms int64) bool { return ms > timestampMs })
}

// timed returns, of the file for timestampMs, the offset of the entry that is shift away from the first one from least on
// whose store time passes, which those of all after it do too.
func (q *queue) timed(least, timestampMs int64, shift int, passes func(storeMs int64) bool) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	var failed error
	entryAt := func(pos int64) entry {
		e, err := q.entryAtLocked(pos)
		if err != nil {
			failed = err
		}
		return e
	}
	from, err := q.kind.findLocked(q, least, false)
	if q.gone || err != nil || from >= q.end {
		return least
	}
	i := sort.Search(len(q.files), func(i int) bool {
		return q.files[i].base >= q.end || q.files[i].base > from && entryAt(q.files[i].base).storeMs > timestampMs
	}) - 1
	f := q.files[max(i, 0)]
	from = max(from, f.base)
	n := int((min(f.base+f.size, q.end) - from) / batchEntryBytes)
	at := n - 1
	if entryAt(from+int64(at)*batchEntryBytes).storeMs > timestampMs {
		at = shift + sort.Search(at, func(i int) bool { return passes(entryAt(from + int64(i)*batchEntryBytes).storeMs) })
	}
	e := entryAt(from + int64(max(at, 0))*batchEntryBytes)
	if failed != nil {
		return least
	}
	return max(e.queueOffset, least)
}

// Entry is what a queue holds of one record.
type Entry struct {
	PhysOffset int64
	SizeBytes  int32
	TagsCode   int64
	// QueueOffset is that of the record's first message, End the one after its last.
	QueueOffset, End int64
	// Unit is that of an entry in an extended queue. With an Address it may be lost; then TagsCode comes from the record.
	Unit    *ExtUnit
	Address int64
}

// EntryOf returns the entry of the record that holds the message at queueOffset; in a batch queue with a gap there, the
// one behind it.
func (s *Store) EntryOf(topic string, queueID int32, queueOffset int64) (Entry, bool) {
	q := s.queues.find(topic, queueID)
	if q == nil {
		return Entry{}, false
	}
	e, ok := q.entry(queueOffset)
	found := Entry{PhysOffset: e.physOffset, SizeBytes: e.size, QueueOffset: e.queueOffset, End: e.end()}
	if ok && isExtAddress(e.tagsCode) {
		found.Unit, found.Address = q.unitOf(e), e.tagsCode
		e = s.resolve(q, e)
	}
	found.TagsCode = e.tagsCode
	return found, ok
}
