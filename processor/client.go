package processor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// HEART_BEAT 34, UNREGISTER_CLIENT 35, CHECK_CLIENT_CONFIG 46, GET_CONSUMER_LIST_BY_GROUP 38; pushed: 40 (notify.go).
//
// Behavior:
// * A heartbeat registers the groups of a client under its connection. Consumer groups and their %RETRY% topics are created.
// * The answer says IS_SUPPORT_HEART_BEAT_V2=true. To the first form (fingerprint 0) IS_SUB_CHANGE is "true", to the second
//   one it tells whether the group's last fingerprint was another; a client that hears "true" sends all next time. Other than
//   in Java a heartbeat without subscriptions for a group that has none (the broker was restarted) hears "true", too.
// * The Go client never unregisters, the closing of its connection does.
// * Leaving releases the queue locks of the client, since it has stopped consuming by then.
// * SQL92 expressions are compiled when a heartbeat brings them; pulls of one that is wrong are refused, 27. 46 tells of it before.
//
// Left out: the batched notification of realTimeNotifyConsumerChange=false.
//
// Apache: ClientManageProcessor, ConsumerManageProcessor.

const (
	// maxInlineHeartbeatBytes bounds the bodies that are read on an event loop.
	maxInlineHeartbeatBytes = 32 << 10

	supportsV2 = "IS_SUPPORT_HEART_BEAT_V2"
	subChanged = "IS_SUB_CHANGE"
)

// errSilent is the reason of closing a connection whose clients are gone.
var errSilent = errors.New("no heartbeat for too long")

// heartbeat answers HEART_BEAT. On an event loop it hands over what has to create a topic.
func (p *Processor) heartbeat(req *remoting.Request) (*codec.Command, error) {
	if req.Inline() && len(req.Body) > maxInlineHeartbeatBytes {
		return nil, remoting.ErrHandOver
	}
	var data codec.HeartbeatData
	if err := decodeBody(req, &data); err != nil {
		return nil, err
	}
	if data.ClientID == "" {
		return nil, missing("clientID")
	}
	from := Client{Conn: req.Conn, ID: data.ClientID, Language: req.Language, Version: req.Version}
	if p.createsRetryTopic(&data) {
		if req.Inline() {
			return nil, remoting.ErrHandOver
		}
		if p.newcomers.join(req, from, &data) {
			return nil, nil
		}
	}
	return p.beat(req.Response(codec.Success), from, &data)
}

// beat registers who a heartbeat is of and fills the answer.
func (p *Processor) beat(resp *codec.Command, from Client, data *codec.HeartbeatData) (*codec.Command, error) {
	changed := data.HeartbeatFingerprint == 0
	for i := range data.ConsumerDataSet {
		other, err := p.heartbeatOfGroup(from, data, &data.ConsumerDataSet[i])
		if err != nil {
			return nil, err
		}
		changed = changed || other
	}
	for _, producer := range data.ProducerDataSet {
		if err := p.clients.RegisterProducer(from, producer.GroupName, p.opts.Now()); err != nil {
			return nil, err
		}
	}
	resp.Extra = append(resp.Extra, codec.Field{Key: supportsV2, Value: "true"}, codec.Field{Key: subChanged, Value: fmt.Sprint(changed)})
	return resp, nil
}

// heartbeatOfGroup registers one consumer group of a heartbeat, and reports whether the client should send its subscriptions.
func (p *Processor) heartbeatOfGroup(from Client, data *codec.HeartbeatData, group *codec.ConsumerData) (changed bool, err error) {
	if _, ok := p.acceptsGroup(group); !ok {
		return false, nil
	}
	withSubs := data.HeartbeatFingerprint == 0 || !data.WithoutSub
	before, known := p.clients.Fingerprint(group.GroupName, data.HeartbeatFingerprint)
	if _, err := p.clients.RegisterConsumer(from, group, withSubs, p.opts.Now()); err != nil {
		return false, err
	}
	if withSubs {
		p.opts.Filters.Register(group.GroupName, group.SubscriptionDataSet)
	}
	if !known {
		p.clients.Fingerprint(group.GroupName, data.HeartbeatFingerprint)
		return !withSubs, nil
	}
	return before != data.HeartbeatFingerprint, nil
}

// acceptsGroup returns the group's configuration, which may be made here, unless its heartbeat counts for nothing.
func (p *Processor) acceptsGroup(group *codec.ConsumerData) (*codec.SubscriptionGroupConfig, bool) {
	if p.live().RejectPullConsumer && group.ConsumeType == codec.ConsumeActively {
		return nil, false
	}
	return p.groups.Find([]byte(group.GroupName))
}

// createsRetryTopic reports whether a heartbeat may have to create or change retry topics, which waits for the disk.
func (p *Processor) createsRetryTopic(data *codec.HeartbeatData) bool {
	for i := range data.ConsumerDataSet {
		if p.lacksRetryTopic(&data.ConsumerDataSet[i]) {
			return true
		}
	}
	return false
}

func (p *Processor) lacksRetryTopic(group *codec.ConsumerData) bool {
	topic, ok := p.topics.Get(store.RetryTopic(group.GroupName))
	return !ok || topic.Order != p.wantsOrder(group)
}

// wantsOrder reports whether a group has subscribed to an order topic.
func (p *Processor) wantsOrder(group *codec.ConsumerData) bool {
	for i := range group.SubscriptionDataSet {
		if topic, ok := p.topics.Get(group.SubscriptionDataSet[i].Topic); ok && topic.Order {
			return true
		}
	}
	return false
}

// unregisterClient answers UNREGISTER_CLIENT, always with success.
func (p *Processor) unregisterClient(req *remoting.Request) (*codec.Command, error) {
	var h codec.UnregisterClientHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if h.ProducerGroup != "" {
		p.clients.UnregisterProducer(req.Conn, h.ProducerGroup)
	}
	if h.ConsumerGroup != "" && p.clients.UnregisterConsumer(req.Conn, h.ConsumerGroup) {
		p.locks.Release(h.ConsumerGroup, h.ClientID)
	}
	return req.Response(codec.Success), nil
}

// checkClientConfig answers CHECK_CLIENT_CONFIG, with which a Java consumer asks whether its expressions are understood.
func (p *Processor) checkClientConfig(req *remoting.Request) (*codec.Command, error) {
	if len(req.Body) == 0 {
		return req.Response(codec.Success), nil
	}
	var body codec.CheckClientRequest
	if err := decodeBody(req, &body); err != nil {
		return nil, err
	}
	sub := body.SubscriptionData
	if sub == nil || sub.ExpressionType == "" || sub.ExpressionType == codec.ExpressionTag {
		return req.Response(codec.Success), nil
	}
	if !p.live().PropertyFilter {
		return nil, filterUnsupported(sub.ExpressionType)
	}
	if err := store.CheckExpression(sub.ExpressionType, sub.SubString); err != nil {
		return nil, refuse(codec.SubscriptionParseFailed, "%s", err)
	}
	return req.Response(codec.Success), nil
}

// consumerList answers GET_CONSUMER_LIST_BY_GROUP.
func (p *Processor) consumerList(req *remoting.Request) (*codec.Command, error) {
	group, ok := req.Field("consumerGroup")
	if !ok {
		return nil, missing("consumerGroup")
	}
	body, err := p.clients.IDList(group)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return nil, refuse(codec.SystemError, "no consumer for this group, %s", group)
	}
	resp := req.Response(codec.Success)
	resp.Body = body
	return resp, nil
}

// TickClients removes clients that have been silent for too long, forgets expired queue locks and takes a sample for the
// statistics. Call it every 10 s.
func (p *Processor) TickClients(now time.Time) {
	for _, conn := range p.clients.Expire(now.Add(-p.live().ChannelExpired)) {
		conn.Close(errSilent)
	}
	p.locks.Sweep(now)
	p.clients.notifier.kick()
	if p.stats.sample(now) {
		p.stats.traffic.forget(p.topicCounts, p.groupCounts)
	}
}

// topicCounts and groupCounts report whether the traffic of a name is to be kept.
func (p *Processor) topicCounts(name string) bool {
	_, ok := p.topics.Get(name)
	return ok || strings.HasPrefix(name, lmqPrefix)
}

func (p *Processor) groupCounts(name string) bool {
	_, ok := p.groups.Get(name)
	return ok || store.IsSystemGroup(name)
}

// decodeBody reads a request's JSON body.
func decodeBody(req *remoting.Request, v any) error {
	if len(req.Body) == 0 {
		return missing("body")
	}
	if err := codec.UnmarshalJSON(req.Body, v); err != nil {
		return fmt.Errorf("read the request's body: %w", err)
	}
	return nil
}

// jsonResponse answers with success and v in Java's JSON.
func jsonResponse(req *remoting.Request, v any) (*codec.Command, error) {
	body, err := codec.MarshalJSON(v)
	if err != nil {
		return nil, fmt.Errorf("write the answer's body: %w", err)
	}
	resp := req.Response(codec.Success)
	resp.Body = body
	return resp, nil
}
