package web

import (
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
)

// meterName is Java's name of what measures. Apache: BrokerMetricsConstant.OPEN_TELEMETRY_METER_NAME.
const meterName = "broker-meter"

// otlp turns the families of a scrape into OpenTelemetry's metrics.
type otlp struct {
	// delta has counters and histograms tell what has come since the last time; before holds what they were then.
	delta  bool
	before map[string]*dto.Metric
	// start is when the counters began, last when they were asked for.
	start, last time.Time
	// batchPoints bounds the points of one message.
	batchPoints int
}

// messages turns families into messages of at most batchPoints points each. Apache: BatchSplittingMetricExporter.
func (o *otlp) messages(families []*dto.MetricFamily, now time.Time) []*metricspb.MetricsData {
	var all []*metricspb.MetricsData
	var metrics []*metricspb.Metric
	points := 0
	flush := func() {
		if points > 0 {
			all = append(all, message(metrics))
			metrics, points = nil, 0
		}
	}
	seen := make(map[string]*dto.Metric)
	for _, f := range families {
		for rest := o.changes(f, seen); len(rest) > 0; {
			n := min(len(rest), o.batchPoints-points)
			metrics, points = append(metrics, o.metric(f, rest[:n], now)), points+n
			if rest = rest[n:]; points == o.batchPoints {
				flush()
			}
		}
	}
	flush()
	if o.delta {
		o.before, o.last = seen, now
	}
	return all
}

func message(metrics []*metricspb.Metric) *metricspb.MetricsData {
	return &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{Resource: &resourcepb.Resource{},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: &commonpb.InstrumentationScope{Name: meterName}, Metrics: metrics}}}}}
}

// changes are the points of a family: as they are, or with delta what has been added to counters and histograms.
func (o *otlp) changes(f *dto.MetricFamily, seen map[string]*dto.Metric) []*dto.Metric {
	if !o.delta || f.GetType() != dto.MetricType_COUNTER && f.GetType() != dto.MetricType_HISTOGRAM {
		return f.Metric
	}
	changes := make([]*dto.Metric, len(f.Metric))
	for i, m := range f.Metric {
		key := seriesKey(f.GetName(), m)
		seen[key] = m
		changes[i] = since(m, o.before[key])
	}
	return changes
}

func seriesKey(name string, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range m.Label {
		b.WriteByte(0)
		b.WriteString(l.GetName())
		b.WriteByte(0)
		b.WriteString(l.GetValue())
	}
	return b.String()
}

// since is what was added to a counter or histogram; before is nil for one that was not there.
func since(m, before *dto.Metric) *dto.Metric {
	if before == nil {
		return m
	}
	d := &dto.Metric{Label: m.Label}
	if c := m.Counter; c != nil {
		value := c.GetValue() - before.Counter.GetValue()
		d.Counter = &dto.Counter{Value: &value}
		return d
	}
	h, old := m.Histogram, before.Histogram
	count, sum := h.GetSampleCount()-old.GetSampleCount(), h.GetSampleSum()-old.GetSampleSum()
	d.Histogram = &dto.Histogram{SampleCount: &count, SampleSum: &sum}
	for i, b := range h.Bucket {
		n := b.GetCumulativeCount()
		if i < len(old.Bucket) {
			n -= old.Bucket[i].GetCumulativeCount()
		}
		d.Histogram.Bucket = append(d.Histogram.Bucket, &dto.Bucket{CumulativeCount: &n, UpperBound: b.UpperBound})
	}
	return d
}

// metric turns points of a family into one metric under the name that Java's exporter gives it.
func (o *otlp) metric(f *dto.MetricFamily, points []*dto.Metric, now time.Time) *metricspb.Metric {
	name, unit := instrument(f.GetName())
	m := &metricspb.Metric{Name: name, Unit: unit, Description: f.GetHelp()}
	temporality, from := metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, o.start
	if o.delta {
		temporality, from = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA, o.last
	}
	began, at := uint64(from.UnixNano()), uint64(now.UnixNano())
	number := func(p *dto.Metric, began uint64, value float64) *metricspb.NumberDataPoint {
		return &metricspb.NumberDataPoint{Attributes: attributes(p), StartTimeUnixNano: began, TimeUnixNano: at, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value}}
	}
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		sum := &metricspb.Sum{AggregationTemporality: temporality, IsMonotonic: true}
		for _, p := range points {
			sum.DataPoints = append(sum.DataPoints, number(p, began, p.Counter.GetValue()))
		}
		m.Data = &metricspb.Metric_Sum{Sum: sum}
	case dto.MetricType_HISTOGRAM:
		h := &metricspb.Histogram{AggregationTemporality: temporality}
		for _, p := range points {
			h.DataPoints = append(h.DataPoints, histogramPoint(p, began, at))
		}
		m.Data = &metricspb.Metric_Histogram{Histogram: h}
	case dto.MetricType_SUMMARY:
		s := &metricspb.Summary{}
		for _, p := range points {
			s.DataPoints = append(s.DataPoints, summaryPoint(p, uint64(o.start.UnixNano()), at))
		}
		m.Data = &metricspb.Metric_Summary{Summary: s}
	default:
		g := &metricspb.Gauge{}
		for _, p := range points {
			value := p.Untyped.GetValue()
			if p.Gauge != nil {
				value = p.Gauge.GetValue()
			}
			g.DataPoints = append(g.DataPoints, number(p, 0, value))
		}
		m.Data = &metricspb.Metric_Gauge{Gauge: g}
	}
	return m
}

func histogramPoint(p *dto.Metric, began, at uint64) *metricspb.HistogramDataPoint {
	h := p.Histogram
	sum, below := h.GetSampleSum(), uint64(0)
	d := &metricspb.HistogramDataPoint{Attributes: attributes(p), StartTimeUnixNano: began, TimeUnixNano: at, Count: h.GetSampleCount(), Sum: &sum}
	for _, b := range h.Bucket {
		d.ExplicitBounds = append(d.ExplicitBounds, b.GetUpperBound())
		d.BucketCounts = append(d.BucketCounts, b.GetCumulativeCount()-below)
		below = b.GetCumulativeCount()
	}
	d.BucketCounts = append(d.BucketCounts, h.GetSampleCount()-below)
	return d
}

func summaryPoint(p *dto.Metric, began, at uint64) *metricspb.SummaryDataPoint {
	s := p.Summary
	d := &metricspb.SummaryDataPoint{Attributes: attributes(p), StartTimeUnixNano: began, TimeUnixNano: at, Count: s.GetSampleCount(), Sum: s.GetSampleSum()}
	for _, q := range s.Quantile {
		d.QuantileValues = append(d.QuantileValues, &metricspb.SummaryDataPoint_ValueAtQuantile{Quantile: q.GetQuantile(), Value: q.GetValue()})
	}
	return d
}

func attributes(p *dto.Metric) []*commonpb.KeyValue {
	list := make([]*commonpb.KeyValue, len(p.Label))
	for i, l := range p.Label {
		list[i] = &commonpb.KeyValue{Key: l.GetName(), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: l.GetValue()}}}
	}
	return list
}

// instrument gives Java's name and unit of a series: its exporter for Prometheus puts the unit behind the name, unless the name ends with
// it already.
func instrument(series string) (name, unit string) {
	if !strings.HasPrefix(series, "rocketmq_") {
		return series, ""
	}
	switch series {
	case "rocketmq_storage_flush_behind_bytes", "rocketmq_storage_dispatch_behind_bytes":
		return series, "bytes"
	case "rocketmq_message_size":
		return series, "bytes"
	}
	for _, unit := range [...]string{"milliseconds", "seconds", "bytes"} {
		if name, ok := strings.CutSuffix(series, "_"+unit); ok {
			return name, unit
		}
	}
	return series, ""
}
