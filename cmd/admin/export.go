package admin

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// exportFolder is where exports go when -f does not say. Apache: ExportMetadataCommand and its like.
const exportFolder = "/tmp/rocketmq/export"

func exportCommands() []spec {
	folder := text("f", "filePath", "DIR", "folder to write to (default "+exportFolder+")")
	return []spec{
		{name: "exportMetadata", short: "Write the topics and groups of brokers to a file", oneOf: [][]string{{"clusterName", "brokerAddr"}},
			run: exportMetadata, long: "System topics and groups are left out. Of a cluster the queues of a topic on all masters are added up.",
			options: []option{
				text("c", "clusterName", "CLUSTER", "every master of this cluster").completed(completeClusters),
				text("b", "brokerAddr", "ADDR", "this broker, host:port; needs -t or -g").completed(completeBrokers), folder,
				toggle("t", "topic", "topics only"), toggle("g", "subscriptionGroup", "groups only"),
				toggle("s", "specialTopic", "retry and dead-letter topics, too")}},
		{name: "exportConfigs", short: "Write the main configuration of a cluster's brokers to a file", run: exportConfigs,
			options: []option{text("c", "clusterName", "CLUSTER", "the cluster").must().completed(completeClusters), folder}},
		{name: "exportMetrics", short: "Write the rates and sizes of a cluster's brokers to a file", run: exportMetrics,
			options: []option{text("c", "clusterName", "CLUSTER", "the cluster").must().completed(completeClusters), folder}},
		{name: "exportPopRecord", short: "Let brokers turn POP records in RocksDB into messages of the revive topic",
			oneOf: [][]string{{"clusterName", "brokerAddr"}}, run: exportPopRecord,
			options: []option{text("c", "clusterName", "CLUSTER", "every master of this cluster").completed(completeClusters),
				text("b", "brokerAddr", "ADDR", "this broker, host:port").completed(completeBrokers),
				boolean("d", "dryRun", "change nothing (default false)")}},
	}
}

// writeExport writes a file into the folder of -f and says so.
func (s *session) writeExport(name string, v any, end string) error {
	path := filepath.Join(s.textOr("filePath", exportFolder), name)
	b, err := codec.MarshalPrettyJSON(v)
	if err != nil {
		return err
	}
	if err := writeNew(path, b); err != nil {
		return err
	}
	s.say("export %s success%s", path, end)
	s.result(record{{"file", path}})
	return nil
}

// userTopics returns a broker's topics without those of the system. Apache: MQAdminExt.getUserTopicConfig.
func (s *session) userTopics(addr string, special bool) (*codec.TopicConfigTable, error) {
	var all codec.TopicConfigTable
	if err := s.brokerBody(addr, request(codec.GetAllTopicConfig), &all); err != nil {
		return nil, err
	}
	var system codec.TopicList
	if err := s.brokerBody(addr, request(codec.GetSystemTopicListFromBroker), &system); err != nil {
		return nil, err
	}
	for name, t := range all.TopicConfigTable {
		if slices.Contains(system.TopicList, name) || isSystemTopic(name) || !special && isRetryOrDLQ(name) || t.Perm < 0 || t.Perm >= 8 {
			delete(all.TopicConfigTable, name)
		}
	}
	return &all, nil
}

// isSystemTopic knows the topics that every broker makes. Apache: TopicValidator.isSystemTopic.
func isSystemTopic(name string) bool {
	if strings.HasPrefix(name, "rmq_sys_") {
		return true
	}
	return slices.Contains([]string{"TBW102", "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRACE_TOPIC",
		"RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT",
		"RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC"}, name)
}

// userGroups returns a broker's groups without those of the system. Apache: MQAdminExt.getUserSubscriptionGroup.
func (s *session) userGroups(addr string) (*codec.SubscriptionGroupTable, error) {
	var all codec.SubscriptionGroupTable
	if err := s.brokerBody(addr, request(codec.GetAllSubscriptionGroupConfig), &all); err != nil {
		return nil, err
	}
	for name := range all.SubscriptionGroupTable {
		if strings.HasPrefix(name, "CID_RMQ_SYS_") || slices.Contains([]string{"DEFAULT_CONSUMER", "DEFAULT_PRODUCER", "TOOLS_CONSUMER",
			"SCHEDULE_CONSUMER", "FILTERSRV_CONSUMER", "__MONITOR_CONSUMER", "CLIENT_INNER_PRODUCER", "SELF_TEST_P_GROUP", "SELF_TEST_C_GROUP",
			"CID_ONS-HTTP-PROXY", "CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER", "CID_ONSAPI_PULL", "CID_SYS_RMQ_TRANS"}, name) {
			delete(all.SubscriptionGroupTable, name)
		}
	}
	return &all, nil
}

// exportMetadata writes topics and groups. Apache: ExportMetadataCommand.
func exportMetadata(s *session) error {
	topicsOnly, groupsOnly, special := s.boolean("topic", false), s.boolean("subscriptionGroup", false), s.boolean("specialTopic", false)
	if s.given("brokerAddr") {
		addr := s.text("brokerAddr")
		switch {
		case topicsOnly:
			topics, err := s.userTopics(addr, special)
			if err != nil {
				return err
			}
			return s.writeExport("topic.json", map[string]any{"dataVersion": topics.DataVersion, "topicConfigTable": topics.TopicConfigTable}, "")
		case groupsOnly:
			groups, err := s.userGroups(addr)
			if err != nil {
				return err
			}
			return s.writeExport("subscriptionGroup.json", groups, "")
		}
		return usageError{"exportMetadata of one broker (-b) needs -t (topic) or -g (subscriptionGroup)"}
	}
	addrs, err := s.masters(s.text("clusterName"))
	if err != nil {
		return err
	}
	topics, groups := map[string]*codec.TopicConfig{}, map[string]*codec.SubscriptionGroupConfig{}
	for _, addr := range addrs {
		t, err := s.userTopics(addr, special)
		if err != nil {
			return err
		}
		g, err := s.userGroups(addr)
		if err != nil {
			return err
		}
		for name, more := range t.TopicConfigTable {
			if had := topics[name]; had != nil {
				more.WriteQueueNums, more.ReadQueueNums = more.WriteQueueNums+had.WriteQueueNums, more.ReadQueueNums+had.ReadQueueNums
			}
			topics[name] = more
		}
		for name, more := range g.SubscriptionGroupTable {
			if had := groups[name]; had != nil {
				more.RetryQueueNums += had.RetryQueueNums
			}
			groups[name] = more
		}
	}
	result := map[string]any{"exportTime": s.now().UnixMilli()}
	file := "metadata.json"
	if !groupsOnly || topicsOnly {
		result["topicConfigTable"] = topics
	}
	if !topicsOnly {
		result["subscriptionGroupTable"] = groups
	}
	switch {
	case topicsOnly:
		file = "topic.json"
	case groupsOnly:
		file = "subscriptionGroup.json"
	}
	return s.writeExport(file, result, "\n")
}

// mainSettings are what exportConfigs writes of a configuration.
var mainSettings = []string{"brokerClusterName", "brokerId", "brokerName", "brokerRole", "fileReservedTime", "filterServerNums", "flushDiskType",
	"maxMessageSize", "messageDelayLevel", "msgTraceTopicName", "slaveReadEnable", "traceOn", "traceTopicEnable", "useTLS",
	"autoCreateTopicEnable", "autoCreateSubscriptionGroup"}

// exportConfigs writes configurations. Apache: ExportConfigsCommand.
func exportConfigs(s *session) error {
	sets, err := s.brokerSets(s.text("clusterName"))
	if err != nil {
		return err
	}
	configs := map[string]map[string]string{}
	masters, slaves := 0, 0
	for _, m := range sets {
		addr := m.data.BrokerAddrs[masterID]
		if addr == "" {
			continue
		}
		settings, err := s.settingsOf(addr, codec.GetBrokerConfig)
		if err != nil {
			return brokerError(addr, err)
		}
		masters, slaves = masters+1, slaves+len(m.data.BrokerAddrs)-1
		configs[m.name] = map[string]string{}
		for _, kv := range settings {
			if slices.Contains(mainSettings, kv.Key) {
				configs[m.name][kv.Key] = kv.Value
			}
		}
	}
	return s.writeExport("configs.json", map[string]any{"brokerConfigs": configs, "clusterScale": map[string]int{
		"namesrvSize": len(s.servers), "masterBrokerSize": masters, "slaveBrokerSize": slaves}}, "")
}

// exportPopRecord asks brokers to convert POP records. Apache: ExportPopRecordCommand.
func exportPopRecord(s *session) error {
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	dry := s.boolean("dryRun", false)
	return s.each(addrs,
		func(addr string) string {
			return fmt.Sprintf("Export broker records, brokerAddr=%s, dryRun=%t", addr, dry)
		},
		func(addr string) error {
			if dry {
				return nil
			}
			_, err := s.broker(addr, request(codec.PopRollback))
			return err
		})
}
