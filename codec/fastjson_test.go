package codec

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bodyTypes are the bodies that testdata/bodies/wire.jsonl names.
var bodyTypes = map[string]reflect.Type{
	"BrokerMemberGroupBody":        reflect.TypeFor[BrokerMemberGroupBody](),
	"BrokerStatsData":              reflect.TypeFor[BrokerStatsData](),
	"CheckClientRequest":           reflect.TypeFor[CheckClientRequest](),
	"ClusterInfo":                  reflect.TypeFor[ClusterInfo](),
	"ConsumeMessageDirectlyResult": reflect.TypeFor[ConsumeMessageDirectlyResult](),
	"ConsumeStats":                 reflect.TypeFor[ConsumeStats](),
	"ConsumeStatsList":             reflect.TypeFor[ConsumeStatsList](),
	"ConsumerConnection":           reflect.TypeFor[ConsumerConnection](),
	"ConsumerIDList":               reflect.TypeFor[ConsumerIDList](),
	"ConsumerOffsetTable":          reflect.TypeFor[ConsumerOffsetTable](),
	"ConsumerStatusBody":           reflect.TypeFor[ConsumerStatusBody](),
	"CreateTopicListBody":          reflect.TypeFor[CreateTopicListBody](),
	"DataVersion":                  reflect.TypeFor[DataVersion](),
	"DelayOffsetTable":             reflect.TypeFor[DelayOffsetTable](),
	"GroupForbidden":               reflect.TypeFor[GroupForbidden](),
	"GroupList":                    reflect.TypeFor[GroupList](),
	"HeartbeatData":                reflect.TypeFor[HeartbeatData](),
	"KVTable":                      reflect.TypeFor[KVTable](),
	"LockBatchRequest":             reflect.TypeFor[LockBatchRequest](),
	"LockBatchResponse":            reflect.TypeFor[LockBatchResponse](),
	"MessageRequestMode":           reflect.TypeFor[MessageRequestMode](),
	"MessageRequestModeTable":      reflect.TypeFor[MessageRequestModeTable](),
	"ProducerConnection":           reflect.TypeFor[ProducerConnection](),
	"ProducerTable":                reflect.TypeFor[ProducerTable](),
	"QueryAssignmentRequest":       reflect.TypeFor[QueryAssignmentRequest](),
	"QueryAssignmentResponse":      reflect.TypeFor[QueryAssignmentResponse](),
	"QueryConsumeQueueBody":        reflect.TypeFor[QueryConsumeQueueBody](),
	"QueryConsumeTimeSpanBody":     reflect.TypeFor[QueryConsumeTimeSpanBody](),
	"QueryCorrectionOffsetBody":    reflect.TypeFor[QueryCorrectionOffsetBody](),
	"QuerySubscriptionBody":        reflect.TypeFor[QuerySubscriptionBody](),
	"RegisterBrokerBody":           reflect.TypeFor[RegisterBrokerBody](),
	"ResetOffsetBody":              reflect.TypeFor[ResetOffsetBody](),
	"ResetOffsetBodyForC":          reflect.TypeFor[ResetOffsetBodyForC](),
	"SubscriptionData":             reflect.TypeFor[SubscriptionData](),
	"SubscriptionGroupConfig":      reflect.TypeFor[SubscriptionGroupConfig](),
	"SubscriptionGroupList":        reflect.TypeFor[SubscriptionGroupList](),
	"SubscriptionGroupTable":       reflect.TypeFor[SubscriptionGroupTable](),
	"TopicConfig":                  reflect.TypeFor[TopicConfig](),
	"TopicConfigAndMapping":        reflect.TypeFor[TopicConfigAndMapping](),
	"TopicConfigTable":             reflect.TypeFor[TopicConfigTable](),
	"TopicList":                    reflect.TypeFor[TopicList](),
	"TopicQueueMappingDetail":      reflect.TypeFor[TopicQueueMappingDetail](),
	"TopicRouteData":               reflect.TypeFor[TopicRouteData](),
	"TopicStatsTable":              reflect.TypeFor[TopicStatsTable](),
}

type wireBody struct {
	Type     string `json:"type"`
	Dialect  string `json:"dialect"`
	Language string `json:"language"`
	From     string `json:"from"`
	Body     string `json:"body"`
}

// Bodies as Java wrote them come out again as they were. Where Java's maps have an order of their own the pieces are
// compared without it.
func TestWireBodies(t *testing.T) {
	t.Parallel()
	for _, g := range readLines[wireBody](t, "bodies/wire.jsonl") {
		v := reflect.New(bodyTypes[g.Type]).Interface()
		require.NoError(t, UnmarshalJSON([]byte(g.Body), v), g.Body)
		if g.Language != "JAVA" {
			continue // other clients leave out and add fields
		}
		marshal := MarshalJSON
		if g.Dialect == "standard" {
			marshal = MarshalStandardJSON
		}
		b, err := marshal(v)
		require.NoError(t, err)
		if g.Type == "TopicRouteData" || g.Type == "BrokerMemberGroupBody" || g.Type == "TopicConfig" {
			require.Equal(t, g.Body, string(b), g.From)
		}
		require.Equal(t, jsonPieces(g.Body), jsonPieces(string(b)), "%s\n%s\n%s", g.From, g.Body, b)
	}
}

// jsonPieces cuts JSON at every mark between its values and sorts the pieces.
func jsonPieces(s string) []string {
	pieces := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("{}[],\n\t", r) })
	slices.Sort(pieces)
	return pieces
}

// The texts were written by Apache's own classes.
func TestBodySamples(t *testing.T) {
	t.Parallel()
	const mq0 = `{"brokerName":"broker-a","queueId":0,"topic":"TopicA"}`
	const mq1 = `{"brokerName":"broker-a","queueId":1,"topic":"TopicA"}`
	for _, c := range []struct{ typ, text string }{
		{"TopicRouteData", `{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:10921"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}`},
		{"ClusterInfo", `{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}},"clusterAddrTable":{"DefaultCluster":["broker-a"]}}`},
		{"TopicList", `{"topicList":["TopicA"]}`},
		{"HeartbeatData", `{"clientID":"127.0.0.1@1#2","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CID","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA||TagB","subVersion":1,"tagsSet":["TagA"],"topic":"TopicA"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"PID"}],"withoutSub":false}`},
		{"ProducerTable", `{"data":{"PID":[{"clientId":"id","language":"JAVA","lastUpdateTimestamp":2,"remoteIP":"1.1.1.1:1","version":1}]}}`},
		{"ConsumeStats", `{"consumeTps":0.0,"offsetTable":{` + mq0 + `:{"brokerOffset":10,"consumerOffset":5,"lastTimestamp":1,"pullOffset":6}}}`},
		{"TopicStatsTable", `{"offsetTable":{` + mq0 + `:{"lastUpdateTimestamp":0,"maxOffset":3,"minOffset":0}},"topicPutTps":0.0}`},
		{"ResetOffsetBody", `{"offsetTable":{` + mq0 + `:5,` + mq1 + `:6}}`},
		{"ResetOffsetBodyForC", `{"offsetTable":[{"brokerName":"broker-a","offset":6,"queueId":1,"topic":"TopicA"}]}`},
		{"ConsumerStatusBody", `{"consumerTable":{"c":{` + mq0 + `:3}},"messageQueueTable":{` + mq0 + `:3}}`},
		{"LockBatchRequest", `{"clientId":"id","consumerGroup":"G","mqSet":[` + mq0 + `],"onlyThisBroker":false}`},
		{"LockBatchResponse", `{"lockOKMQSet":[` + mq0 + `]}`},
		{"ConsumerIDList", `{"consumerIdList":["id1","id2"]}`},
		{"TopicConfig", `{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"TopicA","topicSysFlag":0,"writeQueueNums":8}`},
		{"SubscriptionGroupConfig", `{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}`},
		{"SubscriptionGroupTable", `{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":1},"forbiddenTable":{"G":{"TopicA":4}},"subscriptionGroupTable":{}}`},
		{"BrokerMemberGroupBody", `{"brokerMemberGroup":{"brokerAddrs":{0:"a:1"},"brokerName":"b","cluster":"C"}}`},
		{"QueryCorrectionOffsetBody", `{"correctionOffsets":{0:1}}`},
		{"BrokerStatsData", `{"statsDay":{"avgpt":0.0,"sum":0,"tps":0.0},"statsHour":{"avgpt":0.0,"sum":0,"tps":0.0},"statsMinute":{"avgpt":1.5,"sum":3,"tps":1.0E10}}`},
		{"DelayOffsetTable", `{"dataVersion":{"counter":112,"stateVersion":0,"timestamp":1795228712389},"offsetTable":{1:3,2:7,3:2,18:0}}`},
	} {
		v := reflect.New(bodyTypes[c.typ]).Interface()
		require.NoError(t, UnmarshalJSON([]byte(c.text), v), c.text)
		b, err := MarshalJSON(v)
		require.NoError(t, err)
		require.Equal(t, c.text, string(b))
	}
}

// Every struct that is written must declare its fields in alphabetical order, which is Java's.
func TestBodyFieldOrder(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			check(typ.Elem())
		case reflect.Map:
			check(typ.Key())
			check(typ.Elem())
		case reflect.Struct:
			if seen[typ] || typ == reflect.TypeFor[UnknownField]() {
				return
			}
			seen[typ] = true
			var names []string
			for i := range typ.NumField() {
				name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				require.NotEmpty(t, name, "%s.%s", typ, typ.Field(i).Name)
				if name != "-" {
					names = append(names, name)
				}
				check(typ.Field(i).Type)
			}
			require.True(t, slices.IsSorted(names), "%s: %v", typ, names)
		}
	}
	for _, typ := range bodyTypes {
		check(typ)
	}
}

func TestRouteDialects(t *testing.T) {
	t.Parallel()
	route := TopicRouteData{
		BrokerDatas:               []BrokerData{{BrokerAddrs: map[int64]string{0: "a:1", 2: "b:2", 10: "c:3"}, BrokerName: "b", Cluster: "c", ZoneName: "z"}},
		OrderTopicConf:            "b:8",
		TopicQueueMappingByBroker: map[string]*TopicQueueMappingInfo{"b": {CurrIDMap: map[int32]int32{0: 1}, Scope: "__global__"}},
	}
	bare, err := MarshalJSON(&route)
	require.NoError(t, err)
	require.Equal(t, `{"brokerDatas":[{"brokerAddrs":{0:"a:1",2:"b:2",10:"c:3"},"brokerName":"b","cluster":"c","enableActingMaster":false,"zoneName":"z"}],"filterServerTable":{},"orderTopicConf":"b:8","queueDatas":[],"topicQueueMappingByBroker":{"b":{"currIdMap":{0:1},"dirty":false,"epoch":0,"scope":"__global__","totalQueues":0}}}`, string(bare))
	standard, err := MarshalStandardJSON(&route)
	require.NoError(t, err)
	require.Equal(t, strings.NewReplacer(`{0:`, `{"0":`, `,2:`, `,"2":`, `,10:`, `,"10":`).Replace(string(bare)), string(standard))
	for _, b := range [][]byte{bare, standard} {
		var back TopicRouteData
		require.NoError(t, UnmarshalJSON(b, &back))
		require.Equal(t, route.BrokerDatas, back.BrokerDatas)
		require.Equal(t, route.TopicQueueMappingByBroker, back.TopicQueueMappingByBroker)
	}
}

// Config files of a Java broker come out again line by line, but for the order of its maps.
func TestPrettyConfigFiles(t *testing.T) {
	t.Parallel()
	for file, v := range map[string]any{
		"topics.json":             new(TopicConfigTable),
		"subscriptionGroup.json":  new(SubscriptionGroupTable),
		"consumerOffset.json":     new(ConsumerOffsetTable),
		"delayOffset.json":        new(DelayOffsetTable),
		"messageRequestMode.json": new(MessageRequestModeTable),
	} {
		want, err := os.ReadFile("testdata/bodies/" + file)
		require.NoError(t, err)
		require.NoError(t, UnmarshalJSON(want, v), file)
		got, err := MarshalPrettyJSON(v)
		require.NoError(t, err)
		require.Equal(t, sortedLines(want), sortedLines(got), file)
		if file == "delayOffset.json" {
			require.Equal(t, string(want), string(got))
		}
	}
}

func sortedLines(b []byte) []string {
	lines := strings.Split(string(b), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], ",")
	}
	slices.Sort(lines)
	return lines
}

// The text is what fastjson's pretty format makes of the same values.
func TestPrettyLists(t *testing.T) {
	t.Parallel()
	type sample struct {
		E  map[string]string  `json:"e"`
		LE []string           `json:"le"`
		LI []int32            `json:"li"`
		LM []map[string]int32 `json:"lm"`
		M  map[int32]int64    `json:"m"`
		S  string             `json:"s"`
	}
	b, err := MarshalPrettyJSON(sample{LI: []int32{1, 2}, LM: []map[string]int32{{}, {"x": 1}}, M: map[int32]int64{10: 2, 1: 2}, S: "a{\"[,\u2028<&>🚀"})
	require.NoError(t, err)
	require.Equal(t, "{\n\t\"e\":{\n\t\t\n\t},\n\t\"le\":[],\n\t\"li\":[1,2],\n\t\"lm\":[\n\t\t{\n\t\t\t\n\t\t},\n\t\t{\n\t\t\t\"x\":1\n\t\t}\n\t],\n\t\"m\":{\n\t\t1:2,\n\t\t10:2\n\t},\n\t\"s\":\"a{\\\"[,\u2028<&>🚀\"\n}", string(b))
}

// The texts are Double.toString's.
func TestDoubles(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]float64{"0.0": 0, "1.0": 1, "-1.0": -1, "1.0E7": 1e7, "9999999.999": 9999999.999,
		"0.001": 1e-3, "9.99E-4": 9.99e-4, "0.3333333333333333": 1.0 / 3, "1.0E21": 1e21, "1.234567890125E11": 123456789012.5,
		"100.0": 100, "1.7976931348623157E308": 1.7976931348623157e308, "2.0E-5": 2e-5, "123456.789": 123456.789} {
		b, err := MarshalJSON(f)
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
}

func TestAbsentFieldsTakeJavasDefaults(t *testing.T) {
	t.Parallel()
	var topics TopicConfigTable
	require.NoError(t, UnmarshalJSON([]byte(`{"topicConfigTable":{"A":{"topicName":"A","perm":null,"readQueueNums":"3"},"B":null}}`), &topics))
	want := NewTopicConfig("A")
	want.ReadQueueNums = 3
	require.Equal(t, map[string]*TopicConfig{"A": want}, topics.TopicConfigTable)
	require.Equal(t, int32(6), want.Perm)
	require.Equal(t, int32(16), want.WriteQueueNums)
	require.Equal(t, FilterSingleTag, want.TopicFilterType)

	var groups SubscriptionGroupList
	require.NoError(t, UnmarshalJSON([]byte(`{"groupConfigList":[null,{"groupName":"G","consumeEnable":false,"groupRetryPolicy":{"type":"EXPONENTIAL","exponentialRetryPolicy":{"max":9}}}]}`), &groups))
	require.Len(t, groups.GroupConfigList, 1)
	group := NewSubscriptionGroupConfig("G")
	group.ConsumeEnable = false
	group.GroupRetryPolicy = GroupRetryPolicy{Type: RetryExponential, ExponentialRetryPolicy: &ExponentialRetryPolicy{5000, 9, 2}}
	require.Equal(t, group, groups.GroupConfigList[0])
}

func TestUnknownFieldsAreKept(t *testing.T) {
	t.Parallel()
	text := `{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":2},"topicConfigTable":{"A":{"attributes":{},"order":false,"perm":6,"readQueueNums":1,"topicFilterType":"SINGLE_TAG","topicName":"A","topicSysFlag":0,"writeQueueNums":1,"newer":{"x":[1,{"y":null}]},"liteTopic":"é\""}},"later":[true]}`
	var topics TopicConfigTable
	require.NoError(t, UnmarshalJSON([]byte(text), &topics))
	b, err := MarshalJSON(&topics)
	require.NoError(t, err)
	require.Equal(t, text, string(b))

	group := `{"groupName":"G","map":{0:1}}`
	var g SubscriptionGroupConfig
	require.NoError(t, UnmarshalJSON([]byte(group), &g))
	require.Equal(t, UnknownFields{{"map", RawJSON(`{"0":1}`)}}, g.Unknown)
}

func TestLenientReading(t *testing.T) {
	t.Parallel()
	var sub SubscriptionData // a client in Go writes the codes as strings
	require.NoError(t, UnmarshalJSON([]byte(`{"codeSet":["2598919", -7, 3.0],"subVersion":"12","classFilterMode":"true","tagsSet":null,"topic":5}`), &sub))
	require.Equal(t, SubscriptionData{CodeSet: []int32{2598919, -7, 3}, SubVersion: 12, ClassFilterMode: true, ExpressionType: ExpressionTag, Topic: "5"}, sub)

	var body ConsumerStatusBody // fastjson 1 refers to what it has written before
	require.NoError(t, UnmarshalJSON([]byte("{\"consumerTable\":{\"$ref\":\"$.x\"},\"messageQueueTable\": { {\"topic\":\"T\\\"\", \"queueId\" : 3}:5 ,\n{\"$ref\":\"$.mq\"}:6}}"), &body))
	require.Equal(t, map[MessageQueue]int64{{Topic: "T\"", QueueID: 3}: 5, {}: 6}, body.MessageQueueTable)
	require.Empty(t, body.ConsumerTable)
}

func TestMalformedJSON(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{0:`, 100000)
	for _, text := range []string{"", "{", `{"a"`, `{0`, `{0:`, `{0:1`, `{0 1}`, `{{}`, `{{}:}`, `{{{}:1}:2}`, `{{"a":{{}:1}}:2}`, `{"offsetTable":{{:1}}`,
		`{"offsetTable":{'a':1}}`, `{"offsetTable":[}`, `{"a":"`, `{0:"\`, deep, strings.Repeat("[", 100000)} {
		require.Error(t, UnmarshalJSON([]byte(text), new(DelayOffsetTable)), "%.40q", text)
		require.Error(t, UnmarshalJSON([]byte(text), new(ConsumerStatusBody)), "%.40q", text)
	}
	for _, text := range []string{`{"offsetTable":{"x":1}}`, `{"offsetTable":{0x:1}}`, `{"offsetTable":{1:"y"}}`, `{"offsetTable":5}`, `[]`} {
		require.Error(t, UnmarshalJSON([]byte(text), new(DelayOffsetTable)), text)
	}
}
