package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// LiveOffsets calls each, until it says no, for every queue with a committed offset of a group that has members now and has
// subscribed to the topic; then for the broker's own readers, those of delayed messages and of half messages. Groups in
// broadcasting keep their offsets themselves and are left out.
func (p *Processor) LiveOffsets(each func(o store.LiveOffset) (more bool)) {
	for _, g := range p.clients.clusteringGroups() {
		for topic := range g.subscriptions {
			for queueID, queueOffset := range p.offsets.OfGroup(g.Name, topic) {
				if !each(store.LiveOffset{Group: g.Name, Topic: topic, QueueID: queueID, QueueOffset: queueOffset}) {
					return
				}
			}
		}
	}
	for level, queueOffset := range p.schedule.Snapshot().OffsetTable {
		if !each(store.LiveOffset{Group: store.TopicSchedule, Topic: store.TopicSchedule, QueueID: level - 1, QueueOffset: queueOffset}) {
			return
		}
	}
	for queueID, queueOffset := range p.offsets.OfGroup(store.GroupTrans, store.TopicTransHalf) {
		if !each(store.LiveOffset{Group: store.GroupTrans, Topic: store.TopicTransHalf, QueueID: queueID, QueueOffset: queueOffset}) {
			return
		}
	}
}

// clusteringGroups returns the consumer groups that have members and keep their offsets at the broker.
func (c *Clients) clusteringGroups() []*ConsumerGroup {
	c.mu.RLock()
	defer c.mu.RUnlock()
	groups := make([]*ConsumerGroup, 0, len(c.consumers))
	for _, g := range c.consumers {
		if g.Model != codec.Broadcasting {
			groups = append(groups, g)
		}
	}
	return groups
}
