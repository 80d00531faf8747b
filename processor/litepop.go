package processor

import (
	"errors"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// POP_LITE_MESSAGE 200070.
//
// Behavior:
// * A client gets the messages of the lite topics that it subscribes to and that are ready; one pop may take of many. Records leave as
//   they are, with the parent's name as topic; the client makes the receipts from pop time and INNER_MULTI_QUEUE_OFFSET, with queue 0
//   and revive queue 999, and names the lite topic in its acks.
// * A group that never read a topic begins as a pop with initMode 1: while its first message is in memory there, else at the last.
// * Nothing is ready: the request is parked (litehold.go) until its time is over, 210.
//
// A topic that another request holds just now is put back and the pop waits for it on a pool; Java loses the event.
//
// Apache: PopLiteMessageProcessor.

// liteTake bounds the ready topics that one pop looks at.
const liteTake = 1024

// litePop is the memory of one pop. It is the owner of the response whose header and parts lie in it.
type litePop struct {
	l       *lites
	h       codec.PopLiteHeader
	group   string            // of h
	got     []store.GetResult // the first held of them must be released
	held    int
	resp    codec.PopLiteResponse
	offsets []int64
	count   int
	bytes   int
}

// Release gives back what was read and makes the memory free for the next pop.
func (c *litePop) Release() {
	for i := range c.got[:c.held] {
		c.got[i].Release()
	}
	c.resp = codec.PopLiteResponse{OrderCountInfo: c.resp.OrderCountInfo[:0]}
	c.h, c.group, c.held, c.count, c.bytes = codec.PopLiteHeader{}, "", 0, 0, 0
	c.l.calls.Put(c)
}

// popLite answers the first pass of a pop.
func (p *Processor) popLite(req *remoting.Request) (*codec.Command, error) {
	c := p.lites.calls.Get().(*litePop)
	if err := codec.ParsePopLiteHeader(&req.Command, &c.h); err != nil {
		c.Release()
		return nil, err
	}
	if c.h.BornMs == 0 {
		c.h.BornMs = p.opts.Now().UnixMilli()
	}
	if err := c.check(); err != nil {
		c.Release()
		return nil, err
	}
	if err := c.read(req.Inline()); err != nil {
		c.Release()
		return nil, err
	}
	if c.count > 0 {
		return c.found(req.Response(codec.Success)), nil
	}
	code := p.lites.hold.park(req, &c.h)
	if code == codec.Success {
		c.Release()
		return nil, nil
	}
	return c.missed(req.Response(code)), nil
}

// check makes the checks of a pop in Java's order.
func (c *litePop) check() error {
	p, h, live := c.l.p, &c.h, c.l.p.live()
	switch {
	case p.opts.Now().UnixMilli()-h.BornMs-h.PollMs > popLateMs:
		return refuse(codec.PollingTimeout, "the broker[%s] pop message is timeout too much", live.BrokerIP)
	case live.Permission&codec.PermRead == 0:
		return refuse(codec.NoPermission, "the broker[%s] pop message is forbidden", live.BrokerIP)
	case h.MaxMsgs > store.MaxPopMessages:
		return refuse(codec.InvalidParameter, "the broker[%s] pop message's num is greater than 32", live.BrokerIP)
	}
	topic, ok := p.topics.GetBytes(h.Topic)
	switch {
	case !ok:
		return topicUnknownToPull(string(h.Topic))
	case topic.Perm&codec.PermRead == 0:
		return refuse(codec.NoPermission, "the topic [%s] peeking message is forbidden", h.Topic)
	case !isLite(topic):
		return refuse(codec.InvalidParameter, "the topic [%s] message type not match", h.Topic)
	}
	group, ok := p.groups.Find(h.Group)
	switch {
	case !ok:
		return refuse(codec.SubscriptionGroupNotExist, "subscription group [%s] not exist, %s", h.Group, seeFAQ)
	case !group.ConsumeEnable:
		return refuse(codec.NoPermission, "subscription group no permission, %s", h.Group)
	case liteBound(group) != string(h.Topic):
		return refuse(codec.InvalidParameter, "subscription bind topic not match, %s", h.Group)
	}
	c.group = group.GroupName
	return nil
}

// read takes what is ready. With hotOnly it returns remoting.ErrHandOver, having changed nothing, rather than wait.
func (c *litePop) read(hotOnly bool) error {
	l := c.l
	nowMs := l.p.opts.Now().UnixMilli()
	c.resp.PopTimeMs, c.resp.InvisibleMs, c.resp.ReviveQueueID = nowMs, c.h.InvisibleMs, codec.PopOrderReviveQueue
	client, wild := l.client(c.h.ClientID, c.h.Group)
	if client == nil {
		return nil
	}
	client.usedMs.Store(nowMs)
	for range liteTake {
		if c.count >= int(c.h.MaxMsgs) {
			return nil
		}
		t, s := client.take(wild)
		if t == nil {
			return nil
		}
		switch done, err := c.fromTopic(t, hotOnly); {
		case err != nil:
			client.put(wild, t, s)
			if c.count > 0 {
				return nil
			}
			return err
		case done:
			client.consumedMs.Store(nowMs)
		}
	}
	return nil
}

// fromTopic pops from one topic. The error is remoting.ErrHandOver, with hotOnly, or a refusal.
func (c *litePop) fromTopic(t *liteTopic, hotOnly bool) (done bool, err error) {
	l, p := c.l, c.l.p
	if !t.lock(hotOnly) {
		return false, remoting.ErrHandOver
	}
	defer t.mu.Unlock()
	old := t.flight(c.h.Group)
	if !p.offsets.HasReset(c.h.Group, t.key, 0) && old.blocks(c.h.AttemptID, c.resp.PopTimeMs) {
		return false, nil
	}
	if old == nil && l.flights.Load() >= maxLiteFlights {
		return false, refuse(codec.PollingFull, "too many deliveries of lite topics are in flight")
	}
	offset, err := c.begin(t, &old)
	if err != nil {
		return false, err
	}
	got, offset, err := c.get(t, offset, hotOnly)
	if err != nil {
		return false, p.getError(err)
	}
	if got.Count == 0 {
		got.Release()
		return false, nil
	}
	f := l.free.Get().(*liteFlight)
	*f = liteFlight{topic: t, group: c.group, attempt: append(f.attempt[:0], c.h.AttemptID...), popTimeMs: c.resp.PopTimeMs,
		invisibleMs: max(c.h.InvisibleMs, 0), start: offset, count: int32(got.Count)}
	c.setOffsets(f, t, got)
	if old != nil {
		old.countsAfter(f)
	}
	c.resp.OrderCountInfo = f.appendCounts(c.resp.OrderCountInfo)
	l.fly(t, f)
	c.held++
	c.count += got.Count
	c.bytes += got.Bytes
	return true, nil
}

// begin returns where the group continues in a topic. A reset that waits ends the last delivery.
func (c *litePop) begin(t *liteTopic, old **liteFlight) (int64, error) {
	p, name := c.l.p, t.key
	if queueOffset, ok := p.offsets.TakeReset(c.h.Group, name, 0); ok {
		if *old != nil {
			c.l.land(t, *old)
			*old = nil
		}
		return queueOffset, p.offsets.Commit(c.h.Group, name, 0, queueOffset)
	}
	if committed, ok := p.offsets.Query(c.h.Group, name, 0); ok && committed >= 0 {
		return committed, nil
	}
	committed := p.lastOrHot(t.name, 0)
	return committed, p.offsets.Commit(c.h.Group, name, 0, committed)
}

// get reads from offset, or from where the queue says when that is out of its range. The result is not held yet.
func (c *litePop) get(t *liteTopic, offset int64, hotOnly bool) (*store.GetResult, int64, error) {
	p := c.l.p
	if c.held == len(c.got) {
		c.got = append(c.got, store.GetResult{})
	}
	got := &c.got[c.held]
	request := store.GetRequest{Topic: t.name, QueueOffset: offset, MaxMsgs: int(c.h.MaxMsgs) - c.count, HotOnly: hotOnly}
	began := p.stats.getTimes.begin()
	defer p.stats.getTimes.end(began)
	if err := p.store.Get(&request, got); err != nil {
		return nil, offset, err
	}
	p.stats.read(got.Status)
	switch got.Status {
	case store.OffsetTooSmall, store.OffsetOverflowBadly, store.OffsetFoundNull, store.MessageWasRemoving:
		p.log.Warn("a lite pop continues elsewhere", "topic", t.name, "group", string(c.h.Group), "from", offset, "at", got.NextQueueOffset)
		offset = got.NextQueueOffset
		got.Release()
		if err := p.offsets.Commit(c.h.Group, t.key, 0, offset); err != nil && !errors.Is(err, store.ErrOffsetReset) {
			return nil, offset, err
		}
		request.QueueOffset = offset
		if err := p.store.Get(&request, got); err != nil {
			return nil, offset, err
		}
		p.stats.read(got.Status)
	}
	return got, offset, nil
}

// setOffsets notes the queue offsets of what was read. They follow each other unless records are missing; then each record tells its
// own.
func (c *litePop) setOffsets(f *liteFlight, t *liteTopic, got *store.GetResult) {
	if got.NextQueueOffset-f.start == int64(got.Count) {
		return
	}
	c.offsets = store.AppendLMQOffsets(c.offsets[:0], t.name, got.Parts)
	if len(c.offsets) != got.Count {
		return
	}
	f.start, f.diffs = c.offsets[0], make([]int32, got.Count)
	for i, queueOffset := range c.offsets {
		f.diffs[i] = int32(queueOffset - f.start)
	}
}

// found fills the response with what was popped. The call owns it from here on, until its bytes have left.
func (c *litePop) found(resp *codec.Command) *codec.Command {
	l := c.l
	stats := &l.p.stats
	stats.Pops.Add(1)
	if topic, ok := l.p.topics.GetBytes(c.h.Topic); ok {
		stats.get(topic.TopicName, c.h.Group, int64(c.count), int64(c.bytes))
	}
	for i := range c.got[:c.held] {
		resp.Parts = append(resp.Parts, c.got[i].Parts...)
	}
	if client, wild := l.client(c.h.ClientID, c.h.Group); client != nil && client.waits() && client.hasReady(wild) {
		l.hold.wake(client)
	}
	resp.Remark, resp.Header, resp.Owner = store.Found.String(), &c.resp, c
	return resp
}

// missed fills the response of a pop that found nothing.
func (c *litePop) missed(resp *codec.Command) *codec.Command {
	c.l.p.stats.PopsMissed.Add(1)
	resp.Remark, resp.Header, resp.Owner = store.NoMessageInQueue.String(), &c.resp, c
	return resp
}
