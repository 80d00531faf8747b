package processor

import (
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// The end of lite topics: one whose parent has lite.topic.expiration goes that many minutes after its last message, and after minLiteTTl
// at least, with the offsets of the groups that are bound to its parent, whether they have had everything or not. Subscriptions of it
// end without a word to the clients. All go with their parent. Apache: AbstractLiteLifecycleManager.

// liteTTLs returns how many minutes the lite topics of each parent are kept, -1 for ever. Apache: LiteMetadataUtil.getTopicTtlMap.
func (p *Processor) liteTTLs() map[string]int32 {
	ttls := make(map[string]int32)
	for _, cfg := range p.topics.All() {
		if isLite(cfg) {
			ttls[cfg.TopicName] = liteTTL(cfg)
		}
	}
	return ttls
}

func liteTTL(cfg *codec.TopicConfig) int32 {
	n, err := strconv.ParseInt(cfg.Attributes["lite.topic.expiration"], 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

// liteGroups returns the groups that are bound to each parent. Apache: LiteMetadataUtil.getSubscriberGroupMap.
func (p *Processor) liteGroups() map[string][]string {
	groups := make(map[string][]string)
	for _, cfg := range p.groups.All() {
		if parent := liteBound(cfg); parent != "" {
			groups[parent] = append(groups[parent], cfg.GroupName)
		}
	}
	return groups
}

// deleteOver deletes the lite topics whose time is over, and forgets deliveries that nobody asks for any more.
func (l *lites) deleteOver(now time.Time) {
	l.forgetFlights(now.Add(-flightKept).UnixMilli())
	ttls := l.p.liteTTLs()
	var over []string
	for parent, minutes := range ttls {
		if minutes <= 0 {
			continue
		}
		age := max(time.Duration(minutes)*time.Minute, l.p.live().MinLiteTTL)
		l.p.store.EachLiteQueue(parent, func(name string, end int64) bool {
			if end > 0 && l.lastMs(name, end) < now.Add(-age).UnixMilli() {
				over = append(over, name)
			}
			return true
		})
	}
	if len(over) == 0 {
		return
	}
	if err := l.delete(over); err != nil {
		l.p.log.Error("delete lite topics whose time is over", "topics", len(over), "error", err)
		return
	}
	l.p.log.Info("lite topics whose time is over are deleted", "topics", len(over), "first", over[0])
}

// lastMs is the store time of a topic's last message. It is read from the log once and known from arrivals afterwards.
func (l *lites) lastMs(name string, end int64) int64 {
	t := l.find([]byte(name))
	if t == nil {
		if t = l.topic(name); t == nil {
			return l.p.opts.Now().UnixMilli() // no name of a lite topic; it stays
		}
	}
	if lastMs := t.lastMs.Load(); lastMs > 0 {
		return lastMs
	}
	lastMs := l.p.store.StoreTimeAt(name, 0, end-1)
	t.lastMs.CompareAndSwap(0, lastMs)
	return lastMs
}

// delete deletes lite topics with all that is known of them.
func (l *lites) delete(names []string) error {
	groups := l.p.liteGroups()
	if err := l.p.store.DeleteLiteQueues(names); err != nil {
		return err
	}
	for _, name := range names {
		parent, _, _ := store.SplitLiteQueue(name)
		for _, group := range groups[parent] {
			l.p.offsets.Forget(group, name)
		}
		l.p.offsets.Forget(toolsConsumer, name)
		l.forgetTopic(name)
	}
	return nil
}

// forgetTopic ends the subscriptions of a lite topic and its deliveries.
func (l *lites) forgetTopic(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[name]
	if t == nil {
		return
	}
	delete(l.topics, name)
	for _, g := range t.groups {
		for _, s := range g.subs {
			delete(s.client.subs, name)
			s.client.drop(s)
			l.active--
		}
	}
	t.groups = nil
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.flights) > 0 {
		l.land(t, t.flights[0])
	}
}

// forgetFlights forgets the deliveries made before that time.
func (l *lites) forgetFlights(beforeMs int64) {
	if l.flights.Load() == 0 {
		return
	}
	l.mu.RLock()
	topics := make([]*liteTopic, 0, len(l.topics))
	for _, t := range l.topics {
		topics = append(topics, t)
	}
	l.mu.RUnlock()
	for _, t := range topics {
		t.mu.Lock()
		for i := len(t.flights) - 1; i >= 0; i-- {
			if f := t.flights[i]; f.popTimeMs < beforeMs && f.free() < beforeMs {
				l.land(t, f)
			}
		}
		t.mu.Unlock()
	}
}

// toolsConsumer is the group of Java's tools. Apache: MixAll.TOOLS_CONSUMER_GROUP.
const toolsConsumer = "TOOLS_CONSUMER"

// deleteLites deletes all lite topics of a parent that is about to be deleted.
func (p *Processor) deleteLites(parent string) error {
	cfg, ok := p.topics.Get(parent)
	if !ok || !isLite(cfg) {
		return nil
	}
	var names []string
	p.store.EachLiteQueue(parent, func(name string, _ int64) bool {
		names = append(names, name)
		return true
	})
	if len(names) == 0 {
		return nil
	}
	p.log.Info("lite topics are deleted with their parent", "topic", parent, "lite_topics", len(names))
	return p.lites.delete(names)
}
