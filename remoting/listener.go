package remoting

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	// Pauses after a failed accept, most often because descriptors have run out.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// listener is a door of the server.
type listener struct {
	net.Listener
	index int
	table *Table
}

// listen opens a TCP listener; its error names the address and the cause, in one sentence.
func listen(addr string, keepAlive time.Duration) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: keepAlive}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		var sys *os.SyscallError
		if errors.As(err, &sys) {
			err = sys.Err
		}
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// accept gives the connections of a listener to the event loops until the listener is closed.
func (s *Server) accept(ln *listener) {
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			s.enroll(ln, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if pause == 0 {
			s.log.Error("accept connections", "addr", ln.Addr().String(), "err", err)
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.refusing:
			timer.Stop()
			return
		}
	}
}

// enroll gives a connection to the event loop that has the fewest, and returns when it is open there.
func (s *Server) enroll(ln *listener, nc net.Conn) {
	if s.conns.Add(1) > int64(s.opts.MaxConns) {
		s.conns.Add(-1)
		if s.stats.connsRefused.Add(1)%1024 == 1 {
			s.log.Warn("connections are refused", "client", nc.RemoteAddr().String(), "open", s.opts.MaxConns, "err", ErrTooManyConns)
		}
		_ = nc.Close()
		return
	}
	for _, addr := range []net.Addr{nc.LocalAddr(), nc.RemoteAddr()} {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			tcp.Zone = "" // gnet would take its bytes for a buffer of its pool
		}
	}
	c := &conn{srv: s, table: ln.table, listener: int32(ln.index), remote: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr())}
	_, err := s.engine.EnrollContext(nc, c)
	if err == nil && c.loop == nil {
		err = errors.New("the kernel does not watch it")
	}
	if err != nil {
		s.conns.Add(-1)
		s.log.Error("take a connection", "client", c.remote, "err", err)
	}
}

// closeListeners ends the accepting of connections.
func (s *Server) closeListeners() {
	for _, ln := range s.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("close listener", "addr", ln.Addr().String(), "err", err)
		}
	}
}
