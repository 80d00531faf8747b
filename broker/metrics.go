package broker

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/processor"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// maxQueueSeries bounds the series of single queues in one scrape; beyond it only groups are shown.
const maxQueueSeries = 20_000

// metrics turns what the rooms count into Prometheus's series, when it is asked for them. Names beginning with rocketmq_ are
// Java's, with Java's labels and meaning; the others are ours. Apache: BrokerMetricsManager, DefaultStoreMetricsManager.
type metrics struct {
	b        *Broker
	families map[string]*prometheus.Desc
}

func newMetrics(b *Broker, cfg Config) *metrics {
	m := &metrics{b: b, families: make(map[string]*prometheus.Desc)}
	always := cfg.HTTP.labels(cfg.ClusterName, cfg.Name, b.log)
	for _, f := range families {
		m.families[f.name] = prometheus.NewDesc(f.name, f.help, strings.Fields(f.labels), always)
	}
	return m
}

// Describe describes nothing: which series there are is known when they are collected.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := series{m.families, ch}
	m.broker(s)
	m.store(s)
	m.timer(s)
	m.pop(s)
	m.traffic(s)
	m.clients(s)
	m.lag(s)
	m.liteLag(s)
	m.creates(s)
	m.remoting(s)
	m.b.guard.Denied(func(cause string, n int64) { s.counter("apogee_auth_denied_total", n, cause) })
}

// series takes the values of families.
type series struct {
	families map[string]*prometheus.Desc
	ch       chan<- prometheus.Metric
}

func (s series) gauge(name string, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.families[name], prometheus.GaugeValue, value, labels...)
}

func (s series) counter(name string, value int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.families[name], prometheus.CounterValue, float64(value), labels...)
}

// histogram takes how many had what value: counts by ends, and one more for those above.
func (s series) histogram(name string, sum float64, ends []float64, counts []int64, labels ...string) {
	buckets, total := make(map[float64]uint64, len(ends)), uint64(0)
	for i, n := range counts {
		total += uint64(n)
		if i < len(ends) {
			buckets[ends[i]] = total
		}
	}
	s.ch <- prometheus.MustNewConstHistogram(s.families[name], total, sum, buckets, labels...)
}

func (m *metrics) broker(s series) {
	b := m.b
	live := b.processor.Settings()
	s.gauge("rocketmq_broker_permission", float64(live.Permission))
	s.gauge("rocketmq_topic_number", float64(b.topics.Len()))
	s.gauge("rocketmq_consumer_group_number", float64(b.groups.Len()))
	for _, pool := range [...]struct {
		kind       remoting.PoolKind
		processors string
	}{
		{remoting.PoolSend, "send async_put transaction"},
		{remoting.PoolPull, "pull lite_pull"},
		{remoting.PoolClient, "ack client_manager heartbeat consumer_manager"},
		{remoting.PoolAdmin, "query_message admin reply"},
	} {
		waiting, _ := b.poolLoad(pool.kind)
		for _, name := range strings.Fields(pool.processors) {
			s.gauge("rocketmq_processor_watermark", float64(waiting), name)
		}
	}
	s.gauge("apogee_parked_pulls", float64(b.processor.ParkedPulls()))
	s.gauge("apogee_open_transactions", float64(b.txn.Open()))
	for topic, count := range b.txn.OpenByTopic() {
		s.gauge("rocketmq_half_messages", float64(count.Count), topic)
	}
}

func (m *metrics) store(s series) {
	st := m.b.store
	first, written, flushed, dispatched := st.MinPhysOffset(), st.Written(), st.Flushed(), st.Dispatched()
	s.gauge("rocketmq_storage_size_bytes", float64(written-first), "local", "disk")
	s.gauge("rocketmq_storage_flush_behind_bytes", float64(max(written-flushed, 0)), "local", "disk")
	s.gauge("rocketmq_storage_dispatch_behind_bytes", float64(max(written-dispatched, 0)), "local", "disk")
	if at := m.b.processor.StoreTimeOf(first); at > 0 {
		s.gauge("rocketmq_storage_message_reserve_time_milliseconds", float64(max(time.Now().UnixMilli()-at, 0)), "local", "disk")
	}
	s.gauge("apogee_commitlog_first_offset", float64(first))
	s.gauge("apogee_commitlog_written_offset", float64(written))
	s.gauge("apogee_commitlog_flushed_offset", float64(flushed))
	s.gauge("apogee_commitlog_dispatched_offset", float64(dispatched))
	m.retention(s, st.Metrics())
	scrubbed := st.ScrubCounts()
	s.counter("apogee_scrubbed_bytes_total", scrubbed.Bytes.Load())
	s.counter("apogee_scrub_damaged_total", scrubbed.Damaged.Load())
	m.latency(s, "apogee_append_latency_seconds", m.b.processor.PutLatency())
	m.latency(s, "apogee_read_latency_seconds", m.b.processor.GetLatency())
	flushes := st.FlushTimes()
	s.histogram("apogee_flush_latency_seconds", flushes.Sum.Seconds(), seconds(flushes.Ends), flushes.Counts)
}

func (m *metrics) retention(s series, r store.Metrics) {
	s.gauge("apogee_disk_used_ratio", r.LogDiskRatio, "commitlog")
	s.gauge("apogee_disk_used_ratio", r.QueueDiskRatio, "consumequeue")
	full := 0.0
	if r.DiskFull {
		full = 1
	}
	s.gauge("apogee_disk_full", full)
	s.counter("apogee_deleted_files_total", r.DeletedLogFiles, "commitlog")
	s.counter("apogee_deleted_files_total", r.DeletedQueueFiles, "consumequeue")
	s.counter("apogee_deleted_files_total", r.DeletedIndexFiles, "index")
	s.counter("apogee_deleted_bytes_total", r.DeletedLogBytes, "commitlog")
	s.counter("apogee_deleted_bytes_total", r.DeletedQueueBytes, "consumequeue")
	s.counter("apogee_unconsumed_messages_deleted_total", r.UnreadDeleted)
	s.gauge("apogee_unconsumed_messages_at_risk", float64(r.UnreadAtRisk))
}

// latency shows a sample of calls; the sum is worked out from the ends of the steps.
func (m *metrics) latency(s series, name string, l processor.Latency) {
	sum := 0.0
	for i, end := range l.Ends {
		sum += end.Seconds() * float64(l.Count[i])
	}
	s.histogram(name, sum, seconds(l.Ends), l.Count)
}

func seconds(times []time.Duration) []float64 {
	all := make([]float64, len(times))
	for i, t := range times {
		all[i] = t.Seconds()
	}
	return all
}

func (m *metrics) traffic(s series) {
	p := m.b.processor
	sizes := make([]float64, len(processor.MessageSizes))
	for i, end := range processor.MessageSizes {
		sizes[i] = float64(end)
	}
	p.EachFlow(func(f processor.TopicFlow) {
		system := strconv.FormatBool(p.IsSystem(f.Topic, ""))
		for i := range f.In {
			in := &f.In[i]
			kind := in.Kind.String()
			s.counter("rocketmq_messages_in_total", in.Messages, f.Topic, kind, system)
			s.counter("rocketmq_throughput_in_total", in.Bytes, f.Topic, kind, system)
			s.histogram("rocketmq_message_size", float64(in.Bytes), sizes, in.Sizes[:], f.Topic, kind, system)
		}
		m.transactions(s, &f)
		for _, g := range f.Groups {
			system := strconv.FormatBool(p.IsSystem(f.Topic, g.Group))
			s.counter("rocketmq_messages_out_total", g.Out.Messages, f.Topic, g.Group, system)
			s.counter("rocketmq_throughput_out_total", g.Out.Bytes, f.Topic, g.Group, system)
			if g.Dead > 0 {
				s.counter("rocketmq_send_to_dlq_messages_total", g.Dead, f.Topic, g.Group, system)
			}
		}
	})
}

// transactions shows the transactions of a topic that had some. The latency is in seconds, whatever Java's name for it says.
func (m *metrics) transactions(s series, f *processor.TopicFlow) {
	if f.RolledBack > 0 {
		s.counter("rocketmq_rollback_messages_total", f.RolledBack, f.Topic)
	}
	committed := int64(0)
	for _, n := range f.Finished.Count {
		committed += n
	}
	if committed > 0 {
		s.counter("rocketmq_commit_messages_total", committed, f.Topic)
		s.histogram("rocketmq_finish_message_latency_milliseconds", f.FinishSum.Seconds(), seconds(f.Finished.Ends), f.Finished.Count, f.Topic)
	}
}

func (m *metrics) clients(s series) {
	p := m.b.processor
	p.Clients().EachClientCount(func(c processor.ClientCount) {
		language, version := strings.ToLower(c.Language.String()), strings.ToLower(codec.VersionName(c.Version))
		if c.Group == "" {
			s.gauge("rocketmq_producer_connections", float64(c.Count), language, version, "remoting")
			return
		}
		system := strconv.FormatBool(p.IsSystem("", c.Group))
		s.gauge("rocketmq_consumer_connections", float64(c.Count), c.Group, language, version, consumeMode(c.Mode), "remoting", system)
	})
	for _, group := range p.Clients().MismatchedGroups() {
		s.gauge("apogee_subscription_mismatch", 1, group)
	}
}

// consumeMode is Java's short name of a consume type. Apache: ConsumeType.
func consumeMode(t string) string {
	switch t {
	case codec.ConsumeActively:
		return "pull"
	case codec.ConsumePop:
		return "pop"
	}
	return "push"
}

func (m *metrics) lag(s series) {
	queues := 0
	m.b.processor.EachLag(func(l processor.GroupLag) {
		labels := []string{l.Group, l.Topic, strconv.FormatBool(l.Retry), strconv.FormatBool(m.b.processor.IsSystem(l.Topic, l.Group))}
		s.gauge("rocketmq_consumer_lag_messages", float64(l.Lag), labels...)
		s.gauge("rocketmq_consumer_lag_latency_milliseconds", float64(l.Latency.Milliseconds()), labels...)
		s.gauge("rocketmq_consumer_inflight_messages", float64(l.InFlight), labels...)
		s.gauge("rocketmq_consumer_queueing_latency_milliseconds", float64(l.Queueing.Milliseconds()), labels...)
		s.gauge("rocketmq_consumer_ready_messages", float64(l.Ready), labels...)
		if queues += len(l.Queues); queues > maxQueueSeries || l.Retry {
			return
		}
		for queueID, lag := range l.Queues {
			s.gauge("apogee_consumer_queue_lag_messages", float64(lag), l.Group, l.Topic, strconv.Itoa(queueID))
		}
	})
}

// liteLag adds the groups of lite topics, whose messages are ready as long as they are not consumed.
func (m *metrics) liteLag(s series) {
	live := m.b.processor.Settings()
	if !live.LiteLagCountMetrics && !live.LiteLagLatencyMetrics {
		return
	}
	m.b.processor.EachLiteLag(live.LiteLagLatencyMetrics, func(l processor.LiteLag) {
		labels := []string{l.Group, l.Parent, "false", strconv.FormatBool(m.b.processor.IsSystem(l.Parent, l.Group))}
		if live.LiteLagCountMetrics {
			s.gauge("rocketmq_consumer_lag_messages", float64(l.Lag), labels...)
			s.gauge("rocketmq_consumer_ready_messages", float64(l.Lag), labels...)
		}
		if live.LiteLagLatencyMetrics {
			s.gauge("rocketmq_consumer_lag_latency_milliseconds", float64(l.Latency.Milliseconds()), labels...)
		}
	})
}

// creates shows how long it took to create topics and groups. Apache: AdminBrokerProcessor.
func (m *metrics) creates(s series) {
	ends := make([]float64, len(processor.CreateSteps))
	for i, end := range processor.CreateSteps {
		ends[i] = float64(end.Milliseconds())
	}
	status := map[bool]string{false: "success", true: "failure"}
	for _, c := range m.b.processor.TopicCreateTimes() {
		s.histogram("rocketmq_topic_create_execution_time_milliseconds", float64(c.Sum)/float64(time.Millisecond), ends, c.Steps[:],
			status[c.Failed], strconv.FormatBool(c.System))
	}
	for _, c := range m.b.processor.GroupCreateTimes() {
		s.histogram("rocketmq_consumer_group_create_execution_time_milliseconds", float64(c.Sum)/float64(time.Millisecond), ends, c.Steps[:],
			status[c.Failed])
	}
}

func (m *metrics) remoting(s series) {
	steps := make([]float64, len(remoting.LatencySteps))
	for i, end := range remoting.LatencySteps {
		steps[i] = float64(end.Milliseconds())
	}
	for _, c := range m.b.server.Calls() {
		answer, result := codec.ResponseName(c.ResponseCode), "success"
		if c.ResponseCode < 0 {
			answer, result = "success", "oneway"
		}
		s.histogram("rocketmq_rpc_latency_milliseconds", float64(c.Sum)/float64(time.Millisecond), steps, c.Steps[:],
			codec.RequestName(c.Code), answer, strconv.FormatBool(c.Parked), "remoting", result)
	}
	r := m.b.server.Metrics()
	s.gauge("apogee_connections", float64(r.Conns))
	s.gauge("apogee_inflight_bytes", float64(r.InflightBytes))
	s.gauge("apogee_unsent_bytes", float64(r.UnsentBytes))
	s.counter("apogee_received_bytes_total", r.BytesIn)
	s.counter("apogee_sent_bytes_total", r.BytesOut)
	for _, n := range [...]struct {
		cause string
		count int64
	}{{"busy", r.Busy}, {"too_old", r.TooOld}, {"unknown_code", r.Unknown}, {"panic", r.Panics}} {
		s.counter("apogee_rejected_requests_total", n.count, n.cause)
	}
	for _, n := range [...]struct {
		cause string
		count int64
	}{{"idle", r.ClosedIdle}, {"slow_reader", r.ClosedSlow}, {"bad_frame", r.ClosedBadFrame}, {"refused", r.ConnsRefused}, {"plain", r.PlainRefused}} {
		s.counter("apogee_closed_connections_total", n.count, n.cause)
	}
	s.counter("apogee_tls_handshakes_total", r.TLSConns, "done")
	s.counter("apogee_tls_handshakes_total", r.TLSFailed, "failed")
}
