package store

import (
	"container/heap"
	"time"
)

// PopDue is a delivery whose time is over: what is not acknowledged has to become visible again.
type PopDue struct {
	Topic, Group string
	QueueID      int32
	PopTimeMs    int64
	// DueMs is when its time was over.
	DueMs int64
	// QueueOffsets are the messages that are not acknowledged.
	QueueOffsets []int64
	// Recovered says that an earlier process may have made some of them visible already.
	Recovered bool
	// Suspend says that the delivery does not count as a consumption.
	Suspend bool

	key   popKey
	queue *PopQueue
}

// NextDue fills *d with a delivery that is due at now and reports whether there was one. From here on its acks come too late;
// the caller owes Revived or Postpone.
func (p *Pop) NextDue(now time.Time, d *PopDue) bool {
	for _, l := range p.logs {
		for {
			key, q, ok := l.peekDue(now.UnixMilli())
			if !ok {
				break
			}
			if q.takeDue(key, d) {
				return true
			}
		}
	}
	return false
}

// peekDue names the first checkpoint that is due.
func (l *popLog) peekDue(nowMs int64) (popKey, *PopQueue, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.due) == 0 || l.due[0].dueMs > nowMs || l.due[0].foreign && !l.pop.timerPast(l.due[0].dueMs) {
		return popKey{}, nil, false
	}
	c := l.due[0]
	return c.popKey, c.queue, true
}

// timerPast reports whether what Java's timer held up to dueMs has been delivered: acks among it. Apache: PopReviveService waits
// for its timer in the same way.
func (p *Pop) timerPast(dueMs int64) bool {
	nowMs := p.opts.Now().UnixMilli()
	if p.opts.TimerReached == nil {
		return nowMs >= dueMs+foreignGraceMs
	}
	if asked := p.timerAskedMs.Load(); nowMs-asked >= timerAskMs {
		p.timerAskedMs.Store(nowMs)
		p.timerReachedMs.Store(p.opts.TimerReached().UnixMilli())
	}
	return p.timerReachedMs.Load() >= dueMs+foreignGraceMs
}

// timerAskMs is how often the timer is asked how far it is; it has to count for that.
const timerAskMs = 500

// foreignGraceMs is how much later than its due time Java's timer may deliver an ack: its precision, and the second by which it
// delivers checkpoints early.
const foreignGraceMs = 2_000

// takeDue takes a checkpoint out of the due ones. It is false when it is gone or renewed meanwhile.
func (q *PopQueue) takeDue(key popKey, d *PopDue) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.checkpoints[key]
	if c == nil || c.reviving {
		return false
	}
	c.log.mu.Lock()
	if c.inDue >= 0 {
		heap.Remove(&c.log.due, c.inDue)
	}
	c.log.mu.Unlock()
	c.reviving = true
	*d = PopDue{
		Topic: q.group.Topic, Group: q.group.Group, QueueID: q.id, PopTimeMs: c.popTimeMs, DueMs: c.dueMs, Recovered: c.recovered, Suspend: c.suspend,
		QueueOffsets: d.QueueOffsets[:0], key: key, queue: q,
	}
	for i := range int(c.count) {
		if c.acked&(1<<i) == 0 {
			d.QueueOffsets = append(d.QueueOffsets, c.offset(i))
		}
	}
	return true
}

// Revived notes, durably, that messages of d are visible again; the rest of d, if any, is tried again after pause.
func (p *Pop) Revived(d *PopDue, queueOffsets []int64, pause time.Duration) error {
	q := d.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.checkpoints[d.key]
	if c == nil || !c.reviving {
		return nil
	}
	var bits uint32
	for _, queueOffset := range queueOffsets {
		if i := c.index(queueOffset); i >= 0 {
			bits |= 1 << i
		}
	}
	var err error
	if bits != 0 {
		w := p.scratch.Get().(*popScratch)
		var reviveOffset int64
		if reviveOffset, err = c.log.putAck(w, c, queueOffsets, false); err == nil {
			c.log.reached(reviveOffset)
		}
		p.scratch.Put(w)
	}
	if onesIn(c.acked|bits) >= int(c.count) {
		q.mark(c, bits, 0)
		return err
	}
	q.inFlight -= onesIn(bits &^ c.acked)
	c.acked |= bits
	c.reviving, c.dueMs = false, p.opts.Now().Add(pause).UnixMilli()
	c.log.mu.Lock()
	heap.Push(&c.log.due, c)
	c.log.mu.Unlock()
	return err
}
