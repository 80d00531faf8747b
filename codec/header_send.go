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
	// BatchUniqID is the unique key of a batch that is stored as one record, empty for none.
	BatchUniqID []byte
	// RecallHandle takes a timer message back, empty for other messages.
	RecallHandle []byte
	// RegionID and TraceOn are written as MSG_REGION and TRACE_ON; empty means absent.
	RegionID, TraceOn string
}

// Fields without which a send cannot be served: an absent one is a null pointer in Java, answered SYSTEM_ERROR. Bit i of a
// parser's seen stands for entry i.
var (
	sendRequired   = [...]string{"topic", "defaultTopicQueueNums", "queueId", "sysFlag", "bornTimestamp", "flag"}
	sendV2Required = [...]string{"b", "d", "e", "f", "g", "h"}
)

// ParseSendHeader fills *h from a parsed send request: the long names for SEND_MESSAGE and SEND_REPLY_MESSAGE, the short ones for
// the others. It allocates nothing. A number that is none and a required field that is missing are ErrHeader.
// Apache: SendMessageRequestHeader.parseRequestHeader.
func ParseSendHeader(c *Command, h *SendHeader) error {
	*h = SendHeader{}
	if c.Code == SendMessage || c.Code == SendReplyMessage {
		return parseSendLong(c, h)
	}
	return parseSendShort(c, h)
}

func parseSendShort(c *Command, h *SendHeader) error {
	var num hotField
	var seen uint32
	for i := range c.index {
		f := &c.index[i]
		if f.keyLen != 1 {
			continue
		}
		v := c.at(f.valuePos, f.valueLen)
		switch c.at(f.keyPos, 1)[0] {
		case 'a':
			h.Group = v
		case 'b':
			h.Topic, seen = v, seen|1
		case 'c':
			h.DefaultTopic = v
		case 'd':
			h.DefaultTopicQueueNums, seen = num.int32("d", v), seen|2
		case 'e':
			h.QueueID, seen = num.int32("e", v), seen|4
		case 'f':
			h.SysFlag, seen = num.int32("f", v), seen|8
		case 'g':
			h.BornTimestampMs, seen = num.int64("g", v), seen|16
		case 'h':
			h.Flag, seen = num.int32("h", v), seen|32
		case 'i':
			h.Properties = v
		case 'j':
			h.ReconsumeTimes = num.int32("j", v)
		case 'k':
			h.UnitMode = parseBool(v)
		case 'l':
			h.MaxReconsumeTimes, h.HasMaxReconsumeTimes = num.int32("l", v), true
		case 'm':
			h.Batch = parseBool(v)
		case 'n':
			h.BrokerName = v
		}
	}
	return num.check(seen, sendV2Required[:])
}

func parseSendLong(c *Command, h *SendHeader) error {
	var num hotField
	var seen uint32
	for i := range c.index {
		f := &c.index[i]
		v := c.at(f.valuePos, f.valueLen)
		switch string(c.at(f.keyPos, f.keyLen)) {
		case "producerGroup":
			h.Group = v
		case "topic":
			h.Topic, seen = v, seen|1
		case "defaultTopic":
			h.DefaultTopic = v
		case "defaultTopicQueueNums":
			h.DefaultTopicQueueNums, seen = num.int32("defaultTopicQueueNums", v), seen|2
		case "queueId":
			h.QueueID, seen = num.int32("queueId", v), seen|4
		case "sysFlag":
			h.SysFlag, seen = num.int32("sysFlag", v), seen|8
		case "bornTimestamp":
			h.BornTimestampMs, seen = num.int64("bornTimestamp", v), seen|16
		case "flag":
			h.Flag, seen = num.int32("flag", v), seen|32
		case "properties":
			h.Properties = v
		case "reconsumeTimes":
			h.ReconsumeTimes = num.int32("reconsumeTimes", v)
		case "unitMode":
			h.UnitMode = parseBool(v)
		case "maxReconsumeTimes":
			h.MaxReconsumeTimes, h.HasMaxReconsumeTimes = num.int32("maxReconsumeTimes", v), true
		case "batch":
			h.Batch = parseBool(v)
		case "bname":
			h.BrokerName = v
		}
	}
	return num.check(seen, sendRequired[:])
}

// AppendFields writes the header's fields.
func (r *SendResponse) AppendFields(w *FieldWriter) {
	if len(r.MsgID) > 0 {
		w.Bytes("msgId", r.MsgID)
		w.Int("queueId", int64(r.QueueID))
		w.Int("queueOffset", r.QueueOffset)
	}
	if len(r.TransactionID) > 0 {
		w.Bytes("transactionId", r.TransactionID)
	}
	if len(r.BatchUniqID) > 0 {
		w.Bytes("batchUniqId", r.BatchUniqID)
	}
	if len(r.RecallHandle) > 0 {
		w.Bytes("recallHandle", r.RecallHandle)
	}
	if r.RegionID != "" {
		w.String("MSG_REGION", r.RegionID)
	}
	if r.TraceOn != "" {
		w.String("TRACE_ON", r.TraceOn)
	}
}
