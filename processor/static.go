package processor

import (
	"context"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// UPDATE_AND_CREATE_STATIC_TOPIC 513, and what the queues of a static topic change in the answers to others.
//
// A queue of a static topic, a global id, is made of stretches: each is a physical queue of some broker, which the next stretch
// continues. The broker of the last stretch leads and speaks for the whole; it fetches from the others what lies there.
//
// Behavior:
// * Sends, pulls, offsets and locks name global ids; a broker that does not lead a queue answers 501.
// * A request with lo=false means the physical queue; so do the requests that leaders forward.
// * Consume offsets are kept as physical offsets, each on the broker of its stretch.
// * 513 never takes an older epoch, nor a generation that changed its meaning.
// * Stretches that hold nothing any more leave the table: staticclean.go.
//
// Left out: a pull of a stretch elsewhere is not parked there: it is answered 20, and comes again.
//
// Apache: TopicQueueMappingManager, TopicQueueMappingUtils, AdminBrokerProcessor.

// forwardTimeout bounds a request to the broker of a stretch. Apache: BrokerConfig.forwardTimeout.
const forwardTimeout = 3 * time.Second

// staticQueue is a queue of a static topic that this broker leads. The zero value stands for every other queue.
type staticQueue struct {
	detail   *codec.TopicQueueMappingDetail
	globalID int32
	items    []codec.LogicQueueMappingItem
	// item is the stretch that a request is about.
	item *codec.LogicQueueMappingItem
}

// staticQueueOf returns the static queue that a request means; the zero value when its topic is not static or it means the
// physical queue.
func (p *Processor) staticQueueOf(req *remoting.Request, topic []byte, globalID int32) (staticQueue, error) {
	if p.opts.Mappings == nil || p.opts.Mappings.Len() == 0 {
		return staticQueue{}, nil
	}
	d := p.opts.Mappings.Get(topic)
	if d == nil {
		return staticQueue{}, nil
	}
	if lo, ok := req.Field("lo"); ok && string(lo) == "false" {
		return staticQueue{}, nil
	}
	return staticQueueIn(d, topic, globalID)
}

func staticQueueIn(d *codec.TopicQueueMappingDetail, topic []byte, globalID int32) (staticQueue, error) {
	items := d.HostedQueues[globalID]
	if len(items) == 0 || items[len(items)-1].Bname != d.Bname {
		return staticQueue{}, refuse(codec.NotLeaderForQueue, "%s-%d does not exit in request process of current broker %s", topic, globalID, d.Bname)
	}
	return staticQueue{detail: d, globalID: globalID, items: items, item: &items[len(items)-1]}, nil
}

// staticToSend names the physical queue in the header of a send to a static topic; a queue below 0 is any that this broker leads.
// Apache: TopicQueueMappingManager.buildTopicQueueMappingContext with selectOneWhenMiss.
func (p *Processor) staticToSend(req *remoting.Request, h *codec.SendHeader) (staticQueue, error) {
	globalID := h.QueueID
	if globalID < 0 && p.opts.Mappings != nil && p.opts.Mappings.Len() > 0 {
		if d := p.opts.Mappings.Get(h.Topic); d != nil {
			for id, items := range d.HostedQueues {
				if n := len(items); n > 0 && items[n-1].Bname == d.Bname {
					globalID = id
					break
				}
			}
		}
	}
	q, err := p.staticQueueOf(req, h.Topic, globalID)
	if err == nil && q.detail != nil {
		h.QueueID = q.item.QueueID
	}
	return q, err
}

func (q *staticQueue) leader() *codec.LogicQueueMappingItem { return &q.items[len(q.items)-1] }

// here reports whether a stretch lies on this broker.
func (q *staticQueue) here(item *codec.LogicQueueMappingItem) bool {
	return item.Bname == q.detail.Bname
}

// at returns the stretch that holds a queue offset: the last one whose beginning is decided and not behind it, else the first.
// Apache: TopicQueueMappingUtils.findLogicQueueMappingItem.
func (q *staticQueue) at(queueOffset int64) *codec.LogicQueueMappingItem {
	var first *codec.LogicQueueMappingItem
	for i := len(q.items) - 1; i >= 0; i-- {
		if item := &q.items[i]; item.LogicOffset >= 0 {
			if first = item; queueOffset >= item.LogicOffset {
				return item
			}
		}
	}
	return first
}

// after returns the stretch behind one, nil when it is not decided where that begins.
func (q *staticQueue) after(item *codec.LogicQueueMappingItem) *codec.LogicQueueMappingItem {
	for i := range len(q.items) - 1 {
		if q.items[i].Gen == item.Gen && q.items[i+1].LogicOffset >= 0 {
			return &q.items[i+1]
		}
	}
	return nil
}

// end returns the queue offset behind all that is decided. Apache: TopicQueueMappingDetail.computeMaxOffsetFromMapping.
func (q *staticQueue) end() int64 {
	if item := q.leader(); item.EndOffset >= item.StartOffset {
		return item.LogicOffset + item.EndOffset - item.StartOffset
	}
	return q.leader().LogicOffset
}

// ended reports whether a stretch is written no more.
func ended(item *codec.LogicQueueMappingItem) bool { return item.EndOffset > item.StartOffset }

// staticOffset turns an offset of the stretch's physical queue into one of the static queue. Apache:
// LogicQueueMappingItem.computeStaticQueueOffsetStrictly.
func staticOffset(item *codec.LogicQueueMappingItem, physical int64) int64 {
	return item.LogicOffset + max(physical-item.StartOffset, 0)
}

// looseOffset is staticOffset for a stretch whose beginning may not be decided, then -1, and which is cut at its end. Apache:
// LogicQueueMappingItem.computeStaticQueueOffsetLoosely.
func looseOffset(item *codec.LogicQueueMappingItem, physical int64) int64 {
	switch {
	case item.LogicOffset < 0:
		return -1
	case item.EndOffset >= item.StartOffset && item.EndOffset < physical:
		return item.LogicOffset + item.EndOffset - item.StartOffset
	}
	return staticOffset(item, physical)
}

func physicalOffset(item *codec.LogicQueueMappingItem, static int64) int64 {
	return static - item.LogicOffset + item.StartOffset
}

// forward asks the broker of a stretch. The answer's code is not looked at.
func (p *Processor) forward(item *codec.LogicQueueMappingItem, code int32, fields ...string) (*codec.Command, error) {
	if p.opts.Forward == nil {
		return nil, refuse(codec.SystemError, "broker %s cannot be asked from here", item.Bname)
	}
	c := &codec.Command{Code: code, Language: codec.LanguageJava, Version: codec.Version}
	c.Extra = append(c.Extra, codec.Field{Key: "lo", Value: "false"}, codec.Field{Key: "bname", Value: item.Bname},
		codec.Field{Key: "queueId", Value: strconv.Itoa(int(item.QueueID))})
	for i := 0; i+1 < len(fields); i += 2 {
		c.Extra = append(c.Extra, codec.Field{Key: fields[i], Value: fields[i+1]})
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
	defer cancel()
	answer, err := p.opts.Forward(ctx, item.Bname, c)
	if err != nil {
		return nil, refuse(codec.SystemError, "ask broker %s for queue %d: %v", item.Bname, item.QueueID, err)
	}
	return answer, nil
}

// forwardForOffset asks the broker of a stretch for an offset, -1 when it answers that there is none.
func (p *Processor) forwardForOffset(item *codec.LogicQueueMappingItem, code int32, fields ...string) (int64, error) {
	answer, err := p.forward(item, code, fields...)
	switch {
	case err != nil:
		return 0, err
	case answer.Code == codec.QueryNotFound:
		return -1, nil
	case answer.Code != codec.Success:
		return 0, refuse(answer.Code, "%s", answer.Remark)
	}
	text, _ := answer.Field("offset")
	queueOffset, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, refuse(codec.SystemError, "broker %s answered the offset %q", item.Bname, text)
	}
	return queueOffset, nil
}

// createStaticTopic answers UPDATE_AND_CREATE_STATIC_TOPIC.
func (p *Processor) createStaticTopic(req *remoting.Request) (*codec.Command, error) {
	var h codec.CreateTopicHeader
	if err := decodeHeader(req, &h, "topic", "readQueueNums", "writeQueueNums", "perm", "topicFilterType"); err != nil {
		return nil, err
	}
	if p.opts.Mappings == nil {
		return nil, refuse(codec.RequestCodeNotSupported, " request type %d not supported", req.Code)
	}
	var detail codec.TopicQueueMappingDetail
	if err := decodeBody(req, &detail); err != nil {
		return nil, err
	}
	if detail.Topic != h.Topic {
		return nil, refuse(codec.InvalidParameter, "the body is about topic[%s], the header about topic[%s]", detail.Topic, h.Topic)
	}
	cfg := codec.NewTopicConfig(h.Topic)
	cfg.ReadQueueNums, cfg.WriteQueueNums, cfg.Perm, cfg.TopicFilterType = h.ReadQueueNums, h.WriteQueueNums, h.Perm, h.TopicFilterType
	if h.TopicSysFlag != nil {
		cfg.TopicSysFlag = *h.TopicSysFlag
	}
	if err := p.checkTopic(cfg); err != nil {
		return nil, err
	}
	if _, err := p.topics.PutAll([]*codec.TopicConfig{cfg}); err != nil {
		return nil, tableError(err)
	}
	put := p.opts.Mappings.Put
	if h.Force {
		put = p.opts.Mappings.PutForced
	}
	if err := put(&detail); err != nil {
		p.log.Warn("static topic is refused", "topic", h.Topic, "client", req.Conn.RemoteAddr(), "error", err)
		return nil, refuse(codec.SystemError, "%v", err)
	}
	p.log.Info("static topic created or changed", "topic", h.Topic, "epoch", detail.Epoch, "client", req.Conn.RemoteAddr())
	p.awaitRegistered()
	return req.Response(codec.Success), nil
}

// withMapping returns the topic as GET_TOPIC_CONFIG tells it: that of a static one has its queues.
func (p *Processor) withMapping(cfg *codec.TopicConfig) (*codec.TopicConfig, error) {
	if p.opts.Mappings == nil {
		return cfg, nil
	}
	detail := p.opts.Mappings.Get([]byte(cfg.TopicName))
	if detail == nil {
		return cfg, nil
	}
	text, err := codec.MarshalJSON(detail)
	if err != nil {
		return nil, err
	}
	told := *cfg
	told.Unknown = append(told.Unknown[:len(told.Unknown):len(told.Unknown)], codec.UnknownField{Name: "mappingDetail", Value: text})
	return &told, nil
}

// mappings are all static topics as GET_ALL_TOPIC_CONFIG tells them.
func (p *Processor) mappings() (map[string]*codec.TopicQueueMappingDetail, codec.DataVersion) {
	if p.opts.Mappings == nil {
		return map[string]*codec.TopicQueueMappingDetail{}, codec.DataVersion{}
	}
	return p.opts.Mappings.Snapshot()
}

// searchStatic answers SEARCH_OFFSET_BY_TIMESTAMP: the first stretch that has such a message says where.
func (p *Processor) searchStatic(req *remoting.Request, q *staticQueue, h *codec.SearchOffsetHeader, local func(queueID int32) int64) (*codec.Command, error) {
	found := int64(-1)
	for i := range q.items {
		item := &q.items[i]
		if item.LogicOffset < 0 {
			continue
		}
		physical, most := int64(0), int64(0)
		var err error
		if q.here(item) {
			physical, most = local(item.QueueID), p.store.MaxQueueOffset(h.Topic, item.QueueID)
		} else if physical, err = p.forwardForOffset(item, codec.SearchOffsetByTimestamp, "topic", h.Topic, "timestamp",
			strconv.FormatInt(h.TimestampMs, 10), "boundaryType", h.BoundaryType); err == nil {
			most, err = p.forwardForOffset(item, codec.GetMaxOffset, "topic", h.Topic)
		}
		if err != nil {
			return nil, err
		}
		if ended(item) {
			most = min(most, item.EndOffset)
		}
		if found = staticOffset(item, max(min(physical, most), 0)); physical < most {
			break
		}
	}
	return offsetResponse(req, found)
}

// maxStatic answers GET_MAX_OFFSET.
func (p *Processor) maxStatic(req *remoting.Request, q *staticQueue, topic string) (*codec.Command, error) {
	item := q.at(mostOffset)
	physical, err := p.physicalOf(q, item, codec.GetMaxOffset, topic, p.store.MaxQueueOffset)
	if err != nil {
		return nil, err
	}
	return offsetResponse(req, staticOffset(item, physical))
}

// minStatic answers GET_MIN_OFFSET.
func (p *Processor) minStatic(req *remoting.Request, q *staticQueue, topic string) (*codec.Command, error) {
	item := q.at(0)
	physical, err := p.physicalOf(q, item, codec.GetMinOffset, topic, p.store.MinQueueOffset)
	if err != nil {
		return nil, err
	}
	return offsetResponse(req, looseOffset(item, physical))
}

func (p *Processor) physicalOf(q *staticQueue, item *codec.LogicQueueMappingItem, code int32, topic string,
	local func(topic string, queueID int32) int64) (int64, error) {
	switch {
	case item == nil:
		return 0, refuse(codec.SystemError, "%s-%d has no queue whose beginning is decided", topic, q.globalID)
	case q.here(item):
		return local(topic, item.QueueID), nil
	}
	return p.forwardForOffset(item, code, "topic", topic)
}

// earliestStatic answers GET_EARLIEST_MSG_STORETIME for the first stretch.
func (p *Processor) earliestStatic(req *remoting.Request, q *staticQueue, topic string) (*codec.Command, error) {
	item := q.at(0)
	header := new(codec.GetEarliestMsgStoreTimeResponse)
	switch {
	case item == nil:
		header.TimestampMs = -1
	case q.here(item):
		header.TimestampMs = p.store.EarliestStoreTime(topic, item.QueueID)
	default:
		answer, err := p.forward(item, codec.GetEarliestMsgStoreTime, "topic", topic)
		if err != nil {
			return nil, err
		}
		if answer.Code != codec.Success {
			return nil, refuse(answer.Code, "%s", answer.Remark)
		}
		if err := codec.DecodeHeader(answer, header); err != nil {
			return nil, err
		}
	}
	resp := req.Response(codec.Success)
	resp.Header = header
	return resp, nil
}

// updateStatic stores an offset on the broker of its stretch, and reports whether the request has been answered by another one.
func (p *Processor) updateStatic(req *remoting.Request, q *staticQueue, h *codec.OffsetHeader) (*codec.Command, error) {
	item := q.at(h.QueueOffset)
	if item == nil {
		return nil, refuse(codec.SystemError, "%s-%d has no queue whose beginning is decided", h.Topic, q.globalID)
	}
	physical := physicalOffset(item, h.QueueOffset)
	if q.here(item) {
		h.QueueID, h.QueueOffset = item.QueueID, physical
		return nil, nil
	}
	if req.Inline() {
		return nil, remoting.ErrHandOver
	}
	answer, err := p.forward(item, codec.UpdateConsumerOffset, "consumerGroup", string(h.Group), "topic", string(h.Topic),
		"commitOffset", strconv.FormatInt(physical, 10))
	if err != nil {
		return nil, err
	}
	resp := req.Response(answer.Code)
	resp.Remark = answer.Remark
	return resp, nil
}

// queryStatic answers QUERY_CONSUMER_OFFSET: the newest stretch with an offset says where the group is.
func (p *Processor) queryStatic(req *remoting.Request, q *staticQueue, h *codec.OffsetHeader) (*codec.Command, error) {
	for i := len(q.items) - 1; i >= 0; i-- {
		item := &q.items[i]
		if item.LogicOffset < 0 {
			continue
		}
		physical, ok := int64(-1), false
		var err error
		switch {
		case q.here(item):
			physical, ok = p.offsets.Query(h.Group, h.Topic, item.QueueID)
		case req.Inline():
			return nil, remoting.ErrHandOver
		default:
			physical, err = p.forwardForOffset(item, codec.QueryConsumerOffset, "consumerGroup", string(h.Group), "topic", string(h.Topic),
				"setZeroIfNotFound", "false")
			ok = physical >= 0
		}
		if err != nil {
			return nil, err
		}
		if ok {
			return offsetResponse(req, staticOffset(item, physical))
		}
	}
	return nil, refuse(codec.QueryNotFound, "Not found, maybe this group consumer boot first")
}
