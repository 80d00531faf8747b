package store

import "github.com/apogee-mq/apogee/codec"

const (
	// maxEntryGap is how many lost entries recovery replaces by blanks.
	maxEntryGap = 1 << 20
	// minRecordBytes is the size of the smallest record there can be.
	minRecordBytes = 92
)

// doubt is a record whose queue offset does not follow the one before. Nothing protects the offset, so it counts only
// when the queue's next record goes on from it; else the record's place in the queue stays empty.
type doubt struct {
	offset int64
	entry  entry
}

// redispatch gives a record its queue entry if it has none. With all, the scan began at the log's first record for the
// sake of the queues in redo.
func (r *recovery) redispatch(m *codec.Message, all bool) error {
	if q := r.queueOf(m); q != nil {
		if err := r.place(q, m.QueueOffset, m, all); err != nil {
			return err
		}
	}
	if r.s.opts.MultiDispatch {
		return r.redispatchLMQs(m, all)
	}
	return nil
}

// place gives a record its entry in one queue, at queueOffset.
func (r *recovery) place(q *queue, queueOffset int64, m *codec.Message, all bool) error {
	if r.redo[q] != all {
		return nil
	}
	count := countIn(q, m, r.s.opts.Logger)
	if count == 0 {
		return nil
	}
	x := doubt{queueOffset, entry{physOffset: m.PhysOffset, size: m.TotalSizeBytes, count: count, queueOffset: queueOffset, storeMs: m.StoreTimestampMs}}
	x.entry.tagsCode = tagsCode(r.s.opts.DelayLevels, q.schedule, m.Properties, m.StoreTimestampMs)
	gap := x.offset - q.max.Load()
	if gap == 0 {
		delete(r.doubts, q)
		if q.extended {
			return q.putExtended(x.entry, r.bitMapOf(q, m))
		}
		return r.putLate(q, x.entry)
	}
	if gap > 0 && !all && r.from > r.s.log.minPhys() {
		r.s.opts.Logger.Warn("queue lacks entries, it is made anew from the log",
			"topic", q.topic, "queue", q.id, "has", q.max.Load(), "needs", x.offset)
		r.redo[q] = true
		return nil
	}
	before, doubted := r.doubts[q]
	switch {
	case gap > 0 && (gap <= r.lost || q.isBatch()), gap == 1 && doubted:
		delete(r.doubts, q)
		return r.accept(q, x)
	case doubted && before.entry.end() == x.offset:
		delete(r.doubts, q)
		if err := r.accept(q, before); err != nil || q.max.Load() != x.offset {
			return err
		}
		return q.put(x.entry)
	}
	r.s.opts.Logger.Warn("record has a queue offset out of order",
		"topic", q.topic, "queue", q.id, "offset", x.offset, "expected", q.max.Load(), "phys", m.PhysOffset)
	r.doubts[q] = x
	return nil
}

// bitMapOf returns the bit map for the unit of a record's entry in its own queue, nil for none.
func (r *recovery) bitMapOf(q *queue, m *codec.Message) []byte {
	if f := r.s.filters; q.extended && r.s.opts.BitMaps && f.wantsBits(q.topic) {
		return f.bitMap(nil, q.topic, m.Properties, m.StoreTimestampMs)
	}
	return nil
}

// accept puts an entry whose offset is not the next one: in front of it there is a gap, or the topic was deleted and made
// again, or the log's first records of the queue are deleted.
func (r *recovery) accept(q *queue, x doubt) error {
	gap := x.offset - q.max.Load()
	switch {
	case len(q.files) == 0: // any offset may be the first
	case x.offset == 0:
		if err := q.clear(); err != nil {
			return err
		}
	case gap > 0 && (gap <= maxEntryGap || q.isBatch()):
		if err := q.fill(x.offset, x.entry.physOffset, x.entry.storeMs); err != nil {
			return err
		}
	default:
		return nil
	}
	return q.put(x.entry)
}

// settle decides about doubts that no later record did away with.
func (r *recovery) settle() error {
	if err := r.writeLate(); err != nil {
		return err
	}
	for q, x := range r.doubts {
		if x.offset == 0 || len(q.files) == 0 && r.s.log.minPhys() > 0 {
			if err := r.accept(q, x); err != nil {
				return err
			}
		}
	}
	clear(r.doubts)
	return nil
}
