// Package processor answers the requests of a broker: one file for each request family, all of them in table.go. It keeps who
// is connected and which pulls are parked; what survives a restart is in package store.
package processor

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Settings are what the configuration says about answering requests. They are replaced as a whole, see SetSettings.
// Apache: BrokerConfig.
type Settings struct {
	ClusterName string
	BrokerName  string
	BrokerID    int64
	// BrokerIP is brokerIP1 as remarks show it.
	BrokerIP string
	// RegionID and TraceOn go into every stored message and every answer to a send.
	RegionID string
	TraceOn  bool
	// Permission are the broker's permission bits, codec.PermRead and codec.PermWrite.
	Permission int32
	// AcceptSendsFrom is the time before which sends are refused; zero means always accepted.
	AcceptSendsFrom time.Time
	// MaxMessageBytes limits the body of a message.
	MaxMessageBytes int
	// SyncFlush makes a send wait until its message is on disk, unless it says WAIT=false.
	SyncFlush bool

	LitePull bool
	// LongPolling parks pulls for as long as they ask; without it they are parked for ShortPolling.
	LongPolling        bool
	ShortPolling       time.Duration
	RejectPullConsumer bool
	ServerSideReset    bool
	StoreReply         bool
	// PropertyFilter lets groups subscribe by SQL92 expressions.
	PropertyFilter bool
	// NotifyConsumerIDs pushes changes of a group's members to its members.
	NotifyConsumerIDs   bool
	ValidateSystemTopic bool
	// MixedMessageType allows topics with message.type=MIXED.
	MixedMessageType bool
	QueryMaxNum      int32
	// RejectTransactions refuses half messages. The others below are the rules of store.TxnSettings.
	RejectTransactions       bool
	TransactionTimeOut       time.Duration
	TransactionCheckInterval time.Duration
	TransactionCheckMax      int32
	TransactionOpMaxBytes    int32
	TransactionOpInterval    time.Duration
	// TimerMaxDelay is how far off the moment of a timer message may be. TimerSlotMax is how many of one slot are taken; of
	// more some are refused at random, of twice as many all.
	TimerMaxDelay time.Duration
	TimerSlotMax  int64
	// Recall lets timer messages be taken back, RecallUnwritable also when the broker may not be written to. RecallByTopic
	// writes the key of what is taken back with the topic before it, as Java up to 5.3.
	Recall, RecallUnwritable, RecallByTopic bool
	// MessageRetention is how old an undecided half message becomes.
	MessageRetention time.Duration
	PopSettings
	LiteSettings
	// ChannelExpired is how long a client may be silent.
	ChannelExpired time.Duration
}

// DefaultSettings returns Java's defaults for a broker of that name.
func DefaultSettings(brokerName string) Settings {
	return Settings{
		ClusterName: "DefaultCluster", BrokerName: brokerName, BrokerIP: "127.0.0.1", RegionID: "DefaultRegion", TraceOn: true,
		Permission: codec.PermRead | codec.PermWrite, MaxMessageBytes: 4 << 20, LitePull: true, LongPolling: true,
		ShortPolling: time.Second, ServerSideReset: true, StoreReply: true, NotifyConsumerIDs: true, ValidateSystemTopic: true,
		QueryMaxNum: 32, ChannelExpired: 120 * time.Second,
		TransactionTimeOut: 6 * time.Second, TransactionCheckInterval: 30 * time.Second, TransactionCheckMax: 15,
		TimerMaxDelay: 72 * time.Hour, TimerSlotMax: math.MaxInt32, RecallUnwritable: true,
		TransactionOpMaxBytes: 4096, TransactionOpInterval: 3 * time.Second, MessageRetention: 72 * time.Hour,
		PopSettings: DefaultPopSettings(), LiteSettings: DefaultLiteSettings(),
	}
}

// Options are what a Processor works with. Unless a field says otherwise it must be set.
type Options struct {
	Settings Settings
	// StoreHost is the address in offset message ids, the same as the store's.
	StoreHost netip.AddrPort

	Store    *store.Store
	Topics   *store.Topics
	Groups   *store.Groups
	Offsets  *store.Offsets
	Schedule *store.Schedule
	Txn      *store.Txn
	Pop      *store.Pop
	// IDs makes unique keys for messages that come without.
	IDs *codec.UniqueIDs

	// Timer keeps messages with a TIMER_ property; nil refuses them, as timerWheelEnable=false.
	Timer *store.Timer
	// Mappings are the static topics; nil refuses them. Forward asks another broker by its name.
	Mappings *store.Mappings
	Forward  func(ctx context.Context, broker string, c *codec.Command) (*codec.Command, error)
	// RouteData asks a name server for the route of a topic; nil without an error when it does not know it. It may be unset.
	RouteData func(ctx context.Context, topic string) (*codec.TopicRouteData, error)
	// RequestModes keeps what SET_MESSAGE_REQUEST_MODE says, Route returns a topic's queues on all brokers. They may be unset.
	RequestModes *store.RequestModes
	Route        func(topic string) ([]codec.MessageQueue, bool)
	// WriteQueues returns the queues that messages to a topic are sent to, in the order in which clients number them; unset means that
	// all are here.
	WriteQueues func(topic string) ([]codec.MessageQueue, bool)

	// Filters keeps what groups filter by expressions; nil keeps it in memory only.
	Filters *store.Filters

	// Submit queues a task on one of the server's pools and reports whether there was room.
	Submit func(kind remoting.PoolKind, task interface{ Run() }) bool
	// ReadConfig and UpdateConfig serve GET_BROKER_CONFIG and UPDATE_BROKER_CONFIG: the text is one key=value a line. They may
	// be nil.
	ReadConfig   func() (text []byte, version codec.DataVersion)
	UpdateConfig func(text []byte) error

	// MaxParkedPulls and MaxParkedPullsPerConn bound the long polls. The default values are 200,000 and 16,384.
	MaxParkedPulls, MaxParkedPullsPerConn int

	// AwaitRegistered, if set, returns when the name servers have been told of the topics as they are, or that takes too long.
	AwaitRegistered func()

	// StartedAt, StoreDir and PoolLoad, what waits in a pool and how much may, go into GET_BROKER_RUNTIME_INFO. They may be unset.
	StartedAt time.Time
	StoreDir  string
	PoolLoad  func(kind remoting.PoolKind) (waiting, capacity int)

	// Now is the clock, Random returns a number from 0 to n-1.
	Now    func() time.Time
	Random func(n int32) int32
	Logger *slog.Logger
}

func (o *Options) validate() error {
	if o.Store == nil || o.Topics == nil || o.Groups == nil || o.Offsets == nil || o.Schedule == nil || o.Txn == nil || o.Pop == nil || o.IDs == nil {
		return errors.New("processor options without store, tables or ids")
	}
	if o.Submit == nil || o.Now == nil || o.Random == nil || o.Logger == nil {
		return errors.New("processor options without pools, clock, random source or logger")
	}
	if !o.StoreHost.IsValid() || o.Settings.BrokerName == "" {
		return errors.New("processor options without store host or broker name")
	}
	if o.MaxParkedPulls <= 0 {
		o.MaxParkedPulls = 200_000
	}
	if o.MaxParkedPullsPerConn <= 0 {
		o.MaxParkedPullsPerConn = 16_384
	}
	if o.Filters == nil {
		o.Filters = store.NewFilters(store.FiltersOptions{TableOptions: store.TableOptions{Now: o.Now, Logger: o.Logger}})
	}
	return nil
}

// Processor answers requests. Its handlers run on event loops and on pools at the same time.
type Processor struct {
	opts     Options
	settings atomic.Pointer[liveSettings]
	store    *store.Store
	tables
	schedule *store.Schedule
	clients  *Clients
	locks    *Locks
	hold     *hold
	popping  *popping
	lites    *lites
	filters  filterCache
	sends    sync.Pool // of *sendCall
	pulls    sync.Pool // of *pullCall
	stats    Stats
	log      *slog.Logger
}

// tables are what the broker knows by name.
type tables struct {
	topics  *store.Topics
	groups  *store.Groups
	offsets *store.Offsets
	// newcomers are heartbeats that wait for retry topics.
	newcomers *newcomers
}

// New returns a processor with nobody connected.
func New(opts Options) (*Processor, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	p := &Processor{
		opts: opts, store: opts.Store, tables: tables{topics: opts.Topics, groups: opts.Groups, offsets: opts.Offsets}, schedule: opts.Schedule,
		clients: NewClients(opts.Logger), locks: NewLocks(opts.Logger), log: opts.Logger,
	}
	p.stats.traffic = new(traffic)
	p.stats.system = p.topics.IsSystem
	p.clients.notifier = newNotifier(p)
	p.clients.gone = p.opts.Filters.Unregister
	p.newcomers = &newcomers{p: p}
	p.hold = newHold(p, opts.MaxParkedPulls, opts.MaxParkedPullsPerConn)
	p.popping = newPopping(p, opts.Pop)
	p.lites = newLites(p)
	p.sends.New = func() any { return newSendCall(p) }
	p.pulls.New = func() any { return &pullCall{p: p} }
	p.SetSettings(opts.Settings)
	return p, nil
}

// Clients returns who is connected.
func (p *Processor) Clients() *Clients { return p.clients }

// Stats returns the counters.
func (p *Processor) Stats() *Stats { return &p.stats }

// liveSettings are Settings and what is made of them once.
type liveSettings struct {
	Settings
	// added is the text of the properties which every message gets; addedToReply lacks CLUSTER.
	added, addedToReply []byte
	// refusal is the response header of a send that was refused.
	refusal codec.SendResponse
}

// Settings returns the settings in force.
func (p *Processor) Settings() Settings { return p.live().Settings }

func (p *Processor) live() *liveSettings { return p.settings.Load() }

// SetSettings replaces the settings, from any goroutine. Requests that run already may still see the old ones.
func (p *Processor) SetSettings(s Settings) {
	l := &liveSettings{Settings: s}
	l.refusal.RegionID, l.refusal.TraceOn = s.RegionID, "false"
	if s.TraceOn {
		l.refusal.TraceOn = "true"
	}
	l.addedToReply = codec.AppendProperty(l.addedToReply, codec.PropMsgRegion, s.RegionID)
	l.addedToReply = codec.AppendProperty(l.addedToReply, codec.PropTraceOn, l.refusal.TraceOn)
	l.added = codec.AppendProperty(append(l.added, l.addedToReply...), codec.PropCluster, s.ClusterName)
	p.settings.Store(l)
}

// Arrived tells that messages became visible in queues. The store's dispatcher calls it; it does not block.
func (p *Processor) Arrived(batch []store.Arrival) {
	for i := range batch {
		a := &batch[i]
		switch {
		case a.Topic == store.TopicSchedule:
			p.schedule.Notify(a.QueueID)
		case a.Topic == store.TopicWheelTimer && p.opts.Timer != nil:
			p.opts.Timer.Notify()
		}
		p.hold.arrived(a)
		p.popping.hold.arrived(a)
		p.lites.arrived(a)
	}
}

// ConnClosed forgets the clients and the parked pulls and pops of a connection that has ended.
func (p *Processor) ConnClosed(conn remoting.Conn) {
	p.clients.ConnClosed(conn)
	p.hold.connClosed(conn)
	p.popping.hold.connClosed(conn)
	p.lites.hold.connClosed(conn)
}

// TickHold answers the parked pulls whose time is over. Call it every 100 ms or so.
func (p *Processor) TickHold(now time.Time) { p.hold.tick(now) }

// ParkedPulls returns the number of pulls that wait.
func (p *Processor) ParkedPulls() int64 { return p.hold.count.Load() }

// Drain answers all parked pulls and pops and parks no more, so that a server can close.
func (p *Processor) Drain() {
	p.hold.drain()
	p.popping.hold.drain()
	p.lites.hold.drain()
}
