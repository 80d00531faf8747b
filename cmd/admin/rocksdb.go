package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// rocksDBTypes are the tables that a broker with RocksDB can write as JSON. Apache: ExportRocksDBConfigToJsonRequestHeader.
func rocksDBTypes() []string { return []string{"topics", "subscriptionGroups", "consumerOffsets"} }

// localRocksDB is why commands that read files of RocksDB refuse.
const localRocksDB = "reading RocksDB's files needs Apache's mqadmin; Apogee has no RocksDB. Ask the running broker instead: rocksDBConfigToJson -n or -b"

func rocksDBCommands() []spec {
	namesrv := text("n", "nameserverAddr", "ADDR;ADDR", "name servers, separated by \";\"; else NAMESRV_ADDR")
	return []spec{
		{name: "rocksDBConfigToJson", short: "Have brokers write the tables they keep in RocksDB as JSON files", run: rocksDBConfigToJSON,
			options: []option{text("t", "configType", "LIST", "topics, subscriptionGroups, consumerOffsets, separated by \";\"; else all"),
				text("p", "configPath", "PATH", "folder of the files, read here: refused"), text("e", "exportFile", "FILE", "file to write: refused"),
				text("j", "jsonEnable", "true|false", "with -p: refused"), namesrv,
				text("c", "cluster", "CLUSTER", "every master of this cluster").completed(completeClusters),
				text("b", "brokerAddr", "ADDR", "this broker, host:port").completed(completeBrokers)}},
		{name: "checkRocksdbCqWriteProgress", short: "Have brokers compare the consume queues in RocksDB with those in files", run: checkRocksDB,
			options: []option{text("c", "cluster", "CLUSTER", "cluster to check").must().completed(completeClusters), namesrv.must(),
				text("t", "topic", "TOPIC", "this topic only").completed(completeTopics),
				long("cf", "checkFrom", "MS", "messages stored since this time, milliseconds since 1970 (default 30 days ago)")}},
		{name: "exportMetadataInRocksDB", short: "Show the topics or groups of a folder of RocksDB: refused, here is no RocksDB", run: exportRocksDB,
			options: []option{text("p", "path", "PATH", "folder of the tables").must(),
				text("t", "configType", "TYPE", "topics or subscriptionGroups").must(), text("j", "jsonEnable", "true|false", "as JSON")}},
	}
}

// exportRocksDB refuses. Apache: ExportMetadataInRocksDBCommand.
func exportRocksDB(*session) error { return usageError{localRocksDB} }

// rocksDBConfigToJSON asks brokers. Apache: RocksDBConfigToJsonCommand, which can also read files by itself.
func rocksDBConfigToJSON(s *session) error {
	if s.given("configPath") || s.given("exportFile") || s.given("jsonEnable") {
		return usageError{localRocksDB}
	}
	types := rocksDBTypes()
	if s.given("configType") {
		types = strings.Split(s.text("configType"), ";")
		for _, name := range types {
			if !slices.Contains(rocksDBTypes(), name) {
				return usageError{fmt.Sprintf("-t (configType) knows %s, not %q", strings.Join(rocksDBTypes(), ", "), name)}
			}
		}
	}
	addrs := []string{s.text("brokerAddr")}
	if !s.given("brokerAddr") {
		if !s.given("cluster") {
			return usageError{"rocksDBConfigToJson needs -b (brokerAddr) or -c (cluster)"}
		}
		var err error
		if addrs, err = s.masters(s.text("cluster")); err != nil {
			return err
		}
	}
	return s.each(addrs, func(addr string) string { return fmt.Sprintf("broker export done. addr is %s", addr) }, func(addr string) error {
		_, err := s.broker(addr, request(codec.ExportRocksDBConfigToJSON, "configType", strings.Join(types, ";")))
		return err
	})
}

// checkRocksDB asks the masters of all broker names, as Apache's CheckRocksdbCqWriteProgressCommand does once the cluster exists.
func checkRocksDB(s *session) error {
	info, err := s.clusterInfo()
	if err != nil {
		return err
	}
	if _, err := brokerNames(info, s.text("cluster")); err != nil {
		return err
	}
	from := s.number("checkFrom", s.now().Add(-30*24*time.Hour).UnixMilli())
	return s.all(sortedKeys(info.BrokerAddrTable), func(name string) error {
		addr := info.BrokerAddrTable[name].BrokerAddrs[masterID]
		if addr == "" {
			return fmt.Errorf("broker %s has no master that is alive", name)
		}
		var result struct {
			CheckResult string `json:"checkResult"`
			CheckStatus int32  `json:"checkStatus"`
		}
		err := s.brokerBody(addr, request(codec.CheckRocksDBCQWriteProgress, "topic", s.text("topic"), "checkStoreTime", from), &result)
		if err == nil && result.CheckStatus == 3 { // CheckStatus.CHECK_ERROR
			err = fmt.Errorf("%s check error, please check log... errInfo: %s", name, result.CheckResult)
		}
		if err != nil {
			return err
		}
		s.say("%s check doing, please wait and get the result from log... \n", name)
		s.add(record{{"brokerName", name}, {"status", result.CheckStatus}, {"result", result.CheckResult}})
		return nil
	})
}
