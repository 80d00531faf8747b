package remoting

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxHandshakes is the number of handshakes under way; further ones wait for their turn, within the same time.
	maxHandshakes = 4096
	// handshakeBytes is what is given to a handshake at a time; it has no longer message.
	handshakeBytes = 64 << 10
	// recordBytes is the longest record of TLS.
	recordBytes = 16 << 10
)

// secure is the TLS of a connection. The handshake, which cannot be interrupted, runs on a goroutine of its own that the loop feeds; after
// it records are read and written on the loop, where nothing waits: crypto/tls then reads what gnet has, and an end of that is an error
// which it takes for temporary.
type secure struct {
	c       *conn
	arrived chan struct{} // holds one token when there is something in in
	gone    chan struct{} // closed when the connection has ended
	timer   *time.Timer   // of the handshake
	working bool          // the handshake's goroutine holds a token of Server.working

	// mu guards the fields up to the next blank line until the handshake is over.
	mu   sync.Mutex
	in   []byte // bytes for the handshake
	more bool   // gnet has more of them
	out  []byte // bytes of the handshake
	done bool
	err  error

	// tls is made by the handshake's goroutine and belongs to the loop when ready. So does the rest.
	tls   *tls.Conn
	ready bool
	plain *chunk // what was decrypted; nil while there is nothing
	pos   int    // what of it is used
}

// errNothing ends a read on the loop when gnet has no more bytes.
var errNothing = &nothingError{}

type nothingError struct{}

func (*nothingError) Error() string   { return "nothing has arrived" }
func (*nothingError) Timeout() bool   { return true }
func (*nothingError) Temporary() bool { return true }

// startTLS begins the handshake of a connection whose first byte says that it is TLS.
func (l *loop) startTLS(c *conn) {
	s := &secure{c: c, arrived: make(chan struct{}, 1), gone: make(chan struct{}), timer: time.NewTimer(l.srv.opts.HandshakeTimeout)}
	c.sec, c.door = s, doorTLS
	l.srv.shakes.Go(s.handshake)
}

// handshake runs on a goroutine of its own. Few of them compute at a time, so that the loops get their share.
func (s *secure) handshake() {
	srv := s.c.srv
	err := s.take(srv.shaking)
	if err == nil {
		if err = s.take(srv.working); err == nil {
			s.working = true
			s.tls = tls.Server(s, srv.opts.TLS.server.Load())
			err = s.tls.Handshake()
		}
		if s.working {
			<-srv.working
		}
		<-srv.shaking
	}
	s.timer.Stop()
	s.mu.Lock()
	s.done, s.err = true, err
	s.mu.Unlock()
	s.c.wake()
}

// take takes a token.
func (s *secure) take(tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-s.timer.C:
		return errHandshakeTimeout
	case <-s.gone:
		return ErrClosed
	}
}

// Read is crypto/tls's side.
func (s *secure) Read(p []byte) (int, error) {
	if s.ready {
		if len(s.in) > 0 {
			n := copy(p, s.in)
			if s.in = s.in[n:]; len(s.in) == 0 {
				s.in = nil
			}
			return n, nil
		}
		if s.c.g.InboundBuffered() == 0 {
			return 0, errNothing
		}
		return s.c.g.Read(p)
	}
	for {
		s.mu.Lock()
		n := copy(p, s.in)
		s.in = s.in[n:]
		hungry := s.more && len(s.in) == 0
		s.more = s.more && !hungry
		s.mu.Unlock()
		if hungry {
			s.c.wake()
		}
		if n > 0 {
			return n, nil
		}
		if err := s.await(); err != nil {
			return 0, err
		}
	}
}

// await waits for bytes of the peer without holding up other handshakes.
func (s *secure) await() error {
	<-s.c.srv.working
	s.working = false
	select {
	case <-s.arrived:
	case <-s.timer.C:
		return errHandshakeTimeout
	case <-s.gone:
		return ErrClosed
	}
	if err := s.take(s.c.srv.working); err != nil {
		return err
	}
	s.working = true
	return nil
}

// Write is crypto/tls's side. On the loop the bytes leave with flushCipher.
func (s *secure) Write(p []byte) (int, error) {
	if s.ready {
		s.c.loop.cipher = append(s.c.loop.cipher, p...)
		return len(p), nil
	}
	s.mu.Lock()
	s.out = append(s.out, p...)
	s.mu.Unlock()
	s.c.wake()
	return len(p), nil
}

// The rest of net.Conn means nothing here.

func (s *secure) Close() error                     { return nil }
func (s *secure) LocalAddr() net.Addr              { return net.TCPAddrFromAddrPort(s.c.local) }
func (s *secure) RemoteAddr() net.Addr             { return net.TCPAddrFromAddrPort(s.c.remote) }
func (s *secure) SetDeadline(time.Time) error      { return nil }
func (s *secure) SetReadDeadline(time.Time) error  { return nil }
func (s *secure) SetWriteDeadline(time.Time) error { return nil }

// feed gives the handshake what has arrived.
func (l *loop) feed(c *conn) {
	s := c.sec
	s.mu.Lock()
	if room := handshakeBytes - len(s.in); !s.done && room > 0 {
		b, _ := c.g.Peek(min(room, c.g.InboundBuffered()))
		s.in = append(s.in, b...)
		_, _ = c.g.Discard(len(b)) // cannot fail, the bytes are there
		select {
		case s.arrived <- struct{}{}:
		default:
		}
	}
	s.more = c.g.InboundBuffered() > 0
	s.mu.Unlock()
	l.countCipher(c)
}

// countCipher accounts for bytes that wait for the end of a handshake.
func (l *loop) countCipher(c *conn) {
	l.uncount(c)
	n := c.g.InboundBuffered()
	if n <= partialBytes {
		return
	}
	c.partial = n
	if l.srv.inflight.Add(int64(n)) > l.srv.opts.MaxInflightBytes || int64(n) > l.srv.opts.MaxConnInflightBytes {
		l.drop(c, ErrOverload)
	}
}

// shake does what the handshake's goroutine has asked for. It reports whether the connection is to be closed.
func (l *loop) shake(c *conn) (closing bool) {
	c.mu.Lock()
	c.listed = false
	closing = c.closing
	c.mu.Unlock()
	if c.gone {
		return closing
	}
	s := c.sec
	s.mu.Lock()
	out, done, hungry := s.out, s.done, !s.more
	s.out = nil
	s.mu.Unlock()
	if len(out) > 0 {
		_, _ = c.g.Write(out) // an error has closed the connection, which OnClose tells
		l.account(c)
	}
	switch {
	case c.gone || closing:
	case done && s.err != nil:
		l.srv.stats.tlsFailed.Add(1)
		l.drop(c, fmt.Errorf("%w: %w", ErrTLS, s.err))
	case done:
		l.srv.stats.tlsConns.Add(1)
		s.ready = true
		l.uncount(c)
		l.traffic(c)
	case hungry && c.g.InboundBuffered() > 0:
		l.feed(c)
	}
	return closing
}

// decrypt reads records until nothing is left, or enough for a turn. It reports whether there may be more; io.EOF is the peer's goodbye.
func (l *loop) decrypt(c *conn) (more bool, err error) {
	s := c.sec
	for {
		if s.plain == nil {
			s.plain, s.pos = l.srv.buffers.chunks.get(2*recordBytes), 0
		}
		if c.buffered() >= l.enough(c) {
			return true, nil
		}
		if cap(s.plain.b)-len(s.plain.b) < recordBytes {
			s.grow(&l.srv.buffers)
		}
		was := len(s.plain.b)
		n, err := s.tls.Read(s.plain.b[was:cap(s.plain.b)])
		s.plain.b = s.plain.b[:was+n]
		switch {
		case errors.Is(err, errNothing):
			return false, nil
		case err == io.EOF:
			return false, io.EOF
		case err != nil:
			return false, fmt.Errorf("%w: %w", ErrTLS, err)
		}
	}
}

// enough is how many decrypted bytes are handled before more are decrypted.
func (l *loop) enough(c *conn) int {
	if c.skip == 0 && c.buffered() >= 4 {
		if size, err := l.frameLen(c.peek(4)); err == nil {
			return max(size, turnBytes)
		}
	}
	return turnBytes
}

// grow makes room for a record.
func (s *secure) grow(p *buffers) {
	rest := s.plain.b[s.pos:]
	bigger := p.chunks.get(2*len(rest) + 2*recordBytes)
	bigger.b = append(bigger.b, rest...)
	p.chunks.put(s.plain)
	s.plain, s.pos = bigger, 0
}

// shrink gives back what holds nothing.
func (s *secure) shrink(p *buffers) {
	if s.plain != nil && s.pos == len(s.plain.b) {
		p.chunks.put(s.plain)
		s.plain, s.pos = nil, 0
	}
}

// cutSecure handles the whole frames that have arrived in records.
func (l *loop) cutSecure(c *conn, frames *int) error {
	for {
		more, err := l.decrypt(c)
		l.flushCipher(c) // answers of TLS itself
		if c.skip > 0 {
			l.skip(c)
		}
		broken := l.cutAll(c, frames)
		c.sec.shrink(&l.srv.buffers)
		if broken == nil {
			broken = err
		}
		if broken != nil || !more || c.gone || c.paused || *frames <= 0 {
			return broken
		}
	}
}

// writeSecure encrypts slices in records as long as can be.
func (l *loop) writeSecure(c *conn, v [][]byte) {
	for _, b := range v {
		for len(b) > 0 {
			n := min(len(b), recordBytes-len(l.record))
			if len(l.record) == 0 && n == recordBytes {
				l.encrypt(c, b[:n])
			} else if l.record = append(l.record, b[:n]...); len(l.record) == recordBytes {
				l.encrypt(c, l.record)
				l.record = l.record[:0]
			}
			b = b[n:]
		}
	}
	if len(l.record) > 0 {
		l.encrypt(c, l.record)
		l.record = l.record[:0]
	}
	l.flushCipher(c)
}

func (l *loop) encrypt(c *conn, b []byte) {
	_, _ = c.sec.tls.Write(b) // fails after a goodbye only
	if len(l.cipher) >= turnBytes {
		l.flushCipher(c)
	}
}

// flushCipher gives encrypted bytes to gnet, which copies what the kernel does not take at once.
func (l *loop) flushCipher(c *conn) {
	if len(l.cipher) > 0 && !c.gone {
		_, _ = c.g.Write(l.cipher) // an error has closed the connection, which OnClose tells
	}
	if cap(l.cipher) > keepBytes {
		l.cipher = nil
	}
	l.cipher = l.cipher[:0]
}

// sayGoodbye tells the peer that the end of the bytes is meant.
func (l *loop) sayGoodbye(c *conn) {
	if c.sec == nil || !c.sec.ready || c.gone {
		return
	}
	_ = c.sec.tls.CloseWrite()
	l.flushCipher(c)
}

// end gives back what the connection's TLS holds.
func (s *secure) end(p *buffers) {
	close(s.gone)
	if s.ready {
		p.chunks.put(s.plain)
		s.plain, s.in = nil, nil
	}
}

// buffered is the number of bytes of frames that have arrived.
func (c *conn) buffered() int {
	switch {
	case c.sec == nil:
		return c.g.InboundBuffered()
	case c.sec.plain == nil:
		return 0
	default:
		return len(c.sec.plain.b) - c.sec.pos
	}
}

// peek returns the next n bytes of frames, which are there.
func (c *conn) peek(n int) []byte {
	if c.sec == nil {
		b, _ := c.g.Peek(n)
		return b
	}
	return c.sec.plain.b[c.sec.pos : c.sec.pos+n]
}

// discard takes n bytes of frames, which are there.
func (c *conn) discard(n int) {
	if c.sec == nil {
		_, _ = c.g.Discard(n)
		return
	}
	c.sec.pos += n
}

// encrypted is the number of bytes that have arrived and are not decrypted.
func (c *conn) encrypted() int {
	if c.sec == nil {
		return 0
	}
	return c.g.InboundBuffered()
}

// wake has the loop look at the connection.
func (c *conn) wake() {
	c.mu.Lock()
	c.unlockListed()
}
