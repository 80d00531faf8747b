package codec

// How a group consumes. Apache: ConsumeType.
const (
	ConsumeActively  = "CONSUME_ACTIVELY"
	ConsumePassively = "CONSUME_PASSIVELY"
	ConsumePop       = "CONSUME_POP"
)

// Who gets a message. Apache: MessageModel.
const (
	Broadcasting = "BROADCASTING"
	Clustering   = "CLUSTERING"
)

// Where a new group starts. Apache: ConsumeFromWhere.
const (
	ConsumeFromLastOffset  = "CONSUME_FROM_LAST_OFFSET"
	ConsumeFromFirstOffset = "CONSUME_FROM_FIRST_OFFSET"
	ConsumeFromTimestamp   = "CONSUME_FROM_TIMESTAMP"
)

// HeartbeatData is what a client tells each broker every 30 s. Apache: HeartbeatData.
type HeartbeatData struct {
	ClientID             string         `json:"clientID,omitempty"`
	ConsumerDataSet      []ConsumerData `json:"consumerDataSet"`
	HeartbeatFingerprint int32          `json:"heartbeatFingerprint"`
	ProducerDataSet      []ProducerData `json:"producerDataSet"`
	WithoutSub           bool           `json:"withoutSub"`
}

// ConsumerData is one consumer group in a heartbeat. Apache: ConsumerData.
type ConsumerData struct {
	ConsumeFromWhere    string             `json:"consumeFromWhere,omitempty"`
	ConsumeType         string             `json:"consumeType,omitempty"`
	GroupName           string             `json:"groupName,omitempty"`
	MessageModel        string             `json:"messageModel,omitempty"`
	SubscriptionDataSet []SubscriptionData `json:"subscriptionDataSet"`
	UnitMode            bool               `json:"unitMode"`
}

// ProducerData is one producer group in a heartbeat. Apache: ProducerData.
type ProducerData struct {
	GroupName string `json:"groupName,omitempty"`
}

// Connection is one client as administration sees it. Apache: Connection.
type Connection struct {
	ClientAddr string `json:"clientAddr,omitempty"`
	ClientID   string `json:"clientId,omitempty"`
	Language   string `json:"language,omitempty"`
	Version    int32  `json:"version"`
}

// ConsumerConnection is the answer of GET_CONSUMER_CONNECTION_LIST. Apache: ConsumerConnection.
type ConsumerConnection struct {
	ConnectionSet     []Connection                `json:"connectionSet"`
	ConsumeFromWhere  string                      `json:"consumeFromWhere,omitempty"`
	ConsumeType       string                      `json:"consumeType,omitempty"`
	MessageModel      string                      `json:"messageModel,omitempty"`
	SubscriptionTable map[string]SubscriptionData `json:"subscriptionTable"`
}

// ProducerConnection is the answer of GET_PRODUCER_CONNECTION_LIST. Apache: ProducerConnection.
type ProducerConnection struct {
	ConnectionSet []Connection `json:"connectionSet"`
}

// ProducerInfo is one producer as GET_ALL_PRODUCER_INFO lists it. Apache: ProducerInfo.
type ProducerInfo struct {
	ClientID              string `json:"clientId,omitempty"`
	Language              string `json:"language,omitempty"`
	LastUpdateTimestampMs int64  `json:"lastUpdateTimestamp"`
	RemoteIP              string `json:"remoteIP,omitempty"`
	Version               int32  `json:"version"`
}

// ProducerTable is the answer of GET_ALL_PRODUCER_INFO, producer group to clients. Apache: ProducerTableInfo.
type ProducerTable struct {
	Data map[string][]ProducerInfo `json:"data"`
}

// ConsumerIDList is the answer of GET_CONSUMER_LIST_BY_GROUP. Apache: GetConsumerListByGroupResponseBody.
type ConsumerIDList struct {
	ConsumerIDList []string `json:"consumerIdList"`
}

// CheckClientRequest is the body of CHECK_CLIENT_CONFIG. Apache: CheckClientRequestBody.
type CheckClientRequest struct {
	ClientID         string            `json:"clientId,omitempty"`
	Group            string            `json:"group,omitempty"`
	Namespace        string            `json:"namespace,omitempty"`
	SubscriptionData *SubscriptionData `json:"subscriptionData,omitempty"`
}

// LockBatchRequest is the body of LOCK_BATCH_MQ and UNLOCK_BATCH_MQ. Apache: LockBatchRequestBody,
// UnlockBatchRequestBody.
type LockBatchRequest struct {
	ClientID       string         `json:"clientId,omitempty"`
	ConsumerGroup  string         `json:"consumerGroup,omitempty"`
	MQSet          []MessageQueue `json:"mqSet"`
	OnlyThisBroker bool           `json:"onlyThisBroker"`
}

// LockBatchResponse lists the queues that the client holds now. Apache: LockBatchResponseBody.
type LockBatchResponse struct {
	LockOKMQSet []MessageQueue `json:"lockOKMQSet"`
}

// QueryAssignmentRequest asks which queues a client shall read. Apache: QueryAssignmentRequestBody.
type QueryAssignmentRequest struct {
	ClientID      string `json:"clientId,omitempty"`
	ConsumerGroup string `json:"consumerGroup,omitempty"`
	MessageModel  string `json:"messageModel,omitempty"`
	StrategyName  string `json:"strategyName,omitempty"`
	Topic         string `json:"topic,omitempty"`
}

// QueryAssignmentResponse lists queues; nil means no change, an empty list means none. Apache:
// QueryAssignmentResponseBody.
type QueryAssignmentResponse struct {
	MessageQueueAssignments *[]MessageQueueAssignment `json:"messageQueueAssignments,omitempty"`
}

// MessageQueueAssignment is one queue and how to read it. Apache: MessageQueueAssignment.
type MessageQueueAssignment struct {
	Attachments  map[string]string `json:"attachments,omitempty"`
	MessageQueue MessageQueue      `json:"messageQueue"`
	Mode         string            `json:"mode"`
}
