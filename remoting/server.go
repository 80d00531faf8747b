// Package remoting moves frames of the RocketMQ protocol over connections: a server whose event loops cut frames, run handlers and
// write answers, and a client. It knows no request's meaning. Only this package knows gnet.
package remoting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
)

const (
	// lagPeriod is how often slow readers are looked after, while there are any.
	lagPeriod = 2 * time.Millisecond
	// minSweepPeriod bounds the search for idle connections, of which there are 24 in an IdleTimeout.
	minSweepPeriod = 10 * time.Millisecond
)

// Server listens and has its requests answered by the handlers of a Table. Its event loops are gnet's; it accepts by itself, because
// gnet ends all its loops when accept fails (as it does when descriptors run out) and cannot stop accepting before it stops serving.
type Server struct {
	opts      Options
	log       *slog.Logger
	start     time.Time
	engine    *gnet.Client // gnet's engine without listeners
	listeners []*listener
	pools     [poolKinds]*Pool
	buffers   buffers
	stats     stats
	calls     callCounters

	conns    atomic.Int64
	parked   atomic.Int64
	inflight atomic.Int64 // bytes
	unsent   atomic.Int64 // bytes in gnet's outbound buffers

	shakes  sync.WaitGroup // goroutines of handshakes
	shaking chan struct{}  // a token for each handshake under way
	working chan struct{}  // a token for each that computes
	notices notices

	closing  atomic.Bool
	refusing chan struct{} // tells accepting goroutines to end
	closed   chan struct{} // tells the ticking goroutine to end
	lagged   chan struct{} // a loop has slow readers
	accepts  sync.WaitGroup
	ticks    sync.WaitGroup
	close    sync.Once
	closeErr error

	mu    sync.Mutex
	loops map[gnet.EventLoop]*loop // guarded by mu
}

// Open starts a server. It listens on all its addresses when Open returns; if one cannot be listened on, the error names it.
func Open(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts, log: opts.Logger, start: opts.Now(), refusing: make(chan struct{}),
		closed: make(chan struct{}), lagged: make(chan struct{}, 1),
		loops: make(map[gnet.EventLoop]*loop), shaking: make(chan struct{}, maxHandshakes), working: make(chan struct{}, max(1, opts.Loops/2))}
	for i, addr := range opts.Addrs {
		table := opts.Table(i)
		if table == nil {
			s.closeListeners()
			return nil, fmt.Errorf("remoting: no table of codes for %s", addr)
		}
		ln, err := listen(addr, opts.KeepAlive)
		if err != nil {
			s.closeListeners()
			return nil, err
		}
		s.listeners = append(s.listeners, &listener{Listener: ln, index: i, table: table})
	}
	client, err := gnet.NewClient(&engine{srv: s}, gnet.WithNumEventLoop(opts.Loops), gnet.WithReadBufferCap(opts.ReadBufferBytes),
		gnet.WithTCPNoDelay(gnet.TCPDelay), // package net has set TCP_NODELAY
		gnet.WithLogger(engineLog{opts.Logger}))
	if err == nil {
		err = client.Start()
	}
	if err != nil {
		s.closeListeners()
		return nil, fmt.Errorf("start event loops: %w", err)
	}
	s.engine = client
	for kind := range s.pools {
		s.pools[kind] = newPool(s, PoolKind(kind))
	}
	s.ticks.Go(s.tick)
	for _, ln := range s.listeners {
		s.accepts.Go(func() { s.accept(ln) })
	}
	return s, nil
}

// Addrs returns the addresses listened on, in the order of Options.Addrs.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.listeners))
	for i, ln := range s.listeners {
		addrs[i] = addrPort(ln.Addr())
	}
	return addrs
}

// Pool returns the pool of that kind.
func (s *Server) Pool(kind PoolKind) *Pool { return s.pools[kind] }

// Conns returns the number of open connections.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// loopOf returns our side of a gnet event loop.
func (s *Server) loopOf(el gnet.EventLoop) *loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.loops[el]
	if l == nil {
		l = &loop{srv: s, el: el}
		s.loops[el] = l
	}
	return l
}

// allLoops returns the loops that have had a connection.
func (s *Server) allLoops() []*loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	loops := make([]*loop, 0, len(s.loops))
	for _, l := range s.loops {
		loops = append(loops, l)
	}
	return loops
}

// lagging has the slow readers looked after.
func (s *Server) lagging() {
	select {
	case s.lagged <- struct{}{}:
	default:
	}
}

// tick asks the loops for what is due by time: one goroutine for all connections.
func (s *Server) tick() {
	sweep := time.NewTicker(max(s.opts.IdleTimeout/24, minSweepPeriod))
	defer sweep.Stop()
	lag := time.NewTimer(time.Hour)
	defer lag.Stop()
	lagSet := false
	for {
		what := 0
		select {
		case <-s.closed:
			return
		case <-s.lagged:
			if !lagSet {
				lagSet = true
				lag.Reset(lagPeriod)
			}
			continue
		case <-lag.C:
			lagSet = false
			what = askLag
		case <-sweep.C:
			what = askSweep
		}
		for _, l := range s.allLoops() {
			l.ask(what)
		}
	}
}

// Close stops accepting, answers what is in flight, closes all connections and ends all goroutines. When ctx ends first it
// returns ctx's error after having cut short what it could. Requests that arrive after Close has begun are not answered; their
// clients see the connection close.
func (s *Server) Close(ctx context.Context) error {
	s.close.Do(func() { s.closeErr = s.shutDown(ctx) })
	return s.closeErr
}

func (s *Server) shutDown(ctx context.Context) error {
	s.closing.Store(true)
	close(s.refusing)
	s.closeListeners()
	errs := []error{waitGroup(ctx, &s.accepts, "of accepting")}
	for _, p := range s.pools {
		errs = append(errs, p.close(ctx))
	}
	if s.opts.OnDrain != nil {
		s.opts.OnDrain()
	}
	drain, cancel := context.WithTimeout(ctx, s.opts.DrainTimeout)
	defer cancel()
	waitUntil(drain, func() bool { return s.parked.Load() <= 0 })
	for _, l := range s.allLoops() {
		l.ask(0) // a turn under way ends before this is done
	}
	waitUntil(drain, s.flushed)
	close(s.closed)
	s.ticks.Wait()
	for _, l := range s.allLoops() {
		l.stop()
	}
	var stop sync.WaitGroup
	stop.Go(func() {
		if err := s.engine.Stop(); err != nil {
			s.log.Warn("stop event loops", "err", err)
		}
	})
	errs = append(errs, waitGroup(ctx, &stop, "of the event loops"), waitGroup(ctx, &s.shakes, "of handshakes"))
	return errors.Join(errs...)
}

// flushed reports whether all that was sent is with the kernel.
func (s *Server) flushed() bool {
	for _, l := range s.allLoops() {
		if !l.idle() {
			return false
		}
	}
	return s.unsent.Load() <= 0
}

// waitGroup waits for goroutines to end, until ctx ends.
func waitGroup(ctx context.Context, wg *sync.WaitGroup, what string) error {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end %s: %w", what, ctx.Err())
	}
}

// waitUntil looks at a condition every millisecond until it is true or ctx ends. Only Close waits like this.
func waitUntil(ctx context.Context, done func() bool) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// addrPort returns a TCP address as netip has it; IPv4 in IPv6 becomes IPv4.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
