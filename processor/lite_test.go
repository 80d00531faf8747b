package processor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// newLiteRig has light message queues, a parent topic P and a group L bound to it.
func newLiteRig(t testing.TB, attributes ...string) *rig {
	b := newRig(t, func(s *setup) {
		s.store.MultiDispatch, s.store.MaxLMQs = true, 1_000_000
		s.topic.LMQ, s.group.LMQ = true, true
	})
	b.topicOf("P", 1, func(cfg *codec.TopicConfig) {
		cfg.Attributes = map[string]string{"+message.type": "LITE", "+lite.topic.expiration": "30"}
	})
	b.groupOf("L", func(cfg *codec.SubscriptionGroupConfig) {
		cfg.Attributes = map[string]string{"+lite.bind.topic": "P"}
		for i := 0; i+1 < len(attributes); i += 2 {
			cfg.Attributes["+"+attributes[i]] = attributes[i+1]
		}
	})
	return b
}

func (b *rig) liteChange(action, client string, lites ...string) *answer {
	quoted := make([]string, len(lites))
	for i, lite := range lites {
		quoted[i] = fmt.Sprintf("%q", lite)
	}
	return b.request(codec.LiteSubscriptionCtl, nil, fmt.Sprintf(`{"subscriptionSet":[{"action":%q,"clientId":%q,"group":"L","topic":"P","liteTopicSet":[%s]}]}`,
		action, client, strings.Join(quoted, ",")))
}

func (b *rig) liteAdd(client string, lites ...string) {
	b.t.Helper()
	a := b.liteChange(codec.LitePartialAdd, client, lites...)
	require.Equal(b.t, codec.Success, a.Code, a.Remark)
}

func (b *rig) litePut(lite string, bodies ...string) {
	b.t.Helper()
	for _, body := range bodies {
		a := b.request(codec.SendMessage, fields{"producerGroup": "PG", "topic": "P", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0",
			"sysFlag": "0", "bornTimestamp": "1795226366000", "flag": "0", "properties": propText("__LITE_TOPIC", lite), "reconsumeTimes": "0", "unitMode": "false"}, body)
		require.Equal(b.t, codec.Success, a.Code, a.Remark)
	}
	b.dispatched()
}

func (b *rig) litePopFields(client string, more fields) fields {
	return fields{"clientId": client, "consumerGroup": "L", "topic": "P", "maxMsgNum": "32", "invisibleTime": "10000", "pollTime": "0",
		"bornTime": fmt.Sprint(b.clock.Now().UnixMilli())}.with(more)
}

// litePops returns lite topic and body of what a pop gives, and the fields that acknowledge it.
func (b *rig) litePops(client string, more fields) (got []string, acks []fields) {
	b.t.Helper()
	a := b.request(codec.PopLiteMessage, b.litePopFields(client, more), "")
	require.NotNil(b.t, a)
	if a.Code == codec.PollingTimeout {
		return nil, nil
	}
	require.Equal(b.t, codec.Success, a.Code, a.Remark)
	return b.liteOf(a)
}

func (b *rig) liteOf(a *answer) (got []string, acks []fields) {
	b.t.Helper()
	for rest := a.Body; len(rest) > 0; {
		var m codec.Message
		n, err := codec.DecodeMessage(rest, &m)
		require.NoError(b.t, err)
		rest = rest[n:]
		lite, _ := codec.Property(m.Properties, "__LITE_TOPIC")
		offset, _ := codec.Property(m.Properties, codec.PropInnerMultiQueueOffset)
		got = append(got, string(lite)+" "+string(m.Body))
		acks = append(acks, fields{"consumerGroup": "L", "topic": "P", "queueId": "0", "offset": string(offset), "liteTopic": string(lite),
			"extraInfo": fmt.Sprintf("0 %s %s 999 0 broker-a 0 %s", a.Fields["popTime"], a.Fields["invisibleTime"], offset)})
	}
	return got, acks
}

func (b *rig) liteAck(acks ...fields) {
	b.t.Helper()
	for _, head := range acks {
		a := b.request(codec.AckMessage, head, "")
		require.Equal(b.t, codec.Success, a.Code, a.Remark)
	}
}

func (b *rig) tickLite(d time.Duration) {
	b.TickLite(b.clock.move(d))
}

func TestLiteDeliversAgainWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	b.liteAdd("c", "a")
	b.litePut("a", "x", "y")
	got, acks := b.litePops("c", nil)
	require.Equal(t, []string{"a x", "a y"}, got)
	b.liteAck(acks[0])
	b.tickLite(9 * time.Second)
	got, _ = b.litePops("c", nil)
	require.Empty(t, got)
	b.tickLite(2 * time.Second)
	got, acks = b.litePops("c", nil)
	require.Equal(t, []string{"a y"}, got)
	b.liteAck(acks...)
	require.Zero(t, b.lites.flights.Load())
	require.Empty(t, b.lites.due)
	a := b.request(codec.AckMessage, acks[0], "")
	require.Equal(t, codec.Success, a.Code, "twice")
}

func TestLiteParkedPopWakes(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	b.liteAdd("c", "a")
	require.Nil(t, b.request(codec.PopLiteMessage, b.litePopFields("c", fields{"pollTime": "15000"}), ""))
	require.Nil(t, b.request(codec.PopLiteMessage, b.litePopFields("nobody", fields{"pollTime": "15000"}), ""))
	b.litePut("a", "x")
	got, _ := b.liteOf(b.answered())
	require.Equal(t, []string{"a x"}, got)
	b.tickLite(16 * time.Second)
	require.Equal(t, codec.PollingTimeout, b.answered().Code)
	b.pool.wait()
	require.Nil(t, b.lites.clients["nobody"], "nothing is kept of a client without subscriptions")
	require.Nil(t, b.request(codec.PopLiteMessage, b.litePopFields("nobody", fields{"pollTime": "15000"}), ""))
	b.ConnClosed(b.conn)
	require.Zero(t, b.lites.hold.count.Load())
	require.Empty(t, b.lites.hold.due)
	require.Empty(t, b.lites.hold.conns.lists)
}

// A client whose topics are another group's waits without being woken for what it does not get.
func TestLitePopOfAnotherGroupWaits(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	b.groupOf("M", func(cfg *codec.SubscriptionGroupConfig) { cfg.Attributes = map[string]string{"+lite.bind.topic": "P"} })
	b.liteAdd("c", "a")
	b.litePut("a", "x")
	require.Nil(t, b.request(codec.PopLiteMessage, b.litePopFields("c", fields{"consumerGroup": "M", "pollTime": "15000"}), ""))
	b.pool.wait() // does not end while the pop is woken again and again
	require.EqualValues(t, 1, b.lites.hold.count.Load())
	got, _ := b.litePops("c", nil)
	require.Equal(t, []string{"a x"}, got)
}

func TestLiteTopicsOfASilentClientGoToAnother(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	b.set(func(s *Settings) { s.LiteEventCheck = time.Second })
	b.liteAdd("one", "a")
	b.liteAdd("two", "a")
	b.tickLite(time.Second)
	for range 8 { // in turn, while nobody waits
		b.litePut("a", "x")
	}
	first, _ := b.litePops("one", nil)
	second, _ := b.litePops("two", nil)
	lens := []int{len(first), len(second)}
	slices.Sort(lens)
	require.Equal(t, []int{0, 8}, lens, "one has the delivery")
	b.tickLite(11 * time.Second) // visible again, ready for either
	got, _ := b.litePops("two", nil)
	if len(got) == 0 {
		b.tickLite(2 * time.Second)
		got, _ = b.litePops("two", nil)
	}
	require.Len(t, got, 8, "the other client is silent")
}

func TestLiteSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	b.set(func(s *Settings) { s.MaxLiteSubscriptions = 3 })
	b.liteAdd("c", "a", "b")
	b.liteAdd("c", "a", "b")
	require.EqualValues(t, 2, b.LiteSubscriptions())
	a := b.liteChange(codec.LiteCompleteAdd, "d", "a", "b", "c")
	require.Equal(t, codec.LiteSubscriptionQuotaExceeded, a.Code)
	require.EqualValues(t, 3, b.LiteSubscriptions())
	b.tickLite(time.Second)
	b.tickLite(2 * time.Minute)
	require.EqualValues(t, 3, b.LiteSubscriptions())
	b.liteChange(codec.LiteCompleteAdd, "d", "a")
	b.tickLite(2 * time.Minute)
	require.EqualValues(t, 1, b.LiteSubscriptions(), "c has been silent for four minutes")
	b.liteChange(codec.LiteCompleteRemove, "d")
	require.Zero(t, b.LiteSubscriptions())
	require.Empty(t, b.lites.clients)
	require.Empty(t, b.lites.topics)
	b.request(codec.LiteSubscriptionCtl, nil, `{"subscriptionSet":[{"action":"NONE","clientId":"c","group":"L","topic":"P"}]}`)
	a = b.liteChange(codec.LitePartialAdd, "c", "a$b")
	require.Equal(t, codec.InvalidParameter, a.Code)
}

func TestLiteTopicsEndWithTheirTime(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	b.opts.StartedAt = b.clock.Now()
	b.liteAdd("c", "old", "new")
	b.litePut("old", "x")
	_, acks := b.litePops("c", nil)
	b.liteAck(acks...)
	b.tickLite(time.Second)
	b.tickLite(29 * time.Minute)
	b.litePut("new", "y")
	require.EqualValues(t, 1, b.store.MaxQueueOffset("%LMQ%$P$old", 0))
	b.liteChange(codec.LiteCompleteAdd, "c", "old", "new")
	b.tickLite(2 * time.Minute)
	require.Zero(t, b.store.MaxQueueOffset("%LMQ%$P$old", 0))
	require.EqualValues(t, 1, b.store.MaxQueueOffset("%LMQ%$P$new", 0))
	_, known := b.offsets.Query([]byte("L"), []byte("%LMQ%$P$old"), 0)
	require.False(t, known)
	lmqs, _ := b.store.LMQs()
	require.EqualValues(t, 1, lmqs)
	require.EqualValues(t, 1, b.LiteSubscriptions())
	b.liteChange(codec.LiteCompleteAdd, "c", "old", "new")
	b.litePut("old", "z")
	got, _ := b.litePops("c", nil)
	require.ElementsMatch(t, []string{"new y", "old z"}, got)
	require.Equal(t, codec.Success, b.request(codec.DeleteTopicInBroker, fields{"topic": "P"}, "").Code)
	lmqs, _ = b.store.LMQs()
	require.Zero(t, lmqs)
	require.Zero(t, b.lites.flights.Load())
}

func TestLiteSendRefusesANameThatIsNoQueues(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	head := fields{"producerGroup": "PG", "topic": "P", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0", "sysFlag": "0",
		"bornTimestamp": "1795226366000", "flag": "0", "reconsumeTimes": "0", "unitMode": "false"}
	for _, lite := range []string{"a/b", "a$b", "a,b", strings.Repeat("x", 300)} {
		a := b.request(codec.SendMessage, head.with(fields{"properties": propText("__LITE_TOPIC", lite)}), "x")
		require.Equal(t, codec.MessageIllegal, a.Code, lite)
	}
	a := b.request(codec.SendMessage, head.with(fields{"properties": propText("INNER_MULTI_DISPATCH", "%LMQ%other", "__LITE_TOPIC", "a")}), "x")
	require.Equal(t, codec.Success, a.Code, a.Remark)
	b.dispatched()
	require.EqualValues(t, 1, b.store.MaxQueueOffset("%LMQ%$P$a", 0))
	require.Zero(t, b.store.MaxQueueOffset("%LMQ%other", 0))
	require.NotEmpty(t, propMap(b.at("P", 0, 0).Properties)["UNIQ_KEY"])
}

func TestLiteWildcardGroupSharesEverything(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t, "lite.sub.wildcard", "true")
	b.litePut("before", "x")
	for _, client := range []string{"c", "d"} {
		require.Equal(t, codec.Success, b.liteChange(codec.LiteCompleteAdd, client).Code)
	}
	b.litePut("after", "y")
	got, acks := b.litePops("c", fields{"maxMsgNum": "1"})
	require.Equal(t, []string{"before x"}, got)
	b.liteAck(acks...)
	got, _ = b.litePops("d", nil)
	require.Equal(t, []string{"after y"}, got)
	b.liteChange(codec.LiteCompleteRemove, "c")
	b.liteChange(codec.LiteCompleteRemove, "d")
	require.Empty(t, b.lites.wild)
	require.Zero(t, b.LiteSubscriptions())
}

// The hash of a lite topic's name picks the queue that Guava 32.0.1, which Java's clients use, picks.
func TestLiteShardingIsJavas(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lite    string
		buckets int
		want    int
	}{
		{"a", 1, 0}, {"a", 3, 0}, {"a", 8, 0}, {"a", 64, 29}, {"lite-1", 1, 0}, {"lite-1", 3, 2}, {"lite-1", 8, 6}, {"lite-1", 64, 40},
		{"lite-2", 3, 1}, {"lite-2", 8, 1}, {"lite-2", 64, 52}, {"Müller", 3, 1}, {"Müller", 8, 4}, {"Müller", 64, 25}, {"聊天", 3, 1},
		{"聊天", 8, 6}, {"聊天", 64, 30}, {"session/42x", 8, 5}, {"session/42x", 64, 32}, {"zz zz", 8, 3}, {"zz zz", 64, 60}, {"q", 3, 2}, {"q", 64, 8},
	} {
		require.Equal(t, tc.want, jumpHash(int64(javaHash(tc.lite)), tc.buckets), "%s of %d", tc.lite, tc.buckets)
	}
	b := newLiteRig(t)
	b.opts.WriteQueues = func(string) ([]codec.MessageQueue, bool) {
		return []codec.MessageQueue{{BrokerName: "broker-a"}, {BrokerName: "broker-b"}, {BrokerName: "broker-b"}}, true
	}
	b.liteAdd("c", "a", "lite-1")
	require.EqualValues(t, 1, b.LiteSubscriptions(), "lite-1 is broker-b's")
	b.litePut("lite-1", "x")
	b.liteAdd("c", "a", "lite-1")
	require.EqualValues(t, 2, b.LiteSubscriptions(), "there are messages of it here")
}

// Arrivals, pops and acks of many clients at once lose nothing and deliver nothing twice.
func TestLiteManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	b := newLiteRig(t)
	const clients, lites, each = 8, 4, 25
	for c := range clients {
		for i := range lites {
			b.liteAdd(fmt.Sprint("c", c), fmt.Sprint("t", (c/2)*lites+i)) // two clients share a topic
		}
	}
	var wg sync.WaitGroup
	seen := make([]map[string]bool, clients)
	for c := range clients {
		seen[c] = make(map[string]bool)
	}
	for i := range each {
		for n := range clients / 2 * lites {
			b.litePut(fmt.Sprint("t", n), fmt.Sprint(i))
		}
		for c := range clients {
			wg.Go(func() {
				got, acks := b.litePops(fmt.Sprint("c", c), fields{"maxMsgNum": "3"})
				for j, text := range got {
					seen[c][text] = true
					b.liteAck(acks[j])
				}
			})
		}
		wg.Wait()
	}
	for range 2 * each {
		for c := range clients {
			got, acks := b.litePops(fmt.Sprint("c", c), nil)
			for j, text := range got {
				seen[c][text] = true
				b.liteAck(acks[j])
			}
		}
	}
	all := map[string]int{}
	for c := range clients {
		for text := range seen[c] {
			all[text]++
		}
	}
	require.Len(t, all, clients/2*lites*each)
	for text, n := range all {
		require.Equal(t, 1, n, text)
	}
	require.Zero(t, b.lites.flights.Load())
}

// BenchmarkLitePop is one message of a lite topic from its arrival to its ack, with 100,000 lite topics and 10,000 clients.
func BenchmarkLitePop(b *testing.B) {
	r := newLiteRig(b)
	r.set(func(s *Settings) { s.MaxLiteSubscriptions = 1_000_000 })
	const clients, each = 10_000, 10
	for c := range clients {
		names := make([]string, each)
		for i := range names {
			names[i] = fmt.Sprint("t", c*each+i)
		}
		r.liteAdd(fmt.Sprint("c", c), names...)
	}
	require.Len(b, r.lites.topics, clients*each)
	r.litePut("t7", "x")
	b.ReportAllocs()
	b.ResetTimer()
	offset := int64(0)
	for b.Loop() {
		r.lites.arrived(&store.Arrival{Topic: "%LMQ%$P$t7", QueueOffset: 0, StoreTimestampMs: 1})
		c := r.lites.calls.Get().(*litePop)
		c.h = codec.PopLiteHeader{ClientID: []byte("c0"), Group: []byte("L"), Topic: []byte("P"), MaxMsgs: 32, InvisibleMs: 1000, BornMs: r.clock.Now().UnixMilli()}
		require.NoError(b, c.check())
		require.NoError(b, c.read(true))
		require.Equal(b, 1, c.count)
		popMs := c.resp.PopTimeMs
		c.Release()
		t := r.lites.find([]byte("%LMQ%$P$t7"))
		t.mu.Lock()
		free, err := r.lites.ackLocked(t, &codec.AckHeader{Group: []byte("L"), QueueOffset: offset}, popMs)
		t.mu.Unlock()
		require.True(b, free)
		require.NoError(b, err)
		require.NoError(b, r.offsets.Commit([]byte("L"), t.key, 0, 0))
	}
}
