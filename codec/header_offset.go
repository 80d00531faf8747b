package codec

// SearchOffsetHeader is the custom header of SEARCH_OFFSET_BY_TIMESTAMP. Apache: SearchOffsetRequestHeader.
type SearchOffsetHeader struct {
	Topic        string `field:"topic"`
	LiteTopic    string `field:"liteTopic"` // a lite topic of Topic
	QueueID      int32  `field:"queueId"`
	TimestampMs  int64  `field:"timestamp"`
	BoundaryType string `field:"boundaryType"` // case-insensitive; anything but "upper" = LOWER; sent as enum name in upper case
}

// GetMaxOffsetHeader is the custom header of GET_MAX_OFFSET. Apache: GetMaxOffsetRequestHeader.
type GetMaxOffsetHeader struct {
	Topic     string `field:"topic"`
	QueueID   int32  `field:"queueId"`
	Committed bool   `field:"committed"` // read but ignored by the current broker
}

// GetMinOffsetHeader is the custom header of GET_MIN_OFFSET. Apache: GetMinOffsetRequestHeader.
type GetMinOffsetHeader struct {
	Topic   string `field:"topic"`
	QueueID int32  `field:"queueId"`
}

// GetEarliestMsgStoreTimeHeader is the custom header of GET_EARLIEST_MSG_STORETIME. Apache: GetEarliestMsgStoretimeRequestHeader.
type GetEarliestMsgStoreTimeHeader struct {
	Topic   string `field:"topic"`
	QueueID int32  `field:"queueId"`
}

// GetEarliestMsgStoreTimeResponse is the custom header of the answer to GET_EARLIEST_MSG_STORETIME. Apache: GetEarliestMsgStoretimeResponseHeader.
type GetEarliestMsgStoreTimeResponse struct {
	TimestampMs int64 `field:"timestamp"`
}

// ResetOffsetHeader is the custom header of INVOKE_BROKER_TO_RESET_OFFSET. Apache: ResetOffsetRequestHeader.
type ResetOffsetHeader struct {
	Group       string `field:"group"`
	Topic       string `field:"topic"`
	QueueID     int32  `field:"queueId,lenient"` // -1 = all queues
	QueueOffset *int64 `field:"offset"`
	TimestampMs int64  `field:"timestamp,lenient"` // -1 = latest
	Force       bool   `field:"isForce"`
}

// QueryCorrectionOffsetHeader is the custom header of QUERY_CORRECTION_OFFSET. Apache: QueryCorrectionOffsetHeader.
type QueryCorrectionOffsetHeader struct {
	FilterGroups string `field:"filterGroups"`
	CompareGroup string `field:"compareGroup"`
	Topic        string `field:"topic"`
}

// CloneGroupOffsetHeader is the custom header of CLONE_GROUP_OFFSET. Apache: CloneGroupOffsetRequestHeader.
type CloneGroupOffsetHeader struct {
	SrcGroup  string `field:"srcGroup"`
	DestGroup string `field:"destGroup"`
	Topic     string `field:"topic"`
	Offline   bool   `field:"offline"`
}

// OffsetHeader is the custom header of QUERY_CONSUMER_OFFSET and UPDATE_CONSUMER_OFFSET; Group and Topic alias the frame.
// Apache: QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader.
type OffsetHeader struct {
	Group, Topic []byte
	QueueID      int32
	// QueueOffset is commitOffset, for UPDATE_CONSUMER_OFFSET only.
	QueueOffset int64
	// HasQueueID and HasQueueOffset report whether the field was there and a number.
	HasQueueID, HasQueueOffset bool
	// SetZeroIfNotFound is true unless the request says "false".
	SetZeroIfNotFound bool
}

// OffsetResponse is the custom header of every answer that carries one queue offset (14, 29, 30, 31).
// Apache: QueryConsumerOffsetResponseHeader, SearchOffsetResponseHeader, GetMaxOffsetResponseHeader, GetMinOffsetResponseHeader.
type OffsetResponse struct {
	QueueOffset int64
}

// ParseOffsetHeader fills *h from a parsed QUERY_CONSUMER_OFFSET or UPDATE_CONSUMER_OFFSET. It allocates nothing and cannot fail:
// what is missing or no number shows in HasQueueID and HasQueueOffset.
func ParseOffsetHeader(c *Command, h *OffsetHeader) {
	*h = OffsetHeader{SetZeroIfNotFound: true}
	for i := range c.index {
		f := &c.index[i]
		v := c.at(f.valuePos, f.valueLen)
		switch string(c.at(f.keyPos, f.keyLen)) {
		case "consumerGroup":
			h.Group = v
		case "topic":
			h.Topic = v
		case "queueId":
			h.QueueID, h.HasQueueID = parseInt32(v)
		case "commitOffset":
			h.QueueOffset, h.HasQueueOffset = parseInt64(v)
		case "setZeroIfNotFound":
			h.SetZeroIfNotFound = parseBool(v)
		}
	}
}

// AppendFields writes the header's field.
func (r *OffsetResponse) AppendFields(w *FieldWriter) { w.Int("offset", r.QueueOffset) }

func (h *ResetOffsetHeader) setDefaults() { h.QueueID = -1 }

func (h *GetMaxOffsetHeader) setDefaults() { h.Committed = true }
