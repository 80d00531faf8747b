package remoting

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// turnFrames is the number of frames of one connection that are handled before other connections get their turn. The
	// loop's read buffer bounds a turn as well.
	turnFrames = 1024
	// turnBytes is what a turn gathers of answers before it writes.
	turnBytes = 256 << 10
	// keepBytes is the largest output buffer that a loop keeps for its next turn.
	keepBytes = 1 << 20
	// flushBytes is how much a loop writes of what other goroutines have sent before it looks for events: those who pull a backlog,
	// or ten thousand who wait for one message, must not keep everybody else. The answers of most group commits are less: when callers
	// come back one after the other the next group is smaller.
	flushBytes = 64 << 10
	// partialBytes is the size from which the beginning of a frame counts as in flight.
	partialBytes = 4 << 10
)

// What a loop can be asked to do by other goroutines.
const (
	askSweep = 1 << iota // close idle connections
	askLag               // look after connections whose peers read slowly
	askAgain             // go on with connections whose turn was cut short
)

// loop is what a gnet event loop needs to cut, run and answer, used again in every turn.
type loop struct {
	srv *Server
	el  gnet.EventLoop

	// mu guards the fields up to the next blank line. It is held while gnet is woken, never across other I/O: gnet must
	// not be woken any more once its loops have ended, as its event descriptor may then be another file's.
	mu      sync.Mutex
	listed  []*conn // connections with something to flush
	asked   int
	woken   bool // Run is to be called, or runs
	yielded bool // resume is to have it called
	stopped bool

	// The rest belongs to the loop's goroutine.
	conns        []*conn
	rest         []*conn // listed before and not flushed yet
	lagging      []*conn // connections whose outbound buffer is not empty
	spareLagging []*conn
	again        []*conn // connections with whole frames left
	req          Request
	jobs         [poolKinds][]job
	answers      answers
	vector       vector
	cipher       []byte    // encrypted, on its way to gnet
	record       []byte    // to be encrypted
	now          time.Time // of this turn
	turning      bool      // in a turn of traffic
	turn         turnStats
	calls        turnCalls
	stats        loopStats
}

// enlist has the connection flushed in the loop's next turn.
func (l *loop) enlist(c *conn) {
	l.mu.Lock()
	l.listed = append(l.listed, c)
	l.wakeLocked()
	l.mu.Unlock()
}

// ask has the loop do something in its next turn.
func (l *loop) ask(what int) {
	l.mu.Lock()
	l.asked |= what
	l.wakeLocked()
	l.mu.Unlock()
}

func (l *loop) wakeLocked() {
	if l.woken {
		return
	}
	l.executeLocked()
}

// executeLocked has gnet call Run.
func (l *loop) executeLocked() {
	l.woken = !l.stopped && l.el.Execute(context.Background(), l) == nil
}

// resume has a loop that has yielded go on. Whoever comes first does it: a turn of traffic, so that a loop which always has events goes
// on, or a goroutine, which runs when the loop finds none. Run itself cannot, as gnet does at once what one of its tasks asks for.
func (l *loop) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.yielded {
		l.yielded = false
		l.executeLocked()
	}
}

// stop ends the waking of the loop.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
}

// idle reports whether nothing waits to be flushed.
func (l *loop) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped || len(l.listed) == 0 && !l.woken
}

// Run does what was asked for since the last time, writing no more than flushBytes. gnet calls it on the loop after enlist, ask and resume.
func (l *loop) Run(context.Context) error {
	l.mu.Lock()
	l.rest = append(l.rest, l.listed...)
	clear(l.listed)
	asked := l.asked
	l.listed, l.asked = l.listed[:0], 0
	l.mu.Unlock()
	l.now = l.srv.opts.Now()
	l.flushRest()
	l.stats.add(&l.turn)
	if asked&askAgain != 0 {
		l.goOn()
	}
	if asked&askLag != 0 {
		l.lookAfter()
	}
	if asked&askSweep != 0 {
		l.sweep()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.rest) > 0 || len(l.again) > 0:
		l.yielded = true
		go l.resume()
	case len(l.listed) > 0 || l.asked != 0:
		l.executeLocked()
	default:
		l.woken = false
	}
	return nil
}

// flushRest flushes connections until all are or enough is written.
func (l *loop) flushRest() {
	done := 0
	for done < len(l.rest) && l.turn.bytesOut < flushBytes {
		c := l.rest[done]
		done++
		if closing := l.flushListed(c); closing && !c.gone {
			l.drop(c, nil)
		}
	}
	l.rest = slices.Delete(l.rest, 0, done)
}

// traffic is a turn of a connection: all whole frames that have arrived are handled and their answers written.
func (l *loop) traffic(c *conn) {
	if len(l.rest) > 0 || len(l.again) > 0 {
		l.resume()
	}
	l.now = l.srv.opts.Now()
	if c.door != doorPlain && !l.pass(c) {
		return
	}
	l.turning = true
	c.lastActive = l.now.Sub(l.srv.start)
	was := l.uncount(c)
	if c.skip > 0 {
		l.skip(c)
	}
	frames := turnFrames
	broken := l.cutArrived(c, &frames)
	l.handOver(c)
	l.flush(c)
	l.count()
	l.turning = false
	switch {
	case c.gone:
	case broken != nil:
		l.drop(c, broken)
	default:
		l.keepLeftover(c, was)
		if frames <= 0 && !c.gone && !c.paused {
			l.again = append(l.again, c)
			l.ask(askAgain)
		}
	}
}

// lastTraffic handles what a peer has sent before it closed the connection: one-way requests count all the same.
func (l *loop) lastTraffic(c *conn) {
	if l.turning || c.skip > 0 || c.door == doorClosed || c.sec != nil && !c.sec.ready || c.sec == nil && c.g.InboundBuffered() < 8 {
		return
	}
	l.now = l.srv.opts.Now()
	l.uncount(c)
	c.paused = false
	frames := math.MaxInt
	_ = l.cutArrived(c, &frames)
	l.handOver(c)
	l.flush(c)
	l.count()
}

// count adds what a turn has done to the statistics.
func (l *loop) count() {
	l.stats.add(&l.turn)
	if len(l.calls) > 0 {
		l.calls.flush(&l.srv.calls, l.srv.opts.Now().Sub(l.now))
	}
}

// cutArrived handles the whole frames that have arrived, at most so many. An error ends the connection; io.EOF is a peer's goodbye.
func (l *loop) cutArrived(c *conn, frames *int) error {
	if c.sec != nil {
		return l.cutSecure(c, frames)
	}
	return l.cutAll(c, frames)
}

// cutAll handles the whole frames that can be seen.
func (l *loop) cutAll(c *conn, frames *int) error {
	var broken error
	for broken == nil && !c.gone && !c.paused && *frames > 0 {
		var b []byte
		var used int
		if b, broken = l.arrived(c); len(b) == 0 {
			break
		}
		if used, broken = l.cut(c, b, frames); used == 0 || c.gone {
			break
		}
		c.discard(used)
		c.leftover = max(0, c.leftover-used)
	}
	if broken != nil {
		return fmt.Errorf("%w: %w", ErrBadFrame, broken)
	}
	return nil
}

// arrived returns bytes that begin with a frame, none if they are not there yet. What gnet has kept from earlier turns is taken
// frame by frame, so that only the frame which straddles it and the bytes just read is copied; those are then seen where they lie.
func (l *loop) arrived(c *conn) ([]byte, error) {
	n := c.buffered()
	if n < 4 {
		return nil, nil
	}
	if c.leftover == 0 {
		return c.peek(n), nil
	}
	size, err := l.frameLen(c.peek(min(n, 8)))
	if err != nil || size > n {
		return nil, err
	}
	return c.peek(size), nil
}

// cut handles the whole frames in b and returns how many bytes they are.
func (l *loop) cut(c *conn, b []byte, frames *int) (used int, err error) {
	for *frames > 0 && !c.gone && !c.paused && len(b)-used >= 4 {
		rest := b[used:]
		size, err := l.frameLen(rest)
		if err != nil {
			return used, err
		}
		if size > len(rest) {
			break
		}
		if err := l.frame(c, rest[:size:size]); err != nil {
			return used, err
		}
		used += size
		*frames--
		if l.answers.bytes >= turnBytes {
			l.flush(c)
		}
	}
	return used, nil
}

// frameLen returns the size of the frame which begins at b, of which at least 4 bytes are there.
func (l *loop) frameLen(b []byte) (int, error) {
	size, err := codec.FrameLen(b)
	if err != nil {
		return 0, fmt.Errorf("%w%s", err, foreign(b))
	}
	if size < 8 || size-4 > l.srv.opts.MaxFrameBytes {
		return 0, fmt.Errorf("length %d%s", int32(binary.BigEndian.Uint32(b)), foreign(b))
	}
	return size, nil
}

// frame handles one frame.
func (l *loop) frame(c *conn, frame []byte) error {
	req := &l.req
	if err := codec.ParseFrame(frame, &req.Command); err != nil {
		return err
	}
	l.turn.frames++
	l.turn.bytesIn += int64(len(frame))
	if req.IsResponse() {
		l.response(c, req.Opaque, frame)
		return nil
	}
	if l.srv.closing.Load() {
		return nil // the connection is about to be closed, which tells the client to ask elsewhere
	}
	req.Conn, req.Listener, req.Arrived, req.server = c, int(c.listener), l.now, l.srv
	req.inline, req.parked, req.passed = true, false, false
	entry := c.table.find(req.Code)
	switch {
	case entry == nil:
		l.srv.stats.unknown.Add(1)
		req.inline = false // the guard has to answer here
		l.answer(req.finish(l.srv.invoke(unknown, req)))
	case entry.Inline:
		resp, err := l.srv.invoke(entry.Handler, req)
		if errors.Is(err, ErrHandOver) && !req.parked {
			l.queue(c, entry, frame)
			break
		}
		l.answer(req.finish(resp, err))
	default:
		l.queue(c, entry, frame)
	}
	return nil
}

// response completes the call that waits for it.
func (l *loop) response(c *conn, opaque int32, frame []byte) {
	c.mu.Lock()
	cs := c.calls
	c.mu.Unlock()
	if cs == nil || !cs.complete(opaque, frame) {
		l.srv.log.Debug("answer that nobody waits for", "client", c.remote, "opaque", opaque)
	}
}

// queue copies the frame, which is the request in l.req, for the entry's pool.
func (l *loop) queue(c *conn, entry *Entry, frame []byte) {
	if busy := c.admit(len(frame)); busy != "" {
		l.refuse(busy)
		return
	}
	ch := l.srv.buffers.chunks.get(len(frame))
	ch.b = append(ch.b, frame...)
	l.jobs[entry.Pool] = append(l.jobs[entry.Pool], job{conn: c, chunk: ch, entry: entry, passed: l.req.passed, arrived: l.now})
}

// refuse answers the request in l.req with SYSTEM_BUSY.
func (l *loop) refuse(cause string) {
	l.srv.stats.busy.Add(1)
	l.req.parked = false
	l.answer(l.req.finish(nil, &codec.Refusal{Code: respSystemBusy, Remark: overloadRemark + cause}))
}

// handOver gives the turn's requests to their pools; those that do not fit are answered.
func (l *loop) handOver(c *conn) {
	for kind := range l.jobs {
		jobs := l.jobs[kind]
		if len(jobs) == 0 {
			continue
		}
		pool := l.srv.pools[kind]
		taken := pool.offer(jobs)
		l.turn.handedOver += int64(taken)
		for _, j := range jobs[taken:] {
			if codec.ParseFrame(j.chunk.b, &l.req.Command) == nil {
				l.refuse(pool.fullCause())
			}
			c.done(len(j.chunk.b))
			l.srv.buffers.chunks.put(j.chunk)
		}
		clear(jobs)
		l.jobs[kind] = jobs[:0]
	}
}

// answer encodes a response behind the other ones of the turn; nil is none.
func (l *loop) answer(resp *codec.Command) {
	switch {
	case resp != nil:
		l.turn.responses++
		l.calls.add(CallKind{Code: l.req.Code, ResponseCode: resp.Code})
		l.answers.add(resp)
	case l.req.IsOneway() && !l.req.parked:
		l.calls.add(CallKind{Code: l.req.Code, ResponseCode: onewayCode})
	}
}

// goOn gives another turn to connections whose last one was cut short.
func (l *loop) goOn() {
	again := l.again
	l.again = nil
	for _, c := range again {
		if !c.gone {
			l.traffic(c)
		}
	}
}

// sweep closes connections without reads and writes for too long.
func (l *loop) sweep() {
	now := l.now.Sub(l.srv.start)
	for i := len(l.conns) - 1; i >= 0; i-- {
		if i >= len(l.conns) {
			continue
		}
		switch c := l.conns[i]; {
		case now-c.lastActive > l.srv.opts.IdleTimeout:
			l.drop(c, ErrIdle)
		case c.paused && now-c.lastRead > l.srv.opts.IdleTimeout:
			l.drop(c, ErrSlowReader)
		}
	}
}

// drop closes the connection, on its loop. gnet then calls OnClose before it returns.
func (l *loop) drop(c *conn, reason error) {
	c.mu.Lock()
	if c.reason == nil {
		c.reason = reason
	}
	c.closing = true
	c.mu.Unlock()
	if reason != ErrSlowReader {
		l.sayGoodbye(c)
	}
	if err := l.el.Close(c.g); err != nil {
		l.srv.log.Debug("close connection", "client", c.remote, "err", err)
	}
}

// opened enters a connection, on its loop.
func (l *loop) opened(c *conn) {
	c.index = int32(len(l.conns))
	c.lastActive = l.srv.opts.Now().Sub(l.srv.start)
	l.conns = append(l.conns, c)
}

// ended takes out a connection that gnet has closed and returns why it was.
func (l *loop) ended(c *conn) error {
	c.gone = true
	last := l.conns[len(l.conns)-1]
	l.conns[c.index], last.index = last, c.index
	l.conns[len(l.conns)-1] = nil
	l.conns = l.conns[:len(l.conns)-1]
	l.srv.inflight.Add(-int64(c.partial))
	l.srv.unsent.Add(-int64(c.outbound))
	c.partial, c.outbound = 0, 0
	if c.sec != nil {
		c.sec.end(&l.srv.buffers)
	}
	return c.end()
}
