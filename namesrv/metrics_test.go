package namesrv

import (
	"context"
	"crypto/tls"
	"io"
	"net"
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

// A plain connection where TLS is demanded, one that only begins a handshake, and a whole one are told apart.
func TestMetricsOfTLS(t *testing.T) {
	t.Parallel()
	opts := options(t)
	require.NoError(t, opts.TLS.Set("tls.server.mode", "enforcing"))
	s := open(t, opts)
	addr := s.Addr().String()
	tc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer tc.Close()
	for _, bytes := range []string{"\x00\x00\x00\x08\x00\x00\x00\x00{}{}", "\x16\x03\x01\x00\x04\x01\x00\x00\x00"} {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte(bytes))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, c) // until the name server closes it
	}
	require.Eventually(t, func() bool {
		m := s.remoting.Metrics()
		return m.TLSConns+m.TLSFailed+m.PlainRefused == 3
	}, 10*time.Second, time.Millisecond)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(s.Collector()))
	got, err := registry.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, f := range got {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				values[f.GetName()+" "+l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	require.Equal(t, 1.0, values["apogee_namesrv_tls_handshakes_total done"])
	require.Equal(t, 1.0, values["apogee_namesrv_tls_handshakes_total failed"])
	require.Equal(t, 1.0, values["apogee_namesrv_closed_connections_total plain"])
}
