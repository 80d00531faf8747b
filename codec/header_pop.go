package codec

// PopHeader is the custom header of POP_MESSAGE; the byte slices alias the frame. Apache: PopMessageRequestHeader.
type PopHeader struct {
	Group, Topic []byte
	// QueueID is -1 for all queues of the topic.
	QueueID     int32
	MaxMsgs     int32
	InvisibleMs int64
	PollMs      int64
	// BornMs is 0 when the request does not say when it was made.
	BornMs int64
	// InitMode is PopInitMin or PopInitMax.
	InitMode int32
	// ExpressionType and Expression are what the group filters by; empty for everything.
	ExpressionType, Expression []byte
	Order                      bool
	// AttemptID names the try of an ordered pop: one that comes again is not blocked by itself.
	AttemptID []byte
}

// Where a group that never popped a queue begins. Apache: ConsumeInitMode.
const (
	PopInitMin int32 = 0
	PopInitMax int32 = 1
)

// PopOrderReviveQueue stands for the revive queue in what belongs to an ordered pop. Apache: KeyBuilder.POP_ORDER_REVIVE_QUEUE.
const PopOrderReviveQueue int32 = 999

var popRequired = [...]string{"consumerGroup", "topic", "queueId", "maxMsgNums", "invisibleTime", "pollTime", "initMode"}

// ParsePopHeader fills *h from a parsed POP_MESSAGE. It allocates nothing. A number that is none and a required field that is
// missing are ErrHeader.
func ParsePopHeader(c *Command, h *PopHeader) error {
	*h = PopHeader{}
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
		case "maxMsgNums":
			h.MaxMsgs, seen = num.int32("maxMsgNums", v), seen|8
		case "invisibleTime":
			h.InvisibleMs, seen = num.int64("invisibleTime", v), seen|16
		case "pollTime":
			h.PollMs, seen = num.int64("pollTime", v), seen|32
		case "initMode":
			h.InitMode, seen = num.int32("initMode", v), seen|64
		case "bornTime":
			h.BornMs = num.int64("bornTime", v)
		case "expType":
			h.ExpressionType = v
		case "exp":
			h.Expression = v
		case "order":
			h.Order = parseBool(v)
		case "attemptId":
			h.AttemptID = v
		}
	}
	return num.check(seen, popRequired[:])
}

// PopResponse is the custom header of the answer to a pop. Apache: PopMessageResponseHeader.
type PopResponse struct {
	PopTimeMs     int64
	InvisibleMs   int64
	ReviveQueueID int32
	// RestNum is how many messages are left behind the ones sent.
	RestNum int64
	// StartOffsetInfo, MsgOffsetInfo and OrderCountInfo are the text of AppendStartOffset, AppendMsgOffsets and
	// AppendOrderCount. OrderCountInfo is left out when nil.
	StartOffsetInfo, MsgOffsetInfo, OrderCountInfo []byte
}

// AppendFields writes the header's fields.
func (r *PopResponse) AppendFields(w *FieldWriter) {
	w.Int("popTime", r.PopTimeMs)
	w.Int("invisibleTime", r.InvisibleMs)
	w.Int("reviveQid", int64(r.ReviveQueueID))
	w.Int("restNum", r.RestNum)
	w.Bytes("startOffsetInfo", r.StartOffsetInfo)
	w.Bytes("msgOffsetInfo", r.MsgOffsetInfo)
	if r.OrderCountInfo != nil {
		w.Bytes("orderCountInfo", r.OrderCountInfo)
	}
}

// AckHeader is the custom header of ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME; the byte slices alias the frame.
// Apache: AckMessageRequestHeader, ChangeInvisibleTimeRequestHeader.
type AckHeader struct {
	Group, Topic []byte
	QueueID      int32
	// Receipt is what ParseReceipt reads.
	Receipt     []byte
	QueueOffset int64
	// InvisibleMs is how long the message stays invisible from now on, for CHANGE_MESSAGE_INVISIBLETIME only. Suspend says that the
	// delivery is not to be counted.
	InvisibleMs int64
	Suspend     bool
	// LiteTopic is set for a message of a lite topic of Topic.
	LiteTopic []byte
}

var (
	ackRequired       = [...]string{"consumerGroup", "topic", "queueId", "extraInfo", "offset"}
	invisibleRequired = [...]string{"consumerGroup", "topic", "queueId", "extraInfo", "offset", "invisibleTime"}
)

// ParseAckHeader fills *h from a parsed ACK_MESSAGE or CHANGE_MESSAGE_INVISIBLETIME. It allocates nothing. A number that is none
// and a required field that is missing are ErrHeader.
func ParseAckHeader(c *Command, h *AckHeader) error {
	*h = AckHeader{}
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
		case "extraInfo":
			h.Receipt, seen = v, seen|8
		case "offset":
			h.QueueOffset, seen = num.int64("offset", v), seen|16
		case "invisibleTime":
			h.InvisibleMs, seen = num.int64("invisibleTime", v), seen|32
		case "suspend":
			h.Suspend = parseBool(v)
		case "liteTopic":
			h.LiteTopic = v
		}
	}
	if c.Code == ChangeMessageInvisibleTime {
		return num.check(seen, invisibleRequired[:])
	}
	return num.check(seen&31, ackRequired[:])
}

// InvisibleResponse is the custom header of the answer to CHANGE_MESSAGE_INVISIBLETIME, from which the client makes its new
// receipt. Apache: ChangeInvisibleTimeResponseHeader.
type InvisibleResponse struct {
	PopTimeMs     int64 `field:"popTime"`
	InvisibleMs   int64 `field:"invisibleTime"`
	ReviveQueueID int32 `field:"reviveQid"`
}

// PeekHeader is the custom header of PEEK_MESSAGE. Apache: PeekMessageRequestHeader.
type PeekHeader struct {
	Group   string `field:"consumerGroup"`
	Topic   string `field:"topic"`
	QueueID int32  `field:"queueId"`
	MaxMsgs int32  `field:"maxMsgNums"`
}

// NotificationHeader is the custom header of NOTIFICATION. Apache: NotificationRequestHeader.
type NotificationHeader struct {
	Group     string `field:"consumerGroup"`
	Topic     string `field:"topic"`
	QueueID   int32  `field:"queueId"`
	PollMs    int64  `field:"pollTime"`
	BornMs    int64  `field:"bornTime"`
	Order     bool   `field:"order"`
	AttemptID string `field:"attemptId"`
	// ExpressionType and Expression are what the group filters by; empty for everything.
	ExpressionType string `field:"expType"`
	Expression     string `field:"exp"`
}

// NotificationResponse is the custom header of the answer to NOTIFICATION. Apache: NotificationResponseHeader.
type NotificationResponse struct {
	HasMsg      bool `field:"hasMsg"`
	PollingFull bool `field:"pollingFull"`
}

// PollingInfoHeader is the custom header of POLLING_INFO. Apache: PollingInfoRequestHeader.
type PollingInfoHeader struct {
	Group   string `field:"consumerGroup"`
	Topic   string `field:"topic"`
	QueueID int32  `field:"queueId"`
}

// PollingInfoResponse is the custom header of the answer to POLLING_INFO. Apache: PollingInfoResponseHeader.
type PollingInfoResponse struct {
	PollingNum int32 `field:"pollingNum"`
}
