package remoting

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/panjf2000/gnet/v2"
)

// engine is what gnet calls. A connection's calls all come on its event loop.
type engine struct {
	gnet.BuiltinEventEngine
	srv *Server
}

// OnOpen is gnet's; it runs on the connection's loop.
func (e *engine) OnOpen(g gnet.Conn) ([]byte, gnet.Action) {
	c := g.Context().(*conn)
	c.g, c.loop = g, e.srv.loopOf(g.EventLoop())
	c.loop.opened(c)
	e.srv.stats.connsOpened.Add(1)
	if e.srv.opts.OnOpen != nil {
		e.srv.opts.OnOpen(c)
	}
	return nil, gnet.None
}

// OnTraffic is gnet's; it runs on the connection's loop when bytes have been read.
func (e *engine) OnTraffic(g gnet.Conn) gnet.Action {
	c := g.Context().(*conn)
	c.loop.traffic(c)
	return gnet.None
}

// OnClose is gnet's; it runs on the connection's loop, also in the midst of a turn whose write has failed.
func (e *engine) OnClose(g gnet.Conn, err error) gnet.Action {
	c := g.Context().(*conn)
	if !c.ending() {
		c.loop.lastTraffic(c)
	}
	reason := c.loop.ended(c)
	if reason == nil {
		reason = err
	}
	e.srv.tell(c, reason)
	if e.srv.opts.OnClose != nil {
		e.srv.opts.OnClose(c, reason)
	}
	e.srv.stats.connsClosed.Add(1)
	e.srv.conns.Add(-1)
	return gnet.None
}

// tell counts and logs why a connection was closed. What a peer can bring about at will is logged once for its address and kind.
func (s *Server) tell(c *conn, reason error) {
	switch kind := doorError(reason); {
	case kind != nil:
		if kind == ErrBadFrame {
			s.stats.closedBadFrame.Add(1)
		}
		ok, withheld := s.notices.allow(c.remote.Addr(), kind, s.opts.Now())
		if withheld > 0 {
			s.log.Warn("more connections were closed for reasons logged before", "connections", withheld)
		}
		if ok {
			s.log.Warn("connection closed", "client", c.remote, "at", c.local, "err", reason)
		}
	case errors.Is(reason, ErrSlowReader):
		s.stats.closedSlow.Add(1)
		s.log.Warn("connection dropped", "client", c.remote, "err", reason)
	case errors.Is(reason, ErrIdle):
		s.stats.closedIdle.Add(1)
		s.log.Info("connection closed", "client", c.remote, "err", reason)
	case errors.Is(reason, ErrOverload):
		s.log.Warn("connection closed", "client", c.remote, "err", reason)
	default:
		s.log.Debug("connection closed", "client", c.remote, "err", reason)
	}
}

// engineLog passes on what gnet says. Its errors concern single connections.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Debugf(format string, args ...any) {
	l.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}
func (l engineLog) Infof(format string, args ...any) {
	l.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}
func (l engineLog) Warnf(format string, args ...any) {
	l.log.Warn("gnet: " + fmt.Sprintf(format, args...))
}
func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
func (l engineLog) Fatalf(format string, args ...any) {
	l.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
