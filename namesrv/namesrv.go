// Package namesrv is the name server: brokers register their topics with it and clients ask it where a topic lives. Name
// servers know nothing of each other; each broker tells each of them.
package namesrv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/remoting/web"
)

var errExpired = errors.New("namesrv: broker has been silent for too long")

// Server is a running name server. Apache: NamesrvController.
type Server struct {
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	settings atomic.Pointer[Settings]
	routes   *routes
	kv       *kvTable
	keeper   keeper
	guard    *auth.Guard
	remoting *remoting.Server
	http     *web.Server // nil: nothing is served
	nsaddr   *web.Server // nil: the list of name servers is not served

	stop  context.CancelFunc
	loops sync.WaitGroup
	wake  chan struct{} // holds one token while closed is not empty

	// config guards opts, also while a change of it is written to its file.
	config sync.Mutex
	// opts is what GET_NAMESRV_CONFIG shows; settings is the part of it in effect.
	opts Options

	// mu guards closed, the ended connections of brokers that are not yet taken out. Event loops take it.
	mu     sync.Mutex
	closed []remoting.Conn
}

// Open starts a name server; it listens when Open returns.
func Open(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts.applyLogLevel()
	s := &Server{log: opts.Logger, now: opts.Now, started: opts.Now(), opts: opts, wake: make(chan struct{}, 1)}
	s.settings.Store(&opts.Settings)
	var err error
	if s.kv, err = openKV(opts.KVConfigPath, opts.Logger); err != nil {
		return nil, err
	}
	s.routes = newRoutes(&s.settings, func(topic string) string {
		conf, _ := s.kv.get(orderTopicNamespace, topic)
		return conf
	})
	if err := s.openGuard(); err != nil {
		return nil, err
	}
	listeners, err := opts.listeners()
	if err != nil {
		return nil, err
	}
	s.openKeeper()
	serve := remoting.DefaultOptions()
	if serve.Guard = opts.Check; serve.Guard == nil {
		serve.Guard = s.guard.Check()
	}
	serve.Addrs = s.listenOn(listeners)
	serve.Table = func(int) *remoting.Table { return s.table() }
	serve.IdleTimeout, serve.Logger, serve.Now = opts.IdleTimeout, opts.Logger, opts.Now
	serve.OnClose = s.connClosed
	if err := opts.serveNet(&serve); err != nil {
		return nil, fmt.Errorf("name server: %w", err)
	}
	if s.remoting, err = remoting.Open(serve); err != nil {
		return nil, fmt.Errorf("name server: %w", err)
	}
	s.logListeners(listeners)
	if err := errors.Join(s.openHTTP(&opts), s.openNsaddr(&opts)); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return nil, errors.Join(err, s.http.Close(ctx), s.nsaddr.Close(ctx), s.remoting.Close(ctx))
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.loops.Go(func() { s.scan(ctx) })
	s.loops.Go(func() { s.takeOut(ctx) })
	s.keeper.start(s.keep)
	s.loops.Go(func() { serve.TLS.Watch(ctx) })
	return s, nil
}

// openGuard reads who may do what; the users lie beside the key-value configuration.
func (s *Server) openGuard() (err error) {
	dir := s.opts.Auth.Path
	if dir == "" {
		dir = filepath.Join(filepath.Dir(s.opts.KVConfigPath), "apogee")
	}
	s.guard, err = auth.Open(auth.Options{Config: s.opts.Auth, Cluster: s.opts.Cluster, Dir: dir, Logger: s.log, Now: s.now})
	if err == nil && !s.opts.Auth.On() && s.opts.Check == nil && !s.opts.OpenIsSaid && auth.OpenToOthers(s.opts.BindAddress) {
		s.log.Warn("anybody who reaches this name server may administer it: neither aclEnable nor authenticationEnabled is set", "bindAddress", s.opts.BindAddress)
	}
	return err
}

// Addr returns the address listened on.
func (s *Server) Addr() netip.AddrPort { return s.remoting.Addrs()[0] }

// Close stops accepting, answers what is in flight and returns when nothing runs any more.
func (s *Server) Close(ctx context.Context) error {
	s.closeKeeper() // before connections end and take their brokers with them
	err := errors.Join(s.http.Close(ctx), s.nsaddr.Close(ctx), s.remoting.Close(ctx))
	s.stop()
	s.loops.Wait()
	return err
}

// connClosed runs on an event loop.
func (s *Server) connClosed(conn remoting.Conn, _ error) {
	if _, ok := s.routes.registered.Load(conn); !ok {
		return
	}
	s.mu.Lock()
	s.closed = append(s.closed, conn)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeOut takes out brokers at once when their connection has ended.
func (s *Server) takeOut(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		closed := s.closed
		s.closed = nil
		s.mu.Unlock()
		for _, conn := range closed {
			for _, g := range s.routes.connClosed(conn) {
				s.log.Warn("broker is gone, its connection has ended", "broker", g.name, "id", g.id, "cluster", g.cluster, "addr", g.addr)
			}
		}
	}
}

// scan takes out brokers that have been silent for too long.
func (s *Server) scan(ctx context.Context) {
	s.everyScan(ctx, func() time.Duration {
		s.expire()
		return 0
	})
}

// everyScan calls work with a pause of the scan interval, as it is then, before each call; of more when work asks for more.
func (s *Server) everyScan(ctx context.Context, work func() (least time.Duration)) {
	timer := time.NewTimer(s.settings.Load().ScanInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		least := work()
		timer.Reset(max(s.settings.Load().ScanInterval, least))
	}
}

func (s *Server) expire() {
	for _, g := range s.routes.expire(s.now()) {
		s.log.Warn("broker is gone, it has been silent for too long", "broker", g.name, "id", g.id, "cluster", g.cluster, "addr", g.addr)
		if g.conn != nil {
			g.conn.Close(errExpired)
		}
	}
	for _, d := range s.routes.settle(s.now()) {
		s.log.Warn("topics of before the restart are dropped, their broker has registered without them", "broker", d.name, "topics", d.topics)
	}
}
