package processor

import (
	"container/heap"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Parked lite pops: they wait by client. A topic that becomes ready for a client wakes its oldest pop, on the pull pool. A pop is
// registered first, and then the client's ready topics are looked at once more, so that none slips between.
//
// Apache: PopLiteLongPollingService.

// liteHold is the table of parked lite pops.
type liteHold struct {
	l       *lites
	count   atomic.Int64
	drained atomic.Bool
	free    sync.Pool // of *parkedLite

	mu    sync.Mutex // guards what follows and the place of each pop in it
	due   dueHeap[*parkedLite]
	conns connLists[*parkedLite]

	woken woken[*parkedLite]
}

// parkedLite is a pop that waits. Its header's names lie in names. Once it is registered it belongs to whoever takes it, and its memory
// to the next pop when it is answered.
type parkedLite struct {
	h      codec.PopLiteHeader
	names  []byte
	client *liteClient
	conn   remoting.Conn
	reply  remoting.Parked
	dueMs  int64
	inDue  int // place in the heap, -1 when it was taken out
	onConn connLink[*parkedLite]

	nextTaken *parkedLite // list of those that were taken together
}

func newLiteHold(l *lites) liteHold {
	return liteHold{l: l, conns: newConnLists[*parkedLite](), free: sync.Pool{New: func() any {
		pp := new(parkedLite)
		pp.onConn.of = pp
		return pp
	}}}
}

// recycle makes the memory of a pop that is in no list free for another.
func (h *liteHold) recycle(pp *parkedLite) {
	pp.names = boundNames(pp.names)
	pp.h, pp.client, pp.conn = codec.PopLiteHeader{}, nil, nil
	pp.reply.Forget()
	h.free.Put(pp)
}

// waits reports whether a pop of the client is parked, as far as can be told without a lock.
func (c *liteClient) waits() bool { return c.waiting.Load() > 0 }

// park keeps a pop until a topic is ready or its time is over. The code is Success when it is parked, else that of the answer.
func (h *liteHold) park(req *remoting.Request, head *codec.PopLiteHeader) int32 {
	live, nowMs := h.l.p.live(), h.l.p.opts.Now().UnixMilli()
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
	c := h.l.clientFor(head)
	if c == nil {
		return codec.PollingFull
	}
	if c.waiting.Load() > int64(live.PopPollingSize)+1 {
		c.waiting.Add(-1)
		return codec.PollingFull
	}
	pp := h.free.Get().(*parkedLite)
	pp.client, pp.conn, pp.dueMs = c, req.Conn, dueMs
	pp.h = *head
	pp.names = keepNames(pp.names, &pp.h.ClientID, &pp.h.Group, &pp.h.Topic, &pp.h.AttemptID)
	req.ParkIn(&pp.reply)
	h.register(pp)
	return codec.Success
}

// register puts a pop, which counts as waiting, into the table and wakes it when it need not wait. It is no longer the caller's then.
func (h *liteHold) register(pp *parkedLite) {
	c := pp.client
	own := c.group == string(pp.h.Group) // a client's topics are of one group
	h.mu.Lock()
	c.parked = append(c.parked, pp)
	heap.Push(&h.due, pp)
	h.conns.add(pp.conn, &pp.onConn, math.MaxInt)
	h.count.Add(1)
	h.mu.Unlock()
	if own && c.hasReady(h.l.wildOf(c)) {
		h.wake(c)
	}
}

// takeLocked takes a pop out of the table. Whoever does owes its answer.
func (h *liteHold) takeLocked(pp *parkedLite) {
	c := pp.client
	for i := range c.parked {
		if c.parked[i] == pp {
			copy(c.parked[i:], c.parked[i+1:])
			c.parked[len(c.parked)-1] = nil
			c.parked = c.parked[:len(c.parked)-1]
			break
		}
	}
	c.waiting.Add(-1)
	heap.Remove(&h.due, pp.inDue)
	h.conns.remove(pp.conn, &pp.onConn)
	h.count.Add(-1)
}

// wake wakes the oldest parked pop of a client.
func (h *liteHold) wake(c *liteClient) {
	if !c.waits() {
		return
	}
	h.mu.Lock()
	var pp *parkedLite
	if len(c.parked) > 0 {
		pp = c.parked[0]
		h.takeLocked(pp)
	}
	h.mu.Unlock()
	if pp != nil {
		h.woken.add(pp)
	}
}

// again runs a pop once more. One that finds nothing waits on until its time is over.
func (h *liteHold) again(pp *parkedLite) {
	p := h.l.p
	if pp.conn.Closed() {
		h.reply(pp, pp.reply.Response(codec.PollingTimeout))
		h.pass(pp) // what it was woken for is another's
		h.end(pp)
		return
	}
	c := h.l.calls.Get().(*litePop)
	c.h = pp.h
	err := c.check()
	if err == nil {
		err = c.read(false)
	}
	switch {
	case err != nil:
		c.Release()
		h.reply(pp, errorResponse(&pp.reply, err))
	case c.count > 0:
		h.reply(pp, c.found(pp.reply.Response(codec.Success)))
	case p.opts.Now().UnixMilli() <= pp.dueMs-popNearMs && !h.drained.Load():
		c.Release()
		if pp.client = h.l.clientFor(&pp.h); pp.client != nil {
			h.register(pp)
			return
		}
		h.reply(pp, pp.reply.Response(codec.PollingFull))
	default:
		h.reply(pp, c.missed(pp.reply.Response(codec.PollingTimeout)))
	}
	h.end(pp)
}

// end is for a pop that has its answer.
func (h *liteHold) end(pp *parkedLite) {
	h.l.forgetIdle(&pp.h)
	h.recycle(pp)
}

// pass wakes another pop of the client when topics are ready.
func (h *liteHold) pass(pp *parkedLite) {
	if c, wild := h.l.client(pp.h.ClientID, pp.h.Group); c != nil && c.hasReady(wild) {
		h.wake(c)
	}
}

func (h *liteHold) reply(pp *parkedLite, resp *codec.Command) {
	if err := pp.reply.Reply(resp); err != nil {
		h.l.p.log.Debug("answer to a lite pop is lost", "topic", string(pp.h.Topic), "group", string(pp.h.Group), "error", err)
	}
}

// takeDue takes the pops whose time is over at nowMs, and returns the first of their list.
func (h *liteHold) takeDue(nowMs int64) (taken *parkedLite) {
	if h.count.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.due) > 0 && h.due[0].dueMs <= nowMs {
		pp := h.due[0]
		h.takeLocked(pp)
		pp.nextTaken, taken = taken, pp
	}
	return taken
}

// each calls f for the pops of the list that begins with pp, whose links it takes off.
func (pp *parkedLite) each(f func(*parkedLite)) {
	for pp != nil {
		next := pp.nextTaken
		pp.nextTaken = nil
		f(pp)
		pp = next
	}
}

// tick wakes the pops whose time is over, and those that no pool had room for.
func (h *liteHold) tick(now time.Time) {
	h.takeDue(now.UnixMilli() + popNearMs).each(h.woken.add)
	h.woken.schedule()
}

// connClosed drops the pops of a connection.
func (h *liteHold) connClosed(conn remoting.Conn) {
	if h.count.Load() == 0 {
		return
	}
	var taken *parkedLite
	h.mu.Lock()
	for h.conns.first(conn, func(pp *parkedLite) { pp.nextTaken, taken = taken, pp }) {
		h.takeLocked(taken)
	}
	h.mu.Unlock()
	taken.each(func(pp *parkedLite) {
		h.reply(pp, pp.reply.Response(codec.PollingTimeout))
		h.end(pp)
	})
}

// drain answers every parked pop on the caller's goroutine; none is parked from here on.
func (h *liteHold) drain() {
	h.drained.Store(true)
	h.takeDue(math.MaxInt64).each(h.again)
	h.woken.drain()
}

func (pp *parkedLite) due() int64      { return pp.dueMs }
func (pp *parkedLite) moved(place int) { pp.inDue = place }
