package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// When startMonitoring looks, as Apache's does, and from when on it finds a member conspicuous.
const (
	monitorFirst    = 20 * time.Second
	monitorInterval = time.Minute
	startedLongAgo  = 2 * time.Minute
	blockedFor      = time.Minute

	offsetMovedTopic = "OFFSET_MOVED_EVENT"
	// maxMovedEvents bounds the events of one queue that a round shows; the next one goes on behind them.
	maxMovedEvents = 32
)

func monitorCommands() []spec {
	return []spec{{name: "startMonitoring", short: "Watch all consumer groups: lag, members that differ or are stuck, messages lost to retention", run: startMonitoring,
		long: "Looks 20 seconds after the start and then once a minute, until it is stopped. Every line has [MONITOR] behind its time, where Apache's is in a log file; what somebody has to look at has [NOTIFY] too."}}
}

// monitor is what is kept between two rounds.
type monitor struct {
	*session
	masters map[string]string // address by name
	// moved is where to go on in the queues of offsetMovedTopic.
	moved map[codec.MessageQueue]int64
}

// startMonitoring watches all groups. Apache: StartMonitoringSubCommand, MonitorService, DefaultMonitorListener.
func startMonitoring(s *session) error {
	if _, err := s.clusterInfo(); err != nil {
		return err // a wrong address is said at once
	}
	m := &monitor{session: s, moved: map[codec.MessageQueue]int64{}}
	m.lostMessages(func(codec.MessageQueue, *storedMessage) {})
	if !s.wait(monitorFirst) {
		return nil
	}
	return s.every(monitorInterval, true, func() error {
		m.event("=========================================beginRound", record{{"event", "beginRound"}})
		if err := m.round(); err != nil && s.ctx.Err() == nil {
			m.notify(fmt.Sprintf("round failed: %v", err), record{{"event", "roundFailed"}, {"error", err.Error()}})
		}
		m.event("=========================================endRound", record{{"event", "endRound"}})
		return nil
	})
}

// event shows a line.
func (m *monitor) event(line string, v record) {
	m.say("%s [MONITOR] %s\n", timeSec(m.now().UnixMilli()), line)
	m.add(v)
}

// notify shows what somebody has to look at.
func (m *monitor) notify(line string, v record) { m.event(" [NOTIFY] "+line, v) }

func (m *monitor) round() error {
	info, err := m.clusterInfo()
	if err != nil {
		return err
	}
	m.masters = map[string]string{}
	for name, b := range info.BrokerAddrTable {
		m.masters[name] = selectAddr(b)
	}
	topics, err := m.allTopics()
	if err != nil {
		return err
	}
	for _, topic := range topics {
		// Groups that nobody is online of are passed over, as by Apache's.
		group, ok := strings.CutPrefix(topic, "%RETRY%")
		if !ok || m.ctx.Err() != nil {
			continue
		}
		cc, addr, err := m.connection(group, "")
		if err != nil {
			continue
		}
		m.undone(group)
		m.members(group, addr, cc)
	}
	m.lostMessages(m.lost)
	return nil
}

// undone shows how much of each topic a group has before it.
func (m *monitor) undone(group string) {
	stats, err := m.consumeStats(group, "", "")
	if err != nil {
		return
	}
	type lag struct{ total, single, delayMs int64 }
	lags := map[string]*lag{}
	for q, at := range stats.OffsetTable {
		l := lags[q.Topic]
		if l == nil {
			l = new(lag)
			lags[q.Topic] = l
		}
		diff := at.BrokerOffset - at.ConsumerOffset
		l.single, l.total = max(l.single, diff), l.total+max(diff, 0)
		if at.LastTimestampMs > 0 {
			l.delayMs = max(l.delayMs, m.lastStored(q)-at.LastTimestampMs)
		}
	}
	for _, topic := range sortedKeys(lags) {
		l := lags[topic]
		m.event(fmt.Sprintf("reportUndoneMsgs: UndoneMsgs [consumerGroup=%s, topic=%s, undoneMsgsTotal=%d, undoneMsgsSingleMQ=%d, undoneMsgsDelayTimeMills=%d]",
			group, topic, l.total, l.single, l.delayMs), record{{"event", "undoneMsgs"}, {"group", group}, {"topic", topic}, {"total", l.total},
			{"singleQueue", l.single}, {"delayMs", l.delayMs}})
	}
}

// lastStored is when the last message of a queue was stored, 0 when there is none.
func (m *monitor) lastStored(q codec.MessageQueue) int64 {
	addr := m.masters[q.BrokerName]
	if addr == "" {
		return 0
	}
	end, err := m.offsetOf(addr, request(codec.GetMaxOffset, "topic", q.Topic, "queueId", q.QueueID))
	if err != nil || end == 0 {
		return 0
	}
	got, err := m.pull(addr, pullFrom{topic: q.Topic, queue: int64(q.QueueID), offset: end - 1, count: 1, filter: "*"})
	if err != nil || len(got.messages) == 0 {
		return 0
	}
	return got.messages[0].StoreTimestampMs
}

// memberInfo is what is read of a member's running info.
type memberInfo struct {
	Properties      map[string]any                       `json:"properties"`
	SubscriptionSet []codec.SubscriptionData             `json:"subscriptionSet"`
	MQTable         map[codec.MessageQueue]memberOfQueue `json:"mqTable"`
}

// memberOfQueue is what a member says of a queue that it has. Apache: ProcessQueueInfo.
type memberOfQueue struct {
	CachedMsgCount         int64 `json:"cachedMsgCount"`
	Locked                 bool  `json:"locked"`
	TryUnlockTimes         int64 `json:"tryUnlockTimes"`
	LastLockTimestampMs    int64 `json:"lastLockTimestamp"`
	Dropped                bool  `json:"droped"`
	LastConsumeTimestampMs int64 `json:"lastConsumeTimestamp"`
}

// property is a property as text, whatever its type: Java's client writes some as enumeration, number or truth value.
func (i *memberInfo) property(name string) string {
	switch v := i.Properties[name].(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatInt(int64(v), 10)
	default:
		return fmt.Sprint(v)
	}
}

func (i *memberInfo) push() bool { return i.property("PROP_CONSUME_TYPE") == "CONSUME_PASSIVELY" }

// members asks each member of a group and shows what is wrong with it.
func (m *monitor) members(group, addr string, cc *codec.ConsumerConnection) {
	infos := map[string]*memberInfo{}
	for _, c := range cc.ConnectionSet {
		body, err := m.runningInfo(addr, group, c.ClientID, false)
		info := new(memberInfo)
		if err == nil && codec.UnmarshalJSON(body, info) == nil {
			infos[c.ClientID] = info
		}
	}
	clients := sortedKeys(infos)
	if len(clients) == 0 {
		return
	}
	now := m.now()
	if differ(clients, infos, now) {
		m.notify(fmt.Sprintf("reportConsumerRunningInfo: ConsumerGroup: %s, Subscription different", group),
			record{{"event", "subscriptionDifferent"}, {"group", group}, {"clientIds", clients}})
	}
	for _, client := range clients {
		for _, line := range stuck(client, infos[client], now) {
			m.notify(fmt.Sprintf("reportConsumerRunningInfo: ConsumerGroup: %s, ClientId: %s, %s", group, client, line),
				record{{"event", "queueStuck"}, {"group", group}, {"clientId", client}, {"says", line}})
		}
	}
}

// differ tells whether members of a group that is no longer starting subscribe differently. Apache: ConsumerRunningInfo.analyzeSubscription.
func differ(clients []string, infos map[string]*memberInfo, now time.Time) bool {
	first := infos[clients[0]]
	startedMs, err := strconv.ParseInt(first.property("PROP_CONSUMER_START_TIMESTAMP"), 10, 64)
	if err != nil || !first.push() || now.Sub(time.UnixMilli(startedMs)) <= startedLongAgo {
		return false
	}
	return slices.ContainsFunc(clients, func(client string) bool { return infos[client].subscriptions() != first.subscriptions() })
}

func (i *memberInfo) subscriptions() string {
	all := make([]string, 0, len(i.SubscriptionSet))
	for _, sub := range i.SubscriptionSet {
		all = append(all, sub.Topic+"@"+sub.SubString)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// stuck says of which queues a member makes nothing. Apache: ConsumerRunningInfo.analyzeProcessQueue.
func stuck(client string, info *memberInfo, now time.Time) (lines []string) {
	if !info.push() {
		return nil
	}
	orderly := strings.EqualFold(info.property("PROP_CONSUMEORDERLY"), "true")
	for _, queue := range sortedQueues(info.MQTable) {
		q, name := info.MQTable[queue], queueRange{queue: queue}.describe()
		silent := now.Sub(time.UnixMilli(q.LastConsumeTimestampMs))
		switch {
		case orderly && !q.Locked:
			lines = append(lines, fmt.Sprintf("%s %s can't lock for a while, %dms", client, name, now.UnixMilli()-q.LastLockTimestampMs))
		case orderly && q.Dropped && q.TryUnlockTimes > 0:
			lines = append(lines, fmt.Sprintf("%s %s unlock %d times, still failed", client, name, q.TryUnlockTimes))
		case !orderly && silent > blockedFor && q.CachedMsgCount > 0:
			lines = append(lines, fmt.Sprintf("%s %s can't consume for a while, maybe blocked, %dms", client, name, silent.Milliseconds()))
		}
	}
	return lines
}

// lostMessages shows the new messages of offsetMovedTopic, to which Apache's brokers write when retention has overtaken a group. The
// first time it only notes where the queues end.
func (m *monitor) lostMessages(show func(codec.MessageQueue, *storedMessage)) {
	queues, err := m.readableQueues(offsetMovedTopic, offsetMovedTopic)
	if err != nil {
		return // there is no such topic
	}
	for _, q := range queues {
		from, known := m.moved[q.queue]
		if !known {
			if from, err = m.offsetOf(q.addr, request(codec.GetMaxOffset, "topic", offsetMovedTopic, "queueId", q.queue.QueueID)); err != nil {
				continue
			}
			m.moved[q.queue] = from
		}
		got, err := m.pull(q.addr, pullFrom{topic: offsetMovedTopic, queue: int64(q.queue.QueueID), offset: from, count: maxMovedEvents, filter: "*"})
		if err != nil {
			continue
		}
		for _, message := range got.messages {
			show(q.queue, message)
		}
		m.moved[q.queue] = got.next
	}
}

// lost shows one of them.
func (m *monitor) lost(_ codec.MessageQueue, message *storedMessage) {
	var e struct {
		ConsumerGroup string             `json:"consumerGroup"`
		MessageQueue  codec.MessageQueue `json:"messageQueue"`
		OffsetRequest int64              `json:"offsetRequest"`
		OffsetNew     int64              `json:"offsetNew"`
	}
	if err := json.Unmarshal(message.body, &e); err != nil {
		return
	}
	m.event(fmt.Sprintf("reportDeleteMsgsEvent: DeleteMsgsEvent [offsetMovedEvent=OffsetMovedEvent [consumerGroup=%s, messageQueue=%s, offsetRequest=%d, "+
		"offsetNew=%d], eventTimestamp=%d]", e.ConsumerGroup, queueRange{queue: e.MessageQueue}.describe(), e.OffsetRequest, e.OffsetNew, message.StoreTimestampMs),
		record{{"event", "deleteMsgs"}, {"group", e.ConsumerGroup}, {"topic", e.MessageQueue.Topic}, {"brokerName", e.MessageQueue.BrokerName},
			{"queueId", e.MessageQueue.QueueID}, {"offsetRequest", e.OffsetRequest}, {"offsetNew", e.OffsetNew}, {"time", jsonTime(message.StoreTimestampMs)}})
}
