package store

import (
	"math"
	"sort"

	"github.com/apogee-mq/apogee/codec"
)

// QueueType says what the queues of a topic are made of. Apache: CQType.
type QueueType uint8

// The types of queues.
const (
	// QueueTypeUnknown is that of a topic nothing is known of; the directory of a queue tells what it is.
	QueueTypeUnknown QueueType = iota
	// SimpleQueue has an entry for each message.
	SimpleQueue
	// BatchQueue has an entry for each record, which may be an inner batch of several messages.
	BatchQueue
)

// QueueTypeOf returns the type that the attribute queue.type of a topic asks for, SimpleQueue without it. Apache:
// QueueTypeUtils.getCQType.
func QueueTypeOf(topic *codec.TopicConfig) QueueType {
	if len(topic.Attributes) > 0 && topic.Attributes["queue.type"] == "BatchCQ" {
		return BatchQueue
	}
	return SimpleQueue
}

// queueKind is how the entries of a queue lie in its files.
type queueKind interface {
	// folder is the kind's directory below the store's, on disk, do not change.
	folder() string
	// entryBytes is the length of an entry, on disk, do not change.
	entryBytes() int64
	// fileBytes is the length of a new file.
	fileBytes(o *Options) int64
	// decode reads the entry that lies at pos of its queue from b, encode writes it.
	decode(b []byte, pos int64) entry
	encode(b []byte, e entry)
	// putPos is where the entry of the next record goes; end is the position after the last one.
	putPos(queueOffset, end int64) int64
	// findLocked returns the position of the entry that holds queueOffset, or would, or of the first one behind it. With
	// hotOnly it returns ErrCold instead of opening a file.
	findLocked(q *queue, queueOffset int64, hotOnly bool) (pos int64, err error)
}

// simpleKind has an entry for each message: an offset is a position. Apache: ConsumeQueue.
type simpleKind struct{}

func (simpleKind) folder() string             { return "consumequeue" }
func (simpleKind) entryBytes() int64          { return entryBytes }
func (simpleKind) fileBytes(o *Options) int64 { return int64(o.QueueSegmentEntries) * entryBytes }
func (simpleKind) encode(b []byte, e entry)   { putEntry(b, e) }

func (simpleKind) decode(b []byte, pos int64) entry {
	e := entryAt(b)
	e.queueOffset = pos / entryBytes
	return e
}

func (simpleKind) putPos(queueOffset, _ int64) int64 { return queueOffset * entryBytes }

func (simpleKind) findLocked(_ *queue, queueOffset int64, _ bool) (int64, error) {
	return queueOffset * entryBytes, nil
}

// batchKind has an entry for each record; the one of an offset is found by binary search. Offsets that belong to no
// entry may lie between two of them. Apache: BatchConsumeQueue.
type batchKind struct{}

func (batchKind) folder() string    { return "batchconsumequeue" }
func (batchKind) entryBytes() int64 { return batchEntryBytes }
func (batchKind) fileBytes(o *Options) int64 {
	return int64(o.BatchQueueSegmentEntries) * batchEntryBytes
}

func (batchKind) encode(b []byte, e entry) {
	putBatchEntry(b, batchEntry{
		physOffset: e.physOffset, size: e.size, tagsCode: e.tagsCode, storeMs: e.storeMs,
		queueOffset: e.queueOffset, count: int16(e.count), compacted: notCompacted,
	})
}

func (batchKind) decode(b []byte, _ int64) entry {
	e := batchEntryAt(b)
	return entry{
		physOffset: e.physOffset, size: e.size, tagsCode: e.tagsCode, storeMs: e.storeMs,
		queueOffset: e.queueOffset, count: int32(e.count),
	}
}

func (batchKind) putPos(_, end int64) int64 { return end }

func (batchKind) findLocked(q *queue, queueOffset int64, hotOnly bool) (int64, error) {
	n := len(q.files)
	if n == 0 {
		return q.end, nil
	}
	var failed error
	begins := func(i int) bool { // whether file i begins behind queueOffset
		first, err := q.firstLocked(q.files[i], hotOnly)
		if err != nil {
			failed = err
		}
		return first > queueOffset
	}
	i := n - 1
	if begins(i) { // most reads are of the last file
		i = max(sort.Search(i, begins)-1, 0)
	}
	if failed != nil {
		return 0, failed
	}
	f := q.files[i]
	if err := q.openLocked(f, hotOnly); err != nil {
		return 0, err
	}
	in := min(f.size, max(q.end-f.base, 0)) / batchEntryBytes
	at := sort.Search(int(in), func(i int) bool {
		return batchEntryAt(f.m.data[int64(i)*batchEntryBytes:]).end() > queueOffset
	})
	return f.base + int64(at)*batchEntryBytes, nil
}

// unknownFirst says that a file was not yet asked for the queue offset of its first entry.
const unknownFirst = -1

// firstLocked returns the queue offset that a file of a batch queue begins with, one above all for a file without
// entries.
func (q *queue) firstLocked(f *queueFile, hotOnly bool) (int64, error) {
	if f.base >= q.end {
		return math.MaxInt64, nil
	}
	if f.first == unknownFirst {
		if err := q.openLocked(f, hotOnly); err != nil {
			return 0, err
		}
		f.first = q.kind.decode(f.m.data, f.base).queueOffset
	}
	return f.first, nil
}

// openLocked maps f if it is not; with hotOnly it returns ErrCold instead.
func (q *queue) openLocked(f *queueFile, hotOnly bool) error {
	if hotOnly && f.m == nil {
		return ErrCold
	}
	return q.mapLocked(f)
}

// isBatch reports whether q is the queue of a topic with queue.type=BatchCQ.
func (q *queue) isBatch() bool {
	_, ok := q.kind.(batchKind)
	return ok
}

// emptyMin is the minimum offset of a queue that never had a message. Apache: the fields of ConsumeQueue and
// BatchConsumeQueue begin so.
func emptyMin(kind queueKind) int64 {
	if _, ok := kind.(batchKind); ok {
		return -1
	}
	return 0
}

// kinds are the kinds of queues that have a directory of their own.
var kinds = [...]queueKind{simpleKind{}, batchKind{}}

// kindOf returns the kind of a topic's queues.
func (qs *queues) kindOf(topic string) queueKind {
	if qs.opts.QueueType != nil && qs.opts.QueueType(topic) == BatchQueue {
		return batchKind{}
	}
	return simpleKind{}
}
