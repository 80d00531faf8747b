package store

import (
	"container/heap"
	"slices"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Ordered pops: a queue of a group gives nothing while a message of its last delivery is neither acknowledged nor visible again. The
// offset of the group stands at the first message that is not acknowledged; there is no checkpoint and no retry topic.
//
// Which delivery a queue has is in consumerOrderInfo.json, as Java has it. That file is written every few seconds; so that a kill
// loses nothing, every change is first appended to a journal (popjournal.go).
//
// Apache: ConsumerOrderInfoManager.

const (
	// orderKept is how long the last delivery of a queue is kept. Apache: ConsumerOrderInfoManager.CLEAN_SPAN_FROM_LAST.
	orderKept = 24 * time.Hour
	// OrderIllegal and OrderStale are what OrderAck returns instead of an offset.
	OrderIllegal, OrderStale int64 = -1, -2
)

// orderInfo is the last delivery of a queue. Apache: ConsumerOrderInfoManager.OrderInfo.
type orderInfo struct {
	AttemptID string `json:"a,omitempty"`
	// Acked has a bit for each message.
	Acked       int64 `json:"cm"`
	InvisibleMs int64 `json:"i"`
	LastMs      int64 `json:"l"`
	// Offsets are the first queue offset and the distances of the others to it.
	Offsets []int64 `json:"o"`
	// Counts says how often messages were delivered before, VisibleMs when single ones become visible that were renewed; both by
	// queue offset.
	Counts    map[int64]int32 `json:"oc,omitempty"`
	VisibleMs map[int64]int64 `json:"ot,omitempty"`
	PopTimeMs int64           `json:"popTime"`

	Unknown codec.UnknownFields `json:"-"`
}

// valid reports whether what was read from a file makes sense.
func (o *orderInfo) valid() bool {
	return o != nil && len(o.Offsets) > 0 && len(o.Offsets) <= 63
}

func (o *orderInfo) offset(i int) int64 {
	if i == 0 {
		return o.Offsets[0]
	}
	return o.Offsets[0] + o.Offsets[i]
}

func (o *orderInfo) index(queueOffset int64) int {
	for i := range o.Offsets {
		if o.offset(i) == queueOffset {
			return i
		}
	}
	return -1
}

// freeMs is when the last message that is not acknowledged becomes visible; 0 when all are.
func (o *orderInfo) freeMs() (freeMs int64) {
	for i := range o.Offsets {
		if o.Acked&(1<<i) != 0 {
			continue
		}
		visibleMs, ok := o.VisibleMs[o.offset(i)]
		if !ok {
			visibleMs = o.PopTimeMs + o.InvisibleMs
		}
		freeMs = max(freeMs, visibleMs)
	}
	return freeMs
}

// next is the first offset that is not acknowledged.
func (o *orderInfo) next() int64 {
	for i := range o.Offsets {
		if o.Acked&(1<<i) == 0 {
			return o.offset(i)
		}
	}
	return o.offset(len(o.Offsets)-1) + 1
}

// OrderBlocked reports whether the queue gives nothing at nowMs, but to the attempt that its last delivery went to.
func (q *PopQueue) OrderBlocked(attemptID []byte, nowMs int64) bool {
	o := q.order
	if o == nil || o.AttemptID != "" && o.AttemptID == string(attemptID) {
		return false
	}
	return nowMs < o.freeMs()
}

// OrderTake makes an ordered delivery, durably. What it writes to counts is how often its messages were delivered before:
// PopResponse.OrderCountInfo.
func (q *PopQueue) OrderTake(t *PopTaking, attemptID []byte, counts []byte) ([]byte, error) {
	nowMs := q.group.pop.opts.Now().UnixMilli()
	o := &orderInfo{AttemptID: string(attemptID), InvisibleMs: t.InvisibleMs, LastMs: nowMs, PopTimeMs: t.PopTimeMs}
	for i, queueOffset := range t.QueueOffsets {
		if i > 0 {
			queueOffset -= t.QueueOffsets[0]
		}
		o.Offsets = append(o.Offsets, queueOffset)
	}
	if old := q.order; old != nil {
		o.Counts = countsAfter(old, o)
	}
	if err := q.setOrder(o, t.StartOffset); err != nil {
		return counts, err
	}
	least := int32(0)
	if len(o.Counts) == len(o.Offsets) {
		least = 1<<31 - 1
	}
	for i := range o.Offsets {
		count, ok := o.Counts[o.offset(i)]
		if !ok {
			continue
		}
		counts = codec.AppendOrderCount(counts, codec.PopNormal, q.id, o.offset(i), count)
		least = min(least, count)
	}
	return codec.AppendQueueOrderCount(counts, codec.PopNormal, q.id, least), nil
}

// countsAfter says how often the messages of next were delivered before.
func countsAfter(old, next *orderInfo) map[int64]int32 {
	if old.AttemptID != "" && old.AttemptID == next.AttemptID {
		return old.Counts
	}
	var counts map[int64]int32
	for i := range next.Offsets {
		queueOffset := next.offset(i)
		if old.index(queueOffset) < 0 {
			continue
		}
		if counts == nil {
			counts = make(map[int64]int32, len(next.Offsets))
		}
		counts[queueOffset] = old.Counts[queueOffset] + 1
	}
	return counts
}

// OrderAck acknowledges a message of the last delivery, durably, and returns where the group then stands; OrderStale for an ack of
// another delivery, OrderIllegal for a message that is not of it. Without any delivery only the message at which the group
// stands can be acknowledged; Java moves the group behind any.
func (q *PopQueue) OrderAck(queueOffset, popTimeMs, committed int64) (next int64, err error) {
	o := q.order
	switch {
	case o == nil && queueOffset == committed:
		return queueOffset + 1, q.setOrder(nil, queueOffset+1)
	case o == nil:
		return OrderIllegal, nil
	case o.PopTimeMs != popTimeMs:
		return OrderStale, nil
	}
	i := o.index(queueOffset)
	if i < 0 {
		return OrderIllegal, nil
	}
	acked := *o
	acked.Acked |= 1 << i
	next = acked.next()
	return next, q.setOrder(&acked, next)
}

// OrderExtend makes a message of the last delivery visible at visibleMs. Without such a delivery nothing happens.
func (q *PopQueue) OrderExtend(queueOffset, popTimeMs, visibleMs, committed int64) error {
	if q.order == nil || q.order.PopTimeMs != popTimeMs || q.order.index(queueOffset) < 0 {
		return nil
	}
	o := *q.order
	o.VisibleMs = make(map[int64]int64, len(q.order.VisibleMs)+1)
	for k, v := range q.order.VisibleMs {
		o.VisibleMs[k] = v
	}
	o.VisibleMs[queueOffset] = visibleMs
	return q.setOrder(&o, committed)
}

// OrderClear forgets the last delivery.
func (q *PopQueue) OrderClear(committed int64) error {
	if q.order == nil {
		return nil
	}
	return q.setOrder(nil, committed)
}

// setOrder replaces the last delivery, after the journal has it.
func (q *PopQueue) setOrder(o *orderInfo, committed int64) error {
	if err := q.group.pop.orders.journal.write(q, o, committed); err != nil {
		return err
	}
	q.order = o
	q.group.pop.orders.schedule(q, o)
	return nil
}

// popOrders are the queues with an ordered delivery by the time they are free again.
type popOrders struct {
	journal popJournal
	due     orderDue // guarded by journal.mu
}

func (p *popOrders) schedule(q *PopQueue, o *orderInfo) {
	p.journal.mu.Lock()
	defer p.journal.mu.Unlock()
	var freeMs int64
	if o != nil {
		freeMs = o.freeMs()
	}
	switch {
	case freeMs == 0 && q.inOrder > 0:
		heap.Remove(&p.due, q.inOrder-1)
	case freeMs == 0:
	case q.inOrder > 0:
		q.orderFreeMs = freeMs
		heap.Fix(&p.due, q.inOrder-1)
	default:
		q.orderFreeMs = freeMs
		heap.Push(&p.due, q)
	}
}

// NextFree returns a queue with an ordered delivery whose time is over at now, each once.
func (p *Pop) NextFree(now time.Time) (topic, group string, queueID int32, ok bool) {
	o := &p.orders
	o.journal.mu.Lock()
	defer o.journal.mu.Unlock()
	if len(o.due) == 0 || o.due[0].orderFreeMs > now.UnixMilli() {
		return "", "", 0, false
	}
	q := heap.Pop(&o.due).(*PopQueue)
	return q.group.Topic, q.group.Group, q.id, true
}

// orderDue orders queues by the time they are free.
type orderDue []*PopQueue

func (d orderDue) Len() int           { return len(d) }
func (d orderDue) Less(i, j int) bool { return d[i].orderFreeMs < d[j].orderFreeMs }
func (d orderDue) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].inOrder, d[j].inOrder = i+1, j+1
}

// Push adds a queue. heap calls it.
func (d *orderDue) Push(x any) {
	q := x.(*PopQueue)
	*d = append(*d, q)
	q.inOrder = len(*d)
}

// Pop takes the last queue. heap calls it.
func (d *orderDue) Pop() any {
	last := len(*d) - 1
	q := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	q.inOrder = 0
	return q
}

// equalOrder reports whether two files say the same of a delivery but for acks.
func equalOrder(a, b *orderInfo) bool {
	return a.PopTimeMs == b.PopTimeMs && slices.Equal(a.Offsets, b.Offsets)
}
