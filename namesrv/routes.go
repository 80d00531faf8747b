package namesrv

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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

// takeTopicsLocked takes over a broker's topics: all of them when they changed, else those that are missing. It reports
// whether they are all that the tables have of that broker.
func (r *routes) takeTopicsLocked(reg *registration, m *member, table *codec.TopicConfigAndMapping, changed bool, now time.Time) bool {
	if r.settings.Load().DeleteTopicWithBrokerRegistration && len(table.TopicQueueMappingInfoMap) == 0 {
		r.dropTopicsLocked(reg.name, func(topic string) bool { return table.TopicConfigTable[topic] == nil })
	}
	readOnly := reg.id != masterID && m.actingMaster
	r.registeredLocked(reg.name, table, now)
	for name, config := range table.TopicConfigTable {
		if config.TopicName != "" {
			name = config.TopicName
		}
		queue := codec.QueueData{BrokerName: reg.name, Perm: config.Perm, ReadQueueNums: config.ReadQueueNums,
			TopicSysFlag: config.TopicSysFlag, WriteQueueNums: config.WriteQueueNums}
		if readOnly {
			queue.Perm &^= codec.PermWrite
		}
		r.putQueueLocked(name, queue, changed)
	}
	if changed {
		for topic, info := range table.TopicQueueMappingInfoMap {
			if r.mappings[topic] == nil {
				r.mappings[topic] = make(map[string]*codec.TopicQueueMappingInfo)
			}
			r.mappings[topic][info.Bname] = info
			r.answers.forget(topic)
		}
	}
	known := 0
	for _, queues := range r.topics {
		if _, ok := find(queues, reg.name); ok {
			known++
		}
	}
	return len(table.TopicConfigTable) >= known
}

// putQueueLocked sets a topic's queues on one broker; those it has already only with replace.
func (r *routes) putQueueLocked(topic string, queue codec.QueueData, replace bool) {
	queues := r.topics[topic]
	at, ok := find(queues, queue.BrokerName)
	switch {
	case !ok:
		r.topics[topic] = slices.Insert(queues, at, queue)
	case replace && queues[at] != queue:
		queues[at] = queue
	default:
		return
	}
	r.answers.forget(topic)
}

// dropTopicsLocked takes the broker out of those of its topics that gone names.
func (r *routes) dropTopicsLocked(broker string, gone func(topic string) bool) {
	for topic, queues := range r.topics {
		if at, ok := find(queues, broker); ok && gone(topic) {
			r.removeQueueLocked(topic, queues, at)
		}
	}
}

func (r *routes) removeQueueLocked(topic string, queues []codec.QueueData, at int) {
	if queues = slices.Delete(queues, at, at+1); len(queues) == 0 {
		delete(r.topics, topic)
	} else {
		r.topics[topic] = queues
	}
	r.answers.forget(topic)
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

// touch returns the version of the topics a broker registered, and counts as a sign of life. It is none of a stale broker, which has
// to register.
func (r *routes) touch(cluster, addr string, now time.Time) (codec.DataVersion, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	l := r.lives[brokerAddr{cluster, addr}]
	if l == nil || l.stale {
		return codec.DataVersion{}, false
	}
	l.lastMs.Store(now.UnixMilli())
	return l.version, true
}

// unregister takes a broker's address out, and with the last one of its name the name and its topics.
func (r *routes) unregister(cluster, addr, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unregisterLocked(cluster, addr, name)
}

func (r *routes) unregisterLocked(cluster, addr, name string) {
	r.forgetLocked(brokerAddr{cluster, addr})
	m := r.brokers[name]
	if m == nil {
		return
	}
	least := m.leastID()
	maps.DeleteFunc(m.addrs, func(_ int64, a string) bool { return a == addr })
	r.answers.reset()
	switch {
	case len(m.addrs) == 0:
		r.removeNameLocked(name)
	case m.actingMaster && m.addrs[masterID] == "":
		r.permLocked(name, func(perm int32) int32 { return perm &^ codec.PermWrite })
		fallthrough
	default:
		if m.leastID() != least {
			r.incompleteLocked(name)
		}
	}
}

func (r *routes) removeNameLocked(name string) {
	delete(r.brokers, name)
	delete(r.leftovers, name)
	for cluster, names := range r.clusters {
		if delete(names, name); len(names) == 0 {
			delete(r.clusters, cluster)
		}
	}
	for topic, byBroker := range r.mappings {
		if delete(byBroker, name); len(byBroker) == 0 {
			delete(r.mappings, topic)
		}
	}
	r.dropTopicsLocked(name, func(string) bool { return true })
}

// forgetLocked takes a broker out of the living.
func (r *routes) forgetLocked(key brokerAddr) {
	l := r.lives[key]
	if l == nil {
		return
	}
	delete(r.lives, key)
	r.answers.changes.Add(1)
	if l.stale {
		return
	}
	for _, other := range r.lives {
		if other.conn == l.conn {
			return
		}
	}
	r.registered.Delete(l.conn)
}

// incompleteLocked makes the next registrations under a name be read in full.
func (r *routes) incompleteLocked(name string) {
	for _, l := range r.lives {
		if l.name == name {
			l.complete = false
		}
	}
}

// gone is a broker that was taken out.
type gone struct {
	brokerAddr
	name string
	id   int64
	conn remoting.Conn // nil when it was stale
}

// connClosed takes out the brokers that registered over a connection.
func (r *routes) connClosed(conn remoting.Conn) []gone {
	r.registered.Delete(conn)
	return r.remove(func(l *live) bool { return l.conn == conn })
}

// expire takes out the brokers that were silent for longer than they said.
func (r *routes) expire(now time.Time) []gone {
	nowMs := now.UnixMilli()
	return r.remove(func(l *live) bool { return l.lastMs.Load()+l.timeout.Milliseconds() < nowMs })
}

func (r *routes) remove(which func(*live) bool) []gone {
	r.mu.RLock()
	found := false
	for _, l := range r.lives {
		found = found || which(l)
	}
	r.mu.RUnlock()
	if !found {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []gone
	for key, l := range r.lives {
		if which(l) {
			all = append(all, gone{key, l.name, l.id, l.conn})
		}
	}
	for _, g := range all {
		r.unregisterLocked(g.cluster, g.addr, g.name)
	}
	return all
}

// changePerm changes the permission of every topic of a broker name and returns how many there are.
func (r *routes) changePerm(broker string, change func(perm int32) int32) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.permLocked(broker, change)
}

func (r *routes) permLocked(broker string, change func(perm int32) int32) (count int32) {
	for _, queues := range r.topics {
		if at, ok := find(queues, broker); ok {
			queues[at].Perm = change(queues[at].Perm)
			count++
		}
	}
	r.answers.reset()
	return count
}

// deleteTopic takes a topic out, of one cluster or with "" of all.
func (r *routes) deleteTopic(topic, cluster string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, queue := range slices.Clone(r.topics[topic]) {
		if cluster != "" && !r.clusters[cluster][queue.BrokerName] {
			continue
		}
		if at, ok := find(r.topics[topic], queue.BrokerName); ok {
			r.removeQueueLocked(topic, r.topics[topic], at)
		}
		r.incompleteLocked(queue.BrokerName)
	}
}

// registerTopic puts a topic on brokers from outside. As in Java it ends at the first broker that is not known, and a new
// topic then stays out as a whole.
func (r *routes) registerTopic(topic string, queues []codec.QueueData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := len(queues)
	for i, queue := range queues {
		if r.brokers[queue.BrokerName] == nil {
			known = i
			break
		}
	}
	if known < len(queues) && r.topics[topic] == nil {
		return
	}
	for _, queue := range queues[:known] {
		r.putQueueLocked(topic, queue, true)
	}
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

// find returns where a broker's queues are, or would be, in a topic's list.
func find(queues []codec.QueueData, broker string) (int, bool) {
	return slices.BinarySearchFunc(queues, broker, func(q codec.QueueData, name string) int { return cmp.Compare(q.BrokerName, name) })
}

// routeLocked returns a topic's route; false when no broker of it is known.
func (r *routes) routeLocked(topic string) (*codec.TopicRouteData, bool) {
	route := &codec.TopicRouteData{QueueDatas: slices.Clone(r.topics[topic]), FilterServerTable: make(map[string][]string)}
	for _, queue := range route.QueueDatas {
		m := r.brokers[queue.BrokerName]
		if m == nil {
			continue
		}
		route.BrokerDatas = append(route.BrokerDatas, m.data(queue.BrokerName))
		for _, addr := range m.addrs {
			if l := r.lives[brokerAddr{m.cluster, addr}]; l != nil && len(l.filterServers) > 0 {
				route.FilterServerTable[addr] = l.filterServers
			}
		}
	}
	if len(route.BrokerDatas) == 0 {
		return nil, false
	}
	route.TopicQueueMappingByBroker = maps.Clone(r.mappings[topic])
	settings := r.settings.Load()
	if settings.OrderMessageEnable {
		route.OrderTopicConf = r.orderConf(topic)
	}
	if settings.SupportActingMaster && !strings.HasPrefix(topic, memberTopicPrefix) {
		promote(route)
	}
	return route, true
}

// promote shows the slave with the smallest id as the master of a broker that has none and takes no writes.
func promote(route *codec.TopicRouteData) {
	for i := range route.BrokerDatas {
		b := &route.BrokerDatas[i]
		if len(b.BrokerAddrs) == 0 || b.BrokerAddrs[masterID] != "" || !b.EnableActingMaster {
			continue
		}
		at, ok := find(route.QueueDatas, b.BrokerName)
		if ok && route.QueueDatas[at].Perm&codec.PermWrite == 0 {
			least := slices.Min(slices.Collect(maps.Keys(b.BrokerAddrs)))
			b.BrokerAddrs[masterID] = b.BrokerAddrs[least]
			delete(b.BrokerAddrs, least)
		}
	}
}

func (m *member) data(name string) codec.BrokerData {
	return codec.BrokerData{BrokerAddrs: maps.Clone(m.addrs), BrokerName: name, Cluster: m.cluster, EnableActingMaster: m.actingMaster,
		ZoneName: m.zone}
}

// clusterInfo returns all brokers and clusters, with the addresses for who came through that listener.
func (r *routes) clusterInfo(listener string) *codec.ClusterInfo {
	r.mu.RLock()
	defer r.mu.RUnlock()
	info := &codec.ClusterInfo{BrokerAddrTable: make(map[string]codec.BrokerData), ClusterAddrTable: make(map[string][]string)}
	for name, m := range r.brokers {
		data := m.data(name)
		r.addressLocked(data.Cluster, data.BrokerAddrs, listener)
		info.BrokerAddrTable[name] = data
	}
	for cluster, names := range r.clusters {
		info.ClusterAddrTable[cluster] = slices.Sorted(maps.Keys(names))
	}
	return info
}

// memberGroup returns the addresses of a broker name for who came through that listener, none if it is not known.
func (r *routes) memberGroup(cluster, name, listener string) *codec.BrokerMemberGroup {
	r.mu.RLock()
	defer r.mu.RUnlock()
	group := &codec.BrokerMemberGroup{BrokerName: name, Cluster: cluster}
	if m := r.brokers[name]; m != nil {
		group.BrokerAddrs = maps.Clone(m.addrs)
		r.addressLocked(m.cluster, group.BrokerAddrs, listener)
	}
	return group
}

// topicsWhere returns the names of the topics that match, in order.
func (r *routes) topicsWhere(match func(queues []codec.QueueData) bool) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.topics))
	for topic, queues := range r.topics {
		if match(queues) {
			names = append(names, topic)
		}
	}
	slices.Sort(names)
	return names
}

// topicsOfCluster returns the names of the topics that have a broker in a cluster, in order.
func (r *routes) topicsOfCluster(cluster string) []string {
	r.mu.RLock()
	names := maps.Clone(r.clusters[cluster])
	r.mu.RUnlock()
	return r.topicsWhere(func(queues []codec.QueueData) bool {
		return slices.ContainsFunc(queues, func(q codec.QueueData) bool { return names[q.BrokerName] })
	})
}

// systemTopics returns the names of clusters and brokers, each of which is a topic too, and the address of one broker.
func (r *routes) systemTopics(listener string) *codec.TopicList {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := &codec.TopicList{TopicList: []string{}}
	for _, cluster := range slices.Sorted(maps.Keys(r.clusters)) {
		list.TopicList = append(list.TopicList, cluster)
		list.TopicList = append(list.TopicList, slices.Sorted(maps.Keys(r.clusters[cluster]))...)
	}
	for _, name := range slices.Sorted(maps.Keys(r.brokers)) {
		if m := r.brokers[name]; len(m.addrs) > 0 {
			list.BrokerAddr = r.addrLocked(m.cluster, m.addrs[m.leastID()], listener)
			break
		}
	}
	return list
}

// routeSizes are how much there is of what the routes hold.
type routeSizes struct{ brokers, stale, names, clusters, topics int }

func (r *routes) sizes() routeSizes {
	r.mu.RLock()
	defer r.mu.RUnlock()
	stale := 0
	for _, l := range r.lives {
		if l.stale {
			stale++
		}
	}
	return routeSizes{len(r.lives) - stale, stale, len(r.brokers), len(r.clusters), len(r.topics)}
}
