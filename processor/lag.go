package processor

import (
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// GroupLag is how far a group is behind in a topic. Apache: ConsumerLagCalculator.
type GroupLag struct {
	Group, Topic string
	// Lag are messages without a committed offset, InFlight those handed out without, Ready those not handed out.
	Lag, InFlight, Ready int64
	// Latency is the age of the oldest message without a committed offset, Queueing that of the oldest not handed out.
	Latency, Queueing time.Duration
	// Queues are the messages without a committed offset of each queue.
	Queues []int64
}

// EachLag calls yield with every group that has members and every topic it subscribes to, except retry topics.
func (p *Processor) EachLag(yield func(GroupLag)) {
	now := p.opts.Now().UnixMilli()
	for _, group := range p.groups.All() {
		online := p.clients.ConsumerGroup([]byte(group.GroupName))
		if online == nil {
			continue
		}
		for topic := range online.subscriptions {
			cfg, ok := p.topics.Get(topic)
			if !ok || strings.HasPrefix(topic, store.RetryTopicPrefix) || cfg.Perm&p.live().Permission&(codec.PermRead|codec.PermWrite) == 0 {
				continue
			}
			yield(p.lagOf(group.GroupName, cfg, now))
		}
	}
}

// lagOf adds up the queues of a topic.
func (p *Processor) lagOf(group string, topic *codec.TopicConfig, nowMs int64) GroupLag {
	name := topic.TopicName
	l := GroupLag{Group: group, Topic: name, Queues: make([]int64, max(topic.WriteQueueNums, 0))}
	age := func(queueID int32, queueOffset int64) time.Duration {
		at := p.store.StoreTimeAt(name, queueID, queueOffset)
		if at <= 0 {
			return 0
		}
		return time.Duration(max(nowMs-at, 0)) * time.Millisecond
	}
	for queueID := range topic.WriteQueueNums {
		end := max(p.store.MaxQueueOffset(name, queueID), 0)
		committed, ok := p.offsets.Query([]byte(group), []byte(name), queueID)
		if !ok {
			committed = end
		}
		pulled, ok := p.offsets.QueryPull([]byte(group), []byte(name), queueID)
		if !ok || pulled < committed {
			pulled = committed
		}
		lag, ready := max(end-committed, 0), max(end-pulled, 0)
		l.Lag, l.Ready, l.InFlight = l.Lag+lag, l.Ready+ready, l.InFlight+max(pulled-committed, 0)
		l.Queues[queueID] = lag
		if lag > 0 {
			l.Latency = max(l.Latency, age(queueID, committed))
		}
		if ready > 0 {
			l.Queueing = max(l.Queueing, age(queueID, pulled))
		}
	}
	return l
}
