package codec

// ConsumerSendMsgBackHeader is the custom header of CONSUMER_SEND_MSG_BACK. Apache: ConsumerSendMsgBackRequestHeader.
type ConsumerSendMsgBackHeader struct {
	PhysOffset        int64  `field:"offset"` // physical (commit log) offset of the message
	Group             string `field:"group"`
	DelayLevel        int32  `field:"delayLevel"` // <0 straight to DLQ; 0 = 3 + reconsumeTimes; else explicit level
	OriginMsgID       string `field:"originMsgId"`
	OriginTopic       string `field:"originTopic"`
	UnitMode          bool   `field:"unitMode"`
	MaxReconsumeTimes *int32 `field:"maxReconsumeTimes"`
}
