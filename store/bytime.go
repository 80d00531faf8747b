package store

import "sort"

// timed is a queue between two of its offsets, seen by store time. Store times do not go back along a queue.
type timed struct {
	s        *Store
	q        *queue
	min, max int64
}

func (s *Store) timed(topic string, queueID int32) (timed, bool) {
	q := s.queues.find(topic, queueID)
	if q == nil || s.closed.Load() {
		return timed{}, false
	}
	return timed{s: s, q: q, min: q.minOffset(s.log.minPhys()), max: q.max.Load()}, true
}

// storeTime is the store time in ms of the message at queueOffset, -1 when there is none.
func (t timed) storeTime(queueOffset int64) int64 {
	e, ok := t.q.entry(queueOffset)
	switch {
	case !ok:
		return -1
	case t.q.isBatch() && e.physOffset >= t.s.log.minPhys():
		return e.storeMs
	}
	return t.s.log.storeTimeAt(e.physOffset, int64(e.size))
}

// first returns the first offset whose message passes, which all after it do too.
func (t timed) first(passes func(storeMs int64) bool) int64 {
	return t.min + int64(sort.Search(int(max(t.max-t.min, 0)), func(i int) bool {
		return passes(t.storeTime(t.min + int64(i)))
	}))
}

// QueueOffsetByTime returns the first offset whose store time is at or after timestampMs (boundary LOWER): the minimum
// when all are, the maximum when none is. Apache: ConsumeQueue.binarySearchInQueueByTime.
func (s *Store) QueueOffsetByTime(topic string, queueID int32, timestampMs int64) int64 {
	t, ok := s.timed(topic, queueID)
	switch {
	case !ok:
		return 0
	case t.q.isBatch():
		return t.q.byTime(t.min, timestampMs)
	}
	at := t.first(func(ms int64) bool { return ms >= timestampMs })
	if c := t.q.compaction; c != nil && at == t.min { // perhaps only the compaction log still has it
		if first, _, ok := c.before(t.min, func(ms int64) bool { return ms >= timestampMs }); ok {
			return first
		}
	}
	return at
}

// QueueOffsetByTimeUpper returns the last offset whose store time is at or before timestampMs (boundary UPPER), the
// minimum when none is.
func (s *Store) QueueOffsetByTimeUpper(topic string, queueID int32, timestampMs int64) int64 {
	t, ok := s.timed(topic, queueID)
	switch {
	case !ok:
		return 0
	case t.q.isBatch():
		return t.q.byTimeUpper(t.min, timestampMs)
	}
	return max(t.first(func(ms int64) bool { return ms > timestampMs })-1, t.min)
}

// EarliestStoreTime returns the store time in ms of a queue's first message, -1 when there is none.
func (s *Store) EarliestStoreTime(topic string, queueID int32) int64 {
	t, ok := s.timed(topic, queueID)
	if !ok {
		return -1
	}
	if c := t.q.compaction; c != nil {
		if _, ms, ok := c.before(t.min, func(int64) bool { return true }); ok {
			return ms
		}
	}
	return t.storeTime(t.min)
}

// StoreTimeAt returns the store time in ms of the message at queueOffset, -1 when there is none.
func (s *Store) StoreTimeAt(topic string, queueID int32, queueOffset int64) int64 {
	t, ok := s.timed(topic, queueID)
	if !ok {
		return -1
	}
	return t.storeTime(queueOffset)
}
