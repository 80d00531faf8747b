package codec

// What a client does to its subscriptions of lite topics. Apache: LiteSubscriptionAction.
const (
	LitePartialAdd     = "PARTIAL_ADD"
	LitePartialRemove  = "PARTIAL_REMOVE"
	LiteCompleteAdd    = "COMPLETE_ADD"
	LiteCompleteRemove = "COMPLETE_REMOVE"
)

// Where a group begins in a lite topic that a client adds. Apache: OffsetOption.
const (
	LiteOffsetPolicy    = "POLICY" // LitePolicyMin, LitePolicyMax; any other value changes nothing
	LiteOffsetExact     = "OFFSET"
	LiteOffsetTail      = "TAIL_N"
	LiteOffsetTimestamp = "TIMESTAMP" // Java's broker passes it over

	LitePolicyMin int64 = 1
	LitePolicyMax int64 = 2
)

// LiteOffset is where a group begins in a lite topic. Apache: OffsetOption.
type LiteOffset struct {
	Type  string `json:"type"`
	Value int64  `json:"value"`
}

// LiteSubscription is a change of one client's subscriptions. Apache: LiteSubscriptionDTO.
type LiteSubscription struct {
	Action     string      `json:"action"`
	ClientID   string      `json:"clientId"`
	Group      string      `json:"group"`
	LiteTopics []string    `json:"liteTopicSet"`
	Offset     *LiteOffset `json:"offsetOption"`
	Topic      string      `json:"topic"` // the parent topic
	Version    int64       `json:"version"`
}

// LiteSubscriptionBody is the body of LITE_SUBSCRIPTION_CTL. Apache: LiteSubscriptionCtlRequestBody.
type LiteSubscriptionBody struct {
	Subscriptions []LiteSubscription `json:"subscriptionSet"`
}

// BrokerLiteInfo is the body of the answer to GET_BROKER_LITE_INFO. Apache: GetBrokerLiteInfoResponseBody.
type BrokerLiteInfo struct {
	CQTableSize           int32               `json:"cqTableSize"`
	CurrentLMQNum         int32               `json:"currentLmqNum"`
	EventMapSize          int32               `json:"eventMapSize"`
	GroupMeta             map[string][]string `json:"groupMeta"`
	LiteSubscriptionCount int32               `json:"liteSubscriptionCount"`
	MaxLMQNum             int32               `json:"maxLmqNum"`
	OffsetTableSize       int32               `json:"offsetTableSize"`
	OrderInfoCount        int32               `json:"orderInfoCount"`
	StoreType             string              `json:"storeType"`
	TopicMeta             map[string]int32    `json:"topicMeta"`
}

// ParentTopicInfo is the body of the answer to GET_PARENT_TOPIC_INFO. Apache: GetParentTopicInfoResponseBody.
type ParentTopicInfo struct {
	Groups         []string `json:"groups,omitempty"`
	LiteTopicCount int32    `json:"liteTopicCount"`
	LMQNum         int32    `json:"lmqNum"`
	Topic          string   `json:"topic"`
	TTL            int32    `json:"ttl"`
}

// LiteSubscriber is a client of a group; "*" stands for all clients of a group that takes every lite topic. Apache: ClientGroup.
type LiteSubscriber struct {
	ClientID string `json:"clientId"`
	Group    string `json:"group"`
}

// LiteTopicInfo is the body of the answer to GET_LITE_TOPIC_INFO. Apache: GetLiteTopicInfoResponseBody.
type LiteTopicInfo struct {
	LiteTopic        string           `json:"liteTopic"`
	ParentTopic      string           `json:"parentTopic"`
	ShardingToBroker bool             `json:"shardingToBroker"`
	Subscriber       []LiteSubscriber `json:"subscriber"`
	TopicOffset      TopicOffset      `json:"topicOffset"`
}

// LiteClientInfo is the body of the answer to GET_LITE_CLIENT_INFO. Apache: GetLiteClientInfoResponseBody.
type LiteClientInfo struct {
	ClientID          string   `json:"clientId"`
	Group             string   `json:"group"`
	LastAccessTimeMs  int64    `json:"lastAccessTime"`
	LastConsumeTimeMs int64    `json:"lastConsumeTime"`
	LiteTopicCount    int32    `json:"liteTopicCount"`
	LiteTopicSet      []string `json:"liteTopicSet,omitempty"`
	ParentTopic       string   `json:"parentTopic"`
}

// LiteLag is how far a group is behind in a lite topic. Apache: LiteLagInfo.
type LiteLag struct {
	EarliestUnconsumedMs int64  `json:"earliestUnconsumedTimestamp"`
	LagCount             int64  `json:"lagCount"`
	LiteTopic            string `json:"liteTopic"`
}

// LiteGroupInfo is the body of the answer to GET_LITE_GROUP_INFO. Apache: GetLiteGroupInfoResponseBody.
type LiteGroupInfo struct {
	EarliestUnconsumedMs int64          `json:"earliestUnconsumedTimestamp"`
	Group                string         `json:"group"`
	LagCountTopK         *[]LiteLag     `json:"lagCountTopK,omitempty"`
	LagTimestampTopK     *[]LiteLag     `json:"lagTimestampTopK,omitempty"`
	LiteTopic            string         `json:"liteTopic,omitempty"`
	Offset               *OffsetWrapper `json:"liteTopicOffsetWrapper,omitempty"`
	ParentTopic          string         `json:"parentTopic"`
	TotalLagCount        int64          `json:"totalLagCount"`
}
