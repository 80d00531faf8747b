package processor

import (
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Batches: a send whose batch flag is set, its body being a row of entries with flag, body and properties of their own.
//
// Behavior:
// * Each entry becomes a message; all of them stand side by side in one queue, or none is stored.
// * The entries' properties are stored as sent: no CLUSTER, MSG_REGION or TRACE_ON is added.
// * To a topic with queue.type=BatchCQ mostly as one record, see innerbatch.go.
// * No delay, no transaction, no retry topic. The offset message ids of the answer are joined by commas.
//
// Apache: SendMessageProcessor.sendBatchMessage.

// putBatch stores the messages of a batch.
func (c *sendCall) putBatch(req *remoting.Request, topic *codec.TopicConfig, live *liveSettings) error {
	p, m := c.p, &c.msg
	if len(m.Topic) > codec.MaxTopicV1Bytes {
		return refuse(codec.MessageIllegal, "message topic length too long %d", len(m.Topic))
	}
	if strings.HasPrefix(m.Topic, store.RetryTopicPrefix) {
		return refuse(codec.MessageIllegal, "batch request does not support retry group %s", m.Topic)
	}
	// The properties of the whole are not stored, but some of them count.
	c.text = append(c.text[:0], c.h.Properties...)
	c.props.scan(c.text)
	level, ok := c.props.delayLevel()
	if !ok {
		return refuse(codec.SystemError, "property DELAY is not a number: %q", c.props.delay)
	}
	inner := c.takesInner(topic)
	illegal := level > 0 || codec.TransactionType(m.SysFlag) != codec.SysNotTransaction ||
		!inner && (c.props.innerNum || m.SysFlag&codec.SysInnerBatch != 0)
	if illegal {
		return p.illegal()
	}
	if inner {
		return c.putInner(req, live)
	}
	if len(m.Body) > live.MaxMessageBytes {
		return p.putBatchError(store.ErrMessageTooLarge)
	}
	var err error
	if req.Inline() {
		m.NowMs = req.Arrived.UnixMilli()
		err = p.store.PutBatch(m, &c.batch)
	} else {
		err = p.store.PutBatchWait(m, &c.batch)
	}
	if err != nil {
		return p.putBatchError(err)
	}
	p.stats.put(m.Topic, c.props.kind(), int64(c.batch.Count), c.batch.EndOffset-c.batch.PhysOffset)
	c.ids = c.ids[:0]
	for i, physOffset := range c.batch.PhysOffsets {
		if i > 0 {
			c.ids = append(c.ids, ',')
		}
		c.ids = codec.AppendOffsetMsgID(c.ids, p.opts.StoreHost, physOffset)
	}
	c.resp.MsgID, c.resp.QueueOffset = c.ids, c.batch.QueueOffset
	return nil
}
