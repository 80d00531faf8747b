package processor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// POP_MESSAGE 200050.
//
// Behavior:
// * The broker hands out messages of one queue, or with queue -1 of all queues of the topic, to any member of the group; each is
//   invisible for the time that the request asks for. What is not acknowledged then comes again by the group's retry topic.
// * popFromRetryProbability per cent of the pops read that retry topic first, the others last, when there is room left. One pop
//   reads one kind of retry topic, since its infos cannot tell two apart.
// * Records of the retry topic are answered under the topic that was asked for, with their receipt as property POP_CK, unless
//   popResponseReturnActualRetryTopic. The client makes the receipts of the others from the infos in the header.
// * A group that never popped a queue begins at its first message (initMode 0) or its last one (1), which while all messages of
//   the queue are in memory is the first, too.
// * The queues are read from a random one on; those of topics with message.type=PRIORITY by their numbers (priority.go).
// * Nothing found: the request is parked (pophold.go) until its time is over, 210. Too many are parked: 209.
// * order=true: see poporder.go.
//
// A pop that finds a queue locked by another passes it over on an event loop and waits for it on a pool; Java passes it over.
//
// Left out: the RocksDB pop store (popConsumerKVServiceEnable), the subscription that Java notes for groups without members.
//
// Apache: PopMessageProcessor.

const (
	// popLateMs is how much later than its poll time a pop may come in. Apache: PopMessageRequestHeader.isTimeoutTooMuch.
	popLateMs = 500
	// popRounds bounds how often one pop goes on after messages that are not for the group.
	popRounds = 16
)

// popping serves POP.
type popping struct {
	p     *Processor
	state *store.Pop
	hold  *popHold
	calls sync.Pool // of *popCall
	acks  sync.Pool // of *ackCall
	// unblocked moves whenever a queue of an ordered group may give something again.
	unblocked atomic.Int64
}

func newPopping(p *Processor, state *store.Pop) *popping {
	pp := &popping{p: p, state: state}
	pp.hold = newPopHold(pp)
	pp.calls.New = func() any { return &popCall{pp: pp} }
	pp.acks.New = func() any { return new(ackCall) }
	return pp
}

// popCall is the memory of one pop. It is the owner of the response whose header and parts lie in it.
type popCall struct {
	pp    *popping
	h     codec.PopHeader
	names []byte // those of h, when it is not the request's
	topic *codec.TopicConfig

	filter *store.TagFilter
	sql    *store.SQLFilter

	got  []store.GetResult // the first held of them must be released
	held int
	take store.PopTaking
	ask  store.GetRequest
	resp codec.PopResponse

	offsets   []int64
	retryName []byte
	text      []byte // records of a retry topic, made anew
	textFirst bool   // they come before the others
	count     int
	bytes     int
	rest      int64
	contended bool // a queue was passed over because somebody else held it
	skipped   bool // messages that are not for the group were passed
}

// Release gives back what was read and makes the memory free for the next pop.
func (c *popCall) Release() {
	c.clear()
	c.h, c.topic, c.filter, c.sql, c.ask = codec.PopHeader{}, nil, nil, nil, store.GetRequest{}
	if cap(c.text) > 1<<20 {
		c.text = nil
	}
	c.names = boundNames(c.names)
	c.pp.calls.Put(c)
}

// clear forgets what was found.
func (c *popCall) clear() {
	for i := range c.got[:c.held] {
		c.got[i].Release()
	}
	r := &c.resp
	*r = codec.PopResponse{StartOffsetInfo: r.StartOffsetInfo[:0], MsgOffsetInfo: r.MsgOffsetInfo[:0], OrderCountInfo: r.OrderCountInfo[:0]}
	c.held, c.text = 0, c.text[:0]
	c.count, c.bytes, c.rest, c.contended, c.skipped = 0, 0, 0, false, false
}

// pop answers the first pass of a pop.
func (p *Processor) pop(req *remoting.Request) (*codec.Command, error) {
	c := p.popping.calls.Get().(*popCall)
	if err := codec.ParsePopHeader(&req.Command, &c.h); err != nil {
		c.Release()
		return nil, err
	}
	nowMs := p.opts.Now().UnixMilli()
	if c.h.BornMs == 0 {
		c.h.BornMs = nowMs
	}
	if err := c.check(req, nowMs); err != nil {
		c.Release()
		return nil, err
	}
	if c.h.Order && req.Inline() { // the journal is a file
		c.Release()
		return nil, remoting.ErrHandOver
	}
	seen := p.popping.arrivals(&c.h, c.topic)
	if err := c.read(req.Inline()); err != nil {
		c.Release()
		return nil, err
	}
	if c.count > 0 {
		return c.found(req.Response(codec.Success)), nil
	}
	code := p.popping.hold.park(req, c, seen)
	if code == codec.Success {
		c.Release()
		return nil, nil
	}
	return c.missed(req.Response(code)), nil
}

// check makes the checks of a pop in Java's order and sets the filter.
func (c *popCall) check(req *remoting.Request, nowMs int64) error {
	p, h, live := c.pp.p, &c.h, c.pp.p.live()
	if nowMs-h.BornMs-h.PollMs > popLateMs {
		return refuse(codec.PollingTimeout, "the broker[%s] pop message is timeout too much", live.BrokerIP)
	}
	if live.Permission&codec.PermRead == 0 {
		return refuse(codec.NoPermission, "the broker[%s] pop message is forbidden", live.BrokerIP)
	}
	if h.MaxMsgs > store.MaxPopMessages {
		return refuse(codec.InvalidParameter, "the broker[%s] pop message's num is greater than 32", live.BrokerIP)
	}
	if !live.TimerWheel {
		return refuse(codec.SystemError, "the broker[%s] pop message is forbidden because timerWheelEnable is false", live.BrokerIP)
	}
	topic, err := p.popTopic(h.Group, h.Topic, h.QueueID, req.Conn)
	if err != nil {
		return err
	}
	c.topic = topic
	return c.filterFrom(req.Inline())
}

// popTopic makes the checks that pop, peek and notification have in common.
func (p *Processor) popTopic(group, topicName []byte, queueID int32, conn remoting.Conn) (*codec.TopicConfig, error) {
	topic, ok := p.topics.GetBytes(topicName)
	if !ok {
		return nil, topicUnknownToPull(string(topicName))
	}
	if topic.Perm&codec.PermRead == 0 {
		return nil, refuse(codec.NoPermission, "the topic[%s] peeking message is forbidden", topicName)
	}
	if queueID >= topic.ReadQueueNums {
		return nil, refuse(codec.InvalidParameter, "queueId[%d] is illegal, topic:[%s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
			queueID, topicName, topic.ReadQueueNums, conn.RemoteAddr())
	}
	config, ok := p.groups.Find(group)
	if !ok {
		return nil, refuse(codec.SubscriptionGroupNotExist, "subscription group [%s] does not exist, %s", group, seeFAQ)
	}
	if !config.ConsumeEnable {
		return nil, refuse(codec.NoPermission, "subscription group no permission, %s", group)
	}
	return topic, nil
}

// filterFrom sets the filter that came with the pop.
func (c *popCall) filterFrom(hotOnly bool) (err error) {
	h, filters := &c.h, &c.pp.p.filters
	if len(h.Expression) == 0 {
		return nil
	}
	switch string(h.ExpressionType) {
	case "", codec.ExpressionTag:
		if string(h.Expression) != codec.SubAll {
			c.filter, err = filters.tagsOf(&codec.PullHeader{Topic: h.Topic, Subscription: h.Expression})
		}
	case codec.ExpressionSQL92:
		if c.sql, err = filters.sqlOf(h.Expression, hotOnly); err == nil && c.sql == nil {
			err = unparsable()
		}
	default:
		err = unparsable()
	}
	return err
}

// read pops what there is. With hotOnly it returns remoting.ErrHandOver, having changed nothing, rather than wait.
func (c *popCall) read(hotOnly bool) error {
	for range popRounds {
		if err := c.round(hotOnly); err != nil {
			return err
		}
		if c.count > 0 || !c.skipped || c.rest <= 0 {
			return nil
		}
		if hotOnly {
			return remoting.ErrHandOver // there is more to walk over
		}
		c.clear()
	}
	c.skipped = true
	return nil
}

// round reads the topics in the order of this pop.
func (c *popCall) round(hotOnly bool) error {
	p, h, live := c.pp.p, &c.h, c.pp.p.live()
	group := c.pp.state.Group(h.Topic, h.Group)
	nowMs := p.opts.Now().UnixMilli()
	group.Used(nowMs)
	c.resp.PopTimeMs, c.resp.InvisibleMs, c.resp.ReviveQueueID = nowMs, h.InvisibleMs, group.ReviveQueueID()
	if h.Order {
		c.resp.ReviveQueueID = codec.PopOrderReviveQueue
	}
	draw := p.opts.Random(100)
	retryPercent, firstQueue := live.PopRetryPercent, draw
	if c.byPriority(draw) {
		retryPercent, firstQueue = live.PriorityRetryPercent, 0
	}
	retryFirst := draw < retryPercent
	c.textFirst = retryFirst
	kind := live.retryKind()
	if kind == codec.PopRetryV2 && live.PopReadRetryV1 && draw%2 == 0 {
		kind = codec.PopRetryV1
	}
	draw = firstQueue
	if retryFirst && !h.Order {
		if err := c.fromRetry(kind, draw, hotOnly); err != nil {
			return err
		}
	}
	if err := c.fromTopic(h.Topic, c.topic, codec.PopNormal, h.QueueID, draw, hotOnly); err != nil {
		return err
	}
	if !retryFirst && !h.Order && c.count < int(h.MaxMsgs) {
		if err := c.fromRetry(kind, draw, hotOnly); err != nil {
			return err
		}
	}
	if c.count == 0 && c.contended {
		return remoting.ErrHandOver
	}
	return nil
}

// retryKind is the kind of the retry topics that are written.
func (s *Settings) retryKind() byte {
	if s.RetryTopicV2 {
		return codec.PopRetryV2
	}
	return codec.PopRetryV1
}

// appendRetryName writes the name of a group's retry topic of that kind.
func appendRetryName(dst, topic, group []byte, kind byte) []byte {
	dst = append(append(dst, store.RetryTopicPrefix...), group...)
	if kind == codec.PopRetryV2 {
		dst = append(dst, '+')
	} else {
		dst = append(dst, '_')
	}
	return append(dst, topic...)
}

func (c *popCall) fromRetry(kind byte, draw int32, hotOnly bool) error {
	c.retryName = appendRetryName(c.retryName[:0], c.h.Topic, c.h.Group, kind)
	topic, ok := c.pp.p.topics.GetBytes(c.retryName)
	if !ok {
		return nil
	}
	return c.fromTopic(c.retryName, topic, kind, -1, draw, hotOnly)
}

// fromTopic pops from one queue, or from all of them; draw moves the one to begin with.
func (c *popCall) fromTopic(name []byte, topic *codec.TopicConfig, kind byte, queueID, draw int32, hotOnly bool) error {
	if queueID >= 0 {
		return c.fromQueue(name, topic.TopicName, kind, queueID, hotOnly)
	}
	highestFirst := c.pp.p.live().PriorityOrderAsc
	for i := range topic.ReadQueueNums {
		next := i
		if highestFirst {
			next = topic.ReadQueueNums - 1 - i
		}
		if err := c.fromQueue(name, topic.TopicName, kind, (draw+next)%topic.ReadQueueNums, hotOnly); err != nil {
			return err
		}
	}
	return nil
}

// found fills the response with what was popped. The call owns it from here on, until its bytes have left.
func (c *popCall) found(resp *codec.Command) *codec.Command {
	if c.rest > 0 {
		c.pp.hold.wakeOne(c.h.Topic, c.h.Group, c.h.QueueID)
	}
	stats := &c.pp.p.stats
	stats.Pops.Add(1)
	stats.get(c.topic.TopicName, c.h.Group, int64(c.count), int64(c.bytes))
	if c.textFirst && len(c.text) > 0 {
		resp.Parts = append(resp.Parts, c.text)
	}
	for i := range c.got[:c.held] {
		resp.Parts = append(resp.Parts, c.got[i].Parts...)
	}
	if !c.textFirst && len(c.text) > 0 {
		resp.Parts = append(resp.Parts, c.text)
	}
	return c.fill(resp, store.Found)
}

// missed fills the response of a pop that found nothing.
func (c *popCall) missed(resp *codec.Command) *codec.Command {
	c.pp.p.stats.PopsMissed.Add(1)
	return c.fill(resp, store.NoMessageInQueue)
}

func (c *popCall) fill(resp *codec.Command, status store.GetStatus) *codec.Command {
	c.resp.RestNum = c.rest
	if !c.h.Order {
		c.resp.OrderCountInfo = nil
	}
	resp.Remark, resp.Header, resp.Owner = status.String(), &c.resp, c
	return resp
}

// arrivals is a number that moves whenever a message arrives in what the pop reads.
func (pp *popping) arrivals(h *codec.PopHeader, topic *codec.TopicConfig) (sum int64) {
	st := pp.p.store
	if h.QueueID >= 0 {
		sum = st.MaxQueueOffset(topic.TopicName, h.QueueID)
	} else {
		for i := range topic.ReadQueueNums {
			sum += st.MaxQueueOffset(topic.TopicName, i)
		}
	}
	if h.Order {
		return sum + pp.unblocked.Load()
	}
	var name [512]byte
	for _, kind := range [...]byte{codec.PopRetryV1, codec.PopRetryV2} {
		if retry, ok := pp.p.topics.GetBytes(appendRetryName(name[:0], h.Topic, h.Group, kind)); ok {
			for i := range retry.ReadQueueNums {
				sum += st.MaxQueueOffset(retry.TopicName, i)
			}
		}
	}
	return sum
}

// TickPop makes messages visible again whose time is over, and answers the parked pops whose time is. Call it every 100 ms or so,
// from one goroutine.
func (p *Processor) TickPop(now time.Time) {
	p.popping.hold.tick(now)
	p.popping.revive(now)
	p.popping.wakeFree(now)
	p.popping.state.Tick(now)
}
