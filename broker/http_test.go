package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting/web"
)

// openMetrics opens a broker that serves metrics on a free port.
func openMetrics(t *testing.T, change func(*Config)) *Broker {
	t.Helper()
	cfg := testConfig(t, t.TempDir())
	cfg.HTTP = HTTPConfig{Config: web.Config{Host: "127.0.0.1"}, Exporter: web.ExporterProm}
	if change != nil {
		change(&cfg)
	}
	b := openBroker(t, cfg)
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func (b *Broker) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + b.HTTPAddr().String() + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// Apache's series have the same labels here. The list was taken from Apache RocketMQ 5.4.0's endpoint after sends of every
// kind, without the labels that all series have.
func TestMetricsHaveApachesLabels(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/apache_metrics.txt")
	require.NoError(t, err)
	apache := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, labels, _ := strings.Cut(strings.TrimSpace(line), " ")
		apache[name] = labels
	}
	compared := 0
	for _, f := range families {
		if labels, ok := apache[f.name]; ok {
			mine := strings.Fields(f.labels)
			sort.Strings(mine)
			require.Equal(t, labels, strings.Join(mine, " "), f.name)
			compared++
		}
	}
	require.GreaterOrEqual(t, compared, 31)
}

func TestMetricsCountWhatWasSent(t *testing.T) {
	t.Parallel()
	b := openMetrics(t, nil)
	for range 3 {
		require.Equal(t, codec.Success, send(t, b, "Counted", "body").Code)
	}
	var text string
	require.Eventually(t, func() bool { // the turn's calls are counted after its answers have left
		code, body := b.get(t, "/metrics")
		require.Equal(t, http.StatusOK, code)
		text = body
		return strings.Contains(body, `request_code="send_message_v2"`)
	}, 10*time.Second, time.Millisecond)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	series, err := parser.TextToMetricFamilies(bytes.NewReader([]byte(text)))
	require.NoError(t, err)
	in := series["rocketmq_messages_in_total"].GetMetric()
	require.Len(t, in, 1)
	require.Equal(t, 3.0, in[0].GetCounter().GetValue())
	labels := make(map[string]string)
	for _, l := range in[0].GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	require.Equal(t, map[string]string{"cluster": "DefaultCluster", "node_type": "broker", "node_id": "broker-t", "topic": "Counted",
		"message_type": "normal", "is_system": "false"}, labels)
	require.Equal(t, uint64(3), series["rocketmq_message_size"].GetMetric()[0].GetHistogram().GetSampleCount())
	for _, name := range []string{"rocketmq_rpc_latency_milliseconds", "apogee_commitlog_written_offset", "apogee_append_latency_seconds", "apogee_flush_latency_seconds",
		"rocketmq_processor_watermark", "rocketmq_topic_number", "go_goroutines"} {
		require.Contains(t, series, name)
	}
	require.Equal(t, float64(b.store.Written()), series["apogee_commitlog_written_offset"].GetMetric()[0].GetGauge().GetValue())
}

func TestReadyOnceRegistered(t *testing.T) {
	t.Parallel()
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nowhere.Close())
	b := openMetrics(t, func(c *Config) { c.NamesrvAddrs, c.RegisterPeriod = nowhere.Addr().String(), time.Millisecond })
	code, body := b.get(t, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "not registered")
	code, _ = b.get(t, "/healthz")
	require.Equal(t, http.StatusOK, code)
	openFakeNamesrv(t, nowhere.Addr().String())
	require.Eventually(t, func() bool { code, _ := b.get(t, "/readyz"); return code == http.StatusOK }, registerPatience, 10*time.Millisecond)
}

func TestProfilesOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	code, _ := openMetrics(t, nil).get(t, "/debug/pprof/cmdline")
	require.Equal(t, http.StatusNotFound, code)
	asked := openMetrics(t, func(c *Config) { c.HTTP.Pprof = true })
	code, _ = asked.get(t, "/debug/pprof/cmdline")
	require.Equal(t, http.StatusOK, code)
	_, body := asked.get(t, "/debug/pprof/mutex?debug=1")
	require.Contains(t, body, "sampling period=100")
}

func TestMetricsPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg := testConfig(t, t.TempDir())
	cfg.HTTP = HTTPConfig{Exporter: web.ExporterProm, Config: web.Config{Host: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port}}
	_, err = Open(cfg, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "metricsPromExporterPort")
	require.ErrorContains(t, err, taken.Addr().String())
	cfg.HTTP.Optional = true
	b := openBroker(t, cfg)
	require.False(t, b.HTTPAddr().IsValid())
	closeBroker(t, b)
}

// A scrape that never ends its request does not hold up the stop for long.
func TestStopWithAnOpenScrape(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, t.TempDir())
	cfg.HTTP = HTTPConfig{Config: web.Config{Host: "127.0.0.1"}, Exporter: web.ExporterProm}
	b := openBroker(t, cfg)
	conn, err := net.Dial("tcp", b.HTTPAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET /metrics HTTP/1.1\r\n"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func TestLogLevelChangesWhileRunning(t *testing.T) {
	t.Parallel()
	level := new(slog.LevelVar)
	b := openMetrics(t, func(cfg *Config) { cfg.Level, cfg.LogLevel = level, "warn" })
	require.Equal(t, slog.LevelWarn, level.Level())
	require.NoError(t, b.updateConfig([]byte("logLevel=debug")))
	require.Equal(t, slog.LevelDebug, level.Level())
	require.Error(t, b.updateConfig([]byte("logLevel=loud")))
	require.Equal(t, slog.LevelDebug, level.Level())
}
