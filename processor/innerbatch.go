package processor

import (
	"fmt"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Inner batches: a batch for a topic with queue.type=BatchCQ is stored as one record, which consumers unwrap.
//
// Behavior:
// * A batch is one when the properties of the whole have a UNIQ_KEY; without it its messages are stored one by one.
// * The properties of the whole are stored with CLUSTER, MSG_REGION and TRACE_ON, and with INNER_NUM and INNER_BASE. Its
//   tag is what filters look at; those of the messages inside count for nothing.
// * The answer has one offset message id, the queue offset of the first message, and batchUniqId.
// * A message with the flag of an inner batch is taken from a client, too, if it is one. Apache takes it unseen, and
//   counts messages as INNER_NUM says.
// * No delay and no transaction; Apache delays the whole.
//
// Apache: SendMessageProcessor.sendBatchMessage, HookUtils.checkInnerBatch.

// takesInner reports whether the batch c becomes an inner batch.
func (c *sendCall) takesInner(topic *codec.TopicConfig) bool {
	return len(c.props.uniqKey) > 0 && store.QueueTypeOf(topic) == store.BatchQueue
}

// putInner stores a batch as one record.
func (c *sendCall) putInner(req *remoting.Request, live *liveSettings) error {
	p, m := c.p, &c.msg
	c.text = c.props.rewrite(c.text, c.h.Properties, live.added)
	if c.props.innerNum { // what the sender says counts for nothing
		c.text = codec.AppendPropertiesWithout(nil, c.text, codec.PropInnerNum)
		c.props.scan(c.text)
	}
	if c.props.timer || c.props.halfMessage || len(c.text) > codec.MaxPropertiesBytes || len(req.Body) > live.MaxMessageBytes {
		return p.illegal()
	}
	if _, err := codec.CountBatch(req.Body); err != nil {
		return p.putBatchError(fmt.Errorf("%w: %w", store.ErrIllegal, err))
	}
	m.SysFlag |= codec.SysInnerBatch | codec.SysNeedUnwrap
	m.Properties, m.TagsCode = c.text, codec.TagsCode(c.props.tags)
	if err := p.putMessage(req, m, &c.put); err != nil {
		return err
	}
	p.stats.put(m.Topic, c.props.kind(), int64(c.put.Count), c.put.EndOffset-c.put.PhysOffset)
	c.ids = codec.AppendOffsetMsgID(c.ids[:0], p.opts.StoreHost, c.put.PhysOffset)
	c.resp.MsgID, c.resp.QueueOffset, c.resp.BatchUniqID = c.ids, c.put.QueueOffset, c.props.uniqKey
	return nil
}

// innerAllowed reports whether a message that is no batch may be stored as far as inner batches go: it must not have their
// number without their flag, nor their flag in a queue of single messages or with a delivery time.
func (c *sendCall) innerAllowed(topic *codec.TopicConfig) bool {
	if c.msg.SysFlag&codec.SysInnerBatch == 0 {
		return !c.props.innerNum
	}
	level, ok := c.props.delayLevel()
	return store.QueueTypeOf(topic) == store.BatchQueue && ok && level <= 0 && !c.props.timer && !c.props.halfMessage
}
