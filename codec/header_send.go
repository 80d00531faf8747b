package codec

// SendHeader is the custom header of the send requests; the byte slices alias the frame.
// Apache: SendMessageRequestHeader, SendMessageRequestHeaderV2.
type SendHeader struct {
	Group, Topic, DefaultTopic []byte
	// Properties is the property string, nil when absent.
	Properties            []byte
	DefaultTopicQueueNums int32
	// QueueID is negative when the broker may choose.
	QueueID           int32
	SysFlag           int32
	Flag              int32
	ReconsumeTimes    int32
	MaxReconsumeTimes int32
	BornTimestampMs   int64
	UnitMode          bool
	Batch             bool
	// HasMaxReconsumeTimes reports whether the sender gave MaxReconsumeTimes.
	HasMaxReconsumeTimes bool
	BrokerName           []byte
}

// SendResponse is the custom header of the answer to a send. Apache: SendMessageResponseHeader.
type SendResponse struct {
	// MsgID is the offset message id, or several joined by commas for a batch. Empty in a refusal: then only RegionID
	// and TraceOn are written.
	MsgID       []byte
	QueueID     int32
	QueueOffset int64
	// TransactionID is the unique key of the message, empty for none.
	TransactionID []byte
	// RegionID and TraceOn are written as MSG_REGION and TRACE_ON; empty means absent.
	RegionID, TraceOn string
}
