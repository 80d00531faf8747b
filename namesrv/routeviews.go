package namesrv

import (
	"maps"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// What the tables say to those who ask.

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
