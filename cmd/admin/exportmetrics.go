package admin

import (
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// exportMetrics writes the rates and sizes of a cluster. Apache: ExportMetricsCommand.
func exportMetrics(s *session) error {
	sets, err := s.brokerSets(s.text("clusterName"))
	if err != nil {
		return err
	}
	report := map[string]any{}
	tps := map[string]float64{"totalNormalInTps": 0, "totalNormalOutTps": 0, "totalTransInTps": 0, "totalScheduleInTps": 0}
	day := map[string]int64{"normalOneDayInNum": 0, "normalOneDayOutNum": 0, "transOneDayInNum": 0, "scheduleOneDayInNum": 0}
	for _, m := range sets {
		addr := m.data.BrokerAddrs[masterID]
		if addr == "" {
			continue
		}
		b, err := s.measure(addr)
		if err != nil {
			return err
		}
		for name, v := range b.tps {
			tps["total"+strings.ToUpper(name[:1])+name[1:]] += v
		}
		for name, v := range b.day {
			day[name] += v
		}
		report[m.name] = map[string]any{"runtimeEnv": b.env, "runtimeVersion": b.version, "runtimeQuota": map[string]any{
			"diskRatio": b.disk, "tps": b.tps, "oneDayNum": b.day, "messageAverageSize": b.averageSize, "topicSize": b.topics, "groupSize": b.groups}}
	}
	return s.writeExport("metrics.json", map[string]any{"evaluateReport": report,
		"totalData": map[string]any{"totalTps": tps, "totalOneDayNum": day}}, "")
}

// measured is what exportMetrics writes of one broker.
type measured struct {
	env, disk      map[string]string
	version        map[string]any
	tps            map[string]float64
	day            map[string]int64
	averageSize    string
	topics, groups int
}

func (s *session) measure(addr string) (*measured, error) {
	kv, err := s.runtimeInfo(addr)
	if err != nil {
		return nil, err
	}
	settings, err := s.settingsOf(addr, codec.GetBrokerConfig)
	if err != nil {
		return nil, brokerError(addr, err)
	}
	topics, err := s.userTopics(addr, false)
	if err != nil {
		return nil, err
	}
	groups, err := s.userGroups(addr)
	if err != nil {
		return nil, err
	}
	b := &measured{env: map[string]string{}, disk: map[string]string{}, averageSize: kv["putMessageAverageSize"],
		topics: len(topics.TopicConfigTable), groups: len(groups.SubscriptionGroupTable)}
	for _, setting := range settings {
		if setting.Key == "clientCallbackExecutorThreads" {
			b.env["cpuNum"] = setting.Value
		}
	}
	if memory, ok := kv["totalMemKBytes"]; ok {
		b.env["totalMemKBytes"] = memory
	}
	for _, name := range []string{"commitLogDiskRatio", "consumeQueueDiskRatio"} {
		b.disk[name] = kv[name]
	}
	transactions, delays := s.putStats(addr, "RMQ_SYS_TRANS_HALF_TOPIC"), s.putStats(addr, "SCHEDULE_TOPIC_XXXX")
	b.tps = map[string]float64{"normalInTps": firstRate(kv["putTps"]), "normalOutTps": firstRate(kv["getTransferredTps"]),
		"transInTps": transactions.StatsMinute.TPS, "scheduleInTps": delays.StatsMinute.TPS}
	b.day = map[string]int64{
		"normalOneDayInNum":   integer(kv["msgPutTotalTodayMorning"]) - integer(kv["msgPutTotalYesterdayMorning"]),
		"normalOneDayOutNum":  integer(kv["msgGetTotalTodayMorning"]) - integer(kv["msgGetTotalYesterdayMorning"]),
		"transOneDayInNum":    daySum(transactions),
		"scheduleOneDayInNum": daySum(delays),
	}
	b.version = map[string]any{"rocketmqVersion": codec.VersionName(codec.Version), "clientInfo": s.clientKinds(groups)}
	return b, nil
}

// clientKinds are the languages and versions of the members of groups.
func (s *session) clientKinds(groups *codec.SubscriptionGroupTable) []string {
	kinds := map[string]bool{}
	for group := range groups.SubscriptionGroupTable {
		if cc, _, err := s.connection(group, ""); err == nil {
			for _, c := range cc.ConnectionSet {
				kinds[c.Language+"%"+codec.VersionName(c.Version)] = true
			}
		}
	}
	all := sortedKeys(kinds)
	if all == nil {
		all = []string{}
	}
	return all
}

// putStats are the sends to a topic, zero when the broker has not counted any.
func (s *session) putStats(addr, topic string) codec.BrokerStatsData {
	var data codec.BrokerStatsData
	if err := s.brokerBody(addr, request(codec.ViewBrokerStatsData, "statsName", "TOPIC_PUT_NUMS", "statsKey", topic), &data); err != nil {
		return codec.BrokerStatsData{}
	}
	return data
}

// daySum is the sum of the longest span that has one. Apache: StatsAllSubCommand.compute24HourSum.
func daySum(data codec.BrokerStatsData) int64 {
	for _, item := range []codec.BrokerStatsItem{data.StatsDay, data.StatsHour, data.StatsMinute} {
		if item.Sum != 0 {
			return item.Sum
		}
	}
	return 0
}

// firstRate is the first of three rates.
func firstRate(rates string) float64 {
	first, _, _ := strings.Cut(rates, " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}
