package codec

// QueryMessageHeader is the custom header of QUERY_MESSAGE. Apache: QueryMessageRequestHeader.
type QueryMessageHeader struct {
	Topic            string `field:"topic"`
	Key              string `field:"key"` // one KEYS token or a UNIQ_KEY value (then extField _UNIQUE_KEY_QUERY=true)
	MaxNum           int32  `field:"maxNum"`
	BeginTimestampMs int64  `field:"beginTimestamp"`
	EndTimestampMs   int64  `field:"endTimestamp"`
	IndexType        string `field:"indexType"`
	LastKey          string `field:"lastKey"`
}

// QueryMessageResponse is the custom header of the answer to QUERY_MESSAGE. Apache: QueryMessageResponseHeader.
type QueryMessageResponse struct {
	IndexLastUpdateTimestampMs int64 `field:"indexLastUpdateTimestamp"`
	IndexLastUpdatePhysOffset  int64 `field:"indexLastUpdatePhyoffset"`
}

// ViewMessageHeader is the custom header of VIEW_MESSAGE_BY_ID. Apache: ViewMessageRequestHeader.
type ViewMessageHeader struct {
	Topic      string `field:"topic"`
	PhysOffset int64  `field:"offset"` // physical offset taken from the offset message id
}
