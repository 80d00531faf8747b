package codec

// CreateTopicHeader is the custom header of UPDATE_AND_CREATE_TOPIC. Apache: CreateTopicRequestHeader.
type CreateTopicHeader struct {
	Topic           string `field:"topic"`
	DefaultTopic    string `field:"defaultTopic"`
	ReadQueueNums   int32  `field:"readQueueNums"`
	WriteQueueNums  int32  `field:"writeQueueNums"`
	Perm            int32  `field:"perm"`            // bits 4 read, 2 write, 1 inherit
	TopicFilterType string `field:"topicFilterType"` // SINGLE_TAG | MULTI_TAG
	TopicSysFlag    *int32 `field:"topicSysFlag"`
	Order           bool   `field:"order"`
	Attributes      string `field:"attributes"` // comma list of "+key=value" / "-key"
	Force           bool   `field:"force"`
}

// DeleteTopicHeader is the custom header of DELETE_TOPIC_IN_BROKER. Apache: DeleteTopicRequestHeader.
type DeleteTopicHeader struct {
	Topic string `field:"topic"`
}

// GetTopicConfigHeader is the custom header of GET_TOPIC_CONFIG. Apache: GetTopicConfigRequestHeader.
type GetTopicConfigHeader struct {
	Topic string `field:"topic"`
}

// GetAllTopicConfigHeader is the custom header of GET_ALL_TOPIC_CONFIG. Apache: GetAllTopicConfigRequestHeader.
type GetAllTopicConfigHeader struct {
	TopicSeq    int32  `field:"topicSeq,lenient"`
	DataVersion string `field:"dataVersion"` // DataVersion JSON text; paging restarts at 0 when it differs
	MaxTopicNum *int32 `field:"maxTopicNum"`
}

// GetAllTopicConfigResponse is the custom header of the answer to GET_ALL_TOPIC_CONFIG. Apache: GetAllTopicConfigResponseHeader.
type GetAllTopicConfigResponse struct {
	TotalTopicNum int32 `field:"totalTopicNum"`
}

// GetTopicStatsInfoHeader is the custom header of GET_TOPIC_STATS_INFO. Apache: GetTopicStatsInfoRequestHeader.
type GetTopicStatsInfoHeader struct {
	Topic string `field:"topic"`
}

// DeleteSubscriptionGroupHeader is the custom header of DELETE_SUBSCRIPTIONGROUP. Apache: DeleteSubscriptionGroupRequestHeader.
type DeleteSubscriptionGroupHeader struct {
	GroupName   string `field:"groupName"`
	CleanOffset bool   `field:"cleanOffset"`
}

// GetSubscriptionGroupConfigHeader is the custom header of GET_SUBSCRIPTIONGROUP_CONFIG. Apache: GetSubscriptionGroupConfigRequestHeader.
type GetSubscriptionGroupConfigHeader struct {
	Group string `field:"group"`
}

// GetAllSubscriptionGroupHeader is the custom header of GET_ALL_SUBSCRIPTIONGROUP_CONFIG. Apache: GetAllSubscriptionGroupRequestHeader.
type GetAllSubscriptionGroupHeader struct {
	GroupSeq    int32  `field:"groupSeq,lenient"`
	DataVersion string `field:"dataVersion"` // DataVersion JSON text; paging restarts at 0 when it differs
	MaxGroupNum *int32 `field:"maxGroupNum"`
}

// GetAllSubscriptionGroupResponse is the custom header of the answer to GET_ALL_SUBSCRIPTIONGROUP_CONFIG. Apache: GetAllSubscriptionGroupResponseHeader.
type GetAllSubscriptionGroupResponse struct {
	TotalGroupNum int32 `field:"totalGroupNum"`
}

// UpdateGroupForbiddenHeader is the custom header of UPDATE_AND_GET_GROUP_FORBIDDEN. Apache: UpdateGroupForbiddenRequestHeader.
type UpdateGroupForbiddenHeader struct {
	Group    string `field:"group"`
	Topic    string `field:"topic"`
	Readable *bool  `field:"readable"` // nil means query only
}

// GetConsumerConnectionListHeader is the custom header of GET_CONSUMER_CONNECTION_LIST. Apache: GetConsumerConnectionListRequestHeader.
type GetConsumerConnectionListHeader struct {
	ConsumerGroup string `field:"consumerGroup"`
}

// GetProducerConnectionListHeader is the custom header of GET_PRODUCER_CONNECTION_LIST. Apache: GetProducerConnectionListRequestHeader.
type GetProducerConnectionListHeader struct {
	ProducerGroup string `field:"producerGroup"`
}

// GetConsumeStatsHeader is the custom header of GET_CONSUME_STATS. Apache: GetConsumeStatsRequestHeader.
type GetConsumeStatsHeader struct {
	ConsumerGroup string `field:"consumerGroup"`
	Topic         string `field:"topic"`
	TopicList     string `field:"topicList"` // topics joined with ";" (trailing ";" present); overrides topic
}

// GetConsumeStatsInBrokerHeader is the custom header of GET_BROKER_CONSUME_STATS. Apache: GetConsumeStatsInBrokerHeader.
type GetConsumeStatsInBrokerHeader struct {
	Order bool `field:"isOrder"`
}

// QueryTopicConsumeByWhoHeader is the custom header of QUERY_TOPIC_CONSUME_BY_WHO. Apache: QueryTopicConsumeByWhoRequestHeader.
type QueryTopicConsumeByWhoHeader struct {
	Topic string `field:"topic"`
}

// QueryTopicsByConsumerHeader is the custom header of QUERY_TOPICS_BY_CONSUMER. Apache: QueryTopicsByConsumerRequestHeader.
type QueryTopicsByConsumerHeader struct {
	Group string `field:"group"`
}

// QuerySubscriptionByConsumerHeader is the custom header of QUERY_SUBSCRIPTION_BY_CONSUMER. Apache: QuerySubscriptionByConsumerRequestHeader.
type QuerySubscriptionByConsumerHeader struct {
	Group string `field:"group"`
	Topic string `field:"topic"`
}

// QueryConsumeTimeSpanHeader is the custom header of QUERY_CONSUME_TIME_SPAN. Apache: QueryConsumeTimeSpanRequestHeader.
type QueryConsumeTimeSpanHeader struct {
	Topic string `field:"topic"`
	Group string `field:"group"`
}

// QueryConsumeQueueHeader is the custom header of QUERY_CONSUME_QUEUE. Apache: QueryConsumeQueueRequestHeader.
type QueryConsumeQueueHeader struct {
	Topic         string `field:"topic"`
	QueueID       int32  `field:"queueId,lenient"`
	Index         int64  `field:"index,lenient"`
	Count         int32  `field:"count,lenient"`
	ConsumerGroup string `field:"consumerGroup"`
}

// ViewBrokerStatsDataHeader is the custom header of VIEW_BROKER_STATS_DATA. Apache: ViewBrokerStatsDataRequestHeader.
type ViewBrokerStatsDataHeader struct {
	StatsName string `field:"statsName"`
	StatsKey  string `field:"statsKey"`
}

// GetBrokerConfigResponse is the custom header of the answer to GET_BROKER_CONFIG. Apache: GetBrokerConfigResponseHeader.
type GetBrokerConfigResponse struct {
	Version string `field:"version"` // DataVersion as JSON text
}
