package compat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	sysNeedUnwrap = 0x40
	sysInnerBatch = 0x80
)

// newBatchTopic creates a topic whose queues have an entry for each record.
func newBatchTopic(t *testing.T, tg *Target, queues int) string {
	t.Helper()
	topic := unique("Batch")
	res, err := callOnce(tg.Broker(), codeCreateTopic, with(topicFields(topic, queues), "attributes", "+queue.type=BatchCQ"), nil)
	require.NoError(t, err)
	require.Equal(t, resSuccess, res.Code, res.Remark)
	awaitRoute(t, tg, topic)
	return topic
}

// putBatchOf sends a batch with its own unique key and returns the answer.
func putBatchOf(t *testing.T, c *client, topic, uniq string, extra string, bodies ...string) *packet {
	t.Helper()
	var entries []batchEntry
	for i, body := range bodies {
		entries = append(entries, batchEntry{body, props("UNIQ_KEY", fmt.Sprint(uniq, "-", i))})
	}
	return c.ok(t, codeSendBatch, with(shortened(sendFields(topic, 0, props("UNIQ_KEY", uniq)+extra)), "m", true), batchBody(entries...))
}

func awaitMax(t *testing.T, c *client, topic string, want int64) {
	t.Helper()
	eventually(t, stopTimeout, func() error {
		r, err := c.call(codeGetMaxOffset, ext("topic", topic, "queueId", 0), nil)
		if err == nil && r.Ext["offset"] != fmt.Sprint(want) {
			err = fmt.Errorf("maximum offset %v, want %d", r.Ext, want)
		}
		return err
	})
}

// TestInnerBatch asks by hand for all that tells a topic with queue.type=BatchCQ from others: what a batch becomes, which
// offsets it takes, what pulls in its middle get, and what queries of the queue say.
func TestInnerBatch(t *testing.T) {
	tg := onShared(t)
	c := connect(t, tg.Broker())
	topic, group := newBatchTopic(t, tg, 1), newGroup(t, tg)
	where := ext("topic", topic, "queueId", 0)
	offset := func(code int, fields map[string]string) int64 { return num(t, c.ok(t, code, fields, nil), "offset") }
	pull := func(queueOffset int64, pairs ...any) *packet {
		res, err := c.call(codePullMessage, with(pullFields(group, topic, 0, queueOffset), pairs...), nil)
		require.NoError(t, err)
		return res
	}

	require.EqualValues(t, 0, offset(codeGetMaxOffset, where))
	require.EqualValues(t, -1, offset(codeGetMinOffset, where))
	res := pull(0)
	require.Equal(t, resPullNotFound, res.Code)
	require.Equal(t, []string{"0", "-1", "0"}, []string{res.Ext["nextBeginOffset"], res.Ext["minOffset"], res.Ext["maxOffset"]})

	res = putBatchOf(t, c, topic, "UA", props("KEYS", "ka"), "one", "two", "three")
	require.Equal(t, "UA", res.Ext["batchUniqId"])
	require.Equal(t, "UA", res.Ext["transactionId"])
	require.Equal(t, "0", res.Ext["queueOffset"])
	require.Len(t, res.Ext["msgId"], 32)
	single := put(t, c, topic, 0, "single", props("UNIQ_KEY", "US", "TAGS", "A"))
	require.EqualValues(t, 3, single)
	res = putBatchOf(t, c, topic, "UB", props("TAGS", "A"), "four", "five")
	require.Equal(t, "4", res.Ext["queueOffset"])
	// Without a unique key of the whole its messages are stored one by one.
	res = c.ok(t, codeSendBatch, with(shortened(sendFields(topic, 0, "")), "m", true), batchBody(batchEntry{"six", ""}, batchEntry{"seven", ""}))
	require.Equal(t, "6", res.Ext["queueOffset"])
	require.Empty(t, res.Ext["batchUniqId"])
	require.Equal(t, 1, strings.Count(res.Ext["msgId"], ","))
	awaitMax(t, c, topic, 8)
	require.EqualValues(t, 0, offset(codeGetMinOffset, where))

	type found struct {
		first, next int64
		records     int
	}
	for at, want := range map[int64]found{0: {0, 8, 5}, 1: {0, 8, 5}, 2: {0, 8, 5}, 3: {3, 8, 4}, 4: {4, 8, 3}, 5: {4, 8, 3}, 6: {6, 8, 2}, 7: {7, 8, 1}} {
		res := pull(at)
		require.Equal(t, resSuccess, res.Code, at)
		all, err := decodeRecords(res.Body)
		require.NoError(t, err)
		require.Equal(t, want, found{all[0].QueueOffset, num(t, res, "nextBeginOffset"), len(all)}, at)
	}
	for most, next := range map[int]int64{1: 3, 3: 3, 4: 4, 5: 4, 6: 6, 7: 7} {
		require.Equal(t, next, num(t, pull(0, "maxMsgNums", most), "nextBeginOffset"), most)
	}
	all, err := decodeRecords(pull(0).Body)
	require.NoError(t, err)
	require.EqualValues(t, sysInnerBatch|sysNeedUnwrap, all[0].SysFlag)
	require.Equal(t, "3", all[0].Props["INNER_NUM"])
	require.Equal(t, "0", all[0].Props["INNER_BASE"])
	require.Equal(t, "ka", all[0].Props["KEYS"])
	require.NotEmpty(t, all[0].Props["CLUSTER"])
	require.Zero(t, all[1].SysFlag)
	require.NotContains(t, all[1].Props, "INNER_NUM")
	require.Equal(t, "4", all[2].Props["INNER_BASE"])

	// The tag of the whole counts.
	res = pull(0, "subscription", "A")
	tagged, err := decodeRecords(res.Body)
	require.NoError(t, err)
	require.Equal(t, all[1:3], tagged)
	require.EqualValues(t, 8, num(t, res, "nextBeginOffset"))

	require.EqualValues(t, 0, offset(codeSearchOffset, with(where, "timestamp", 0)))
	require.EqualValues(t, 7, offset(codeSearchOffset, with(where, "timestamp", int64(1)<<50)))
	require.Equal(t, all[0].StoreMs, num(t, c.ok(t, codeGetEarliestStoreTime, where, nil), "timestamp"))

	var listed struct {
		MaxQueueIndex, MinQueueIndex int64
		QueueData                    []struct{ PhysicOffset int64 }
	}
	require.NoError(t, unmarshal(c.ok(t, codeQueryConsumeQueue, with(where, "index", 1, "count", 4), nil).Body, &listed))
	require.EqualValues(t, 8, listed.MaxQueueIndex)
	var physOffsets []int64
	for _, e := range listed.QueueData {
		physOffsets = append(physOffsets, e.PhysicOffset)
	}
	require.Equal(t, []int64{all[0].PhysOffset, all[1].PhysOffset, all[2].PhysOffset}, physOffsets)
	queryFound(t, c, queryFields(topic, "ka"), 1)
	stats := string(c.ok(t, codeTopicStats, ext("topic", topic), nil).Body)
	require.Contains(t, stats, `"maxOffset":8,"minOffset":0`)

	for _, c := range []struct {
		name   string
		fields map[string]string
	}{
		{"number without flag", sendFields(topic, 0, props("INNER_NUM", "2"))},
		{"flag for a topic of single messages", with(sendFields(newTopic(t, tg, 1), 0, ""), "sysFlag", sysInnerBatch)},
	} {
		res, err := callOnce(tg.Broker(), codeSendMessage, c.fields, batchBody(batchEntry{"x", ""}, batchEntry{"y", ""}))
		require.NoError(t, err)
		require.Equal(t, resMessageIllegal, res.Code, c.name)
	}
	res, err = c.call(codeCreateTopic, with(topicFields(topic, 1), "attributes", "+queue.type=SimpleCQ"), nil)
	require.NoError(t, err)
	require.Equal(t, resSystemError, res.Code)
	require.Equal(t, "attempt to update an unchangeable attribute. key: queue.type", res.Remark)
}

// TestTakeOverInnerBatches hands a store with batch queues from our broker to Apache's and back, after a clean stop and after a
// kill. Each serves every message of the other by offset, place and key, and goes on behind it.
func TestTakeOverInnerBatches(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	if JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	// messageIndexSafe: without it Apache's recovery forgets the keys of messages before the checkpoint.
	tg := onOwn(t, WithConf("mapperFileSizeBatchConsumeQueue", "460"), WithConf("messageIndexSafe", "true"))
	besideApache(t)
	ours := tg.launch
	apache, err := newApacheLauncher()
	require.NoError(t, err)
	topic, group := newBatchTopic(t, tg, 1), newGroup(t, tg)
	next, seen := int64(0), map[string]string{} // the answers to pulls from each offset
	for round, to := range []launcher{apache, ours, apache, ours} {
		c := connect(t, tg.Broker())
		for i := range 15 {
			name := fmt.Sprint(round, "-", i)
			res := putBatchOf(t, c, topic, "U"+name, props("KEYS", "k"+name), name+" one", name+" two", name+" three")
			require.Equal(t, fmt.Sprint(next), res.Ext["queueOffset"])
			require.Equal(t, next+3, put(t, c, topic, 0, name, props("KEYS", "s"+name)))
			next += 4
		}
		awaitMax(t, c, topic, next)
		for at := next - 60; at < next; at++ {
			res := c.ok(t, codePullMessage, with(pullFields(group, topic, 0, at), "maxMsgNums", 1), nil)
			seen[fmt.Sprint(at)] = string(res.Body)
		}
		if round < 2 {
			tg.StopBroker(t)
		} else {
			tg.KillBroker(t)
		}
		tg.launch = to
		tg.StartBroker(t)
		c = connect(t, tg.Broker())
		awaitMax(t, c, topic, next)
		for at := range next {
			res := c.ok(t, codePullMessage, with(pullFields(group, topic, 0, at), "maxMsgNums", 1), nil)
			require.Equal(t, seen[fmt.Sprint(at)], string(res.Body), at)
			all, err := decodeRecords(res.Body)
			require.NoError(t, err)
			view, err := decodeRecords(c.ok(t, codeViewMessageByID, ext("offset", all[0].PhysOffset), nil).Body)
			require.NoError(t, err)
			require.Equal(t, all[:1], view)
		}
		for _, key := range []string{"k", "s"} {
			queryFound(t, c, queryFields(topic, fmt.Sprint(key, round, "-", 7)), 1)
		}
	}
}
