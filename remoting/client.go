package remoting

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// ClientOptions say how a Client behaves. The zero value is unusable; begin with DefaultClientOptions.
type ClientOptions struct {
	// DialTimeout bounds the opening of a connection. The default is 3 s.
	DialTimeout time.Duration
	// CallTimeout bounds a call whose context has no deadline. The default is 3 s.
	CallTimeout time.Duration
	// WriteTimeout bounds one write; a connection that does not take the bytes is closed. The default is 10 s.
	WriteTimeout time.Duration
	// MaxCalls is the number of calls that may wait on one connection. The default is 4,096.
	MaxCalls int
	// MaxFrameBytes is the longest frame accepted, without its 4 length bytes. The default is codec.MaxFrameBytes.
	MaxFrameBytes int
	// OnRequest, if set, gets requests of the server, on the goroutine that reads the connection; c is valid until it returns. What
	// it returns is sent back, nil is not.
	OnRequest func(addr string, c *codec.Command) *codec.Command
	// Dial opens a connection. The default is a net.Dialer's DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Sign, if set, is given every request before it is sent.
	Sign func(c *codec.Command) error
	// Logger gets what the client has to say. The default discards it.
	Logger *slog.Logger
}

// DefaultClientOptions returns the options of a client.
func DefaultClientOptions() ClientOptions {
	return ClientOptions{DialTimeout: 3 * time.Second, CallTimeout: 3 * time.Second, WriteTimeout: 10 * time.Second, MaxCalls: 4096,
		MaxFrameBytes: codec.MaxFrameBytes, Dial: (&net.Dialer{}).DialContext, Logger: slog.New(slog.DiscardHandler)}
}

// Client calls servers: one connection for each address, opened when first needed and again after it broke.
type Client struct {
	opts    ClientOptions
	buffers buffers
	readers sync.WaitGroup
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	// mu guards the fields below.
	mu     sync.Mutex
	conns  map[string]*clientConn // open ones and those being opened
	dials  int64
	closed bool
}

// NewClient returns a client without connections.
func NewClient(opts ClientOptions) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{opts: opts, ctx: ctx, cancel: cancel, conns: make(map[string]*clientConn)}
}

// Call sends c as a request to addr ("host:port") and waits for the answer, whatever its code, which is a copy of its own. c gets an
// opaque of the client's. A call that is not answered in time and during which nothing arrived closes the connection, so that the
// next one opens a new one.
func (cl *Client) Call(ctx context.Context, addr string, c *codec.Command) (*codec.Command, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cl.opts.CallTimeout)
		defer cancel()
	}
	cc, err := cl.ready(ctx, addr, c)
	if err != nil {
		release(c)
		return nil, err
	}
	opaque, answer, err := cc.calls.begin()
	if err != nil {
		release(c)
		return nil, fmt.Errorf("call %s: %w", addr, err)
	}
	c.Opaque = opaque
	read := cc.read.Load()
	if err := cc.write(ctx, c); err != nil {
		cc.calls.forget(opaque)
		return nil, err
	}
	resp, err := cc.calls.wait(ctx, opaque, answer)
	if err != nil {
		if errors.Is(err, ErrTimeout) && cc.read.Load() == read {
			cc.end(ErrTimeout)
		}
		return nil, fmt.Errorf("call %s: %w", addr, err)
	}
	return resp, nil
}

// Oneway sends c to addr as a one-way request and returns when the bytes are with the kernel.
func (cl *Client) Oneway(ctx context.Context, addr string, c *codec.Command) error {
	cc, err := cl.ready(ctx, addr, c)
	if err != nil {
		release(c)
		return err
	}
	c.Opaque = cc.calls.opaque()
	c.Flag |= codec.FlagOneway
	return cc.write(ctx, c)
}

// Close closes all connections, fails what waits on them and returns when all goroutines of the client have ended.
func (cl *Client) Close() error {
	cl.mu.Lock()
	cl.closed = true
	conns := make([]*clientConn, 0, len(cl.conns))
	for _, cc := range cl.conns {
		conns = append(conns, cc)
	}
	cl.mu.Unlock()
	cl.cancel()
	for _, cc := range conns {
		cc.end(ErrClosed)
	}
	cl.readers.Wait()
	return nil
}

// ready signs a request and returns the connection for it.
func (cl *Client) ready(ctx context.Context, addr string, c *codec.Command) (*clientConn, error) {
	if cl.opts.Sign != nil {
		if err := cl.opts.Sign(c); err != nil {
			return nil, fmt.Errorf("sign the request to %s: %w", addr, err)
		}
	}
	return cl.conn(ctx, addr)
}

// conn returns the open connection to addr, or opens it. One caller opens, the others wait for it.
func (cl *Client) conn(ctx context.Context, addr string) (*clientConn, error) {
	for {
		cl.mu.Lock()
		if cl.closed {
			cl.mu.Unlock()
			return nil, ErrClosed
		}
		cc := cl.conns[addr]
		if cc == nil {
			cl.dials++
			cc = &clientConn{client: cl, addr: addr, id: cl.dials, ready: make(chan struct{}), calls: calls{max: cl.opts.MaxCalls}}
			cl.conns[addr] = cc
			cl.readers.Add(1) // under mu, so that Close does not miss it
			cl.mu.Unlock()
			return cc, cc.open(ctx)
		}
		cl.mu.Unlock()
		select {
		case <-cc.ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", addr, ctx.Err())
		}
		if cc.failed == nil {
			return cc, nil
		}
		if !errors.Is(cc.failed, context.Canceled) && !errors.Is(cc.failed, context.DeadlineExceeded) {
			return nil, cc.failed
		}
		// The one that was opening it gave up by its own deadline.
	}
}

// ConnID tells the connections to addr apart: each has a number of its own, and 0 says that there is none. Who finds the same number
// before and after calls knows that all of them went over that connection.
func (cl *Client) ConnID(addr string) int64 {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cc := cl.conns[addr]; cc != nil {
		return cc.id
	}
	return 0
}

// clientConn is one connection of a Client.
type clientConn struct {
	client *Client
	addr   string
	id     int64
	ready  chan struct{} // closed when failed or net is set
	failed error
	net    net.Conn
	calls  calls
	read   atomic.Int64 // frames read

	writing sync.Mutex // held during a write
	once    sync.Once
}

// open dials and starts the reader. The caller has added it to client.readers.
func (cc *clientConn) open(ctx context.Context) error {
	cl := cc.client
	ctx, cancel := context.WithTimeout(ctx, cl.opts.DialTimeout)
	defer cancel()
	defer context.AfterFunc(cl.ctx, cancel)()
	nc, err := cl.opts.Dial(ctx, "tcp", cc.addr)
	if err != nil {
		cc.failed = fmt.Errorf("connect to %s: %w", cc.addr, err)
		if cl.ctx.Err() != nil {
			cc.failed = ErrClosed
		}
		cl.remove(cc)
		close(cc.ready)
		cl.readers.Done()
		return cc.failed
	}
	cc.net = nc
	close(cc.ready)
	go func() {
		defer cl.readers.Done()
		cc.end(cc.readFrames())
	}()
	if cl.ctx.Err() != nil {
		cc.end(ErrClosed)
	}
	return nil
}

// remove takes the connection out, unless another one has taken its place.
func (cl *Client) remove(cc *clientConn) {
	cl.mu.Lock()
	if cl.conns[cc.addr] == cc {
		delete(cl.conns, cc.addr)
	}
	cl.mu.Unlock()
}

// end closes the connection and fails what waits on it. Its reader ends by it.
func (cc *clientConn) end(reason error) {
	select {
	case <-cc.ready:
	default:
		return // being opened; open ends it
	}
	if cc.net == nil {
		return
	}
	cc.once.Do(func() {
		cc.client.remove(cc)
		_ = cc.net.Close()
		cc.calls.close(reason)
		cc.client.opts.Logger.Debug("connection closed", "addr", cc.addr, "err", reason)
	})
}

// write encodes and writes a command; an error ends the connection, since half a frame may be out.
func (cc *clientConn) write(ctx context.Context, c *codec.Command) error {
	bufs := &cc.client.buffers
	ch := bufs.chunks.get(512 + len(c.Body) + partsBytes(c))
	defer bufs.chunks.put(ch)
	ch.b = codec.AppendFrame(ch.b, c)
	release(c)
	deadline := time.Now().Add(cc.client.opts.WriteTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	cc.writing.Lock()
	err := cc.net.SetWriteDeadline(deadline)
	if err == nil {
		_, err = cc.net.Write(ch.b)
	}
	cc.writing.Unlock()
	if err != nil {
		cc.end(err)
		return fmt.Errorf("write to %s: %w", cc.addr, err)
	}
	return nil
}

// readFrames reads until the connection ends, and says why it did.
func (cc *clientConn) readFrames() error {
	r := bufio.NewReaderSize(cc.net, 16<<10)
	var c codec.Command
	var buf []byte
	for {
		head, err := r.Peek(8)
		if err != nil {
			return err
		}
		size, err := codec.FrameLen(head)
		if err == nil && (size < 8 || size-4 > cc.client.opts.MaxFrameBytes) {
			err = fmt.Errorf("length %d", binary.BigEndian.Uint32(head))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadFrame, err)
		}
		if cap(buf) < size || cap(buf) > keepBytes && size <= keepBytes {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
		if err := codec.ParseFrame(buf, &c); err != nil {
			return fmt.Errorf("%w: %w", ErrBadFrame, err)
		}
		cc.read.Add(1)
		cc.handle(&c, buf)
	}
}

// handle gives an answer to the call that waits for it, a request to OnRequest.
func (cc *clientConn) handle(c *codec.Command, frame []byte) {
	opts := &cc.client.opts
	if c.IsResponse() {
		if !cc.calls.complete(c.Opaque, frame) {
			opts.Logger.Debug("answer that nobody waits for", "addr", cc.addr, "opaque", c.Opaque)
		}
		return
	}
	if opts.OnRequest == nil {
		return
	}
	resp := opts.OnRequest(cc.addr, c)
	if resp == nil || c.IsOneway() {
		release(resp)
		return
	}
	resp.Opaque = c.Opaque
	resp.Flag |= codec.FlagResponse
	if err := cc.write(cc.client.ctx, resp); err != nil {
		opts.Logger.Debug("answer not sent", "addr", cc.addr, "err", err)
	}
}
