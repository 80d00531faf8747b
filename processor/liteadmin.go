package processor

import (
	"cmp"
	"slices"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// GET_BROKER_LITE_INFO 200074, GET_PARENT_TOPIC_INFO 200075, GET_LITE_TOPIC_INFO 200076, GET_LITE_CLIENT_INFO 200077,
// GET_LITE_GROUP_INFO 200078, TRIGGER_LITE_DISPATCH 200079: what mqadmin shows of lite topics.
//
// Behavior:
// * 200078 walks over the group's offsets; which lite topics have waited longest is told with liteLagLatencyCollectEnable only, of all
//   of them, where Java knows those of which a pop left something behind.
// * 200079 makes ready what has messages the clients have not had.
//
// Apache: LiteManagerProcessor, LiteConsumerLagCalculator.

// maxLiteList bounds the lite topics of a client, or by lag, in one answer. Apache: LiteManagerProcessor.MAX_RETURN_COUNT.
const maxLiteList = 10_000

// brokerLiteInfo answers GET_BROKER_LITE_INFO.
func (p *Processor) brokerLiteInfo(req *remoting.Request) (*codec.Command, error) {
	lmqs, most := p.store.LMQs()
	l := p.lites
	l.mu.RLock()
	active, clients := l.active, len(l.clients)
	l.mu.RUnlock()
	return jsonResponse(req, &codec.BrokerLiteInfo{
		StoreType: "default", MaxLMQNum: int32(most), CurrentLMQNum: int32(lmqs), LiteSubscriptionCount: int32(active), OrderInfoCount: int32(l.flights.Load()),
		CQTableSize: int32(p.store.Queues()), OffsetTableSize: int32(p.offsets.Entries()), EventMapSize: int32(clients),
		TopicMeta: p.liteTTLs(), GroupMeta: p.liteGroups(),
	})
}

// liteParent returns a parent topic, or refuses.
func (p *Processor) liteParent(name string) (*codec.TopicConfig, error) {
	cfg, ok := p.topics.Get(name)
	switch {
	case !ok:
		return nil, refuse(codec.TopicNotExist, "Topic [%s] not exist.", name)
	case !isLite(cfg):
		return nil, refuse(codec.InvalidParameter, "Topic [%s] type not match.", name)
	}
	return cfg, nil
}

// parentTopicInfo answers GET_PARENT_TOPIC_INFO.
func (p *Processor) parentTopicInfo(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetParentTopicInfoHeader
	if err := decodeHeader(req, &h, "topic"); err != nil {
		return nil, err
	}
	cfg, err := p.liteParent(h.Topic)
	if err != nil {
		return nil, err
	}
	lmqs, _ := p.store.LMQs()
	info := &codec.ParentTopicInfo{Topic: h.Topic, TTL: liteTTL(cfg), LMQNum: int32(lmqs), Groups: p.liteGroups()[h.Topic]}
	p.store.EachLiteQueue(h.Topic, func(string, int64) bool {
		info.LiteTopicCount++
		return true
	})
	return jsonResponse(req, info)
}

// liteTopicInfo answers GET_LITE_TOPIC_INFO.
func (p *Processor) liteTopicInfo(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetLiteTopicInfoHeader
	if err := decodeHeader(req, &h, "parentTopic"); err != nil {
		return nil, err
	}
	if _, err := p.liteParent(h.ParentTopic); err != nil {
		return nil, err
	}
	info := &codec.LiteTopicInfo{ParentTopic: h.ParentTopic, LiteTopic: h.LiteTopic, Subscriber: []codec.LiteSubscriber{}}
	name := store.LiteQueue(h.ParentTopic, h.LiteTopic)
	if end := p.store.MaxQueueOffset(name, 0); end > 0 {
		info.TopicOffset = codec.TopicOffset{MinOffset: max(p.store.MinQueueOffset(name, 0), 0), MaxOffset: end,
			LastUpdateTimestampMs: p.store.StoreTimeAt(name, 0, end-1)}
	}
	info.Subscriber = p.lites.subscribers(info.Subscriber, name, h.ParentTopic)
	info.ShardingToBroker = p.lites.sharding(h.ParentTopic)(h.LiteTopic)
	return jsonResponse(req, info)
}

// subscribers lists who subscribes to a lite topic.
func (l *lites) subscribers(list []codec.LiteSubscriber, name, parent string) []codec.LiteSubscriber {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if t := l.topics[name]; t != nil {
		for _, g := range t.groups {
			for _, s := range g.subs {
				list = append(list, codec.LiteSubscriber{ClientID: s.client.id, Group: g.name})
			}
		}
	}
	for group := range l.wild[parent] {
		list = append(list, codec.LiteSubscriber{ClientID: "*", Group: group})
	}
	return list
}

// liteClientInfo answers GET_LITE_CLIENT_INFO.
func (p *Processor) liteClientInfo(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetLiteClientInfoHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if _, err := p.liteParent(h.ParentTopic); err != nil {
		return nil, err
	}
	group, ok := p.groups.Find([]byte(h.Group))
	switch {
	case !ok:
		return nil, refuse(codec.SubscriptionGroupNotExist, "Group [%s] not exist.", h.Group)
	case liteBound(group) != h.ParentTopic:
		return nil, refuse(codec.InvalidParameter, "Subscription [%s]-[%s] not match.", h.Group, h.ParentTopic)
	}
	info := &codec.LiteClientInfo{ParentTopic: h.ParentTopic, Group: h.Group, ClientID: h.ClientID, LiteTopicCount: -1, LastAccessTimeMs: -1}
	p.lites.describe(info, int(min(max(h.MaxCount, 0), maxLiteList)))
	return jsonResponse(req, info)
}

// describe fills in what is known of a client.
func (l *lites) describe(info *codec.LiteClientInfo, most int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	c := l.clients[info.ClientID]
	if c == nil {
		return
	}
	info.LastAccessTimeMs, info.LastConsumeTimeMs = c.usedMs.Load(), c.consumedMs.Load()
	if !c.named {
		return
	}
	info.LiteTopicCount, info.LiteTopicSet = int32(len(c.subs)), []string{}
	for name := range c.subs {
		if len(info.LiteTopicSet) >= most {
			break
		}
		info.LiteTopicSet = append(info.LiteTopicSet, name)
	}
	slices.Sort(info.LiteTopicSet)
	if c.wild != nil {
		info.LiteTopicCount, info.LiteTopicSet = 1, []string{c.parent + "@" + c.group}
	}
}

// liteGroup returns a group that is bound to a parent topic, or refuses.
func (p *Processor) liteGroup(name string) (*codec.SubscriptionGroupConfig, error) {
	group, ok := p.groups.Find([]byte(name))
	switch {
	case !ok:
		return nil, refuse(codec.SubscriptionGroupNotExist, "Group [%s] not exist.", name)
	case liteBound(group) == "":
		return nil, refuse(codec.InvalidParameter, "Group [%s] is not a LITE group.", name)
	}
	return group, nil
}

// liteGroupInfo answers GET_LITE_GROUP_INFO.
func (p *Processor) liteGroupInfo(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetLiteGroupInfoHeader
	if err := decodeHeader(req, &h, "group"); err != nil {
		return nil, err
	}
	group, err := p.liteGroup(h.Group)
	if err != nil {
		return nil, err
	}
	info := &codec.LiteGroupInfo{Group: h.Group, ParentTopic: liteBound(group), LiteTopic: h.LiteTopic, EarliestUnconsumedMs: -1}
	if h.LiteTopic == "" {
		p.lagsOf(info, int(min(max(h.TopK, 0), maxLiteList)))
	} else {
		p.lagIn(info, store.LiteQueue(info.ParentTopic, h.LiteTopic))
	}
	resp, err := jsonResponse(req, info)
	if err == nil {
		resp.Remark = unsetRemark
	}
	return resp, err
}

// lagIn tells how far a group is behind in one lite topic.
func (p *Processor) lagIn(info *codec.LiteGroupInfo, name string) {
	end := p.store.MaxQueueOffset(name, 0)
	if end <= 0 {
		info.TotalLagCount = -1
		return
	}
	committed, ok := p.offsets.Query([]byte(info.Group), []byte(name), 0)
	if !ok || committed < 0 {
		return
	}
	info.TotalLagCount, info.EarliestUnconsumedMs = end-committed, p.store.StoreTimeAt(name, 0, committed)
	info.Offset = &codec.OffsetWrapper{BrokerOffset: end, ConsumerOffset: committed}
	if committed > 0 {
		info.Offset.LastTimestampMs = p.store.StoreTimeAt(name, 0, committed-1)
	}
}

// liteLag is a lite topic in which a group is behind.
type liteLag struct {
	name      string
	committed int64
	lag       int64
}

// lagsOf tells in which lite topics a group is behind most.
func (p *Processor) lagsOf(info *codec.LiteGroupInfo, topK int) {
	var behind []liteLag
	p.offsets.EachLite(info.Group, func(_, name string, committed int64) {
		behind = append(behind, liteLag{name: name, committed: committed})
	})
	behind = slices.DeleteFunc(behind, func(b liteLag) bool {
		return p.store.MaxQueueOffset(b.name, 0) <= b.committed
	})
	for i := range behind {
		behind[i].lag = p.store.MaxQueueOffset(behind[i].name, 0) - behind[i].committed
		info.TotalLagCount += behind[i].lag
	}
	describe := func(b liteLag) codec.LiteLag {
		_, lite, _ := store.SplitLiteQueue(b.name)
		return codec.LiteLag{LiteTopic: lite, LagCount: b.lag, EarliestUnconsumedMs: p.store.StoreTimeAt(b.name, 0, b.committed)}
	}
	slices.SortFunc(behind, func(a, b liteLag) int { return cmp.Or(cmp.Compare(b.lag, a.lag), cmp.Compare(a.name, b.name)) })
	most := make([]codec.LiteLag, 0, min(topK, len(behind)))
	for _, b := range behind[:min(topK, len(behind))] {
		most = append(most, describe(b))
	}
	longest := []codec.LiteLag{}
	if p.live().LiteLagCollect {
		for _, b := range behind {
			longest = append(longest, describe(b))
		}
		slices.SortFunc(longest, func(a, b codec.LiteLag) int { return cmp.Compare(a.EarliestUnconsumedMs, b.EarliestUnconsumedMs) })
		longest = longest[:min(topK, int(p.live().LiteLagTopK), len(longest))]
		if len(longest) > 0 {
			info.EarliestUnconsumedMs = longest[0].EarliestUnconsumedMs
		}
	}
	info.LagCountTopK, info.LagTimestampTopK = &most, &longest
}

// triggerLite answers TRIGGER_LITE_DISPATCH.
func (p *Processor) triggerLite(req *remoting.Request) (*codec.Command, error) {
	var h codec.TriggerLiteDispatchHeader
	if err := decodeHeader(req, &h, "group"); err != nil {
		return nil, err
	}
	group, err := p.liteGroup(h.Group)
	if err != nil {
		return nil, err
	}
	l := p.lites
	if isWildcard(group) {
		l.offerAll(liteBound(group), group.GroupName)
		return req.Response(codec.Success), nil
	}
	var topics []*liteTopic
	l.mu.RLock()
	for id, c := range l.clients {
		if c.group == h.Group && (h.ClientID == "" || id == h.ClientID) {
			for _, s := range c.subs {
				topics = append(topics, s.topic)
			}
		}
	}
	l.mu.RUnlock()
	l.offerBacklog(topics, h.Group)
	return req.Response(codec.Success), nil
}
