package processor

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// recorded is one request and its answer, recorded between clients and Apache's broker.
type recorded struct {
	Scenario string `json:"scenario"`
	Code     int32  `json:"code"`
	Request  []byte `json:"request_b64"`
	Answer   []byte `json:"answer_b64"`
}

// recordings are the conversations of testdata/admin.json.gz: requests of clients, and pushes of the broker.
type recordings struct {
	Requests []recorded `json:"requests"`
	Pushes   []recorded `json:"pushes"`
}

func readRecordings(t testing.TB) recordings {
	t.Helper()
	f, err := os.Open("testdata/admin.json.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	var all recordings
	require.NoError(t, json.Unmarshal(text, &all))
	return all
}

// of returns the recordings of a scenario, of the given codes if there are any.
func of(list []recorded, scenario string, codes ...int32) []recorded {
	return slices.DeleteFunc(slices.Clone(list), func(r recorded) bool {
		return r.Scenario != scenario && scenario != "" || len(codes) > 0 && !slices.Contains(codes, r.Code)
	})
}

var (
	numbers = regexp.MustCompile(`-?\d+(\.\d+)?(E-?\d+)?`)
	pieces  = regexp.MustCompile(`[{}\[\],]`)
)

// shape reduces JSON text to its sorted pieces, with every number the same, so that maps may have another order.
func shape(body []byte) []string {
	text := numbers.ReplaceAllString(string(body), "0")
	list := pieces.Split(text, -1)
	slices.Sort(list)
	return slices.Compact(list)
}

// requireAsRecorded compares an answer with Apache's: code, remark, fields but for masked ones, and the shape of the body.
func requireAsRecorded(t *testing.T, r recorded, got *answer, masked ...string) {
	t.Helper()
	name := r.Scenario + " " + strconv.Itoa(int(r.Code)) + " " + string(r.Request[8:])
	want := parseAnswerFrame(t, r.Answer)
	require.Equal(t, want.Code, got.Code, name)
	if !strings.HasPrefix(want.Remark, "java.") {
		require.Equal(t, want.Remark, got.Remark, name)
	}
	for _, key := range masked {
		if _, ok := want.Fields[key]; ok {
			want.Fields[key] = got.Fields[key]
		}
	}
	require.Equal(t, want.Fields, got.Fields, name)
	if len(want.Body) > 0 && want.Body[0] == '{' {
		require.Equal(t, shape(want.Body), shape(got.Body), name)
	} else {
		require.Equal(t, len(want.Body) > 0, len(got.Body) > 0, name)
	}
}

// Refused and odd requests are answered as Apache's broker did.
func TestErrorsOfAdministration(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("FxNormal", 4)
	b.groupOf("CG_err")
	for range 5 {
		b.put("FxNormal", 0, "TagA", "async message")
	}
	for range 7 {
		b.put("FxNormal", 2, "TagA", "async message")
	}
	list := of(readRecordings(t).Requests, "errors")
	require.Len(t, list, 28)
	for _, r := range list {
		requireAsRecorded(t, r, b.run(r.Request), "timestamp")
	}
	_, ok := b.groups.Get("NoSuchGroupAtAll")
	require.True(t, ok, "a look-up creates a group")
}

// A whole day of administration around one topic and a consumer that is online.
func TestDayOfAdministration(t *testing.T) {
	t.Parallel()
	all := readRecordings(t)
	requests := of(all.Requests, "admin-extra")
	b := newRig(t)
	b.set(func(s *Settings) { s.ServerSideReset = false })
	b.topicOf("FxExtra", 2)
	var last store.PutResult
	for i := range 4 {
		last = b.put("FxExtra", int32(i%2), "TagA", "extra")
	}
	b.conn.call = func(c *codec.Command) (*codec.Command, error) {
		for _, push := range all.Pushes {
			if push.Code == c.Code && (push.Scenario == "java-client/admin-extra" || c.Code == codec.GetConsumerRunningInfo) {
				if push.Scenario == "java-client/admin-extra" {
					want, got := parseAnswerFrame(t, push.Request), parseAnswerFrame(t, codec.AppendFrame(nil, c))
					want.Fields["msgId"] = got.Fields["msgId"]
					if got.Fields["msgId"] == "" {
						delete(want.Fields, "msgId")
					}
					require.Equal(t, want.Fields, got.Fields)
				}
				var answer codec.Command
				return &answer, codec.ParseFrame(push.Answer, &answer)
			}
		}
		return nil, remoting.ErrTimeout
	}
	msgID := string(codec.AppendOffsetMsgID(nil, testHost, last.PhysOffset))
	seen := map[int32]int{}
	for _, r := range requests {
		if slices.Contains([]int32{codec.ViewMessageByID, codec.QueryMessage, codec.QueryConsumerOffset, codec.GetConsumerListByGroup}, r.Code) {
			continue // depend on what was stored then; tested elsewhere
		}
		request := bytes.ReplaceAll(r.Request, []byte("7F000002000051AF00000000000002D6"), []byte(msgID))
		got := b.run(request)
		if seen[r.Code]++; r.Code == codec.InvokeBrokerToResetOffset { // came before the consumer's first commit
			for queueID := range int32(2) {
				require.NoError(t, b.offsets.Commit([]byte("CG_extra"), []byte("FxExtra"), queueID, 2))
			}
		}
		if r.Code == codec.GetConsumerRunningInfo {
			require.Equal(t, codec.Success, got.Code)
			require.Contains(t, string(got.Body), `"subscriptionSet"`)
		} else {
			requireAsRecorded(t, r, got)
		}
	}
	for _, code := range []int32{codec.ConsumeMessageDirectly, codec.InvokeBrokerToGetConsumerStatus, codec.QueryConsumeTimeSpan, codec.QueryTopicsByConsumer,
		codec.QuerySubscriptionByConsumer, codec.CloneGroupOffset, codec.GetConsumerRunningInfo, codec.QueryCorrectionOffset, codec.UpdateAndGetGroupForbidden} {
		require.Positive(t, seen[code], code)
	}
	require.Equal(t, map[int32]int64{0: 2, 1: 2}, b.offsets.OfGroup("CG_extra_clone", "FxExtra"))
	require.Nil(t, b.clients.ConsumerGroup([]byte("CG_extra")), "the clients have unregistered")
}

// Single requests of mqadmin and clients.
func TestAdministrationAsRecorded(t *testing.T) {
	t.Parallel()
	all := readRecordings(t).Requests
	t.Run("tables", func(t *testing.T) {
		t.Parallel()
		b := newRig(t, func(s *setup) {
			s.opts.UpdateConfig = func(text []byte) error {
				if strings.Contains(string(text), "brokerConfigPath") {
					return &codec.Refusal{Code: codec.NoPermission, Remark: "Can not update config in black list."}
				}
				return nil
			}
			s.opts.Settings.MixedMessageType = true
		})
		for _, code := range []int32{17, 18, 25, 200, 225, 207, 215} {
			for _, r := range of(all, "", code) {
				if r.Scenario != "errors" && r.Scenario != "java-client/acl-signed" {
					requireAsRecorded(t, r, b.run(r.Request))
				}
			}
		}
		cfg, ok := b.topics.Get("FxList2")
		require.True(t, ok)
		require.Equal(t, map[string]string{"message.type": "FIFO"}, cfg.Attributes)
	})
	t.Run("everything", func(t *testing.T) {
		t.Parallel()
		b := newRig(t)
		for _, code := range []int32{21, 43, 45, 201} {
			for _, r := range of(all, "", code) {
				want, got := parseAnswerFrame(t, r.Answer), b.run(r.Request)
				require.Equal(t, want.Code, got.Code)
				require.Equal(t, keysOf(want.Fields), keysOf(got.Fields))
				require.Equal(t, topKeys(t, want.Body), topKeys(t, got.Body), code)
			}
		}
		r := of(all, "", codec.GetBrokerRuntimeInfo)[0]
		require.NotEmpty(t, r.Request)
	})
	t.Run("no change", func(t *testing.T) {
		t.Parallel()
		b := newRig(t)
		r := of(all, "java-client/admin-create-topics", codec.UpdateAndCreateTopic)[0]
		require.Equal(t, codec.Success, b.run(r.Request).Code)
		before := b.topics.DataVersion()
		requireAsRecorded(t, r, b.run(r.Request))
		require.Equal(t, before, b.topics.DataVersion())
	})
	t.Run("queue", func(t *testing.T) {
		t.Parallel()
		b := newRig(t)
		b.topicOf("FxNormal", 4)
		for range 6 {
			b.put("FxNormal", 0, "TagA", "x")
		}
		requireAsRecorded(t, of(all, "mqadmin/061-queryCq")[0], b.run(of(all, "mqadmin/061-queryCq")[0].Request))
		got := b.request(codec.QueryConsumeQueue, fields{"topic": "FxNormal", "queueId": "0", "index": "6", "count": "1"}, "")
		require.Equal(t, "Index 6 of 0@FxNormal is not exist!", got.Remark)
		require.Empty(t, got.Body)
		got = b.request(codec.QueryConsumeQueue, fields{"topic": "FxNormal", "queueId": "4", "index": "6", "count": "1"}, "")
		require.Equal(t, codec.SystemError, got.Code)
		require.Equal(t, "4@FxNormal is not exist!", got.Remark)
	})
}

// topKeys returns the keys of a JSON object in Java's dialect, those that are statics of Java's getters left out.
func topKeys(t *testing.T, body []byte) []string {
	t.Helper()
	var m map[string]codec.RawJSON
	require.NoError(t, codec.UnmarshalJSON(body, &m))
	delete(m, "groupTopicMap")
	return sortedKeys(m)
}

// Every key of Apache's runtime info is there, but for those that are not known here.
func TestRuntimeInfo(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) {
		s.opts.StartedAt = time.UnixMilli(1795226366000 - 93784000)
		s.opts.StoreDir = s.store.Dir
		s.opts.PoolLoad = func(kind remoting.PoolKind) (int, int) { return int(kind), 10 }
	})
	b.topicOf("T", 1)
	for i := range 70 {
		if i == 69 {
			b.put("T", 0, "", "body")
			b.stats.put("T", KindNormal, 30, 3000)
		}
		b.TickClients(b.clock.move(10 * time.Second))
	}
	r := of(readRecordings(t).Requests, "", codec.GetBrokerRuntimeInfo)[0]
	var want, got codec.KVTable
	require.NoError(t, codec.UnmarshalJSON(parseAnswerFrame(t, r.Answer).Body, &want))
	require.NoError(t, codec.UnmarshalJSON(b.run(r.Request).Body, &got))
	unknown := []string{"putMessageDistributeTime", "putMessageEntireTimeMax", "getMessageEntireTimeMax", "putMessageFailedTimes", "putLatency99",
		"putLatency999"}
	for key := range want.Table {
		switch {
		case slices.Contains(unknown, key), strings.HasPrefix(key, "commitLogDiskRatio_"), strings.HasPrefix(key, "scheduleMessageOffset_"):
		default:
			require.Contains(t, got.Table, key)
		}
	}
	require.Equal(t, "V5_5_0", got.Table["brokerVersionDesc"])
	require.Equal(t, "513", got.Table["brokerVersion"])
	require.Equal(t, "3.0 0.5 0.05", got.Table["putTps"])
	require.Equal(t, "30", got.Table["putMessageTimesTotal"])
	require.Equal(t, "100.0", got.Table["putMessageAverageSize"])
	require.Equal(t, "[ 1 days, 2 hours, 14 minutes, 44 seconds ]", got.Table["runtime"])
	require.Equal(t, "1", got.Table["pullThreadPoolQueueSize"])
	require.Equal(t, strconv.FormatInt(b.clock.Now().Add(-10*time.Second).UnixMilli(), 10), got.Table["earliestMessageTimeStamp"])
	end := got.Table["commitLogMaxOffset"]
	require.NotEqual(t, "0", end)
	require.Eventually(t, func() bool { // written, on disk and visible, in the end
		var now codec.KVTable
		require.NoError(t, codec.UnmarshalJSON(b.run(r.Request).Body, &now))
		return now.Table["commitLogWrittenOffset"] == end && now.Table["commitLogFlushedOffset"] == end && now.Table["commitLogDispatchedOffset"] == end
	}, time.Minute, time.Millisecond)
}

// Reads that found messages and reads that found none are told apart, those of pops too, as rates of 10 s, a minute and ten minutes.
func TestReadsAreCounted(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.groupOf("G")
	for range 5 {
		b.put("T", 0, "", "body")
	}
	for range 69 {
		b.TickClients(b.clock.move(10 * time.Second))
	}
	rates := func() (found, missed, total, transferred string) {
		var got codec.KVTable
		require.NoError(t, codec.UnmarshalJSON(b.request(codec.GetBrokerRuntimeInfo, nil, "").Body, &got))
		return got.Table["getFoundTps"], got.Table["getMissTps"], got.Table["getTotalTps"], got.Table["getTransferredTps"]
	}
	for range 60 {
		require.Equal(t, codec.Success, b.request(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "0"}), "").Code)
	}
	for range 120 {
		require.Equal(t, codec.PullNotFound, b.request(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "5"}), "").Code)
	}
	b.TickClients(b.clock.move(10 * time.Second))
	found, missed, total, transferred := rates()
	require.Equal(t, "6.0 1.0 0.1", found)
	require.Equal(t, "12.0 2.0 0.2", missed)
	require.Equal(t, "18.0 3.0 0.3", total)
	require.Equal(t, "30.0 5.0 0.5", transferred, "five messages a read")

	before := b.stats.ReadsFound.Load()
	require.Len(t, b.pops(fields{"queueId": "0", "maxMsgNums": "32"}), 5)
	require.Greater(t, b.stats.ReadsFound.Load(), before)
	gone := b.stats.ReadsMissed.Load()
	require.NotEqual(t, codec.Success, b.request(codec.PopMessage, b.popFields(fields{"queueId": "1", "pollTime": "0"}), "").Code)
	require.Greater(t, b.stats.ReadsMissed.Load(), gone)
}

func TestMidnightMovesTheDailyCounters(t *testing.T) {
	t.Parallel()
	s := Stats{traffic: new(traffic), system: func(string) bool { return false }}
	at := time.Date(2026, 11, 21, 23, 59, 55, 0, time.UTC)
	s.Puts.Store(5)
	s.sample(at)
	s.Puts.Store(8)
	s.sample(at.Add(10 * time.Second))
	require.Equal(t, int64(8), s.history.today.puts)
	require.Zero(t, s.history.yesterday.puts)
	s.Puts.Store(20)
	s.sample(at.Add(24*time.Hour + 10*time.Second))
	require.Equal(t, int64(20), s.history.today.puts)
	require.Equal(t, int64(8), s.history.yesterday.puts)
}

func TestPages(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	for i := range 30 {
		b.topicOf("T"+strconv.Itoa(100+i), 1)
	}
	ask := func(version string, first, most string) (names []string, fields fields) {
		got := b.request(codec.GetAllTopicConfig, map[string]string{"dataVersion": version, "topicSeq": first, "maxTopicNum": most}, "")
		var body codec.TopicConfigAndMapping
		require.NoError(t, codec.UnmarshalJSON(got.Body, &body))
		return sortedKeys(body.TopicConfigTable), got.Fields
	}
	all, total := ask("", "0", "1000")
	require.Equal(t, strconv.Itoa(b.topics.Len()), total["totalTopicNum"])
	require.Len(t, all, b.topics.Len())
	version, err := codec.MarshalJSON(b.topics.DataVersion())
	require.NoError(t, err)
	part, _ := ask(string(version), "10", "7")
	require.Equal(t, all[10:17], part)
	part, _ = ask(string(version), "1000", "7")
	require.Empty(t, part)
	part, _ = ask(string(version), "-5", "-1")
	require.Empty(t, part)
	part, _ = ask(`{"counter":1,"timestamp":2,"stateVersion":0}`, "10", "7")
	require.Equal(t, all[:7], part)
	part, _ = ask("not json", "10", "7")
	require.Equal(t, all[:7], part)

	got := b.request(codec.GetAllSubscriptionGroupConfig, fields{"groupSeq": "0", "maxGroupNum": "2", "dataVersion": ""}, "")
	var groups codec.SubscriptionGroupTable
	require.NoError(t, codec.UnmarshalJSON(got.Body, &groups))
	require.Len(t, groups.SubscriptionGroupTable, 2)
	require.Equal(t, strconv.Itoa(b.groups.Len()), got.Fields["totalGroupNum"])
	got = b.request(codec.GetAllSubscriptionGroupConfig, nil, "")
	require.NoError(t, codec.UnmarshalJSON(got.Body, &groups))
	require.Len(t, groups.SubscriptionGroupTable, b.groups.Len())
}

func TestCreateTopicRefuses(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	good := fields{"topic": "T", "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4", "perm": "6", "topicFilterType": "SINGLE_TAG",
		"topicSysFlag": "0", "order": "false"}
	tests := []struct {
		name   string
		change fields
		code   int32
		remark string
	}{
		{"good", nil, codec.Success, unsetRemark},
		{"attributes", fields{"attributes": "+message.type=FIFO"}, codec.Success, unsetRemark},
		{"mixed", fields{"attributes": "+message.type=MIXED"}, codec.InvalidParameter, "MIXED message type is not supported."},
		{"unknown attribute", fields{"attributes": "+nope=1"}, codec.SystemError, ""},
		{"attribute without sign", fields{"attributes": "message.type=FIFO"}, codec.SystemError, "add/alter attribute format is wrong: message.type"},
		{"delete without sign", fields{"attributes": "message.type"}, codec.SystemError, "delete attribute format is wrong: message.type"},
		{"twice", fields{"attributes": "+message.type=FIFO,+message.type=DELAY"}, codec.SystemError, "key duplication: +message.type"},
		{"no value", fields{"attributes": "+message.type="}, codec.SystemError, "attribute without a value: +message.type"},
		{"no queues given", fields{"readQueueNums": absent}, codec.SystemError, "the request has no readQueueNums"},
		{"no topic", fields{"topic": absent}, codec.InvalidParameter, "The specified topic is blank."},
		{"too many queues", fields{"readQueueNums": "2000000000"}, codec.InvalidParameter, "2000000000 queues for topic[T], must be 0 to 65536"},
		{"negative queues", fields{"writeQueueNums": "-1"}, codec.InvalidParameter, "-1 queues for topic[T], must be 0 to 65536"},
		{"unknown filter type", fields{"topicFilterType": "X"}, codec.SystemError, "No enum constant org.apache.rocketmq.common.TopicFilterType.X"},
	}
	for _, test := range tests {
		got := b.request(codec.UpdateAndCreateTopic, good.with(test.change), "")
		require.Equal(t, test.code, got.Code, test.name+": "+got.Remark)
		if test.remark != "" {
			require.Equal(t, test.remark, got.Remark, test.name)
		}
	}
	got := b.request(codec.UpdateAndCreateTopicList, nil, `{"topicConfigList":[{"topicName":"A1"},{"topicName":"bad topic"}]}`)
	require.Equal(t, codec.InvalidParameter, got.Code)
	_, ok := b.topics.Get("A1")
	require.False(t, ok, "all or none")
	for _, body := range []string{"", "{", "[]"} {
		require.Equal(t, codec.SystemError, b.request(codec.UpdateAndCreateTopicList, nil, body).Code, body)
	}
	require.Equal(t, codec.InvalidParameter, b.request(codec.UpdateAndCreateSubscriptionGroup, nil, `{"groupName":"bad group"}`).Code)
	require.Equal(t, codec.InvalidParameter, b.request(codec.UpdateAndCreateSubscriptionGroup, nil, `{"groupName":"G","retryQueueNums":1000000}`).Code)
	require.Equal(t, codec.Success, b.request(codec.UpdateAndCreateSubscriptionGroup, nil, "").Code)
}

func TestDeleteTopicForgetsAllOfIt(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	for _, topic := range []string{"T", "%RETRY%G+T", "%RETRY%G_T", "%RETRY%G"} {
		b.topicOf(topic, 1)
	}
	b.put("T", 0, "", "x")
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 1))
	require.Equal(t, codec.Success, b.request(codec.DeleteTopicInBroker, fields{"topic": "T"}, "").Code)
	for topic, want := range map[string]bool{"T": false, "%RETRY%G+T": false, "%RETRY%G_T": false, "%RETRY%G": true} {
		_, ok := b.topics.Get(topic)
		require.Equal(t, want, ok, topic)
	}
	require.Empty(t, b.offsets.GroupsOf("T"))
	require.Zero(t, b.store.MaxQueueOffset("T", 0))
}

func TestResetOnTheServer(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 2)
	b.groupOf("G")
	for range 5 {
		b.clock.move(time.Second)
		b.put("T", 0, "", "x")
	}
	ask := func(more fields) *answer {
		return b.request(codec.InvokeBrokerToResetOffset, fields{"topic": "T", "group": "G", "timestamp": "-1", "isForce": "true"}.with(more), "")
	}
	require.Equal(t, codec.TopicNotExist, ask(fields{"topic": "U"}).Code)
	require.Equal(t, "Topic U does not exist", ask(fields{"topic": "U"}).Remark)
	require.Equal(t, codec.SubscriptionGroupNotExist, ask(fields{"group": "H"}).Code)
	require.Equal(t, "Target offset 7 not in consume queue range [0-5]", ask(fields{"queueId": "0", "offset": "7"}).Remark)
	require.Equal(t, codec.Success, ask(fields{"queueId": "0", "offset": "6"}).Code)

	got := ask(fields{"queueId": "0", "offset": "3"})
	require.Equal(t, `{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:3}}`, string(got.Body))
	commit := fields{"consumerGroup": "G", "topic": "T", "queueId": "0", "commitOffset": "5"}
	got = b.request(codec.UpdateConsumerOffset, commit, "")
	require.Equal(t, codec.Success, got.Code)
	require.Equal(t, "Offset has been previously reset", got.Remark)
	queueOffset, ok := b.offsets.TakeReset([]byte("G"), []byte("T"), 0)
	require.True(t, ok)
	require.Equal(t, int64(3), queueOffset)
	require.Empty(t, b.request(codec.UpdateConsumerOffset, commit, "").Remark)

	var body codec.ResetOffsetBody
	require.NoError(t, codec.UnmarshalJSON(ask(nil).Body, &body))
	require.Equal(t, map[codec.MessageQueue]int64{b.queueOf("T", 0): 5, b.queueOf("T", 1): 0}, body.OffsetTable)
	at := b.clock.Now().Add(-2 * time.Second).UnixMilli()
	require.NoError(t, codec.UnmarshalJSON(ask(fields{"timestamp": strconv.FormatInt(at, 10)}).Body, &body))
	require.Equal(t, int64(2), body.OffsetTable[b.queueOf("T", 0)])
}

func TestResetAtTheClients(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.set(func(s *Settings) { s.ServerSideReset = false })
	b.topicOf("T", 1)
	for range 5 {
		b.put("T", 0, "", "x")
	}
	ask := func(more fields) *answer {
		return b.request(codec.InvokeBrokerToResetOffset, fields{"topic": "T", "group": "G", "timestamp": "-1", "isForce": "true"}.with(more), "")
	}
	require.Equal(t, codec.TopicNotExist, ask(fields{"topic": "U"}).Code)
	require.Equal(t, "THe consumer group <G> not exist", ask(nil).Remark)
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 2))
	require.Equal(t, codec.ConsumerNotOnline, ask(nil).Code)

	b.heartbeat(b.conn, "c1", "G", "T", "*")
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	got := ask(nil)
	require.Equal(t, codec.Success, got.Code)
	require.Equal(t, unsetRemark, got.Remark)
	push := b.pushed(b.conn, codec.ResetConsumerClientOffset)
	require.Equal(t, `{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:5}}`, string(push.Body))
	require.Equal(t, string(push.Body), string(got.Body))
	want := parseAnswerFrame(t, of(readRecordings(t).Pushes, "", codec.ResetConsumerClientOffset)[0].Request)
	require.Equal(t, keysOf(want.Fields), keysOf(push.Fields))

	require.Contains(t, string(ask(fields{"isForce": "false"}).Body), ":2}", "only back without force")
	b.pushed(b.conn, codec.ResetConsumerClientOffset)
	frame := frameOf(codec.InvokeBrokerToResetOffset, fields{"topic": "T", "group": "G", "timestamp": "0"}, "", 0)
	frame = bytes.Replace(frame, []byte(`"language":"JAVA"`), []byte(`"language":"CPP" `), 1)
	require.Equal(t, codec.Success, b.run(frame).Code)
	push = b.pushed(b.conn, codec.ResetConsumerClientOffset)
	require.Equal(t, `{"offsetTable":[{"brokerName":"broker-a","offset":0,"queueId":0,"topic":"T"}]}`, string(push.Body))
}

func TestCallsToClients(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	put := b.put("T", 0, "", "x")
	ask := fields{"consumerGroup": "G", "clientId": "c1", "jstackEnable": "false"}
	require.Equal(t, "The Consumer <G> <c1> not online", b.request(codec.GetConsumerRunningInfo, ask, "").Remark)
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	got := b.request(codec.GetConsumerRunningInfo, ask, "")
	require.Equal(t, codec.ConsumeMsgTimeout, got.Code)
	require.True(t, strings.HasPrefix(got.Remark, "consumer <G> <c1> Timeout: "), got.Remark)
	b.conn.call = func(*codec.Command) (*codec.Command, error) { return nil, remoting.ErrClosed }
	got = b.request(codec.GetConsumerRunningInfo, ask, "")
	require.Equal(t, codec.SystemError, got.Code)
	require.True(t, strings.HasPrefix(got.Remark, "invoke consumer <G> <c1> Exception: "), got.Remark)

	var body []byte
	b.conn.call = func(c *codec.Command) (*codec.Command, error) {
		body = c.Body
		return &codec.Command{Code: 5, Flag: codec.FlagResponse, Remark: "as it is", Body: []byte("{}")}, nil
	}
	direct := fields{"consumerGroup": "G", "clientId": "c1", "msgId": string(codec.AppendOffsetMsgID(nil, testHost, put.PhysOffset)), "topic": "T"}
	got = b.request(codec.ConsumeMessageDirectly, direct, "")
	require.Equal(t, &answer{Code: 5, Remark: "as it is", Fields: fields{}, Body: []byte("{}")}, got)
	record, err := b.store.MessageAt(put.PhysOffset)
	require.NoError(t, err)
	require.Equal(t, record, body)
	require.Equal(t, codec.SystemError, b.request(codec.ConsumeMessageDirectly, direct.with(fields{"msgId": "nonsense"}), "").Code)

	b.heartbeatOf(b.conn, "c1", 61, `{"groupName":"Old","subscriptionDataSet":[]}`, "")
	got = b.request(codec.GetConsumerRunningInfo, ask.with(fields{"consumerGroup": "Old"}), "")
	require.Equal(t, "The Consumer <c1> Version <61> too low to finish, please upgrade it to V3_1_8_SNAPSHOT", got.Remark)
	require.Equal(t, codec.SystemError, b.request(codec.InvokeBrokerToGetConsumerStatus, fields{"topic": "T", "group": "none"}, "").Code)
}

func TestConfigRequests(t *testing.T) {
	t.Parallel()
	bare := newRig(t)
	require.Equal(t, codec.SystemError, bare.request(codec.GetBrokerConfig, nil, "").Code)
	require.Equal(t, codec.SystemError, bare.request(codec.UpdateBrokerConfig, nil, "a=b").Code)
	var updated string
	b := newRig(t, func(s *setup) {
		s.opts.ReadConfig = func() ([]byte, codec.DataVersion) {
			return []byte("brokerName=broker-a\n"), codec.DataVersion{Counter: 3, TimestampMs: 1795224909560}
		}
		s.opts.UpdateConfig = func(text []byte) error {
			if updated = string(text); updated == "bad" {
				return errors.New("bad line")
			}
			return nil
		}
	})
	got := b.request(codec.GetBrokerConfig, nil, "")
	require.Equal(t, "brokerName=broker-a\n", string(got.Body))
	require.Equal(t, fields{"version": `{"counter":3,"stateVersion":0,"timestamp":1795224909560}`}, got.Fields)
	require.Equal(t, codec.Success, b.request(codec.UpdateBrokerConfig, nil, "a=b\n").Code)
	require.Equal(t, "a=b\n", updated)
	require.Equal(t, "bad line", b.request(codec.UpdateBrokerConfig, nil, "bad").Remark)
}

func TestConsumeStats(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.topicOf("U", 1)
	for range 3 {
		b.put("T", 0, "", "x")
	}
	b.groupOf("G")
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 2))
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("U"), 0, 0))
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("gone"), 0, 0))
	topics := func(head fields) []string {
		var stats codec.ConsumeStats
		require.NoError(t, codec.UnmarshalJSON(b.request(codec.GetConsumeStats, head.with(fields{"consumerGroup": "G"}), "").Body, &stats))
		names := map[string]bool{}
		for q, w := range stats.OffsetTable {
			if names[q.Topic] = true; q.Topic == "T" {
				require.Equal(t, codec.OffsetWrapper{BrokerOffset: 3, ConsumerOffset: 2, PullOffset: 2, LastTimestampMs: b.clock.Now().UnixMilli()}, w)
			}
		}
		return sortedKeys(names)
	}
	require.Equal(t, []string{"T", "U"}, topics(fields{}))
	require.Equal(t, []string{"U"}, topics(fields{"topic": "U"}))
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	require.Equal(t, []string{"T"}, topics(fields{}), "what the live group does not want is left out")
	require.Empty(t, topics(fields{"topic": "U"}))
	require.Equal(t, []string{"T", "U"}, topics(fields{"topicList": "U;T;gone;"}))

	var list codec.ConsumeStatsList
	require.NoError(t, codec.UnmarshalJSON(b.request(codec.GetBrokerConsumeStats, fields{"isOrder": "false"}, "").Body, &list))
	require.Equal(t, int64(1), list.TotalDiff)
	require.Equal(t, testHost.String(), list.BrokerAddr)
	require.Len(t, list.ConsumeStatsList, b.groups.Len())
}
