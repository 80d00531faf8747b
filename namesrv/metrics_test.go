package namesrv

import (
	"context"
	"testing"

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
