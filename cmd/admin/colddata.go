package admin

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

func coldDataCommands() []spec {
	group := text("g", "consumerGroup", "GROUP", "consumer group").must()
	return []spec{
		{name: "getColdDataFlowCtrInfo", short: "Show what consumers read from disk and how it is limited", anyOf: byBrokerOrCluster(),
			options: everyBrokerOrCluster("show"), run: getColdDataFlowCtrInfo},
		{name: "updateColdDataFlowCtrGroupConfig", short: "Limit what a group reads from disk", anyOf: byBrokerOrCluster(),
			run: updateColdDataFlowCtrGroupConfig, options: append(brokerOrCluster("change"), group,
				text("v", "threshold", "BYTES", "bytes a second").must())},
		{name: "removeColdDataFlowCtrGroupConfig", short: "Let a group read from disk as others do", anyOf: byBrokerOrCluster(),
			run: removeColdDataFlowCtrGroupConfig, options: append(brokerOrCluster("change"), group)},
		{name: "setCommitLogReadAheadMode", short: "Set how the system reads commit log files ahead", anyOf: byBrokerOrCluster(),
			run: setCommitLogReadAheadMode, options: append(everyBrokerOrCluster("set it on"),
				text("m", "commitLogReadAheadMode", "MODE", "0 as usual, 1 random").must().of("0", "1"))},
	}
}

// getColdDataFlowCtrInfo shows the limits of reading from disk. Apache: GetColdDataFlowCtrInfoSubCommand.
func getColdDataFlowCtrInfo(s *session) error {
	return s.showByMaster(" ", func(addr string) error {
		resp, err := s.broker(addr, request(codec.GetColdDataFlowCtrInfo))
		if err != nil {
			return err
		}
		if len(resp.Body) == 0 {
			s.say("Broker[%s] has no cold ctr table !\n", addr)
			return nil
		}
		var info coldData
		if err := codec.UnmarshalJSON(resp.Body, &info); err != nil {
			return fmt.Errorf("answer of %s: %w", addr, err)
		}
		for _, group := range info.RuntimeTable {
			readableTime(group, "lastColdReadTimeMills", "lastColdReadTimeFormat")
			readableTime(group, "createTimeMills", "createTimeFormat")
		}
		b, err := codec.MarshalPrettyJSON(&info)
		if err != nil {
			return err
		}
		s.say("%s\n", b)
		s.add(record{{"addr", addr}, {"coldData", json.RawMessage(b)}})
		return nil
	})
}

// coldData is the answer of GET_COLD_DATA_FLOW_CTR_INFO. Apache: ColdDataCgCtrService.getColdDataFlowCtrInfo.
type coldData struct {
	RuntimeTable            map[string]map[string]codec.RawJSON `json:"runtimeTable"`
	ConfigTable             map[string]codec.RawJSON            `json:"configTable"`
	CGColdReadThreshold     int64                               `json:"cgColdReadThreshold"`
	GlobalColdReadThreshold int64                               `json:"globalColdReadThreshold"`
	GlobalAcc               int64                               `json:"globalAcc"`
}

// readableTime replaces a time in milliseconds by text, as Apache's command does.
func readableTime(group map[string]codec.RawJSON, from, to string) {
	if ms, ok := group[from]; ok {
		group[to] = codec.RawJSON(strconv.Quote(timeSec(integer(string(ms)))))
		delete(group, from)
	}
}

// updateColdDataFlowCtrGroupConfig limits a group. Apache: UpdateColdDataFlowCtrGroupConfigSubCommand.
func updateColdDataFlowCtrGroupConfig(s *session) error {
	return s.changeColdData("updateColdDataFlowCtrGroupConfig success, ", codec.UpdateColdDataFlowCtrConfig,
		setting(s.text("consumerGroup"), s.text("threshold")))
}

// removeColdDataFlowCtrGroupConfig frees a group. Apache: RemoveColdDataFlowCtrGroupConfigSubCommand.
func removeColdDataFlowCtrGroupConfig(s *session) error {
	return s.changeColdData("remove broker cold read threshold success, ", codec.RemoveColdDataFlowCtrConfig, []byte(s.text("consumerGroup")))
}

func (s *session) changeColdData(done string, code int32, body []byte) error {
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	return s.each(addrs, func(addr string) string { return done + addr }, func(addr string) error {
		c := request(code)
		c.Body = body
		_, err := s.broker(addr, c)
		return err
	})
}

// setCommitLogReadAheadMode sets how files are read ahead. Apache: CommitLogSetReadAheadSubCommand.
func setCommitLogReadAheadMode(s *session) error {
	return s.showByMaster(" ", func(addr string) error {
		resp, err := s.broker(addr, request(codec.SetCommitLogReadMode, "READ_AHEAD_MODE", s.text("commitLogReadAheadMode")))
		if err != nil {
			return err
		}
		s.say("commitLog set readAhead mode rstStr%s\n", resp.Remark)
		s.add(record{{"addr", addr}, {"ok", true}, {"remark", resp.Remark}})
		return nil
	})
}
