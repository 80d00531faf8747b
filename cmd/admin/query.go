package admin

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

func queryCommands() []spec {
	of := text("c", "cluster", "NAME", "cluster or topic in whose route to look, for light message queues")
	return []spec{
		{name: "queryMsgById", short: "Show a message by its id, or send it to a consumer again", run: queryMsgByID,
			options: []option{topicOption("topic of the message"),
				text("i", "msgId", "ID", "offset id or unique key; several separated by commas").must(),
				text("g", "consumerGroup", "GROUP", "with -d: let a member of this group consume it now"),
				text("d", "clientId", "ID", "with -g: the member"),
				text("s", "sendMessage", "true|false", "taken for Apache's sake: send the message anew with sendMessage"),
				text("u", "unitName", "NAME", "taken for Apache's sake, names nothing here"),
				text("f", "bodyFormat", "CHARSET", "show the body; UTF-8 is the only one"),
				of}},
		{name: "queryMsgByKey", short: "Find messages by their key", run: queryMsgByKey,
			options: []option{topicOption("topic of the messages"), text("k", "msgKey", "KEY", "the key").must(),
				long("b", "beginTimestamp", "MS", "stored at or after"), long("e", "endTimestamp", "MS", "stored at or before"),
				number("m", "maxNum", "N", "at most so many (default 64)"), of,
				text("p", "keyType", "TYPE", "K for keys, T for tags (default K)").of(indexKeys, indexTags),
				text("l", "lastKey", "KEY", "go on behind this key of the index")}},
		{name: "queryMsgByUniqueKey", short: "Show a message by its unique key", run: queryMsgByUniqueKey,
			options: []option{text("i", "msgId", "ID", "unique key").must(),
				text("g", "consumerGroup", "GROUP", "with -d: let a member of this group consume it now"),
				text("d", "clientId", "ID", "with -g: the member"), topicOption("topic of the message"),
				toggle("a", "showAll", "every message with this key, oldest first"), of,
				long("s", "startTime", "MS", "stored at or after (default: the time in the key)"), long("e", "endTime", "MS", "stored at or before")}},
		{name: "queryMsgByOffset", short: "Show the message at an offset of a queue", run: queryMsgByOffset,
			options: []option{topicOption("topic of the message"),
				text("b", "brokerName", "NAME", "broker of the queue").must().completed(completeBrokerNames),
				number("i", "queueId", "N", "queue").must(), long("o", "offset", "N", "offset in the queue").must(),
				text("f", "bodyFormat", "CHARSET", "show the body; UTF-8 is the only one"),
				text("r", "routeTopic", "TOPIC", "topic in whose route to look")}},
		{name: "queryCq", short: "Show entries of a consume queue", run: queryCq,
			options: []option{topicOption("topic"), number("q", "queue", "N", "queue").must(), long("i", "index", "N", "first entry").must(),
				number("c", "count", "N", "entries (default 10)"),
				text("b", "broker", "ADDR", "broker to ask, host:port; else the first of the topic").completed(completeBrokers),
				text("g", "consumer", "GROUP", "tell of each entry whether this group's filter takes it")}},
	}
}

// storeHosts tells which addresses are brokers': an offset id begins with one.
func (s *session) storeHosts() func(netip.AddrPort) bool {
	known := map[string]bool{}
	if info, err := s.clusterInfo(); err == nil {
		for _, b := range info.BrokerAddrTable {
			for _, addr := range b.BrokerAddrs {
				known[addr] = true
			}
		}
	}
	return func(host netip.AddrPort) bool { return known[host.String()] }
}

// byAnyID finds a message by its offset id or its unique key. Apache: MQAdminExt.viewMessage(topic, id).
func (s *session) byAnyID(topic, id, of string) (*storedMessage, error) {
	if isOffsetID(id, s.storeHosts()) {
		return s.viewMessage(topic, id)
	}
	all, err := s.query(of, topic, id, indexUnique, "", 32, bornAt(id)-time.Second.Milliseconds(), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("topic %s has no message %s", topic, id)
	}
	return slices.MinFunc(all, byStoreTime), nil
}

func byStoreTime(a, b *storedMessage) int { return cmp.Compare(a.StoreTimestampMs, b.StoreTimestampMs) }

// bornAt is the time in a unique key, 0 when there is none to be read. Apache: MessageClientIDSetter.getNearlyTimeFromID.
func bornAt(id string) int64 {
	if len(id) != 32 {
		return 0
	}
	ms, err := strconv.ParseInt(id[20:28], 16, 64)
	if err != nil {
		return 0
	}
	now := time.Now()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location())
	if at := month.UnixMilli() + ms; at <= now.UnixMilli() {
		return at
	}
	return month.AddDate(0, -1, 0).UnixMilli() + ms
}

// routeOfQuery is the topic in whose route to look.
func (s *session) routeOfQuery() string { return cmp.Or(s.text("cluster"), s.text("topic")) }

// queryMsgByID shows messages or has them consumed. Apache: QueryMsgByIdSubCommand.
func queryMsgByID(s *session) error {
	if s.boolean("sendMessage", false) {
		return usageError{"-s (sendMessage) is not served: send the message anew with sendMessage"}
	}
	var failed error
	s.list()
	for id := range strings.SplitSeq(s.text("msgId"), ",") {
		id = strings.TrimSpace(id)
		m, err := s.byAnyID(s.text("topic"), id, s.routeOfQuery())
		if err == nil && s.given("consumerGroup") && s.given("clientId") {
			err = s.consumeNow(m, s.text("consumerGroup"), s.text("clientId"))
		} else if err == nil {
			err = s.showMessage(m, s.given("bodyFormat"))
		}
		if err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// showMessage prints a message and who has consumed it. Apache: QueryMsgByIdSubCommand.printMsg.
func (s *session) showMessage(m *storedMessage, withBody bool) error {
	s.say("%-20s %v\n", "OffsetID:", m.offsetID())
	if err := s.sayMessage(m, ""); err != nil {
		return err
	}
	if withBody {
		s.say("%-20s %s\n", "Message Body:", m.body)
	}
	tracks := s.tracks(m)
	s.sayTracks(tracks, "\n")
	s.add(append(m.record(), member{"tracks", tracks}))
	return nil
}

// consumeNow lets a member of a group consume a message. Apache: MQAdminExt.consumeMessageDirectly.
func (s *session) consumeNow(m *storedMessage, group, clientID string) error {
	_, addr, err := s.connection(group, "")
	if err != nil {
		return err
	}
	var result codec.ConsumeMessageDirectlyResult
	err = s.brokerBody(addr, request(codec.ConsumeMessageDirectly, "consumerGroup", group, "clientId", clientID, "msgId", m.offsetID(),
		"brokerName", m.broker, "topic", m.topic), &result)
	if err != nil {
		return err
	}
	s.say("ConsumeMessageDirectlyResult [order=%t, autoCommit=%t, consumeResult=%s, remark=%s, spentTimeMills=%d]", result.Order,
		result.AutoCommit, result.ConsumeResult, cmp.Or(result.Remark, "null"), result.SpentTimeMs)
	s.add(result)
	return nil
}

// queryMsgByKey finds messages by key. Apache: QueryMsgByKeySubCommand.
func queryMsgByKey(s *session) error {
	all, err := s.query(s.routeOfQuery(), s.text("topic"), s.text("msgKey"), s.textOr("keyType", indexKeys), s.text("lastKey"),
		s.number("maxNum", 64), s.number("beginTimestamp", 0), s.number("endTimestamp", math.MaxInt64))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("topic %s has no message with key %s", s.text("topic"), s.text("msgKey"))
	}
	t := s.table("%-50s %4s %40s %-200s", column{"#Message ID", "msgId"}, column{"#QID", "queueId"}, column{"#Offset", "queueOffset"},
		column{"#IndexKey", "indexKey"})
	for _, m := range all {
		t.row(m.id(), m.QueueID, m.QueueOffset, fmt.Sprintf("%d@%s@%s@%s@%s@%d", m.StoreTimestampMs, m.topic, s.textOr("keyType", indexKeys),
			s.text("msgKey"), m.id(), m.PhysOffset))
	}
	return nil
}

// queryMsgByUniqueKey shows a message by its unique key. Apache: QueryMsgByUniqueKeySubCommand.
func queryMsgByUniqueKey(s *session) error {
	topic, id := s.text("topic"), s.text("msgId")
	begin := s.number("startTime", bornAt(id)-time.Second.Milliseconds())
	all, err := s.query(s.routeOfQuery(), topic, id, indexUnique, "", 32, begin, s.number("endTime", math.MaxInt64))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("topic %s has no message %s", topic, id)
	}
	slices.SortFunc(all, byStoreTime)
	if s.given("consumerGroup") && s.given("clientId") {
		return s.consumeNow(all[0], s.text("consumerGroup"), s.text("clientId"))
	}
	if !s.boolean("showAll", false) {
		all = all[:1]
	}
	s.list()
	for i, m := range all {
		suffix := ""
		if len(all) > 1 {
			suffix = "_" + strconv.Itoa(i)
		}
		if err := s.sayMessage(m, suffix); err != nil {
			return err
		}
		tracks := s.tracks(m)
		s.sayTracks(tracks, "")
		s.add(append(m.record(), member{"tracks", tracks}))
	}
	return nil
}

// queryMsgByOffset shows the message at an offset. Apache: QueryMsgByOffsetSubCommand.
func queryMsgByOffset(s *session) error {
	topic, broker := s.text("topic"), s.text("brokerName")
	addr, err := s.brokerNamed(cmp.Or(s.text("routeTopic"), topic), broker)
	if err != nil {
		return err
	}
	found, err := s.pull(addr, pullFrom{topic: topic, queue: s.number("queueId", 0), offset: s.number("offset", 0), count: 1, filter: "*"})
	if err != nil {
		return err
	}
	if len(found.messages) == 0 {
		return fmt.Errorf("queue %d of topic %s on broker %s has no message at offset %d", s.number("queueId", 0), topic, broker, s.number("offset", 0))
	}
	found.messages[0].broker = broker
	s.list()
	return s.showMessage(found.messages[0], s.given("bodyFormat"))
}

// brokerNamed returns the master of a broker name in the route of a topic.
func (s *session) brokerNamed(topic, name string) (string, error) {
	route, err := s.route(topic)
	if err != nil {
		return "", err
	}
	var names []string
	for _, b := range route.BrokerDatas {
		if addr := selectAddr(b); b.BrokerName == name && addr != "" {
			return addr, nil
		}
		names = append(names, b.BrokerName)
	}
	return "", fmt.Errorf("topic %s is not on broker %s; it is on %s", topic, name, listOf(names))
}

// queryCq shows entries of a consume queue. Apache: QueryConsumeQueueCommand.
func queryCq(s *session) error {
	topic, index := s.text("topic"), s.number("index", 0)
	addr := s.text("broker")
	if addr == "" {
		addrs, err := s.brokersOf(topic)
		if err != nil {
			return err
		}
		addr = addrs[0]
	}
	c := request(codec.QueryConsumeQueue, "topic", topic, "queueId", s.number("queue", 0), "index", index, "count", s.number("count", 10))
	if s.given("consumer") {
		c.Extra = append(c.Extra, codec.Field{Key: "consumerGroup", Value: s.text("consumer")})
	}
	resp, err := s.broker(addr, c)
	if err != nil {
		return err
	}
	if len(resp.Body) == 0 {
		return fmt.Errorf("broker %s: %s", addr, cmp.Or(firstLine(resp.Remark), "no such entry"))
	}
	var body codec.QueryConsumeQueueBody
	if err := codec.UnmarshalJSON(resp.Body, &body); err != nil {
		return fmt.Errorf("answer of %s: %w", addr, err)
	}
	line := strings.Repeat("=", 38)
	if body.SubscriptionData != nil {
		b, err := codec.MarshalPrettyJSON(body.SubscriptionData)
		if err != nil {
			return err
		}
		s.say("Subscription data: \n%s\n%s\n", b, line)
	}
	if body.FilterData != "" {
		s.say("Filter data: \n%s\n%s\n", body.FilterData, line)
	}
	s.say("Queue data: \nmax: %d, min: %d\n%s\n", body.MaxQueueIndex, body.MinQueueIndex, line)
	for i, d := range body.QueueData {
		s.say("idx: %d\nConsumeQueueData{physicOffset=%d, physicSize=%d, tagsCode=%d, extendDataJson='%s', bitMap='%s', eval=%t, msg='%s'}\n%s\n",
			index+int64(i), d.PhysicOffset, d.PhysicSize, d.TagsCode, cmp.Or(d.ExtendDataJSON, "null"), cmp.Or(d.BitMap, "null"), d.Eval,
			cmp.Or(d.Msg, "null"), line)
	}
	s.result(body)
	return nil
}
