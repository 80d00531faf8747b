package processor

import (
	"container/heap"
	"errors"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Deliveries of lite topics in flight, and what ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME with a liteTopic do to them.
//
// Behavior:
// * A group has one delivery of a topic at a time: the topic gives nothing while one of its messages is neither acknowledged nor
//   visible again, but to the attempt (attemptId) that got it. The group's offset stands at the first message that is not acknowledged.
// * An ack of another delivery than the last is passed over, one of a message that is not of it is 13. After a restart only the
//   message at which the group stands can be acknowledged; Java moves the group behind any, and loses the ones before.
// * suspend=true makes the whole delivery visible at one time; what was delivered before counts one less.
// * A delivery that is acknowledged is forgotten; Java keeps it for a day.
//
// Apache: MemoryConsumerOrderInfoManager, AckMessageProcessor.ackLite, ChangeInvisibleTimeProcessor.processChangeInvisibleTimeForLite.

// flightKept is how long a delivery is kept that nobody acknowledges nor pops again. Apache: QueueLevelConsumerManager.CLEAN_SPAN_FROM_LAST.
const flightKept = 24 * time.Hour

// liteFlight is the last delivery of a topic to a group. liteTopic.mu guards it.
type liteFlight struct {
	topic       *liteTopic
	group       string
	attempt     []byte
	popTimeMs   int64
	invisibleMs int64
	start       int64
	count       int32
	acked       uint32
	// diffs are the distances of the messages to start; nil when they follow each other.
	diffs []int32
	// counts say how often the messages were delivered before, visible when they become visible where that was changed; nil for none.
	counts  []int32
	visible []int64

	// lites.dueMu guards what follows.
	freeMs int64
	inDue  int // place in lites.due plus one, 0 for none
}

// flight returns the last delivery to a group, or nil. The caller holds t.mu.
func (t *liteTopic) flight(group []byte) *liteFlight {
	for _, f := range t.flights {
		if f.group == string(group) {
			return f
		}
	}
	return nil
}

func (f *liteFlight) offset(i int) int64 {
	if f.diffs == nil {
		return f.start + int64(i)
	}
	return f.start + int64(f.diffs[i])
}

func (f *liteFlight) index(queueOffset int64) int {
	for i := range int(f.count) {
		if f.offset(i) == queueOffset {
			return i
		}
	}
	return -1
}

// free is when the last message that is not acknowledged becomes visible, 0 when all are.
func (f *liteFlight) free() (freeMs int64) {
	for i := range int(f.count) {
		if f.acked&(1<<i) != 0 {
			continue
		}
		visibleMs := f.popTimeMs + f.invisibleMs
		if f.visible != nil && f.visible[i] != 0 {
			visibleMs = f.visible[i]
		}
		freeMs = max(freeMs, visibleMs)
	}
	return freeMs
}

// next is the first offset that is not acknowledged.
func (f *liteFlight) next() int64 {
	for i := range int(f.count) {
		if f.acked&(1<<i) == 0 {
			return f.offset(i)
		}
	}
	return f.offset(int(f.count)-1) + 1
}

// blocks reports whether the topic gives nothing to this attempt.
func (f *liteFlight) blocks(attempt []byte, nowMs int64) bool {
	if f == nil || len(attempt) > 0 && string(f.attempt) == string(attempt) {
		return false
	}
	return nowMs < f.free()
}

// countsAfter says how often the messages of next were delivered before.
func (f *liteFlight) countsAfter(next *liteFlight) {
	once := int32(1)
	if len(f.attempt) > 0 && string(f.attempt) == string(next.attempt) {
		if once = 0; f.counts == nil {
			return
		}
	}
	for i := range int(next.count) {
		at := f.index(next.offset(i))
		if at < 0 {
			continue
		}
		if next.counts == nil {
			next.counts = make([]int32, next.count)
		}
		if next.counts[i] = once; f.counts != nil {
			next.counts[i] += f.counts[at]
		}
	}
}

// appendCounts writes how often the messages were delivered before, one entry a message.
func (f *liteFlight) appendCounts(dst []byte) []byte {
	for i := range int(f.count) {
		switch {
		case f.counts != nil:
			dst = codec.AppendOrderCount(dst, codec.PopNormal, 0, f.offset(i), f.counts[i])
		case len(dst) > 0:
			dst = append(dst, ';', '0')
		default:
			dst = append(dst, '0')
		}
	}
	return dst
}

// fly makes f the last delivery to its group. The caller holds t.mu.
func (l *lites) fly(t *liteTopic, f *liteFlight) {
	for i, old := range t.flights {
		if old.group == f.group {
			l.recycle(old)
			t.flights[i] = f
			l.reschedule(f, f.free())
			return
		}
	}
	t.flights = append(t.flights, f)
	l.flights.Add(1)
	l.reschedule(f, f.free())
}

// land forgets a delivery. The caller holds t.mu.
func (l *lites) land(t *liteTopic, f *liteFlight) {
	for i := range t.flights {
		if t.flights[i] == f {
			last := len(t.flights) - 1
			t.flights[i], t.flights[last] = t.flights[last], nil
			t.flights = t.flights[:last]
			l.flights.Add(-1)
			l.recycle(f)
			return
		}
	}
}

// recycle gives a delivery back that is not in its topic any more.
func (l *lites) recycle(f *liteFlight) {
	l.reschedule(f, 0)
	*f = liteFlight{attempt: f.attempt[:0]}
	l.free.Put(f)
}

// landGroup forgets the last delivery to a group.
func (l *lites) landGroup(t *liteTopic, group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.flight([]byte(group)); f != nil {
		l.land(t, f)
	}
}

// reschedule sets when a delivery is visible again, 0 for never.
func (l *lites) reschedule(f *liteFlight, freeMs int64) {
	l.dueMu.Lock()
	defer l.dueMu.Unlock()
	f.freeMs = freeMs
	switch {
	case freeMs == 0 && f.inDue > 0:
		heap.Remove(&l.due, f.inDue-1)
	case freeMs == 0:
	case f.inDue > 0:
		heap.Fix(&l.due, f.inDue-1)
	default:
		heap.Push(&l.due, f)
	}
}

// liteTarget is the lite topic that an ack or a change of the invisible time is about; nil when the broker has none of that name.
func (l *lites) target(h *codec.AckHeader) (*liteTopic, error) {
	var buf [512]byte
	name := store.AppendLiteQueue(buf[:0], h.Topic, h.LiteTopic)
	end := l.p.store.MaxQueueOffset(string(name), 0)
	if h.QueueOffset > end {
		return nil, refuse(codec.NoMessage, "ack offset illegal.")
	}
	t := l.find(name)
	if t == nil && end > 0 {
		t = l.topic(string(name))
	}
	return t, nil
}

// ack answers an ACK_MESSAGE of a lite topic.
func (l *lites) ack(req *remoting.Request, c *ackCall) (*codec.Command, error) {
	h, p := &c.h, l.p
	group, ok := p.groups.Find(h.Group)
	if !ok || liteBound(group) != string(h.Topic) {
		return nil, refuse(codec.InvalidParameter, "group type or bind topic not match.")
	}
	t, err := l.target(h)
	if err != nil {
		return nil, err
	}
	if err := codec.ParseReceipt(h.Receipt, &c.receipt); err != nil {
		return nil, err
	}
	if h.QueueID != 0 || c.receipt.ReviveQueueID != codec.PopOrderReviveQueue {
		return nil, refuse(codec.InvalidParameter, "ack queue illegal.")
	}
	if t == nil {
		return nil, refuse(codec.MessageIllegal, "ack offset illegal.")
	}
	if !t.lock(req.Inline()) {
		return nil, remoting.ErrHandOver
	}
	free, err := l.ackLocked(t, h, c.receipt.PopTimeMs)
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if free && l.hasMore(t, group.GroupName) {
		l.offer(t, group.GroupName, nil)
	}
	p.stats.Acks.Add(1)
	return req.Response(codec.Success), nil
}

// lock locks the topic; on an event loop it only tries.
func (t *liteTopic) lock(tryOnly bool) bool {
	if tryOnly {
		return t.mu.TryLock()
	}
	t.mu.Lock()
	return true
}

// ackLocked acknowledges a message and moves the group's offset. It reports whether the topic may give something again.
func (l *lites) ackLocked(t *liteTopic, h *codec.AckHeader, popTimeMs int64) (free bool, err error) {
	p := l.p
	committed, ok := p.offsets.Query(h.Group, t.key, 0)
	if !ok {
		committed = -1
	}
	if h.QueueOffset < committed {
		return false, nil
	}
	f, next := t.flight(h.Group), h.QueueOffset+1
	switch {
	case f == nil && h.QueueOffset != committed:
		return false, refuse(codec.MessageIllegal, "ack offset illegal.")
	case f == nil:
	case f.popTimeMs != popTimeMs:
		return false, nil
	default:
		i := f.index(h.QueueOffset)
		if i < 0 {
			return false, refuse(codec.MessageIllegal, "ack offset illegal.")
		}
		f.acked |= 1 << i
		next = f.next()
	}
	if err := p.offsets.Commit(h.Group, t.key, 0, next); err != nil && !errors.Is(err, store.ErrOffsetReset) {
		return false, p.putError(err)
	}
	if f == nil {
		return true, nil
	}
	freeMs := f.free()
	if freeMs == 0 {
		l.land(t, f)
		return true, nil
	}
	l.reschedule(f, freeMs)
	return freeMs <= p.opts.Now().UnixMilli(), nil
}

// extend answers a CHANGE_MESSAGE_INVISIBLETIME of a lite topic.
func (l *lites) extend(req *remoting.Request, c *ackCall) (*codec.Command, error) {
	h, r, p := &c.h, &c.receipt, l.p
	t, err := l.target(h)
	if err != nil {
		resp := req.Response(codec.NoMessage)
		resp.Header = &codec.InvisibleResponse{}
		return resp, nil
	}
	if err := codec.ParseReceipt(h.Receipt, r); err != nil {
		return nil, err
	}
	resp := req.Response(codec.Success)
	resp.Remark = unsetRemark
	committed, ok := int64(-1), false
	if t != nil {
		committed, ok = p.offsets.Query(h.Group, t.key, 0)
	}
	if t == nil || ok && h.QueueOffset < committed {
		resp.Header = &codec.InvisibleResponse{}
		return resp, nil
	}
	if !t.lock(req.Inline()) {
		return nil, remoting.ErrHandOver
	}
	defer t.mu.Unlock()
	visibleMs := p.opts.Now().UnixMilli() + h.InvisibleMs
	if f := t.flight(h.Group); f != nil && f.popTimeMs == r.PopTimeMs {
		if h.Suspend {
			f.suspend(visibleMs)
		} else if i := f.index(h.QueueOffset); i >= 0 {
			if f.visible == nil {
				f.visible = make([]int64, f.count)
			}
			f.visible[i] = visibleMs
		}
		l.reschedule(f, f.free())
	}
	resp.Header = &codec.InvisibleResponse{PopTimeMs: r.PopTimeMs, InvisibleMs: visibleMs - r.PopTimeMs, ReviveQueueID: r.ReviveQueueID}
	return resp, nil
}

// suspend makes all messages that are not acknowledged visible at visibleMs, and counts one delivery less of those that were
// delivered before.
func (f *liteFlight) suspend(visibleMs int64) {
	for i := range f.counts {
		f.counts[i] = max(f.counts[i]-1, 0)
	}
	f.visible, f.invisibleMs = nil, visibleMs-f.popTimeMs
}

func (f *liteFlight) due() int64      { return f.freeMs }
func (f *liteFlight) moved(place int) { f.inDue = place + 1 }
