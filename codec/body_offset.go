package codec

// ConsumeStats is the answer of GET_CONSUME_STATS. Apache: ConsumeStats.
type ConsumeStats struct {
	ConsumeTPS  float64                        `json:"consumeTps"`
	OffsetTable map[MessageQueue]OffsetWrapper `json:"offsetTable"`
}

// OffsetWrapper is a group's place in one queue. Apache: OffsetWrapper.
type OffsetWrapper struct {
	BrokerOffset    int64 `json:"brokerOffset"`
	ConsumerOffset  int64 `json:"consumerOffset"`
	LastTimestampMs int64 `json:"lastTimestamp"`
	PullOffset      int64 `json:"pullOffset"`
}

// ConsumeStatsList is the answer of GET_BROKER_CONSUME_STATS: one map a group, one entry a topic. Apache:
// ConsumeStatsList.
type ConsumeStatsList struct {
	BrokerAddr        string                      `json:"brokerAddr,omitempty"`
	ConsumeStatsList  []map[string][]ConsumeStats `json:"consumeStatsList"`
	TotalDiff         int64                       `json:"totalDiff"`
	TotalInflightDiff int64                       `json:"totalInflightDiff"`
}

// ConsumerOffsetTable is consumerOffset.json and the answer of GET_ALL_CONSUMER_OFFSET, "topic@group" to queue to
// offset. Apache: ConsumerOffsetSerializeWrapper.
type ConsumerOffsetTable struct {
	DataVersion DataVersion `json:"dataVersion"`
	// LMQOffsets are those of groups named like light message queues, of a broker that has these. Apache: LmqConsumerOffsetManager.
	LMQOffsets  map[string]int64           `json:"lmqOffsetTable,omitempty"`
	OffsetTable map[string]map[int32]int64 `json:"offsetTable"`

	Unknown UnknownFields `json:"-"`
}

// DelayOffsetTable is delayOffset.json and the answer of GET_ALL_DELAY_OFFSET, delay level to offset. Apache:
// DelayOffsetSerializeWrapper.
type DelayOffsetTable struct {
	DataVersion DataVersion     `json:"dataVersion"`
	OffsetTable map[int32]int64 `json:"offsetTable"`

	Unknown UnknownFields `json:"-"`
}

// ResetOffsetBody carries new offsets to a client and back to the administrator. Apache: ResetOffsetBody.
type ResetOffsetBody struct {
	OffsetTable map[MessageQueue]int64 `json:"offsetTable"`
}

// ResetOffsetBodyForC is ResetOffsetBody for clients in C++. Apache: ResetOffsetBodyForC.
type ResetOffsetBodyForC struct {
	OffsetTable []MessageQueueForC `json:"offsetTable"`
}

// MessageQueueForC is a queue and its new offset. Apache: MessageQueueForC.
type MessageQueueForC struct {
	BrokerName string `json:"brokerName,omitempty"`
	Offset     int64  `json:"offset"`
	QueueID    int32  `json:"queueId"`
	Topic      string `json:"topic,omitempty"`
}

// ConsumerStatusBody is what a client answers to GET_CONSUMER_STATUS_FROM_CLIENT (the first table) and a broker to
// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (by client). Apache: GetConsumerStatusBody.
type ConsumerStatusBody struct {
	ConsumerTable     map[string]map[MessageQueue]int64 `json:"consumerTable"`
	MessageQueueTable map[MessageQueue]int64            `json:"messageQueueTable"`
}

// QueryCorrectionOffsetBody is the answer of QUERY_CORRECTION_OFFSET, queue to offset. Apache: QueryCorrectionOffsetBody.
type QueryCorrectionOffsetBody struct {
	CorrectionOffsets map[int32]int64 `json:"correctionOffsets"`
}

// QueryConsumeTimeSpanBody is the answer of QUERY_CONSUME_TIME_SPAN. Apache: QueryConsumeTimeSpanBody.
type QueryConsumeTimeSpanBody struct {
	ConsumeTimeSpanSet []QueueTimeSpan `json:"consumeTimeSpanSet"`
}

// QueueTimeSpan is the range of times in one queue, milliseconds since 1970 and the same as text. Apache:
// QueueTimeSpan.
type QueueTimeSpan struct {
	ConsumeTimestampMs  int64        `json:"consumeTimeStamp"`
	ConsumeTimestampStr string       `json:"consumeTimeStampStr"`
	DelayTimeMs         int64        `json:"delayTime"`
	MaxTimestampMs      int64        `json:"maxTimeStamp"`
	MaxTimestampStr     string       `json:"maxTimeStampStr"`
	MessageQueue        MessageQueue `json:"messageQueue"`
	MinTimestampMs      int64        `json:"minTimeStamp"`
	MinTimestampStr     string       `json:"minTimeStampStr"`
}

// QuerySubscriptionBody is the answer of QUERY_SUBSCRIPTION_BY_CONSUMER. Apache: QuerySubscriptionResponseBody.
type QuerySubscriptionBody struct {
	Group            string            `json:"group,omitempty"`
	SubscriptionData *SubscriptionData `json:"subscriptionData,omitempty"`
	Topic            string            `json:"topic,omitempty"`
}

// QueryConsumeQueueBody is the answer of QUERY_CONSUME_QUEUE. Apache: QueryConsumeQueueResponseBody.
type QueryConsumeQueueBody struct {
	FilterData       string             `json:"filterData,omitempty"`
	MaxQueueIndex    int64              `json:"maxQueueIndex"`
	MinQueueIndex    int64              `json:"minQueueIndex"`
	QueueData        []ConsumeQueueData `json:"queueData"`
	SubscriptionData *SubscriptionData  `json:"subscriptionData,omitempty"`
}

// ConsumeQueueData is one queue entry. Apache: ConsumeQueueData.
type ConsumeQueueData struct {
	BitMap         string `json:"bitMap,omitempty"`
	Eval           bool   `json:"eval"`
	ExtendDataJSON string `json:"extendDataJson,omitempty"`
	Msg            string `json:"msg,omitempty"`
	PhysicOffset   int64  `json:"physicOffset"`
	PhysicSize     int32  `json:"physicSize"`
	TagsCode       int64  `json:"tagsCode"`
}

// BrokerStatsData is the answer of VIEW_BROKER_STATS_DATA. Apache: BrokerStatsData.
type BrokerStatsData struct {
	StatsDay    BrokerStatsItem `json:"statsDay"`
	StatsHour   BrokerStatsItem `json:"statsHour"`
	StatsMinute BrokerStatsItem `json:"statsMinute"`
}

// BrokerStatsItem is a count over one span. Apache: BrokerStatsItem.
type BrokerStatsItem struct {
	AvgPT float64 `json:"avgpt"`
	Sum   int64   `json:"sum"`
	TPS   float64 `json:"tps"`
}

// ConsumeMessageDirectlyResult is a client's answer to CONSUME_MESSAGE_DIRECTLY. Apache: ConsumeMessageDirectlyResult.
type ConsumeMessageDirectlyResult struct {
	AutoCommit    bool   `json:"autoCommit"`
	ConsumeResult string `json:"consumeResult,omitempty"`
	Order         bool   `json:"order"`
	Remark        string `json:"remark,omitempty"`
	SpentTimeMs   int64  `json:"spentTimeMills"`
}

func (r *ConsumeMessageDirectlyResult) setDefaults() { r.AutoCommit = true }
