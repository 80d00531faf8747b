package processor

import (
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// SEND_REPLY_MESSAGE 324, SEND_REPLY_MESSAGE_V2 325: the answer to a request message goes back to who asked.
//
// Behavior:
// * The checks are those of a send.
// * The reply is pushed with 326 to the producer whose client id is in REPLY_TO_CLIENT, and its answer is waited for.
// * With storeReplyMessageEnable the reply is stored too, whether the push went well or not; then the answer has the stored
//   message's id and offset instead of "0" and 0.
//
// Apache: ReplyMessageProcessor.

// pushReplyTimeout is how long the requester may take to answer the push.
const pushReplyTimeout = 10 * time.Second

// reply answers both reply requests. It waits for another machine, so it runs on a pool.
func (p *Processor) reply(req *remoting.Request) (*codec.Command, error) {
	live := p.live()
	var h codec.SendHeader
	if err := codec.ParseSendHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if len(req.Body) == 0 {
		return nil, missing("body")
	}
	topic, err := p.topicToSend(req, &h, store.NameOfBytes(h.Topic), live)
	if err != nil {
		return nil, withRegion(err, live)
	}
	if h.QueueID < 0 {
		if topic.WriteQueueNums <= 0 {
			return nil, refuse(codec.SystemError, "topic[%s] has no queue to write to", topic.TopicName)
		}
		h.QueueID = p.opts.Random(topic.WriteQueueNums)
	}
	var props sentProps
	text := codec.AppendPropertiesWithout(nil, h.Properties, codec.PropMsgRegion, codec.PropTraceOn)
	text = append(text, live.addedToReply...)
	props.scan(text)

	resp := req.Response(codec.Success)
	head := &codec.SendResponse{QueueID: h.QueueID, RegionID: live.refusal.RegionID, TraceOn: live.refusal.TraceOn}
	resp.Header = head
	if remark := p.pushReply(req, &h, &props, text); remark != "" {
		resp.Code, resp.Remark = codec.SystemError, remark
	} else {
		head.MsgID = []byte("0")
	}
	if live.StoreReply {
		p.storeReply(req, topic, &h, text, head)
	}
	return resp, nil
}

// pushReply sends the reply to who asked and returns the remark of the answer when that failed.
func (p *Processor) pushReply(req *remoting.Request, h *codec.SendHeader, props *sentProps, text []byte) (remark string) {
	client := string(props.replyTo)
	if client == "" {
		return "reply message properties[" + codec.PropReplyToClient + "] is null"
	}
	conn := p.clients.ProducerConn(client)
	if conn == nil {
		p.log.Warn("nobody to push a reply to", "client", client, "topic", string(h.Topic))
		return "push reply message fail, channel of <" + client + "> not found."
	}
	nowMs := p.opts.Now().UnixMilli()
	text = append(codec.AppendProperty(nil, codec.PropPushReplyTime, strconv.FormatInt(nowMs, 10)), text...)
	push := codec.Command{
		Code: codec.PushReplyMessageToClient, Language: codec.LanguageJava, Version: codec.Version, Body: req.Body,
		Header: &codec.ReplyMessageHeader{
			ProducerGroup: string(h.Group), Topic: string(h.Topic), DefaultTopic: string(h.DefaultTopic),
			DefaultTopicQueueNums: h.DefaultTopicQueueNums, QueueID: h.QueueID, SysFlag: h.SysFlag, BornTimestampMs: h.BornTimestampMs,
			Flag: h.Flag, Properties: string(text), ReconsumeTimes: &h.ReconsumeTimes, UnitMode: h.UnitMode,
			BornHost: req.Conn.RemoteAddr().String(), StoreHost: p.opts.StoreHost.String(), StoreTimestampMs: nowMs,
		},
	}
	answer, err := conn.Call(&push, pushReplyTimeout)
	if err == nil && answer.Code == codec.Success {
		return ""
	}
	if err == nil {
		err = &codec.Refusal{Code: answer.Code, Remark: answer.Remark}
	}
	p.log.Warn("push a reply", "client", client, "topic", string(h.Topic), "error", err)
	return "push reply message to " + client + "fail."
}

// storeReply keeps the reply in its topic. A failure changes nothing of the answer, as in Java.
func (p *Processor) storeReply(req *remoting.Request, topic *codec.TopicConfig, h *codec.SendHeader, text []byte, head *codec.SendResponse) {
	m := store.Message{
		Topic: topic.TopicName, QueueID: h.QueueID, Flag: h.Flag, ReconsumeTimes: h.ReconsumeTimes, BornTimestampMs: h.BornTimestampMs,
		BornHost: req.Conn.RemoteAddr(), Body: req.Body, Properties: text,
	}
	var put store.PutResult
	if err := p.store.PutWait(&m, &put); err != nil {
		p.log.Warn("store a reply", "topic", topic.TopicName, "queue", h.QueueID, "error", err)
		return
	}
	p.stats.put(m.Topic, KindNormal, 1, put.EndOffset-put.PhysOffset)
	head.MsgID = codec.AppendOffsetMsgID(nil, p.opts.StoreHost, put.PhysOffset)
	head.QueueOffset = put.QueueOffset
}
