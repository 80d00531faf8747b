package admin

import (
	"fmt"

	"github.com/apogee-mq/apogee/codec"
)

func brokerCleanCommands() []spec {
	where := func(verb string) []option {
		return []option{
			text("b", "brokerAddr", "ADDR", verb+" on this broker, host:port").completed(completeBrokers),
			text("c", "cluster", "CLUSTER", verb+" on every broker of this cluster; without -b and -c, of every cluster").completed(completeClusters)}
	}
	engine := text("e", "engineType", "ENGINE", "R for RocksDB's time line, F for the files of the time wheel").must().of("R", "F")
	return []spec{
		{name: "cleanExpiredCQ", short: "Delete consume queue files whose messages are gone", options: where("delete"), run: func(s *session) error {
			return s.clean(codec.CleanExpiredConsumeQueue)
		}},
		{name: "deleteExpiredCommitLog", short: "Delete commit log files that are past their time", run: func(s *session) error {
			return s.clean(codec.DeleteExpiredCommitLog)
		}, options: append([]option{text("n", "namesrvAddr", "ADDR;ADDR", "name servers, separated by \";\"; else NAMESRV_ADDR")}, where("delete")...)},
		{name: "cleanUnusedTopic", short: "Delete the consume queues of topics that are deleted", options: where("delete"), run: func(s *session) error {
			return s.clean(codec.CleanUnusedTopic)
		}},
		{name: "resetMasterFlushOffset", short: "Set what a slave takes for the master's flushed offset", run: resetMasterFlushOffset,
			anyOf: [][]string{{"brokerAddr"}, {"offset"}}, options: []option{
				text("b", "brokerAddr", "ADDR", "the slave, host:port").completed(completeBrokers), long("o", "offset", "N", "the offset")}},
		{name: "switchTimerEngine", short: "Change what keeps the timer messages of a broker", oneOf: byBrokerOrCluster(), run: switchTimerEngine,
			options: append(brokerOrCluster("change"), engine)},
	}
}

// clean asks one broker, all of a cluster, or all. Apache: CleanExpiredCQSubCommand, DeleteExpiredCommitLogSubCommand,
// CleanUnusedTopicCommand.
func (s *session) clean(code int32) error {
	addrs, err := s.cleanTargets()
	if err != nil {
		return err
	}
	err = s.all(addrs, func(addr string) error {
		_, err := s.broker(addr, request(code))
		r := record{{"addr", addr}, {"ok", err == nil}}
		if err != nil {
			r = append(r, member{"error", err.Error()})
		}
		s.add(r)
		return err
	})
	if err == nil {
		s.say("success\n")
	}
	return err
}

func (s *session) cleanTargets() ([]string, error) {
	if s.given("brokerAddr") {
		return []string{s.text("brokerAddr")}, nil
	}
	if cluster := s.text("cluster"); cluster != "" {
		return s.everyBroker(cluster)
	}
	info, err := s.clusterInfo()
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, name := range sortedKeys(info.BrokerAddrTable) {
		addrs = append(addrs, inOrder(info.BrokerAddrTable[name].BrokerAddrs)...)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("the name server knows no broker")
	}
	return addrs, nil
}

// resetMasterFlushOffset tells a slave. Apache: ResetMasterFlushOffsetSubCommand.
func resetMasterFlushOffset(s *session) error {
	addr, offset := s.text("brokerAddr"), s.number("offset", 0)
	if _, err := s.broker(addr, request(codec.ResetMasterFlushOffset, "masterFlushOffset", offset)); err != nil {
		return err
	}
	s.say("reset master flush offset to %d success\n", offset)
	s.result(record{{"addr", addr}, {"ok", true}, {"offset", offset}})
	return nil
}

// switchTimerEngine changes what keeps timer messages. Apache: SwitchTimerEngineSubCommand.
func switchTimerEngine(s *session) error {
	engine := s.text("engineType")
	name := map[string]string{"R": "ROCKSDB_TIMELINE", "F": "FILE_TIME_WHEEL"}[engine]
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	return s.each(addrs, func(addr string) string { return fmt.Sprintf("switchTimerEngine to %s success, %s", name, addr) },
		func(addr string) error {
			_, err := s.broker(addr, request(codec.SwitchTimerEngine, "E_T", engine))
			return err
		})
}
