package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

func consumerCommands() []spec {
	return []spec{
		{name: "consumerConnection", short: "Show the members of a consumer group and what they subscribe to", run: consumerConnection,
			options: []option{groupOption("g", "consumerGroup", "name of the group"),
				text("b", "brokerAddr", "ADDR", "broker to ask, host:port; else one that has the group").completed(completeBrokers)}},
		{name: "producerConnection", short: "Show the members of a producer group", run: producerConnection,
			options: []option{groupOption("g", "producerGroup", "name of the group"), topicOption("topic it sends to, whose brokers are asked")}},
		{name: "producer", short: "Show all producers of a broker", run: producers,
			options: []option{text("b", "broker", "ADDR", "broker to ask, host:port").must().completed(completeBrokers)}},
		{name: "consumerProgress", short: "Show how far consumer groups are", run: consumerProgress,
			options: []option{text("g", "groupName", "GROUP", "one group, queue by queue; else all groups"),
				text("t", "topicName", "TOPIC", "with -g: this topic only").completed(completeTopics),
				boolean("s", "showClientIP", "with -g: who has each queue"),
				text("c", "cluster", "NAME", "with -t: topic in whose route to look, for light message queues")}},
		{name: "consumerStatus", short: "Ask the members of a consumer group what they do", run: consumerStatus,
			long: "What each member says goes to a file in a folder of the present directory, named by the time. With -i it is shown instead.",
			options: []option{groupOption("g", "consumerGroup", "name of the group"),
				text("i", "clientId", "ID", "one member"),
				text("b", "brokerAddr", "ADDR", "broker to ask, host:port; else one that has the group").completed(completeBrokers),
				toggle("s", "jstack", "the stacks of its threads, too")}},
	}
}

// brokersOf returns the address of one broker of each name in the route of a topic, in the order of the route.
func (s *session) brokersOf(topic string) ([]string, error) {
	route, err := s.route(topic)
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, b := range route.BrokerDatas {
		if addr := selectAddr(b); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("topic %s has no broker that is alive", topic)
	}
	return addrs, nil
}

// groupBrokers returns the brokers that a group consumes from: those of its retry topic.
func (s *session) groupBrokers(group string) ([]string, error) {
	addrs, err := s.brokersOf("%RETRY%" + group)
	if answered(err) == codec.TopicNotExist {
		return nil, fmt.Errorf("group %s: no member has ever been online: %w", group, err)
	}
	return addrs, err
}

// connection asks who the members of a group are. Apache: MQAdminExt.examineConsumerConnectionInfo.
func (s *session) connection(group, addr string) (*codec.ConsumerConnection, string, error) {
	if addr == "" {
		addrs, err := s.groupBrokers(group)
		if err != nil {
			return nil, "", err
		}
		addr = addrs[0]
	}
	var cc codec.ConsumerConnection
	if err := s.brokerBody(addr, request(codec.GetConsumerConnectionList, "consumerGroup", group), &cc); err != nil {
		return nil, addr, err
	}
	if len(cc.ConnectionSet) == 0 {
		return nil, addr, fmt.Errorf("group %s has no member that is online", group)
	}
	slices.SortFunc(cc.ConnectionSet, func(a, b codec.Connection) int { return strings.Compare(a.ClientID, b.ClientID) })
	return &cc, addr, nil
}

// consumerConnection shows the members of a group. Apache: ConsumerConnectionSubCommand.
func consumerConnection(s *session) error {
	cc, _, err := s.connection(s.text("consumerGroup"), s.text("brokerAddr"))
	if err != nil {
		return err
	}
	t := s.table("%-36s %-22s %-10s %s", column{"#ClientId", "clientId"}, column{"#ClientAddr", "clientAddr"},
		column{"#Language", "language"}, column{"#Version", "version"})
	for _, c := range cc.ConnectionSet {
		t.line(c.ClientID, c.ClientAddr, c.Language, codec.VersionName(c.Version))
	}
	s.say("\nBelow is subscription:\n%-20s %s\n", "#Topic", "#SubExpression")
	for _, topic := range sortedKeys(cc.SubscriptionTable) {
		s.say("%-20s %s\n", topic, cc.SubscriptionTable[topic].SubString)
	}
	s.say("\nConsumeType: %s\nMessageModel: %s\nConsumeFromWhere: %s\n", cc.ConsumeType, cc.MessageModel, cc.ConsumeFromWhere)
	s.result(cc)
	return nil
}

// producerConnection shows the members of a producer group. Apache: ProducerConnectionSubCommand.
func producerConnection(s *session) error {
	addrs, err := s.brokersOf(s.text("topic"))
	if err != nil {
		return err
	}
	var pc codec.ProducerConnection
	if err := s.brokerBody(addrs[0], request(codec.GetProducerConnectionList, "producerGroup", s.text("producerGroup")), &pc); err != nil {
		return err
	}
	s.list()
	for i, c := range pc.ConnectionSet {
		s.say("%04d  %-32s %-22s %-8s %s\n", i+1, c.ClientID, c.ClientAddr, c.Language, codec.VersionName(c.Version))
		s.add(c)
	}
	return nil
}

// producers shows all producers of a broker. Apache: ProducerSubCommand.
func producers(s *session) error {
	var all codec.ProducerTable
	if err := s.brokerBody(s.text("broker"), request(codec.GetAllProducerInfo), &all); err != nil {
		return err
	}
	s.list()
	for _, group := range sortedKeys(all.Data) {
		for _, p := range all.Data[group] {
			s.say("producer group (%s) instance : clientId=%s,remoteIP=%s, language=%s, version=%d, lastUpdateTimestamp=%d\n", group, p.ClientID,
				p.RemoteIP, p.Language, p.Version, p.LastUpdateTimestampMs)
			s.add(record{{"group", group}, {"clientId", p.ClientID}, {"remoteIP", p.RemoteIP}, {"language", p.Language},
				{"version", codec.VersionName(p.Version)}, {"lastUpdate", jsonTime(p.LastUpdateTimestampMs)}})
		}
	}
	return nil
}

// consumeStats adds up how far a group is on the brokers it consumes from. A topic narrows it to that topic; of names the topic in
// whose route to look when it is another. Apache: MQAdminExt.examineConsumeStats.
func (s *session) consumeStats(group, topic, of string) (*codec.ConsumeStats, error) {
	addrs, err := s.groupBrokers(group)
	if of != "" {
		addrs, err = s.brokersOf(of)
	}
	if err != nil {
		return nil, err
	}
	all := &codec.ConsumeStats{OffsetTable: map[codec.MessageQueue]codec.OffsetWrapper{}}
	for _, addr := range addrs {
		c := request(codec.GetConsumeStats, "consumerGroup", group)
		if topic != "" {
			c = request(codec.GetConsumeStats, "consumerGroup", group, "topic", topic)
		}
		var stats codec.ConsumeStats
		if err := s.brokerBody(addr, c, &stats); err != nil {
			return nil, err
		}
		for q, at := range stats.OffsetTable {
			all.OffsetTable[q] = at
		}
		all.ConsumeTPS += stats.ConsumeTPS
	}
	if len(all.OffsetTable) == 0 {
		return nil, fmt.Errorf("group %s has not consumed anything yet", group)
	}
	return all, nil
}

// consumerProgress shows how far groups are. Apache: ConsumerProgressSubCommand.
func consumerProgress(s *session) error {
	if !s.given("groupName") {
		return s.progressOfAll()
	}
	group := s.text("groupName")
	stats, err := s.consumeStats(group, s.text("topicName"), s.text("cluster"))
	if err != nil {
		return err
	}
	head, row := "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s%s", "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %s"
	columns := []column{{"#Topic", "topic"}, {"#Broker Name", "brokerName"}, {"#QID", "queueId"}, {"#Broker Offset", "brokerOffset"},
		{"#Consumer Offset", "consumerOffset"}, {"#Diff", "diff"}, {"#Inflight", "inflight"}, {"#LastTime", "lastTime"}}
	var owners map[codec.MessageQueue]string
	if s.boolean("showClientIP", false) {
		owners = s.ownersOf(group)
		head, row = strings.Replace(head, "%-4s  %-20s", "%-4s  %-20s  %-20s", 1), strings.Replace(row, "%-4s  %-20s", "%-4s  %-20s  %-20s", 1)
		columns = slices.Insert(columns, 5, column{"#Client IP", "clientIp"})
	}
	t := s.table(head, columns...).rows(row)
	var diffs, inFlights int64
	var rows []record
	for _, q := range sortedQueues(stats.OffsetTable) {
		at := stats.OffsetTable[q]
		diff, inFlight := at.BrokerOffset-at.ConsumerOffset, at.PullOffset-at.ConsumerOffset
		diffs, inFlights = diffs+diff, inFlights+inFlight
		last := "N/A"
		if at.LastTimestampMs != 0 {
			last = timeSec(at.LastTimestampMs)
		}
		cells := []any{shown{q.Topic, front(q.Topic, 64)}, shown{q.BrokerName, front(q.BrokerName, 32)}, q.QueueID, at.BrokerOffset,
			at.ConsumerOffset, diff, inFlight, shown{jsonTime(at.LastTimestampMs), last}}
		if owners != nil {
			cells = slices.Insert(cells, 5, any(cmp.Or(owners[q], "N/A")))
		}
		rows = append(rows, t.line(cells...))
	}
	s.say("\nConsume TPS: %.2f\nConsume Diff Total: %d\nConsume Inflight Total: %d\n", stats.ConsumeTPS, diffs, inFlights)
	s.result(record{{"group", group}, {"queues", rows}, {"consumeTps", stats.ConsumeTPS}, {"diffTotal", diffs}, {"inflightTotal", inFlights}})
	return nil
}

// progressOfAll shows one line for each group that has a retry topic.
func (s *session) progressOfAll() error {
	topics, err := s.allTopics()
	if err != nil {
		return err
	}
	t := s.table("%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s", column{"#Group", "group"}, column{"#Count", "count"},
		column{"#Version", "version"}, column{"#Type", "type"}, column{"#Model", "model"}, column{"#TPS", "tps"}, column{"#Diff Total", "diffTotal"})
	for _, topic := range topics {
		group, ok := strings.CutPrefix(topic, "%RETRY%")
		if !ok {
			continue
		}
		var tps, diffs int64
		if stats, err := s.consumeStats(group, "", ""); err == nil {
			tps = int64(stats.ConsumeTPS)
			for _, at := range stats.OffsetTable {
				diffs += at.BrokerOffset - at.ConsumerOffset
			}
		}
		count, version, how, model := 0, "OFFLINE", "", ""
		if cc, _, err := s.connection(group, ""); err == nil {
			count, model = len(cc.ConnectionSet), cc.MessageModel
			how = map[string]string{"CONSUME_ACTIVELY": "PULL", "CONSUME_PASSIVELY": "PUSH", "CONSUME_POP": "POP"}[cc.ConsumeType]
			version = codec.VersionName(slices.MinFunc(cc.ConnectionSet, func(a, b codec.Connection) int { return cmp.Compare(a.Version, b.Version) }).Version)
		}
		t.row(shown{group, front(group, 64)}, count, version, how, model, tps, diffs)
	}
	return nil
}

// runningInfo asks a client, through a broker, what it does. The answer is JSON of Java's dialect. Apache: ConsumerRunningInfo.
func (s *session) runningInfo(addr, group, clientID string, stacks bool) ([]byte, error) {
	resp, err := s.broker(addr, request(codec.GetConsumerRunningInfo, "consumerGroup", group, "clientId", clientID, "jstackEnable", stacks))
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// consumerInfo is what the commands here read of a running info.
type consumerInfo struct {
	MQTable         map[codec.MessageQueue]json.RawMessage `json:"mqTable"`
	SubscriptionSet []codec.SubscriptionData               `json:"subscriptionSet"`
}

// ownersOf asks each member of a group which queues it has, and returns their addresses; members that do not answer are left out.
func (s *session) ownersOf(group string) map[codec.MessageQueue]string {
	owners := map[codec.MessageQueue]string{}
	cc, addr, err := s.connection(group, "")
	if err != nil {
		return owners
	}
	for _, c := range cc.ConnectionSet {
		body, err := s.runningInfo(addr, group, c.ClientID, false)
		if err != nil {
			continue
		}
		var info consumerInfo
		if codec.UnmarshalJSON(body, &info) == nil {
			for q := range info.MQTable {
				owners[q], _, _ = strings.Cut(c.ClientID, "@")
			}
		}
	}
	return owners
}

// consumerStatus asks the members of a group what they do. Apache: ConsumerStatusSubCommand.
func consumerStatus(s *session) error {
	group, stacks := s.text("consumerGroup"), s.boolean("jstack", false)
	cc, addr, err := s.connection(group, s.text("brokerAddr"))
	if err != nil {
		return err
	}
	if s.given("clientId") {
		body, err := s.runningInfo(addr, group, s.text("clientId"), stacks)
		if err != nil {
			return err
		}
		s.say("%s\n", body)
		s.result(string(body))
		return nil
	}
	folder := strconv.FormatInt(s.now().UnixMilli(), 10)
	t := s.table("%-10s %-40s %-20s %s", column{"#Index", "index"}, column{"#ClientId", "clientId"}, column{"#Version", "version"},
		column{"#ConsumerRunningInfoFile", "file"})
	var first string
	same, answers := true, 0
	var failed error
	for _, c := range cc.ConnectionSet {
		body, err := s.runningInfo(addr, group, c.ClientID, stacks)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("client %s: %w", c.ClientID, err))
			continue
		}
		name := filepath.Join(folder, strings.ReplaceAll(c.ClientID, "/", "_"))
		if err := writeNew(name, body); err != nil {
			return err
		}
		answers++
		t.row(answers, c.ClientID, codec.VersionName(c.Version), name)
		subscribed := subscriptionsIn(body)
		if answers == 1 {
			first = subscribed
		}
		same = same && subscribed == first
	}
	switch {
	case answers == 0:
	case same:
		s.say("\n\nSame subscription in the same group of consumer\n\nRebalance OK\n")
	default:
		s.say("\n\nWARN: Different subscription in the same group of consumer!!!")
	}
	return failed
}

// subscriptionsIn is what a member subscribes to, in an order that can be compared.
func subscriptionsIn(body []byte) string {
	var info consumerInfo
	if err := codec.UnmarshalJSON(body, &info); err != nil {
		return ""
	}
	var all []string
	for _, sub := range info.SubscriptionSet {
		all = append(all, fmt.Sprintf("%s %s %s", sub.Topic, sub.ExpressionType, sub.SubString))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// writeNew writes a file and the folders it is in.
func writeNew(name string, data []byte) error {
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep what was answered: %w", err)
	}
	return nil
}
