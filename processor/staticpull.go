package processor

import (
	"math"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// toPhysical turns a pull of a static queue into one of the stretch that its offset lies in. Apache:
// PullMessageProcessor.rewriteRequestForStaticTopic.
func (c *pullCall) toPhysical() error {
	q, h := &c.static, &c.h
	if q.item = q.at(h.QueueOffset); q.item == nil {
		return refuse(codec.SystemError, "%s-%d has no queue whose beginning is decided", h.Topic, q.globalID)
	}
	if h.SysFlag&codec.PullCommitOffset != 0 {
		// The offset is of the static queue; it is kept here only if its stretch is.
		if item := q.at(h.CommitOffset); item == q.item && q.here(item) {
			h.CommitOffset = physicalOffset(item, h.CommitOffset)
		} else {
			h.SysFlag &^= codec.PullCommitOffset
		}
	}
	h.QueueID, h.QueueOffset = q.item.QueueID, physicalOffset(q.item, h.QueueOffset)
	if ended(q.item) {
		h.MaxMsgs = int32(min(int64(h.MaxMsgs), max(q.item.EndOffset-h.QueueOffset, 1)))
	}
	return nil
}

// remap looks at a pull that was parked: when its topic has new queues since, its offset is looked up in them.
func (c *pullCall) remap() error {
	q := &c.static
	if q.detail == nil || c.p.opts.Mappings.Get(c.h.Topic) == q.detail {
		return nil
	}
	c.h.QueueID, c.h.QueueOffset = q.globalID, staticOffset(q.item, c.h.QueueOffset)
	detail := c.p.opts.Mappings.Get(c.h.Topic)
	if detail == nil {
		c.static = staticQueue{}
		return nil
	}
	next, err := staticQueueIn(detail, c.h.Topic, q.globalID)
	if err != nil {
		return err
	}
	c.static = next
	return c.toPhysical()
}

// isHere reports whether a pull is answered from this broker's own queues.
func (q *staticQueue) isHere() bool { return q.detail == nil || q.here(q.item) }

// readElsewhere has the broker of the stretch answer.
func (c *pullCall) readElsewhere(conn remoting.Conn, inline bool) (code int32, remark string, err error) {
	if inline {
		return 0, "", remoting.ErrHandOver
	}
	h := &c.h
	fields := []string{
		"consumerGroup", string(h.Group), "topic", string(h.Topic), "queueOffset", strconv.FormatInt(h.QueueOffset, 10),
		"maxMsgNums", strconv.Itoa(int(h.MaxMsgs)), "sysFlag", strconv.Itoa(int(h.SysFlag &^ (codec.PullSuspend | codec.PullCommitOffset))),
		"commitOffset", "0", "suspendTimeoutMillis", "0", "subVersion", strconv.FormatInt(h.SubVersion, 10),
	}
	if h.SysFlag&codec.PullSubscription != 0 {
		fields = append(fields, "subscription", string(h.Subscription), "expressionType", string(h.ExpressionType))
	}
	answer, err := c.p.forward(c.static.item, codec.PullMessage, fields...)
	if err != nil {
		return 0, "", err
	}
	number := func(name string) int64 {
		text, _ := answer.Field(name)
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	next, least, most := number("nextBeginOffset"), number("minOffset"), number("maxOffset")
	if next < 0 || least < 0 || most < 0 {
		return 0, "", refuse(answer.Code, "%s", answer.Remark)
	}
	c.p.log.Debug("pull answered by another broker", "topic", string(h.Topic), "queue", c.static.globalID, "broker", c.static.item.Bname, "client", conn.RemoteAddr())
	c.fill(next, least, most)
	if answer.Code == codec.Success {
		c.elsewhere = answer.Body
	}
	return c.toStatic(answer.Code), answer.Remark, nil
}

// toStatic turns an answer about a stretch into one about the static queue: offsets, and the code where a stretch ends. Apache:
// PullMessageProcessor.rewriteResponseForStaticTopic.
func (c *pullCall) toStatic(code int32) int32 {
	q, item := &c.static, c.static.item
	asked, r := c.h.QueueOffset, &c.resp
	next, least, most := r.NextBeginOffset, r.MinOffset, r.MaxOffset
	if ended(item) {
		most = min(most, item.EndOffset)
	}
	first, last := q.at(0), q.leader()
	if code != codec.Success {
		switch {
		case asked < least && item == first:
			code, next = codec.PullOffsetMoved, least
		case asked < least:
			code, next = codec.PullRetryImmediately, least
		case asked >= most && item != last:
			if following := q.after(item); following != nil {
				item, code = following, codec.PullRetryImmediately
				next, least, most = item.StartOffset, item.StartOffset, item.StartOffset
			} else {
				code = codec.PullNotFound // it is not decided where the next stretch begins
			}
		case asked > most && code == codec.PullOffsetMoved:
			next = most
		}
	}
	if ended(item) {
		next = min(next, item.EndOffset)
	}
	r.NextBeginOffset = staticOffset(item, next)
	r.MinOffset = staticOffset(item, max(item.StartOffset, least))
	r.MaxOffset = max(staticOffset(item, most), q.end())
	c.offsetDelta = item.LogicOffset - item.StartOffset
	r.OffsetDelta = &c.offsetDelta
	return code
}

// mostOffset is behind every queue offset.
const mostOffset = math.MaxInt64
