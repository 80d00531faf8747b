package admin

import (
	"cmp"
	"fmt"

	"github.com/apogee-mq/apogee/codec"
)

// Names of the counters that statsAll asks for. Apache: Stats.
const (
	statTopicPut = "TOPIC_PUT_NUMS"
	statGroupGet = "GROUP_GET_NUMS"
)

func statsCommands() []spec {
	return []spec{
		{name: "statsAll", short: "Show rates and totals of topics and of the groups that consume them", run: statsAll, options: []option{
			toggle("a", "activeTopic", "only topics with messages in the last 24 hours"),
			text("t", "topic", "TOPIC", "this topic only").completed(completeTopics)}},
	}
}

// statsAll shows rates and totals. Apache: StatsAllSubCommand. Topics that cannot be asked are left out, as there.
func statsAll(s *session) error {
	topics, err := s.allTopics()
	if err != nil {
		return err
	}
	t := s.table("%-64s  %-64s %12s %11s %11s %14s %14s", column{"#Topic", "topic"}, column{"#Consumer Group", "group"},
		column{"#Accumulation", "accumulation"}, column{"#InTPS", "inTps"}, column{"#OutTPS", "outTps"},
		column{"#InMsg24Hour", "inMsg24h"}, column{"#OutMsg24Hour", "outMsg24h"})
	only, found := s.text("topic"), false
	for _, topic := range topics {
		if isRetryOrDLQ(topic) || only != "" && topic != only {
			continue
		}
		found = true
		if err := s.topicRates(t, topic); err != nil {
			fmt.Fprintf(s.errw, "%s is left out: %v\n", topic, err)
		}
	}
	if only != "" && !found {
		return fmt.Errorf("the name server knows no topic %s", only)
	}
	return nil
}

// topicRates prints one line a group of a topic.
func (s *session) topicRates(t *table, topic string) error {
	route, err := s.route(topic)
	if err != nil {
		return err
	}
	groups, err := s.groupsOf(route, topic)
	if err != nil {
		return err
	}
	active := s.boolean("activeTopic", false)
	inTPS, in := s.counted(route, statTopicPut, topic)
	if len(groups) == 0 {
		if !active || in > 0 {
			t.row(shown{topic, front(topic, 64)}, shown{nil, ""}, int64(0), decimals(2, inTPS), shown{nil, ""}, in, shown{nil, "NO_CONSUMER"})
		}
		return nil
	}
	for _, group := range groups {
		outTPS, out := s.counted(route, statGroupGet, topic+"@"+group)
		if !active || in > 0 || out > 0 {
			t.row(shown{topic, front(topic, 64)}, shown{group, front(group, 64)}, s.accumulated(group, topic), decimals(2, inTPS),
				decimals(2, outTPS), in, out)
		}
	}
	return nil
}

// counted adds up a counter of the masters in a route: its rate of the last minute, and its sum over the longest span that has one.
func (s *session) counted(route *codec.TopicRouteData, name, key string) (tps float64, sum int64) {
	for _, b := range route.BrokerDatas {
		addr := b.BrokerAddrs[masterID]
		if addr == "" {
			continue
		}
		var data codec.BrokerStatsData
		// A counter that has counted nothing does not exist, which the broker answers with an error.
		if s.brokerBody(addr, request(codec.ViewBrokerStatsData, "statsName", name, "statsKey", key), &data) == nil {
			tps += data.StatsMinute.TPS
			sum += cmp.Or(data.StatsDay.Sum, data.StatsHour.Sum, data.StatsMinute.Sum)
		}
	}
	return tps, sum
}

// accumulated is how many messages of a topic a group has before it; 0 when the brokers do not know.
func (s *session) accumulated(group, topic string) int64 {
	route, err := s.route("%RETRY%" + group)
	if answered(err) == codec.TopicNotExist {
		route, err = s.route(topic) // a group of the system's
	}
	if err != nil {
		return 0
	}
	var behind int64
	for _, b := range route.BrokerDatas {
		var stats codec.ConsumeStats
		addr := selectAddr(b)
		if addr == "" || s.brokerBody(addr, request(codec.GetConsumeStats, "consumerGroup", group, "topic", topic), &stats) != nil {
			continue
		}
		for _, at := range stats.OffsetTable {
			behind += at.BrokerOffset - at.ConsumerOffset
		}
	}
	return max(behind, 0)
}
