package processor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// statsOf asks for one of Java's items.
func (b *rig) statsOf(name, key string) *codec.BrokerStatsData {
	b.t.Helper()
	got := b.request(codec.ViewBrokerStatsData, fields{"statsName": name, "statsKey": key}, "")
	if got.Code != codec.Success {
		require.Equal(b.t, fmt.Sprintf("The stats <%s> <%s> not exist", name, key), got.Remark)
		return nil
	}
	var data codec.BrokerStatsData
	require.NoError(b.t, codec.UnmarshalJSON(got.Body, &data))
	return &data
}

func TestStatsByTopicAndGroup(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.subscribe("G", "T", codec.SubAll)
	tick := func() { b.TickClients(b.clock.move(10 * time.Second)) }
	tick()
	require.Nil(t, b.statsOf("TOPIC_PUT_NUMS", "T"), "never counted")

	head := fields{"a": "g", "b": "T", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0"}
	for range 3 {
		require.Equal(t, codec.Success, b.request(codec.SendMessageV2, head, "body").Code)
	}
	b.dispatched()
	pull := fields{"consumerGroup": "G", "topic": "T", "queueId": "0", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "0",
		"commitOffset": "0", "suspendTimeoutMillis": "0", "subVersion": "0"}
	require.Equal(t, codec.Success, b.request(codec.PullMessage, pull, "").Code)
	tick()
	tick()

	require.Equal(t, codec.BrokerStatsItem{Sum: 3, TPS: 3. / 20, AvgPT: 1}, b.statsOf("TOPIC_PUT_NUMS", "T").StatsMinute)
	require.Equal(t, int64(3), b.statsOf("GROUP_GET_NUMS", "T@G").StatsMinute.Sum)
	require.Equal(t, 3.0, b.statsOf("GROUP_GET_NUMS", "T@G").StatsMinute.AvgPT, "one pull")
	require.Equal(t, b.store.Written(), b.statsOf("TOPIC_PUT_SIZE", "T").StatsMinute.Sum)
	require.Equal(t, int64(3), b.statsOf("BROKER_PUT_NUMS", "FixtureCluster").StatsMinute.Sum)
	require.Nil(t, b.statsOf("BROKER_PUT_NUMS", "another"))
	require.Nil(t, b.statsOf("GROUP_GET_NUMS", "T@H"))
	require.Nil(t, b.statsOf("GROUP_GET_NUMS", "T"))
	require.Nil(t, b.statsOf("NO_SUCH_ITEM", "T"))

	var topicStats codec.TopicStatsTable
	require.NoError(t, codec.UnmarshalJSON(b.request(codec.GetTopicStatsInfo, fields{"topic": "T"}, "").Body, &topicStats))
	require.Equal(t, 3./20, topicStats.TopicPutTPS)

	for range 6 {
		tick()
	}
	require.Zero(t, b.statsOf("TOPIC_PUT_NUMS", "T").StatsMinute.Sum, "more than a minute ago")
	for range 60 {
		tick()
	}
	require.Equal(t, int64(3), b.statsOf("TOPIC_PUT_NUMS", "T").StatsHour.Sum, "within the hour")
}

// What is counted of topics and groups goes with them.
func TestTrafficOfDeletedTopicsIsForgotten(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.stats.put("T", KindNormal, 1, 100)
	b.stats.get("T", []byte("gone"), 1, 100)
	b.stats.put("gone", KindNormal, 1, 100)
	require.Equal(t, int64(3), b.stats.traffic.flows.Load())
	for range 61 {
		b.TickClients(b.clock.move(10 * time.Second))
	}
	require.Equal(t, int64(1), b.stats.traffic.flows.Load())
	var left []string
	b.EachFlow(func(f TopicFlow) {
		left = append(left, f.Topic)
		require.Empty(t, f.Groups)
	})
	require.Equal(t, []string{"T"}, left)
}

func TestTrafficIsBounded(t *testing.T) {
	t.Parallel()
	tr := new(traffic)
	tr.flows.Store(maxFlows)
	tr.in("T", KindNormal, 1, 1)
	tr.out("T", []byte("G"), 1, 1)
	require.Nil(t, tr.topics.Get(store.NameOf("T")))
}

func TestLagOfAGroup(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 2)
	b.groupOf("G")
	b.subscribe("G", "T", codec.SubAll)
	for range 5 {
		b.put("T", 0, "", "body")
	}
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 2))
	b.offsets.CommitPull([]byte("G"), []byte("T"), 0, 4)
	b.clock.move(7 * time.Second)
	var lags []GroupLag
	b.EachLag(func(l GroupLag) { lags = append(lags, l) })
	require.Equal(t, []GroupLag{{Group: "G", Topic: "T", Lag: 3, InFlight: 2, Ready: 1, Latency: 7 * time.Second, Queueing: 7 * time.Second,
		Queues: []int64{3, 0}}}, lags)
}

// TestDailyCounters expects what Apache's rule makes of such messages: one for each that a client sent, none for traces, dead letters
// and halves. Apache: BrokerStatsManager.incBrokerPutNumsWithoutSystemTopic.
func TestDailyCounters(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.topicOf(store.TopicTrace, 1)
	b.groupOf("G")
	send := func(topic, props string) {
		require.Equal(t, codec.Success, b.request(codec.SendMessageV2, sendFields(topic, fields{"e": "0", "i": props}), "body").Code)
	}
	send("T", "")
	send("T", "")
	send("T", propText("DELAY", "1")) // counts when it is delivered
	send("T", propText("TRAN_MSG", "true", "PGROUP", "P"))
	send(store.TopicTrace, "")
	b.CountDelayed("T", 100)
	b.dispatched()
	require.Equal(t, codec.Success, b.request(codec.ConsumerSendMsgBack, backFields("G", 0, fields{"delayLevel": "-1"}), "").Code)
	pull := fields{"consumerGroup": "G", "queueId": "0", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "0", "commitOffset": "0",
		"suspendTimeoutMillis": "0", "subVersion": "0", "subscription": "*"}
	for _, topic := range []string{"T", store.TopicTrace} {
		require.Equal(t, codec.Success, b.request(codec.PullMessage, pull.with(fields{"topic": topic, "sysFlag": "4"}), "").Code)
	}

	var got codec.KVTable
	require.NoError(t, codec.UnmarshalJSON(b.request(codec.GetBrokerRuntimeInfo, nil, "").Body, &got))
	require.Equal(t, "7", got.Table["putMessageTimesTotal"])
	require.Equal(t, "3", got.Table["msgPutTotalTodayNow"])
	require.Equal(t, "2", got.Table["msgGetTotalTodayNow"])
}
