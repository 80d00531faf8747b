package processor

import (
	"errors"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// RECALL_MESSAGE 370: takes a timer message back by the recallHandle of the answer to its send.
//
// Behavior:
// * Off unless recallMessageEnable=true.
// * What is stored is a message for the same slot that names the unique key; the timer drops the other one when it meets it. So
//   a message that is taken back twice, or was never there, is answered like any other.
// * A handle is good until the slot of its message begins.
//
// Apache: RecallMessageProcessor.

const recallTag = "_RECALL_TAG_"

// recall answers RECALL_MESSAGE.
func (p *Processor) recall(req *remoting.Request) (*codec.Command, error) {
	live := p.live()
	id, err := p.recallOne(req, live)
	if err != nil {
		if r, ok := err.(*codec.Refusal); ok {
			r.Header = &codec.RecallMessageResponse{RegionID: live.RegionID}
		}
		return nil, err
	}
	resp := req.Response(codec.Success)
	resp.Remark = "not set any response code" // as Java's
	resp.Header = &codec.RecallMessageResponse{MsgID: id, RegionID: live.RegionID}
	return resp, nil
}

// recallOne checks a recall and stores it.
func (p *Processor) recallOne(req *remoting.Request, live *liveSettings) (uniqKey string, err error) {
	var h codec.RecallMessageHeader
	if err := decodeHeader(req, &h, "topic", "recallHandle"); err != nil {
		return "", err
	}
	handle, err := p.recallable(&h, live)
	if err != nil {
		return "", err
	}
	m := p.recallMessage(req, &h, &handle, live)
	var props sentProps
	props.scan(m.Properties)
	if _, err := p.time(m, &props); err != nil {
		return "", recallFailed()
	}
	var put store.PutResult
	if err := p.putMessage(req, m, &put); errors.Is(err, remoting.ErrHandOver) {
		return "", err
	} else if err != nil {
		p.log.Error("store a recall", "topic", h.Topic, "error", err)
		return "", recallFailed()
	}
	p.stats.put(m.Topic, KindDelay, 1, put.EndOffset-put.PhysOffset)
	return handle.MessageID, nil
}

func recallFailed() error { return refuse(codec.SystemError, "recall failed, execute error") }

// recallable returns the handle of a request if the broker takes it.
func (p *Processor) recallable(h *codec.RecallMessageHeader, live *liveSettings) (handle codec.RecallHandle, err error) {
	now := p.opts.Now()
	switch {
	case !live.Recall:
		return handle, refuse(codec.NoPermission, "recall failed, operation is forbidden")
	case !live.AcceptSendsFrom.IsZero() && now.Before(live.AcceptSendsFrom), live.Permission&codec.PermWrite == 0 && !live.RecallUnwritable:
		return handle, refuse(codec.ServiceNotAvailable, "recall failed, broker service not available")
	}
	if _, ok := p.topics.Get(h.Topic); !ok {
		return handle, refuse(codec.TopicNotExist, "recall failed, the topic[%s] not exist", h.Topic)
	}
	if handle, err = codec.ParseRecallHandle(h.RecallHandle); err != nil {
		return handle, refuse(codec.IllegalOperation, "%v", err)
	}
	atMs, err := strconv.ParseInt(handle.TimestampMs, 10, 64)
	if err != nil {
		atMs = -1
	}
	left := atMs - now.UnixMilli()
	switch {
	case handle.Topic != h.Topic:
		return handle, refuse(codec.IllegalOperation, "recall failed, topic not match")
	case handle.BrokerName != live.BrokerName:
		return handle, refuse(codec.IllegalOperation, "recall failed, broker service not available")
	case left <= 0 || left >= live.TimerMaxDelay.Milliseconds():
		return handle, refuse(codec.IllegalOperation, "recall failed, timestamp invalid")
	}
	return handle, nil
}

// recallMessage is what takes another message back. Apache: RecallMessageProcessor.buildMessage.
func (p *Processor) recallMessage(req *remoting.Request, h *codec.RecallMessageHeader, handle *codec.RecallHandle, live *liveSettings) *store.Message {
	nowMs, key := p.opts.Now().UnixMilli(), handle.MessageID
	if live.RecallByTopic {
		key = handle.Topic + "+" + key
	}
	props := codec.AppendProperty(nil, codec.PropTags, recallTag)
	props = codec.AppendProperty(props, codec.PropTimerDelUniqKey, key)
	props = codec.AppendProperty(props, codec.PropUniqKey, handle.MessageID)
	props = codec.AppendProperty(props, codec.PropTimerDeliverMs, handle.TimestampMs)
	props = codec.AppendProperty(props, codec.PropBornTimestamp, strconv.FormatInt(nowMs, 10))
	if h.ProducerGroup != "" {
		props = codec.AppendProperty(props, codec.PropProducerGroup, h.ProducerGroup)
	}
	return &store.Message{
		Topic: handle.Topic, BornTimestampMs: nowMs, BornHost: req.Conn.RemoteAddr(), Body: []byte("0"), Properties: props,
		TagsCode: codec.TagsCode([]byte(recallTag)),
	}
}
