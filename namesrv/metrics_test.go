package namesrv

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

func TestMetricsShowWhatIsThere(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	cl := remoting.NewClient(remoting.DefaultClientOptions())
	defer cl.Close()
	_, err := cl.Call(context.Background(), s.Addr().String(), &codec.Command{Code: codec.GetBrokerClusterInfo})
	require.NoError(t, err)

	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(s.Collector()))
	got, err := registry.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, f := range got {
		for _, m := range f.GetMetric() {
			if g := m.GetGauge(); g != nil {
				values[f.GetName()] = g.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				values[f.GetName()] = float64(h.GetSampleCount())
			}
		}
	}
	require.Equal(t, 1.0, values["apogee_namesrv_connections"])
	require.Equal(t, 1.0, values["apogee_namesrv_rpc_latency_milliseconds"])
	require.Contains(t, values, "apogee_namesrv_topics")
	require.Contains(t, values, "apogee_namesrv_brokers")
}

func TestHealthOverHTTP(t *testing.T) {
	t.Parallel()
	clock := newClock()
	opts := options(t)
	opts.Now, opts.HTTP.Exporter, opts.HTTP.Host, opts.HTTP.Port, opts.NeedWaitForService = clock.now, exporterProm, "127.0.0.1", 0, true
	s := open(t, opts)
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + s.HTTPAddr().String() + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	code, _ := get("/healthz")
	require.Equal(t, http.StatusOK, code)
	code, why := get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, why, "needWaitForService")
	clock.advance(time.Minute)
	code, _ = get("/readyz")
	require.Equal(t, http.StatusOK, code)
	_, text := get("/metrics")
	require.Contains(t, text, "apogee_namesrv_topics 0")
}
