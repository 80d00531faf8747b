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
	// Retry says that it is the group's retry topic of Topic, of a group that pops.
	Retry bool
	// Lag are messages without a committed offset, InFlight those handed out without, Ready those not handed out.
	Lag, InFlight, Ready int64
	// Latency is the age of the oldest message without a committed offset, Queueing that of the oldest not handed out.
	Latency, Queueing time.Duration
	// Queues are the messages without a committed offset of each queue.
	Queues []int64
}

// EachLag calls yield with every group that has members and every topic it subscribes to, except retry topics and groups of lite
// topics, which EachLiteLag is for.
func (p *Processor) EachLag(yield func(GroupLag)) {
	now := p.opts.Now().UnixMilli()
	for _, group := range p.groups.All() {
		online := p.clients.ConsumerGroup([]byte(group.GroupName))
		if online == nil || liteBound(group) != "" {
			continue
		}
		for topic := range online.subscriptions {
			cfg, ok := p.topics.Get(topic)
			if !ok || strings.HasPrefix(topic, store.RetryTopicPrefix) || cfg.Perm&p.live().Permission&(codec.PermRead|codec.PermWrite) == 0 {
				continue
			}
			if online.Type != codec.ConsumePop {
				yield(p.lagOf(group.GroupName, cfg, now))
				continue
			}
			yield(p.popLagOf(group.GroupName, topic, cfg, now))
			retry := p.popLagOf(group.GroupName, topic, p.popRetryTopic(topic, group.GroupName), now)
			retry.Retry = true
			yield(retry)
		}
	}
}

// popRetryTopic returns the retry topic of a group that pops a topic, nil when there is none.
func (p *Processor) popRetryTopic(topic, group string) *codec.TopicConfig {
	live := p.live()
	readable := func(name string) *codec.TopicConfig {
		if cfg, ok := p.topics.Get(name); ok && cfg.Perm&live.Permission&(codec.PermRead|codec.PermWrite) != 0 {
			return cfg
		}
		return nil
	}
	cfg := readable(retryTopicName(topic, group, live.retryKind()))
	if cfg == nil && live.RetryTopicV2 && live.PopReadRetryV1 {
		cfg = readable(store.PopRetryTopicV1(topic, group))
	}
	return cfg
}

// popLagOf adds up the queues of a topic, or of the retry topic of one, for a group that pops it. Without an offset it is not behind.
func (p *Processor) popLagOf(group, topic string, cfg *codec.TopicConfig, nowMs int64) GroupLag {
	l := GroupLag{Group: group, Topic: topic}
	if cfg == nil {
		return l
	}
	name := cfg.TopicName
	l.Queues = make([]int64, max(cfg.WriteQueueNums, 0))
	for queueID := range cfg.WriteQueueNums {
		end := max(p.store.MaxQueueOffset(name, queueID), 0)
		cursor, inFlight := p.popping.state.Standing(name, group, queueID)
		committed, ok := p.offsets.Query([]byte(group), []byte(name), queueID)
		if cursor = max(cursor, committed); !ok && cursor < 0 {
			cursor = end
		}
		ready := max(end-cursor, 0)
		l.Ready, l.InFlight, l.Lag = l.Ready+ready, l.InFlight+inFlight, l.Lag+ready+inFlight
		l.Queues[queueID] = ready + inFlight
		if ready > 0 {
			l.Queueing = max(l.Queueing, p.ageOf(name, queueID, cursor, nowMs))
		}
		if ready+inFlight > 0 {
			l.Latency = max(l.Latency, p.ageOf(name, queueID, cursor-inFlight, nowMs))
		}
	}
	return l
}

// ageOf is how long ago a message was stored, 0 when it is not known.
func (p *Processor) ageOf(topic string, queueID int32, queueOffset, nowMs int64) time.Duration {
	at := p.store.StoreTimeAt(topic, queueID, queueOffset)
	if at <= 0 {
		return 0
	}
	return time.Duration(max(nowMs-at, 0)) * time.Millisecond
}

// lagOf adds up the queues of a topic.
func (p *Processor) lagOf(group string, topic *codec.TopicConfig, nowMs int64) GroupLag {
	name := topic.TopicName
	l := GroupLag{Group: group, Topic: name, Queues: make([]int64, max(topic.WriteQueueNums, 0))}
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
			l.Latency = max(l.Latency, p.ageOf(name, queueID, committed, nowMs))
		}
		if ready > 0 {
			l.Queueing = max(l.Queueing, p.ageOf(name, queueID, pulled, nowMs))
		}
	}
	return l
}
