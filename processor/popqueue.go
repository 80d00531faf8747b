package processor

import (
	"encoding/binary"
	"errors"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Popping from one queue.

// fromQueue pops from one queue as much as there is room for. The error is remoting.ErrHandOver, with hotOnly and before
// anything was popped.
func (c *popCall) fromQueue(name []byte, topic string, kind byte, queueID int32, hotOnly bool) error {
	pp, p, h := c.pp, c.pp.p, &c.h
	var q *store.PopQueue
	if hotOnly {
		if q = pp.state.TryLock(name, h.Group, queueID); q == nil {
			c.contended = true
			c.rest++ // of what is behind only its holder knows
			return nil
		}
	} else {
		q = pp.state.Lock(name, h.Group, queueID)
	}
	defer q.Unlock()
	offset, err := c.offset(q, name, topic, queueID)
	if err != nil {
		p.log.Warn("begin of a pop", "topic", topic, "queue", queueID, "group", string(h.Group), "error", err)
		return nil
	}
	live := p.live()
	switch {
	case h.Order && q.OrderBlocked(h.AttemptID, p.opts.Now().UnixMilli()):
		return nil // what waits behind does not count: an ack tells
	case live.PopThreshold && !h.Order && int64(q.InFlight()) > live.PopInFlightThreshold:
		c.rest += p.store.MaxQueueOffset(topic, queueID) - offset
		return nil
	case c.count >= int(h.MaxMsgs):
		c.rest += p.store.MaxQueueOffset(topic, queueID) - offset
		return nil
	}
	got, offset, err := c.get(q, name, topic, queueID, offset, hotOnly)
	if err != nil {
		if c.count == 0 {
			return p.getError(err)
		}
		c.rest += p.store.MaxQueueOffset(topic, queueID) - offset
		return nil
	}
	return c.deliver(q, got, topic, kind, queueID, offset, hotOnly)
}

// offset returns where the group continues in a queue.
func (c *popCall) offset(q *store.PopQueue, name []byte, topic string, queueID int32) (int64, error) {
	p, h := c.pp.p, &c.h
	if queueOffset, ok := p.offsets.TakeReset(h.Group, name, queueID); ok {
		if err := q.Reset(queueOffset); err != nil {
			return 0, err
		}
		return queueOffset, p.offsets.Commit(h.Group, name, queueID, queueOffset)
	}
	committed, ok := p.offsets.Query(h.Group, name, queueID)
	if !ok || committed < 0 {
		committed = c.initial(topic, queueID)
		if err := p.offsets.Commit(h.Group, name, queueID, committed); err != nil {
			return 0, err
		}
	}
	if c.h.Order {
		return committed, nil // an ordered group stands at its first message that is not acknowledged
	}
	return max(q.Cursor(), committed), nil
}

// initial returns where a group begins that never popped a queue. Apache: PopMessageProcessor.getInitOffset.
func (c *popCall) initial(topic string, queueID int32) int64 {
	p := c.pp.p
	if c.h.InitMode == codec.PopInitMin || isRetryTopic(topic) {
		return p.store.MinQueueOffset(topic, queueID)
	}
	return p.lastOrHot(topic, queueID)
}

// lastOrHot is where a group begins that wants the last message of a queue: at the first one while that is in memory.
func (p *Processor) lastOrHot(topic string, queueID int32) int64 {
	if p.live().PopInitByMemory && p.store.MinQueueOffset(topic, queueID) <= 0 {
		if physOffset, _, _, ok := p.store.QueueEntry(topic, queueID, 0); ok && p.store.InMemory(physOffset) {
			return 0
		}
	}
	return max(p.store.MaxQueueOffset(topic, queueID)-1, 0)
}

func isRetryTopic(topic string) bool {
	return len(topic) >= len(store.RetryTopicPrefix) && topic[:len(store.RetryTopicPrefix)] == store.RetryTopicPrefix
}

// get reads from offset, or from where the queue says when that is out of its range. The result counts as held after a success.
func (c *popCall) get(q *store.PopQueue, name []byte, topic string, queueID int32, offset int64, hotOnly bool) (*store.GetResult, int64, error) {
	p := c.pp.p
	if c.held == len(c.got) {
		c.got = append(c.got, store.GetResult{})
	}
	got := &c.got[c.held]
	request := &c.ask
	*request = store.GetRequest{
		Topic: topic, QueueID: queueID, QueueOffset: offset, MaxMsgs: int(c.h.MaxMsgs) - c.count, Filter: c.filter, SQL: c.sql, HotOnly: hotOnly,
	}
	began := p.stats.getTimes.begin()
	err := p.store.Get(request, got)
	if err == nil {
		p.stats.read(got.Status)
		switch got.Status {
		case store.OffsetTooSmall, store.OffsetOverflowBadly, store.OffsetFoundNull:
			p.log.Warn("a pop continues elsewhere", "topic", topic, "queue", queueID, "group", string(c.h.Group), "from", offset, "at", got.NextQueueOffset)
			offset = got.NextQueueOffset
			if err = p.offsets.Commit(c.h.Group, name, queueID, offset); err == nil {
				q.Skip(offset)
				request.QueueOffset = offset
				got.Release()
				if err = p.store.Get(request, got); err == nil {
					p.stats.read(got.Status)
				}
			}
		}
	}
	p.stats.getTimes.end(began)
	if err != nil {
		return nil, offset, err
	}
	c.held++
	return got, offset, nil
}

// deliver makes what was read a delivery and adds it to the answer.
func (c *popCall) deliver(q *store.PopQueue, got *store.GetResult, topic string, kind byte, queueID int32, offset int64, hotOnly bool) error {
	p, h := c.pp.p, &c.h
	if got.Count == 0 {
		if h.Order && got.NextQueueOffset > offset && got.Status == store.NoMatchedMessage {
			if err := p.offsets.Commit(h.Group, []byte(topic), queueID, got.NextQueueOffset); err != nil {
				p.log.Warn("pass messages over", "topic", topic, "queue", queueID, "group", string(h.Group), "error", err)
			}
		}
		if got.NextQueueOffset > offset && got.Status != store.OffsetOverflowOne {
			q.Skip(got.NextQueueOffset)
			c.skipped = true
		}
		c.drop(got)
		c.rest += max(got.MaxQueueOffset-max(got.NextQueueOffset, offset), 0)
		return nil
	}
	c.offsets = appendQueueOffsets(c.offsets[:0], got.Parts)
	c.take = store.PopTaking{
		StartOffset: offset, Next: got.NextQueueOffset, QueueOffsets: c.offsets, PopTimeMs: c.resp.PopTimeMs, InvisibleMs: h.InvisibleMs, HotOnly: hotOnly,
	}
	var err error
	if h.Order {
		c.resp.OrderCountInfo, err = q.OrderTake(&c.take, h.AttemptID, c.resp.OrderCountInfo)
	} else {
		err = q.Take(&c.take)
	}
	if err != nil {
		c.drop(got)
		c.rest += max(got.MaxQueueOffset-offset, 0)
		switch {
		case errors.Is(err, store.ErrWouldBlock) && c.count == 0 && hotOnly: // never for an ordered pop, which is not hot
			return remoting.ErrHandOver
		case !errors.Is(err, store.ErrWouldBlock):
			p.log.Warn("note a delivery", "topic", topic, "queue", queueID, "group", string(h.Group), "error", err)
		}
		return nil
	}
	c.resp.StartOffsetInfo = codec.AppendStartOffset(c.resp.StartOffsetInfo, kind, queueID, offset)
	c.resp.MsgOffsetInfo = codec.AppendMsgOffsets(c.resp.MsgOffsetInfo, kind, queueID, c.offsets)
	c.rest += got.MaxQueueOffset - got.NextQueueOffset
	c.count += got.Count
	c.bytes += got.Bytes
	if kind != codec.PopNormal && !p.live().PopActualRetryTopic {
		c.rewrite(got, kind, offset)
		c.drop(got)
	}
	return nil
}

// drop gives back the last result.
func (c *popCall) drop(got *store.GetResult) {
	got.Release()
	c.held--
}

// appendQueueOffsets reads the queue offsets of stored records.
func appendQueueOffsets(dst []int64, parts [][]byte) []int64 {
	for _, part := range parts {
		for len(part) > codec.PosPhysOffset {
			dst = append(dst, int64(binary.BigEndian.Uint64(part[codec.PosQueueOffset:])))
			part = part[min(len(part), int(max(binary.BigEndian.Uint32(part), codec.PosPhysOffset))):]
		}
	}
	return dst
}

// rewrite makes the records of a retry topic ones of the topic that was asked for, with their receipts.
func (c *popCall) rewrite(got *store.GetResult, kind byte, startOffset int64) {
	p := c.pp.p
	receipt := codec.Receipt{
		StartOffset: startOffset, PopTimeMs: c.resp.PopTimeMs, InvisibleMs: c.h.InvisibleMs, ReviveQueueID: c.resp.ReviveQueueID, Kind: kind,
		BrokerName: []byte(p.live().BrokerName),
	}
	var m codec.Message
	var props []byte
	for _, part := range got.Parts {
		for len(part) > 0 {
			n, err := codec.DecodeMessage(part, &m)
			if err != nil {
				p.log.Error("record of a retry topic is not readable", "topic", string(m.Topic), "group", string(c.h.Group), "error", err)
				return
			}
			part = part[n:]
			receipt.QueueID, receipt.QueueOffset = m.QueueID, m.QueueOffset
			props = append(props[:0], m.Properties...)
			if _, ok := codec.Property(m.Properties, codec.PropPopCK); !ok {
				if len(props) > 0 && props[len(props)-1] != propEnd {
					props = append(props, propEnd)
				}
				props = append(append(props, codec.PropPopCK...), 1)
				props = append(codec.AppendReceipt(props, &receipt), propEnd)
			}
			m.Topic, m.Properties, m.Magic = c.h.Topic, props, codec.MagicFor(len(c.h.Topic))
			c.text = codec.AppendMessage(c.text, &m)
		}
	}
}
