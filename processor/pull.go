package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// PULL_MESSAGE 11, LITE_PULL_MESSAGE 361.
//
// Behavior:
// * What the client wants comes with the request (subscription bit) or from the group's heartbeats.
// * The body is the stored records as they are; they leave as slices of the mapped files.
// * Nothing found and the suspend bit: the request is parked (hold.go) until a message of that queue passes the filter or the
//   time is over. A parked pull that runs again is answered, found or not.
// * A pending reset of the offset is the answer of the queue's next pull, 21.
// * The commit bit stores commitOffset, whatever the outcome, on the first pass only.
// * A SQL92 expression that comes with the request and is wrong passes every message; one of a heartbeat is refused, 27.
// * A client that has left too much unread is told to pull again, 20, instead of being sent more; it gets its messages once it has
//   read. Java sends on, or with enableNetWorkFlowControl says nothing.
//
// Left out: offsets of broadcast groups behind a proxy, reading from slaves, filterSupportRetry.
//
// Apache: PullMessageProcessor, DefaultPullMessageResultHandler.

const (
	statusReset  = "OFFSET_RESET"
	remarkUnread = "the client has too many answers to read"
)

// pullCall is the memory of one pull. It is the owner of the response whose header and parts lie in it.
type pullCall struct {
	p    *Processor
	h    codec.PullHeader
	q    store.GetRequest
	got  store.GetResult
	held bool // got must be released
	resp codec.PullResponse

	topicSysFlag, groupSysFlag int32
	static                     staticQueue
	offsetDelta                int64
	elsewhere                  []byte // records that another broker answered with
	liteName                   []byte // of the queue of a lite topic, which h.Topic then is
	filter                     *store.TagFilter
	sql                        *store.SQLFilter
	bits                       *store.FilterData // sql comes from, nil when it came with the pull
}

// Release gives back what was read and makes the memory free for the next pull.
func (c *pullCall) Release() {
	if c.held {
		c.got.Release()
		c.held = false
	}
	c.h, c.q, c.filter, c.sql, c.bits, c.static, c.elsewhere = codec.PullHeader{}, store.GetRequest{}, nil, nil, nil, staticQueue{}, nil
	c.p.pulls.Put(c)
}

// pull answers the first pass of both pull requests.
func (p *Processor) pull(req *remoting.Request) (*codec.Command, error) {
	c := p.pulls.Get().(*pullCall)
	if err := codec.ParsePullHeader(&req.Command, &c.h); err != nil {
		c.Release()
		return nil, err
	}
	if len(c.h.LiteTopic) > 0 {
		if err := c.toLite(); err != nil {
			c.Release()
			return nil, err
		}
	}
	static, err := p.staticQueueOf(req, c.h.Topic, c.h.QueueID)
	if err == nil && static.detail != nil {
		c.static = static
		err = c.toPhysical()
	}
	if err != nil {
		c.Release()
		return nil, err
	}
	code, remark, err := c.read(req.Conn, req.Code, req.Inline())
	if err != nil {
		c.Release()
		return nil, err
	}
	if c.h.SysFlag&codec.PullCommitOffset != 0 {
		p.commitPulled(&c.h)
	}
	if code == codec.PullNotFound && c.h.SysFlag&codec.PullSuspend != 0 && c.static.isHere() {
		if p.hold.park(req, c) {
			c.Release()
			return nil, nil
		}
	}
	return c.answer(req.Conn, req.Response(code), remark), nil
}

// commitPulled stores the offset that came with the pull.
func (p *Processor) commitPulled(h *codec.PullHeader) {
	if err := p.offsets.Commit(h.Group, h.Topic, h.QueueID, h.CommitOffset); err != nil {
		p.log.Warn("commit offset with a pull", "topic", string(h.Topic), "queue", h.QueueID, "group", string(h.Group), "error", err)
	}
}

// read makes the checks and asks the store. With hotOnly it returns remoting.ErrHandOver rather than touch cold pages.
func (c *pullCall) read(conn remoting.Conn, code int32, hotOnly bool) (respCode int32, remark string, err error) {
	p, h := c.p, &c.h
	if !c.static.isHere() {
		return c.readElsewhere(conn, hotOnly)
	}
	topic, err := c.check(conn, code, hotOnly)
	if err != nil {
		return 0, "", err
	}
	if p.live().ServerSideReset {
		if queueOffset, ok := p.offsets.TakeReset(h.Group, h.Topic, h.QueueID); ok {
			c.fill(queueOffset, p.store.MinQueueOffset(topic, h.QueueID), p.store.MaxQueueOffset(topic, h.QueueID))
			return codec.PullOffsetMoved, statusReset, nil
		}
	}
	c.q = store.GetRequest{Topic: topic, QueueID: h.QueueID, QueueOffset: h.QueueOffset, MaxMsgs: int(h.MaxMsgs), Filter: c.filter, SQL: c.sql,
		Bits: c.bits, HotOnly: hotOnly}
	began := p.stats.getTimes.begin()
	err = p.store.Get(&c.q, &c.got)
	p.stats.getTimes.end(began)
	if err != nil {
		return 0, "", p.getError(err)
	}
	c.held = true
	p.stats.read(c.got.Status)
	c.fill(c.got.NextQueueOffset, c.got.MinQueueOffset, c.got.MaxQueueOffset)
	p.offsets.CommitPull(h.Group, h.Topic, h.QueueID, c.got.NextQueueOffset)
	respCode = pullCode(c.got.Status, h.QueueOffset)
	if c.static.detail != nil {
		respCode = c.toStatic(respCode)
	}
	return respCode, c.got.Status.String(), nil
}

// pullCode is the response code for what the store found. Apache: PullMessageProcessor.composeResponseHeader.
func pullCode(status store.GetStatus, asked int64) int32 {
	switch status {
	case store.Found:
		return codec.Success
	case store.NoMatchedMessage, store.MessageWasRemoving:
		return codec.PullRetryImmediately
	case store.NoMatchedLogicQueue, store.NoMessageInQueue:
		if asked == 0 {
			return codec.PullNotFound
		}
		return codec.PullOffsetMoved
	case store.OffsetFoundNull, store.OffsetOverflowOne:
		return codec.PullNotFound
	}
	return codec.PullOffsetMoved
}

func (c *pullCall) fill(next, least, most int64) {
	c.resp = codec.PullResponse{NextBeginOffset: next, MinOffset: least, MaxOffset: most, TopicSysFlag: &c.topicSysFlag, GroupSysFlag: &c.groupSysFlag}
}

// answer fills the response. The call owns it from here on, until its bytes have left.
func (c *pullCall) answer(conn remoting.Conn, resp *codec.Command, remark string) *codec.Command {
	resp.Remark, resp.Header, resp.Owner = remark, &c.resp, c
	if resp.Code == codec.Success && !conn.Writable() {
		resp.Code, resp.Remark = codec.PullRetryImmediately, remarkUnread
		if c.resp.NextBeginOffset = c.h.QueueOffset; c.static.detail != nil {
			c.resp.NextBeginOffset = staticOffset(c.static.item, c.h.QueueOffset)
		}
	}
	if resp.Code != codec.Success {
		return resp
	}
	if c.elsewhere != nil {
		resp.Body, c.elsewhere = c.elsewhere, nil
		return resp
	}
	resp.Parts = append(resp.Parts, c.got.Parts...)
	c.p.stats.get(c.q.Topic, c.h.Group, int64(c.got.Count), int64(c.got.Bytes))
	return resp
}

// check makes the checks of a pull in Java's order, and sets the filter. It returns the topic's name. The error is
// remoting.ErrHandOver for a long expression that has to be compiled, with hotOnly.
func (c *pullCall) check(conn remoting.Conn, code int32, hotOnly bool) (topicName string, err error) {
	p, h, live := c.p, &c.h, c.p.live()
	if live.Permission&codec.PermRead == 0 {
		return "", forbidden(forbiddenBroker, "the broker[%s] pulling message is forbidden", live.BrokerIP)
	}
	if code == codec.LitePullMessage && !live.LitePull {
		return "", forbidden(forbiddenBroker, "the broker[%s] for lite pull consumer is forbidden", live.BrokerIP)
	}
	group, ok := p.groups.Find(h.Group)
	if !ok {
		return "", refuse(codec.SubscriptionGroupNotExist, "subscription group [%s] does not exist, %s", h.Group, seeFAQ)
	}
	if !group.ConsumeEnable {
		return "", forbidden(forbiddenGroup, "subscription group no permission, %s", h.Group)
	}
	topic, ok := p.topics.GetBytes(h.Topic)
	if !ok {
		return "", topicUnknownToPull(string(h.Topic))
	}
	if topic.Perm&codec.PermRead == 0 {
		return "", forbidden(forbiddenTopic, "the topic[%s] pulling message is forbidden", h.Topic)
	}
	if h.QueueID < 0 || h.QueueID >= topic.ReadQueueNums {
		return "", refuse(codec.InvalidParameter, "queueId[%d] is illegal, topic:[%s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
			h.QueueID, h.Topic, topic.ReadQueueNums, conn.RemoteAddr())
	}
	c.topicSysFlag, c.groupSysFlag = topic.TopicSysFlag, group.GroupSysFlag
	if h.SysFlag&codec.PullSubscription != 0 {
		err = c.filterFrom(hotOnly)
	} else {
		err = c.subscribed(group)
	}
	if err == nil && live.RejectPullConsumer {
		err = p.rejectPullConsumer(h, conn)
	}
	return topic.TopicName, err
}

// subscribed sets the filter of what the group's heartbeats say about the topic.
func (c *pullCall) subscribed(config *codec.SubscriptionGroupConfig) error {
	p, h := c.p, &c.h
	group := p.clients.ConsumerGroup(h.Group)
	if group == nil {
		return refuse(codec.SubscriptionNotExist, "the consumer's group info not exist%s", seeFAQ)
	}
	if !config.ConsumeBroadcastEnable && group.Model == codec.Broadcasting {
		return forbidden(forbiddenBroadcasting, "the consumer group[%s] can not consume by broadcast way", h.Group)
	}
	if p.groups.Forbidden(h.Group, h.Topic)&store.ForbiddenRead != 0 {
		return forbidden(forbiddenSubscription, "the consumer group[%s] is forbidden for topic[%s]", h.Group, h.Topic)
	}
	sub := group.Subscription(h.Topic)
	if sub == nil {
		return refuse(codec.SubscriptionNotExist, "the consumer's subscription not exist%s", seeFAQ)
	}
	if sub.Data.SubVersion < h.SubVersion {
		return refuse(codec.SubscriptionNotLatest, "the consumer's subscription not latest")
	}
	if t := sub.Data.ExpressionType; t != "" && t != codec.ExpressionTag {
		return c.expressionOf(t)
	}
	c.filter = sub.Filter
	return nil
}

// rejectPullConsumer refuses a pull of a group that does not push-consume, from a connection that is not its member.
func (p *Processor) rejectPullConsumer(h *codec.PullHeader, conn remoting.Conn) error {
	group := p.clients.ConsumerGroup(h.Group)
	if group != nil && (group.Type != codec.ConsumeActively || group.HasMember(conn)) || store.IsSystemGroup(string(h.Group)) {
		return nil
	}
	return refuse(codec.SubscriptionNotExist, "the consumer's group info not exist, or the pull consumer is rejected by server.%s", seeFAQ)
}
