package codec

// TimerMetrics is config/timermetrics and the answer of GET_TIMER_METRICS: how many messages of each topic wait for their
// time. Apache: TimerMetrics.TimerMetricsSerializeWrapper.
type TimerMetrics struct {
	DataVersion DataVersion            `json:"dataVersion"`
	TimingCount map[string]TimerMetric `json:"timingCount"`

	Unknown UnknownFields `json:"-"`
}

// TimerMetric is the number of one topic's messages that wait, and when it last changed. Apache: TimerMetrics.Metric.
type TimerMetric struct {
	Count       int64 `json:"count"`
	TimestampMs int64 `json:"timeStamp"`
}
