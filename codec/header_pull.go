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
	// LiteTopic is set for a pull of a lite topic of Topic.
	LiteTopic []byte
}

// PullResponse is the custom header of the answer to a pull. Apache: PullMessageResponseHeader.
type PullResponse struct {
	SuggestWhichBrokerID int64
	// NextBeginOffset, MinOffset and MaxOffset are queue offsets.
	NextBeginOffset, MinOffset, MaxOffset int64
	// TopicSysFlag, GroupSysFlag and ForbiddenType are absent when nil.
	TopicSysFlag, GroupSysFlag, ForbiddenType *int32
	// OffsetDelta, absent when nil, is what clients add to the queue offsets in the records of a static topic.
	OffsetDelta *int64
}

// pullRequired are the fields without which a pull cannot be served, see sendRequired.
var pullRequired = [...]string{"consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag"}

// ParsePullHeader fills *h from a parsed pull request. It allocates nothing. A number that is none and a required field that is
// missing are ErrHeader. Apache: PullMessageRequestHeader.decode.
func ParsePullHeader(c *Command, h *PullHeader) error {
	*h = PullHeader{RequestSource: -1}
	var num hotField
	var seen uint32
	for i := range c.index {
		f := &c.index[i]
		v := c.at(f.valuePos, f.valueLen)
		switch string(c.at(f.keyPos, f.keyLen)) {
		case "consumerGroup":
			h.Group, seen = v, seen|1
		case "topic":
			h.Topic, seen = v, seen|2
		case "queueId":
			h.QueueID, seen = num.int32("queueId", v), seen|4
		case "queueOffset":
			h.QueueOffset, seen = num.int64("queueOffset", v), seen|8
		case "maxMsgNums":
			h.MaxMsgs, seen = num.int32("maxMsgNums", v), seen|16
		case "sysFlag":
			h.SysFlag, seen = num.int32("sysFlag", v), seen|32
		case "commitOffset":
			h.CommitOffset = num.int64("commitOffset", v)
		case "suspendTimeoutMillis":
			h.SuspendTimeoutMs = num.int64("suspendTimeoutMillis", v)
		case "subscription":
			h.Subscription = v
		case "subVersion":
			h.SubVersion = num.int64("subVersion", v)
		case "expressionType":
			h.ExpressionType = v
		case "maxMsgBytes":
			h.MaxMsgBytes = num.int32("maxMsgBytes", v)
		case "requestSource":
			h.RequestSource = num.int32("requestSource", v)
		case "proxyFrowardClientId": // spelled so on the wire
			h.ProxyForwardClientID = v
		case "liteTopic":
			h.LiteTopic = v
		}
	}
	return num.check(seen, pullRequired[:])
}

// AppendFields writes the header's fields.
func (r *PullResponse) AppendFields(w *FieldWriter) {
	w.Int("suggestWhichBrokerId", r.SuggestWhichBrokerID)
	w.Int("nextBeginOffset", r.NextBeginOffset)
	w.Int("minOffset", r.MinOffset)
	w.Int("maxOffset", r.MaxOffset)
	if r.OffsetDelta != nil {
		w.Int("offsetDelta", *r.OffsetDelta)
	}
	for _, f := range [...]struct {
		key   string
		value *int32
	}{{"topicSysFlag", r.TopicSysFlag}, {"groupSysFlag", r.GroupSysFlag}, {"forbiddenType", r.ForbiddenType}} {
		if f.value != nil {
			w.Int(f.key, int64(*f.value))
		}
	}
}

// PullRefusal is the custom header of a pull that is refused with NO_PERMISSION. Apache: ForbiddenType.
type PullRefusal struct {
	// ForbiddenType is 1 for the broker, 2 the group, 3 the topic, 4 broadcasting, 5 the subscription.
	ForbiddenType int32
}

// AppendFields writes the header's field.
func (r *PullRefusal) AppendFields(w *FieldWriter) { w.Int("forbiddenType", int64(r.ForbiddenType)) }
