package admin

import (
	"fmt"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

func offsetCommands() []spec {
	inCluster := text("c", "cluster", "NAME", "cluster or topic in whose route to look, for light message queues")
	return []spec{
		{name: "resetOffsetByTime", short: "Set a group back or forward to a time", run: resetOffsetByTime,
			long: "Members that are online are told and go on from there. With -b and -q one queue only, and with -o an offset instead of a time.",
			options: []option{groupOption("g", "group", "name of the group"), topicOption("topic it consumes"),
				text("s", "timestamp", "TIME", "now, milliseconds since 1970, or 2006-01-02#15:04:05:000").must(),
				boolean("f", "force", "forward, too, and not only back (default true)"),
				inCluster,
				text("b", "broker", "ADDR", "with -q: broker of the one queue, host:port").completed(completeBrokers),
				number("q", "queue", "N", "with -b: the one queue"),
				long("o", "offset", "N", "with -b and -q: the offset")}},
		{name: "skipAccumulatedMessage", short: "Let a group skip what it has not consumed", run: skipAccumulatedMessage,
			options: []option{groupOption("g", "group", "name of the group"), topicOption("topic it consumes"),
				boolean("f", "force", "forward, too, and not only back (default true)"), inCluster}},
		{name: "cloneGroupOffset", short: "Give a group the offsets of another", run: cloneGroupOffset,
			options: []option{groupOption("s", "srcGroup", "group whose offsets are taken"), groupOption("d", "destGroup", "group that gets them"),
				topicOption("topic whose brokers are asked"),
				boolean("o", "offline", "taken for Apache's sake, means nothing there either")}},
	}
}

// instant reads a time as Apache's commands take it.
func (s *session) instant(name string) (time.Time, error) {
	value := s.text(name)
	if value == "now" || value == "currentTimeMillis" {
		return s.now(), nil
	}
	if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	if i := len(value) - len(":000"); i > 0 && value[i] == ':' {
		if t, err := time.ParseInLocation("2006-01-02#15:04:05.000", value[:i]+"."+value[i+1:], time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Sprintf("%s is now, milliseconds since 1970 or a time like 2006-01-02#15:04:05:000, not %q", name, value)}
}

// resetOffsetByTime sets a group to a time. Apache: ResetOffsetByTimeCommand, ResetOffsetByTimeOldCommand.
func resetOffsetByTime(s *session) error {
	at, err := s.instant("timestamp")
	if err != nil {
		return err
	}
	group, topic, force := s.text("group"), s.text("topic"), s.boolean("force", true)
	if s.given("broker") && s.number("queue", -1) >= 0 {
		return s.resetOneQueue(group, topic, at)
	}
	done, err := s.resetOnline(group, topic, at.UnixMilli(), force)
	if answered(err) == codec.ConsumerNotOnline {
		s.say("start reset consumer offset by specified, group[%s], topic[%s], force[%t], timestamp(string)[%s], timestamp(long)[%d]\n",
			group, topic, force, s.text("timestamp"), at.UnixMilli())
		return s.resetOffline(group, topic, at.UnixMilli(), force)
	}
	if err != nil {
		return err
	}
	s.say("start reset consumer offset by specified, group[%s], topic[%s], force[%t], timestamp(string)[%s], timestamp(long)[%d]\n",
		group, topic, force, s.text("timestamp"), at.UnixMilli())
	s.showReset(done)
	return nil
}

// resetOneQueue sets one queue of a group; nothing is set to 0, as by Apache's tool.
func (s *session) resetOneQueue(group, topic string, at time.Time) error {
	addr, queue := s.text("broker"), s.number("queue", -1)
	s.say("start reset consumer offset by specified, group[%s], topic[%s], queueId[%d], broker[%s], timestamp(string)[%s], timestamp(long)[%d]\n",
		group, topic, queue, addr, s.text("timestamp"), at.UnixMilli())
	offset := s.number("offset", 0)
	if !s.given("offset") {
		var err error
		if offset, err = s.searchOffset(addr, topic, queue, at.UnixMilli()); err != nil {
			return err
		}
	}
	s.say("reset consumer offset to %d\n", offset)
	if offset <= 0 {
		return nil
	}
	if err := s.commitOffset(addr, group, topic, queue, offset); err != nil {
		return err
	}
	_, err := s.broker(addr, request(codec.InvokeBrokerToResetOffset, "topic", topic, "group", group, "timestamp", 0, "isForce", true,
		"queueId", queue, "offset", offset))
	if answered(err) == codec.ConsumerNotOnline {
		return nil
	}
	return err
}

// searchOffset asks for the first offset at or after a time.
func (s *session) searchOffset(addr, topic string, queue, ms int64) (int64, error) {
	return s.offsetOf(addr, request(codec.SearchOffsetByTimestamp, "topic", topic, "queueId", queue, "timestamp", ms))
}

// targetOffset is searchOffset, but that -1 stands for the end of the queue.
func (s *session) targetOffset(addr, topic string, queue, ms int64) (int64, error) {
	if ms == -1 {
		return s.offsetOf(addr, request(codec.GetMaxOffset, "topic", topic, "queueId", queue))
	}
	return s.searchOffset(addr, topic, queue, ms)
}

// offsetOf asks for an offset that comes in the answer's header.
func (s *session) offsetOf(addr string, c *codec.Command) (int64, error) {
	resp, err := s.broker(addr, c)
	if err != nil {
		return 0, err
	}
	field, _ := resp.Field("offset")
	offset, err := strconv.ParseInt(string(field), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("broker %s answers offset %q", addr, field)
	}
	return offset, nil
}

func (s *session) commitOffset(addr, group, topic string, queue, offset int64) error {
	_, err := s.broker(addr, request(codec.UpdateConsumerOffset, "consumerGroup", group, "topic", topic, "queueId", queue, "commitOffset", offset))
	return err
}

// resetOnline lets the brokers of a topic reset a group whose members are online. Apache: MQAdminExt.resetOffsetByTimestamp.
func (s *session) resetOnline(group, topic string, ms int64, force bool) (map[codec.MessageQueue]int64, error) {
	of := topic
	if s.given("cluster") {
		of = s.text("cluster")
	}
	addrs, err := s.brokersOf(of)
	if err != nil {
		return nil, err
	}
	all := map[codec.MessageQueue]int64{}
	for _, addr := range addrs {
		var done codec.ResetOffsetBody
		err := s.brokerBody(addr, request(codec.InvokeBrokerToResetOffset, "topic", topic, "group", group, "timestamp", ms, "isForce", force,
			"queueId", -1), &done)
		if err != nil {
			return nil, err
		}
		for q, offset := range done.OffsetTable {
			all[q] = offset
		}
	}
	return all, nil
}

func (s *session) showReset(done map[codec.MessageQueue]int64) {
	t := s.table("%-40s  %-40s  %-40s", column{"#brokerName", "brokerName"}, column{"#queueId", "queueId"}, column{"#offset", "offset"})
	for _, q := range sortedQueues(done) {
		t.row(shown{q.BrokerName, front(q.BrokerName, 32)}, q.QueueID, done[q])
	}
}

// resetOffline commits offsets of a group without members. Apache: MQAdminExt.resetOffsetByTimestampOld.
func (s *session) resetOffline(group, topic string, ms int64, force bool) error {
	route, err := s.route(topic)
	if err != nil {
		return err
	}
	readable := map[string]int32{}
	for _, q := range route.QueueDatas {
		readable[q.BrokerName] = q.ReadQueueNums
	}
	t := s.table("%-20s  %-20s  %-20s  %-20s  %-20s  %-20s", column{"#brokerName", "brokerName"}, column{"#queueId", "queueId"},
		column{"#brokerOffset", "brokerOffset"}, column{"#consumerOffset", "consumerOffset"}, column{"#timestampOffset", "timestampOffset"},
		column{"#resetOffset", "resetOffset"})
	for _, b := range route.BrokerDatas {
		addr := selectAddr(b)
		if addr == "" {
			continue
		}
		var stats codec.ConsumeStats
		if err := s.brokerBody(addr, request(codec.GetConsumeStats, "consumerGroup", group, "topic", topic), &stats); err != nil {
			return err
		}
		for id := range readable[b.BrokerName] {
			q := codec.MessageQueue{Topic: topic, BrokerName: b.BrokerName, QueueID: id}
			at, known := stats.OffsetTable[q]
			target, err := s.targetOffset(addr, topic, int64(id), ms)
			if err != nil {
				return err
			}
			result := at.ConsumerOffset
			if force || !known || target <= at.ConsumerOffset {
				result = target
				if err := s.commitOffset(addr, group, topic, int64(id), target); err != nil {
					return err
				}
			}
			t.row(shown{b.BrokerName, front(b.BrokerName, 32)}, id, at.BrokerOffset, at.ConsumerOffset, target, result)
		}
	}
	return nil
}

// skipAccumulatedMessage sets a group to the ends of the queues. Apache: SkipAccumulationSubCommand.
func skipAccumulatedMessage(s *session) error {
	group, topic, force := s.text("group"), s.text("topic"), s.boolean("force", true)
	done, err := s.resetOnline(group, topic, -1, force)
	if answered(err) == codec.ConsumerNotOnline {
		return s.resetOffline(group, topic, -1, force)
	}
	if err == nil {
		s.showReset(done)
	}
	return err
}

// cloneGroupOffset gives a group the offsets of another, of all topics. Apache: CloneGroupOffsetCommand.
func cloneGroupOffset(s *session) error {
	from, to, topic := s.text("srcGroup"), s.text("destGroup"), s.text("topic")
	stats, err := s.consumeStats(from, "", "")
	if err != nil {
		return err
	}
	route, err := s.route(topic)
	if err != nil {
		return err
	}
	addrs := map[string]string{}
	for _, b := range route.BrokerDatas {
		addrs[b.BrokerName] = selectAddr(b)
	}
	s.list()
	for _, q := range sortedQueues(stats.OffsetTable) {
		offset := stats.OffsetTable[q].ConsumerOffset
		if offset < 0 {
			continue
		}
		if addrs[q.BrokerName] == "" {
			return fmt.Errorf("group %s consumes queue %d of topic %s on broker %s, which topic %s is not on", from, q.QueueID, q.Topic, q.BrokerName, topic)
		}
		if err := s.commitOffset(addrs[q.BrokerName], to, q.Topic, int64(q.QueueID), offset); err != nil {
			return err
		}
		s.add(record{{"topic", q.Topic}, {"brokerName", q.BrokerName}, {"queueId", q.QueueID}, {"offset", offset}})
	}
	s.say("clone group offset success. srcGroup[%s], destGroup=[%s], topic[%s]", from, to, topic)
	return nil
}
