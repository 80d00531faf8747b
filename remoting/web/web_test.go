package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// slowCollector takes until free is closed.
type slowCollector struct{ entered, free chan struct{} }

func (c *slowCollector) Describe(chan<- *prometheus.Desc) {}

func (c *slowCollector) Collect(ch chan<- prometheus.Metric) {
	c.entered <- struct{}{}
	<-c.free
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("slow", "", nil, nil), prometheus.GaugeValue, 1)
}

// Scrapes that pile up because the server is overloaded are refused beyond a bound; health is answered all the same.
func TestScrapesAreBounded(t *testing.T) {
	t.Parallel()
	slow := &slowCollector{entered: make(chan struct{}, maxScrapes+1), free: make(chan struct{})}
	well := func() []string { return nil }
	s, err := Open(Config{Host: "127.0.0.1"}, Content{Collectors: []prometheus.Collector{slow}, Healthy: well, Ready: well}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	codes := make(chan int, maxScrapes)
	for range maxScrapes {
		go func() {
			code, _ := get("/metrics")
			codes <- code
		}()
	}
	for range maxScrapes {
		<-slow.entered
	}
	code, said := get("/metrics")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, said, "Limit of concurrent requests reached")
	code, _ = get("/healthz")
	require.Equal(t, http.StatusOK, code)
	close(slow.free)
	for range maxScrapes {
		require.Equal(t, http.StatusOK, <-codes)
	}
}
