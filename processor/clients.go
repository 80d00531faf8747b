package processor

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Bounds of Clients; beyond them a heartbeat is refused.
const (
	maxGroupNameBytes   = 255
	maxClientIDBytes    = 1024
	maxMemberships      = 1_000_000 // pairs of group and connection
	maxMembershipsConn  = 10_000    // of one connection
	maxSubscriptions    = 2_000_000 // over all groups
	maxSubscriptionsOne = 65_536    // of one group
)

// errTooManyClients refuses what would exceed a bound.
var errTooManyClients = errors.New("too many clients, groups or subscriptions")

// Clients knows who is connected: producers and the members and subscriptions of consumer groups. It keeps no clock and sends
// nothing. Apache: ProducerManager, ConsumerManager.
type Clients struct {
	log *slog.Logger
	// notifier, if set, is told of groups whose members or topics changed, never under mu.
	notifier *notifier
	seed     maphash.Seed // of the hashes that tell subscriptions apart

	mu            sync.RWMutex // guards all below
	consumers     map[string]*ConsumerGroup
	producers     map[string]remoting.Conn             // by client id, the latest connection
	groups        map[string]map[remoting.Conn]*Client // producer groups
	conns         map[remoting.Conn]*connClients
	memberships   int
	subscriptions int
}

// connClients are the groups that the clients of one connection are in.
type connClients struct{ consumers, producers []string }

// Client is one client of one group: a producer, or a member of a consumer group. Apache: ClientChannelInfo.
type Client struct {
	Conn     remoting.Conn
	ID       string
	Language codec.Language
	Version  int32
	// Seen is the time of its last heartbeat.
	Seen time.Time

	wants uint64 // hash of what a consumer's last heartbeat subscribed to
}

// NewClients returns an empty table.
func NewClients(log *slog.Logger) *Clients {
	return &Clients{log: log, seed: maphash.MakeSeed(), consumers: make(map[string]*ConsumerGroup), producers: make(map[string]remoting.Conn),
		groups: make(map[string]map[remoting.Conn]*Client), conns: make(map[remoting.Conn]*connClients)}
}

// ProducerConn returns the connection of the producer with that client id, nil when there is none.
func (c *Clients) ProducerConn(clientID string) remoting.Conn {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.producers[clientID]
}

// checkNewLocked reports why one more client of a group does not fit.
func (c *Clients) checkNewLocked(group string, from *Client) error {
	of := c.conns[from.Conn]
	switch {
	case group == "" || len(group) > maxGroupNameBytes:
		return fmt.Errorf("group name of %d bytes, must have 1 to %d", len(group), maxGroupNameBytes)
	case len(from.ID) > maxClientIDBytes:
		return fmt.Errorf("client id of %d bytes, at most %d", len(from.ID), maxClientIDBytes)
	case c.memberships >= maxMemberships || of != nil && len(of.consumers)+len(of.producers) >= maxMembershipsConn:
		return errTooManyClients
	}
	return nil
}

// connLocked returns the groups of a connection, to be added to.
func (c *Clients) connLocked(conn remoting.Conn) *connClients {
	of := c.conns[conn]
	if of == nil {
		of = new(connClients)
		c.conns[conn] = of
	}
	c.memberships++
	return of
}

// RegisterProducer notes a producer's heartbeat. Of from, the connection, id, language and version count.
func (c *Clients) RegisterProducer(from Client, group string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.groups[group][from.Conn]
	switch {
	case known == nil:
		if err := c.checkNewLocked(group, &from); err != nil {
			return err
		}
		of := c.connLocked(from.Conn)
		of.producers = append(of.producers, group)
	case known.ID == from.ID:
		known.Seen = now
		c.producers[from.ID] = from.Conn
		return nil
	default:
		c.forgetProducerLocked(known)
	}
	if c.groups[group] == nil {
		c.groups[group] = make(map[remoting.Conn]*Client)
	}
	from.Seen = now
	c.groups[group][from.Conn] = &from
	c.producers[from.ID] = from.Conn
	c.log.Info("producer connected", "group", group, "client", from.ID, "addr", from.Conn.RemoteAddr())
	return nil
}

// forgetProducerLocked drops the way from a producer's id to its connection.
func (c *Clients) forgetProducerLocked(m *Client) {
	if c.producers[m.ID] == m.Conn {
		delete(c.producers, m.ID)
	}
}

// UnregisterProducer removes the producer on that connection from a group.
func (c *Clients) UnregisterProducer(conn remoting.Conn, group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.conns[conn]; of != nil && c.dropProducerLocked(conn, group) {
		of.producers = without(of.producers, group)
		c.dropConnLocked(conn, of)
	}
}

func (c *Clients) dropProducerLocked(conn remoting.Conn, group string) bool {
	m := c.groups[group][conn]
	if m == nil {
		return false
	}
	c.memberships--
	c.forgetProducerLocked(m)
	if delete(c.groups[group], conn); len(c.groups[group]) == 0 {
		delete(c.groups, group)
	}
	return true
}

// dropConnLocked forgets a connection that has no more clients, and reports whether it did.
func (c *Clients) dropConnLocked(conn remoting.Conn, of *connClients) bool {
	if len(of.consumers)+len(of.producers) > 0 {
		return false
	}
	delete(c.conns, conn)
	return true
}

func without(names []string, name string) []string {
	if i := slices.Index(names, name); i >= 0 {
		return slices.Delete(names, i, i+1)
	}
	return names
}

// Producers returns the clients of a producer group, nil when there is none.
func (c *Clients) Producers(group string) []Client {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return copies(c.groups[group])
}

// AllProducers returns the clients of all producer groups.
func (c *Clients) AllProducers() map[string][]Client {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make(map[string][]Client, len(c.groups))
	for group, clients := range c.groups {
		all[group] = copies(clients)
	}
	return all
}

// copies copies clients, in the order of their ids.
func copies(clients map[remoting.Conn]*Client) []Client {
	if len(clients) == 0 {
		return nil
	}
	list := make([]Client, 0, len(clients))
	for _, m := range clients {
		list = append(list, *m)
	}
	slices.SortFunc(list, func(a, b Client) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// ConnClosed removes every client of the connection.
func (c *Clients) ConnClosed(conn remoting.Conn) {
	c.mu.Lock()
	groups := c.closeLocked(conn)
	c.mu.Unlock()
	c.tell(groups)
}

// closeLocked removes the clients of a connection and returns the consumer groups that lost one.
func (c *Clients) closeLocked(conn remoting.Conn) (groups []string) {
	of := c.conns[conn]
	if of == nil {
		return nil
	}
	delete(c.conns, conn)
	for _, group := range of.producers {
		c.dropProducerLocked(conn, group)
	}
	for _, group := range of.consumers {
		if c.dropConsumerLocked(conn, group) {
			groups = append(groups, group)
		}
	}
	return groups
}

// Expire removes the clients that have not been heard of since before. It returns the connections on which nobody is left, to
// be closed. Apache: ConsumerManager.scanNotActiveChannel, ProducerManager.scanNotActiveChannel.
func (c *Clients) Expire(before time.Time) (conns []remoting.Conn) {
	c.mu.Lock()
	var changed []string
	for group, clients := range c.groups {
		for conn, m := range clients {
			if m.Seen.Before(before) {
				c.warnSilent(group, m)
				c.dropProducerLocked(conn, group)
				of := c.conns[conn]
				of.producers = without(of.producers, group)
				conns = c.appendIdleLocked(conns, conn, of)
			}
		}
	}
	for group, g := range c.consumers {
		for conn, m := range g.members.byConn {
			if m.Seen.Before(before) {
				c.warnSilent(group, m)
				c.dropConsumerLocked(conn, group)
				of := c.conns[conn]
				of.consumers = without(of.consumers, group)
				conns = c.appendIdleLocked(conns, conn, of)
				changed = append(changed, group)
			}
		}
	}
	c.mu.Unlock()
	c.tell(slices.Compact(changed))
	return conns
}

func (c *Clients) warnSilent(group string, m *Client) {
	c.log.Warn("client has been silent for too long", "group", group, "client", m.ID, "addr", m.Conn.RemoteAddr())
}

// appendIdleLocked forgets a connection that has no more clients, and appends it to conns then.
func (c *Clients) appendIdleLocked(conns []remoting.Conn, conn remoting.Conn, of *connClients) []remoting.Conn {
	if c.dropConnLocked(conn, of) {
		return append(conns, conn)
	}
	return conns
}

// tell passes on which groups changed.
func (c *Clients) tell(groups []string) {
	if c.notifier == nil {
		return
	}
	for _, group := range groups {
		c.notifier.add(group)
	}
}
