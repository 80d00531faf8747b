package processor

import (
	"bytes"
	"errors"
	"math/bits"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// ACK_MESSAGE 200051, BATCH_ACK_MESSAGE 200151, CHANGE_MESSAGE_INVISIBLETIME 200053.
//
// Behavior:
// * A receipt names a delivery by topic, group, queue, start offset and pop time. One that is not pending is answered like one
//   that is, 0: it is acknowledged already, or its time is over and the message goes its way by the retry topic.
// * An ack is on disk, as far as the log is, before it is answered.
// * An offset outside of the queue is 208, a queue that the topic does not have 13.
// * A change of the invisible time makes a new delivery, whose receipt the client builds from the answer. For a receipt that
//   is not pending nothing is made; Java makes a delivery of a message which is in the retry topic as well.
// * Of a delivery that Java's broker made and its timer still holds, acks and changes are taken: store/popforeign.go.
// * A batch ack is answered 0 whatever became of its parts.
//
// Apache: AckMessageProcessor, ChangeInvisibleTimeProcessor.

// ackCall is the memory of one ack.
type ackCall struct {
	h       codec.AckHeader
	receipt codec.Receipt
	offsets [1]int64
}

// ack answers ACK_MESSAGE.
func (p *Processor) ack(req *remoting.Request) (*codec.Command, error) {
	c := p.popping.acks.Get().(*ackCall)
	defer p.popping.acks.Put(c)
	if err := p.ackHeader(req, c); err != nil {
		return nil, err
	}
	h := &c.h
	if !isBlank(h.LiteTopic) {
		return p.lites.ack(req, c)
	}
	if least, most := p.rangeOf(h); h.QueueOffset < least || h.QueueOffset > most {
		return nil, refuse(codec.NoMessage, "offset is illegal, key:%s@%d, commit:%d, store:%d~%d", h.Topic, h.QueueID, h.QueueOffset, least, most)
	}
	if err := codec.ParseReceipt(h.Receipt, &c.receipt); err != nil {
		return nil, err
	}
	c.offsets[0] = h.QueueOffset
	if err := p.popping.ackOffsets(h.Topic, h.Group, h.QueueID, &c.receipt, c.offsets[:], req.Inline()); err != nil {
		return nil, err
	}
	return req.Response(codec.Success), nil
}

func isBlank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// ackHeader parses what ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME have in common and checks topic and queue.
func (p *Processor) ackHeader(req *remoting.Request, c *ackCall) error {
	if err := codec.ParseAckHeader(&req.Command, &c.h); err != nil {
		return err
	}
	h := &c.h
	topic, ok := p.topics.GetBytes(h.Topic)
	if !ok {
		return topicUnknownToPull(string(h.Topic))
	}
	if h.QueueID < 0 || h.QueueID >= topic.ReadQueueNums {
		return refuse(codec.MessageIllegal, "queueId[%d] is illegal, topic:[%s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
			h.QueueID, h.Topic, topic.ReadQueueNums, req.Conn.RemoteAddr())
	}
	return nil
}

// rangeOf returns the offsets of a queue.
func (p *Processor) rangeOf(h *codec.AckHeader) (least, most int64) {
	topic, ok := p.topics.GetBytes(h.Topic)
	if !ok {
		return 0, 0
	}
	return p.store.MinQueueOffset(topic.TopicName, h.QueueID), p.store.MaxQueueOffset(topic.TopicName, h.QueueID)
}

// ackOffsets acknowledges messages of one delivery. The error is remoting.ErrHandOver, with hotOnly, or a refusal.
func (pp *popping) ackOffsets(topic, group []byte, queueID int32, r *codec.Receipt, offsets []int64, hotOnly bool) error {
	if r.ReviveQueueID == codec.PopOrderReviveQueue {
		if hotOnly {
			return remoting.ErrHandOver
		}
		return pp.ackOrderly(topic, group, queueID, r, offsets)
	}
	q, err := pp.lock(topic, group, queueID, hotOnly)
	if err != nil {
		return err
	}
	defer q.Unlock()
	switch err = q.Ack(r.StartOffset, r.PopTimeMs, offsets, hotOnly); {
	case err == nil:
		pp.p.stats.Acks.Add(int64(len(offsets)))
		return nil
	case errors.Is(err, store.ErrNotFound):
		return pp.ackForeign(q, r, offsets, hotOnly)
	}
	return pp.p.putError(err)
}

// ackForeign acknowledges messages of a delivery that is not known: it is over, or Java's broker made it and its timer holds it.
func (pp *popping) ackForeign(q *store.PopQueue, r *codec.Receipt, offsets []int64, hotOnly bool) error {
	if !pp.state.MayBeForeign(r.PopTimeMs) {
		return nil
	}
	if hotOnly {
		return remoting.ErrHandOver
	}
	if taken, err := q.AckForeign(foreignReceipt(r), offsets); err != nil {
		return pp.p.putError(err)
	} else if taken {
		pp.p.stats.Acks.Add(int64(len(offsets)))
	}
	return nil
}

func foreignReceipt(r *codec.Receipt) *store.PopReceipt {
	return &store.PopReceipt{StartOffset: r.StartOffset, PopTimeMs: r.PopTimeMs, InvisibleMs: r.InvisibleMs, ReviveQueueID: r.ReviveQueueID}
}

// lock locks a queue of a group.
func (pp *popping) lock(topic, group []byte, queueID int32, hotOnly bool) (*store.PopQueue, error) {
	if !hotOnly {
		return pp.state.Lock(topic, group, queueID), nil
	}
	q := pp.state.TryLock(topic, group, queueID)
	if q == nil {
		return nil, remoting.ErrHandOver
	}
	return q, nil
}

// batchAck answers BATCH_ACK_MESSAGE.
func (p *Processor) batchAck(req *remoting.Request) (*codec.Command, error) {
	if len(req.Body) == 0 {
		return req.Response(codec.NoMessage), nil
	}
	body, err := codec.DecodeBatchAck(req.Body)
	if err != nil {
		return nil, err
	}
	if len(body.Acks) == 0 {
		return req.Response(codec.NoMessage), nil
	}
	for i := range body.Acks {
		if err := p.ackBatch(&body.Acks[i]); err != nil {
			return nil, err
		}
	}
	return req.Response(codec.Success), nil
}

// ackBatch acknowledges what a client says of one delivery.
func (p *Processor) ackBatch(a *codec.BatchAck) error {
	if len(a.Retry) != 1 || a.Retry[0] < codec.PopNormal || a.Retry[0] > codec.PopRetryV2 {
		return errBatchRetry
	}
	topic := []byte(a.Topic)
	if a.Retry[0] != codec.PopNormal {
		topic = appendRetryName(nil, topic, []byte(a.Group), a.Retry[0])
	}
	config, ok := p.topics.GetBytes(topic)
	if !ok || a.QueueID < 0 || a.QueueID >= config.ReadQueueNums {
		p.log.Warn("batch ack of an illegal topic or queue", "topic", string(topic), "queue", a.QueueID, "group", a.Group)
		return nil
	}
	least, most := p.store.MinQueueOffset(config.TopicName, a.QueueID), p.store.MaxQueueOffset(config.TopicName, a.QueueID)
	r := codec.Receipt{StartOffset: a.StartOffset, PopTimeMs: a.PopTimeMs, InvisibleMs: a.InvisibleMs, ReviveQueueID: a.ReviveQueueID, QueueID: a.QueueID}
	var offsets []int64
	for i, b := range a.BitSet {
		for ; b != 0; b &= b - 1 {
			queueOffset := a.StartOffset + int64(i*8+bits.TrailingZeros8(b))
			if queueOffset >= least && queueOffset <= most {
				offsets = append(offsets, queueOffset)
			}
		}
		if len(offsets) > maxBatchAck {
			break
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	return p.popping.ackOffsets(topic, []byte(a.Group), a.QueueID, &r, offsets, false)
}

// maxBatchAck bounds the messages of one part of a batch ack; a delivery has at most store.MaxPopMessages.
const maxBatchAck = 1 << 16

var errBatchRetry = errors.New("getRetry fail, format is wrong")

// changeInvisible answers CHANGE_MESSAGE_INVISIBLETIME.
func (p *Processor) changeInvisible(req *remoting.Request) (*codec.Command, error) {
	c := p.popping.acks.Get().(*ackCall)
	defer p.popping.acks.Put(c)
	if err := p.ackHeader(req, c); err != nil {
		return nil, err
	}
	h, r := &c.h, &c.receipt
	if !isBlank(h.LiteTopic) {
		return p.lites.extend(req, c)
	}
	if least, most := p.rangeOf(h); h.QueueOffset < least || h.QueueOffset >= most {
		resp := req.Response(codec.NoMessage)
		resp.Remark = unsetRemark
		resp.Header = &codec.InvisibleResponse{}
		return resp, nil
	}
	if err := codec.ParseReceipt(h.Receipt, r); err != nil {
		return nil, err
	}
	if r.ReviveQueueID == codec.PopOrderReviveQueue {
		return p.popping.extendOrderly(req, h, r)
	}
	q, err := p.popping.lock(h.Topic, h.Group, h.QueueID, req.Inline())
	if err != nil {
		return nil, err
	}
	defer q.Unlock()
	nowMs := p.opts.Now().UnixMilli()
	popTimeMs, err := q.Extend(r.StartOffset, r.PopTimeMs, h.QueueOffset, nowMs, h.InvisibleMs, h.Suspend, req.Inline())
	switch {
	case errors.Is(err, store.ErrNotFound) && p.popping.state.MayBeForeign(r.PopTimeMs) && req.Inline():
		return nil, remoting.ErrHandOver
	case errors.Is(err, store.ErrNotFound):
		popTimeMs, err = q.ExtendForeign(foreignReceipt(r), h.QueueOffset, nowMs, h.InvisibleMs)
		popTimeMs = max(popTimeMs, nowMs)
	}
	if err != nil {
		return nil, p.putError(err)
	}
	resp := req.Response(codec.Success)
	resp.Remark = unsetRemark
	resp.Header = &codec.InvisibleResponse{PopTimeMs: popTimeMs, InvisibleMs: h.InvisibleMs, ReviveQueueID: r.ReviveQueueID}
	return resp, nil
}
