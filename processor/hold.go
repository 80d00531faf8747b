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

// Parked pulls: requests that found nothing and wait for a message of their queue.
//
// A pull is registered first, and only then the end of its queue is looked at once more: an entry that became visible before
// that look is seen by it, one that becomes visible later is told to arrived, which finds the pull registered. So no arrival
// slips between. A pull leaves the table in one place, takeLocked; whoever took it owes its answer.
//
// An arrival whose tag does not pass leaves the pull parked, moved past the entries that cannot match; it is then answered 20
// after at most skippedTime, as Java's scan of parked pulls does.
//
// Apache: PullRequestHoldService.

const (
	holdShards = 64
	// skippedTime is the period of Java's scan, which answers a pull whose queue moved without a match.
	skippedTime = 5 * time.Second
	// maxSuspend bounds how long a client may ask to wait.
	maxSuspend = time.Hour
)

// hold is the table of parked pulls.
type hold struct {
	p              *Processor
	most, mostConn int
	seed           maphash.Seed
	count          atomic.Int64 // parked ones; raised before the end of the queue is looked at
	drained        atomic.Bool
	shards         [holdShards]holdShard
	free           sync.Pool // of *parkedPull

	conns connLists[*parkedPull] // its lock is taken inside a shard's mu

	woken woken[*parkedPull]
}

// holdShard is the part of the table with some of the queues.
type holdShard struct {
	mu     sync.Mutex              // guards what follows and the place of each pull in it
	queues map[holdKey]*parkedPull // the first of each queue's list through queueNext
	due    dueHeap[*parkedPull]
}

type holdKey struct {
	topic   string
	queueID int32
}

func newHold(p *Processor, most, mostConn int) *hold {
	h := &hold{p: p, most: most, mostConn: mostConn, seed: maphash.MakeSeed(), conns: newConnLists[*parkedPull]()}
	h.woken.submit, h.woken.again = p.opts.Submit, h.again
	for i := range h.shards {
		h.shards[i].queues = make(map[holdKey]*parkedPull)
	}
	h.free.New = func() any {
		pp := new(parkedPull)
		pp.onConn.of = pp
		return pp
	}
	return h
}

func (h *hold) shardOf(key holdKey) *holdShard {
	hash := maphash.String(h.seed, key.topic) + uint64(uint32(key.queueID))*0x9E3779B97F4A7C15
	return &h.shards[hash>>58]
}

// park keeps the pull of c until something arrives or its time is over. It is false when there is no room: the caller then
// answers at once.
func (h *hold) park(req *remoting.Request, c *pullCall) bool {
	if h.drained.Load() || h.count.Load() >= int64(h.most) {
		return false
	}
	live := h.p.live()
	wait := live.ShortPolling
	if live.LongPolling {
		wait = time.Duration(min(max(c.h.SuspendTimeoutMs, 0), maxSuspend.Milliseconds())) * time.Millisecond
	}
	pp := h.free.Get().(*parkedPull)
	pp.keep(&c.h)
	pp.key, pp.static = holdKey{topic: c.q.Topic, queueID: c.h.QueueID}, c.static
	pp.filter, pp.sql, pp.conn, pp.dueNs = c.filter, c.sql != nil, req.Conn, h.p.opts.Now().Add(wait).UnixNano()
	if !h.register(pp, req) {
		h.recycle(pp)
		return false
	}
	return true
}

// recycle makes the memory of a pull that is in no list free for another.
func (h *hold) recycle(pp *parkedPull) {
	pp.names = boundNames(pp.names)
	pp.h, pp.key, pp.filter, pp.sql, pp.conn, pp.skipped = codec.PullHeader{}, holdKey{}, nil, false, nil, false
	pp.static = staticQueue{}
	pp.reply.Forget()
	h.free.Put(pp)
}

// register puts the pull into the table and then looks whether it came too late for something; it may be answered already
// when register returns. The request, if given, is parked once there is room for it.
func (h *hold) register(pp *parkedPull, req *remoting.Request) bool {
	key, from, conn, ticket := pp.key, pp.h.QueueOffset, pp.conn, pp.ticket.Load()
	shard := h.shardOf(key)
	shard.mu.Lock()
	if !h.conns.add(pp.conn, &pp.onConn, h.mostConn) {
		shard.mu.Unlock()
		return false
	}
	if req != nil {
		req.ParkIn(&pp.reply)
	}
	if pp.queueNext = shard.queues[key]; pp.queueNext != nil {
		pp.queueNext.queuePrev = pp
	}
	shard.queues[key] = pp
	heap.Push(&shard.due, pp)
	h.count.Add(1)
	shard.mu.Unlock()

	late := h.p.store.MaxQueueOffset(key.topic, key.queueID) > from || conn.Closed()
	switch drained := h.drained.Load(); {
	case (late || drained) && !h.take(shard, pp, ticket):
	case drained:
		h.again(pp)
	case late:
		h.wake(pp)
	}
	return true
}

// take takes the pull out of the table if it is still in the stay with that ticket.
func (h *hold) take(shard *holdShard, pp *parkedPull, ticket uint64) bool {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if pp.ticket.Load() != ticket {
		return false
	}
	h.takeLocked(shard, pp)
	return true
}

// takeLocked takes a pull out of the table. Whoever does owes its answer.
func (h *hold) takeLocked(shard *holdShard, pp *parkedPull) {
	switch {
	case pp.queuePrev != nil:
		pp.queuePrev.queueNext = pp.queueNext
	case pp.queueNext != nil:
		shard.queues[pp.key] = pp.queueNext
	default:
		delete(shard.queues, pp.key)
	}
	if pp.queueNext != nil {
		pp.queueNext.queuePrev = pp.queuePrev
	}
	pp.queuePrev, pp.queueNext = nil, nil
	heap.Remove(&shard.due, pp.inDue)
	h.conns.remove(pp.conn, &pp.onConn)
	pp.ticket.Add(1) // only now: connClosed takes the ticket from the list
	h.count.Add(-1)
}

// arrived wakes the pulls that wait for what became visible. The dispatcher calls it.
func (h *hold) arrived(a *store.Arrival) {
	if h.count.Load() == 0 {
		return
	}
	key := holdKey{topic: a.Topic, queueID: a.QueueID}
	shard := h.shardOf(key)
	var taken *parkedPull
	shard.mu.Lock()
	for pp := shard.queues[key]; pp != nil; {
		next := pp.queueNext
		if h.wants(shard, pp, a) {
			h.takeLocked(shard, pp)
			pp.nextTaken, taken = taken, pp
		}
		pp = next
	}
	shard.mu.Unlock()
	h.wake(taken)
}

// wants reports whether the arrival wakes the pull. One that does not match moves it on; entries of several tags wake it, and
// reading them tells, as does any entry for a pull that filters by properties.
func (h *hold) wants(shard *holdShard, pp *parkedPull, a *store.Arrival) bool {
	if a.QueueOffset < pp.h.QueueOffset {
		return false
	}
	if !a.SameTags || pp.sql || pp.filter.Match(a.TagsCode) {
		return true
	}
	if a.FirstQueueOffset <= pp.h.QueueOffset {
		pp.h.QueueOffset = a.QueueOffset + 1
	}
	if !pp.skipped && pp.skip(h.p.opts.Now()) {
		heap.Fix(&shard.due, pp.inDue)
	}
	return false
}

// tick wakes the pulls whose time is over, and those that no pool had room for.
func (h *hold) tick(now time.Time) {
	if h.count.Load() > 0 {
		for i := range h.shards {
			h.wake(h.takeDue(&h.shards[i], now.UnixNano()))
		}
	}
	h.woken.schedule()
}

// takeDue takes the pulls of a shard that are due at nowNs.
func (h *hold) takeDue(shard *holdShard, nowNs int64) (taken *parkedPull) {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for len(shard.due) > 0 && shard.due[0].dueNs <= nowNs {
		pp := shard.due[0]
		h.takeLocked(shard, pp)
		pp.nextTaken, taken = taken, pp
	}
	return taken
}

// connClosed drops the pulls of a connection.
func (h *hold) connClosed(conn remoting.Conn) {
	for {
		var pp *parkedPull
		var key holdKey
		var ticket uint64
		if !h.conns.first(conn, func(first *parkedPull) { pp, key, ticket = first, first.key, first.ticket.Load() }) {
			return
		}
		if h.take(h.shardOf(key), pp, ticket) {
			h.drop(pp)
		}
	}
}

// drop ends a pull whose connection has gone.
func (h *hold) drop(pp *parkedPull) {
	h.reply(pp, pp.reply.Response(codec.PullNotFound))
	h.recycle(pp)
}

// wake hands a list of pulls that were taken to the pull pool, all that are woken meanwhile in one go.
func (h *hold) wake(taken *parkedPull) {
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

// again runs a pull a second time. It is answered, unless all that arrived has other tags.
func (h *hold) again(pp *parkedPull) {
	if pp.conn.Closed() {
		h.drop(pp)
		return
	}
	c := h.p.pulls.Get().(*pullCall)
	c.h, c.static = pp.h, pp.static
	var code int32
	var remark string
	err := c.remap()
	if err == nil {
		code, remark, err = c.read(pp.conn, pp.reply.Code, false)
	}
	if err != nil {
		c.Release()
		h.reply(pp, errorResponse(&pp.reply, err))
		h.recycle(pp)
		return
	}
	now := h.p.opts.Now()
	if code == codec.PullRetryImmediately && c.static.detail == nil && now.UnixNano() < pp.dueNs && !h.drained.Load() {
		pp.h.QueueOffset, pp.filter, pp.sql = c.resp.NextBeginOffset, c.filter, c.sql != nil
		pp.skip(now)
		if h.register(pp, nil) {
			c.Release()
			return
		}
	}
	if code == codec.PullNotFound && pp.skipped {
		code, remark = codec.PullRetryImmediately, store.NoMatchedMessage.String()
	}
	h.reply(pp, c.answer(pp.conn, pp.reply.Response(code), remark))
	h.recycle(pp)
}

func (h *hold) reply(pp *parkedPull, resp *codec.Command) {
	if err := pp.reply.Reply(resp); err != nil {
		h.p.log.Debug("answer to a pull is lost", "topic", pp.key.topic, "queue", pp.key.queueID, "error", err)
	}
}

// drain answers every parked pull on the caller's goroutine; none is parked from here on.
func (h *hold) drain() {
	h.drained.Store(true)
	for i := range h.shards {
		for pp := h.takeDue(&h.shards[i], math.MaxInt64); pp != nil; {
			next := pp.nextTaken
			pp.nextTaken = nil
			h.again(pp)
			pp = next
		}
	}
	h.woken.drain()
}
