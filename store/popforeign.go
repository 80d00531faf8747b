package store

import (
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// Deliveries that Java's broker made before it left the store to us. Java writes checkpoints and acks as timer messages: a checkpoint
// reaches the revive topic a second before its time is over, an ack when it is over. So we do not know a delivery until then. What
// clients say of it meanwhile is written as Java writes it, as a timer message: it arrives behind the checkpoint, here and, should
// Java have the store again by then, there.
//
// Apache: AckMessageProcessor.appendAck, ChangeInvisibleTimeProcessor, PopMessageProcessor.genAckUniqueId.

// isForeign reports whether a record came by Java's timer: those have a unique key and ours none.
func isForeign(m *codec.Message) bool {
	_, ok := codec.Property(m.Properties, codec.PropUniqKey)
	return ok
}

// ackKeySeparator is between the parts of the unique key of an ack. Apache: PopAckConstants.SPLIT.
const ackKeySeparator = "@"

// PopReceipt is what a client says of a delivery.
type PopReceipt struct {
	StartOffset, PopTimeMs, InvisibleMs int64
	ReviveQueueID                       int32
}

// MayBeForeign reports whether a delivery of that time that is not known may be one of Java's broker; most are not.
func (p *Pop) MayBeForeign(popTimeMs int64) bool { return p.wheelEnd > 0 && popTimeMs < p.openedMs }

// mayBeForeign reports whether a delivery that we do not know may wait in Java's timer: it is older than this process, its time is not
// over, and the timer had messages when the process began.
func (p *Pop) mayBeForeign(r *PopReceipt, nowMs int64) bool {
	return p.wheelEnd > 0 && p.opts.Redirect != nil && r.PopTimeMs < p.openedMs && r.InvisibleMs > 0 && nowMs < r.PopTimeMs+r.InvisibleMs &&
		r.ReviveQueueID >= 0 && int(r.ReviveQueueID) < len(p.logs)
}

// AckForeign takes acks of a delivery that Ack has not found, and reports whether it may be one that Java's timer holds. They are
// durable then.
func (q *PopQueue) AckForeign(r *PopReceipt, queueOffsets []int64) (bool, error) {
	p := q.group.pop
	if q.checkpoints[popKey{r.StartOffset, r.PopTimeMs}] != nil || !p.mayBeForeign(r, p.opts.Now().UnixMilli()) {
		return false, nil
	}
	for _, queueOffset := range queueOffsets {
		if err := q.putForeignAck(r, queueOffset); err != nil {
			return true, err
		}
	}
	return true, nil
}

// ExtendForeign is Extend for a delivery that Extend has not found; 0 says that it is none that Java's timer may hold.
func (q *PopQueue) ExtendForeign(r *PopReceipt, queueOffset, nowMs, invisibleMs int64) (popTimeMs int64, err error) {
	p := q.group.pop
	if q.checkpoints[popKey{r.StartOffset, r.PopTimeMs}] != nil || !p.mayBeForeign(r, nowMs) {
		return 0, nil
	}
	key := popKey{queueOffset, nowMs}
	for q.checkpoints[key] != nil {
		key.popTimeMs++
	}
	c := p.newCheckpoint(q, key, invisibleMs)
	c.log, c.count = p.logs[r.ReviveQueueID], 1
	if err := q.append(c, false); err != nil {
		p.recycle(c)
		return 0, err
	}
	return key.popTimeMs, q.putForeignAck(r, queueOffset)
}

// putForeignAck writes an ack that the timer brings to the revive topic when the delivery's time is over.
func (q *PopQueue) putForeignAck(r *PopReceipt, queueOffset int64) error {
	p := q.group.pop
	nowMs, dueMs := p.opts.Now().UnixMilli(), r.PopTimeMs+r.InvisibleMs
	body := codec.PopAck{
		QueueOffset: queueOffset, BrokerName: p.opts.BrokerName, Group: q.group.Group, PopTimeMs: r.PopTimeMs, QueueID: q.id,
		StartOffset: r.StartOffset, Topic: q.group.Topic,
	}
	key := q.group.Topic
	for _, part := range [...]string{
		strconv.Itoa(int(q.id)), strconv.FormatInt(queueOffset, 10), q.group.Group, strconv.FormatInt(r.PopTimeMs, 10), p.opts.BrokerName,
		codec.PopTagAck,
	} {
		key += ackKeySeparator + part
	}
	props := codec.AppendProperty(nil, codec.PropTags, codec.PopTagAck)
	props = codec.AppendProperty(props, codec.PropTimerDeliverMs, strconv.FormatInt(dueMs, 10))
	props = codec.AppendProperty(props, codec.PropUniqKey, key)
	m := Message{
		Topic: p.topic, QueueID: r.ReviveQueueID, BornTimestampMs: nowMs, BornHost: p.store.host.addr, Body: codec.AppendPopAck(nil, &body),
		Properties: props, TagsCode: popTagsAck,
	}
	p.opts.Redirect(&m, dueMs)
	err := p.store.PutWait(&m, new(PutResult))
	countPut(&q.group.counts.acks, &q.group.counts.acksRefused, err)
	return err
}

// popForeignBatch is how many records of a revive queue one Tick looks at.
const popForeignBatch = 10_000

// readForeign takes in what Java's timer messages have brought into the revive topic since: checkpoints and acks of a Java broker
// that had the store before. Without a timer message from before this process there can be none.
func (p *Pop) readForeign() {
	if p.wheelEnd == 0 {
		return
	}
	r := popReplay{p: p, foreignOnly: true}
	for _, l := range p.logs {
		most := p.store.MaxQueueOffset(p.topic, l.id)
		for n := 0; l.scanned < most && n < popForeignBatch; n++ {
			next, err := r.some(l, l.scanned)
			if err != nil {
				p.opts.Logger.Warn("read deliveries of another broker", "topic", p.topic, "queue", l.id, "offset", l.scanned, "err", err)
				return
			}
			l.scanned = max(next, l.scanned+1)
		}
	}
}
