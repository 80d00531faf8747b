package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

func clusterCommands() []spec {
	return []spec{
		{name: "clusterList", short: "List clusters and their brokers", run: clusterList, options: []option{
			toggle("m", "moreStats", "messages in and out, yesterday and today, instead of rates"),
			number("i", "interval", "SECONDS", "again and again"),
			text("c", "clusterName", "CLUSTER", "this cluster only").completed(completeClusters)}},
	}
}

// clusterList lists brokers with their rates. Apache: ClusterListSubCommand.
func clusterList(s *session) error {
	interval := time.Duration(s.number("interval", 0)) * time.Second
	return s.every(interval, s.given("interval"), func() error {
		info, err := s.clusterInfo()
		if err != nil {
			return err
		}
		clusters := sortedKeys(info.ClusterAddrTable)
		if name := s.text("clusterName"); name != "" {
			if _, err := brokerNames(info, name); err != nil {
				return err
			}
			clusters = []string{name}
		}
		if s.boolean("moreStats", false) {
			s.clusterTotals(info, clusters)
		} else {
			s.clusterRates(info, clusters)
		}
		return nil
	})
}

// eachBroker calls f with every broker of some clusters and with what it says of itself; nil when it does not answer, which is
// reported on stderr.
func (s *session) eachBroker(info *codec.ClusterInfo, clusters []string, f func(cluster, name string, id int64, addr string, kv runtime)) {
	for _, cluster := range clusters {
		for _, name := range slices.Sorted(slices.Values(info.ClusterAddrTable[cluster])) {
			addrs := info.BrokerAddrTable[name].BrokerAddrs
			for _, id := range slices.Sorted(maps.Keys(addrs)) {
				kv, err := s.runtimeInfo(addrs[id])
				if err != nil {
					fmt.Fprintf(s.errw, "%v\n", err)
				}
				f(cluster, name, id, addrs[id], kv)
			}
		}
	}
}

// runtime is what a broker says of itself.
type runtime map[string]string

// runtimeInfo asks a broker about itself.
func (s *session) runtimeInfo(addr string) (runtime, error) {
	var kv codec.KVTable
	if err := s.brokerBody(addr, request(codec.GetBrokerRuntimeInfo), &kv); err != nil {
		return nil, err
	}
	return kv.Table, nil
}

func (r runtime) long(key string) int64 { return integer(r[key]) }

func (r runtime) double(key string) float64 {
	first, _, _ := strings.Cut(strings.TrimSpace(r[key]), " ")
	f, _ := strconv.ParseFloat(first, 64)
	return f
}

// clusterTotals prints how many messages came and went. Apache: printClusterMoreStats.
func (s *session) clusterTotals(info *codec.ClusterInfo, clusters []string) {
	t := s.table("%-16s  %-32s %14s %14s %14s %14s", column{"#Cluster Name", "clusterName"}, column{"#Broker Name", "brokerName"},
		column{"#InTotalYest", "inTotalYesterday"}, column{"#OutTotalYest", "outTotalYesterday"},
		column{"#InTotalToday", "inTotalToday"}, column{"#OutTotalToday", "outTotalToday"})
	s.eachBroker(info, clusters, func(cluster, name string, _ int64, _ string, kv runtime) {
		morning := func(way string) int64 { return kv.long("msg" + way + "TotalTodayMorning") }
		yesterday := func(way string) int64 { return morning(way) - kv.long("msg"+way+"TotalYesterdayMorning") }
		today := func(way string) int64 { return kv.long("msg"+way+"TotalTodayNow") - morning(way) }
		t.row(cluster, name, yesterday("Put"), yesterday("Get"), today("Put"), today("Get"))
	})
}

// clusterRates prints rates and waits. Apache: printClusterBaseInfo.
func (s *session) clusterRates(info *codec.ClusterInfo, clusters []string) {
	t := s.table("%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %-11s  %-12s  %-8s  %-10s",
		column{"#Cluster Name", "clusterName"}, column{"#Broker Name", "brokerName"}, column{"#BID", "brokerId"}, column{"#Addr", "addr"},
		column{"#Version", "version"}, column{"#InTPS(LOAD)", "in"}, column{"#OutTPS(LOAD)", "out"},
		column{"#Timer(Progress)", "timer"}, column{"#PCWait(ms)", "pageCacheWaitMs"}, column{"#Hour", "hours"},
		column{"#SPACE", "space"}, column{"#ACTIVATED", "active"})
	t.rows("%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %11s  %-12s  %-8s  %10s")
	s.eachBroker(info, clusters, func(cluster, name string, id int64, addr string, kv runtime) {
		var hours float64
		if first := kv.long("earliestMessageTimeStamp"); kv["earliestMessageTimeStamp"] != "" {
			hours = float64(s.now().UnixMilli()-first) / 3_600_000
		}
		t.row(cluster, name, id, addr, kv["brokerVersionDesc"], inRate(kv), outRate(kv), timerProgress(kv),
			shown{kv.long("pageCacheLockTimeMills"), kv["pageCacheLockTimeMills"]}, decimals(2, hours),
			decimals(4, kv.double("commitLogDiskRatio")), strings.EqualFold(kv["brokerActive"], "true"))
	})
}

func inRate(kv runtime) shown {
	tps := kv.double("putTps")
	return shown{record{{"tps", tps}, {"queueSize", kv.long("sendThreadPoolQueueSize")},
		{"headWaitMs", kv.long("sendThreadPoolQueueHeadWaitTimeMills")}},
		fmt.Sprintf("%9.2f(%s,%sms)", tps, kv["sendThreadPoolQueueSize"], kv["sendThreadPoolQueueHeadWaitTimeMills"])}
}

func outRate(kv runtime) shown {
	tps := kv.double("getTransferredTps")
	ackSize, ackWait := cmp.Or(kv["ackThreadPoolQueueSize"], "N"), cmp.Or(kv["ackThreadPoolQueueHeadWaitTimeMills"], "N")
	return shown{record{{"tps", tps}, {"queueSize", kv.long("pullThreadPoolQueueSize")},
		{"headWaitMs", kv.long("pullThreadPoolQueueHeadWaitTimeMills")}, {"ackQueueSize", kv.long("ackThreadPoolQueueSize")},
		{"ackHeadWaitMs", kv.long("ackThreadPoolQueueHeadWaitTimeMills")}},
		fmt.Sprintf("%9.2f(%s,%sms|%s,%sms)", tps, kv["pullThreadPoolQueueSize"], kv["pullThreadPoolQueueHeadWaitTimeMills"], ackSize, ackWait)}
}

func timerProgress(kv runtime) shown {
	behind, offset, congested := kv.long("timerReadBehind"), kv.long("timerOffsetBehind"), kv.long("timerCongestNum")
	in, out := kv.double("timerEnqueueTps"), kv.double("timerDequeueTps")
	return shown{record{{"readBehindS", behind}, {"offsetBehind", offset}, {"congested", congested}, {"enqueueTps", in}, {"dequeueTps", out}},
		fmt.Sprintf("%d-%d(%.1fw, %.1f, %.1f)", behind, offset, float64(congested)/10000, in, out)}
}
