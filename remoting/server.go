// Package remoting moves frames of the RocketMQ protocol over connections: a server whose event loops cut frames, run handlers and
// write answers, and a client. It knows no request's meaning. Only this package knows gnet.
package remoting

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
)

// Server listens and has its requests answered by the handlers of a Table.
type Server struct {
	parked atomic.Int64
}

// Open starts a server. It listens on all its addresses when Open returns; if one cannot be listened on, the error names it.
func Open(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return nil, errors.New("remoting: not there yet")
}

// Addrs returns the addresses listened on, in the order of Options.Addrs.
func (s *Server) Addrs() []netip.AddrPort { return nil }

// Pool returns the pool of that kind.
func (s *Server) Pool(kind PoolKind) *Pool { return nil }

// Conns returns the number of open connections.
func (s *Server) Conns() int { return 0 }

// Close stops accepting, answers what is in flight, closes all connections and ends all goroutines. When ctx ends first it
// returns ctx's error after having cut short what it could.
func (s *Server) Close(ctx context.Context) error { return ErrClosed }
