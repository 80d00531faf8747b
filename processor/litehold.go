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

	mu    sync.Mutex // guards what follows and the place of each pop in it
	due   dueHeap[*parkedLite]
	conns map[remoting.Conn]map[*parkedLite]struct{}

	woken woken[*parkedLite]
}

// parkedLite is a pop that waits.
type parkedLite struct {
	h      codec.PopLiteHeader
	names  []byte
	client *liteClient
	conn   remoting.Conn
	reply  *remoting.Parked
	dueMs  int64
	inDue  int // place in the heap, -1 when it was taken out
}

// keep copies the header of a request whose bytes are about to die.
func (pp *parkedLite) keep(h *codec.PopLiteHeader) {
	pp.h = *h
	pp.names = make([]byte, 0, len(h.ClientID)+len(h.Group)+len(h.Topic)+len(h.AttemptID))
	for _, field := range [...]*[]byte{&pp.h.ClientID, &pp.h.Group, &pp.h.Topic, &pp.h.AttemptID} {
		at := len(pp.names)
		pp.names = append(pp.names, *field...)
		*field = pp.names[at:len(pp.names):len(pp.names)]
	}
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
	pp := &parkedLite{client: c, conn: req.Conn, dueMs: dueMs}
	pp.keep(head)
	pp.reply = req.Park()
	h.register(pp)
	return codec.Success
}

// register puts a pop, which counts as waiting, into the table and wakes it when it need not wait.
func (h *liteHold) register(pp *parkedLite) {
	c := pp.client
	h.mu.Lock()
	c.parked = append(c.parked, pp)
	heap.Push(&h.due, pp)
	of := h.conns[pp.conn]
	if of == nil {
		of = make(map[*parkedLite]struct{})
		h.conns[pp.conn] = of
	}
	of[pp] = struct{}{}
	h.count.Add(1)
	h.mu.Unlock()
	if _, wild := h.l.client(pp.h.ClientID, pp.h.Group); c.hasReady(wild) {
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
	if of := h.conns[pp.conn]; len(of) > 1 {
		delete(of, pp)
	} else {
		delete(h.conns, pp.conn)
	}
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
		h.reply(pp, errorResponse(pp.reply, err))
	case c.count > 0:
		h.reply(pp, c.found(pp.reply.Response(codec.Success)))
	case p.opts.Now().UnixMilli() <= pp.dueMs-popNearMs && !h.drained.Load():
		c.Release()
		if pp.client = h.l.clientFor(&pp.h); pp.client == nil {
			h.reply(pp, pp.reply.Response(codec.PollingFull))
			return
		}
		h.register(pp)
	default:
		h.reply(pp, c.missed(pp.reply.Response(codec.PollingTimeout)))
	}
	h.l.forgetIdle(&pp.h)
}

// pass wakes another pop of the client when topics are ready.
func (h *liteHold) pass(pp *parkedLite) {
	if c, wild := h.l.client(pp.h.ClientID, pp.h.Group); c != nil && c.hasReady(wild) {
		h.wake(c)
	}
	h.l.forgetIdle(&pp.h)
}

func (h *liteHold) reply(pp *parkedLite, resp *codec.Command) {
	if err := pp.reply.Reply(resp); err != nil {
		h.l.p.log.Debug("answer to a lite pop is lost", "topic", string(pp.h.Topic), "group", string(pp.h.Group), "error", err)
	}
}

// takeDue takes the pops whose time is over at nowMs.
func (h *liteHold) takeDue(nowMs int64) (taken []*parkedLite) {
	if h.count.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.due) > 0 && h.due[0].dueMs <= nowMs {
		pp := h.due[0]
		h.takeLocked(pp)
		taken = append(taken, pp)
	}
	return taken
}

// tick wakes the pops whose time is over, and those that no pool had room for.
func (h *liteHold) tick(now time.Time) {
	for _, pp := range h.takeDue(now.UnixMilli() + popNearMs) {
		h.woken.add(pp)
	}
	h.woken.schedule()
}

// connClosed drops the pops of a connection.
func (h *liteHold) connClosed(conn remoting.Conn) {
	if h.count.Load() == 0 {
		return
	}
	h.mu.Lock()
	var taken []*parkedLite
	for pp := range h.conns[conn] {
		taken = append(taken, pp)
	}
	for _, pp := range taken {
		h.takeLocked(pp)
	}
	h.mu.Unlock()
	for _, pp := range taken {
		h.reply(pp, pp.reply.Response(codec.PollingTimeout))
		h.l.forgetIdle(&pp.h)
	}
}

// drain answers every parked pop on the caller's goroutine; none is parked from here on.
func (h *liteHold) drain() {
	h.drained.Store(true)
	for _, pp := range h.takeDue(math.MaxInt64) {
		h.again(pp)
	}
	h.woken.drain()
}

func (pp *parkedLite) due() int64      { return pp.dueMs }
func (pp *parkedLite) moved(place int) { pp.inDue = place }
