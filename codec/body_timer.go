package codec

// TimerMetrics is config/timermetrics and the answer of GET_TIMER_METRICS: how many messages of each topic wait for their
// time. Apache: TimerMetrics.TimerMetricsSerializeWrapper.
type TimerMetrics struct {
	DataVersion DataVersion           `json:"dataVersion"`
	TimingCount map[string]TopicCount `json:"timingCount"`

	Unknown UnknownFields `json:"-"`
}

// TransactionMetrics is config/transactionMetrics: how many transactions of each topic are open. Apache:
// TransactionMetrics.TransactionMetricsSerializeWrapper.
type TransactionMetrics struct {
	DataVersion      DataVersion           `json:"dataVersion"`
	TransactionCount map[string]TopicCount `json:"transactionCount"`

	Unknown UnknownFields `json:"-"`
}

// TopicCount is a number of one topic's messages, and when it last changed. Apache: TimerMetrics.Metric, TransactionMetrics.Metric.
type TopicCount struct {
	Count       int64 `json:"count"`
	TimestampMs int64 `json:"timeStamp"`
}
