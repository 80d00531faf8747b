package compat

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// metricSample is a line of a scrape.
type metricSample struct {
	name   string
	labels map[string]string
	value  float64
}

// scrape reads /metrics.
func scrape(port int) (all []metricSample, err error) {
	client := http.Client{Timeout: callTimeout}
	resp, err := client.Get("http://" + loopback(port) + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseSample(lines.Text()); ok {
			all = append(all, m)
		}
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return all, lines.Err()
}

// parseSample reads a line; names of topics and groups hold neither commas nor quotes.
func parseSample(line string) (m metricSample, ok bool) {
	head, rest, ok := strings.Cut(line, "} ")
	if !ok || line[0] == '#' {
		return m, false
	}
	m.name, head, _ = strings.Cut(head, "{")
	m.labels = map[string]string{}
	for part := range strings.SplitSeq(head, ",") {
		if k, v, found := strings.Cut(part, "="); found {
			m.labels[k] = strings.Trim(v, `"`)
		}
	}
	value, _, _ := strings.Cut(rest, " ")
	m.value, _ = strconv.ParseFloat(value, 64)
	return m, true
}

// labelNames are the labels of a sample but for those of the exporter's library.
func (m metricSample) labelNames() string {
	var names []string
	for k := range m.labels {
		if !strings.HasPrefix(k, "otel_") {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// popMetrics are the names and labels of Apache's broker.
var popMetrics = map[string]string{
	"rocketmq_pop_buffer_scan_time_consume_milliseconds_count": "cluster node_id node_type",
	"rocketmq_pop_offset_buffer_size":                          "cluster node_id node_type",
	"rocketmq_pop_checkpoint_buffer_size":                      "cluster node_id node_type",
	"rocketmq_pop_revive_lag_milliseconds":                     "cluster node_id node_type queue_id",
	"rocketmq_pop_revive_latency_milliseconds":                 "cluster node_id node_type queue_id",
	"rocketmq_pop_revive_in_message_total":                     "cluster consumer_group node_id node_type put_status revive_message_type topic",
	"rocketmq_pop_revive_out_message_total":                    "cluster consumer_group node_id node_type queue_id revive_message_type topic",
	"rocketmq_pop_revive_retry_messages_total":                 "cluster consumer_group node_id node_type put_status topic",
}

// TestPopMetrics lets messages be acknowledged and come again, and looks at what the broker says of it.
func TestPopMetrics(t *testing.T) {
	ports, err := pickPorts()
	require.NoError(t, err)
	port := ports.namesrv
	tg := onOwn(t, WithConf("metricsExporterType", "PROM"), WithConf("metricsPromExporterPort", strconv.Itoa(port)),
		WithConf("metricsPromExporterHost", "127.0.0.1"), WithConf("popFromRetryProbability", "0"))
	r := newPopRun(t, tg, 1)
	beat := heartbeat{clientID: unique("id"), consumerGroup: r.group, consumeType: "CONSUME_POP", subs: []subscription{subscribeAll(r.topic)}}
	member := connect(t, tg.Broker())
	member.ok(t, codeHeartbeat, nil, beat.body())
	r.put(t, 1, "a", "b", "c")
	dispatched(t, r.c, r.topic, 0, 3)
	list := r.popUntil(t, 3, 5*time.Second, popAgain)
	r.ack(t, list[0], list[1])
	require.Equal(t, list[0].part(1), list[2].part(1), "one delivery")
	value := func(all []metricSample, name string, labels map[string]string) (sum float64, n int) {
		for _, m := range all {
			same := m.name == name
			for k, v := range labels {
				same = same && m.labels[k] == v
			}
			if same {
				sum, n = sum+m.value, n+1
			}
		}
		return sum, n
	}
	of := func(pairs ...any) map[string]string {
		pairs = append(pairs, "consumer_group", r.group, "topic", r.topic)
		return ext(pairs...)
	}
	for _, want := range []struct {
		name   string
		labels map[string]string
		value  float64
	}{
		{"rocketmq_pop_revive_in_message_total", of("revive_message_type", "CK", "put_status", "PUT_OK"), 1},
		{"rocketmq_pop_revive_in_message_total", of("revive_message_type", "ACK", "put_status", "PUT_OK"), 2},
		{"rocketmq_pop_revive_retry_messages_total", of("put_status", "PUT_OK"), 1},
		{"rocketmq_pop_revive_out_message_total", of("revive_message_type", "CK"), 1},
		{"rocketmq_consumer_lag_messages", of("is_retry", "false", "is_system", "false"), 0},
		{"rocketmq_consumer_lag_messages", of("is_retry", "true", "is_system", "false"), 1},
		{"rocketmq_consumer_inflight_messages", of("is_retry", "false"), 0},
		{"rocketmq_consumer_inflight_messages", of("is_retry", "true"), 0},
		{"rocketmq_consumer_ready_messages", of("is_retry", "true"), 1},
	} {
		eventually(t, popAgain, func() error {
			member.ok(t, codeHeartbeat, nil, beat.body())
			all, err := scrape(port)
			if err != nil {
				return err
			}
			if got, n := value(all, want.name, want.labels); n == 0 || got != want.value {
				return fmt.Errorf("%s %v is %v in %d series", want.name, want.labels, got, n)
			}
			return nil
		})
	}
	all, err := scrape(port)
	require.NoError(t, err)
	seen := map[string]string{}
	for _, m := range all {
		if strings.HasPrefix(m.name, "rocketmq_pop_") && popMetrics[m.name] != "" {
			seen[m.name] = m.labelNames()
		}
	}
	require.Equal(t, popMetrics, seen)
}
