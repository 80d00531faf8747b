package namesrv

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// families are all series that a name server shows; Apache's name server shows none. Their labels have no broker's names in them, so
// that a scrape stays small in a large cluster.
var families = []struct{ name, labels, help string }{
	{"apogee_namesrv_brokers", "", "Brokers registered, masters and slaves"},
	{"apogee_namesrv_stale_brokers", "", "Brokers known from before the last start that have not registered since"},
	{"apogee_namesrv_broker_names", "", "Names of brokers, each a master with its slaves"},
	{"apogee_namesrv_clusters", "", "Clusters"},
	{"apogee_namesrv_topics", "", "Topics that have a route"},
	{"apogee_namesrv_route_file_failures_total", "", "Attempts to keep the routes in their file that failed"},
	{"apogee_namesrv_connections", "", "Open connections"},
	{"apogee_namesrv_inflight_bytes", "", "Bytes of requests that are being answered"},
	{"apogee_namesrv_unsent_bytes", "", "Bytes that peers have not read"},
	{"apogee_namesrv_received_bytes_total", "", "Bytes of frames received"},
	{"apogee_namesrv_sent_bytes_total", "", "Bytes of frames sent"},
	{"apogee_namesrv_rejected_requests_total", "cause", "Requests refused at the door"},
	{"apogee_namesrv_closed_connections_total", "cause", "Connections closed by the name server, or not taken"},
	{"apogee_namesrv_tls_handshakes_total", "result", "Handshakes of TLS that were done or failed"},
	{"apogee_namesrv_auth_denied_total", "cause", "Requests refused for want of a user, a signature or a right"},
	{"apogee_namesrv_rpc_latency_milliseconds", "request_code response_code", "From the arrival of requests to their answers"},
}

// collector turns what is counted into Prometheus's series, when it is asked for them.
type collector struct {
	s        *Server
	families map[string]*prometheus.Desc
}

// Collector returns the name server's series.
func (s *Server) Collector() prometheus.Collector {
	c := &collector{s, make(map[string]*prometheus.Desc)}
	for _, f := range families {
		c.families[f.name] = prometheus.NewDesc(f.name, f.help, strings.Fields(f.labels), nil)
	}
	return c
}

// Describe describes nothing: which series there are is known when they are collected.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(name string, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.families[name], prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(name string, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.families[name], prometheus.CounterValue, float64(v), labels...)
	}
	sizes := c.s.routes.sizes()
	gauge("apogee_namesrv_brokers", int64(sizes.brokers))
	gauge("apogee_namesrv_stale_brokers", int64(sizes.stale))
	gauge("apogee_namesrv_broker_names", int64(sizes.names))
	gauge("apogee_namesrv_clusters", int64(sizes.clusters))
	gauge("apogee_namesrv_topics", int64(sizes.topics))
	counter("apogee_namesrv_route_file_failures_total", c.s.keeper.failures.Load())
	r := c.s.remoting.Metrics()
	gauge("apogee_namesrv_connections", r.Conns)
	gauge("apogee_namesrv_inflight_bytes", r.InflightBytes)
	gauge("apogee_namesrv_unsent_bytes", r.UnsentBytes)
	counter("apogee_namesrv_received_bytes_total", r.BytesIn)
	counter("apogee_namesrv_sent_bytes_total", r.BytesOut)
	for cause, n := range map[string]int64{"busy": r.Busy, "too_old": r.TooOld, "unknown_code": r.Unknown, "panic": r.Panics} {
		counter("apogee_namesrv_rejected_requests_total", n, cause)
	}
	for cause, n := range map[string]int64{"idle": r.ClosedIdle, "slow_reader": r.ClosedSlow, "bad_frame": r.ClosedBadFrame, "refused": r.ConnsRefused, "plain": r.PlainRefused} {
		counter("apogee_namesrv_closed_connections_total", n, cause)
	}
	counter("apogee_namesrv_tls_handshakes_total", r.TLSConns, "done")
	counter("apogee_namesrv_tls_handshakes_total", r.TLSFailed, "failed")
	c.s.guard.Denied(func(cause string, n int64) { counter("apogee_namesrv_auth_denied_total", n, cause) })
	c.calls(ch)
}

func (c *collector) calls(ch chan<- prometheus.Metric) {
	for _, call := range c.s.remoting.Calls() {
		buckets, total := make(map[float64]uint64, len(remoting.LatencySteps)), uint64(0)
		for i, n := range call.Steps {
			total += uint64(n)
			if i < len(remoting.LatencySteps) {
				buckets[float64(remoting.LatencySteps[i].Milliseconds())] = total
			}
		}
		answer := "oneway"
		if call.ResponseCode >= 0 {
			answer = codec.ResponseName(call.ResponseCode)
		}
		ch <- prometheus.MustNewConstHistogram(c.families["apogee_namesrv_rpc_latency_milliseconds"], total,
			float64(call.Sum)/float64(time.Millisecond), buckets, codec.RequestName(call.Code), answer)
	}
}
