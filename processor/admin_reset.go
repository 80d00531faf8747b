package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// INVOKE_BROKER_TO_RESET_OFFSET 222; pushed: RESET_CONSUMER_CLIENT_OFFSET 220.
//
// Behavior:
// * With useServerSideResetOffset (the default) the new offsets wait for the queues' next pulls and nothing is pushed; commits
//   of the clients are ignored until then. This works for groups without members too.
// * Without it the members are told by 220 and seek by themselves. The group must have an offset in every queue and members.
//   To an administrator in C++ the list form of the body is answered, and pushed.
// * isForce moves an offset forward, too; without it offsets only go back. The server's side always does as if forced.
//
// Apache: AdminBrokerProcessor.resetOffset, Broker2Client.resetOffset.

// resetOffset answers INVOKE_BROKER_TO_RESET_OFFSET.
func (p *Processor) resetOffset(req *remoting.Request) (*codec.Command, error) {
	var h codec.ResetOffsetHeader
	if err := decodeHeader(req, &h, "topic", "group"); err != nil {
		return nil, err
	}
	p.log.Info("reset of offsets asked for", "topic", h.Topic, "group", h.Group, "queue", h.QueueID, "timestamp_ms", h.TimestampMs,
		"force", h.Force, "client", req.Conn.RemoteAddr())
	if p.live().ServerSideReset {
		return p.resetHere(req, &h)
	}
	return p.resetAtClients(req, &h)
}

// resetHere makes the new offsets the answers of the queues' next pulls.
func (p *Processor) resetHere(req *remoting.Request, h *codec.ResetOffsetHeader) (*codec.Command, error) {
	cfg, ok := p.topics.Get(h.Topic)
	if !ok {
		return nil, refuse(codec.TopicNotExist, "Topic %s does not exist", h.Topic)
	}
	if _, ok := p.groups.Get(h.Group); !ok {
		return nil, refuse(codec.SubscriptionGroupNotExist, "Group %s does not exist", h.Group)
	}
	offsets := make(map[int32]int64)
	if h.QueueID < 0 {
		for queueID := range cfg.ReadQueueNums {
			offsets[queueID] = p.resetTarget(h.Topic, queueID, h.TimestampMs)
		}
	} else if h.QueueOffset == nil || *h.QueueOffset == -1 {
		offsets[h.QueueID] = p.resetTarget(h.Topic, h.QueueID, h.TimestampMs)
	} else {
		least, most := p.store.MinQueueOffset(h.Topic, h.QueueID), p.store.MaxQueueOffset(h.Topic, h.QueueID)
		if target := *h.QueueOffset; target < least || target > most+1 {
			return nil, refuse(codec.SystemError, "Target offset %d not in consume queue range [%d-%d]", target, least, most)
		}
		offsets[h.QueueID] = *h.QueueOffset
	}
	if len(offsets) == 0 {
		return nil, refuse(codec.SystemError, "No queues to reset.")
	}
	body := codec.ResetOffsetBody{OffsetTable: make(map[codec.MessageQueue]int64)}
	for queueID, queueOffset := range offsets {
		if err := p.offsets.SetReset(h.Group, h.Topic, queueID, queueOffset); err != nil {
			return nil, err
		}
		body.OffsetTable[p.queueOf(h.Topic, queueID)] = queueOffset
	}
	p.log.Info("offsets wait to be reset", "topic", h.Topic, "group", h.Group, "offsets", offsets)
	return jsonResponse(req, body)
}

// resetTarget returns the offset of a time, the end of the queue for a negative one.
func (p *Processor) resetTarget(topic string, queueID int32, timestampMs int64) int64 {
	if timestampMs < 0 {
		return p.store.MaxQueueOffset(topic, queueID)
	}
	return p.store.QueueOffsetByTime(topic, queueID, timestampMs)
}

// resetAtClients tells the members to seek.
func (p *Processor) resetAtClients(req *remoting.Request, h *codec.ResetOffsetHeader) (*codec.Command, error) {
	cfg, ok := p.topics.Get(h.Topic)
	if !ok {
		return nil, refuse(codec.TopicNotExist, "[reset-offset] reset offset failed, no topic in this broker. topic=%s", h.Topic)
	}
	table := make(map[codec.MessageQueue]int64)
	for queueID := range cfg.WriteQueueNums {
		consumed, ok := p.offsets.Query([]byte(h.Group), []byte(h.Topic), queueID)
		if !ok {
			return nil, refuse(codec.SystemError, "THe consumer group <%s> not exist", h.Group)
		}
		target := max(p.resetTarget(h.Topic, queueID, h.TimestampMs), 0)
		if !h.Force {
			target = min(target, consumed)
		}
		table[p.queueOf(h.Topic, queueID)] = target
	}
	members := p.clients.Members(h.Group)
	if len(members) == 0 {
		return nil, refuse(codec.ConsumerNotOnline, "Consumer not online, so can not reset offset, Group: %s Topic: %s Timestamp: %d",
			h.Group, h.Topic, h.TimestampMs)
	}
	push, err := resetPush(h, table, req.Language == codec.LanguageCPP)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Version < v307 {
			return nil, refuse(codec.SystemError, "the client does not support this feature. version=%d", m.Version)
		}
		if err := m.Conn.Send(push); err != nil {
			p.log.Warn("push of new offsets is lost", "topic", h.Topic, "group", h.Group, "client", m.ID, "error", err)
		}
	}
	resp, err := jsonResponse(req, codec.ResetOffsetBody{OffsetTable: table})
	if err == nil {
		resp.Remark = unsetRemark
	}
	return resp, err
}

// resetPush makes the RESET_CONSUMER_CLIENT_OFFSET for the members.
func resetPush(h *codec.ResetOffsetHeader, table map[codec.MessageQueue]int64, asList bool) (*codec.Command, error) {
	var body any = codec.ResetOffsetBody{OffsetTable: table}
	if asList {
		list := make([]codec.MessageQueueForC, 0, len(table))
		for q, queueOffset := range table {
			list = append(list, codec.MessageQueueForC{BrokerName: q.BrokerName, Offset: queueOffset, QueueID: q.QueueID, Topic: q.Topic})
		}
		body = codec.ResetOffsetBodyForC{OffsetTable: list}
	}
	text, err := codec.MarshalJSON(body)
	return &codec.Command{
		Code: codec.ResetConsumerClientOffset, Version: codec.Version, Flag: codec.FlagOneway, Body: text,
		Header: &codec.ResetOffsetHeader{Group: h.Group, Topic: h.Topic, QueueID: -1, TimestampMs: h.TimestampMs},
	}, err
}
