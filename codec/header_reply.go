package codec

// ReplyMessageHeader is the custom header of PUSH_REPLY_MESSAGE_TO_CLIENT. Apache: ReplyMessageRequestHeader.
type ReplyMessageHeader struct {
	ProducerGroup         string `field:"producerGroup"`
	Topic                 string `field:"topic"`
	DefaultTopic          string `field:"defaultTopic"`
	DefaultTopicQueueNums int32  `field:"defaultTopicQueueNums"`
	QueueID               int32  `field:"queueId"`
	SysFlag               int32  `field:"sysFlag"`
	BornTimestampMs       int64  `field:"bornTimestamp"`
	Flag                  int32  `field:"flag"`
	Properties            string `field:"properties"`
	ReconsumeTimes        *int32 `field:"reconsumeTimes"`
	UnitMode              bool   `field:"unitMode"`
	BornHost              string `field:"bornHost"`  // "ip:port" text
	StoreHost             string `field:"storeHost"` // "ip:port" text
	StoreTimestampMs      int64  `field:"storeTimestamp"`
}
