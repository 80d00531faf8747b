package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

func printCommands() []spec {
	between := []option{
		text("b", "beginTimestamp", "TIME", "stored at or after: milliseconds since 1970 or 2006-01-02#15:04:05:000"),
		text("e", "endTimestamp", "TIME", "stored before"),
	}
	charset := text("c", "charsetName", "NAME", "of the bodies; UTF-8 is the only one")
	filter := text("s", "subExpression", "TAGS", "tags to show, tagA || tagB (default *)")
	return []spec{
		{name: "printMsg", short: "Show the messages of a topic", run: printMsg,
			options: append([]option{topicOption("topic"), charset, filter, between[0], between[1]},
				boolean("d", "printBody", "show the bodies (default true)"),
				text("l", "lmqParentTopic", "TOPIC", "of a light message queue: topic in whose route to look"))},
		{name: "printMsgByQueue", short: "Show the messages of a queue, or count its tags", run: printMsgByQueue,
			options: append([]option{topicOption("topic"),
				text("a", "brokerName", "NAME", "broker of the queue").must().completed(completeBrokerNames),
				number("i", "queueId", "N", "queue").must(), charset, filter, between[0], between[1]},
				boolean("p", "printMsg", "show the messages (default false)"),
				boolean("d", "printBody", "show the bodies (default false)"),
				boolean("f", "calculate", "count the tags (default false)"))},
		{name: "consumeMessage", short: "Show messages as a consumer gets them, committing nothing", run: consumeMessage,
			options: []option{topicOption("topic"),
				text("b", "brokerName", "NAME", "broker of the queue; else every one").completed(completeBrokerNames),
				number("i", "queueId", "N", "with -b: queue; else every one"),
				long("o", "offset", "N", "with -i: first offset"),
				text("g", "consumerGroup", "GROUP", "group to ask as (default TOOLS_CONSUMER)"),
				text("s", "beginTimestamp", "TIME", "stored at or after"), text("e", "endTimestamp", "TIME", "stored before"),
				long("c", "MessageNumber", "N", "so many messages (default 128)")}},
	}
}

// pullFrom says what to pull.
type pullFrom struct {
	topic  string
	queue  int64
	offset int64
	count  int64
	filter string
	group  string // TOOLS_CONSUMER when empty
}

// pulled is what a pull has found; next is the offset to go on at.
type pulledMessages struct {
	messages []*storedMessage
	next     int64
	code     int32
}

// pullSubscription is the bit of a pull's sysFlag for one that brings its filter. Apache: PullSysFlag.
const pullSubscription = 4

// pull asks for messages and does not wait for any. Apache: DefaultMQPullConsumer.pull.
func (s *session) pull(addr string, from pullFrom) (*pulledMessages, error) {
	resp, err := s.exchange(addr, request(codec.PullMessage, "consumerGroup", cmp.Or(from.group, "TOOLS_CONSUMER"), "topic", from.topic,
		"queueId", from.queue, "queueOffset", from.offset, "maxMsgNums", from.count, "sysFlag", pullSubscription, "commitOffset", 0,
		"suspendTimeoutMillis", 0, "subscription", from.filter, "subVersion", s.now().UnixMilli(), "expressionType", "TAG"))
	if err != nil {
		return nil, brokerError(addr, err)
	}
	p := &pulledMessages{code: resp.Code}
	switch resp.Code {
	case codec.Success, codec.PullNotFound, codec.PullRetryImmediately, codec.PullOffsetMoved:
	default:
		return nil, brokerError(addr, &answerError{resp.Code, resp.Remark})
	}
	next, _ := resp.Field("nextBeginOffset")
	if p.next, err = strconv.ParseInt(string(next), 10, 64); err != nil {
		return nil, fmt.Errorf("broker %s answers nextBeginOffset %q", addr, next)
	}
	if resp.Code != codec.Success {
		return p, nil
	}
	all, err := readMessages(resp.Body)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !from.takes(m) {
			continue
		}
		for _, p := range [][2]string{{"minOffset", "MIN_OFFSET"}, {"maxOffset", "MAX_OFFSET"}} {
			if value, ok := resp.Field(p[0]); ok {
				m.set(p[1], string(value))
			}
		}
		p.messages = append(p.messages, m)
	}
	return p, nil
}

// takes tells whether the filter takes a message: brokers compare hashes of tags, clients the tags.
func (from pullFrom) takes(m *storedMessage) bool {
	if from.filter == "*" || from.filter == "" {
		return true
	}
	for tag := range strings.SplitSeq(from.filter, "||") {
		if strings.TrimSpace(tag) == m.props[codec.PropTags] {
			return true
		}
	}
	return false
}

// set sets a property that a client adds to what it has pulled.
func (m *storedMessage) set(key, value string) {
	if _, known := m.props[key]; !known {
		m.keys = append(m.keys, key)
	}
	m.props[key] = value
}

// queueRange is a queue and the offsets of it that are asked for.
type queueRange struct {
	queue       codec.MessageQueue
	addr        string
	first, last int64 // from first to before last
}

// describe is the queue as Java's MessageQueue.toString shows it.
func (q queueRange) describe() string {
	return fmt.Sprintf("MessageQueue [topic=%s, brokerName=%s, queueId=%d]", q.queue.Topic, q.queue.BrokerName, q.queue.QueueID)
}

// between narrows a queue to the times of the options.
func (s *session) between(q queueRange, begin, end string) (queueRange, error) {
	var err error
	topic, id := q.queue.Topic, q.queue.QueueID
	if q.first, err = s.offsetOf(q.addr, request(codec.GetMinOffset, "topic", topic, "queueId", id)); err != nil {
		return q, err
	}
	if q.last, err = s.offsetOf(q.addr, request(codec.GetMaxOffset, "topic", topic, "queueId", id)); err != nil {
		return q, err
	}
	for name, offset := range map[string]*int64{begin: &q.first, end: &q.last} {
		if s.given(name) {
			at, err := s.instant(name)
			if err != nil {
				return q, err
			}
			if *offset, err = s.searchOffset(q.addr, topic, int64(id), at.UnixMilli()); err != nil {
				return q, err
			}
		}
	}
	return q, nil
}

// readableQueues are the queues of a topic that consumers read.
func (s *session) readableQueues(topic, of string) ([]queueRange, error) {
	route, err := s.route(of)
	if err != nil {
		return nil, err
	}
	addrs := map[string]string{}
	for _, b := range route.BrokerDatas {
		addrs[b.BrokerName] = selectAddr(b)
	}
	var all []queueRange
	for _, q := range route.QueueDatas {
		for id := int32(0); q.Perm&codec.PermRead != 0 && id < q.ReadQueueNums && addrs[q.BrokerName] != ""; id++ {
			all = append(all, queueRange{queue: codec.MessageQueue{Topic: topic, BrokerName: q.BrokerName, QueueID: id}, addr: addrs[q.BrokerName]})
		}
	}
	slices.SortFunc(all, func(a, b queueRange) int { return compareQueues(a.queue, b.queue) })
	return all, nil
}

// eachMessage pulls a range and gives do its messages; do returns false to end. It returns the last pull.
func (s *session) eachMessage(q queueRange, filter, group string, do func(m *storedMessage) bool) (*pulledMessages, error) {
	for offset := q.first; offset < q.last; {
		found, err := s.pull(q.addr, pullFrom{topic: q.queue.Topic, queue: int64(q.queue.QueueID), offset: offset, count: min(32, q.last-offset),
			filter: filter, group: group})
		if err != nil {
			return nil, err
		}
		for _, m := range found.messages {
			m.broker = q.queue.BrokerName
			if !do(m) {
				return found, nil
			}
		}
		if found.code != codec.Success && found.code != codec.PullRetryImmediately || found.next <= offset {
			return found, nil
		}
		offset = found.next
	}
	return nil, nil
}

func (s *session) printOne(m *storedMessage, withBody bool) {
	body := "NOT PRINT BODY"
	if withBody {
		body = string(m.body)
	}
	s.say("MSGID: %s %s BODY: %s\n", m.id(), m.describe(), body)
	s.add(m.record())
}

// printMsg shows the messages of a topic. Apache: PrintMessageSubCommand.
func printMsg(s *session) error {
	topic := s.text("topic")
	queues, err := s.readableQueues(topic, cmp.Or(s.text("lmqParentTopic"), topic))
	if err != nil {
		return err
	}
	s.list()
	for _, q := range queues {
		if q, err = s.between(q, "beginTimestamp", "endTimestamp"); err != nil {
			return err
		}
		s.say("minOffset=%d, maxOffset=%d, %s\n", q.first, q.last, q.describe())
		last, err := s.eachMessage(q, s.textOr("subExpression", "*"), "", func(m *storedMessage) bool {
			s.printOne(m, s.boolean("printBody", true))
			return true
		})
		if err != nil {
			return err
		}
		if last != nil && last.code == codec.PullNotFound {
			s.say("%s print msg finished. status=NO_NEW_MSG, offset=%d\n", q.describe(), last.next)
		}
		s.say("%s\n", strings.Repeat("-", 56))
	}
	return nil
}

// printMsgByQueue shows the messages of a queue or counts its tags. Apache: PrintMessageByQueueCommand.
func printMsgByQueue(s *session) error {
	topic, broker := s.text("topic"), s.text("brokerName")
	addr, err := s.brokerNamed(topic, broker)
	if err != nil {
		return err
	}
	q := queueRange{queue: codec.MessageQueue{Topic: topic, BrokerName: broker, QueueID: int32(s.number("queueId", 0))}, addr: addr}
	if q, err = s.between(q, "beginTimestamp", "endTimestamp"); err != nil {
		return err
	}
	s.list()
	tags := map[string]int{}
	_, err = s.eachMessage(q, s.textOr("subExpression", "*"), "", func(m *storedMessage) bool {
		if tag := m.props[codec.PropTags]; tag != "" {
			tags[tag]++
		}
		if s.boolean("printMsg", false) {
			s.printOne(m, s.boolean("printBody", false))
		}
		return true
	})
	if err != nil || !s.boolean("calculate", false) {
		return err
	}
	names := sortedKeys(tags)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(tags[b], tags[a]) })
	for _, tag := range names {
		s.say("Tag: %-30s Count: %d\n", tag, tags[tag])
	}
	if !s.boolean("printMsg", false) {
		s.result(tags)
	}
	return nil
}

// consumeMessage shows messages as a consumer gets them. Apache: ConsumeMessageCommand.
func consumeMessage(s *session) error {
	topic, left := s.text("topic"), s.number("MessageNumber", 128)
	switch {
	case s.given("queueId") && !s.given("brokerName"):
		return usageError{"-i (queueId) needs -b (brokerName)"}
	case s.given("offset") && !s.given("queueId"):
		return usageError{"-o (offset) needs -i (queueId)"}
	}
	queues, err := s.readableQueues(topic, topic)
	if err != nil {
		return err
	}
	s.list()
	for _, q := range queues {
		if left <= 0 || s.given("brokerName") && q.queue.BrokerName != s.text("brokerName") ||
			s.given("queueId") && int64(q.queue.QueueID) != s.number("queueId", 0) {
			continue
		}
		if q, err = s.between(q, "beginTimestamp", "endTimestamp"); err != nil {
			return err
		}
		if s.given("offset") {
			q.first = max(q.first, s.number("offset", 0))
			if q.first >= q.last {
				s.say("%s no matched msg, offset=%d\n", q.describe(), q.first)
				continue
			}
		}
		if q.last-q.first > left {
			s.say("The older %d message of the %d queue will be provided\n", left, q.queue.QueueID)
		}
		_, err := s.eachMessage(q, "*", s.text("consumerGroup"), func(m *storedMessage) bool {
			s.printOne(m, true)
			left--
			return left > 0
		})
		if err != nil {
			return err
		}
	}
	return nil
}
