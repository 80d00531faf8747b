package compat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// extConf are the settings for queues with units and bit maps.
func extConf() []Option {
	return []Option{WithConf("enableConsumeQueueExt", "true"), WithConf("mappedFileSizeConsumeQueueExt", "8192"),
		WithConf("enableCalcFilterBitMap", "true")}
}

type listedUnit struct {
	BitMap         *string
	Eval           bool
	ExtendDataJSON *string `json:"extendDataJson"`
	TagsCode       int64
}

type unitData struct {
	FilterBitMap []int8
	MsgStoreTime int64
	Size         int
	TagsCode     int64
}

// TestExtendedQueues: QUERY_CONSUME_QUEUE tells of units and bit maps, and they do not change what a group gets.
func TestExtendedQueues(t *testing.T) {
	tg := onOwn(t, extConf()...)
	topic, group := newTopic(t, tg, 1), newGroup(t, tg)
	c := connect(t, tg.Broker())
	put(t, c, topic, 0, "before", props("TAGS", "A", "n", "1"))
	version := nowMs()
	c.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("id"), consumerGroup: group, subs: []subscription{{
		Topic: topic, SubString: "n = 1", SubVersion: version, ExpressionType: "SQL92", TagsSet: []string{}, CodeSet: []int32{}}}}.body())
	list := func(group string) (units []listedUnit) {
		var listed struct{ QueueData []listedUnit }
		where := map[string]string{"topic": topic, "queueId": "0", "index": "0", "count": "10", "consumerGroup": group}
		require.NoError(t, unmarshal(c.ok(t, codeQueryConsumeQueue, where, nil).Body, &listed))
		return listed.QueueData
	}
	n := 1
	eventually(t, time.Minute, func() error { // messages of the millisecond in which the group came have no bit map
		put(t, c, topic, 0, "does not", props("TAGS", "A", "n", "3"))
		n++
		dispatched(t, c, topic, 0, int64(n))
		if units := list(group); units[n-1].Eval {
			return fmt.Errorf("message %d has no bit map", n)
		}
		return nil
	})
	put(t, c, topic, 0, "passes", props("TAGS", "A", "n", "1"))
	put(t, c, topic, 0, "does not", props("TAGS", "B", "n", "2"))
	dispatched(t, c, topic, 0, int64(n+2))
	units := list(group)
	require.Len(t, units, n+2)
	first, passes, not := units[0], units[n], units[n+1]
	require.Equal(t, []bool{true, true, false}, []bool{first.Eval, passes.Eval, not.Eval})
	require.Equal(t, []int64{65, 65, 66}, []int64{first.TagsCode, passes.TagsCode, not.TagsCode})
	require.Nil(t, first.BitMap)
	require.Equal(t, 3, strings.Count(*passes.BitMap, "1"))
	line := strings.Repeat("0", 64)
	require.Equal(t, line[:48]+"\n"+line+"\n", *not.BitMap)
	for i, unit := range []listedUnit{first, passes, not} {
		var data unitData
		require.NoError(t, json.Unmarshal([]byte(*unit.ExtendDataJSON), &data))
		require.Equal(t, unit.TagsCode, data.TagsCode)
		require.Equal(t, []int{20, 34, 34}[i], data.Size)
		bits := data.Size - 20
		require.Len(t, data.FilterBitMap, bits)
		want := fmt.Sprintf(`"msgStoreTime":%d,"size":%d,"tagsCode":%d}`, data.MsgStoreTime, data.Size, data.TagsCode)
		require.True(t, strings.HasSuffix(*unit.ExtendDataJSON, want), *unit.ExtendDataJSON)
		require.Equal(t, bits > 0, strings.HasPrefix(*unit.ExtendDataJSON, `{"filterBitMap":[`))
	}
	for _, unit := range list("") {
		require.False(t, unit.Eval)
	}
	require.Equal(t, []string{"before", "passes"},
		passing(t, c, with(pullFields(group, topic, 0, 0), "sysFlag", 0, "subVersion", version, "expressionType", "SQL92")))
}
