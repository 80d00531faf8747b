package processor

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// What QUERY_CONSUME_QUEUE tells of the units of extended queues. Apache: AdminBrokerProcessor.queryConsumeQueue.

// unitFilter says whether a unit passes what a group wants of the topic.
type unitFilter struct {
	sub  *codec.SubscriptionData
	data *store.FilterData
}

// passes is by tags or by bit map; what a bit map cannot tell passes. Apache: ExpressionMessageFilter.isMatchedByConsumeQueue.
func (f *unitFilter) passes(u *store.ExtUnit) bool {
	switch {
	case f.sub.ClassFilterMode:
		return true
	case f.sub.ExpressionType == "" || f.sub.ExpressionType == codec.ExpressionTag:
		return f.sub.SubString == codec.SubAll || slices.Contains(f.sub.CodeSet, int32(u.TagsCode))
	}
	return f.data == nil || f.data.PassesUnit(u)
}

// unitText is a unit as JSON, its bytes with signs.
type unitText struct {
	FilterBitMap     []int8 `json:"filterBitMap,omitempty"`
	StoreTimestampMs int64  `json:"msgStoreTime"`
	SizeBytes        int    `json:"size"`
	TagsCode         int64  `json:"tagsCode"`
}

// showUnit fills in what a queue entry's address leads to. A filter without a subscription passes nothing.
func showUnit(row *codec.ConsumeQueueData, e *store.Entry, f *unitFilter) error {
	u := e.Unit
	switch {
	case e.Address == 0:
		return nil
	case u == nil:
		row.TagsCode = e.Address
		row.Msg = "Cq extend not exist!addr: " + strconv.FormatInt(e.Address, 10)
		return nil
	}
	text := unitText{StoreTimestampMs: u.StoreTimestampMs, SizeBytes: u.SizeBytes(), TagsCode: u.TagsCode}
	for _, b := range u.BitMap {
		text.FilterBitMap = append(text.FilterBitMap, int8(b))
	}
	b, err := json.Marshal(text)
	if err != nil {
		return err
	}
	row.ExtendDataJSON, row.BitMap, row.TagsCode = string(b), bitMapText(u.BitMap), u.TagsCode
	row.Eval = f.sub != nil && f.passes(u)
	return nil
}

// bitMapText shows the highest bit first, 64 bits a line. Apache: BitsArray.toString.
func bitMapText(bits []byte) string {
	var text strings.Builder
	for i := len(bits) - 1; i >= 0; i-- {
		for bit := 7; bit >= 0; bit-- {
			text.WriteByte('0' + bits[i]>>bit&1)
		}
		if i%8 == 0 {
			text.WriteByte('\n')
		}
	}
	return text.String()
}
