package processor

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/store"
)

// MessageKind is what a message was sent as. Apache: TopicMessageType.
type MessageKind uint8

// The kinds of messages.
const (
	KindNormal MessageKind = iota
	KindFIFO
	KindDelay
	KindTransaction
	messageKinds

	// kindFinal are messages of committed transactions and those of timers, which were counted as they were sent before. They
	// count for their topics, but not among the messages in by kind.
	kindFinal = messageKinds
)

// String returns Java's name, as the label message_type of metrics has it.
func (k MessageKind) String() string {
	return [...]string{"normal", "fifo", "delay", "transaction"}[min(k, messageKinds-1)]
}

// kind tells what the message with these properties was sent as. Apache: TopicMessageType.parseFromMessageProperty.
func (s *sentProps) kind() MessageKind {
	switch {
	case s.halfMessage:
		return KindTransaction
	case s.delay != nil || s.timer:
		return KindDelay
	case s.sharded:
		return KindFIFO
	}
	return KindNormal
}

const (
	lmqPrefix = "%LMQ%" // of topics that stand in no table
	// maxFlows bounds the topics, and the pairs of topic and group, that are counted one by one.
	maxFlows = 1 << 18
)

// MessageSizes are the ends of the steps of SentFlow.Sizes in bytes; a last step has what is larger. Apache:
// BrokerMetricsManager.
var MessageSizes = [...]int64{1 << 10, 4 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20}

// flow counts one kind of message.
type flow struct {
	calls, messages, bytes atomic.Int64
}

func (f *flow) add(messages, bytes int64) {
	f.calls.Add(1)
	f.messages.Add(messages)
	f.bytes.Add(bytes)
}

// now reads the counters.
func (f *flow) now() counted { return counted{f.calls.Load(), f.messages.Load(), f.bytes.Load()} }

// counted is the state of a flow.
type counted struct{ calls, messages, bytes int64 }

func (c counted) plus(d counted) counted {
	return counted{c.calls + d.calls, c.messages + d.messages, c.bytes + d.bytes}
}

// sentFlow counts what a topic was sent.
type sentFlow struct {
	flow
	sizes [len(MessageSizes) + 1]atomic.Int64
}

// topicTraffic is what went into a topic, by kind, and out of it and back, by group.
type topicTraffic struct {
	in         [messageKinds + 1]sentFlow
	rolledBack atomic.Int64 // transactions
	finished   [len(finishSteps) + 1]atomic.Int64
	finishSum  atomic.Int64 // seconds
	groups     cowMap[groupTraffic]
	spans      spans // of all that went in
}

// finishSteps are the ends of the steps of the time from the birth of a message to its commit. Apache: BrokerMetricsManager.
var finishSteps = [...]time.Duration{5 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 12 * time.Hour, 24 * time.Hour}

// groupTraffic is what a group got of a topic, what it sent back, and what of that became dead letters.
type groupTraffic struct {
	out, back, dead     flow
	outSpans, backSpans spans
}

// total adds up what went in.
func (c *topicTraffic) total() (n counted) {
	for i := range c.in {
		n = n.plus(c.in[i].now())
	}
	return n
}

// traffic counts messages by topic and group since the start. Lookups take no lock. Apache: BrokerStatsManager,
// BrokerMetricsManager.
type traffic struct {
	topics store.Names[topicTraffic]
	mu     sync.Mutex   // held to change topics
	flows  atomic.Int64 // topics, and pairs of topic and group
	clock  spansClock
}

// topic returns the counters of a topic, nil when there are too many to count.
func (t *traffic) topic(name string) *topicTraffic {
	if c := t.topics.Get(store.NameOf(name)); c != nil {
		return c
	}
	if t.flows.Load() >= maxFlows {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.topics.Get(store.NameOf(name)); c != nil {
		return c
	}
	t.flows.Add(1)
	c := new(topicTraffic)
	t.topics.Set(name, c)
	return c
}

// in counts messages stored in a topic for a client.
func (t *traffic) in(topic string, kind MessageKind, messages, bytes int64) {
	c := t.topic(topic)
	if c == nil {
		return
	}
	f := &c.in[kind]
	f.add(messages, bytes)
	step, each := 0, bytes/max(messages, 1) // of a batch the average, as in Java
	for step < len(MessageSizes) && each > MessageSizes[step] {
		step++
	}
	f.sizes[step].Add(messages)
}

// decided counts the end of a transaction whose message is so old.
func (t *traffic) decided(topic string, commit bool, age time.Duration) {
	c := t.topic(topic)
	switch {
	case c == nil:
	case !commit:
		c.rolledBack.Add(1)
	default:
		step := 0
		for step < len(finishSteps) && age > finishSteps[step] {
			step++
		}
		c.finished[step].Add(1)
		c.finishSum.Add(int64(max(age, 0) / time.Second))
	}
}

// out counts messages of a topic sent to a member of a group.
func (t *traffic) out(topic string, group []byte, messages, bytes int64) {
	if g := t.group(topic, group); g != nil {
		g.out.add(messages, bytes)
	}
}

// back counts a message of a topic that a group sent back.
func (t *traffic) back(topic, group string) {
	if g := t.group(topic, []byte(group)); g != nil {
		g.back.add(1, 0)
	}
}

// dead counts a message of a topic that a group could not consume.
func (t *traffic) dead(topic, group string) {
	if g := t.group(topic, []byte(group)); g != nil {
		g.dead.add(1, 0)
	}
}

func (t *traffic) group(topic string, group []byte) *groupTraffic {
	c := t.topic(topic)
	if c == nil {
		return nil
	}
	if g := c.groups.all()[string(group)]; g != nil {
		return g
	}
	return c.groups.add(string(group), &t.flows)
}

// forget drops the counters of topics and groups that are not known any more.
func (t *traffic) forget(topicKnown, groupKnown func(name string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, c := range t.topics.All() {
		if !topicKnown(name) {
			t.topics.Set(name, nil)
			t.flows.Add(-1)
			continue
		}
		c.groups.forget(groupKnown, &t.flows)
	}
}

// cowMap is a map that is read without a lock and replaced when a name is new.
type cowMap[V any] struct {
	values atomic.Pointer[map[string]*V]
	mu     sync.Mutex // held to replace it
}

func (m *cowMap[V]) all() map[string]*V {
	if p := m.values.Load(); p != nil {
		return *p
	}
	return nil
}

func (m *cowMap[V]) get(name string) *V { return m.all()[name] }

// add returns the value of a new name, nil when flows says that there are too many.
func (m *cowMap[V]) add(name string, flows *atomic.Int64) *V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.get(name); v != nil {
		return v
	}
	if flows.Load() >= maxFlows {
		return nil
	}
	flows.Add(1)
	next := maps.Clone(m.all())
	if next == nil {
		next = make(map[string]*V, 1)
	}
	v := new(V)
	next[name] = v
	m.values.Store(&next)
	return v
}

// forget drops the names that are not known.
func (m *cowMap[V]) forget(known func(name string) bool, flows *atomic.Int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.all())
	maps.DeleteFunc(next, func(name string, _ *V) bool { return !known(name) })
	if gone := len(m.all()) - len(next); gone > 0 {
		flows.Add(-int64(gone))
		m.values.Store(&next)
	}
}
