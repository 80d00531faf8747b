package processor

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// ConsumerGroup is a group with at least one member, as the latest heartbeat left it. It does not change; the next heartbeat
// with something new replaces it. Apache: ConsumerGroupInfo.
type ConsumerGroup struct {
	Name string
	// Model is codec.Broadcasting or codec.Clustering, Type codec.ConsumeActively, ConsumePassively or ConsumePop.
	Model, Type string
	// From is where a new group starts, codec.ConsumeFromLastOffset or another.
	From          string
	subscriptions map[string]*Subscription // by topic
	members       *members                 // shared by all states of the group
}

// members are who is in a group.
type members struct {
	mu     *sync.RWMutex // Clients.mu, which guards all below
	byConn map[remoting.Conn]*Client
	byID   map[string]*Client
	// idList is the body of GET_CONSUMER_LIST_BY_GROUP, nil when somebody came or went since it was made.
	idList []byte
	// fingerprint is that of the latest heartbeat.
	fingerprint int32
	// wants and writer tell the subscription in force and who brought it.
	wants    uint64
	writer   string
	mismatch bool // members subscribe differently, and that has been logged
}

func newMembers(mu *sync.RWMutex) *members {
	return &members{mu: mu, byConn: make(map[remoting.Conn]*Client), byID: make(map[string]*Client)}
}

// Subscription is what a group wants of one topic. It does not change.
type Subscription struct {
	Data codec.SubscriptionData
	// Filter passes the tags wanted; nil passes every message.
	Filter *store.TagFilter
}

// ConsumerGroup returns the group of that name, nil when it has no members.
func (c *Clients) ConsumerGroup(name []byte) *ConsumerGroup {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.consumers[string(name)]
}

// Subscription returns what the group wants of a topic, nil when it has not subscribed to it.
func (g *ConsumerGroup) Subscription(topic []byte) *Subscription {
	return g.subscriptions[string(topic)]
}

// HasMember reports whether a client on the connection is a member.
func (g *ConsumerGroup) HasMember(conn remoting.Conn) bool {
	g.members.mu.RLock()
	defer g.members.mu.RUnlock()
	return g.members.byConn[conn] != nil
}

// Members returns the members of a consumer group, nil when it has none.
func (c *Clients) Members(group string) []Client {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g := c.consumers[group]
	if g == nil {
		return nil
	}
	return copies(g.members.byConn)
}

// Member returns the member of a consumer group with that client id.
func (c *Clients) Member(group, clientID string) (Client, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if g := c.consumers[group]; g != nil {
		if m := g.members.byID[clientID]; m != nil {
			return *m, true
		}
	}
	return Client{}, false
}

// memberConns appends the connections of a consumer group's members to conns.
func (c *Clients) memberConns(conns []remoting.Conn, group string) []remoting.Conn {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if g := c.consumers[group]; g != nil {
		for conn := range g.members.byConn {
			conns = append(conns, conn)
		}
	}
	return conns
}

// IDList returns the body of GET_CONSUMER_LIST_BY_GROUP, nil for a group without members. It must not be changed.
func (c *Clients) IDList(group []byte) ([]byte, error) {
	c.mu.RLock()
	g := c.consumers[string(group)]
	if g == nil {
		c.mu.RUnlock()
		return nil, nil
	}
	body := g.members.idList
	c.mu.RUnlock()
	if body != nil {
		return body, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]string, 0, len(g.members.byID))
	for id := range g.members.byID {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	slices.Sort(ids)
	body, err := codec.MarshalJSON(codec.ConsumerIDList{ConsumerIDList: ids})
	if err == nil {
		g.members.idList = body
	}
	return body, err
}

// SubscribersOf returns the groups with members that have subscribed to a topic, in alphabetical order.
// Apache: ConsumerManager.queryTopicConsumeByWho.
func (c *Clients) SubscribersOf(topic string) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var groups []string
	for name, g := range c.consumers {
		if g.subscriptions[topic] != nil {
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return groups
}

// Fingerprint notes the fingerprint of a group's heartbeat, 0 for one in the first form. It returns the one noted before; known
// is false for a group that has no members yet.
func (c *Clients) Fingerprint(group string, fingerprint int32) (before int32, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.consumers[group]
	if g == nil {
		return 0, false
	}
	before, g.members.fingerprint = g.members.fingerprint, fingerprint
	return before, true
}

// RegisterConsumer notes a member's heartbeat; without withSubs the group's subscriptions stay as they are. It reports whether
// members or topics of the group changed. Apache: ConsumerManager.registerConsumer.
func (c *Clients) RegisterConsumer(from Client, data *codec.ConsumerData, withSubs bool, now time.Time) (changed bool, err error) {
	if withSubs && len(data.SubscriptionDataSet) > maxSubscriptionsOne {
		return false, fmt.Errorf("%d subscriptions in a group, at most %d", len(data.SubscriptionDataSet), maxSubscriptionsOne)
	}
	from.Seen = now
	var n news
	c.mu.Lock()
	changed, err = c.registerConsumerLocked(&n, &from, data, withSubs)
	if changed {
		n.changed = append(n.changed, data.GroupName)
	}
	c.mu.Unlock()
	c.publish(&n)
	return changed, err
}

func (c *Clients) registerConsumerLocked(n *news, from *Client, data *codec.ConsumerData, withSubs bool) (changed bool, err error) {
	g := c.consumers[data.GroupName]
	if g == nil {
		g = &ConsumerGroup{Name: data.GroupName, members: newMembers(&c.mu)}
	}
	joined, err := c.joinLocked(n, g, from)
	if err != nil {
		return false, err
	}
	next := *g
	next.Model, next.Type, next.From = data.MessageModel, data.ConsumeType, data.ConsumeFromWhere
	replaced := false
	if withSubs {
		if changed, replaced, err = c.subscribeLocked(&next, data.SubscriptionDataSet); err != nil {
			return joined, err
		}
		c.compareLocked(n, &next, from.Conn, data.SubscriptionDataSet)
	}
	if changed || replaced || next.Model != g.Model || next.Type != g.Type || next.From != g.From {
		c.consumers[data.GroupName] = &next
	}
	return changed || joined, nil
}

// joinLocked makes a client a member. A client id that comes back on another connection takes its old place; that is no change
// for the others.
func (c *Clients) joinLocked(n *news, g *ConsumerGroup, from *Client) (joined bool, err error) {
	m := g.members
	known, namesake := m.byConn[from.Conn], m.byID[from.ID]
	if known != nil && known == namesake {
		known.Seen = from.Seen
		return false, nil
	}
	if known == nil {
		if err := c.checkNewLocked(g.Name, from); err != nil {
			return false, err
		}
	}
	if known != nil {
		n.add(slog.LevelWarn, "client changed its id", g.Name, from, known.ID)
		delete(m.byID, known.ID)
	} else {
		of := c.connLocked(from.Conn)
		of.consumers = append(of.consumers, g.Name)
	}
	if namesake != nil && namesake != known {
		n.add(slog.LevelWarn, "client comes from another connection", g.Name, from, namesake.Conn.RemoteAddr().String())
		c.leaveLocked(g, namesake)
	}
	m.byConn[from.Conn], m.byID[from.ID] = from, from
	if c.consumers[g.Name] == nil {
		c.consumers[g.Name] = g
	}
	if namesake == nil || known != nil {
		m.idList = nil
		n.add(slog.LevelInfo, "consumer connected", g.Name, from, "")
		return true, nil
	}
	return false, nil
}

// leaveLocked takes a member away that another connection replaces.
func (c *Clients) leaveLocked(g *ConsumerGroup, m *Client) {
	delete(g.members.byConn, m.Conn)
	delete(g.members.byID, m.ID)
	c.memberships--
	if of := c.conns[m.Conn]; of != nil {
		of.consumers = without(of.consumers, g.Name)
		c.dropConnLocked(m.Conn, of)
	}
}

// subscribeLocked replaces a group's subscriptions: topics that came or went are a change, a newer version of one is not.
// Apache: ConsumerGroupInfo.updateSubscription.
func (c *Clients) subscribeLocked(g *ConsumerGroup, list []codec.SubscriptionData) (changed, replaced bool, err error) {
	next := make(map[string]*Subscription, len(list))
	for i := range list {
		sub := &list[i]
		switch known := g.subscriptions[sub.Topic]; {
		case known == nil:
			changed = true
			next[sub.Topic] = newSubscription(sub)
		case sub.SubVersion > known.Data.SubVersion:
			replaced = true
			next[sub.Topic] = newSubscription(sub)
		default:
			next[sub.Topic] = known
		}
	}
	for topic := range g.subscriptions {
		if next[topic] == nil {
			changed = true
		}
	}
	if !changed && !replaced {
		return false, false, nil
	}
	if c.subscriptions+len(next)-len(g.subscriptions) > maxSubscriptions {
		return false, false, errTooManyClients
	}
	c.subscriptions += len(next) - len(g.subscriptions)
	g.subscriptions = next
	return changed, replaced, nil
}

// newSubscription makes the filter of a subscription.
func newSubscription(data *codec.SubscriptionData) *Subscription {
	sub := &Subscription{Data: *data}
	isTag := data.ExpressionType == "" || data.ExpressionType == codec.ExpressionTag
	if !isTag || data.ClassFilterMode || data.SubString == codec.SubAll || data.SubString == "" {
		return sub
	}
	codes := data.CodeSet
	if len(codes) == 0 { // a client that leaves the hashes to the broker
		parsed, err := codec.ParseSubscription(data.Topic, data.SubString, "")
		if err != nil {
			return sub
		}
		codes = parsed.CodeSet
	}
	sub.Filter = store.NewTagFilter(codes)
	return sub
}

// compareLocked warns, once for a group, when a member says again what it said before and yet another member's different
// subscription is in force: the two overwrite each other for ever, and messages are lost to one of them.
func (c *Clients) compareLocked(n *news, g *ConsumerGroup, conn remoting.Conn, list []codec.SubscriptionData) {
	var wants uint64
	for i := range list {
		wants += maphash.String(c.seed, list[i].Topic+"\x00"+list[i].ExpressionType+"\x00"+list[i].SubString)
	}
	m, self := g.members, g.members.byConn[conn]
	if m.wants != wants && self.wants == wants && m.writer != self.ID && m.byID[m.writer] != nil && !m.mismatch {
		m.mismatch = true
		n.add(slog.LevelWarn, "members of one group subscribe differently, each heartbeat replaces what the other wants", g.Name, self, m.writer)
	}
	m.wants, self.wants, m.writer = wants, wants, self.ID
}

// UnregisterConsumer removes the member on that connection from a group, and reports whether there was one.
func (c *Clients) UnregisterConsumer(conn remoting.Conn, group string) bool {
	var n news
	c.mu.Lock()
	of := c.conns[conn]
	dropped := of != nil && c.dropConsumerLocked(&n, conn, group)
	if dropped {
		of.consumers = without(of.consumers, group)
		c.dropConnLocked(conn, of)
	}
	c.mu.Unlock()
	c.publish(&n)
	return dropped
}

// dropConsumerLocked removes a member; a group without members is forgotten.
func (c *Clients) dropConsumerLocked(n *news, conn remoting.Conn, group string) bool {
	g := c.consumers[group]
	if g == nil || g.members.byConn[conn] == nil {
		return false
	}
	m := g.members.byConn[conn]
	c.memberships--
	delete(g.members.byConn, conn)
	delete(g.members.byID, m.ID)
	g.members.idList = nil
	if len(g.members.byConn) == 0 {
		delete(c.consumers, group)
		c.subscriptions -= len(g.subscriptions)
		n.gone = append(n.gone, group)
	}
	n.add(slog.LevelInfo, "consumer gone", group, m, "")
	n.changed = append(n.changed, group)
	return true
}
