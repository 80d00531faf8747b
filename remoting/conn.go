package remoting

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/apogee-mq/apogee/codec"
)

// Conn is a connection that a peer has opened to a Server. All methods may be called from any goroutine.
type Conn interface {
	RemoteAddr() netip.AddrPort
	LocalAddr() netip.AddrPort
	// Send encodes c and sends it. It does not wait: the bytes are queued and leave in the connection's next turn. A request gets an
	// opaque of the connection's own sequence. c.Owner is released once the bytes are written, or at once when Send fails; c itself
	// may be used again when Send returns. ErrSlowReader means that the peer left too much unread and is being dropped.
	Send(c *codec.Command) error
	// Call sends c as a request of the server to its client and waits for the answer, which is a copy of its own. c gets an
	// opaque of the connection's own sequence. Never call it from an event loop.
	Call(c *codec.Command, timeout time.Duration) (*codec.Command, error)
	// Writable reports whether the bytes which the peer has not read yet are below the soft bound.
	Writable() bool
	// Close ends the connection, after what was sent before has been given to the kernel; reason is logged and given to OnClose.
	Close(reason error)
	// Closed reports whether the connection has ended.
	Closed() bool
}

// conn is the Conn of a TCP connection, plain or with TLS, on a gnet event loop. While idle it holds no buffer of ours.
type conn struct {
	srv      *Server
	table    *Table
	remote   netip.AddrPort // the loop changes it before the first frame, when a PROXY header says whose the connection is
	local    netip.AddrPort
	listener int32

	// Set on the loop before OnOpen, read by all after it.
	loop *loop
	g    gnet.Conn

	// unsent is the bytes in the outbox and in gnet's outbound buffer; inflight those of requests handed to pools.
	unsent   atomic.Int64
	inflight atomic.Int64
	closed   atomic.Bool

	// mu guards the fields up to the next blank line. It is never held across I/O.
	mu      sync.Mutex
	out     *outbox
	calls   *calls
	reason  error // why the connection is being closed
	closing bool  // nothing more may be sent
	listed  bool  // in the loop's list of connections to flush

	// The rest belongs to the loop.
	index      int32         // in loop.conns
	door       uint8         // what the first bytes have told
	proxied    bool          // remote is what a PROXY header says
	sec        *secure       // nil for a plain connection
	gone       bool          // gnet has closed it
	paused     bool          // its requests wait until it reads
	lagging    bool          // in loop.lagging
	skip       int           // inbound bytes still to come of a frame that was refused
	leftover   int           // inbound bytes left by the last turn
	partial    int           // the part of leftover that counts as in flight
	outbound   int           // bytes in gnet's outbound buffer when last looked at
	lastActive time.Duration // since the server's start
	lastRead   time.Duration // when the peer was last seen to read, or was not asked to; since the server's start
}

// RemoteAddr returns the peer's address.
func (c *conn) RemoteAddr() netip.AddrPort { return c.remote }

// LocalAddr returns the address that the peer connected to.
func (c *conn) LocalAddr() netip.AddrPort { return c.local }

// Closed reports whether the connection has ended.
func (c *conn) Closed() bool { return c.closed.Load() }

// Writable reports whether the bytes which the peer has not read yet are below the soft bound.
func (c *conn) Writable() bool {
	return !c.closed.Load() && c.unsent.Load() < c.srv.opts.SoftUnsentBytes
}

// Send queues the frame of cmd and wakes the loop, once for all that is sent before the loop comes to it.
func (c *conn) Send(cmd *codec.Command) error {
	if !cmd.IsResponse() {
		cmd.Opaque = c.callTable().opaque()
		c.srv.stats.pushes.Add(1)
	}
	return c.send(cmd)
}

func (c *conn) send(cmd *codec.Command) error {
	bufs := &c.srv.buffers
	var big *chunk // encoded outside the lock
	if len(cmd.Body) > 4*sendChunkBytes && len(cmd.Parts) == 0 {
		big = bufs.chunks.get(len(cmd.Body) + 512)
		big.b = codec.AppendFrame(big.b, cmd)
		release(cmd)
	}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		bufs.chunks.put(big)
		release(cmd)
		return ErrClosed
	}
	if c.out == nil {
		c.out = bufs.outbox()
	}
	before := c.out.bytes
	if big != nil {
		c.out.addChunk(big)
	} else {
		c.out.add(bufs, cmd)
	}
	n := int64(c.out.bytes - before)
	unsent := c.unsent.Add(n)
	slow := unsent > n && (unsent > c.srv.opts.MaxConnUnsentBytes ||
		unsent > c.srv.opts.SoftUnsentBytes && c.srv.unsent.Load() > c.srv.opts.MaxUnsentBytes)
	if slow {
		c.closeLocked(ErrSlowReader)
	}
	c.unlockListed()
	if slow {
		return ErrSlowReader
	}
	return nil
}

// unlockListed gives mu back, with which the connection was changed, and has the loop look at it: once until the loop has.
func (c *conn) unlockListed() {
	mark := !c.listed
	c.listed = true
	c.mu.Unlock()
	if mark {
		c.loop.enlist(c)
	}
}

// Call sends cmd and waits for its answer.
func (c *conn) Call(cmd *codec.Command, timeout time.Duration) (*codec.Command, error) {
	cs := c.callTable()
	opaque, answer, err := cs.begin()
	if err != nil {
		release(cmd)
		return nil, err
	}
	cmd.Opaque = opaque
	c.srv.stats.pushes.Add(1)
	if err := c.send(cmd); err != nil {
		cs.forget(opaque)
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return cs.wait(ctx, opaque, answer)
}

// callTable returns the connection's calls, which most connections never make.
func (c *conn) callTable() *calls {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = &calls{max: c.srv.opts.MaxConnCalls}
		if c.closing {
			c.calls.closed = ErrClosed
		}
	}
	return c.calls
}

// Close has the loop end the connection.
func (c *conn) Close(reason error) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	c.closeLocked(reason)
	c.unlockListed()
}

// closeLocked lets nothing more be sent. What is queued for a slow reader is given back here, not when the loop comes to it.
func (c *conn) closeLocked(reason error) {
	if c.closing {
		return
	}
	c.closing, c.reason = true, reason
	if reason == ErrSlowReader && c.out != nil {
		c.unsent.Add(-int64(c.out.bytes))
		c.srv.buffers.recycle(c.out)
		c.out = nil
	}
}

// takeOut takes what was sent since the last time; it reports whether the connection is to be closed after it.
func (c *conn) takeOut() (*outbox, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out, c.listed = nil, false
	return out, c.closing
}

// ending reports whether it is us who close the connection.
func (c *conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// end makes the connection unusable for everybody and gives back all it holds. It returns why it was closed, if by us.
func (c *conn) end() error {
	c.mu.Lock()
	out, cs, reason := c.out, c.calls, c.reason
	c.out, c.closing = nil, true
	c.mu.Unlock()
	c.closed.Store(true)
	c.srv.buffers.recycle(out)
	if cs != nil {
		cs.close(nil)
	}
	return reason
}

// admit counts a request of n bytes as in flight; if that is too much it does not, and says why.
func (c *conn) admit(n int) (busy string) {
	opts := &c.srv.opts
	if c.inflight.Add(int64(n)) > opts.MaxConnInflightBytes {
		c.inflight.Add(-int64(n))
		return connInflightCause(opts.MaxConnInflightBytes)
	}
	if c.srv.inflight.Add(int64(n)) > opts.MaxInflightBytes {
		c.done(n)
		return inflightCause(opts.MaxInflightBytes)
	}
	return ""
}

// done takes back what admit counted.
func (c *conn) done(n int) {
	c.inflight.Add(-int64(n))
	c.srv.inflight.Add(-int64(n))
}
