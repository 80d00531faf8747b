package processor

import (
	"errors"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// GET_CONSUMER_CONNECTION_LIST 203, GET_PRODUCER_CONNECTION_LIST 204, GET_ALL_PRODUCER_INFO 328, QUERY_SUBSCRIPTION_BY_CONSUMER
// 345; passed on to a client: GET_CONSUMER_RUNNING_INFO 307, CONSUME_MESSAGE_DIRECTLY 309, and by way of 221
// INVOKE_BROKER_TO_GET_CONSUMER_STATUS 223.
//
// Behavior:
// * 307 and 309 go to the client with all fields they came with, and its answer back as it is. A client that does not answer
//   in 10 s is 207, one that is not there 1.
// * 309 gets the record of msgId as its body, and the flags of topic and group.
// * 223 asks one client, or all of the group one after the other, for what each has consumed.
//
// Apache: AdminBrokerProcessor.callConsumer, Broker2Client.

const (
	callTimeout   = 10 * time.Second
	statusTimeout = 5 * time.Second
	// statusTimeoutAll bounds the time that 223 takes for all members.
	statusTimeoutAll = 20 * time.Second

	// v307 is V3_0_7_SNAPSHOT, v318 V3_1_8_SNAPSHOT: older clients do not know the pushes.
	v307 = 28
	v318 = 62
)

// connectionsOf lists clients as administration sees them.
func connectionsOf(clients []Client) []codec.Connection {
	list := make([]codec.Connection, len(clients))
	for i, m := range clients {
		list[i] = codec.Connection{ClientAddr: m.Conn.RemoteAddr().String(), ClientID: m.ID, Language: m.Language.String(), Version: m.Version}
	}
	return list
}

// consumerConnections answers GET_CONSUMER_CONNECTION_LIST.
func (p *Processor) consumerConnections(req *remoting.Request) (*codec.Command, error) {
	name, _ := req.Field("consumerGroup")
	group := p.clients.ConsumerGroup(name)
	if group == nil {
		return nil, refuse(codec.ConsumerNotOnline, "the consumer group[%s] not online", javaText(name))
	}
	body := codec.ConsumerConnection{
		ConnectionSet: connectionsOf(p.clients.Members(group.Name)), ConsumeFromWhere: group.From, ConsumeType: group.Type,
		MessageModel: group.Model, SubscriptionTable: make(map[string]codec.SubscriptionData, len(group.subscriptions)),
	}
	for topic, sub := range group.subscriptions {
		body.SubscriptionTable[topic] = sub.Data
	}
	return jsonResponse(req, body)
}

// producerConnections answers GET_PRODUCER_CONNECTION_LIST.
func (p *Processor) producerConnections(req *remoting.Request) (*codec.Command, error) {
	name, _ := req.Field("producerGroup")
	clients := p.clients.Producers(string(name))
	if len(clients) == 0 {
		return nil, refuse(codec.SystemError, "the producer group[%s] not exist", javaText(name))
	}
	return jsonResponse(req, codec.ProducerConnection{ConnectionSet: connectionsOf(clients)})
}

// allProducers answers GET_ALL_PRODUCER_INFO.
func (p *Processor) allProducers(req *remoting.Request) (*codec.Command, error) {
	table := codec.ProducerTable{Data: make(map[string][]codec.ProducerInfo)}
	for group, clients := range p.clients.AllProducers() {
		for _, m := range clients {
			table.Data[group] = append(table.Data[group], codec.ProducerInfo{
				ClientID: m.ID, Language: m.Language.String(), LastUpdateTimestampMs: m.Seen.UnixMilli(),
				RemoteIP: "/" + m.Conn.RemoteAddr().String(), Version: m.Version,
			})
		}
	}
	return jsonResponse(req, table)
}

// subscriptionOf answers QUERY_SUBSCRIPTION_BY_CONSUMER; without members there is no subscription.
func (p *Processor) subscriptionOf(req *remoting.Request) (*codec.Command, error) {
	var h codec.QuerySubscriptionByConsumerHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	body := codec.QuerySubscriptionBody{Group: h.Group, Topic: h.Topic}
	if group := p.clients.ConsumerGroup([]byte(h.Group)); group != nil {
		if sub := group.Subscription([]byte(h.Topic)); sub != nil {
			body.SubscriptionData = &sub.Data
		}
	}
	return jsonResponse(req, body)
}

// runningInfo answers GET_CONSUMER_RUNNING_INFO with what the client says.
func (p *Processor) runningInfo(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetConsumerRunningInfoHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	return p.callConsumer(req, h.ConsumerGroup, h.ClientID, nil, req.Body)
}

// consumeDirectly answers CONSUME_MESSAGE_DIRECTLY with what the client says.
func (p *Processor) consumeDirectly(req *remoting.Request) (*codec.Command, error) {
	var h codec.ConsumeMessageDirectlyHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	_, physOffset, err := codec.ParseOffsetMsgID(h.MsgID)
	if err != nil {
		return nil, err
	}
	record, err := p.store.MessageAt(physOffset)
	if err != nil {
		return nil, err
	}
	added := []codec.Field{{Key: "brokerName", Value: p.live().BrokerName}}
	if topic, ok := p.topics.Get(h.Topic); ok {
		added = append(added, codec.Field{Key: "topicSysFlag", Value: strconv.Itoa(int(topic.TopicSysFlag))})
	}
	if group, ok := p.groups.Find([]byte(h.ConsumerGroup)); ok {
		added = append(added, codec.Field{Key: "groupSysFlag", Value: strconv.Itoa(int(group.GroupSysFlag))})
	}
	return p.callConsumer(req, h.ConsumerGroup, h.ClientID, added, record)
}

// callConsumer sends a request on to a member of a group and answers with its answer. added replaces fields of the request.
func (p *Processor) callConsumer(req *remoting.Request, group, clientID string, added []codec.Field, body []byte) (*codec.Command, error) {
	member, ok := p.clients.Member(group, clientID)
	if !ok {
		return nil, refuse(codec.SystemError, "The Consumer <%s> <%s> not online", group, clientID)
	}
	if member.Version < v318 {
		return nil, refuse(codec.SystemError, "The Consumer <%s> Version <%d> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
			clientID, member.Version)
	}
	call := &codec.Command{Code: req.Code, Version: codec.Version, Extra: added, Body: body}
	call.Extra = appendMissing(call.Extra, &req.Command)
	answer, err := member.Conn.Call(call, callTimeout)
	switch {
	case errors.Is(err, remoting.ErrTimeout):
		return nil, refuse(codec.ConsumeMsgTimeout, "consumer <%s> <%s> Timeout: %v", group, clientID, err)
	case err != nil:
		return nil, refuse(codec.SystemError, "invoke consumer <%s> <%s> Exception: %v", group, clientID, err)
	}
	resp := req.Response(answer.Code)
	resp.Remark, resp.Body = answer.Remark, answer.Body
	resp.Extra = appendMissing(resp.Extra, answer)
	return resp, nil
}

// appendMissing appends the fields of a parsed command whose keys are not in list.
func appendMissing(list []codec.Field, c *codec.Command) []codec.Field {
	known := make(map[string]bool, len(list))
	for _, f := range list {
		known[f.Key] = true
	}
	for it := c.Fields(); it.Next(); {
		if key := string(it.Key); !known[key] {
			list = append(list, codec.Field{Key: key, Value: string(it.Value)})
		}
	}
	return list
}

// consumerStatus answers INVOKE_BROKER_TO_GET_CONSUMER_STATUS: offsets as the clients know them.
func (p *Processor) consumerStatus(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetConsumerStatusHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	members := p.clients.Members(h.Group)
	if len(members) == 0 {
		return nil, refuse(codec.SystemError, "No Any Consumer online in the consumer group: [%s]", h.Group)
	}
	body := codec.ConsumerStatusBody{ConsumerTable: make(map[string]map[codec.MessageQueue]int64), MessageQueueTable: map[codec.MessageQueue]int64{}}
	ask := &codec.Command{Code: codec.GetConsumerStatusFromClient, Version: codec.Version,
		Header: &codec.GetConsumerStatusHeader{Topic: h.Topic, Group: h.Group}}
	deadline := p.opts.Now().Add(statusTimeoutAll)
	for _, m := range members {
		if h.ClientAddr != "" && h.ClientAddr != m.ID {
			continue
		}
		if m.Version < v307 {
			return nil, refuse(codec.SystemError, "the client does not support this feature. version=%d", m.Version)
		}
		if p.opts.Now().After(deadline) {
			p.log.Warn("no time left to ask all members for their offsets", "topic", h.Topic, "group", h.Group, "members", len(members))
			break
		}
		if table, err := p.askStatus(m, ask); err != nil {
			p.log.Warn("ask a member for its offsets", "topic", h.Topic, "group", h.Group, "client", m.ID, "error", err)
		} else if table != nil {
			body.ConsumerTable[m.ID] = table
		}
	}
	resp, err := jsonResponse(req, body)
	if err == nil {
		resp.Remark = unsetRemark
	}
	return resp, err
}

// askStatus asks one client for its offsets, nil when it has nothing to say.
func (p *Processor) askStatus(m Client, ask *codec.Command) (map[codec.MessageQueue]int64, error) {
	answer, err := m.Conn.Call(ask, statusTimeout)
	if err != nil || answer.Code != codec.Success || len(answer.Body) == 0 {
		return nil, err
	}
	var status codec.ConsumerStatusBody
	err = codec.UnmarshalJSON(answer.Body, &status)
	return status.MessageQueueTable, err
}
