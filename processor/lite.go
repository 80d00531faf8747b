package processor

import (
	"container/heap"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Lite topics: light message queues below a parent topic with message.type=LITE. The clients of a group that is bound to the parent
// (lite.bind.topic) each subscribe to lite topics of their own choice, or, with lite.sub.wildcard, get all of them.
//
// A message that arrives in a lite topic makes the topic ready for one client of each group that subscribes to it; a pop takes the
// ready topics of its client and looks at no others. A topic becomes ready again when its last delivery is acknowledged, or no
// longer invisible, and there is more. A topic is ready at a client once, so that what waits is bounded by the subscriptions;
// maxClientEventCount and full dispatches, which Java needs because it drops events, have no meaning here.
//
// Everything here is in memory, as in Java: the messages and the groups' offsets are on disk, subscriptions come again with the
// clients' next synchronisation, and what was in flight is delivered again.
//
// Locks: lites.mu before liteClient.mu, liteWild.mu and liteHold.mu; none of these while liteTopic.mu is held, but lites.dueMu.
//
// Apache: LiteSubscriptionRegistryImpl, LiteEventDispatcher.

const (
	// liteIdle is how long a client with ready topics may be silent before they are given to others. Apache:
	// LiteEventDispatcher.CLIENT_INACTIVE_INTERVAL.
	liteIdle = 10 * time.Second
	// maxLiteClients bounds the clients with subscriptions or parked pops, maxLiteFlights the deliveries in flight.
	maxLiteClients = 1_000_000
	maxLiteFlights = 1_000_000
)

// LiteSettings are what the configuration says about lite topics. Apache: BrokerConfig.
type LiteSettings struct {
	// LiteTTLCheck is how often lite topics are looked at that may be over, MinLiteTTL how old each becomes at least, the broker as well.
	LiteTTLCheck, MinLiteTTL time.Duration
	// LiteSubscriptionCheck is how often subscriptions are looked at, which end after LiteSubscriptionTimeout without a word of the client.
	LiteSubscriptionCheck, LiteSubscriptionTimeout time.Duration
	// LiteEventCheck is how often ready topics of silent clients are given to others.
	LiteEventCheck       time.Duration
	MaxLiteSubscriptions int64
	// LiteLagCollect lets GET_LITE_GROUP_INFO tell which lite topics have waited longest, at most LiteLagTopK; the other two are for
	// metrics.
	LiteLagCollect, LiteLagCountMetrics, LiteLagLatencyMetrics bool
	LiteLagTopK                                                int32
}

// DefaultLiteSettings returns Java's defaults.
func DefaultLiteSettings() LiteSettings {
	return LiteSettings{
		LiteTTLCheck: 2 * time.Minute, MinLiteTTL: 15 * time.Minute, LiteSubscriptionCheck: 2 * time.Minute, LiteSubscriptionTimeout: 3 * time.Minute,
		LiteEventCheck: 10 * time.Second, MaxLiteSubscriptions: 100_000, LiteLagTopK: 50,
	}
}

// lites serves lite topics.
type lites struct {
	p     *Processor
	hold  liteHold
	calls sync.Pool // of *litePop
	free  sync.Pool // of *liteFlight

	mu      sync.RWMutex // guards what follows, and who subscribes to what
	clients map[string]*liteClient
	topics  map[string]*liteTopic           // by queue name
	wild    map[string]map[string]*liteWild // by parent and group
	active  int64                           // subscriptions

	flights atomic.Int64
	dueMu   sync.Mutex // guards due and the places of flights in it
	due     dueHeap[*liteFlight]

	// The ticks that are due next; only tick uses them.
	nextTTL, nextSubscriptions, nextEvents time.Time
}

// liteTopic is a lite topic with messages or subscribers.
type liteTopic struct {
	name, parent string // the queue's name, the parent topic
	key          []byte // name
	// lastMs is the store time of the last message, 0 while none has been seen.
	lastMs atomic.Int64
	groups []*liteGroup // guarded by lites.mu

	mu      sync.Mutex // guards what follows; a pop and an ack hold it
	flights []*liteFlight
}

// liteGroup are the clients of a group that subscribe to a lite topic.
type liteGroup struct {
	name string
	subs []*liteSub
	turn atomic.Uint32
}

// liteSub is one subscription.
type liteSub struct {
	client *liteClient
	topic  *liteTopic

	// liteClient.mu guards what follows.
	ready      bool
	prev, next *liteSub
}

// liteClient is a client with subscriptions, or with a parked pop.
type liteClient struct {
	id, group, parent string
	// usedMs is when it popped last, consumedMs when it last got a topic.
	usedMs, consumedMs atomic.Int64

	// lites.mu guards what follows.
	conn      remoting.Conn
	subs      map[string]*liteSub // by queue name
	wild      *liteWild           // of a group that takes all
	updatedMs int64
	named     bool // it told its subscriptions

	mu          sync.Mutex // guards what follows
	first, last *liteSub   // ready ones

	waiting atomic.Int64  // len(parked)
	parked  []*parkedLite // guarded by liteHold.mu
}

// liteWild is a group that takes all lite topics of a parent.
type liteWild struct {
	group   string
	clients []*liteClient // guarded by lites.mu
	turn    atomic.Uint32

	mu    sync.Mutex // guards what follows
	ready []*liteTopic
	set   map[*liteTopic]struct{}
}

func newLites(p *Processor) *lites {
	l := &lites{p: p, clients: make(map[string]*liteClient), topics: make(map[string]*liteTopic), wild: make(map[string]map[string]*liteWild)}
	l.hold = newLiteHold(l)
	l.hold.woken.submit, l.hold.woken.again = p.opts.Submit, l.hold.again
	l.calls.New = func() any { return &litePop{l: l} }
	l.free.New = func() any { return new(liteFlight) }
	return l
}

// arrived makes the topic of an arrival ready. The dispatcher calls it.
func (l *lites) arrived(a *store.Arrival) {
	if !store.IsLiteQueue(a.Topic) || a.QueueID != 0 {
		return
	}
	l.mu.RLock()
	t := l.topics[a.Topic]
	if t == nil {
		l.mu.RUnlock()
		if t = l.topic(a.Topic); t == nil {
			return
		}
		l.mu.RLock()
	}
	defer l.mu.RUnlock()
	t.lastMs.Store(a.StoreTimestampMs)
	l.offerLocked(t, "", nil)
}

// topic returns a lite topic, listed if need be; nil for another name.
func (l *lites) topic(name string) *liteTopic {
	parent, _, ok := store.SplitLiteQueue(name)
	if !ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.topicLocked(name, parent)
}

func (l *lites) topicLocked(name, parent string) *liteTopic {
	t := l.topics[name]
	if t == nil {
		t = &liteTopic{name: strings.Clone(name), parent: strings.Clone(parent), key: []byte(name)}
		l.topics[t.name] = t
	}
	return t
}

// find returns a lite topic that is listed, or nil.
func (l *lites) find(queueName []byte) *liteTopic {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.topics[string(queueName)]
}

// offer makes a topic ready for a group, for all with an empty name. It is given to except only when there is nobody else.
func (l *lites) offer(t *liteTopic, group string, except *liteClient) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	l.offerLocked(t, group, except)
}

func (l *lites) offerLocked(t *liteTopic, group string, except *liteClient) {
	for _, g := range t.groups {
		if group == "" || g.name == group {
			s := g.choose(except, l.p.opts.Now().UnixMilli())
			s.client.push(s, false)
			l.hold.wake(s.client)
		}
	}
	for name, w := range l.wild[t.parent] {
		if group == "" || name == group {
			w.push(t)
			if c := w.waiting(); c != nil {
				l.hold.wake(c)
			}
		}
	}
}

// choose picks the client that is to get a topic: the only one, or in turn one that waits, or one that popped lately.
func (g *liteGroup) choose(except *liteClient, nowMs int64) *liteSub {
	if len(g.subs) == 1 {
		return g.subs[0]
	}
	first := int(g.turn.Add(1)) % len(g.subs)
	if s := g.lively(first, except, nowMs); s != nil {
		return s
	}
	if g.subs[first].client == except {
		first++
	}
	return g.subs[first%len(g.subs)]
}

// lively returns a client that waits, or else one that popped lately; nil when there is none.
func (g *liteGroup) lively(first int, except *liteClient, nowMs int64) (lately *liteSub) {
	for i := range g.subs {
		s := g.subs[(first+i)%len(g.subs)]
		switch {
		case s.client == except:
		case s.client.waits():
			return s
		case lately == nil && nowMs-s.client.usedMs.Load() < liteIdle.Milliseconds():
			lately = s
		}
	}
	return lately
}

// client returns a client of a group and what that group takes all of; nil when nothing is known of it.
func (l *lites) client(id, group []byte) (c *liteClient, wild *liteWild) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if c = l.clients[string(id)]; c == nil || c.group != string(group) {
		return nil, nil
	}
	return c, c.wild
}

// wildOf returns what the client's group takes all of, nil when it does not.
func (l *lites) wildOf(c *liteClient) *liteWild {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return c.wild
}

// clientFor returns the client of a pop that is about to be parked, listed if need be, and counts the pop as waiting; nil when there
// are too many.
func (l *lites) clientFor(h *codec.PopLiteHeader) *liteClient {
	l.mu.RLock()
	c := l.clients[string(h.ClientID)]
	if c != nil {
		c.waiting.Add(1) // nobody forgets it from here on
	}
	l.mu.RUnlock()
	if c != nil {
		return c
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c = l.clientLocked(string(h.ClientID), string(h.Group), string(h.Topic)); c != nil {
		c.waiting.Add(1)
	}
	return c
}

func (l *lites) clientLocked(id, group, parent string) *liteClient {
	c := l.clients[id]
	if c == nil && len(l.clients) < maxLiteClients {
		c = &liteClient{id: id, group: group, parent: parent, subs: make(map[string]*liteSub)}
		c.usedMs.Store(l.p.opts.Now().UnixMilli())
		l.clients[id] = c
	}
	return c
}

// forgetIdle forgets a client of which nothing is known but pops that have left.
func (l *lites) forgetIdle(h *codec.PopLiteHeader) {
	l.mu.RLock()
	c := l.clients[string(h.ClientID)]
	idle := c.idleLocked()
	l.mu.RUnlock()
	if !idle {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c = l.clients[string(h.ClientID)]; c.idleLocked() {
		delete(l.clients, c.id)
	}
}

// idleLocked reports whether nothing speaks for keeping a client. The caller holds lites.mu.
func (c *liteClient) idleLocked() bool {
	return c != nil && !c.named && len(c.subs) == 0 && c.wild == nil && c.waiting.Load() == 0
}

// TickLite ends what is over of lite topics: deliveries, polls, subscriptions, the topics themselves. Call it every 100 ms or so,
// from one goroutine.
func (p *Processor) TickLite(now time.Time) {
	l, live := p.lites, p.live()
	l.hold.tick(now)
	l.flightsOver(now)
	due := func(next *time.Time, period time.Duration) bool {
		if now.Before(*next) {
			return false
		}
		first := next.IsZero()
		*next = now.Add(max(period, 50*time.Millisecond))
		return !first
	}
	if due(&l.nextEvents, live.LiteEventCheck) {
		l.passOn(now)
	}
	if due(&l.nextSubscriptions, live.LiteSubscriptionCheck) {
		l.expire(now)
	}
	if due(&l.nextTTL, live.LiteTTLCheck) && now.Sub(p.opts.StartedAt) >= live.MinLiteTTL {
		l.deleteOver(now)
	}
}

// group returns the clients of a group that subscribe to the topic, or nil. The caller holds lites.mu.
func (t *liteTopic) group(name string) *liteGroup {
	for _, g := range t.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// hasMore reports whether a topic has messages that a group has not had.
func (l *lites) hasMore(t *liteTopic, group string) bool {
	committed, ok := l.p.offsets.Query([]byte(group), t.key, 0)
	return !ok || l.p.store.MaxQueueOffset(t.name, 0) > committed
}

// flightsOver makes the topics ready whose last delivery is visible again.
func (l *lites) flightsOver(now time.Time) {
	for {
		l.dueMu.Lock()
		if len(l.due) == 0 || l.due[0].freeMs > now.UnixMilli() {
			l.dueMu.Unlock()
			return
		}
		f := heap.Pop(&l.due).(*liteFlight)
		t, group := f.topic, f.group
		l.dueMu.Unlock()
		l.offer(t, group, nil)
	}
}

// LiteSubscriptions returns how many subscriptions there are.
func (p *Processor) LiteSubscriptions() int64 {
	p.lites.mu.RLock()
	defer p.lites.mu.RUnlock()
	return p.lites.active
}

// liteBound returns the parent topic that a group is bound to, empty for an ordinary group. Apache: LiteMetadataUtil.
func liteBound(cfg *codec.SubscriptionGroupConfig) string { return cfg.Attributes["lite.bind.topic"] }

// isLite reports whether a topic is a parent of lite topics.
func isLite(cfg *codec.TopicConfig) bool { return cfg.Attributes[attributeMessageType] == "LITE" }

func isWildcard(cfg *codec.SubscriptionGroupConfig) bool {
	_, ok := cfg.Attributes["lite.sub.wildcard"]
	return ok
}

// toLite makes a pull of a lite topic one of its queue. Apache: PullMessageProcessor, which parks it by the parent's queue.
func (c *pullCall) toLite() error {
	if _, ok := c.p.topics.GetBytes(c.h.Topic); !ok {
		return topicUnknownToPull(string(c.h.Topic))
	}
	c.liteName = store.AppendLiteQueue(c.liteName[:0], c.h.Topic, c.h.LiteTopic)
	c.h.Topic, c.h.LiteTopic = c.liteName, nil
	return nil
}

// toLiteTopic sends a message to the lite topic that it names, and to no other light message queue. Apache:
// SendMessageProcessor.sendMessage.
func (c *sendCall) toLiteTopic() error {
	parent := c.h.Topic
	if !store.PossibleLite(parent, c.props.lite) {
		return refuse(codec.MessageIllegal, "%q cannot be a lite topic of %s: its name is too long or has one of $ , / \\ @", c.props.lite, parent)
	}
	if c.props.dispatch {
		c.text = codec.AppendPropertiesWithout(nil, c.text, codec.PropInnerMultiDispatch)
		c.props.scan(c.text)
	}
	if n := len(c.text); n > 0 && c.text[n-1] != propEnd {
		c.text = append(c.text, propEnd)
	}
	c.text = append(append(c.text, codec.PropInnerMultiDispatch...), 1)
	c.text = append(store.AppendLiteQueue(c.text, parent, c.props.lite), propEnd)
	return nil
}
