package codec

// UnregisterClientHeader is the custom header of UNREGISTER_CLIENT. Apache: UnregisterClientRequestHeader.
type UnregisterClientHeader struct {
	ClientID      string `field:"clientID"`
	ProducerGroup string `field:"producerGroup"`
	ConsumerGroup string `field:"consumerGroup"`
}

// GetConsumerListByGroupHeader is the custom header of GET_CONSUMER_LIST_BY_GROUP. Apache: GetConsumerListByGroupRequestHeader.
type GetConsumerListByGroupHeader struct {
	ConsumerGroup string `field:"consumerGroup"`
}

// NotifyConsumerIDsChangedHeader is the custom header of NOTIFY_CONSUMER_IDS_CHANGED. Apache: NotifyConsumerIdsChangedRequestHeader.
type NotifyConsumerIDsChangedHeader struct {
	ConsumerGroup string `field:"consumerGroup"`
}

// GetConsumerRunningInfoHeader is the custom header of GET_CONSUMER_RUNNING_INFO. Apache: GetConsumerRunningInfoRequestHeader.
type GetConsumerRunningInfoHeader struct {
	ConsumerGroup string `field:"consumerGroup"`
	ClientID      string `field:"clientId"`
	JStackEnable  bool   `field:"jstackEnable"`
}

// ConsumeMessageDirectlyHeader is the custom header of CONSUME_MESSAGE_DIRECTLY. Apache: ConsumeMessageDirectlyResultRequestHeader.
type ConsumeMessageDirectlyHeader struct {
	ConsumerGroup string `field:"consumerGroup"`
	ClientID      string `field:"clientId"`
	MsgID         string `field:"msgId"`      // offset message id
	BrokerName    string `field:"brokerName"` // filled by broker before forwarding
	Topic         string `field:"topic"`
	TopicSysFlag  *int32 `field:"topicSysFlag"` // filled by broker before forwarding
	GroupSysFlag  *int32 `field:"groupSysFlag"` // filled by broker before forwarding
}

// GetConsumerStatusHeader is the custom header of INVOKE_BROKER_TO_GET_CONSUMER_STATUS. Apache: GetConsumerStatusRequestHeader.
type GetConsumerStatusHeader struct {
	Topic      string `field:"topic"`
	Group      string `field:"group"`
	ClientAddr string `field:"clientAddr"`
}
