package store

import "github.com/apogee-mq/apogee/codec"

// With enableConsumeQueueExt Apache's broker keeps the tags code of an entry, the store time and a bit map of filters in a unit of
// another file, and the entry holds the unit's address: its position in D/consumequeue_ext/<topic>/<queueId> minus 2^63, which no
// tags code is. Nothing is in a unit that cannot be told from the record, so such an entry is served by the record. Apache:
// ConsumeQueueExt.

// extFolder is the directory of the units below the store's, on disk, do not change.
const extFolder = "consumequeue_ext"

// isExtAddress reports whether the tags code of an entry is an address. Apache: ConsumeQueueExt.isExtAddr.
func isExtAddress(tagsCode int64) bool { return tagsCode <= maxExtAddress }

// extPos is the position that an address stands for.
func extPos(address int64) int64 { return address - (-1 << 63) }

// recordTags returns the tags code of a record in the queue.
func (q *queue) recordTags(record []byte) (tags int64, ok bool) {
	var m codec.Message
	if _, err := codec.DecodeMessage(record, &m); err != nil {
		return 0, false
	}
	return tagsCode(q.all.opts.DelayLevels, q.schedule, m.Properties, m.StoreTimestampMs), true
}

// passes reports whether the tags of an entry pass; record is the one it points to. Those of an entry with an address are in the
// record.
func (q *queue) passes(f *TagFilter, e entry, record []byte) bool {
	if f == nil || !isExtAddress(e.tagsCode) {
		return true // the entry has been asked
	}
	tags, ok := q.recordTags(record)
	return ok && f.Match(tags)
}

// resolve puts the tags code of its record into an entry with an address. Without the record the address stays.
func (s *Store) resolve(q *queue, e entry) entry {
	if !isExtAddress(e.tagsCode) {
		return e
	}
	seg, b, err := s.log.recordAt(e.physOffset)
	if err != nil {
		return e
	}
	defer seg.release()
	if tags, ok := q.recordTags(b); ok {
		e.tagsCode = tags
	}
	return e
}
