package codec

// PopLiteHeader is the custom header of POP_LITE_MESSAGE; the byte slices alias the frame. Apache: PopLiteMessageRequestHeader.
type PopLiteHeader struct {
	ClientID, Group, Topic []byte
	MaxMsgs                int32
	InvisibleMs            int64
	PollMs                 int64
	// BornMs is 0 when the request does not say when it was made.
	BornMs int64
	// AttemptID names the try of a pop: one that comes again is not blocked by itself.
	AttemptID []byte
}

var popLiteRequired = [...]string{"clientId", "consumerGroup", "topic"}

// ParsePopLiteHeader fills *h from a parsed POP_LITE_MESSAGE. It allocates nothing. A number that is none and a name that is
// missing are ErrHeader; numbers that are missing are 0, as in Java.
func ParsePopLiteHeader(c *Command, h *PopLiteHeader) error {
	*h = PopLiteHeader{}
	var num hotField
	var seen uint32
	for i := range c.index {
		f := &c.index[i]
		v := c.at(f.valuePos, f.valueLen)
		switch string(c.at(f.keyPos, f.keyLen)) {
		case "clientId":
			h.ClientID, seen = v, seen|1
		case "consumerGroup":
			h.Group, seen = v, seen|2
		case "topic":
			h.Topic, seen = v, seen|4
		case "maxMsgNum":
			h.MaxMsgs = num.int32("maxMsgNum", v)
		case "invisibleTime":
			h.InvisibleMs = num.int64("invisibleTime", v)
		case "pollTime":
			h.PollMs = num.int64("pollTime", v)
		case "bornTime":
			h.BornMs = num.int64("bornTime", v)
		case "attemptId":
			h.AttemptID = v
		}
	}
	return num.check(seen, popLiteRequired[:])
}

// PopLiteResponse is the custom header of the answer to POP_LITE_MESSAGE. Apache: PopLiteMessageResponseHeader.
type PopLiteResponse struct {
	PopTimeMs     int64
	InvisibleMs   int64
	ReviveQueueID int32
	// OrderCountInfo says how often each message was delivered before, one entry a message, separated by semicolons: a number, or
	// what AppendOrderCount writes.
	OrderCountInfo []byte
}

// AppendFields writes the header's fields.
func (r *PopLiteResponse) AppendFields(w *FieldWriter) {
	w.Int("popTime", r.PopTimeMs)
	w.Int("invisibleTime", r.InvisibleMs)
	w.Int("reviveQid", int64(r.ReviveQueueID))
	w.Bytes("orderCountInfo", r.OrderCountInfo)
}

// NotifyUnsubscribeLiteHeader is the custom header of NOTIFY_UNSUBSCRIBE_LITE. Apache: NotifyUnsubscribeLiteRequestHeader.
type NotifyUnsubscribeLiteHeader struct {
	LiteTopic     string `field:"liteTopic"`
	ConsumerGroup string `field:"consumerGroup"`
	ClientID      string `field:"clientId"`
}

// GetParentTopicInfoHeader is the custom header of GET_PARENT_TOPIC_INFO. Apache: GetParentTopicInfoRequestHeader.
type GetParentTopicInfoHeader struct {
	Topic string `field:"topic"`
}

// GetLiteTopicInfoHeader is the custom header of GET_LITE_TOPIC_INFO. Apache: GetLiteTopicInfoRequestHeader.
type GetLiteTopicInfoHeader struct {
	ParentTopic string `field:"parentTopic"`
	LiteTopic   string `field:"liteTopic"`
}

// GetLiteClientInfoHeader is the custom header of GET_LITE_CLIENT_INFO. Apache: GetLiteClientInfoRequestHeader.
type GetLiteClientInfoHeader struct {
	ParentTopic string `field:"parentTopic"`
	Group       string `field:"group"`
	ClientID    string `field:"clientId"`
	MaxCount    int32  `field:"maxCount,lenient"`
}

func (h *GetLiteClientInfoHeader) setDefaults() { h.MaxCount = 1000 }

// GetLiteGroupInfoHeader is the custom header of GET_LITE_GROUP_INFO. Apache: GetLiteGroupInfoRequestHeader.
type GetLiteGroupInfoHeader struct {
	Group     string `field:"group"`
	LiteTopic string `field:"liteTopic"`
	TopK      int32  `field:"topK,lenient"`
}

// TriggerLiteDispatchHeader is the custom header of TRIGGER_LITE_DISPATCH. Apache: TriggerLiteDispatchRequestHeader.
type TriggerLiteDispatchHeader struct {
	Group    string `field:"group"`
	ClientID string `field:"clientId"`
}
