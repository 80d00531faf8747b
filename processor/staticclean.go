package processor

import (
	"context"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Stretches of static queues that hold nothing any more leave the table of the broker that leads the queue.
//
// Behavior:
// * At the hours of deleteWhen, of each queue that this broker leads and that has more than one stretch, the first one goes when its
//   physical queue begins where it ends: one stretch of a queue a round.
// * A broker that cannot be asked keeps its stretches.
//
// Left out: a queue that was handed on more than once since this broker led it stays in the table; Java drops it.
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
