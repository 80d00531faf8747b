package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

func topicOption(usage string) option {
	return text("t", "topic", "TOPIC", usage).must().completed(completeTopics)
}

func topicCommands() []spec {
	byCluster := [][]string{{"brokerAddr", "clusterName"}}
	target := brokerOrCluster("create the topic on")
	return []spec{
		{name: "updateTopic", short: "Create a topic or change its configuration", oneOf: byCluster, run: updateTopic,
			long: "What is not given is set to its default, not left as it was: 8 queues to read and to write, perm 6, no order.",
			options: append(slices.Clone(target),
				topicOption("name of the topic"),
				number("r", "readQueueNums", "N", "queues that consumers read (default 8)"),
				number("w", "writeQueueNums", "N", "queues that producers write (default 8)"),
				number("p", "perm", "N", "2 write, 4 read, 6 both (default 6)"),
				text("a", "attributes", "LIST", "attributes to set and to drop, +key=value,-key"),
				boolean("o", "order", "tell the name server the queues of an ordered topic"),
				boolean("u", "unit", "the topic belongs to a unit"),
				boolean("s", "hasUnitSub", "units subscribe to the topic"))},
		{name: "updateTopicList", short: "Create or change the topics of a file", oneOf: byCluster, run: updateTopicList,
			options: append(slices.Clone(target), text("f", "filename", "FILE", "JSON list of topic configurations").must())},
		{name: "deleteTopic", short: "Delete a topic from the brokers of a cluster and from the name servers", run: deleteTopic,
			options: []option{topicOption("topic to delete"),
				text("c", "clusterName", "CLUSTER", "cluster to delete it from").must().completed(completeClusters)}},
		{name: "updateTopicPerm", short: "Change whether a topic can be read and written", anyOf: byCluster, run: updateTopicPerm,
			options: append(brokerOrCluster("change it on"), topicOption("name of the topic"),
				number("p", "perm", "N", "2 write, 4 read, 6 both").must())},
		{name: "topicRoute", short: "Show where a topic lives", run: topicRoute,
			options: []option{topicOption("name of the topic"), toggle("l", "list", "as a table instead of the route as it is")}},
		{name: "topicStatus", short: "Show the queues of a topic: lowest and highest offset, time of the last message", run: topicStatus,
			options: []option{topicOption("name of the topic"),
				text("c", "cluster", "NAME", "cluster or topic in whose route to look, for light message queues")}},
		{name: "topicList", short: "List all topics", run: topicList,
			options: []option{toggle("c", "clusterModel", "with the cluster and the consumer groups of each topic")}},
		{name: "topicClusterList", short: "Show which clusters hold a topic", run: topicClusterList,
			options: []option{topicOption("name of the topic")}},
		{name: "updateOrderConf", short: "Read, write or delete the queues of an ordered topic", run: updateOrderConf,
			options: []option{topicOption("name of the topic"),
				text("m", "method", "METHOD", "what to do").must().of("get", "put", "delete"),
				text("v", "orderConf", "CONF", "queues of each broker for put: broker-a:4;broker-b:4")}},
		{name: "allocateMQ", short: "Show how queues would be shared among clients", run: allocateMQ,
			options: []option{topicOption("name of the topic"), text("i", "ipList", "IPS", "addresses of the clients, separated by commas").must()}},
	}
}

// topicRoute shows where a topic lives. Apache: TopicRouteSubCommand.
func topicRoute(s *session) error {
	route, err := s.route(s.text("topic"))
	if err != nil {
		return err
	}
	s.result(route)
	if !s.boolean("list", false) {
		b, err := codec.MarshalPrettyJSON(route)
		if err != nil {
			return err
		}
		s.say("%s\n", b)
		return nil
	}
	queues := map[string]codec.QueueData{}
	for _, q := range route.QueueDatas {
		queues[q.BrokerName] = q
	}
	slices.SortFunc(route.BrokerDatas, func(a, b codec.BrokerData) int { return strings.Compare(a.BrokerName, b.BrokerName) })
	t := s.table("%-45s %-32s %-50s %-10s %-11s %-5s", column{heading: "#ClusterName"}, column{heading: "#BrokerName"},
		column{heading: "#BrokerAddrs"}, column{heading: "#ReadQueue"}, column{heading: "#WriteQueue"}, column{heading: "#Perm"})
	var read, write int32
	for _, b := range route.BrokerDatas {
		q := queues[b.BrokerName]
		read, write = read+q.ReadQueueNums, write+q.WriteQueueNums
		t.line(b.Cluster, b.BrokerName, addrMap(b.BrokerAddrs), q.ReadQueueNums, q.WriteQueueNums, q.Perm)
	}
	s.say("%s\n", strings.Repeat("-", 158))
	t.line("Total:", len(queues), "", read, write, "")
	return nil
}

// addrMap is a map of addresses as Java prints it.
func addrMap(addrs map[int64]string) string {
	var parts []string
	for id := range addrs {
		parts = append(parts, fmt.Sprintf("%d=%s", id, addrs[id]))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

// topicStatus shows the queues of a topic. Apache: TopicStatusSubCommand.
func topicStatus(s *session) error {
	topic := s.text("topic")
	stats, err := s.topicStats(topic, s.textOr("cluster", topic))
	if err != nil {
		return err
	}
	if !s.given("cluster") {
		if err := s.addStatic(topic, stats.OffsetTable); err != nil {
			return err
		}
	}
	queues := sortedQueues(stats.OffsetTable)
	t := s.table("%-32s  %-4s  %-20s  %-20s    %s", column{"#Broker Name", "brokerName"}, column{"#QID", "queueId"},
		column{"#Min Offset", "minOffset"}, column{"#Max Offset", "maxOffset"}, column{"#Last Updated", "lastUpdated"})
	for _, q := range queues {
		at := stats.OffsetTable[q]
		t.row(shown{q.BrokerName, front(q.BrokerName, 32)}, q.QueueID, at.MinOffset, at.MaxOffset,
			shown{jsonTime(at.LastUpdateTimestampMs), timeMs(at.LastUpdateTimestampMs)})
	}
	s.say("\nTopic Put TPS: %s\n", javaDouble(stats.TopicPutTPS))
	return nil
}

// topicStats adds up what the brokers in the route of one topic know of another, mostly the same.
func (s *session) topicStats(topic, of string) (*codec.TopicStatsTable, error) {
	route, err := s.route(of)
	if err != nil {
		return nil, err
	}
	all := &codec.TopicStatsTable{OffsetTable: map[codec.MessageQueue]codec.TopicOffset{}}
	for _, b := range route.BrokerDatas {
		addr := selectAddr(b)
		if addr == "" {
			continue
		}
		var stats codec.TopicStatsTable
		if err := s.brokerBody(addr, request(codec.GetTopicStatsInfo, "topic", topic), &stats); err != nil {
			return nil, fmt.Errorf("status of topic %s: %w", topic, err)
		}
		for q, at := range stats.OffsetTable {
			all.OffsetTable[q] = at
		}
	}
	if len(all.OffsetTable) == 0 {
		return nil, fmt.Errorf("no broker has queues of topic %s", topic)
	}
	return all, nil
}

// sortedQueues returns queues by topic, broker and id, as Java's MessageQueue compares.
func sortedQueues[V any](m map[codec.MessageQueue]V) []codec.MessageQueue {
	all := make([]codec.MessageQueue, 0, len(m))
	for q := range m {
		all = append(all, q)
	}
	slices.SortFunc(all, compareQueues)
	return all
}

func compareQueues(a, b codec.MessageQueue) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.BrokerName, b.BrokerName), cmp.Compare(a.QueueID, b.QueueID))
}

// allTopics asks a name server for the names of all topics.
func (s *session) allTopics() ([]string, error) {
	var list codec.TopicList
	err := s.namesrvBody(func() *codec.Command { return request(codec.GetAllTopicListFromNameServer) }, &list)
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	return list.TopicList, nil
}

// topicList lists all topics. Apache: TopicListSubCommand.
func topicList(s *session) error {
	topics, err := s.allTopics()
	if err != nil {
		return err
	}
	s.list()
	if !s.boolean("clusterModel", false) {
		for _, topic := range topics {
			s.say("%s\n", topic)
			s.add(topic)
		}
		return nil
	}
	info, err := s.clusterInfo()
	if err != nil {
		return err
	}
	t := s.table("%-20s  %-48s  %-48s", column{"#Cluster Name", "clusterName"}, column{"#Topic", "topic"}, column{"#Consumer Group", "group"})
	t.rows("%-20s  %-64s  %-64s")
	for _, topic := range topics {
		if isRetryOrDLQ(topic) {
			continue
		}
		cluster, groups := s.consumedBy(info, topic)
		if len(groups) == 0 {
			groups = []string{""}
		}
		for _, group := range groups {
			t.row(shown{cluster, front(cluster, 20)}, shown{topic, front(topic, 64)}, shown{group, front(group, 64)})
		}
	}
	return nil
}

func isRetryOrDLQ(topic string) bool {
	return strings.HasPrefix(topic, "%RETRY%") || strings.HasPrefix(topic, "%DLQ%")
}

// consumedBy returns the cluster of a topic and the groups that consume it; what cannot be found out stays empty, as in Apache's.
func (s *session) consumedBy(info *codec.ClusterInfo, topic string) (cluster string, groups []string) {
	route, err := s.route(topic)
	if err != nil || len(route.BrokerDatas) == 0 {
		return "", nil
	}
	if clusters := clustersOf(info, route.BrokerDatas[0].BrokerName); len(clusters) > 0 {
		cluster = clusters[0]
	}
	groups, _ = s.groupsOf(route, topic)
	return cluster, groups
}

// groupsOf asks the first broker of a route which groups consume a topic. Apache: MQAdminExt.queryTopicConsumeByWho.
func (s *session) groupsOf(route *codec.TopicRouteData, topic string) ([]string, error) {
	for _, b := range route.BrokerDatas {
		if addr := selectAddr(b); addr != "" {
			var list codec.GroupList
			err := s.brokerBody(addr, request(codec.QueryTopicConsumeByWho, "topic", topic), &list)
			return list.GroupList, err
		}
	}
	return nil, nil
}

// clustersOf returns the clusters that have a broker of this name.
func clustersOf(info *codec.ClusterInfo, broker string) []string {
	var all []string
	for _, cluster := range sortedKeys(info.ClusterAddrTable) {
		if slices.Contains(info.ClusterAddrTable[cluster], broker) {
			all = append(all, cluster)
		}
	}
	return all
}

// topicClusterList shows which clusters hold a topic. Apache: TopicClusterSubCommand.
func topicClusterList(s *session) error {
	info, err := s.clusterInfo()
	if err != nil {
		return err
	}
	route, err := s.route(s.text("topic"))
	if err != nil {
		return err
	}
	s.list()
	if len(route.BrokerDatas) == 0 {
		return nil
	}
	for _, cluster := range clustersOf(info, route.BrokerDatas[0].BrokerName) {
		s.say("%s\n", cluster)
		s.add(cluster)
	}
	return nil
}

// allocateMQ shows how queues would be shared among clients. Apache: AllocateMQSubCommand, AllocateMessageQueueAveragely.
func allocateMQ(s *session) error {
	topic := s.text("topic")
	route, err := s.route(topic)
	if err != nil {
		return err
	}
	var queues []codec.MessageQueue
	for _, q := range route.QueueDatas {
		for id := int32(0); q.Perm&codec.PermRead != 0 && id < q.ReadQueueNums; id++ {
			queues = append(queues, codec.MessageQueue{Topic: topic, BrokerName: q.BrokerName, QueueID: id})
		}
	}
	slices.SortFunc(queues, compareQueues)
	clients := strings.Split(s.text("ipList"), ",")
	shares := map[string][]codec.MessageQueue{}
	for i, client := range clients {
		shares[client] = share(queues, i, len(clients))
	}
	result := struct {
		Result map[string][]codec.MessageQueue `json:"result"`
	}{shares}
	b, err := codec.MarshalJSON(result)
	if err != nil {
		return err
	}
	s.say("%s\n", b)
	s.result(result)
	return nil
}

// share returns the queues of the i-th of n clients: neighbours, the first clients one more when they do not divide.
func share(queues []codec.MessageQueue, i, n int) []codec.MessageQueue {
	size, more := len(queues)/n, len(queues)%n
	first := i*size + min(i, more)
	last := first + size
	if i < more {
		last++
	}
	return queues[first:last]
}
