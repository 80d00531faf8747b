package processor

import (
	"errors"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// QUERY_CONSUMER_OFFSET 14, UPDATE_CONSUMER_OFFSET 15, SEARCH_OFFSET_BY_TIMESTAMP 29, GET_MAX_OFFSET 30, GET_MIN_OFFSET 31,
// GET_EARLIEST_MSG_STORETIME 32.
//
// Behavior:
// * 22 for an offset that was never stored makes a client apply its consumeFromWhere. Not so for a young topic: while queue
//   offset 0 exists and is in memory, the answer is 0.
// * An offset is stored even if it is lower than before. While a reset waits for the queue's next pull nothing is stored, which
//   the client does not notice.
// * 29 to 32 of a queue that does not exist are no errors: 0, 0, 0 and -1.
//
// Apache: ConsumerManageProcessor, AdminBrokerProcessor.

// queryOffset answers QUERY_CONSUMER_OFFSET. It looks at a queue's first entry, which may be cold, on a pool only.
func (p *Processor) queryOffset(req *remoting.Request) (*codec.Command, error) {
	var h codec.OffsetHeader
	codec.ParseOffsetHeader(&req.Command, &h)
	if !h.HasQueueID {
		return nil, missing("queueId")
	}
	static, err := p.staticQueueOf(req, h.Topic, h.QueueID)
	switch {
	case err != nil:
		return nil, err
	case static.detail != nil && (len(static.items) > 1 || static.item.LogicOffset != 0):
		return p.queryStatic(req, &static, &h)
	case static.detail != nil:
		h.QueueID = static.item.QueueID
	}
	queueOffset, ok := p.offsets.Query(h.Group, h.Topic, h.QueueID)
	if !ok {
		if !h.SetZeroIfNotFound {
			return nil, refuse(codec.QueryNotFound, "Not found, do not set to zero, maybe this group boot first")
		}
		if req.Inline() {
			return nil, remoting.ErrHandOver
		}
		if !p.startsHot(string(h.Topic), h.QueueID) {
			return nil, refuse(codec.QueryNotFound, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")
		}
		queueOffset = 0
	}
	resp := req.Response(codec.Success)
	resp.Header = &codec.OffsetResponse{QueueOffset: queueOffset}
	return resp, nil
}

// startsHot reports whether a queue still has its first message, and that in memory.
func (p *Processor) startsHot(topic string, queueID int32) bool {
	if p.store.MinQueueOffset(topic, queueID) > 0 {
		return false
	}
	physOffset, _, _, ok := p.store.QueueEntry(topic, queueID, 0)
	return ok && p.store.InMemory(physOffset)
}

// updateOffset answers UPDATE_CONSUMER_OFFSET.
func (p *Processor) updateOffset(req *remoting.Request) (*codec.Command, error) {
	var h codec.OffsetHeader
	codec.ParseOffsetHeader(&req.Command, &h)
	if _, ok := p.groups.GetBytes(h.Group); !ok {
		return nil, refuse(codec.SubscriptionGroupNotExist, "Group %s not exist!", javaText(h.Group))
	}
	if _, ok := p.topics.GetBytes(h.Topic); !ok {
		return nil, refuse(codec.TopicNotExist, "Topic %s not exist!", javaText(h.Topic))
	}
	if !h.HasQueueID {
		return nil, refuse(codec.InvalidParameter, "QueueId is null, topic is %s", h.Topic)
	}
	if !h.HasQueueOffset {
		return nil, refuse(codec.InvalidParameter, "Offset is null, topic is %s", h.Topic)
	}
	static, err := p.staticQueueOf(req, h.Topic, h.QueueID)
	if err == nil && static.detail != nil {
		var answer *codec.Command
		if answer, err = p.updateStatic(req, &static, &h); answer != nil {
			return answer, nil
		}
	}
	if err != nil {
		return nil, err
	}
	err = p.offsets.Commit(h.Group, h.Topic, h.QueueID, h.QueueOffset)
	if err != nil && !errors.Is(err, store.ErrOffsetReset) {
		return nil, err
	}
	resp := req.Response(codec.Success)
	if err != nil {
		resp.Remark = "Offset has been previously reset"
	}
	return resp, nil
}

// javaText is a field as Java writes it into a remark.
func javaText(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

// searchOffset answers SEARCH_OFFSET_BY_TIMESTAMP.
func (p *Processor) searchOffset(req *remoting.Request) (*codec.Command, error) {
	var h codec.SearchOffsetHeader
	if err := decodeHeader(req, &h, "queueId", "timestamp"); err != nil {
		return nil, err
	}
	byTime := func(queueID int32) int64 { return p.store.QueueOffsetByTime(h.Topic, queueID, h.TimestampMs) }
	if strings.EqualFold(h.BoundaryType, "upper") {
		byTime = func(queueID int32) int64 { return p.store.QueueOffsetByTimeUpper(h.Topic, queueID, h.TimestampMs) }
	}
	if strings.TrimSpace(h.LiteTopic) != "" {
		h.Topic = store.LiteQueue(h.Topic, h.LiteTopic)
		if h.QueueID != 0 || p.store.MaxQueueOffset(h.Topic, 0) <= 0 {
			return offsetResponse(req, 0)
		}
		return offsetResponse(req, byTime(0))
	}
	static, err := p.staticQueueOf(req, []byte(h.Topic), h.QueueID)
	switch {
	case err != nil:
		return nil, err
	case static.detail != nil:
		return p.searchStatic(req, &static, &h, byTime)
	}
	return offsetResponse(req, byTime(h.QueueID))
}

// maxOffset answers GET_MAX_OFFSET.
func (p *Processor) maxOffset(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetMaxOffsetHeader
	if err := decodeHeader(req, &h, "queueId"); err != nil {
		return nil, err
	}
	static, err := p.staticQueueOf(req, []byte(h.Topic), h.QueueID)
	switch {
	case err != nil:
		return nil, err
	case static.detail != nil:
		return p.maxStatic(req, &static, h.Topic)
	}
	return offsetResponse(req, p.store.MaxQueueOffset(h.Topic, h.QueueID))
}

// minOffset answers GET_MIN_OFFSET.
func (p *Processor) minOffset(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetMinOffsetHeader
	if err := decodeHeader(req, &h, "queueId"); err != nil {
		return nil, err
	}
	static, err := p.staticQueueOf(req, []byte(h.Topic), h.QueueID)
	switch {
	case err != nil:
		return nil, err
	case static.detail != nil:
		return p.minStatic(req, &static, h.Topic)
	}
	return offsetResponse(req, p.store.MinQueueOffset(h.Topic, h.QueueID))
}

// earliestStoreTime answers GET_EARLIEST_MSG_STORETIME.
func (p *Processor) earliestStoreTime(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetEarliestMsgStoreTimeHeader
	if err := decodeHeader(req, &h, "queueId"); err != nil {
		return nil, err
	}
	static, err := p.staticQueueOf(req, []byte(h.Topic), h.QueueID)
	switch {
	case err != nil:
		return nil, err
	case static.detail != nil:
		return p.earliestStatic(req, &static, h.Topic)
	}
	resp := req.Response(codec.Success)
	resp.Header = &codec.GetEarliestMsgStoreTimeResponse{TimestampMs: p.store.EarliestStoreTime(h.Topic, h.QueueID)}
	return resp, nil
}

func offsetResponse(req *remoting.Request, queueOffset int64) (*codec.Command, error) {
	resp := req.Response(codec.Success)
	resp.Header = &codec.OffsetResponse{QueueOffset: queueOffset}
	return resp, nil
}

// decodeHeader fills a header struct and refuses a request without one of the fields on whose absence Java fails.
func decodeHeader(req *remoting.Request, h any, required ...string) error {
	for _, field := range required {
		if _, ok := req.Field(field); !ok {
			return missing(field)
		}
	}
	return codec.DecodeHeader(&req.Command, h)
}
