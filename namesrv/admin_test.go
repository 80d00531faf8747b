package namesrv

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestKeyValueConfiguration(t *testing.T) {
	t.Parallel()
	opts := options(t)
	s := open(t, opts)
	p := dial(t, s)
	pair := map[string]string{"namespace": "FX_NS", "key": "k1"}
	p.refused(codec.QueryNotFound, "No config item, Namespace: FX_NS Key: k1", codec.GetKVConfig, pair, nil)
	p.refused(codec.QueryNotFound, "No config item, Namespace: FX_NS", codec.GetKVListByNamespace, pair, nil)
	p.ok(codec.PutKVConfig, map[string]string{"namespace": "FX_NS", "key": "k1", "value": "grün \"x\""}, nil)
	p.ok(codec.PutKVConfig, map[string]string{"namespace": "FX_NS", "key": "k2", "value": "v2"}, nil)
	require.Equal(t, map[string]string{"value": "grün \"x\""}, fieldsOf(p.ok(codec.GetKVConfig, pair, nil)))
	require.Equal(t, `{"table":{"k1":"grün \"x\"","k2":"v2"}}`, string(p.ok(codec.GetKVListByNamespace, pair, nil).Body))
	p.refused(codec.SystemError, "namespace or key is null", codec.PutKVConfig, map[string]string{"namespace": "FX_NS"}, nil)
	p.refused(codec.SystemError, "namespace or key is null", codec.PutKVConfig, map[string]string{"key": "k"}, nil)

	b, err := os.ReadFile(opts.KVConfigPath)
	require.NoError(t, err)
	require.Equal(t, `{"configTable":{"FX_NS":{"k1":"grün \"x\"","k2":"v2"}}}`, string(b))
	p.ok(codec.DeleteKVConfig, pair, nil)
	p.ok(codec.DeleteKVConfig, map[string]string{"namespace": "none", "key": "k"}, nil)
	p.refused(codec.QueryNotFound, "No config item, Namespace: FX_NS Key: k1", codec.GetKVConfig, pair, nil)

	again, err := openKV(opts.KVConfigPath, opts.Logger)
	require.NoError(t, err)
	require.Equal(t, map[string]map[string]string{"FX_NS": {"k2": "v2"}}, again.table)
}

func TestDamagedKeyValueFileIsKeptAside(t *testing.T) {
	t.Parallel()
	opts := options(t)
	kv, err := openKV(opts.KVConfigPath, opts.Logger)
	require.NoError(t, err)
	require.NoError(t, kv.put("N", "k", "1"))
	require.NoError(t, kv.put("N", "k", "2"))
	require.NoError(t, os.WriteFile(opts.KVConfigPath, []byte(`{"configTable":{"N":{"k"`), 0o600))
	kv, err = openKV(opts.KVConfigPath, opts.Logger)
	require.NoError(t, err)
	value, ok := kv.get("N", "k")
	require.True(t, ok)
	require.Equal(t, "1", value)
	aside, err := os.ReadFile(opts.KVConfigPath + ".damaged")
	require.NoError(t, err)
	require.Equal(t, `{"configTable":{"N":{"k"`, string(aside))
	require.NoError(t, kv.put("N", "k", "3"))
}

func TestKeyValueConfigurationIsBounded(t *testing.T) {
	t.Parallel()
	opts := options(t)
	kv, err := openKV(opts.KVConfigPath, opts.Logger)
	require.NoError(t, err)
	big := strings.Repeat("x", maxKVBytes-3)
	require.NoError(t, kv.set("N", "k", big))
	require.ErrorIs(t, kv.set("N", "l", "yy"), errKVFull)
	require.NoError(t, kv.set("N", "k", "small"))
	require.NoError(t, kv.set("N", "l", "yy"))
	_, ok := kv.get("M", "l")
	require.False(t, ok)
}

func TestOrderConfiguration(t *testing.T) {
	t.Parallel()
	opts := options(t)
	p := dial(t, open(t, opts))
	require.Empty(t, p.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B")).Body)
	order := map[string]string{"namespace": orderTopicNamespace, "key": "A", "value": "broker-a:2"}
	p.ok(codec.PutKVConfig, order, nil)
	require.Equal(t, `{"table":{"A":"broker-a:2"}}`, string(p.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B")).Body))
	conf := func() string {
		var route codec.TopicRouteData
		require.NoError(t, codec.UnmarshalJSON(p.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil).Body, &route))
		return route.OrderTopicConf
	}
	require.Empty(t, conf())
	p.ok(codec.UpdateNamesrvConfig, nil, []byte("orderMessageEnable=true\nreturnOrderTopicConfigToBroker=false\n"))
	require.Equal(t, "broker-a:2", conf())
	order["value"] = "broker-a:8"
	p.ok(codec.PutKVConfig, order, nil)
	require.Equal(t, "broker-a:8", conf())
	p.ok(codec.DeleteKVConfig, order, nil)
	require.Empty(t, conf())
	require.Empty(t, p.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B")).Body)
}

func TestListsOfTopics(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	flags := `{"topicConfigSerializeWrapper":{"dataVersion":{"counter":1},"topicConfigTable":{"Unit":{"topicSysFlag":1},"Sub":{"topicSysFlag":2},"Both":{"topicSysFlag":3},"Plain":{}}}}`
	p.ok(codec.RegisterBroker, brokerFields(), []byte(flags))
	p.ok(codec.RegisterBroker, brokerFields("brokerName", "broker-b", "brokerAddr", "10.0.0.2:1", "clusterName", "D"), topicTable(1, "X", "Y"))
	list := func(code int32, fields map[string]string) string { return string(p.ok(code, fields, nil).Body) }
	require.Equal(t, `{"topicList":["Both","Plain","Sub","Unit","X","Y"]}`, list(codec.GetAllTopicListFromNameServer, nil))
	require.Equal(t, `{"topicList":["Both","Plain","Sub","Unit"]}`, list(codec.GetTopicsByCluster, map[string]string{"cluster": "C"}))
	require.Equal(t, `{"topicList":[]}`, list(codec.GetTopicsByCluster, map[string]string{"cluster": "nope"}))
	require.Equal(t, `{"topicList":["Both","Unit"]}`, list(codec.GetUnitTopicList, nil))
	require.Equal(t, `{"topicList":["Both","Sub"]}`, list(codec.GetHasUnitSubTopicList, nil))
	require.Equal(t, `{"topicList":["Sub"]}`, list(codec.GetHasUnitSubUnunitTopicList, nil))
	require.Equal(t, `{"brokerAddr":"10.0.0.1:10911","topicList":["C","broker-a","D","broker-b"]}`, list(codec.GetSystemTopicListFromNS, nil))
	require.Equal(t, `{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"C","enableActingMaster":false},"broker-b":{"brokerAddrs":{0:"10.0.0.2:1"},"brokerName":"broker-b","cluster":"D","enableActingMaster":false}},"clusterAddrTable":{"C":["broker-a"],"D":["broker-b"]}}`,
		list(codec.GetBrokerClusterInfo, nil))
	require.Equal(t, `{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"none","cluster":"C"}}`,
		list(codec.GetBrokerMemberGroup, map[string]string{"clusterName": "C", "brokerName": "none"}))

	p.ok(codec.UpdateNamesrvConfig, nil, []byte("enableAllTopicList=false\nenableTopicList=false\n"))
	for _, code := range []int32{codec.GetAllTopicListFromNameServer, codec.GetTopicsByCluster, codec.GetUnitTopicList,
		codec.GetHasUnitSubTopicList, codec.GetHasUnitSubUnunitTopicList} {
		p.refused(codec.SystemError, "disable", code, map[string]string{"cluster": "C"}, nil)
	}
}

func TestSingleTopics(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	p.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B"))
	route := []byte(`{"queueDatas":[{"brokerName":"broker-a","readQueueNums":1,"writeQueueNums":1,"perm":6,"topicSysFlag":0}]}`)
	p.ok(codec.RegisterTopicInNamesrv, map[string]string{"topic": "FxRegByNs"}, route)
	p.ok(codec.RegisterTopicInNamesrv, map[string]string{"topic": "other"}, nil)
	p.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "FxRegByNs"}, nil)
	p.ok(codec.DeleteTopicInNamesrv, map[string]string{"topic": "FxRegByNs", "clusterName": "C"}, nil)
	p.refused(codec.TopicNotExist, "No topic route info in name server for the topic: FxRegByNs"+faqSuffix, codec.GetRouteInfoByTopic,
		map[string]string{"topic": "FxRegByNs"}, nil)
	require.Equal(t, map[string]string{"wipeTopicCount": "2"}, fieldsOf(p.ok(codec.WipeWritePermOfBroker, map[string]string{"brokerName": "broker-a"}, nil)))
	require.Equal(t, map[string]string{"addTopicCount": "2"}, fieldsOf(p.ok(codec.AddWritePermOfBroker, map[string]string{"brokerName": "broker-a"}, nil)))
	require.Equal(t, map[string]string{"addTopicCount": "0"}, fieldsOf(p.ok(codec.AddWritePermOfBroker, map[string]string{"brokerName": "none"}, nil)))
}

func TestSettingsAtRunTime(t *testing.T) {
	t.Parallel()
	opts := options(t)
	s := open(t, opts)
	p := dial(t, s)
	text := string(p.ok(codec.GetNamesrvConfig, nil, nil).Body)
	require.Len(t, strings.Split(strings.TrimSpace(text), "\n"), 40) // as many as Apache 5.4.0 shows
	require.Contains(t, text, "\nproductEnvName=center\n")
	p.ok(codec.UpdateNamesrvConfig, nil, []byte("productEnvName=fixture\nscanNotActiveBrokerInterval=5001\nunknownKey=1\n"))
	text = string(p.ok(codec.GetNamesrvConfig, nil, nil).Body)
	require.Contains(t, text, "\nproductEnvName=fixture\n")
	require.Contains(t, text, "\nscanNotActiveBrokerInterval=5001\n")
	require.NotContains(t, text, "unknownKey")
	require.Equal(t, int64(5001), s.settings.Load().ScanInterval.Milliseconds())

	for _, body := range []string{"configStorePath=x", "kvConfigPath=x", "rocketmqHome=x", "configBlackList=", "enableTopicList=false\nkvConfigPath=x"} {
		p.refused(codec.NoPermission, "Can not update config in black list.", codec.UpdateNamesrvConfig, nil, []byte(body))
	}
	for _, body := range []string{"scanNotActiveBrokerInterval=soon", `productEnvName=x\nkvConfigPath=/elsewhere`, `productEnvName=x\\nkvConfigPath=/elsewhere`} {
		require.Equal(t, codec.SystemError, p.call(codec.UpdateNamesrvConfig, codec.Version, nil, []byte(body)).Code, body)
	}
	require.Equal(t, text, string(p.ok(codec.GetNamesrvConfig, nil, nil).Body))

	again := options(t)
	require.NoError(t, again.Load(opts.ConfigStorePath))
	require.Equal(t, int64(5001), again.ScanInterval.Milliseconds())
}

func TestLogLevelChangesWhileRunning(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.Level, opts.LogLevel = new(slog.LevelVar), "warn"
	p := dial(t, open(t, opts))
	require.Equal(t, slog.LevelWarn, opts.Level.Level())
	p.ok(codec.UpdateNamesrvConfig, nil, []byte("logLevel=debug\n"))
	require.Equal(t, slog.LevelDebug, opts.Level.Level())
	require.Equal(t, codec.SystemError, p.call(codec.UpdateNamesrvConfig, codec.Version, nil, []byte("logLevel=loud\n")).Code)
	p.refused(codec.NoPermission, "Can not update config in black list.", codec.UpdateNamesrvConfig, nil, []byte("logLevel=info\npprofEnable=true\n"))
	require.Equal(t, slog.LevelDebug, opts.Level.Level())

	again := options(t)
	require.NoError(t, again.Load(opts.ConfigStorePath))
	require.Equal(t, "debug", again.LogLevel, "kept over a restart")
}

func TestRegistrationIsChecked(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	body := topicTable(1, "A", "B")
	p.refused(codec.SystemError, "crc32 not match", codec.RegisterBroker, brokerFields("bodyCrc32", "12345"), body)
	p.refused(codec.SystemError, "register broker failed", codec.RegisterBroker, brokerFields(), topicTable(1, "A"))
	p.refused(codec.SystemError, "the custom field <brokerName> is null", codec.RegisterBroker, brokerFields("brokerName", ""), body)
	resp := p.call(codec.RegisterBroker, codec.Version, brokerFields(), []byte(`{"topicConfigSerializeWrapper":`))
	require.Equal(t, codec.SystemError, resp.Code)
	require.Contains(t, resp.Remark, "Failed to decode RegisterBrokerBody")
	resp = p.call(codec.RegisterBroker, codec.Version, brokerFields("compressed", "true"), body)
	require.Equal(t, codec.SystemError, resp.Code)
	p.ok(codec.RegisterBroker, brokerFields("brokerName", "empty", "brokerAddr", "h:1"), nil)
}

func TestOldAndCompressedRegistrations(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	old := `{"dataVersion":{"counter":1,"timestamp":5},"topicConfigTable":{"Old":{"topicName":"Old","readQueueNums":3},"Older":{"topicName":"Older"}}}`
	require.Equal(t, codec.Success, p.call(codec.RegisterBroker, versionV3011-1, brokerFields(), []byte(old)).Code)
	p.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "Old"}, nil)

	table := &codec.RegisterBrokerBody{}
	require.NoError(t, codec.UnmarshalJSON(topicTable(2, "A", "B"), table))
	for _, version := range []int32{400, codec.Version} {
		body, err := codec.EncodeRegisterBrokerBody(table, true, version)
		require.NoError(t, err)
		for _, says := range []string{"true", "true", "false"} { // the later ones bring no news
			resp := p.call(codec.RegisterBroker, version, brokerFields("compressed", says), body)
			require.Equal(t, codec.Success, resp.Code, resp.Remark)
		}
		resp := p.call(codec.RegisterBroker, version, brokerFields("compressed", "false", "brokerName", "c", "brokerAddr", "h:1"), body)
		require.Equal(t, codec.Success, resp.Code, resp.Remark)
		p.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "B"}, nil)
	}
}
