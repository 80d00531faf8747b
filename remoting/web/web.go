// Package web serves over HTTP what operators look at: metrics for Prometheus, health and, on demand, profiles.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout bounds how long one request is served, maxScrapes how many at a time.
const (
	scrapeTimeout = 30 * time.Second
	maxScrapes    = 4
)

// lockSampling is how many waits for a lock the profile /debug/pprof/mutex sees one of.
const lockSampling = 100

// Config is what a configuration file says about the listener.
type Config struct {
	// Host is the address to listen on, empty for all.
	Host string
	Port int
	// Optional makes a port that is taken a warning.
	Optional bool
	// Pprof serves Go's profiles below /debug/pprof/, and has the whole process sample who waits for which lock.
	Pprof bool
}

// Content is what is served. Healthy and Ready return what is wrong, nothing when all is well; they are called from any
// goroutine.
type Content struct {
	Collectors     []prometheus.Collector
	Healthy, Ready func() []string
}

// Server serves /metrics, /healthz and /readyz.
type Server struct {
	server *http.Server
	addr   netip.AddrPort
	done   chan struct{}
}

// Open listens and serves until Close. It returns nil without an error when the port is taken and the configuration says that
// this is only worth a warning.
func Open(cfg Config, content Content, log *slog.Logger) (*Server, error) {
	addr := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		if cfg.Optional {
			log.Warn("metrics are not served; set metricsPromExporterPort to a free port", "addr", addr, "err", err)
			return nil, nil
		}
		return nil, fmt.Errorf("serve metrics on %s (metricsPromExporterHost, metricsPromExporterPort): %w", addr, err)
	}
	if cfg.Pprof {
		runtime.SetMutexProfileFraction(lockSampling)
	}
	return serve(ln, &http.Server{Handler: handler(cfg, content), WriteTimeout: scrapeTimeout + 5*time.Second}, "serving metrics has ended", log), nil
}

// serve serves until Close.
func serve(ln net.Listener, server *http.Server, ended string, log *slog.Logger) *Server {
	s := &Server{done: make(chan struct{}), addr: ln.Addr().(*net.TCPAddr).AddrPort(), server: server}
	server.ReadHeaderTimeout, server.IdleTimeout, server.MaxHeaderBytes = 5*time.Second, time.Minute, 16<<10
	go func() {
		defer close(s.done)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error(ended, "addr", s.addr, "err", err)
		}
	}()
	return s
}

// Addr returns the address listened on; the zero value for a nil server.
func (s *Server) Addr() netip.AddrPort {
	if s == nil {
		return netip.AddrPort{}
	}
	return s.addr
}

// Close stops listening and returns when nobody is served any more or ctx ends. It does nothing to a nil server.
func (s *Server) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	<-s.done
	return err
}

func handler(cfg Config, content Content) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(content.Collectors...)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { serveState(w, content.Healthy()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { serveState(w, content.Ready()) })
	if cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func serveState(w http.ResponseWriter, wrong []string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	state := map[string]string{"status": "ok"}
	if len(wrong) > 0 {
		state = map[string]string{"status": "failing", "reason": strings.Join(wrong, "; ")}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(state) // the peer has gone
}
