package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// infoOf is a running info as a client writes it.
func infoOf(t *testing.T, text string) *memberInfo {
	info := new(memberInfo)
	require.NoError(t, codec.UnmarshalJSON([]byte(text), info))
	return info
}

func TestMonitorFindsStuckQueues(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_100_000)
	const queue = `{"brokerName":"b","queueId":1,"topic":"T"}`
	for _, tc := range []struct{ name, properties, queue, want string }{
		{"idle", `"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY"`, `"lastConsumeTimestamp":1700000000000,"cachedMsgCount":0`, ""},
		{"busy", `"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY"`, `"lastConsumeTimestamp":1700000040000,"cachedMsgCount":5`, ""},
		{"blocked", `"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY"`, `"lastConsumeTimestamp":1700000039999,"cachedMsgCount":5`,
			"c MessageQueue [topic=T, brokerName=b, queueId=1] can't consume for a while, maybe blocked, 60001ms"},
		{"pull", `"PROP_CONSUME_TYPE":"CONSUME_ACTIVELY"`, `"lastConsumeTimestamp":0,"cachedMsgCount":5`, ""},
		{"no lock", `"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMEORDERLY":"true"`, `"locked":false,"lastLockTimestamp":1700000000000`,
			"c MessageQueue [topic=T, brokerName=b, queueId=1] can't lock for a while, 100000ms"},
		{"locked", `"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMEORDERLY":true`, `"locked":true,"lastConsumeTimestamp":0,"cachedMsgCount":5`, ""},
		{"kept", `"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMEORDERLY":"true"`, `"locked":true,"droped":true,"tryUnlockTimes":3`,
			"c MessageQueue [topic=T, brokerName=b, queueId=1] unlock 3 times, still failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			info := infoOf(t, `{"properties":{`+tc.properties+`},"mqTable":{`+queue+`:{`+tc.queue+`}}}`)
			var want []string
			if tc.want != "" {
				want = []string{tc.want}
			}
			require.Equal(t, want, stuck("c", info, now))
		})
	}
}

func TestMonitorFindsDifferentSubscriptions(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_200_000)
	member := func(started, subs string) *memberInfo {
		return infoOf(t, `{"properties":{"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMER_START_TIMESTAMP":`+started+`},"subscriptionSet":[`+subs+`]}`)
	}
	const long, short = `"1700000000000"`, `1700000100000`
	tags, all := `{"topic":"T","subString":"a","subVersion":1}`, `{"topic":"T","subString":"*"}`
	both := []string{"c1", "c2"}
	require.True(t, differ(both, map[string]*memberInfo{"c1": member(long, tags), "c2": member(long, all)}, now))
	require.False(t, differ(both, map[string]*memberInfo{"c1": member(short, tags), "c2": member(long, all)}, now), "still starting")
	require.False(t, differ(both, map[string]*memberInfo{"c1": member(long, tags), "c2": member(long, `{"topic":"T","subString":"a","subVersion":2}`)}, now))
}
