package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// coldHeaders are the header structs by the name of the Java class as the goldens have it.
var coldHeaders = map[string]any{
	"QueryMessageRequestHeader":                  &QueryMessageHeader{},
	"CreateTopicRequestHeader":                   &CreateTopicHeader{},
	"SearchOffsetRequestHeader":                  &SearchOffsetHeader{},
	"GetMaxOffsetRequestHeader":                  &GetMaxOffsetHeader{},
	"GetMinOffsetRequestHeader":                  &GetMinOffsetHeader{},
	"GetEarliestMsgStoretimeRequestHeader":       &GetEarliestMsgStoreTimeHeader{},
	"ViewMessageRequestHeader":                   &ViewMessageHeader{},
	"EndTransactionRequestHeader":                &EndTransactionHeader{},
	"CheckTransactionStateRequestHeader":         &CheckTransactionStateHeader{},
	"UnregisterClientRequestHeader":              &UnregisterClientHeader{},
	"ConsumerSendMsgBackRequestHeader":           &ConsumerSendMsgBackHeader{},
	"GetConsumerListByGroupRequestHeader":        &GetConsumerListByGroupHeader{},
	"NotifyConsumerIdsChangedRequestHeader":      &NotifyConsumerIDsChangedHeader{},
	"ReplyMessageRequestHeader":                  &ReplyMessageHeader{},
	"namesrv.PutKVConfigRequestHeader":           &PutKVConfigHeader{},
	"namesrv.GetKVConfigRequestHeader":           &GetKVConfigHeader{},
	"namesrv.RegisterBrokerRequestHeader":        &RegisterBrokerHeader{},
	"namesrv.UnRegisterBrokerRequestHeader":      &UnregisterBrokerHeader{},
	"namesrv.GetRouteInfoRequestHeader":          &GetRouteInfoHeader{},
	"namesrv.BrokerHeartbeatRequestHeader":       &BrokerHeartbeatHeader{},
	"GetTopicStatsInfoRequestHeader":             &GetTopicStatsInfoHeader{},
	"GetConsumerConnectionListRequestHeader":     &GetConsumerConnectionListHeader{},
	"GetProducerConnectionListRequestHeader":     &GetProducerConnectionListHeader{},
	"namesrv.WipeWritePermOfBrokerRequestHeader": &WipeWritePermOfBrokerHeader{},
	"GetConsumeStatsRequestHeader":               &GetConsumeStatsHeader{},
	"DeleteTopicRequestHeader":                   &DeleteTopicHeader{},
	"ResetOffsetRequestHeader":                   &ResetOffsetHeader{},
	"GetConsumerRunningInfoRequestHeader":        &GetConsumerRunningInfoHeader{},
	"ConsumeMessageDirectlyResultRequestHeader":  &ConsumeMessageDirectlyHeader{},
	"ViewBrokerStatsDataRequestHeader":           &ViewBrokerStatsDataHeader{},
	"QueryConsumeQueueRequestHeader":             &QueryConsumeQueueHeader{},
	"GetTopicConfigRequestHeader":                &GetTopicConfigHeader{},
}

// baseFields are the fields of Java's common base classes, which most of our headers leave out.
var baseFields = []string{"ns", "nsd", "bname", "oway", "lo"}

func withoutBase(fields map[string]string) map[string]string {
	for _, key := range baseFields {
		delete(fields, key)
	}
	return fields
}

// Every cold header takes all fields of its goldens, and writes them again.
func TestColdHeaderGoldens(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	var c, again Command
	for _, g := range headerGoldens(t) {
		sample, ok := coldHeaders[g.HeaderClass]
		if !ok {
			continue
		}
		seen[g.HeaderClass]++
		require.NoError(t, ParseFrame(g.bytes(t), &c))
		h := reflect.New(reflect.TypeOf(sample).Elem()).Interface()
		require.NoError(t, DecodeHeader(&c, h))
		require.NoError(t, ParseFrame(AppendFrame(nil, &Command{Serialize: c.Serialize, Header: h}), &again))
		want := withoutBase(fieldsOf(&c))
		got := withoutBase(fieldsOf(&again))
		for key, value := range got { // what Java leaves out and Go's zero value writes
			if _, ok := want[key]; !ok {
				require.Contains(t, []string{"0", "false"}, value, g.Name+" "+key)
				delete(got, key)
			}
		}
		require.Equal(t, want, got, g.Name)
	}
	require.Len(t, seen, len(coldHeaders))
}

func TestDecodeHeaderRules(t *testing.T) {
	t.Parallel()
	var c Command
	parse := func(fields string) {
		require.NoError(t, ParseFrame(jsonFrame(`{"extFields":{`+fields+`}}`), &c))
	}
	parse("")
	reset := ResetOffsetHeader{QueueID: 5}
	require.NoError(t, DecodeHeader(&c, &reset))
	require.Equal(t, ResetOffsetHeader{QueueID: -1}, reset)
	maxOffset := GetMaxOffsetHeader{}
	require.NoError(t, DecodeHeader(&c, &maxOffset))
	require.True(t, maxOffset.Committed)

	parse(`"queueId":"x","timestamp":"9223372036854775808","isForce":"TRUE","group":"g","unknown":"1","offset":""`)
	require.NoError(t, DecodeHeader(&c, &reset))
	require.Equal(t, ResetOffsetHeader{Group: "g", QueueID: -1, Force: true}, reset)

	parse(`"queueId":"+7","timestamp":"-9223372036854775808","offset":"00000000000000000000000012"`)
	reset = ResetOffsetHeader{}
	require.NoError(t, DecodeHeader(&c, &reset))
	twelve := int64(12)
	require.Equal(t, ResetOffsetHeader{QueueID: 7, TimestampMs: -1 << 63, QueueOffset: &twelve}, reset)

	parse(`"topic":"t","queueId":"1.5"`)
	require.EqualError(t, DecodeHeader(&c, &GetMinOffsetHeader{}), `codec: bad header: queueId is not a number: "1.5"`)
	require.NoError(t, DecodeHeader(&c, &QueryConsumeQueueHeader{}))

	require.ErrorIs(t, DecodeHeader(&c, reset), ErrHeader)
	require.ErrorIs(t, DecodeHeader(&c, nil), ErrHeader)
	require.ErrorIs(t, DecodeHeader(&c, (*ResetOffsetHeader)(nil)), ErrHeader)
}

func TestSendHeaderGoldens(t *testing.T) {
	t.Parallel()
	var c Command
	seen := 0
	for _, g := range headerGoldens(t) {
		long := g.HeaderClass == "SendMessageRequestHeader"
		if !long && g.HeaderClass != "SendMessageRequestHeaderV2" {
			continue
		}
		seen++
		require.NoError(t, ParseFrame(g.bytes(t), &c))
		var h SendHeader
		require.NoError(t, ParseSendHeader(&c, &h), g.Name)
		want := map[string]string{}
		for key, value := range g.fields() {
			want[longName(key, long)] = value
		}
		got := map[string]string{"topic": string(h.Topic), "producerGroup": string(h.Group), "defaultTopic": string(h.DefaultTopic),
			"properties": string(h.Properties), "bname": string(h.BrokerName), "defaultTopicQueueNums": fmt.Sprint(h.DefaultTopicQueueNums),
			"queueId": fmt.Sprint(h.QueueID), "sysFlag": fmt.Sprint(h.SysFlag), "bornTimestamp": fmt.Sprint(h.BornTimestampMs), "flag": fmt.Sprint(h.Flag),
			"reconsumeTimes": fmt.Sprint(h.ReconsumeTimes), "maxReconsumeTimes": fmt.Sprint(h.MaxReconsumeTimes),
			"unitMode": fmt.Sprint(h.UnitMode), "batch": fmt.Sprint(h.Batch)}
		for key, value := range got {
			if wanted, ok := want[key]; ok {
				require.Equal(t, wanted, value, g.Name+" "+key)
			} else {
				require.Contains(t, []string{"", "0", "false"}, value, g.Name+" "+key)
			}
		}
		_, has := want["maxReconsumeTimes"]
		require.Equal(t, has, h.HasMaxReconsumeTimes)
	}
	require.Equal(t, 12, seen)
}

// longName gives the long name of a short one, n being the broker's name.
func longName(key string, long bool) string {
	names := []string{"producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag", "bornTimestamp", "flag",
		"properties", "reconsumeTimes", "unitMode", "maxReconsumeTimes", "batch", "bname"}
	if i := strings.Index("abcdefghijklmn", key); !long && i >= 0 && len(key) == 1 {
		return names[i]
	}
	if !long && key == "bname" {
		return "base bname"
	}
	return key
}

func TestPullHeaderGoldens(t *testing.T) {
	t.Parallel()
	var c Command
	seen := 0
	for _, g := range headerGoldens(t) {
		if g.HeaderClass != "PullMessageRequestHeader" {
			continue
		}
		seen++
		require.NoError(t, ParseFrame(g.bytes(t), &c))
		var h PullHeader
		require.NoError(t, ParsePullHeader(&c, &h), g.Name)
		got := map[string]string{"consumerGroup": string(h.Group), "topic": string(h.Topic), "subscription": string(h.Subscription),
			"expressionType": string(h.ExpressionType), "proxyFrowardClientId": string(h.ProxyForwardClientID), "queueId": fmt.Sprint(h.QueueID),
			"maxMsgNums": fmt.Sprint(h.MaxMsgs), "sysFlag": fmt.Sprint(h.SysFlag), "maxMsgBytes": fmt.Sprint(h.MaxMsgBytes), "queueOffset": fmt.Sprint(h.QueueOffset),
			"commitOffset": fmt.Sprint(h.CommitOffset), "suspendTimeoutMillis": fmt.Sprint(h.SuspendTimeoutMs), "subVersion": fmt.Sprint(h.SubVersion),
			"requestSource": fmt.Sprint(h.RequestSource)}
		want := withoutBase(g.fields())
		for key, value := range want {
			require.Equal(t, value, got[key], g.Name+" "+key)
			delete(got, key)
		}
		for key, value := range got {
			require.Contains(t, []string{"", "0", "-1"}, value, g.Name+" "+key)
		}
	}
	require.Equal(t, 8, seen)
}

func TestOffsetHeaderGoldens(t *testing.T) {
	t.Parallel()
	var c Command
	seen := 0
	for _, g := range headerGoldens(t) {
		query := g.HeaderClass == "QueryConsumerOffsetRequestHeader"
		if !query && g.HeaderClass != "UpdateConsumerOffsetRequestHeader" {
			continue
		}
		seen++
		require.NoError(t, ParseFrame(g.bytes(t), &c))
		var h OffsetHeader
		ParseOffsetHeader(&c, &h)
		want := OffsetHeader{Group: []byte("CG_group"), Topic: []byte("FxTopic"), QueueID: 3, HasQueueID: true, SetZeroIfNotFound: true}
		if !query {
			want.QueueOffset, want.HasQueueOffset = 1700000000004, true
		}
		require.Equal(t, want, h, g.Name)
	}
	require.Equal(t, 8, seen)
}

func TestHotHeadersRefuse(t *testing.T) {
	t.Parallel()
	send := map[string]string{"a": "g", "b": "t", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0"}
	pull := map[string]string{"consumerGroup": "g", "topic": "t", "queueId": "0", "queueOffset": "0", "maxMsgNums": "1", "sysFlag": "0"}
	parse := func(code int32, fields map[string]string) error {
		text, err := json.Marshal(fields)
		require.NoError(t, err)
		var c Command
		require.NoError(t, ParseFrame(jsonFrame(fmt.Sprintf(`{"code":%d,"extFields":%s}`, code, text)), &c))
		if code == PullMessage {
			return ParsePullHeader(&c, &PullHeader{})
		}
		return ParseSendHeader(&c, &SendHeader{})
	}
	with := func(fields map[string]string, key, value string) map[string]string {
		changed := map[string]string{}
		for k, v := range fields {
			changed[k] = v
		}
		if changed[key] = value; value == "" {
			delete(changed, key)
		}
		return changed
	}
	require.NoError(t, parse(SendMessageV2, send))
	require.NoError(t, parse(SendReplyMessageV2, send))
	require.NoError(t, parse(PullMessage, pull))
	require.ErrorContains(t, parse(SendMessage, send), "field topic is missing")
	for _, key := range []string{"b", "d", "e", "f", "g", "h"} {
		require.EqualError(t, parse(SendMessageV2, with(send, key, "")), "codec: bad header: field "+key+" is missing")
	}
	for _, key := range []string{"d", "e", "f", "g", "h", "j", "l"} {
		for _, bad := range []string{"x", "1.5", " 1", "-", "99999999999999999999"} {
			require.EqualError(t, parse(SendMessageV2, with(send, key, bad)), "codec: bad header: field "+key+" is not a number")
		}
	}
	for _, key := range []string{"consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag"} {
		require.ErrorIs(t, parse(PullMessage, with(pull, key, "")), ErrHeader)
	}
	for _, key := range []string{"queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset", "subVersion", "suspendTimeoutMillis", "maxMsgBytes"} {
		require.ErrorIs(t, parse(PullMessage, with(pull, key, "1x")), ErrHeader)
	}
}

func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	seven := int32(7)
	tests := []struct {
		header any
		want   map[string]string
	}{
		{&SendResponse{MsgID: []byte("7F00"), QueueID: 2, QueueOffset: 9, TransactionID: []byte("AC11"), RegionID: "DefaultRegion", TraceOn: "true"},
			map[string]string{"msgId": "7F00", "queueId": "2", "queueOffset": "9", "transactionId": "AC11", "MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}},
		{&SendResponse{RegionID: "r", TraceOn: "false"}, map[string]string{"MSG_REGION": "r", "TRACE_ON": "false"}},
		{&PullResponse{NextBeginOffset: 5, MinOffset: -1, MaxOffset: 6, TopicSysFlag: &seven},
			map[string]string{"suggestWhichBrokerId": "0", "nextBeginOffset": "5", "minOffset": "-1", "maxOffset": "6", "topicSysFlag": "7"}},
		{&PullRefusal{ForbiddenType: 3}, map[string]string{"forbiddenType": "3"}},
		{&OffsetResponse{QueueOffset: 44}, map[string]string{"offset": "44"}},
		{&RegisterBrokerResponse{}, map[string]string{}},
		{&QueryDataVersionResponse{Changed: true}, map[string]string{"changed": "true"}},
	}
	var c Command
	for _, test := range tests {
		for _, serialize := range []Serialize{SerializeJSON, SerializeRocketMQ} {
			require.NoError(t, ParseFrame(AppendFrame(nil, &Command{Serialize: serialize, Header: test.header}), &c))
			require.Equal(t, test.want, fieldsOf(&c))
		}
	}
}

func TestParseNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "-0": 0, "+5": 5, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63, "000": 0,
		"-00000000000000000000000000001": -1} {
		n, ok := parseInt64([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "+", "-", "--1", "+-1", "00000000000000000000-5", "9223372036854775808", "-9223372036854775809", "99999999999999999999", "1 ", "0x1", "٣"} {
		_, ok := parseInt64([]byte(text))
		require.False(t, ok, text)
	}
	for text, want := range map[string]bool{"2147483647": true, "2147483648": false, "-2147483648": true, "-2147483649": false} {
		_, ok := parseInt32([]byte(text))
		require.Equal(t, want, ok, text)
	}
	for text, want := range map[string]bool{"true": true, "TrUe": true, "false": false, "1": false, "": false, "truex": false} {
		require.Equal(t, want, parseBool([]byte(text)))
	}
}
