package namesrv

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

const (
	masterID = 0
	// defaultHeartbeatTimeout is how long a broker may be silent that did not say how long. Apache: 120 s.
	defaultHeartbeatTimeout = 120 * time.Second
	// memberTopicPrefix begins the topics by which a slave finds its group; their route is always the true one.
	memberTopicPrefix = "rmq_sys_SYNC_BROKER_MEMBER_"
)

// routes is what the name server knows: which brokers there are and which topics they have. It does no I/O and asks no clock.
// Apache: RouteInfoManager.
type routes struct {
	settings *atomic.Pointer[Settings]
	// orderConf returns a topic's entry of ORDER_TOPIC_CONFIG, "" for none.
	orderConf func(topic string) string
	// registered holds the connections of brokers, so that the end of any other is passed over without a lock.
	registered sync.Map // remoting.Conn → nothing

	answers answers

	// mu guards the fields below. Nothing is read or written to a file or a connection under it.
	mu       sync.RWMutex
	topics   map[string][]codec.QueueData // by broker name
	brokers  map[string]*member
	clusters map[string]map[string]bool // cluster → broker names
	lives    map[brokerAddr]*live
	// mappings are the static topics: topic → broker name → mapping.
	mappings map[string]map[string]*codec.TopicQueueMappingInfo
	// leftovers are the topics of a snapshot that brokers have not registered since, by broker name.
	leftovers map[string]*leftover
	// doors are set before anything is asked.
	doors doors
}

// brokerAddr tells the brokers apart. Apache: BrokerAddrInfo.
type brokerAddr struct{ cluster, addr string }

// member is one broker name: a master and its slaves by id. Apache: BrokerData.
type member struct {
	cluster      string
	addrs        map[int64]string
	actingMaster bool
	zone         string
}

// live is one registered broker. Apache: BrokerLiveInfo.
type live struct {
	name    string
	id      int64
	lastMs  atomic.Int64 // of the last sign of life
	timeout time.Duration
	version codec.DataVersion
	// complete says that all topics of that version are in the tables, so that the same version again changes nothing.
	complete bool
	// stale says that the broker comes from a snapshot and has not registered since; conn is then nil.
	stale         bool
	conn          remoting.Conn
	haAddr        string
	filterServers []string
	advertised    map[string]string // see registration
}

// registration is a REGISTER_BROKER without its topics.
type registration struct {
	cluster, name, addr string
	id                  int64
	haAddr, zone        string
	timeout             time.Duration
	// actingMaster is nil for brokers that do not know the word.
	actingMaster *bool
	conn         remoting.Conn
	// advertised is the address by the name of the listener through which a client came, if it is another one.
	advertised map[string]string
}

func (r *registration) actsAsMaster() bool { return r.actingMaster != nil && *r.actingMaster }

// master is what a slave is told when it registers.
type master struct{ addr, haAddr string }

func newRoutes(settings *atomic.Pointer[Settings], orderConf func(topic string) string) *routes {
	return &routes{settings: settings, orderConf: orderConf, topics: make(map[string][]codec.QueueData),
		brokers: make(map[string]*member), clusters: make(map[string]map[string]bool), lives: make(map[brokerAddr]*live),
		mappings: make(map[string]map[string]*codec.TopicQueueMappingInfo), leftovers: make(map[string]*leftover), answers: answers{bodies: make(map[string]routeBodies)}}
}

// refresh takes a registration whose topics are known already, by their version. It reports false when they must be looked
// at.
func (r *routes) refresh(reg *registration, version codec.DataVersion, now time.Time) (master, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lives[brokerAddr{reg.cluster, reg.addr}]
	m := r.brokers[reg.name]
	if l == nil || m == nil || !l.complete || l.version != version || l.name != reg.name || l.id != reg.id ||
		m.addrs[reg.id] != reg.addr || m.actingMaster != reg.actsAsMaster() || m.zone != reg.zone || !maps.Equal(l.advertised, reg.advertised) {
		return master{}, false
	}
	l.lastMs.Store(now.UnixMilli())
	if l.timeout != reg.timeout || l.haAddr != reg.haAddr {
		r.answers.changes.Add(1)
	}
	l.timeout, l.haAddr, l.conn = reg.timeout, reg.haAddr, reg.conn
	r.registered.Store(reg.conn, nil)
	return r.masterLocked(reg, m), true
}

// outcome is what became of a registration.
type outcome int

const (
	// refused is the first registration of a broker that holds a single topic: it is meant for a server that knows the others.
	refused outcome = iota
	taken
	// joined is the one by which a broker becomes known.
	joined
)

// register takes a registration with its topics.
func (r *routes) register(reg *registration, body *codec.RegisterBrokerBody, now time.Time) (master, outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	table := &body.TopicConfigSerializeWrapper
	m := r.brokers[reg.name]
	if r.outdatedLocked(reg, m, table.DataVersion) {
		r.forgetLocked(brokerAddr{reg.cluster, reg.addr})
		return master{}, taken
	}
	key := brokerAddr{reg.cluster, reg.addr}
	before := r.lives[key]
	first := m == nil || m.addrs[reg.id] == "" || before != nil && before.stale
	if first && len(table.TopicConfigTable) == 1 {
		return master{}, refused
	}
	m = r.joinLocked(reg, m)
	changed := first || before == nil || before.version != table.DataVersion
	complete := true
	if reg.id == masterID || reg.actingMaster != nil && reg.id == m.leastID() {
		complete = r.takeTopicsLocked(reg, m, table, changed, now)
	}
	l := &live{name: reg.name, id: reg.id, timeout: reg.timeout, version: table.DataVersion, complete: complete, conn: reg.conn,
		haAddr: reg.haAddr, filterServers: body.FilterServerList, advertised: reg.advertised}
	if before != nil && body.FilterServerList == nil {
		l.filterServers = before.filterServers
	}
	if before == nil || before.stale || before.timeout != l.timeout || before.haAddr != l.haAddr ||
		!slices.Equal(l.filterServers, before.filterServers) || !maps.Equal(l.advertised, before.advertised) {
		r.answers.reset()
	}
	l.lastMs.Store(now.UnixMilli())
	r.lives[key] = l
	r.registered.Store(reg.conn, nil)
	if before == nil || before.stale {
		return r.masterLocked(reg, m), joined
	}
	return r.masterLocked(reg, m), taken
}

// outdatedLocked reports whether another broker, alive and with a higher state version, has the registration's place.
func (r *routes) outdatedLocked(reg *registration, m *member, version codec.DataVersion) bool {
	if m == nil || m.addrs[reg.id] == "" || m.addrs[reg.id] == reg.addr {
		return false
	}
	other := r.lives[brokerAddr{reg.cluster, m.addrs[reg.id]}]
	return other != nil && !other.stale && other.version.StateVersion > version.StateVersion
}

// joinLocked puts the broker's address into its group, where it stands under one id only.
func (r *routes) joinLocked(reg *registration, m *member) *member {
	if m == nil {
		m = &member{cluster: reg.cluster, addrs: make(map[int64]string)}
		r.brokers[reg.name] = m
	}
	if r.clusters[reg.cluster] == nil {
		r.clusters[reg.cluster] = make(map[string]bool)
	}
	r.clusters[reg.cluster][reg.name] = true
	if m.addrs[reg.id] == reg.addr && m.actingMaster == reg.actsAsMaster() && m.zone == reg.zone {
		return m
	}
	least := m.leastID()
	if l := r.lives[brokerAddr{reg.cluster, m.addrs[reg.id]}]; l != nil && l.stale && m.addrs[reg.id] != reg.addr {
		r.forgetLocked(brokerAddr{reg.cluster, m.addrs[reg.id]}) // the broker has moved
	}
	m.actingMaster, m.zone = reg.actsAsMaster(), reg.zone
	maps.DeleteFunc(m.addrs, func(id int64, addr string) bool { return addr == reg.addr })
	m.addrs[reg.id] = reg.addr
	if m.leastID() != least {
		r.incompleteLocked(reg.name)
	}
	r.answers.reset()
	return m
}

// masterLocked is what a slave is told of its master.
func (r *routes) masterLocked(reg *registration, m *member) master {
	addr := m.addrs[masterID]
	if reg.id == masterID || addr == "" {
		return master{}
	}
	l := r.lives[brokerAddr{reg.cluster, addr}]
	if l == nil {
		return master{}
	}
	return master{addr, l.haAddr}
}

// forget drops the answers that were made of a topic's order configuration.
func (r *routes) forget(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers.forget(topic)
}

// settingsChanged drops the answers that were made under other settings.
func (r *routes) settingsChanged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers.reset()
}

func (m *member) leastID() int64 {
	least := int64(-1)
	for id := range m.addrs {
		if least < 0 || id < least {
			least = id
		}
	}
	return least
}
