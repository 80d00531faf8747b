package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// Requests of lite topics, of release 5.5.0. Apache: RequestCode.
const (
	getBrokerLiteInfo   int32 = 200074
	getParentTopicInfo  int32 = 200075
	getLiteTopicInfo    int32 = 200076
	getLiteClientInfo   int32 = 200077
	getLiteGroupInfo    int32 = 200078
	triggerLiteDispatch int32 = 200079
)

func liteCommands() []spec {
	parent := text("p", "parentTopic", "TOPIC", "topic to which the lite topics belong").must().completed(completeTopics)
	group := text("g", "group", "GROUP", "consumer group").must()
	return []spec{
		{name: "getBrokerLiteInfo", short: "Show what lite topics a broker has", oneOf: [][]string{{"brokerAddr", "cluster"}}, run: brokerLite,
			options: []option{text("b", "brokerAddr", "ADDR", "ask this broker, host:port").completed(completeBrokers),
				text("c", "cluster", "CLUSTER", "ask every master of this cluster").completed(completeClusters),
				toggle("d", "showDetail", "with the topics and groups")}},
		{name: "getParentTopicInfo", short: "Show the lite topics and groups of a topic", options: []option{parent}, run: parentTopic},
		{name: "getLiteTopicInfo", short: "Show a lite topic and who subscribes to it", run: liteTopic, options: []option{parent,
			text("l", "liteTopic", "NAME", "name of the lite topic").must(), toggle("s", "showClientId", "with every client")}},
		{name: "getLiteClientInfo", short: "Show the lite topics of a client", run: liteClient, options: []option{parent, group,
			text("c", "clientId", "ID", "id of the client").must(), toggle("s", "showDetail", "with every lite topic")}},
		{name: "getLiteGroupInfo", short: "Show how far a group is behind in lite topics", run: liteGroup, options: []option{parent, group,
			text("l", "liteTopic", "NAME", "this lite topic only"), number("k", "topK", "N", "worst lite topics of each broker to show (default 20)")}},
		{name: "triggerLiteDispatch", short: "Have brokers tell clients again which lite topics have messages", run: liteDispatch,
			options: []option{parent, group, text("c", "clientId", "ID", "this client only"),
				text("b", "brokerName", "NAME", "this broker only").completed(completeBrokerNames)}},
	}
}

// eachOf calls f with every broker of a topic, reports failures on stderr and on the command's own line, and fails when one did.
func (s *session) eachOf(topic string, head func(), f func(name, addr string) error) error {
	route, err := s.route(topic)
	if err != nil {
		return err
	}
	head()
	failures, asked := 0, 0
	for _, b := range route.BrokerDatas {
		addr := selectAddr(b)
		if addr == "" {
			continue
		}
		asked++
		if err := f(b.BrokerName, addr); err != nil {
			failures++
			s.say("[%s] error.\n", b.BrokerName)
			fmt.Fprintf(s.errw, "%v\n", err)
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d of %d brokers failed, see above", failures, asked)
	}
	return nil
}

// brokerLite shows a broker's lite topics. Apache: GetBrokerLiteInfoSubCommand.
func brokerLite(s *session) error {
	addrs := []string{s.text("brokerAddr")}
	if !s.given("brokerAddr") {
		var err error
		if addrs, err = s.masters(s.text("cluster")); err != nil {
			return err
		}
	}
	t := s.table("%-30s %-17s %-10s %-14s %-20s %-17s %-15s %-18s %-15s", column{"#Broker", "addr"}, column{"#Store Type", "storeType"},
		column{"#Max LMQ", "maxLmqNum"}, column{"#Current LMQ", "currentLmqNum"}, column{"#SubscriptionCount", "liteSubscriptionCount"},
		column{"#OrderInfoCount", "orderInfoCount"}, column{"#CQTableSize", "cqTableSize"}, column{"#OffsetTableSize", "offsetTableSize"},
		column{"#eventMapSize", "eventMapSize"})
	return s.all(addrs, func(addr string) error {
		var b struct {
			StoreType                                                                    string
			MaxLmqNum, CurrentLmqNum, LiteSubscriptionCount, OrderInfoCount, CqTableSize int32
			OffsetTableSize, EventMapSize                                                int32
			TopicMeta                                                                    map[string]int32
			GroupMeta                                                                    map[string][]string
		}
		if err := s.looseBody(addr, request(getBrokerLiteInfo), &b); err != nil {
			return err
		}
		r := t.line(addr, b.StoreType, b.MaxLmqNum, b.CurrentLmqNum, b.LiteSubscriptionCount, b.OrderInfoCount, b.CqTableSize,
			b.OffsetTableSize, b.EventMapSize)
		if s.boolean("showDetail", false) {
			topics, _ := codec.MarshalJSON(b.TopicMeta)
			groups, _ := codec.MarshalJSON(b.GroupMeta)
			s.say("Topic Meta: %s\nGroup Meta: %s\n\n", topics, groups)
			r = append(r, member{"topicMeta", b.TopicMeta}, member{"groupMeta", b.GroupMeta})
		}
		s.add(r)
		return nil
	})
}

// looseBody reads an answer whose names are those of v's fields but for the first letter.
func (s *session) looseBody(addr string, c *codec.Command, v any) error {
	var raw map[string]codec.RawJSON
	if err := s.brokerBody(addr, c, &raw); err != nil {
		return err
	}
	standard := make(map[string]json.RawMessage, len(raw))
	for name, value := range raw {
		standard[name] = json.RawMessage(value)
	}
	b, err := json.Marshal(standard)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("answer of %s: %w", addr, err)
	}
	return nil
}

// parentTopic shows the lite topics of a topic. Apache: GetParentTopicInfoSubCommand.
func parentTopic(s *session) error {
	topic := s.text("parentTopic")
	var t *table
	return s.eachOf(topic, func() {
		s.say("Parent Topic Info: [%s]\n", topic)
		t = s.table("%-50s %-8s %-14s %-14s %-100s ", column{"#Broker Name", "brokerName"}, column{"#TTL", "ttl"},
			column{"#Lite Count", "liteTopicCount"}, column{"#LMQ NUM", "lmqNum"}, column{"#GROUPS", "groups"})
	}, func(name, addr string) error {
		var b struct {
			TTL, LmqNum, LiteTopicCount int32
			Groups                      []string
		}
		if err := s.looseBody(addr, request(getParentTopicInfo, "topic", topic), &b); err != nil {
			return err
		}
		t.row(shown{name, front(name, 40)}, b.TTL, b.LiteTopicCount, b.LmqNum, shown{b.Groups, javaList(b.Groups)})
		return nil
	})
}

// liteTopic shows a lite topic. Apache: GetLiteTopicInfoSubCommand.
func liteTopic(s *session) error {
	parent, lite := s.text("parentTopic"), s.text("liteTopic")
	var t *table
	return s.eachOf(parent, func() {
		s.say("Lite Topic Info: [%s] [%s] [%s]\n", parent, lite, "%LMQ%$"+parent+"$"+lite)
		t = s.table("%-50s %-14s %-14s %-30s %-12s %-18s ", column{"#Broker Name", "brokerName"}, column{"#MinOffset", "minOffset"},
			column{"#MaxOffset", "maxOffset"}, column{"#LastUpdate", "lastUpdated"}, column{"#Sharding", "shardingToBroker"},
			column{"#SubClientCount", "clients"})
	}, func(name, addr string) error {
		var b struct {
			Subscriber       []struct{ ClientID, Group string }
			TopicOffset      codec.TopicOffset
			ShardingToBroker bool
		}
		if err := s.looseBody(addr, request(getLiteTopicInfo, "parentTopic", parent, "liteTopic", lite), &b); err != nil {
			return err
		}
		at := b.TopicOffset
		r := t.line(shown{name, front(name, 40)}, at.MinOffset, at.MaxOffset, orDash(at.LastUpdateTimestampMs, "-"), b.ShardingToBroker,
			len(b.Subscriber))
		if s.boolean("showClientId", false) {
			var clients []string
			for _, c := range b.Subscriber {
				clients = append(clients, c.ClientID+"@"+c.Group)
			}
			s.say("%s\n", javaList(clients))
			r = append(r, member{"subscribers", clients})
		}
		s.add(r)
		return nil
	})
}

// orDash is a time, or a mark where there is none.
func orDash(ms int64, none string) shown { return shown{jsonTime(ms), cmp.Or(timeMs(ms), none)} }

// liteClient shows the lite topics of a client. Apache: GetLiteClientInfoSubCommand.
func liteClient(s *session) error {
	parent, group, client := s.text("parentTopic"), s.text("group"), s.text("clientId")
	var t *table
	return s.eachOf(parent, func() {
		s.say("Lite Client Info: [%s] [%s] [%s]\n", parent, group, client)
		t = s.table("%-30s %-20s %-30s %-30s ", column{"#Broker", "brokerName"}, column{"#LiteTopicCount", "liteTopicCount"},
			column{"#LastAccessTime", "lastAccess"}, column{"#LastConsumeTime", "lastConsume"})
	}, func(name, addr string) error {
		var b struct {
			LastAccessTime, LastConsumeTime int64
			LiteTopicCount                  int32
			LiteTopicSet                    []string
		}
		if err := s.looseBody(addr, request(getLiteClientInfo, "parentTopic", parent, "group", group, "clientId", client), &b); err != nil {
			return err
		}
		count := "N/A"
		if b.LiteTopicCount > 0 {
			count = strconv.Itoa(int(b.LiteTopicCount))
		}
		r := t.line(name, shown{b.LiteTopicCount, count}, orDash(b.LastAccessTime, "N/A"), orDash(b.LastConsumeTime, "N/A"))
		if s.boolean("showDetail", false) && b.LiteTopicSet != nil {
			s.say("Lite Topics: %s\n\n", javaList(b.LiteTopicSet))
			r = append(r, member{"liteTopics", b.LiteTopicSet})
		}
		s.add(r)
		return nil
	})
}

// liteLag is how far a group is behind in one lite topic. Apache: LiteLagInfo.
type liteLag struct {
	LiteTopic                   string `json:"liteTopic"`
	LagCount                    int64  `json:"lagCount"`
	EarliestUnconsumedTimestamp int64  `json:"earliestUnconsumedTimestamp"`
}

// liteGroup shows how far a group is behind. Apache: GetLiteGroupInfoSubCommand.
func liteGroup(s *session) error {
	parent, group, lite := s.text("parentTopic"), s.text("group"), s.text("liteTopic")
	var t *table
	var total int64
	earliest := s.now().UnixMilli()
	var byCount, byTime []liteLag
	var brokers []any
	err := s.eachOf(parent, func() {
		s.say("Lite Group Info: [%s] [%s]\n", group, parent)
		if lite != "" {
			t = s.table("%-50s %-16s %-16s %-16s %-30s", column{"#Broker Name", "brokerName"}, column{"#BrokerOffset", "brokerOffset"},
				column{"#ConsumeOffset", "consumerOffset"}, column{"#LagCount", "lagCount"}, column{"#LastUpdate", "lastUpdated"})
		}
	}, func(name, addr string) error {
		var b struct {
			EarliestUnconsumedTimestamp, TotalLagCount int64
			LiteTopicOffsetWrapper                     *codec.OffsetWrapper
			LagCountTopK, LagTimestampTopK             []liteLag
		}
		if err := s.looseBody(addr, request(getLiteGroupInfo, "group", group, "liteTopic", s.optional("liteTopic"),
			"topK", s.number("topK", 20)), &b); err != nil {
			return err
		}
		total += max(b.TotalLagCount, 0)
		if b.EarliestUnconsumedTimestamp > 0 {
			earliest = min(earliest, b.EarliestUnconsumedTimestamp)
		}
		byCount, byTime = append(byCount, b.LagCountTopK...), append(byTime, b.LagTimestampTopK...)
		if at := b.LiteTopicOffsetWrapper; lite != "" && at != nil {
			brokers = append(brokers, t.line(name, at.BrokerOffset, at.ConsumerOffset, at.BrokerOffset-at.ConsumerOffset,
				orDash(at.LastTimestampMs, "-")))
		} else if lite != "" {
			brokers = append(brokers, t.line(name, shown{nil, "-"}, shown{nil, "-"}, shown{nil, "-"}, shown{nil, "-"}))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.say("Total Lag Count: %d\nMin Unconsumed Timestamp: %d (%d s ago)\n\n", total, earliest, (s.now().UnixMilli()-earliest)/1000)
	slices.SortStableFunc(byCount, func(a, b liteLag) int { return cmp.Compare(b.LagCount, a.LagCount) })
	slices.SortStableFunc(byTime, func(a, b liteLag) int {
		return cmp.Compare(a.EarliestUnconsumedTimestamp, b.EarliestUnconsumedTimestamp)
	})
	if lite == "" {
		s.say("------TopK by lag count-----\n")
		s.worst(byCount)
		s.say("\n------TopK by lag time------\n")
		s.worst(byTime)
	}
	s.result(record{{"totalLagCount", total}, {"earliestUnconsumed", jsonTime(earliest)}, {"brokers", brokers}, {"topByCount", byCount},
		{"topByTime", byTime}})
	return nil
}

func (s *session) worst(lags []liteLag) {
	s.say("%-6s %-40s %-12s %-30s\n", "NO", "Lite Topic", "Lag Count", "UnconsumedTimestamp")
	for i, lag := range lags {
		s.say("%-6d %-40s %-12d %-30s\n", i+1, lag.LiteTopic, lag.LagCount, orDash(lag.EarliestUnconsumedTimestamp, "-").text)
	}
}

// liteDispatch has brokers tell clients again. Apache: TriggerLiteDispatchSubCommand.
func liteDispatch(s *session) error {
	parent, group, only := s.text("parentTopic"), s.text("group"), s.text("brokerName")
	route, err := s.route(parent)
	if err != nil {
		return err
	}
	s.say("Group And Topic Info: [%s] [%s]\n\n", group, parent)
	names, addrs := []string{}, map[string]string{}
	for _, b := range route.BrokerDatas {
		if addr := selectAddr(b); addr != "" && (only == "" || only == b.BrokerName) {
			names, addrs[b.BrokerName] = append(names, b.BrokerName), addr
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("topic %s is on no broker %s", parent, only)
	}
	return s.all(names, func(name string) error {
		_, err := s.broker(addrs[name], request(triggerLiteDispatch, "group", group, "clientId", s.optional("clientId")))
		what := "dispatched"
		if err != nil {
			what = "error"
		}
		s.say("%-30s %-12s\n", name, what)
		s.add(record{{"brokerName", name}, {"ok", err == nil}})
		return err
	})
}
