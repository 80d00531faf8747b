package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// Light message queues (LMQ): a message may name further queues in INNER_MULTI_DISPATCH, separated by commas. The append gives it
// an offset in each of them, kept in INNER_MULTI_QUEUE_OFFSET in the same order, and the dispatcher writes an entry to queue 0 of
// each. Such a queue has no topic configuration. Apache: LmqDispatch, MultiDispatchUtils, ConsumeQueue.multiDispatchLmqQueue.
const (
	// LMQPrefix begins the names of light message queues, and of groups that consume them.
	LMQPrefix = "%LMQ%"

	lmqSeparator = ','
	lmqQueueID   = 0
)

// ErrTooManyLMQs says that a message names light message queues that Options.MaxLMQs has no room for.
var ErrTooManyLMQs = errors.New("too many light message queues")

// IsLMQ reports whether the name of a topic or a group is one of a light message queue. Apache: MixAll.isLmq.
func IsLMQ[T string | []byte](name T) bool {
	return len(name) >= len(LMQPrefix) && string(name[:len(LMQPrefix)]) == LMQPrefix
}

// allowsLMQ reports whether messages of a topic may name light message queues. Apache: MixAll.topicAllowsLMQ.
func allowsLMQ[T string | []byte](topic T) bool {
	begins := func(prefix string) bool { return len(topic) >= len(prefix) && string(topic[:len(prefix)]) == prefix }
	return !begins(RetryTopicPrefix) && !begins(TopicSystemPrefix) && string(topic) != TopicSchedule
}

// possibleLMQ reports whether name may be the directory of a light message queue.
func possibleLMQ(name []byte) bool {
	return IsLMQ(name) && len(name) <= maxRetryTopLen && !bytes.ContainsAny(name, "/\\\x00")
}

// lmqIter walks the light message queues of a stored record.
type lmqIter struct {
	Name        []byte // aliases the record
	QueueOffset int64

	names, offsets []byte
}

// lmqsOf returns an iterator over the light message queues of a record. As in Java there are none when names and offsets are not
// as many.
func lmqsOf[T string | []byte](topic T, props []byte) (it lmqIter) {
	for pair := codec.NewPropertyIter(props); pair.Next(); {
		switch string(pair.Key) {
		case codec.PropInnerMultiDispatch:
			it.names = bytes.TrimRight(pair.Value, ",")
		case codec.PropInnerMultiQueueOffset:
			it.offsets = bytes.TrimRight(pair.Value, ",")
		}
	}
	if len(it.names) == 0 || len(it.offsets) == 0 || !allowsLMQ(topic) ||
		bytes.Count(it.names, []byte{lmqSeparator}) != bytes.Count(it.offsets, []byte{lmqSeparator}) {
		return lmqIter{}
	}
	return it
}

// next moves to the next queue that can be one; false at the end.
func (it *lmqIter) next() bool {
	for len(it.names) > 0 {
		var text []byte
		it.Name, it.names, _ = bytes.Cut(it.names, []byte{lmqSeparator})
		text, it.offsets, _ = bytes.Cut(it.offsets, []byte{lmqSeparator})
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err == nil && n >= 0 && possibleLMQ(it.Name) {
			it.QueueOffset = n
			return true
		}
	}
	return false
}

// lmqPut is the memory of one put with light message queues.
type lmqPut struct {
	queues []*queue
	rest   []byte // the properties but the offsets
	props  []byte // with the offsets
	record record
}

// lmqPlan looks at the properties of a message that is to be put. It is nil when the message names no light message queue. props
// are then the ones to store: offsets that came with the message mean nothing.
func (s *Store) lmqPlan(m *Message) (p *lmqPut, props []byte, err error) {
	var names []byte
	stale := false
	for it := codec.NewPropertyIter(m.Properties); it.Next(); {
		switch string(it.Key) {
		case codec.PropInnerMultiDispatch:
			names = it.Value
		case codec.PropInnerMultiQueueOffset:
			stale = true
		}
	}
	if names == nil && !stale || !allowsLMQ(m.Topic) || !queued(m.SysFlag) || m.SysFlag&codec.SysInnerBatch != 0 {
		return nil, m.Properties, nil
	}
	// A half message is not delivered yet; it is when it is committed.
	if names != nil && m.Topic != TopicTransHalf && m.Topic != TopicTransOp {
		p = s.lmqPuts.Get().(*lmqPut)
		if err := p.plan(s, m, names); err != nil || len(p.queues) > 0 {
			return p, nil, err
		}
		s.lmqPuts.Put(p)
	}
	if !stale {
		return nil, m.Properties, nil
	}
	return nil, codec.AppendPropertiesWithout(nil, m.Properties, codec.PropInnerMultiQueueOffset), nil
}

// plan finds the queues and writes the properties up to the offsets. Names that cannot be queues or come twice are left out: Java's
// dispatcher would stumble over their offsets. The error is ErrTooManyLMQs.
func (p *lmqPut) plan(s *Store, m *Message, names []byte) error {
	p.queues, p.rest = p.queues[:0], p.rest[:0]
	all := names
	kept := 0
	for len(names) > 0 {
		var name []byte
		name, names, _ = bytes.Cut(names, []byte{lmqSeparator})
		if !possibleLMQ(name) || string(name) == m.Topic {
			continue
		}
		q := s.queues.findBytes(name, lmqQueueID)
		if q == nil {
			if s.lmqsFull() {
				return fmt.Errorf("%w: %d", ErrTooManyLMQs, s.opts.MaxLMQs)
			}
			q = s.queues.findOrCreate(string(name), lmqQueueID)
		}
		if slices.Contains(p.queues, q) {
			continue
		}
		p.queues = append(p.queues, q)
		kept += len(name) + 1
	}
	if len(p.queues) > 0 && kept == len(all)+1 {
		p.rest = codec.AppendPropertiesWithout(p.rest, m.Properties, codec.PropInnerMultiQueueOffset)
		return nil
	}
	p.rest = codec.AppendPropertiesWithout(p.rest, m.Properties, codec.PropInnerMultiQueueOffset, codec.PropInnerMultiDispatch)
	p.rest = append(append(p.rest, codec.PropInnerMultiDispatch...), 1)
	for i, q := range p.queues {
		if i > 0 {
			p.rest = append(p.rest, lmqSeparator)
		}
		p.rest = append(p.rest, q.topic...)
	}
	p.rest = append(p.rest, 2)
	return nil
}

// lmqsFull reports whether there is no room for a further light message queue. What a race lets in over the bound is a few.
func (s *Store) lmqsFull() bool { return s.queues.lmqs.Load() >= int64(s.opts.MaxLMQs) }

// putLMQ is Put for a message with light message queues. The offsets in them are known under the append lock only, and with them the
// record's size.
func (s *Store) putLMQ(p *lmqPut, m *Message, r *PutResult) error {
	q, err := s.queueFor(m)
	if err != nil {
		return err
	}
	rec := &p.record
	p.rest = s.encode(rec, m, p.rest)
	rec.fill(m.Flag, m.Body, nil, m.TagsCode)
	bare := rec.size
	rec.lmqs = true
	ms := s.nowMs(m)
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.removed || slices.ContainsFunc(p.queues, func(q *queue) bool { return q.removed }) {
		return errGone
	}
	p.appendOffsets()
	rec.props, rec.size = p.props, bare+len(p.props)
	if err := s.checkRecord(rec, rec.size); err != nil {
		return err
	}
	from := l.cur.base + l.pos
	seg, err := l.reserve(int64(rec.size))
	if err != nil {
		return err
	}
	now := max(ms, l.lastMs.Load()) // never back
	dst := seg.data[l.pos : l.pos+int64(rec.size)]
	s.appendLocked(q, rec, dst, from, seg.base+l.pos, now, r)
	for _, q := range p.queues {
		q.next++
	}
	finish(dst, rec.size)
	l.advance(int64(rec.size), now)
	return nil
}

// appendOffsets completes the properties. The caller holds the append lock.
func (p *lmqPut) appendOffsets() {
	p.props = append(append(append(p.props[:0], p.rest...), codec.PropInnerMultiQueueOffset...), 1)
	for i, q := range p.queues {
		if i > 0 {
			p.props = append(p.props, lmqSeparator)
		}
		p.props = strconv.AppendInt(p.props, q.next, 10)
	}
	p.props = append(p.props, 2)
}

// release drops what belongs to the caller of a put.
func (s *Store) release(p *lmqPut) {
	clear(p.queues)
	p.record.forget()
	s.lmqPuts.Put(p)
}

// putMulti puts a message if it names light message queues; done is false when it does not, and props are what to store of it.
func (s *Store) putMulti(m *Message, r *PutResult) (props []byte, done bool, err error) {
	if !s.opts.MultiDispatch {
		return m.Properties, false, nil
	}
	return s.putNamed(m, r)
}

func (s *Store) putNamed(m *Message, r *PutResult) (props []byte, done bool, err error) {
	for {
		p, props, err := s.lmqPlan(m)
		if p == nil || err != nil {
			return props, err != nil, err
		}
		err = s.putLMQ(p, m, r)
		s.release(p)
		if err == errGone { // a topic was deleted since; there are new queues
			continue
		}
		if err == nil {
			s.dispatcher.published()
		}
		return nil, true, err
	}
}

// deliverLMQs writes the entries of a record in its light message queues.
func (d *dispatcher) deliverLMQs(lmq lmqIter, it *dispatchItem, tags int64) error {
	for lmq.next() {
		if d.deleted.covers(lmq.Name, it.physOffset) {
			continue
		}
		q := d.queues.findBytes(lmq.Name, lmqQueueID)
		if q == nil {
			q = d.queues.findOrCreate(string(lmq.Name), lmqQueueID)
		}
		switch gap := q.gap(lmq.QueueOffset); {
		case gap < 0: // written before a part of the record's entries could not be
			continue
		case gap > 0:
			d.opts.Logger.Error("record has an offset out of order in a light message queue", "topic", q.topic, "offset", lmq.QueueOffset,
				"expected", q.max.Load(), "phys", it.physOffset)
			continue
		}
		one := *it
		one.q, one.topic, one.queueOffset, one.count = q, q.topic, lmq.QueueOffset, 1
		e := entry{physOffset: it.physOffset, size: it.size, count: 1, tagsCode: tags, queueOffset: lmq.QueueOffset, storeMs: it.storeMs}
		if err := q.put(e); err != nil {
			return err
		}
		d.touch(&one, tags)
	}
	return nil
}

// deliverOrphan writes the entries in light message queues of a record whose own queue is deleted.
func (d *dispatcher) deliverOrphan(m *codec.Message) error {
	if !queued(m.SysFlag) {
		return nil
	}
	it := dispatchItem{physOffset: m.PhysOffset, size: m.TotalSizeBytes, storeMs: m.StoreTimestampMs}
	return d.deliverLMQs(lmqsOf(m.Topic, m.Properties), &it, tagsCode(nil, false, m.Properties, m.StoreTimestampMs))
}

// gap is how far queueOffset lies behind the next one to write, 0 in a queue without entries.
func (q *queue) gap(queueOffset int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.files) == 0 {
		return 0
	}
	return queueOffset - q.max.Load()
}

// redispatchLMQs gives a record its entries in light message queues. See redispatch.
func (r *recovery) redispatchLMQs(m *codec.Message, all bool) error {
	if !queued(m.SysFlag) {
		return nil
	}
	for lmq := lmqsOf(m.Topic, m.Properties); lmq.next(); {
		if r.s.deleted.covers(lmq.Name, m.PhysOffset) {
			continue
		}
		q := r.s.queues.findBytes(lmq.Name, lmqQueueID)
		if q == nil {
			q = r.s.queues.findOrCreate(string(lmq.Name), lmqQueueID)
		}
		if err := r.place(q, lmq.QueueOffset, m, all); err != nil {
			return err
		}
	}
	return nil
}

// withoutLMQOffsets returns the properties of an entry of a batch, which gets no entries in light message queues.
func withoutLMQOffsets(props []byte) []byte {
	if _, ok := codec.Property(props, codec.PropInnerMultiQueueOffset); !ok {
		return props
	}
	return codec.AppendPropertiesWithout(nil, props, codec.PropInnerMultiQueueOffset)
}
