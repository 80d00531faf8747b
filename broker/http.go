package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout bounds how long one request over HTTP is served, maxScrapes how many at a time.
const (
	scrapeTimeout = 30 * time.Second
	maxScrapes    = 4
)

// The values of metricsExporterType that have an effect.
const (
	exporterNone = "DISABLE"
	exporterProm = "PROM"
)

// HTTPConfig is what the configuration says about metrics and health. Apache: BrokerConfig.metricsExporterType and its kin.
type HTTPConfig struct {
	// Exporter is DISABLE or PROM; Java's OTLP_GRPC and LOG are taken as DISABLE, with a warning.
	Exporter string
	Host     string
	Port     int
	// Optional makes a port that is taken a warning.
	Optional bool
	// Pprof serves Go's profiles below /debug/pprof/.
	Pprof bool
}

// httpServer serves /metrics, /healthz and /readyz.
type httpServer struct {
	server *http.Server
	addr   netip.AddrPort
	done   chan struct{}
}

// openHTTP listens, unless the configuration says that there is nothing to be served.
func (b *Broker) openHTTP(cfg Config) error {
	c := cfg.HTTP
	if c.Exporter != exporterProm {
		if c.Exporter != exporterNone {
			b.log.Warn("metrics are served for Prometheus only; nothing is exported", "metricsExporterType", c.Exporter)
		}
		return nil
	}
	addr := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		if c.Optional {
			b.log.Warn("metrics are not served; set metricsPromExporterPort to a free port", "addr", addr, "err", err)
			return nil
		}
		return fmt.Errorf("serve metrics on %s (metricsPromExporterHost, metricsPromExporterPort): %w", addr, err)
	}
	h := &httpServer{done: make(chan struct{})}
	h.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	h.server = &http.Server{Handler: b.httpHandler(cfg), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: scrapeTimeout + 5*time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	b.http = h
	go func() {
		defer close(h.done)
		if err := h.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			b.log.Error("serving metrics has ended", "addr", h.addr, "err", err)
		}
	}()
	return nil
}

// HTTPAddr is where metrics and health are served, not valid when they are not.
func (b *Broker) HTTPAddr() netip.AddrPort {
	if b.http == nil {
		return netip.AddrPort{}
	}
	return b.http.addr
}

func (h *httpServer) close(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, h.server.Close())
	}
	<-h.done
	return err
}

func (b *Broker) httpHandler(cfg Config) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newMetrics(b, cfg), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", b.serveHealth)
	mux.HandleFunc("GET /readyz", b.serveReady)
	if cfg.HTTP.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// serveHealth says whether the broker can do its work: 503 when the store takes no messages any more.
func (b *Broker) serveHealth(w http.ResponseWriter, _ *http.Request) {
	var wrong []string
	if b.store.ReadOnly() {
		wrong = append(wrong, storeFailed)
	}
	serveState(w, wrong)
}

// serveReady says whether clients find the broker and get all that it has: it is registered with a name server, if it has any,
// and what the log holds is in the queues.
func (b *Broker) serveReady(w http.ResponseWriter, _ *http.Request) {
	var wrong []string
	if b.store.ReadOnly() {
		wrong = append(wrong, storeFailed)
	}
	if !b.register.Registered() {
		wrong = append(wrong, "not registered with any name server")
	}
	if behind := b.store.Written() - b.store.Dispatched(); behind > maxReadyBehind {
		wrong = append(wrong, fmt.Sprintf("%d bytes of the log are not yet in queues", behind))
	}
	serveState(w, wrong)
}

// storeFailed is the reason for not being healthy after a failed flush.
const storeFailed = "a flush has failed, the store takes no messages until it is restarted; the log says which file"

// maxReadyBehind is how much of the log may be on its way into queues while the broker is ready.
const maxReadyBehind = 64 << 20

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
