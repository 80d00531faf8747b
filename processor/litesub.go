package processor

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// LITE_SUBSCRIPTION_CTL 200071: clients say which lite topics they want. The broker sends NOTIFY_UNSUBSCRIBE_LITE 200073.
//
// Behavior:
// * A body holds changes of several clients: PARTIAL_ADD and PARTIAL_REMOVE of single lite topics, COMPLETE_ADD of all that a client
//   wants, COMPLETE_REMOVE. One without client, group or topic is passed over.
// * A lite topic is taken when this broker is the one that messages to it go to, by a hash of its name over the parent's writable
//   queues, or has messages of it; otherwise it is passed over without a word.
// * PARTIAL_ADD may say where the group begins in these topics. In a group with lite.sub.model=Exclusive it takes the topics from
//   whoever has them, who is told by 200073; with lite.sub.reset.offset.exclusive the group then begins at 0.
// * A group with lite.sub.wildcard has all lite topics of its parent by any COMPLETE_ADD; PARTIAL_ADD is refused, 604.
// * More subscriptions than maxLiteSubscriptionCount: 2018.
// * A client that has said nothing for liteSubscriptionCheckTimeoutMills is forgotten.
//
// COMPLETE_ADD answers to the bound, too, where Java looks at it with PARTIAL_ADD only.
//
// Apache: LiteSubscriptionCtlProcessor, LiteSubscriptionRegistryImpl, LiteShardingImpl.

const (
	illegalState = "java.lang.IllegalStateException: "
	quotaReached = "org.apache.rocketmq.broker.lite.LiteQuotaException: lite subscription quota exceeded %d"
)

// liteSubscriptions answers LITE_SUBSCRIPTION_CTL.
func (p *Processor) liteSubscriptions(req *remoting.Request) (*codec.Command, error) {
	if len(req.Body) == 0 {
		return nil, refuse(codec.IllegalOperation, "Request body is null.")
	}
	var body codec.LiteSubscriptionBody
	if err := decodeBody(req, &body); err != nil {
		return nil, err
	}
	if len(body.Subscriptions) == 0 {
		return nil, refuse(codec.IllegalOperation, "LiteSubscriptionCtlRequestBody is empty.")
	}
	for i := range body.Subscriptions {
		change := &body.Subscriptions[i]
		if strings.TrimSpace(change.ClientID) == "" || strings.TrimSpace(change.Group) == "" || strings.TrimSpace(change.Topic) == "" {
			p.log.Warn("a change of lite subscriptions lacks client, group or topic", "client", change.ClientID, "group", change.Group, "topic", change.Topic)
			continue
		}
		if len(change.ClientID) > maxClientIDBytes || len(change.Group) > maxGroupNameBytes {
			return nil, refuse(codec.InvalidParameter, "client id of %d bytes, group of %d: too long", len(change.ClientID), len(change.Group))
		}
		if err := p.lites.change(req.Conn, change); err != nil {
			return nil, err
		}
	}
	return req.Response(codec.Success), nil
}

// change makes one change of a client's subscriptions.
func (l *lites) change(conn remoting.Conn, change *codec.LiteSubscription) error {
	group, _ := l.p.groups.Find([]byte(change.Group))
	switch change.Action {
	case codec.LitePartialAdd, codec.LiteCompleteAdd:
		if group == nil || !group.ConsumeEnable {
			return refuse(codec.IllegalOperation, illegalState+"Consumer group is not allowed to consume.")
		}
		if change.Action == codec.LiteCompleteAdd {
			return l.addAll(conn, group, change)
		}
		return l.add(conn, group, change)
	case codec.LitePartialRemove:
		l.remove(group, change)
	case codec.LiteCompleteRemove:
		l.removeClient(change.ClientID)
	default:
		return refuse(codec.SystemError, "action %q of a lite subscription is not known", change.Action)
	}
	return nil
}

// wanted returns the names of the queues that a change is about and that are this broker's.
func (l *lites) wanted(change *codec.LiteSubscription, all bool) (names []string, err error) {
	var mine func(lite string) bool
	for _, lite := range change.LiteTopics {
		if !store.PossibleLite(change.Topic, lite) {
			return nil, refuse(codec.InvalidParameter, "%q cannot be a lite topic of %s: its name is empty, too long or has one of $ , / \\ @", lite, change.Topic)
		}
		if mine == nil && !all {
			mine = l.sharding(change.Topic)
		}
		name := store.LiteQueue(change.Topic, lite)
		if all || mine(lite) || l.p.store.MaxQueueOffset(name, 0) > 0 {
			names = append(names, name)
		}
	}
	return names, nil
}

// add makes a client subscribe to further lite topics.
func (l *lites) add(conn remoting.Conn, group *codec.SubscriptionGroupConfig, change *codec.LiteSubscription) error {
	most := l.p.live().MaxLiteSubscriptions
	if l.p.LiteSubscriptions() >= most {
		return refuse(codec.LiteSubscriptionQuotaExceeded, quotaReached, most)
	}
	if isWildcard(group) {
		return refuse(codec.IllegalOperation, illegalState+"subscribe lite operation is not supported for this group")
	}
	names, err := l.wanted(change, false)
	if err != nil {
		return err
	}
	exclusive := group.Attributes["lite.sub.model"] == "Exclusive"
	for _, name := range names {
		if exclusive {
			l.exclude(group, name, change.ClientID)
		}
		if err := l.resetTo(group.GroupName, name, change.Offset); err != nil {
			return err
		}
	}
	l.mu.Lock()
	c, err := l.namedLocked(conn, change)
	var added []*liteTopic
	for _, name := range names {
		if err != nil {
			break
		}
		if t := l.subscribeLocked(c, name); t != nil {
			added = append(added, t)
		}
	}
	l.mu.Unlock()
	l.offerBacklog(added, change.Group)
	return err
}

// namedLocked returns the client that a change is about. One that was in another group begins anew.
func (l *lites) namedLocked(conn remoting.Conn, change *codec.LiteSubscription) (*liteClient, error) {
	if c := l.clients[change.ClientID]; c != nil && c.named && (c.group != change.Group || c.parent != change.Topic) {
		l.removeLocked(c)
	}
	c := l.clientLocked(change.ClientID, change.Group, change.Topic)
	if c == nil {
		return nil, refuse(codec.LiteSubscriptionQuotaExceeded, "%d clients with lite subscriptions, no more fit", maxLiteClients)
	}
	c.group, c.parent, c.conn, c.named, c.updatedMs = change.Group, change.Topic, conn, true, l.p.opts.Now().UnixMilli()
	return c, nil
}

// subscribeLocked makes a client subscribe to one lite topic; nil when it did before.
func (l *lites) subscribeLocked(c *liteClient, name string) *liteTopic {
	if c.subs[name] != nil {
		return nil
	}
	t := l.topicLocked(name, c.parent)
	s := &liteSub{client: c, topic: t}
	c.subs[t.name] = s
	g := t.group(c.group)
	if g == nil {
		g = &liteGroup{name: c.group}
		t.groups = append(t.groups, g)
	}
	g.subs = append(g.subs, s)
	l.active++
	return t
}

// offerBacklog makes topics ready that have messages the group has not had.
func (l *lites) offerBacklog(topics []*liteTopic, group string) {
	for _, t := range topics {
		if l.p.store.MaxQueueOffset(t.name, 0) > 0 && l.hasMore(t, group) {
			l.offer(t, group, nil)
		}
	}
}

// addAll makes a client subscribe to just these lite topics, or to all when its group does.
func (l *lites) addAll(conn remoting.Conn, group *codec.SubscriptionGroupConfig, change *codec.LiteSubscription) error {
	if isWildcard(group) {
		return l.addWild(conn, change)
	}
	names, err := l.wanted(change, false)
	if err != nil {
		return err
	}
	keep := make(map[string]bool, len(names))
	for _, name := range names {
		keep[name] = true
	}
	l.mu.Lock()
	added, err := l.replaceLocked(conn, change, keep)
	l.mu.Unlock()
	l.offerBacklog(added, change.Group)
	return err
}

func (l *lites) replaceLocked(conn remoting.Conn, change *codec.LiteSubscription, keep map[string]bool) (added []*liteTopic, err error) {
	c, err := l.namedLocked(conn, change)
	if err != nil {
		return nil, err
	}
	l.leaveWildLocked(c)
	for name, s := range c.subs {
		if !keep[name] {
			l.unsubscribeLocked(s)
		}
	}
	most := l.p.live().MaxLiteSubscriptions
	for name := range keep {
		if c.subs[name] == nil && l.active >= most {
			return added, refuse(codec.LiteSubscriptionQuotaExceeded, quotaReached, most)
		}
		if t := l.subscribeLocked(c, name); t != nil {
			added = append(added, t)
		}
	}
	return added, nil
}

// addWild makes a client one of a group that takes all lite topics of a parent.
func (l *lites) addWild(conn remoting.Conn, change *codec.LiteSubscription) error {
	l.mu.Lock()
	c, err := l.namedLocked(conn, change)
	if err != nil || c.wild != nil {
		l.mu.Unlock()
		return err
	}
	for _, s := range c.subs {
		l.unsubscribeLocked(s)
	}
	groups := l.wild[change.Topic]
	if groups == nil {
		groups = make(map[string]*liteWild)
		l.wild[change.Topic] = groups
	}
	w := groups[change.Group]
	begins := w == nil
	if begins {
		w = &liteWild{group: change.Group, set: make(map[*liteTopic]struct{})}
		groups[change.Group] = w
	}
	w.clients = append(w.clients, c)
	c.wild = w
	l.active++
	l.mu.Unlock()
	if begins {
		l.offerAll(change.Topic, change.Group)
	}
	return nil
}

// offerAll makes all lite topics of a parent ready for a group that takes all and has not had all messages. It walks over them.
func (l *lites) offerAll(parent, group string) {
	var names []string
	l.p.store.EachLiteQueue(parent, func(name string, end int64) bool {
		if committed, ok := l.p.offsets.Query([]byte(group), []byte(name), 0); end > 0 && (!ok || committed < end) {
			names = append(names, name)
		}
		return true
	})
	slices.Sort(names)
	for _, name := range names {
		if t := l.topic(name); t != nil {
			l.offer(t, group, nil)
		}
	}
}

// remove ends subscriptions of a client to single lite topics.
func (l *lites) remove(group *codec.SubscriptionGroupConfig, change *codec.LiteSubscription) {
	reset := group != nil && strings.EqualFold(group.Attributes["lite.sub.reset.offset.unsubscribe"], "true")
	var ended []string
	l.mu.Lock()
	if c := l.clients[change.ClientID]; c != nil && c.group == change.Group {
		c.updatedMs = l.p.opts.Now().UnixMilli()
		for _, lite := range change.LiteTopics {
			if s := c.subs[store.LiteQueue(change.Topic, lite)]; s != nil {
				ended = append(ended, s.topic.name)
				l.unsubscribeLocked(s)
			}
		}
	}
	l.mu.Unlock()
	for _, name := range ended {
		if reset {
			l.resetOrLog(change.Group, name)
		}
	}
}

// resetOrLog makes a group begin at 0 again.
func (l *lites) resetOrLog(group, name string) {
	if err := l.resetTo(group, name, &codec.LiteOffset{Type: codec.LiteOffsetPolicy, Value: codec.LitePolicyMin}); err != nil {
		l.p.log.Warn("reset the offset in a lite topic", "group", group, "topic", name, "error", err)
	}
}

// unsubscribeLocked ends a subscription. What was ready goes to another client of the group.
func (l *lites) unsubscribeLocked(s *liteSub) {
	c, t := s.client, s.topic
	delete(c.subs, t.name)
	l.active--
	g := t.group(c.group)
	g.subs = slices.DeleteFunc(g.subs, func(other *liteSub) bool { return other == s })
	ready := c.drop(s)
	switch {
	case len(g.subs) > 0 && ready:
		l.offerLocked(t, c.group, nil)
	case len(g.subs) == 0:
		t.groups = slices.DeleteFunc(t.groups, func(other *liteGroup) bool { return other == g })
		if len(t.groups) == 0 && l.p.store.MaxQueueOffset(t.name, 0) == 0 {
			delete(l.topics, t.name)
		}
	}
}

func (l *lites) leaveWildLocked(c *liteClient) {
	w := c.wild
	if w == nil {
		return
	}
	c.wild = nil
	l.active--
	w.clients = slices.DeleteFunc(w.clients, func(other *liteClient) bool { return other == c })
	if len(w.clients) > 0 {
		return
	}
	if groups := l.wild[c.parent]; len(groups) > 1 {
		delete(groups, w.group)
	} else {
		delete(l.wild, c.parent)
	}
}

// removeClient ends all subscriptions of a client.
func (l *lites) removeClient(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[id]; c != nil {
		l.removeLocked(c)
	}
}

// removeLocked forgets a client but for its parked pops.
func (l *lites) removeLocked(c *liteClient) {
	for _, s := range c.subs {
		l.unsubscribeLocked(s)
	}
	l.leaveWildLocked(c)
	c.named, c.conn = false, nil
	if c.idleLocked() {
		delete(l.clients, c.id)
	}
}

// exclude takes a lite topic from the clients of a group that have it, but for one.
func (l *lites) exclude(group *codec.SubscriptionGroupConfig, name, keep string) {
	var told []*liteClient
	l.mu.Lock()
	if t := l.topics[name]; t != nil {
		if g := t.group(group.GroupName); g != nil {
			for _, s := range slices.Clone(g.subs) {
				if s.client.id == keep {
					continue
				}
				told = append(told, &liteClient{id: s.client.id, group: s.client.group, conn: s.client.conn})
				l.unsubscribeLocked(s)
			}
		}
	}
	l.mu.Unlock()
	for _, c := range told {
		l.tell(c, name)
	}
	if len(told) > 0 && strings.EqualFold(group.Attributes["lite.sub.reset.offset.exclusive"], "true") {
		l.resetOrLog(group.GroupName, name)
	}
}

// tell sends NOTIFY_UNSUBSCRIBE_LITE.
func (l *lites) tell(c *liteClient, name string) {
	_, lite, _ := store.SplitLiteQueue(name)
	if c.conn == nil {
		return
	}
	push := &codec.Command{Code: codec.NotifyUnsubscribeLite, Version: codec.Version, Flag: codec.FlagOneway,
		Header: &codec.NotifyUnsubscribeLiteHeader{LiteTopic: lite, ConsumerGroup: c.group, ClientID: c.id}}
	if err := c.conn.Send(push); err != nil {
		l.p.log.Debug("push to a client is lost", "client", c.id, "group", c.group, "topic", name, "error", err)
	}
}

// resetTo moves a group in a lite topic.
func (l *lites) resetTo(group, name string, to *codec.LiteOffset) error {
	if to == nil {
		return nil
	}
	committed, ok := l.p.offsets.Query([]byte(group), []byte(name), 0)
	var target int64
	switch {
	case to.Type == codec.LiteOffsetPolicy && to.Value == codec.LitePolicyMin:
	case to.Type == codec.LiteOffsetPolicy && to.Value == codec.LitePolicyMax:
		target = l.p.store.MaxQueueOffset(name, 0)
	case to.Type == codec.LiteOffsetExact && to.Value < 0:
		return refuse(codec.InvalidParameter, "offset %d in a lite topic is below 0", to.Value)
	case to.Type == codec.LiteOffsetExact:
		target = to.Value
	case to.Type == codec.LiteOffsetTail && ok:
		target = max(committed-to.Value, 0)
	default:
		return nil
	}
	if ok && committed == target {
		return nil
	}
	l.p.log.Info("offset in a lite topic is reset", "group", group, "topic", name, "from", committed, "known", ok, "to", target)
	if err := l.p.offsets.SetReset(group, name, 0, target); err != nil {
		return fmt.Errorf("reset the offset in a lite topic: %w", err)
	}
	if t := l.find([]byte(name)); t != nil {
		l.landGroup(t, group)
		l.offerBacklog([]*liteTopic{t}, group)
	}
	return nil
}

// expire forgets the clients that have said nothing for too long.
func (l *lites) expire(now time.Time) {
	beforeMs := now.Add(-l.p.live().LiteSubscriptionTimeout).UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clients {
		if c.named && c.updatedMs < beforeMs {
			l.p.log.Info("lite subscriptions of a silent client end", "client", c.id, "group", c.group, "topic", c.parent, "lite_topics", len(c.subs))
			l.removeLocked(c)
		}
	}
}

// sharding returns what tells whether messages to a lite topic of that parent go to this broker.
func (l *lites) sharding(parent string) func(lite string) bool {
	if l.p.opts.WriteQueues == nil {
		return func(string) bool { return true }
	}
	queues, ok := l.p.opts.WriteQueues(parent)
	if !ok || len(queues) == 0 {
		return func(string) bool { return true }
	}
	name := l.p.live().BrokerName
	return func(lite string) bool {
		return queues[jumpHash(int64(javaHash(lite)), len(queues))].BrokerName == name
	}
}

// javaHash is String.hashCode.
func javaHash(text string) (h int32) {
	for _, unit := range utf16.Encode([]rune(text)) {
		h = 31*h + int32(unit)
	}
	return h
}

// jumpHash spreads keys over buckets so that few move when a bucket is added (Lamping and Veach, 2014), with the numbers of Java's
// clients: producers find a lite topic's queue by the same. Apache: Hashing.consistentHash of Guava.
func jumpHash(key int64, buckets int) int {
	state, at := uint64(key), 0
	for {
		state = 2862933555777941757*state + 1
		next := float64(at+1) / (float64(int32(state>>33)+1) / (1 << 31))
		if next < 0 || next >= float64(buckets) {
			return at
		}
		at = int(next)
	}
}
