package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// PEEK_MESSAGE 200052, NOTIFICATION 200054, POLLING_INFO 200055: they look at what a group could pop and take nothing.
//
// Behavior:
// * A peek reads like a pop, the retry topic in one of five cases first, else last; nothing becomes invisible and no offset moves.
// * A notification is answered when there is something to pop, or when its time is over: hasMsg says which. Too many are parked:
//   pollingFull. One with a tag expression looks at the tags of what is there, while that is less than
//   maxMessageFilterNumForNotification; retry topics are not filtered.
//
// Apache: PeekMessageProcessor, NotificationProcessor, PollingInfoProcessor.

// noticeCall looks at the queues of a group.
type noticeCall struct {
	p            *Processor
	group, topic []byte
	order        bool
	attemptID    []byte
	name         []byte
}

// begin returns where the group would pop on.
func (c *noticeCall) begin(name []byte, topic string, queueID int32) int64 {
	p := c.p
	cursor := int64(-1)
	if g := p.popping.state.Find(name, c.group); g != nil {
		q := p.popping.state.Lock(name, c.group, queueID)
		cursor = q.Cursor()
		q.Unlock()
	}
	committed, ok := p.offsets.Query(c.group, name, queueID)
	if !ok || committed < 0 {
		committed = p.store.MinQueueOffset(topic, queueID)
	}
	return max(cursor, committed)
}

// blocked reports whether an ordered pop would get nothing of a queue.
func (c *noticeCall) blocked(name []byte, queueID int32) bool {
	if !c.order || c.p.popping.state.Find(name, c.group) == nil {
		return false
	}
	q := c.p.popping.state.Lock(name, c.group, queueID)
	defer q.Unlock()
	return q.OrderBlocked(c.attemptID, c.p.opts.Now().UnixMilli())
}

// each calls fn for the queues to look at, the retry topic's first or last, until fn is false.
func (c *noticeCall) each(topic *codec.TopicConfig, queueID int32, fn func(name []byte, topic string, queueID int32, kind byte) bool) {
	live, draw := c.p.live(), c.p.opts.Random(100)
	kinds := []byte{live.retryKind()}
	if kinds[0] == codec.PopRetryV2 && live.PopReadRetryV1 {
		kinds = append(kinds, codec.PopRetryV1)
	}
	retry := func() bool {
		for _, kind := range kinds {
			c.name = appendRetryName(c.name[:0], c.topic, c.group, kind)
			if config, ok := c.p.topics.GetBytes(c.name); ok && !c.queues(c.name, config, -1, draw, kind, fn) {
				return false
			}
		}
		return true
	}
	if draw%5 == 0 && !retry() {
		return
	}
	if c.queues(c.topic, topic, queueID, draw, codec.PopNormal, fn) && draw%5 != 0 {
		retry()
	}
}

func (c *noticeCall) queues(name []byte, topic *codec.TopicConfig, queueID, draw int32, kind byte, fn func([]byte, string, int32, byte) bool) bool {
	if queueID >= 0 {
		return fn(name, topic.TopicName, queueID, kind)
	}
	for i := range topic.ReadQueueNums {
		if !fn(name, topic.TopicName, (draw+i)%topic.ReadQueueNums, kind) {
			return false
		}
	}
	return true
}

// peek answers PEEK_MESSAGE.
func (p *Processor) peek(req *remoting.Request) (*codec.Command, error) {
	var h codec.PeekHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if p.live().Permission&codec.PermRead == 0 {
		return nil, refuse(codec.NoPermission, "the broker[%s] peeking message is forbidden", p.live().BrokerIP)
	}
	topic, err := p.popTopic([]byte(h.Group), []byte(h.Topic), h.QueueID, req.Conn)
	if err != nil {
		return nil, err
	}
	c := p.popping.calls.Get().(*popCall)
	c.h = codec.PopHeader{Group: []byte(h.Group), Topic: []byte(h.Topic), QueueID: h.QueueID, MaxMsgs: min(h.MaxMsgs, store.MaxPopMessages)}
	c.resp.PopTimeMs = p.opts.Now().UnixMilli()
	look := noticeCall{p: p, group: c.h.Group, topic: c.h.Topic}
	look.each(topic, h.QueueID, func(name []byte, topic string, queueID int32, _ byte) bool {
		err = c.peekQueue(look.begin(name, topic, queueID), topic, queueID)
		return err == nil
	})
	if err != nil {
		c.Release()
		return nil, p.getError(err)
	}
	if c.count == 0 {
		resp := c.fill(req.Response(codec.PullNotFound), store.NoMessageInQueue)
		return resp, nil
	}
	resp := c.fill(req.Response(codec.Success), store.Found)
	for i := range c.got[:c.held] {
		resp.Parts = append(resp.Parts, c.got[i].Parts...)
	}
	return resp, nil
}

// peekQueue adds what one queue has from an offset on.
func (c *popCall) peekQueue(queueOffset int64, topic string, queueID int32) error {
	p := c.pp.p
	if c.count >= int(c.h.MaxMsgs) {
		c.rest += max(p.store.MaxQueueOffset(topic, queueID)-queueOffset, 0)
		return nil
	}
	if c.held == len(c.got) {
		c.got = append(c.got, store.GetResult{})
	}
	got := &c.got[c.held]
	err := p.store.Get(&store.GetRequest{Topic: topic, QueueID: queueID, QueueOffset: queueOffset, MaxMsgs: int(c.h.MaxMsgs) - c.count}, got)
	if err != nil {
		return err
	}
	p.stats.read(got.Status)
	c.rest += max(got.MaxQueueOffset-got.NextQueueOffset, 0)
	if got.Count == 0 {
		got.Release()
		return nil
	}
	c.held++
	c.count += got.Count
	return nil
}

// notification answers NOTIFICATION.
func (p *Processor) notification(req *remoting.Request) (*codec.Command, error) {
	var h codec.NotificationHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if h.BornMs == 0 {
		h.BornMs = p.opts.Now().UnixMilli()
	}
	if p.live().Permission&codec.PermRead == 0 {
		return nil, refuse(codec.NoPermission, "the broker[%s] peeking message is forbidden", p.live().BrokerIP)
	}
	head := codec.PopHeader{Group: []byte(h.Group), Topic: []byte(h.Topic), QueueID: h.QueueID, PollMs: h.PollMs, BornMs: h.BornMs,
		Order: h.Order, AttemptID: []byte(h.AttemptID)}
	if p.live().NoticeFilter {
		head.ExpressionType, head.Expression = []byte(h.ExpressionType), []byte(h.Expression)
	}
	topic, err := p.popTopic(head.Group, head.Topic, h.QueueID, req.Conn)
	if err != nil {
		return nil, err
	}
	filters := popCall{pp: p.popping, h: head}
	if err := filters.filterFrom(false); err != nil {
		return nil, err
	}
	seen := p.popping.arrivals(&head, topic)
	answer := &codec.NotificationResponse{HasMsg: p.popping.hasMsg(&head, topic, filters.filter)}
	if !answer.HasMsg {
		switch p.popping.hold.parkHeader(req, &head, true, filters.filter, filters.sql != nil) {
		case codec.Success:
			if p.popping.arrivals(&head, topic) != seen {
				p.popping.hold.wakeNotices(head.Topic, head.Group)
			}
			return nil, nil
		case codec.PollingFull:
			answer.PollingFull = true
		}
	}
	resp := req.Response(codec.Success)
	resp.Remark, resp.Header = unsetRemark, answer
	return resp, nil
}

// hasMsg reports whether a pop would find something, as far as offsets tell.
func (pp *popping) hasMsg(h *codec.PopHeader, topic *codec.TopicConfig, filter *store.TagFilter) (has bool) {
	look := noticeCall{p: pp.p, group: h.Group, topic: h.Topic, order: h.Order, attemptID: h.AttemptID}
	look.each(topic, h.QueueID, func(name []byte, topic string, queueID int32, kind byte) bool {
		if look.blocked(name, queueID) {
			return true
		}
		from, end := look.begin(name, topic, queueID), pp.p.store.MaxQueueOffset(topic, queueID)
		has = end > from
		if has && filter != nil && kind == codec.PopNormal && end-from < int64(pp.p.live().NoticeFilterMax) {
			has = pp.matches(filter, topic, queueID, from, end)
		}
		return !has
	})
	return has
}

// matches reports whether one of the messages from one queue offset to another passes a filter as far as its tag tells.
func (pp *popping) matches(filter *store.TagFilter, topic string, queueID int32, from, end int64) bool {
	for ; from < end; from++ {
		if _, _, tagsCode, ok := pp.p.store.QueueEntry(topic, queueID, from); ok && filter.Match(tagsCode) {
			return true
		}
	}
	return false
}

// notifyAgain answers a notification that was woken, or parks it again when another was faster.
func (pp *popping) notifyAgain(parked *parkedPop) {
	p := pp.p
	topic, err := p.popTopic(parked.h.Group, parked.h.Topic, parked.h.QueueID, parked.conn)
	if err != nil {
		pp.hold.reply(parked, errorResponse(&parked.reply, err))
		return
	}
	resp := parked.reply.Response(codec.Success)
	resp.Remark, resp.Header = unsetRemark, &codec.NotificationResponse{HasMsg: pp.hasMsg(&parked.h, topic, parked.filter)}
	pp.hold.reply(parked, resp)
}

// wakeNotices wakes the notifications of a group.
func (h *popHold) wakeNotices(topic, group []byte) {
	s := h.shardOf(topic)
	var taken *parkedPop
	s.mu.Lock()
	for _, g := range s.topics[string(topic)] {
		if g.group != string(group) {
			continue
		}
		for _, q := range g.queues {
			for pp := q.first; pp != nil; {
				next := pp.next
				if pp.notify {
					h.takeLocked(pp)
					pp.nextTaken, taken = taken, pp
				}
				pp = next
			}
		}
	}
	s.mu.Unlock()
	h.wake(taken)
}

// pollingInfo answers POLLING_INFO.
func (p *Processor) pollingInfo(req *remoting.Request) (*codec.Command, error) {
	var h codec.PollingInfoHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if p.live().Permission&codec.PermRead == 0 {
		return nil, refuse(codec.NoPermission, "the broker[%s] peeking message is forbidden", p.live().BrokerIP)
	}
	if _, err := p.popTopic([]byte(h.Group), []byte(h.Topic), h.QueueID, req.Conn); err != nil {
		return nil, err
	}
	resp := req.Response(codec.Success)
	resp.Remark, resp.Header = unsetRemark, &codec.PollingInfoResponse{PollingNum: int32(p.popping.hold.waiting([]byte(h.Topic), []byte(h.Group), h.QueueID))}
	return resp, nil
}
