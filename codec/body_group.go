package codec

import jsoniter "github.com/json-iterator/go"

// SubscriptionGroupConfig is a consumer group as subscriptionGroup.json and the administration bodies hold it. Apache:
// SubscriptionGroupConfig.
type SubscriptionGroupConfig struct {
	Attributes                     map[string]string        `json:"attributes"`
	BrokerID                       int64                    `json:"brokerId"`
	ConsumeBroadcastEnable         bool                     `json:"consumeBroadcastEnable"`
	ConsumeEnable                  bool                     `json:"consumeEnable"`
	ConsumeFromMinEnable           bool                     `json:"consumeFromMinEnable"`
	ConsumeMessageOrderly          bool                     `json:"consumeMessageOrderly"`
	ConsumeTimeoutMinute           int32                    `json:"consumeTimeoutMinute"`
	GroupName                      string                   `json:"groupName,omitempty"`
	GroupRetryPolicy               GroupRetryPolicy         `json:"groupRetryPolicy"`
	GroupSysFlag                   int32                    `json:"groupSysFlag"`
	NotifyConsumerIDsChangedEnable bool                     `json:"notifyConsumerIdsChangedEnable"`
	RetryMaxTimes                  int32                    `json:"retryMaxTimes"`
	RetryQueueNums                 int32                    `json:"retryQueueNums"`
	SubscriptionDataSet            []SimpleSubscriptionData `json:"subscriptionDataSet,omitempty"`
	WhichBrokerWhenConsumeSlowly   int64                    `json:"whichBrokerWhenConsumeSlowly"`

	Unknown UnknownFields `json:"-"`
}

// NewSubscriptionGroupConfig returns a group with Java's defaults: consuming allowed, 16 retries, one retry queue.
func NewSubscriptionGroupConfig(name string) *SubscriptionGroupConfig {
	c := &SubscriptionGroupConfig{GroupName: name}
	c.setDefaults()
	return c
}

func (c *SubscriptionGroupConfig) setDefaults() {
	c.ConsumeBroadcastEnable = true
	c.ConsumeEnable = true
	c.ConsumeFromMinEnable = true
	c.ConsumeTimeoutMinute = 15
	c.GroupRetryPolicy.Type = RetryCustomized
	c.NotifyConsumerIDsChangedEnable = true
	c.RetryMaxTimes = 16
	c.RetryQueueNums = 1
	c.WhichBrokerWhenConsumeSlowly = 1
}

// Kinds of GroupRetryPolicy. Apache: GroupRetryPolicyType.
const (
	RetryCustomized  = "CUSTOMIZED"
	RetryExponential = "EXPONENTIAL"
)

// GroupRetryPolicy says how long a failed message rests. Apache: GroupRetryPolicy.
type GroupRetryPolicy struct {
	CustomizedRetryPolicy  *CustomizedRetryPolicy  `json:"customizedRetryPolicy,omitempty"`
	ExponentialRetryPolicy *ExponentialRetryPolicy `json:"exponentialRetryPolicy,omitempty"`
	Type                   string                  `json:"type"`
}

func (p *GroupRetryPolicy) setDefaults() { p.Type = RetryCustomized }

// CustomizedRetryPolicy lists the rests in milliseconds. Apache: CustomizedRetryPolicy.
type CustomizedRetryPolicy struct {
	Next []int64 `json:"next"`
}

// ExponentialRetryPolicy doubles a rest, in milliseconds. Apache: ExponentialRetryPolicy.
type ExponentialRetryPolicy struct {
	Initial    int64 `json:"initial"`
	Max        int64 `json:"max"`
	Multiplier int64 `json:"multiplier"`
}

func (p *ExponentialRetryPolicy) setDefaults() {
	*p = ExponentialRetryPolicy{Initial: 5000, Max: 7200000, Multiplier: 2}
}

// SimpleSubscriptionData is a subscription kept with its group. Apache: SimpleSubscriptionData.
type SimpleSubscriptionData struct {
	Expression     string `json:"expression,omitempty"`
	ExpressionType string `json:"expressionType,omitempty"`
	Topic          string `json:"topic,omitempty"`
	Version        int64  `json:"version"`
}

// SubscriptionGroupTable is subscriptionGroup.json and the answer of GET_ALL_SUBSCRIPTIONGROUP_CONFIG. Apache:
// SubscriptionGroupWrapper.
type SubscriptionGroupTable struct {
	DataVersion            DataVersion                         `json:"dataVersion"`
	ForbiddenTable         map[string]map[string]int32         `json:"forbiddenTable"`
	SubscriptionGroupTable map[string]*SubscriptionGroupConfig `json:"subscriptionGroupTable"`

	Unknown UnknownFields `json:"-"`
}

// SubscriptionGroupList creates several groups in one request. Apache: SubscriptionGroupList.
type SubscriptionGroupList struct {
	GroupConfigList []*SubscriptionGroupConfig `json:"groupConfigList"`
}

// GroupForbidden says whether a group may read a topic; nil means leave as is. Apache: GroupForbidden.
type GroupForbidden struct {
	Group    string `json:"group,omitempty"`
	Readable *bool  `json:"readable,omitempty"`
	Topic    string `json:"topic,omitempty"`
}

// GroupList answers QUERY_TOPIC_CONSUME_BY_WHO. Apache: GroupList.
type GroupList struct {
	GroupList []string `json:"groupList"`
}

// MessageRequestMode is how a group gets a topic's messages, PULL or POP. Apache: SetMessageRequestModeRequestBody.
type MessageRequestMode struct {
	ConsumerGroup    string `json:"consumerGroup,omitempty"`
	Mode             string `json:"mode"`
	PopShareQueueNum int32  `json:"popShareQueueNum"`
	Topic            string `json:"topic,omitempty"`
}

func (m *MessageRequestMode) setDefaults() { m.Mode = "PULL" }

// MessageRequestModeTable is messageRequestMode.json, topic to group to mode. Apache:
// MessageRequestModeSerializeWrapper.
type MessageRequestModeTable struct {
	MessageRequestModeMap map[string]map[string]MessageRequestMode `json:"messageRequestModeMap"`
}

// RawJSON is a piece of JSON that is passed on as it is.
type RawJSON = jsoniter.RawMessage
