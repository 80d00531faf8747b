package codec

// PullHeader is the custom header of PULL_MESSAGE and LITE_PULL_MESSAGE; the byte slices alias the frame.
// Apache: PullMessageRequestHeader.
type PullHeader struct {
	Group, Topic []byte
	// Subscription and ExpressionType count only with SysFlag's subscription bit.
	Subscription, ExpressionType []byte
	QueueID                      int32
	MaxMsgs                      int32
	SysFlag                      int32
	MaxMsgBytes                  int32
	QueueOffset                  int64
	// CommitOffset is a queue offset, stored when SysFlag's commit bit is set.
	CommitOffset     int64
	SuspendTimeoutMs int64
	SubVersion       int64
	RequestSource    int32
	// ProxyForwardClientID names the client behind a proxy, empty without one.
	ProxyForwardClientID []byte
}

// PullResponse is the custom header of the answer to a pull. Apache: PullMessageResponseHeader.
type PullResponse struct {
	SuggestWhichBrokerID int64
	// NextBeginOffset, MinOffset and MaxOffset are queue offsets.
	NextBeginOffset, MinOffset, MaxOffset int64
	// TopicSysFlag, GroupSysFlag and ForbiddenType are absent when nil.
	TopicSysFlag, GroupSysFlag, ForbiddenType *int32
}
