package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// The values of metricsExporterType. Apache: MetricsExporterType.
const (
	ExporterNone = "DISABLE"
	ExporterProm = "PROM"
	ExporterOTLP = "OTLP_GRPC"
	ExporterLog  = "LOG"
)

// PushConfig is what a configuration file says about metrics that are sent instead of asked for.
type PushConfig struct {
	// Target and Headers are a collector's: "http://host:4317", "key:value,key:value". Timeout bounds a call.
	Target, Headers string
	Timeout         time.Duration
	// Interval is that of OTLP_GRPC, LogInterval that of LOG.
	Interval, LogInterval time.Duration
	// BatchPoints bounds the points of one message.
	BatchPoints int
	// Delta has counters and histograms tell what was added since the last message. Apache: metricsInDelta.
	Delta bool
}

// DefaultPushConfig gives Java's defaults.
func DefaultPushConfig() PushConfig {
	return PushConfig{Timeout: 3 * time.Second, Interval: time.Minute, LogInterval: 10 * time.Second, BatchPoints: 1000}
}

// Pusher sends metrics to a collector or into the log, until Close. Apache: PeriodicMetricReader.
type Pusher struct {
	registry *prometheus.Registry
	otlp     otlp
	send     func(context.Context, *metricspb.MetricsData) error
	interval time.Duration
	log      *slog.Logger
	failing  bool

	cancel context.CancelFunc
	done   chan struct{}
	free   func()
}

// OpenPusher begins to send what the collectors have: into the log with ExporterLog, to a collector with ExporterOTLP.
func OpenPusher(exporter string, cfg PushConfig, content []prometheus.Collector, log *slog.Logger) (*Pusher, error) {
	now := time.Now()
	p := &Pusher{registry: prometheus.NewRegistry(), log: log, done: make(chan struct{}), free: func() {},
		otlp: otlp{delta: cfg.Delta, start: now, last: now, batchPoints: max(1, cfg.BatchPoints)}}
	for _, c := range append(content, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) {
		if err := p.registry.Register(c); err != nil {
			return nil, err
		}
	}
	switch exporter {
	case ExporterLog:
		p.interval, p.send = cfg.LogInterval, p.logged
	case ExporterOTLP:
		client, err := newCollectorClient(cfg.Target, cfg.Headers, cfg.Timeout)
		if err != nil {
			return nil, err
		}
		p.interval, p.send, p.free = cfg.Interval, client.export, client.close
	default:
		return nil, fmt.Errorf("metricsExporterType=%s is not sent anywhere", exporter)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.run(ctx)
	return p, nil
}

// Close sends what there is once more and ends. It does nothing to a nil pusher.
func (p *Pusher) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.push(ctx)
	p.free()
	return nil
}

func (p *Pusher) run(ctx context.Context) {
	defer close(p.done)
	ticker := time.NewTicker(max(p.interval, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.push(ctx)
		}
	}
}

// push sends everything once. A failure is said when it begins and when it ends; what could not be sent is not sent again: counters
// tell it the next time, unless they tell only what was added.
func (p *Pusher) push(ctx context.Context) {
	families, err := p.registry.Gather()
	if err != nil && len(families) == 0 {
		p.log.Warn("metrics cannot be gathered", "err", err)
		return
	}
	for _, m := range p.otlp.messages(families, time.Now()) {
		if err = p.send(ctx, m); err != nil {
			break
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case err != nil && !p.failing:
		p.failing = true
		p.log.Warn("metrics cannot be sent, trying again at every interval", "interval", p.interval, "err", err)
	case err == nil && p.failing:
		p.failing = false
		p.log.Info("metrics are sent again")
	}
}

// logged writes a message as OpenTelemetry's JSON. Apache: OtlpJsonLoggingMetricExporter.
func (p *Pusher) logged(_ context.Context, m *metricspb.MetricsData) error {
	for _, resource := range m.ResourceMetrics {
		text, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(resource)
		if err != nil {
			return err
		}
		p.log.Info("metrics", "otlp", string(text))
	}
	return nil
}
