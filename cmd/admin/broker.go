package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// byBrokerOrCluster says that one of the options of brokerOrCluster has to be given.
func byBrokerOrCluster() [][]string { return [][]string{{"brokerAddr", "clusterName"}} }

func brokerCommands() []spec {
	return []spec{
		{name: "brokerStatus", short: "Show what a broker says of itself", oneOf: byBrokerOrCluster(), run: brokerStatus,
			options: everyBrokerOrCluster("show")},
		{name: "brokerConsumeStats", short: "Show how far the groups of a broker are behind", run: brokerConsumeStats, options: []option{
			text("b", "brokerAddr", "ADDR", "broker to ask, host:port").must().completed(completeBrokers),
			long("t", "timeoutMillis", "MS", "how long the answer may take (default 50000)"),
			long("l", "level", "N", "only queues with at least so many messages left (default 0)"),
			boolean("o", "order", "ordered topics only")}},
		{name: "getBrokerConfig", short: "Show the configuration of brokers", oneOf: byBrokerOrCluster(), run: getBrokerConfig,
			options: everyBrokerOrCluster("show")},
		{name: "updateBrokerConfig", short: "Change the configuration of running brokers", anyOf: byBrokerOrCluster(), run: updateBrokerConfig,
			long: "The broker writes the change into its file. A key that cannot change while it runs is refused.",
			options: append(brokerOrCluster("change"),
				boolean("a", "updateAllBroker", "with -c: the slaves, too"),
				text("k", "key", "KEY", "key of broker.conf").must(),
				text("v", "value", "VALUE", "its value").must())},
	}
}

// everyBrokerOrCluster is brokerOrCluster for commands that ask the slaves of a cluster, too.
func everyBrokerOrCluster(verb string) []option {
	options := brokerOrCluster(verb)
	options[1].usage = verb + " every broker of this cluster, slaves too"
	return options
}

// brokerStatus shows what brokers say of themselves. Apache: BrokerStatusSubCommand.
func brokerStatus(s *session) error {
	show := func(addr, format string, lead ...any) error {
		kv, err := s.runtimeInfo(addr)
		if err != nil {
			return err
		}
		for _, key := range sortedKeys(kv) {
			s.say(format, append(slices.Clone(lead), key, kv[key])...)
		}
		s.add(record{{"addr", addr}, {"status", map[string]string(kv)}})
		return nil
	}
	if s.given("brokerAddr") {
		return show(s.text("brokerAddr"), "%-32s: %s\n")
	}
	addrs, err := s.everyBroker(s.text("clusterName"))
	if err != nil {
		return err
	}
	return s.all(addrs, func(addr string) error { return show(addr, "%-24s %-32s: %s\n", addr) })
}

// all asks every address, reports failures on stderr, goes on after one, and fails when one did.
func (s *session) all(addrs []string, ask func(addr string) error) error {
	failures := 0
	var last error
	for _, addr := range addrs {
		if err := ask(addr); err != nil {
			failures, last = failures+1, err
			if len(addrs) > 1 {
				fmt.Fprintf(s.errw, "%v\n", err)
			}
		}
	}
	switch {
	case failures == 0:
		return nil
	case len(addrs) == 1:
		return last
	}
	return fmt.Errorf("%d of %d brokers failed, see above", failures, len(addrs))
}

// brokerConsumeStats shows how far groups are behind. Apache: BrokerConsumeStatsSubCommand, which leaves out queues nobody has
// consumed from.
func brokerConsumeStats(s *session) error {
	addr := s.text("brokerAddr")
	s.timeout = time.Duration(s.number("timeoutMillis", 50_000)) * time.Millisecond
	var list codec.ConsumeStatsList
	if err := s.brokerBody(addr, request(codec.GetBrokerConsumeStats, "isOrder", s.boolean("order", false)), &list); err != nil {
		return err
	}
	t := s.table("%-64s  %-64s  %-32s  %-4s  %-20s  %-20s  %-20s  %s", column{"#Topic", "topic"}, column{"#Group", "group"},
		column{"#Broker Name", "brokerName"}, column{"#QID", "queueId"}, column{"#Broker Offset", "brokerOffset"},
		column{"#Consumer Offset", "consumerOffset"}, column{"#Diff", "diff"}, column{"#LastTime", "lastTime"})
	level := s.number("level", 0)
	for _, byGroup := range list.ConsumeStatsList {
		for _, group := range sortedKeys(byGroup) {
			for _, stats := range byGroup[group] {
				for _, q := range sortedQueues(stats.OffsetTable) {
					at := stats.OffsetTable[q]
					diff := at.BrokerOffset - at.ConsumerOffset
					if diff >= level && at.LastTimestampMs > 0 {
						t.row(shown{q.Topic, front(q.Topic, 64)}, group, shown{q.BrokerName, front(q.BrokerName, 32)}, q.QueueID,
							at.BrokerOffset, at.ConsumerOffset, diff, shown{jsonTime(at.LastTimestampMs), timeSec(at.LastTimestampMs)})
					}
				}
			}
		}
	}
	s.say("\nDiff Total: %d\n", list.TotalDiff)
	return nil
}

// getBrokerConfig shows configurations. Apache: GetBrokerConfigCommand.
func getBrokerConfig(s *session) error {
	return s.showByMaster("", func(addr string) error {
		settings, err := s.settingsOf(addr, codec.GetBrokerConfig)
		if err != nil {
			return brokerError(addr, err)
		}
		s.showSettings(addr, settings)
		s.say("\n")
		return nil
	})
}

// showByMaster calls show for -b, or for every master of -c and behind it its slaves, each under a heading.
func (s *session) showByMaster(lead string, show func(addr string) error) error {
	if s.given("brokerAddr") {
		addr := s.text("brokerAddr")
		s.say("%s============%s============\n", lead, addr)
		return show(addr)
	}
	sets, err := s.brokerSets(s.text("clusterName"))
	if err != nil {
		return err
	}
	for _, m := range sets {
		master := m.data.BrokerAddrs[masterID]
		if master == "" {
			s.say("%s============Master: %s============\n", lead, "NO_MASTER")
		}
		for _, addr := range inOrder(m.data.BrokerAddrs) {
			if addr == master {
				s.say("%s============Master: %s============\n", lead, master)
			} else {
				s.say("%s============My Master: %s=====Slave: %s============\n", lead, master, addr)
			}
			if err := show(addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// settingsOf asks a server for its configuration by the request code that it has for this.
func (s *session) settingsOf(addr string, code int32) ([]codec.Setting, error) {
	resp, err := s.ask(addr, request(code))
	if err != nil {
		return nil, err
	}
	settings, err := codec.ParseSettings(resp.Body)
	slices.SortFunc(settings, func(a, b codec.Setting) int { return strings.Compare(a.Key, b.Key) })
	return settings, err
}

// showSettings prints a configuration.
func (s *session) showSettings(addr string, settings []codec.Setting) {
	all := map[string]string{}
	for _, kv := range settings {
		s.say("%-50s=  %s\n", kv.Key, kv.Value)
		all[kv.Key] = kv.Value
	}
	s.add(record{{"addr", addr}, {"config", all}})
}

// updateBrokerConfig changes configurations. Apache: UpdateBrokerConfigSubCommand, which takes -a with any value for yes.
func updateBrokerConfig(s *session) error {
	addrs, err := s.targets()
	if err == nil && !s.given("brokerAddr") && s.boolean("updateAllBroker", false) {
		addrs, err = s.everyBroker(s.text("clusterName"))
	}
	if err != nil {
		return err
	}
	return s.each(addrs, func(addr string) string { return "update broker config success, " + addr },
		func(addr string) error {
			c := request(codec.UpdateBrokerConfig)
			c.Body = setting(s.text("key"), s.text("value"))
			_, err := s.broker(addr, c)
			return err
		})
}

// setting is one key and value as a configuration request holds it. Apache: MixAll.properties2String.
func setting(key, value string) []byte { return []byte(key + "=" + value + "\n") }

// integer reads a number that a server has sent.
func integer(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
