package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Clients knows who is connected: producers and the members and subscriptions of consumer groups. Apache: ProducerManager,
// ConsumerManager.
type Clients struct {
	mu        sync.RWMutex // guards all below
	consumers map[string]*ConsumerGroup
	producers map[string]remoting.Conn // by client id
}

// NewClients returns an empty table.
func NewClients() *Clients {
	return &Clients{consumers: make(map[string]*ConsumerGroup), producers: make(map[string]remoting.Conn)}
}

// ConsumerGroup is a group with at least one member, as the latest heartbeat left it. It does not change; the next heartbeat
// replaces it. Apache: ConsumerGroupInfo.
type ConsumerGroup struct {
	Name string
	// Model is codec.Broadcasting or codec.Clustering, Type codec.ConsumeActively or codec.ConsumePassively.
	Model, Type   string
	subscriptions map[string]*Subscription // by topic
	members       map[remoting.Conn]bool
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
func (g *ConsumerGroup) HasMember(conn remoting.Conn) bool { return g.members[conn] }

// ProducerConn returns the connection of the producer with that client id, nil when there is none.
func (c *Clients) ProducerConn(clientID string) remoting.Conn {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.producers[clientID]
}

// ConnClosed removes every client of the connection.
func (c *Clients) ConnClosed(conn remoting.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, other := range c.producers {
		if other == conn {
			delete(c.producers, id)
		}
	}
}
