package processor

import (
	"context"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Stretches of static queues that hold nothing any more leave the table of the broker that leads the queue, and queues that were
// moved on leave the table of a broker that led them before.
//
// Behavior:
// * At the hours of deleteWhen, of each queue that this broker leads and that has more than one stretch, the first one goes when its
//   physical queue begins where it ends: one stretch of a queue a round.
// * A broker that cannot be asked keeps its stretches.
// * A queue leaves the table when it was handed on more than once since this broker led it: the route names another leader than the
//   table, and the mapping of that leader has the epoch and the number of queues of this one, and leads the queue.
//
// Apache: TopicQueueMappingCleanService.

// CleanMappings makes one round. Call it every five minutes or so, from one goroutine; it asks other brokers.
func (p *Processor) CleanMappings(ctx context.Context, now time.Time) {
	if p.opts.Mappings == nil || p.opts.Mappings.Len() == 0 || !p.store.DeletesAt(now) {
		return
	}
	all, _ := p.opts.Mappings.Snapshot()
	for topic, d := range all {
		if ctx.Err() != nil {
			return
		}
		if d.Bname != p.live().BrokerName {
			p.log.Warn("static topic of another broker", "topic", topic, "broker", d.Bname)
			continue
		}
		p.cleanMapping(topic, d)
	}
	all, _ = p.opts.Mappings.Snapshot() // without what has left
	for topic, d := range all {
		if ctx.Err() != nil {
			return
		}
		if d.Bname == p.live().BrokerName {
			p.dropMovedOn(ctx, topic, d)
		}
	}
}

// cleanMapping takes stretches out of one topic.
func (p *Processor) cleanMapping(topic string, d *codec.TopicQueueMappingDetail) {
	next := *d
	next.HostedQueues = nil
	for globalID, items := range d.HostedQueues {
		q := staticQueue{detail: d, globalID: globalID, items: items}
		if len(items) < 2 || q.leader().Bname != d.Bname {
			continue
		}
		first := &items[0]
		empty, err := p.holdsNothing(&q, first, topic)
		if err != nil {
			p.log.Warn("look into a stretch of a static topic", "topic", topic, "queue", globalID, "broker", first.Bname, "error", err)
			continue
		}
		if !empty {
			continue
		}
		if next.HostedQueues == nil {
			next.HostedQueues = make(map[int32][]codec.LogicQueueMappingItem)
		}
		next.HostedQueues[globalID] = items[1:]
		p.log.Info("a stretch of a static topic that holds nothing leaves the table", "topic", topic, "queue", globalID, "broker", first.Bname,
			"generation", first.Gen)
	}
	if next.HostedQueues == nil {
		return
	}
	for globalID, items := range d.HostedQueues {
		if _, ok := next.HostedQueues[globalID]; !ok {
			next.HostedQueues[globalID] = items
		}
	}
	if err := p.opts.Mappings.Put(&next); err != nil { // it was moved meanwhile
		p.log.Warn("take stretches out of a static topic", "topic", topic, "error", err)
	}
}

// holdsNothing reports whether the physical queue of a stretch has no messages.
func (p *Processor) holdsNothing(q *staticQueue, item *codec.LogicQueueMappingItem, topic string) (bool, error) {
	most, err := p.physicalOf(q, item, codec.GetMaxOffset, topic, p.store.MaxQueueOffset)
	if err != nil {
		return false, err
	}
	least, err := p.physicalOf(q, item, codec.GetMinOffset, topic, p.store.MinQueueOffset)
	return err == nil && most >= 0 && (most == least || most == 0), err
}

// dropMovedOn takes the queues out of one topic that another broker leads than the table says. Apache:
// TopicQueueMappingCleanService.cleanItemListMoreThanSecondGen.
func (p *Processor) dropMovedOn(ctx context.Context, topic string, d *codec.TopicQueueMappingDetail) {
	movedOn, err := p.movedOn(ctx, topic, d)
	if err != nil {
		p.log.Warn("ask for the leaders of a static topic", "topic", topic, "error", err)
		return
	}
	var gone []int32
	for leader, globalIDs := range movedOn {
		theirs, err := p.mappingAt(ctx, topic, leader)
		if err != nil {
			p.log.Warn("ask for the mapping of a static topic", "topic", topic, "broker", leader, "error", err)
			continue
		}
		if theirs.Bname != leader || theirs.TotalQueues != d.TotalQueues || theirs.Epoch != d.Epoch {
			continue
		}
		for _, globalID := range globalIDs {
			if items := theirs.HostedQueues[globalID]; len(items) > 0 && items[len(items)-1].Bname == leader {
				gone = append(gone, globalID)
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	if err := p.opts.Mappings.Drop(d, gone); err != nil {
		p.log.Warn("take queues out of a static topic", "topic", topic, "error", err)
		return
	}
	p.log.Info("queues of a static topic that were moved on leave the table", "topic", topic, "queues", gone)
}

// movedOn returns the queues of which the route names another leader than the table, neither of them this broker, by that leader.
func (p *Processor) movedOn(ctx context.Context, topic string, d *codec.TopicQueueMappingDetail) (map[string][]int32, error) {
	believed := make(map[int32]string)
	for globalID, items := range d.HostedQueues {
		if n := len(items); n > 0 && items[n-1].Bname != d.Bname {
			believed[globalID] = items[n-1].Bname
		}
	}
	if len(believed) == 0 || p.opts.RouteData == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	route, err := p.opts.RouteData(ctx, topic)
	if err != nil || route == nil {
		return nil, err
	}
	list := make(map[string][]int32)
	for globalID, leader := range believed {
		if real := leaderIn(route, d.Scope, globalID); real != "" && real != leader && real != d.Bname {
			list[real] = append(list[real], globalID)
		}
	}
	return list, nil
}

// leaderIn returns the broker that leads a queue by the newest mapping of a route, "" when none does. Apache:
// ClientMetadata.topicRouteData2EndpointsForStaticTopic.
func leaderIn(route *codec.TopicRouteData, scope string, globalID int32) string {
	var newest *codec.TopicQueueMappingInfo
	for _, info := range route.TopicQueueMappingByBroker {
		if info == nil || info.Scope != scope {
			continue
		}
		if _, leads := info.CurrIDMap[globalID]; leads && (newest == nil || info.Epoch > newest.Epoch) {
			newest = info
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Bname
}

// mappingAt asks a broker for its mapping of a static topic.
func (p *Processor) mappingAt(ctx context.Context, topic, broker string) (*codec.TopicQueueMappingDetail, error) {
	if p.opts.Forward == nil {
		return nil, refuse(codec.SystemError, "broker %s cannot be asked from here", broker)
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	answer, err := p.opts.Forward(ctx, broker, &codec.Command{Code: codec.GetTopicConfig, Language: codec.LanguageJava, Version: codec.Version,
		Extra: []codec.Field{{Key: "topic", Value: topic}, {Key: "lo", Value: "true"}, {Key: "bname", Value: broker}}})
	if err != nil {
		return nil, err
	}
	if answer.Code != codec.Success {
		return nil, refuse(answer.Code, "%s", answer.Remark)
	}
	var told struct {
		MappingDetail *codec.TopicQueueMappingDetail `json:"mappingDetail"`
	}
	if err := codec.UnmarshalJSON(answer.Body, &told); err != nil {
		return nil, err
	}
	if told.MappingDetail == nil {
		return nil, refuse(codec.SystemError, "topic[%s] is not static there", topic)
	}
	return told.MappingDetail, nil
}
