package processor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// gone, if set, is told of groups whose last member left, never under mu.
	gone func(group string)
	// notifier, if set, is told of groups whose members or topics changed, never under mu.
	notifier *notifier
	seed     maphash.Seed  // of the hashes that tell subscriptions apart
	turn     atomic.Uint32 // of the producers, see NextProducer

	mu            sync.RWMutex // guards all below
	consumers     map[string]*ConsumerGroup
	producers     map[string]remoting.Conn             // by client id, the latest connection
	groups        map[string]map[remoting.Conn]*Client // producer groups
	conns         map[remoting.Conn]*connClients
	memberships   int
	subscriptions int
}

// news is what happened while Clients.mu was held: it is logged, and told to the notifier, when the lock is free again.
type news struct {
	lines   []newsLine
	changed []string // consumer groups, one may stand there twice
	gone    []string // consumer groups without members
}

// newsLine is one line of the log about a client of a group.
type newsLine struct {
	level slog.Level
	text  string
	group string
	m     Client
	other string // another client or address the line is about
}

func (n *news) add(level slog.Level, text, group string, m *Client, other string) {
	n.lines = append(n.lines, newsLine{level, text, group, *m, other})
}

// publish logs the news and tells the notifier. mu must not be held.
func (c *Clients) publish(n *news) {
	for _, line := range n.lines {
		attrs := []slog.Attr{slog.String("group", line.group), slog.String("client", line.m.ID), slog.Any("addr", line.m.Conn.RemoteAddr())}
		if line.other != "" {
			attrs = append(attrs, slog.String("other", line.other))
		}
		c.log.LogAttrs(context.Background(), line.level, line.text, attrs...)
	}
	if c.notifier != nil {
		for _, group := range n.changed {
			c.notifier.add(group)
		}
	}
	if c.gone != nil {
		for _, group := range n.gone {
			c.gone(group)
		}
	}
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
	var n news
	c.mu.Lock()
	err := c.registerProducerLocked(&n, &from, group, now)
	c.mu.Unlock()
	c.publish(&n)
	return err
}

func (c *Clients) registerProducerLocked(n *news, from *Client, group string, now time.Time) error {
	known := c.groups[group][from.Conn]
	switch {
	case known == nil:
		if err := c.checkNewLocked(group, from); err != nil {
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
	c.groups[group][from.Conn] = from
	c.producers[from.ID] = from.Conn
	n.add(slog.LevelInfo, "producer connected", group, from, "")
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

// NextProducer returns the connection of one producer of a group after the other, one that can be written to if any
// can; nil when none is alive. Apache: ProducerManager.getAvailableChannel.
func (c *Clients) NextProducer(group string) remoting.Conn {
	list := c.Producers(group)
	if len(list) == 0 {
		return nil
	}
	var last remoting.Conn
	at := int(c.turn.Add(1) % uint32(len(list)))
	for i := range list {
		conn := list[(at+i)%len(list)].Conn
		if conn.Closed() {
			continue
		}
		if conn.Writable() {
			return conn
		}
		last = conn
	}
	return last
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
	var n news
	c.mu.Lock()
	if of := c.conns[conn]; of != nil {
		delete(c.conns, conn)
		for _, group := range of.producers {
			c.dropProducerLocked(conn, group)
		}
		for _, group := range of.consumers {
			c.dropConsumerLocked(&n, conn, group)
		}
	}
	c.mu.Unlock()
	c.publish(&n)
}

const silentText = "client has been silent for too long"

// Expire removes the clients that have not been heard of since before. It returns the connections on which nobody is left, to
// be closed. Apache: ConsumerManager.scanNotActiveChannel, ProducerManager.scanNotActiveChannel.
func (c *Clients) Expire(before time.Time) (conns []remoting.Conn) {
	var n news
	c.mu.Lock()
	for group, clients := range c.groups {
		for conn, m := range clients {
			if m.Seen.Before(before) {
				n.add(slog.LevelWarn, silentText, group, m, "")
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
				n.add(slog.LevelWarn, silentText, group, m, "")
				c.dropConsumerLocked(&n, conn, group)
				of := c.conns[conn]
				of.consumers = without(of.consumers, group)
				conns = c.appendIdleLocked(conns, conn, of)
			}
		}
	}
	c.mu.Unlock()
	c.publish(&n)
	return conns
}

// appendIdleLocked forgets a connection that has no more clients, and appends it to conns then.
func (c *Clients) appendIdleLocked(conns []remoting.Conn, conn remoting.Conn, of *connClients) []remoting.Conn {
	if c.dropConnLocked(conn, of) {
		return append(conns, conn)
	}
	return conns
}
