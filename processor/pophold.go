package processor

import (
	"container/heap"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Parked pops and notifications: requests that found nothing and wait for a message of their group.
//
// They wait by topic, group and queue, -1 being all queues. An arrival wakes one pop of each group, which wakes the next when it
// leaves something behind; notifications are all woken. A request is registered first, and then what has arrived since it began
// to look is compared (popping.arrivals), so that no arrival slips between. Arrivals in a group's retry topics are found by
// the names under which they were listed when the group first parked.
//
// Apache: PopLongPollingService.

const (
	popHoldShards = 64
	// popNearMs is how near its end a poll is no longer worth parking. Apache: PopRequest.isTimeout.
	popNearMs = 50
)

// popHold is the table of parked pops and notifications.
type popHold struct {
	pp      *popping
	seed    maphash.Seed
	count   atomic.Int64
	groups  atomic.Int64 // in all shards
	drained atomic.Bool
	shards  [popHoldShards]popHoldShard
	retries sync.Map  // retry topic to *waitGroup
	free    sync.Pool // of *parkedPop
	queues  sync.Pool // of *waitQueue

	forgotAt time.Time // only tick uses it

	conns connLists[*parkedPop] // its lock is taken inside a shard's mu

	woken woken[*parkedPop]
}

// popHoldShard is the part of the table with some of the topics.
type popHoldShard struct {
	mu     sync.Mutex // guards what follows and the place of each request in it
	topics map[string][]*waitGroup
	due    dueHeap[*parkedPop]
}

// waitGroup is a group that waits for a topic. It stays for a while after its last request.
type waitGroup struct {
	topic, group string
	queues       map[int32]*waitQueue
	parked       int
	usedMs       int64
}

// waitQueue are the requests for one queue, the oldest first.
type waitQueue struct {
	first, last *parkedPop
	count       int
}

func newPopHold(pp *popping) *popHold {
	h := &popHold{pp: pp, seed: maphash.MakeSeed(), conns: newConnLists[*parkedPop]()}
	h.woken.submit, h.woken.again = pp.p.opts.Submit, h.again
	for i := range h.shards {
		h.shards[i].topics = make(map[string][]*waitGroup)
	}
	h.free.New = func() any {
		pp := new(parkedPop)
		pp.onConn.of = pp
		return pp
	}
	h.queues.New = func() any { return new(waitQueue) }
	return h
}

func (h *popHold) shardOf(topic []byte) *popHoldShard {
	return &h.shards[maphash.Bytes(h.seed, topic)%popHoldShards]
}

// park keeps a pop until something arrives or its time is over; seen is what had arrived before it looked. The code is Success
// when it is parked, else that of the answer.
func (h *popHold) park(req *remoting.Request, c *popCall, seen int64) int32 {
	code := h.parkHeader(req, &c.h, false, c.filter, c.sql != nil)
	if code != codec.Success {
		return code
	}
	if c.skipped && c.rest > 0 || h.pp.arrivals(&c.h, c.topic) != seen {
		h.wakeOne(c.h.Topic, c.h.Group, c.h.QueueID)
	}
	return codec.Success
}

// parkHeader parks a pop or a notification.
func (h *popHold) parkHeader(req *remoting.Request, head *codec.PopHeader, notify bool, filter *store.TagFilter, sql bool) int32 {
	live, nowMs := h.pp.p.live(), h.pp.p.opts.Now().UnixMilli()
	switch {
	case head.PollMs <= 0 || h.drained.Load():
		return codec.PollingTimeout
	case h.count.Load() >= live.MaxPopPolling:
		return codec.PollingFull
	}
	dueMs := min(head.BornMs+min(head.PollMs, maxSuspend.Milliseconds()), nowMs+maxSuspend.Milliseconds())
	if nowMs > dueMs-popNearMs {
		return codec.PollingTimeout
	}
	pp := h.free.Get().(*parkedPop)
	pp.h, pp.notify, pp.filter, pp.sql, pp.conn, pp.dueMs = *head, notify, filter, sql, req.Conn, dueMs
	pp.names = keepPopNames(pp.names, &pp.h)
	code := h.register(pp, req, live.PopPollingSize)
	if code != codec.Success {
		h.recycle(pp)
	}
	return code
}

// register puts a request into the table; with Success it is no longer the caller's, and may be answered already.
func (h *popHold) register(pp *parkedPop, req *remoting.Request, most int32) int32 {
	s := h.shardOf(pp.h.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groupLocked(h, pp.h.Topic, pp.h.Group)
	if g == nil {
		return codec.PollingFull
	}
	q := g.queues[pp.h.QueueID]
	if q == nil {
		q = h.queues.Get().(*waitQueue)
		g.queues[pp.h.QueueID] = q
	}
	if q.count > int(most) {
		return codec.PollingFull
	}
	if pp.group = g; req != nil {
		pp.shard = s
		req.ParkIn(&pp.reply)
	}
	q.add(pp)
	g.parked++
	g.usedMs = h.pp.p.opts.Now().UnixMilli()
	heap.Push(&s.due, pp)
	h.conns.add(pp.conn, &pp.onConn, math.MaxInt)
	h.count.Add(1)
	return codec.Success
}

// groupLocked finds or lists a group that waits for a topic; nil when there are too many.
func (s *popHoldShard) groupLocked(h *popHold, topic, group []byte) *waitGroup {
	for _, g := range s.topics[string(topic)] {
		if g.group == string(group) {
			return g
		}
	}
	if h.groups.Load() >= int64(h.pp.p.live().PopPollingMapSize) {
		return nil
	}
	g := &waitGroup{topic: string(topic), group: string(group), queues: make(map[int32]*waitQueue)}
	s.topics[g.topic] = append(s.topics[g.topic], g)
	h.groups.Add(1)
	h.retries.Store(store.PopRetryTopicV1(g.topic, g.group), g)
	h.retries.Store(store.PopRetryTopicV2(g.topic, g.group), g)
	return g
}

func (q *waitQueue) add(pp *parkedPop) {
	if pp.prev = q.last; q.last == nil {
		q.first = pp
	} else {
		q.last.next = pp
	}
	pp.next, q.last = nil, pp
	q.count++
}

func (q *waitQueue) remove(pp *parkedPop) {
	if pp.prev == nil {
		q.first = pp.next
	} else {
		pp.prev.next = pp.next
	}
	if pp.next == nil {
		q.last = pp.prev
	} else {
		pp.next.prev = pp.prev
	}
	pp.prev, pp.next = nil, nil
	q.count--
}

// takeLocked takes a request out of the table. Whoever does owes its answer.
func (h *popHold) takeLocked(pp *parkedPop) {
	g := pp.group
	q := g.queues[pp.h.QueueID]
	if q.remove(pp); q.count == 0 {
		delete(g.queues, pp.h.QueueID)
		h.queues.Put(q)
	}
	g.parked--
	heap.Remove(&pp.shard.due, pp.inDue)
	h.conns.remove(pp.conn, &pp.onConn)
	pp.ticket.Add(1)
	h.count.Add(-1)
}

// connClosed drops the requests of a connection.
func (h *popHold) connClosed(conn remoting.Conn) {
	for {
		var pp *parkedPop
		var s *popHoldShard
		var ticket uint64
		if !h.conns.first(conn, func(first *parkedPop) { pp, s, ticket = first, first.shard, first.ticket.Load() }) {
			return
		}
		s.mu.Lock()
		taken := pp.ticket.Load() == ticket
		if taken {
			h.takeLocked(pp)
		}
		s.mu.Unlock()
		if taken {
			h.drop(pp)
		}
	}
}

// drop ends a request whose connection has gone.
func (h *popHold) drop(pp *parkedPop) { h.reply(pp, pp.reply.Response(codec.PollingTimeout)) }

// reply ends a request.
func (h *popHold) reply(pp *parkedPop, resp *codec.Command) {
	if err := pp.reply.Reply(resp); err != nil {
		h.pp.p.log.Debug("answer to a pop is lost", "topic", string(pp.h.Topic), "group", string(pp.h.Group), "error", err)
	}
	h.recycle(pp)
}

// arrived wakes what waits for an arrival. The dispatcher calls it.
func (h *popHold) arrived(a *store.Arrival) {
	if h.count.Load() == 0 {
		return
	}
	if isRetryTopic(a.Topic) {
		if g, ok := h.retries.Load(a.Topic); ok {
			g := g.(*waitGroup)
			s := h.shardOf([]byte(g.topic))
			s.mu.Lock()
			taken := h.takeForLocked(g, nil, allQueues, a)
			s.mu.Unlock()
			h.wake(taken)
		}
	}
	var name [256]byte
	s := h.shardOf(append(name[:0], a.Topic...))
	var taken *parkedPop
	s.mu.Lock()
	for _, g := range s.topics[a.Topic] {
		if g.parked > 0 {
			taken = h.takeForLocked(g, taken, a.QueueID, a)
		}
	}
	s.mu.Unlock()
	h.wake(taken)
}

// allQueues stands for any queue of a group.
const allQueues int32 = -1 << 31

// takeForLocked takes the requests of a group that an arrival in a queue wakes: one pop, all notifications.
func (h *popHold) takeForLocked(g *waitGroup, taken *parkedPop, queueID int32, a *store.Arrival) *parkedPop {
	popTaken := false
	for id, q := range g.queues {
		if id >= 0 && queueID != allQueues && id != queueID {
			continue
		}
		for pp := q.first; pp != nil; {
			next := pp.next
			if pp.notify && queueID == allQueues || (pp.notify || !popTaken) && pp.wants(a) { // retry topics have no tags to notify of
				popTaken = popTaken || !pp.notify
				h.takeLocked(pp)
				pp.nextTaken, taken = taken, pp
			}
			pp = next
			if popTaken && pp != nil && !g.notifies(q) {
				break
			}
		}
	}
	return taken
}

// notifies reports whether a notification may be among the requests for a queue: they are told by the last one, since they are
// rarely mixed.
func (g *waitGroup) notifies(q *waitQueue) bool { return q.first.notify || q.last.notify }

// wakeOne wakes the oldest pop of a group that waits for a queue, or for all with -1.
func (h *popHold) wakeOne(topic, group []byte, queueID int32) {
	if h.count.Load() == 0 {
		return
	}
	s := h.shardOf(topic)
	s.mu.Lock()
	var taken *parkedPop
	for _, g := range s.topics[string(topic)] {
		if g.group != string(group) {
			continue
		}
		q := g.queues[queueID]
		for pp := q.oldest(); pp != nil && taken == nil; pp = pp.next {
			if !pp.notify {
				taken = pp
			}
		}
	}
	if taken != nil {
		h.takeLocked(taken)
	}
	s.mu.Unlock()
	h.wake(taken)
}

func (q *waitQueue) oldest() *parkedPop {
	if q == nil {
		return nil
	}
	return q.first
}

// waiting returns how many pops wait for a queue, and for all.
func (h *popHold) waiting(topic, group []byte, queueID int32) int {
	s := h.shardOf(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.topics[string(topic)] {
		if q := g.queues[queueID]; g.group == string(group) && q != nil {
			return q.count
		}
	}
	return 0
}

// tick wakes the requests whose time is over, and those that no pool had room for; groups that no longer wait are forgotten.
func (h *popHold) tick(now time.Time) {
	expireMs, forget := now.Add(-h.pp.p.live().PopPollingExpire).UnixMilli(), now.Sub(h.forgotAt) >= time.Minute
	if forget {
		h.forgotAt = now
	}
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		taken := h.takeDueLocked(s, now.UnixMilli())
		if forget {
			for topic, groups := range s.topics {
				s.forgetLocked(h, topic, groups, expireMs)
			}
		}
		s.mu.Unlock()
		h.wake(taken)
	}
	h.woken.schedule()
}

func (s *popHoldShard) forgetLocked(h *popHold, topic string, groups []*waitGroup, beforeMs int64) {
	kept := groups[:0]
	for _, g := range groups {
		if g.parked > 0 || g.usedMs >= beforeMs {
			kept = append(kept, g)
			continue
		}
		h.groups.Add(-1)
		h.retries.CompareAndDelete(store.PopRetryTopicV1(g.topic, g.group), g)
		h.retries.CompareAndDelete(store.PopRetryTopicV2(g.topic, g.group), g)
	}
	switch {
	case len(kept) == 0:
		delete(s.topics, topic)
	case len(kept) < len(groups):
		clear(groups[len(kept):])
		s.topics[topic] = kept
	}
}

func (h *popHold) takeDueLocked(s *popHoldShard, nowMs int64) (taken *parkedPop) {
	for len(s.due) > 0 && s.due[0].dueMs <= nowMs {
		pp := s.due[0]
		h.takeLocked(pp)
		pp.nextTaken, taken = taken, pp
	}
	return taken
}

// wake hands requests that were taken to the pull pool.
func (h *popHold) wake(taken *parkedPop) {
	if taken == nil {
		return
	}
	h.woken.mu.Lock()
	for pp := taken; pp != nil; {
		next := pp.nextTaken
		pp.nextTaken = nil
		h.woken.list = append(h.woken.list, pp)
		pp = next
	}
	h.woken.mu.Unlock()
	h.woken.schedule()
}

// again runs a request once more. A pop that finds nothing waits on until its time is over.
func (h *popHold) again(pp *parkedPop) {
	switch {
	case pp.conn.Closed():
		h.wakeOne(pp.h.Topic, pp.h.Group, pp.h.QueueID) // what it was woken for is another's
		h.drop(pp)
		return
	case pp.notify:
		h.pp.notifyAgain(pp)
		return
	}
	p := h.pp.p
	c := h.pp.calls.Get().(*popCall)
	c.h = pp.h
	c.names = keepPopNames(c.names, &c.h) // pp may be another's before c is done
	topic, err := p.popTopic(pp.h.Group, pp.h.Topic, pp.h.QueueID, pp.conn)
	c.topic = topic
	if err == nil {
		err = c.filterFrom(false)
	}
	var seen int64
	if err == nil {
		seen = h.pp.arrivals(&c.h, topic)
		err = c.read(false)
	}
	switch {
	case err != nil:
		c.Release()
		h.reply(pp, errorResponse(&pp.reply, err))
	case c.count > 0:
		h.reply(pp, c.found(pp.reply.Response(codec.Success)))
	case p.opts.Now().UnixMilli() <= pp.dueMs-popNearMs && !h.drained.Load() && h.register(pp, nil, math.MaxInt32-1) == codec.Success:
		more := c.skipped && c.rest > 0
		if more || h.pp.arrivals(&c.h, topic) != seen {
			h.wakeOne(c.h.Topic, c.h.Group, c.h.QueueID)
		}
		c.Release()
	default:
		h.reply(pp, c.missed(pp.reply.Response(codec.PollingTimeout)))
	}
}

// drain answers every parked request on the caller's goroutine; none is parked from here on.
func (h *popHold) drain() {
	h.drained.Store(true)
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		taken := h.takeDueLocked(s, math.MaxInt64)
		s.mu.Unlock()
		for pp := taken; pp != nil; {
			next := pp.nextTaken
			pp.nextTaken = nil
			h.again(pp)
			pp = next
		}
	}
	h.woken.drain()
}
