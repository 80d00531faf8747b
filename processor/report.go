package processor

import (
	"maps"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// Flow is what was counted of one kind of message since the start. Bytes are those of the stored records.
type Flow struct{ Messages, Bytes int64 }

// SentFlow is what a topic was sent as messages of a kind.
type SentFlow struct {
	Flow
	Kind MessageKind
	// Sizes are how many messages had what size, by MessageSizes.
	Sizes [len(MessageSizes) + 1]int64
}

// GroupFlow is what a group got of a topic, and how many of the messages it gave up became dead letters.
type GroupFlow struct {
	Group string
	Out   Flow
	Dead  int64
}

// TopicFlow is what went into a topic and out of it.
type TopicFlow struct {
	Topic  string
	In     []SentFlow
	Groups []GroupFlow
	// RolledBack are transactions. Finished are those committed, by the age of their messages then, which add up to FinishSum.
	RolledBack int64
	Finished   Latency
	FinishSum  time.Duration
}

// EachFlow calls yield with the counters of every topic that had messages since the start.
func (p *Processor) EachFlow(yield func(TopicFlow)) {
	for name, c := range p.stats.traffic.topics.All() {
		yield(c.flow(name))
	}
}

func (c *topicTraffic) flow(name string) TopicFlow {
	f := TopicFlow{Topic: name, RolledBack: c.rolledBack.Load(), FinishSum: time.Duration(c.finishSum.Load()) * time.Second}
	f.Finished.Ends = finishSteps[:]
	for step := range c.finished {
		f.Finished.Count = append(f.Finished.Count, c.finished[step].Load())
	}
	for kind := range messageKinds {
		in := &c.in[kind]
		n := in.now()
		if n.calls == 0 {
			continue
		}
		sent := SentFlow{Flow: Flow{Messages: n.messages, Bytes: n.bytes}, Kind: MessageKind(kind)}
		for step := range in.sizes {
			sent.Sizes[step] = in.sizes[step].Load()
		}
		f.In = append(f.In, sent)
	}
	for group, g := range c.groups.all() {
		out := g.out.now()
		f.Groups = append(f.Groups, GroupFlow{Group: group, Out: Flow{Messages: out.messages, Bytes: out.bytes}, Dead: g.dead.messages.Load()})
	}
	return f
}

// Latency is how many calls took how long: counts by the ends of their steps, which rise; one more count is of what took longer.
type Latency struct {
	Ends  []time.Duration
	Count []int64
}

// PutLatency and GetLatency are how long appends to the log, and reads for pulls, take. One call in 16 is timed.
func (p *Processor) PutLatency() Latency { return p.stats.putTimes.report() }

// GetLatency is PutLatency for reads.
func (p *Processor) GetLatency() Latency { return p.stats.getTimes.report() }

// report adds up the buckets of each power of two.
func (l *latencies) report() (r Latency) {
	for i := 0; i < len(l.buckets); i += 4 {
		var n int64
		for j := i; j < min(i+4, len(l.buckets)); j++ {
			n += l.buckets[j].Load()
		}
		r.Ends, r.Count = append(r.Ends, bucketFrom(i+4)), append(r.Count, n)
	}
	r.Ends = r.Ends[:len(r.Ends)-1]
	return r
}

// ClientCount is how many clients of one kind are connected.
type ClientCount struct {
	// Group is empty for producers, as are Mode and System.
	Group, Mode string
	Language    codec.Language
	Version     int32
	Count       int
}

// EachClientCount calls yield with the connected producers by language and version, and with the consumers by group as well.
func (c *Clients) EachClientCount(yield func(ClientCount)) {
	counts := make(map[ClientCount]int)
	c.mu.RLock()
	for _, producers := range c.groups {
		for _, m := range producers {
			counts[ClientCount{Language: m.Language, Version: m.Version}]++
		}
	}
	for name, g := range c.consumers {
		for _, m := range g.members.byConn {
			counts[ClientCount{Group: name, Mode: g.Type, Language: m.Language, Version: m.Version}]++
		}
	}
	c.mu.RUnlock()
	for kind, n := range maps.All(counts) {
		kind.Count = n
		yield(kind)
	}
}

// MismatchedGroups returns the groups whose members subscribe differently, by what their last heartbeats said.
func (c *Clients) MismatchedGroups() (groups []string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, g := range c.consumers {
		var wants uint64
		for _, m := range g.members.byConn {
			if wants != 0 && m.wants != 0 && m.wants != wants {
				groups = append(groups, name)
				break
			}
			wants = max(wants, m.wants)
		}
	}
	return groups
}

// IsSystem reports whether a topic or group is the broker's own, for the label is_system. Apache: BrokerMetricsManager.isSystem.
func (p *Processor) IsSystem(topic, group string) bool {
	return p.topics.IsSystem(topic) || store.IsSystemGroup(group)
}
