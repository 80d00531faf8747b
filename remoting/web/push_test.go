package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // takes what is compressed
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const pushPatience = 20 * time.Second

// collectorServer is a collector with the gRPC library.
type collectorServer struct {
	collectorpb.UnimplementedMetricsServiceServer
	addr string
	got  chan *collectorpb.ExportMetricsServiceRequest

	mu     sync.Mutex
	header metadata.MD
	answer func() (*collectorpb.ExportMetricsServiceResponse, error)
}

func openCollector(t *testing.T) *collectorServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &collectorServer{addr: ln.Addr().String(), got: make(chan *collectorpb.ExportMetricsServiceRequest, 1000)}
	server := grpc.NewServer()
	collectorpb.RegisterMetricsServiceServer(server, c)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	return c
}

func (c *collectorServer) Export(ctx context.Context, req *collectorpb.ExportMetricsServiceRequest) (*collectorpb.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header, _ = metadata.FromIncomingContext(ctx)
	c.got <- req
	if c.answer != nil {
		return c.answer()
	}
	return &collectorpb.ExportMetricsServiceResponse{}, nil
}

func (c *collectorServer) answerWith(answer func() (*collectorpb.ExportMetricsServiceResponse, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// next returns the metrics of the next message by name.
func (c *collectorServer) next(t *testing.T) map[string]*metricspb.Metric {
	t.Helper()
	select {
	case req := <-c.got:
		metrics := make(map[string]*metricspb.Metric)
		for _, m := range req.ResourceMetrics[0].ScopeMetrics[0].Metrics {
			metrics[m.Name] = m
		}
		return metrics
	case <-time.After(pushPatience):
		require.Fail(t, "no metrics were sent")
		return nil
	}
}

// logLines keeps a log's lines.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// counted are a counter, a gauge and a histogram under Apache's names.
type counted struct {
	sent  *prometheus.CounterVec
	size  prometheus.Gauge
	calls prometheus.Histogram
}

func newCounted() *counted {
	return &counted{
		sent:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rocketmq_messages_in_total", Help: "messages"}, []string{"topic"}),
		size:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "rocketmq_storage_size_bytes"}),
		calls: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rocketmq_rpc_latency_milliseconds", Buckets: []float64{1, 10}}),
	}
}

func (c *counted) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.sent, c.size, c.calls}
}

func openPusher(t *testing.T, exporter string, c *counted, change func(*PushConfig)) (*Pusher, *logLines) {
	t.Helper()
	cfg := DefaultPushConfig()
	cfg.Interval, cfg.LogInterval, cfg.Timeout = time.Hour, time.Hour, pushPatience
	change(&cfg)
	lines := &logLines{}
	p, err := OpenPusher(exporter, cfg, c.collectors(), slog.New(slog.NewTextHandler(lines, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
	return p, lines
}

func TestMetricsGoToACollector(t *testing.T) {
	t.Parallel()
	server, c := openCollector(t), newCounted()
	p, _ := openPusher(t, ExporterOTLP, c, func(cfg *PushConfig) { cfg.Target, cfg.Headers = "http://"+server.addr, "x-token:secret, tenant:a" })
	c.sent.WithLabelValues("A").Add(3)
	c.size.Set(7)
	c.calls.Observe(0.5)
	c.calls.Observe(100)
	p.push(t.Context())
	got := server.next(t)
	require.Equal(t, []string{"secret"}, server.header.Get("x-token"))
	require.Equal(t, []string{"a"}, server.header.Get("tenant"))
	sum := got["rocketmq_messages_in_total"].GetSum()
	require.True(t, sum.IsMonotonic)
	require.Equal(t, metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, sum.AggregationTemporality)
	require.Equal(t, 3.0, sum.DataPoints[0].GetAsDouble())
	require.Equal(t, "topic", sum.DataPoints[0].Attributes[0].Key)
	require.Equal(t, "A", sum.DataPoints[0].Attributes[0].Value.GetStringValue())
	require.Equal(t, "messages", got["rocketmq_messages_in_total"].Description)
	require.Equal(t, 7.0, got["rocketmq_storage_size"].GetGauge().DataPoints[0].GetAsDouble())
	require.Equal(t, "bytes", got["rocketmq_storage_size"].Unit)
	require.Equal(t, "milliseconds", got["rocketmq_rpc_latency"].Unit)
	h := got["rocketmq_rpc_latency"].GetHistogram().DataPoints[0]
	require.Equal(t, []float64{1, 10}, h.ExplicitBounds)
	require.Equal(t, []uint64{1, 0, 1}, h.BucketCounts)
	require.Equal(t, uint64(2), h.Count)
	require.Equal(t, 100.5, h.GetSum())
	require.Contains(t, got, "go_goroutines")

	c.sent.WithLabelValues("A").Add(1)
	p.push(t.Context())
	require.Equal(t, 4.0, server.next(t)["rocketmq_messages_in_total"].GetSum().DataPoints[0].GetAsDouble())
}

func TestMetricsThatTellWhatWasAdded(t *testing.T) {
	t.Parallel()
	server, c := openCollector(t), newCounted()
	p, _ := openPusher(t, ExporterOTLP, c, func(cfg *PushConfig) { cfg.Target, cfg.Delta = "http://"+server.addr, true })
	c.sent.WithLabelValues("A").Add(3)
	c.calls.Observe(5)
	p.push(t.Context())
	server.next(t)
	c.sent.WithLabelValues("A").Add(2)
	c.sent.WithLabelValues("B").Add(9)
	c.calls.Observe(5)
	c.calls.Observe(50)
	p.push(t.Context())
	got := server.next(t)
	sum := got["rocketmq_messages_in_total"].GetSum()
	require.Equal(t, metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA, sum.AggregationTemporality)
	require.Equal(t, []float64{2, 9}, []float64{sum.DataPoints[0].GetAsDouble(), sum.DataPoints[1].GetAsDouble()})
	h := got["rocketmq_rpc_latency"].GetHistogram().DataPoints[0]
	require.Equal(t, []uint64{0, 1, 1}, h.BucketCounts)
	require.Equal(t, 55.0, h.GetSum())
}

func TestPointsAreSentInBatches(t *testing.T) {
	t.Parallel()
	server, c := openCollector(t), newCounted()
	p, _ := openPusher(t, ExporterOTLP, c, func(cfg *PushConfig) { cfg.Target, cfg.BatchPoints = "http://"+server.addr, 10 })
	for i := range 25 {
		c.sent.WithLabelValues(string(rune('A' + i))).Inc()
	}
	p.push(t.Context())
	topics := make(map[string]bool)
	for len(server.got) > 0 {
		points := 0
		for _, m := range server.next(t) {
			points += len(m.GetSum().GetDataPoints()) + len(m.GetGauge().GetDataPoints()) + len(m.GetHistogram().GetDataPoints()) + len(m.GetSummary().GetDataPoints())
			if m.Name == "rocketmq_messages_in_total" {
				for _, d := range m.GetSum().DataPoints {
					topics[d.Attributes[0].Value.GetStringValue()] = true
				}
			}
		}
		require.LessOrEqual(t, points, 10)
	}
	require.Len(t, topics, 25)
}

func TestCollectorThatRefuses(t *testing.T) {
	t.Parallel()
	server, c := openCollector(t), newCounted()
	p, lines := openPusher(t, ExporterOTLP, c, func(cfg *PushConfig) { cfg.Target = "http://" + server.addr })
	server.answerWith(func() (*collectorpb.ExportMetricsServiceResponse, error) {
		return nil, status.Error(codes.Unauthenticated, "no token")
	})
	p.push(t.Context())
	p.push(t.Context())
	require.Equal(t, 1, strings.Count(lines.String(), "metrics cannot be sent"), "said once")
	require.Contains(t, lines.String(), "status 16: no token")
	server.answerWith(nil)
	p.push(t.Context())
	require.Contains(t, lines.String(), "metrics are sent again")
	server.answerWith(func() (*collectorpb.ExportMetricsServiceResponse, error) {
		return &collectorpb.ExportMetricsServiceResponse{PartialSuccess: &collectorpb.ExportMetricsPartialSuccess{RejectedDataPoints: 300, ErrorMessage: "too many"}}, nil
	})
	p.push(t.Context())
	require.Contains(t, lines.String(), "has not taken 300 points: too many")
}

func TestCollectorThatIsNotThere(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	p, lines := openPusher(t, ExporterOTLP, newCounted(), func(cfg *PushConfig) { cfg.Target = "http://" + ln.Addr().String() })
	p.push(t.Context())
	require.Contains(t, lines.String(), "metrics cannot be sent")
}

func TestMetricsGoIntoTheLog(t *testing.T) {
	t.Parallel()
	c := newCounted()
	c.sent.WithLabelValues("A").Add(3)
	_, lines := openPusher(t, ExporterLog, c, func(cfg *PushConfig) { cfg.LogInterval = time.Millisecond })
	require.Eventually(t, func() bool { return strings.Contains(lines.String(), "rocketmq_messages_in_total") }, pushPatience, time.Millisecond)
	_, quoted, _ := strings.Cut(lines.String(), "otlp=")
	quoted, _, _ = strings.Cut(quoted, "\n")
	var text string
	require.NoError(t, json.Unmarshal([]byte(quoted), &text))
	require.True(t, json.Valid([]byte(text)))
	require.Contains(t, strings.ReplaceAll(text, " ", ""), `"aggregationTemporality":2`)
}

func TestBadCollectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, target, headers, want string }{
		{"no host", "http://", "", "metricsGrpcExporterTarget"},
		{"no URL", "http://a b", "", "metricsGrpcExporterTarget"},
		{"header without a value", "localhost:4317", "token", "metricsGrpcExporterHeader: want key:value"},
	} {
		_, err := newCollectorClient(c.target, c.headers, time.Second)
		require.ErrorContains(t, err, c.want, c.name)
	}
	c, err := newCollectorClient("collector:4317", "", time.Second)
	require.NoError(t, err)
	require.Equal(t, "https://collector:4317"+exportMethod, c.url, "as Java")
}
