package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// masterID is the broker id of a master. Apache: MixAll.MASTER_ID.
const masterID = 0

// brokerOrCluster are the options of the commands that ask one broker or all of a cluster.
func brokerOrCluster(verb string) []option {
	return []option{
		text("b", "brokerAddr", "ADDR", verb+" this broker, host:port").completed(completeBrokers),
		text("c", "clusterName", "CLUSTER", verb+" every master of this cluster").completed(completeClusters),
	}
}

// clusterInfo asks a name server which brokers there are.
func (s *session) clusterInfo() (*codec.ClusterInfo, error) {
	var info codec.ClusterInfo
	err := s.namesrvBody(func() *codec.Command { return request(codec.GetBrokerClusterInfo) }, &info)
	if err != nil {
		return nil, fmt.Errorf("list the clusters: %w", err)
	}
	return &info, nil
}

// route asks a name server where a topic lives.
func (s *session) route(topic string) (*codec.TopicRouteData, error) {
	var route codec.TopicRouteData
	err := s.namesrvBody(func() *codec.Command {
		return request(codec.GetRouteInfoByTopic, "topic", topic, "acceptStandardJsonOnly", true)
	}, &route)
	if err != nil {
		return nil, fmt.Errorf("find topic %s: %w", topic, err)
	}
	return &route, nil
}

// brokerNames returns the broker names of a cluster in order, or says which clusters there are.
func brokerNames(info *codec.ClusterInfo, cluster string) ([]string, error) {
	names, ok := info.ClusterAddrTable[cluster]
	if !ok {
		known := slices.Sorted(maps.Keys(info.ClusterAddrTable))
		return nil, fmt.Errorf("the name server knows no cluster %s; it has %s", cluster, listOf(known))
	}
	return slices.Sorted(slices.Values(names)), nil
}

// members is one broker name of a cluster with its addresses.
type members struct {
	name string
	data codec.BrokerData
}

// brokerSets returns the broker names of a cluster with their addresses, in the order of the names.
func (s *session) brokerSets(cluster string) ([]members, error) {
	info, err := s.clusterInfo()
	if err != nil {
		return nil, err
	}
	names, err := brokerNames(info, cluster)
	if err != nil {
		return nil, err
	}
	var sets []members
	for _, name := range names {
		if data, ok := info.BrokerAddrTable[name]; ok {
			sets = append(sets, members{name, data})
		}
	}
	return sets, nil
}

// masters returns the addresses of a cluster's masters in the order of the broker names. A cluster without one is an error.
func (s *session) masters(cluster string) ([]string, error) {
	sets, err := s.brokerSets(cluster)
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, m := range sets {
		if addr := m.data.BrokerAddrs[masterID]; addr != "" {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("cluster %s has no master that is alive", cluster)
	}
	return addrs, nil
}

// everyBroker returns the addresses of a cluster's brokers, masters and slaves.
func (s *session) everyBroker(cluster string) ([]string, error) {
	sets, err := s.brokerSets(cluster)
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, m := range sets {
		addrs = append(addrs, inOrder(m.data.BrokerAddrs)...)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("cluster %s has no broker that is alive", cluster)
	}
	return addrs, nil
}

// targets returns what -b or -c of brokerOrCluster mean: one address, or the masters of a cluster.
func (s *session) targets() ([]string, error) {
	if s.given("brokerAddr") {
		return []string{s.text("brokerAddr")}, nil
	}
	return s.masters(s.text("clusterName"))
}

// inOrder returns addresses in the order of the broker ids.
func inOrder(addrs map[int64]string) []string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(addrs)) {
		all = append(all, addrs[id])
	}
	return all
}

// selectAddr returns the master's address, else that of any other. Apache: BrokerData.selectBrokerAddr.
func selectAddr(b codec.BrokerData) string {
	if addr := b.BrokerAddrs[masterID]; addr != "" {
		return addr
	}
	for _, addr := range inOrder(b.BrokerAddrs) {
		return addr
	}
	return ""
}

// listOf joins names for a message.
func listOf(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - 10; more > 0 {
		names = append(slices.Clone(names[:10]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
