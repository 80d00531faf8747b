package store

import (
	"container/heap"
	"math/bits"
	"strconv"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// popLog is one revive queue: what is pending of it, in the order of its records and by due time.
type popLog struct {
	pop *Pop
	id  int32

	// mu guards what follows. It is held while a checkpoint is appended, so that settled never passes over one that is in the log
	// and not yet in the list.
	mu          sync.Mutex
	first, last *popCheckpoint // by reviveOffset
	due         popDue
	tail        int64 // the newest record known to be in

	committed, scanned int64 // only Tick uses them
}

// put appends a checkpoint and lists it.
func (l *popLog) put(c *popCheckpoint, hotOnly bool) error {
	w := l.pop.scratch.Get().(*popScratch)
	defer l.pop.scratch.Put(w)
	l.pop.checkpointRecord(w, c)
	err := l.append(w, c)
	for err == ErrWouldBlock && !hotOnly {
		moved := l.pop.store.log.feeder.waitChan()
		if err = l.append(w, c); err == ErrWouldBlock {
			l.pop.store.waitRoom(moved)
		}
	}
	countPut(&c.queue.group.counts.checkpoints, &c.queue.group.counts.checkpointsRefused, err)
	return err
}

func (l *popLog) append(w *popScratch, c *popCheckpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.pop.store.Put(&w.m, &w.put); err != nil {
		return err
	}
	c.reviveOffset = w.put.QueueOffset
	l.linkLocked(c)
	heap.Push(&l.due, c)
	return nil
}

// putRecord appends a checkpoint that is not pending.
func (l *popLog) putRecord(c *popCheckpoint) error {
	w := l.pop.scratch.Get().(*popScratch)
	defer l.pop.scratch.Put(w)
	l.pop.checkpointRecord(w, c)
	return l.pop.store.PutWait(&w.m, &w.put)
}

// carry appends a pending checkpoint again, as it is now, and lists it at the end.
func (l *popLog) carry(c *popCheckpoint) error {
	w := l.pop.scratch.Get().(*popScratch)
	defer l.pop.scratch.Put(w)
	l.pop.checkpointRecord(w, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.pop.store.Put(&w.m, &w.put); err != nil {
		return err
	}
	l.unlinkLocked(c)
	c.reviveOffset = w.put.QueueOffset
	l.linkLocked(c)
	return nil
}

// putAck appends an ack of messages of a delivery and returns the record's queue offset.
func (l *popLog) putAck(w *popScratch, c *popCheckpoint, queueOffsets []int64, hotOnly bool) (int64, error) {
	l.pop.ackRecord(w, c.queue, l.id, c.popKey, queueOffsets)
	var err error
	if hotOnly {
		err = l.pop.store.Put(&w.m, &w.put)
	} else {
		err = l.pop.store.PutWait(&w.m, &w.put)
	}
	counts := &c.queue.group.counts
	if countPut(&counts.acks, &counts.acksRefused, err); err == nil {
		counts.acksDone.Add(1)
	}
	return w.put.QueueOffset, err
}

// linkLocked puts a checkpoint into the list, near the end as a rule.
func (l *popLog) linkLocked(c *popCheckpoint) {
	after := l.last
	for after != nil && after.reviveOffset > c.reviveOffset {
		after = after.prev
	}
	c.prev = after
	if after == nil {
		c.next, l.first = l.first, c
	} else {
		c.next, after.next = after.next, c
	}
	if c.next == nil {
		l.last = c
	} else {
		c.next.prev = c
	}
	l.tail = max(l.tail, c.reviveOffset)
}

func (l *popLog) unlinkLocked(c *popCheckpoint) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

// remove takes a checkpoint out.
func (l *popLog) remove(c *popCheckpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlinkLocked(c)
	if c.inDue >= 0 {
		heap.Remove(&l.due, c.inDue)
	}
}

// reached notes that records up to reviveOffset are in.
func (l *popLog) reached(reviveOffset int64) {
	l.mu.Lock()
	l.tail = max(l.tail, reviveOffset)
	l.mu.Unlock()
}

// settled returns the newest record before which, and with which, nothing is pending.
func (l *popLog) settled() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != nil {
		return l.first.reviveOffset - 1
	}
	return l.tail
}

// checkpointRecord makes the record of a checkpoint. Its delivery time is now: Java's broker takes the newest one it sees for the
// time up to which its timer has delivered, and revives what is due before.
func (p *Pop) checkpointRecord(w *popScratch, c *popCheckpoint) {
	q := c.queue
	body := codec.PopCheckpoint{
		Acked: int32(c.acked), BrokerName: p.opts.BrokerName, Group: q.group.Group, InvisibleMs: c.invisibleMs, Count: c.count,
		PopTimeMs: c.popTimeMs, QueueID: q.id, StartOffset: c.startOffset, Topic: q.group.Topic, Diffs: c.diffs, Suspend: c.suspend,
	}
	if c.reputs > 0 {
		body.RePutTimes = strconv.Itoa(int(c.reputs))
	}
	if body.Diffs == nil {
		for i := range c.count {
			w.diffs[i] = i
		}
		body.Diffs = w.diffs[:c.count]
	}
	w.body = codec.AppendPopCheckpoint(w.body[:0], &body)
	p.recordOf(w, c.log.id, codec.PopTagCheckpoint, popTagsCheckpoint)
}

// ackRecord makes the record of an ack, a batch ack for more than one message.
func (p *Pop) ackRecord(w *popScratch, q *PopQueue, reviveQueueID int32, key popKey, queueOffsets []int64) {
	body := codec.PopAck{
		QueueOffset: queueOffsets[0], BrokerName: p.opts.BrokerName, Group: q.group.Group, PopTimeMs: key.popTimeMs, QueueID: q.id,
		StartOffset: key.startOffset, Topic: q.group.Topic,
	}
	tag, code := codec.PopTagAck, popTagsAck
	if len(queueOffsets) > 1 {
		body.QueueOffset, body.QueueOffsets = -1, queueOffsets
		tag, code = codec.PopTagBatchAck, popTagsBatchAck
	}
	w.body = codec.AppendPopAck(w.body[:0], &body)
	p.recordOf(w, reviveQueueID, tag, code)
}

var (
	popTagsCheckpoint = codec.TagsCode([]byte(codec.PopTagCheckpoint))
	popTagsAck        = codec.TagsCode([]byte(codec.PopTagAck))
	popTagsBatchAck   = codec.TagsCode([]byte(codec.PopTagBatchAck))
)

func (p *Pop) recordOf(w *popScratch, reviveQueueID int32, tag string, tagsCode int64) {
	nowMs := p.opts.Now().UnixMilli()
	w.props = append(append(append(w.props[:0], codec.PropTags...), 1), tag...)
	w.props = append(append(append(w.props, 2), codec.PropTimerDeliverMs...), 1)
	w.props = append(strconv.AppendInt(w.props, nowMs, 10), 2)
	w.m = Message{
		Topic: p.topic, QueueID: reviveQueueID, BornTimestampMs: nowMs, BornHost: p.store.host.addr, Body: w.body, Properties: w.props,
		TagsCode: tagsCode,
	}
}

func onesIn(b uint32) int { return bits.OnesCount32(b) }

// popDue orders checkpoints by the time they are due.
type popDue []*popCheckpoint

func (d popDue) Len() int           { return len(d) }
func (d popDue) Less(i, j int) bool { return d[i].dueMs < d[j].dueMs }
func (d popDue) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].inDue, d[j].inDue = i, j
}

// Push adds a checkpoint. heap calls it.
func (d *popDue) Push(x any) {
	c := x.(*popCheckpoint)
	c.inDue = len(*d)
	*d = append(*d, c)
}

// Pop takes the last checkpoint. heap calls it.
func (d *popDue) Pop() any {
	last := len(*d) - 1
	c := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	c.inDue = -1
	return c
}
