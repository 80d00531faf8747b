package processor

import (
	"fmt"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Ordered pops and their acks; reviveQid is 999 in what belongs to them.
//
// Behavior:
// * A queue gives nothing while its last delivery is neither acknowledged nor visible again, but to the attempt (attemptId) that got
//   it: a client that lost the answer asks again.
// * The group's offset stands at the first message that is not acknowledged. When the time is over the delivery begins there again.
// * orderCountInfo says how often each message was delivered before, and the least of them for older clients.
// * An ack of another delivery than the last is passed over, one of a message that is not of it is 13.
// * A change of the invisible time holds for the one message, and keeps the delivery's pop time.
//
// Apache: ConsumerOrderInfoManager, AckMessageProcessor.ackOrderly, ChangeInvisibleTimeProcessor.processChangeInvisibleTimeForOrder.

func (pp *popping) ackOrderly(topic, group []byte, queueID int32, r *codec.Receipt, offsets []int64) error {
	for _, queueOffset := range offsets {
		if err := pp.ackOrderlyOne(topic, group, queueID, r, queueOffset); err != nil {
			return err
		}
	}
	return nil
}

func (pp *popping) ackOrderlyOne(topic, group []byte, queueID int32, r *codec.Receipt, queueOffset int64) error {
	p := pp.p
	q := pp.state.Lock(topic, group, queueID)
	committed, ok := p.offsets.Query(group, topic, queueID)
	if !ok {
		committed = -1
	}
	if queueOffset < committed {
		q.Unlock()
		return nil
	}
	next, err := q.OrderAck(queueOffset, r.PopTimeMs, committed)
	free := err == nil && next >= 0 && !q.OrderBlocked(nil, p.opts.Now().UnixMilli())
	q.Unlock()
	switch {
	case err != nil:
		return p.putError(err)
	case next == store.OrderIllegal:
		return refuse(codec.MessageIllegal, "offset is illegal, key:%s@%s@%d, old:%d, commit:%d, next:%d, %s", topic, group, queueID, committed, queueOffset,
			next, p.live().BrokerName)
	}
	p.stats.Acks.Add(1)
	if free {
		pp.wakeOrdered(topic, group, queueID)
	}
	return nil
}

// wakeOrdered wakes the pops of a queue that may give something again.
func (pp *popping) wakeOrdered(topic, group []byte, queueID int32) {
	pp.unblocked.Add(1)
	pp.hold.wakeOne(topic, group, queueID)
	pp.hold.wakeOne(topic, group, -1)
	pp.hold.wakeNotices(topic, group)
}

// wakeFree wakes the pops of queues whose last delivery is visible again.
func (pp *popping) wakeFree(now time.Time) {
	for {
		topic, group, queueID, ok := pp.state.NextFree(now)
		if !ok {
			return
		}
		pp.wakeOrdered([]byte(topic), []byte(group), queueID)
	}
}

func (pp *popping) extendOrderly(req *remoting.Request, h *codec.AckHeader, r *codec.Receipt) (*codec.Command, error) {
	if req.Inline() {
		return nil, remoting.ErrHandOver
	}
	p := pp.p
	resp := req.Response(codec.Success)
	resp.Remark = unsetRemark
	q := pp.state.Lock(h.Topic, h.Group, h.QueueID)
	defer q.Unlock()
	committed, ok := p.offsets.Query(h.Group, h.Topic, h.QueueID)
	if !ok {
		committed = -1
	}
	if h.QueueOffset < committed {
		resp.Header = &codec.InvisibleResponse{}
		return resp, nil
	}
	visibleMs := p.opts.Now().UnixMilli() + h.InvisibleMs
	if err := q.OrderExtend(h.QueueOffset, r.PopTimeMs, visibleMs, committed); err != nil {
		return nil, fmt.Errorf("change invisible time: %w", err)
	}
	resp.Header = &codec.InvisibleResponse{PopTimeMs: r.PopTimeMs, InvisibleMs: visibleMs - r.PopTimeMs, ReviveQueueID: r.ReviveQueueID}
	return resp, nil
}
