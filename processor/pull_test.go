package processor

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// pullFields is the header of a pull that brings its subscription along and does not wait.
func pullFields(group, topic string, more fields) fields {
	return fields{
		"consumerGroup": group, "topic": topic, "queueId": "0", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "4",
		"commitOffset": "0", "suspendTimeoutMillis": "15000", "subscription": "*", "subVersion": "0", "expressionType": "TAG",
	}.with(more)
}

const faq = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

// fromHeartbeat makes a pull one that relies on what the group's heartbeats say.
var fromHeartbeat = fields{"sysFlag": "0"}

// pullRefusal is a pull that must be refused.
type pullRefusal struct {
	name      string
	code      int32
	head      fields
	change    func(*rig)
	want      int32
	remark    string
	forbidden string
}

var pullRefusals = []pullRefusal{
	{name: "no queue", head: pullFields("G", "T", fields{"queueId": absent}), want: 1},
	{name: "offset is no number", head: pullFields("G", "T", fields{"queueOffset": "x"}), want: 1},
	{name: "broker not readable", head: pullFields("G", "T", nil), change: func(b *rig) { b.set(func(s *Settings) { s.Permission = codec.PermWrite }) },
		want: 16, remark: "the broker[127.0.0.2] pulling message is forbidden", forbidden: "1"},
	{name: "lite pull switched off", code: codec.LitePullMessage, head: pullFields("G", "T", nil),
		change: func(b *rig) { b.set(func(s *Settings) { s.LitePull = false }) },
		want:   16, remark: "the broker[127.0.0.2] for lite pull consumer is forbidden", forbidden: "1"},
	{name: "unknown group", head: pullFields("bad group", "T", nil), want: 26, remark: "subscription group [bad group] does not exist, " + faq},
	{name: "group may not consume", head: pullFields("G", "T", nil),
		change: func(b *rig) { b.groupOf("G", func(c *codec.SubscriptionGroupConfig) { c.ConsumeEnable = false }) },
		want:   16, remark: "subscription group no permission, G", forbidden: "2"},
	{name: "unknown topic", head: pullFields("G", "Nope", nil), want: 17, remark: "topic[Nope] not exist, apply first please! " + faq},
	{name: "topic not readable", head: pullFields("G", "WriteOnly", nil),
		change: func(b *rig) {
			b.topicOf("WriteOnly", 4, func(c *codec.TopicConfig) { c.Perm = codec.PermWrite })
		},
		want: 16, remark: "the topic[WriteOnly] pulling message is forbidden", forbidden: "3"},
	{name: "queue beyond", head: pullFields("G", "T", fields{"queueId": "4"}),
		want: 29, remark: "queueId[4] is illegal, topic:[T] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:60802]"},
	{name: "negative queue", head: pullFields("G", "T", fields{"queueId": "-1"}),
		want: 29, remark: "queueId[-1] is illegal, topic:[T] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:60802]"},
	{name: "expression without a tag", head: pullFields("G", "T", fields{"subscription": "||"}), want: 23, remark: "parse the consumer's subscription failed"},
	{name: "no property expression", head: pullFields("G", "T", fields{"subscription": "", "expressionType": "SQL92"}),
		want: 23, remark: "parse the consumer's subscription failed"},
	{name: "property expression", head: pullFields("G", "T", fields{"subscription": "a > 1", "expressionType": "SQL92"}),
		want: 1, remark: "The broker does not support consumer to filter message by SQL92"},
	{name: "group without members", head: pullFields("G", "T", fromHeartbeat), want: 24, remark: "the consumer's group info not exist" + faq},
	{name: "broadcasting is forbidden", head: pullFields("G", "T", fromHeartbeat),
		change: func(b *rig) {
			b.groupOf("G", func(c *codec.SubscriptionGroupConfig) { c.ConsumeBroadcastEnable = false })
			b.subscribe("G", "T", "*", func(g *ConsumerGroup, _ *Subscription) { g.Model = codec.Broadcasting })
		},
		want: 16, remark: "the consumer group[G] can not consume by broadcast way", forbidden: "4"},
	{name: "group is forbidden to read the topic", head: pullFields("G", "T", fromHeartbeat),
		change: func(b *rig) {
			b.groupOf("G")
			b.subscribe("G", "T", "*")
			require.NoError(b.t, b.groups.SetForbidden("G", "T", store.ForbiddenRead))
		},
		want: 16, remark: "the consumer group[G] is forbidden for topic[T]", forbidden: "5"},
	{name: "topic not subscribed", head: pullFields("G", "T", fromHeartbeat), change: func(b *rig) { b.subscribe("G", "Other", "*") },
		want: 24, remark: "the consumer's subscription not exist" + faq},
	{name: "subscription not the latest", head: pullFields("G", "T", fields{"sysFlag": "0", "subVersion": "9"}),
		change: func(b *rig) {
			b.subscribe("G", "T", "*", func(_ *ConsumerGroup, s *Subscription) { s.Data.SubVersion = 8 })
		},
		want: 25, remark: "the consumer's subscription not latest"},
	{name: "property filter by heartbeat", head: pullFields("G", "T", fromHeartbeat),
		change: func(b *rig) { b.heartbeatSQL("G", "T", "a > 1", 1) },
		want:   1, remark: "The broker does not support consumer to filter message by SQL92"},
	{name: "pull consumers are rejected", head: pullFields("G", "T", nil), change: func(b *rig) { b.set(func(s *Settings) { s.RejectPullConsumer = true }) },
		want: 24, remark: "the consumer's group info not exist, or the pull consumer is rejected by server." + faq},
}

func TestPullRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range pullRefusals {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRig(t)
			b.topicOf("T", 4)
			if tt.change != nil {
				tt.change(b)
			}
			if tt.code == 0 {
				tt.code = codec.PullMessage
			}
			got := b.request(tt.code, tt.head, "")
			require.Equal(t, tt.want, got.Code, got.Remark)
			if tt.remark != "" {
				require.Equal(t, tt.remark, got.Remark)
			}
			want := fields{}
			if tt.forbidden != "" {
				want["forbiddenType"] = tt.forbidden
			}
			require.Equal(t, want, got.Fields)
		})
	}
}

func pulled(next, least, most int) fields {
	return fields{
		"suggestWhichBrokerId": "0", "nextBeginOffset": strconv.Itoa(next), "minOffset": strconv.Itoa(least), "maxOffset": strconv.Itoa(most),
		"topicSysFlag": "0", "groupSysFlag": "0",
	}
}

// bodiesOf decodes the records of a pull's answer.
func bodiesOf(t testing.TB, records []byte) (bodies []string) {
	t.Helper()
	for len(records) > 0 {
		var m codec.Message
		n, err := codec.DecodeMessage(records, &m)
		require.NoError(t, err)
		bodies, records = append(bodies, string(m.Body)), records[n:]
	}
	return bodies
}

func TestPullAnswers(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	for i, tags := range []string{"A", "B", "A", "", "B"} {
		b.put("T", 1, tags, strconv.Itoa(i))
	}
	for _, tt := range []struct {
		name   string
		head   fields
		want   int32
		remark string
		fields fields
		bodies []string
	}{
		{"all", fields{}, 0, "FOUND", pulled(5, 0, 5), []string{"0", "1", "2", "3", "4"}},
		{"no more than wanted", fields{"queueOffset": "1", "maxMsgNums": "2"}, 0, "FOUND", pulled(3, 0, 5), []string{"1", "2"}},
		{"none wanted is one", fields{"maxMsgNums": "0"}, 0, "FOUND", pulled(1, 0, 5), []string{"0"}},
		{"one tag", fields{"subscription": "B"}, 0, "FOUND", pulled(5, 0, 5), []string{"1", "4"}},
		{"two tags", fields{"subscription": "A || B"}, 0, "FOUND", pulled(5, 0, 5), []string{"0", "1", "2", "4"}},
		{"no tag matches", fields{"subscription": "C"}, 20, "NO_MATCHED_MESSAGE", pulled(5, 0, 5), nil},
		{"only blank tags", fields{"subscription": " || "}, 20, "NO_MATCHED_MESSAGE", pulled(5, 0, 5), nil},
		{"at the end", fields{"queueOffset": "5"}, 19, "OFFSET_OVERFLOW_ONE", pulled(5, 0, 5), nil},
		{"beyond the end", fields{"queueOffset": "99"}, 21, "OFFSET_OVERFLOW_BADLY", pulled(5, 0, 5), nil},
		{"before the begin", fields{"queueOffset": "-5"}, 21, "OFFSET_TOO_SMALL", pulled(0, 0, 5), nil},
		{"empty queue from 0", fields{"queueId": "3"}, 19, "NO_MESSAGE_IN_QUEUE", pulled(0, 0, 0), nil},
		{"empty queue from 7", fields{"queueId": "3", "queueOffset": "7"}, 21, "NO_MESSAGE_IN_QUEUE", pulled(0, 0, 0), nil},
	} {
		for _, code := range []int32{codec.PullMessage, codec.LitePullMessage} {
			head := pullFields("G", "T", fields{"queueId": "1"}).with(tt.head)
			got := b.request(code, head, "")
			require.Equal(t, tt.want, got.Code, tt.name)
			require.Equal(t, tt.remark, got.Remark, tt.name)
			require.Equal(t, tt.fields, got.Fields, tt.name)
			require.Equal(t, tt.bodies, bodiesOf(t, got.Body), tt.name)
		}
	}
	require.Equal(t, int64(2*(5+2+1+2+4)), b.Stats().Gets.Load())
}

func TestPullFollowsTheHeartbeat(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.put("T", 0, "A", "a")
	b.put("T", 0, "B", "b")
	b.subscribe("G", "T", "B")
	got := b.request(codec.PullMessage, pullFields("G", "T", fields{"sysFlag": "0", "subscription": absent}), "")
	require.Equal(t, []string{"b"}, bodiesOf(t, got.Body))
}

func TestPullCommitsOffsetOnTheFirstPass(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	group, topic := []byte("G"), []byte("T")
	b.request(codec.PullMessage, pullFields("G", "T", fields{"commitOffset": "3"}), "")
	_, ok := b.offsets.Query(group, topic, 0)
	require.False(t, ok, "no commit bit")
	got := b.request(codec.PullMessage, pullFields("G", "T", fields{"commitOffset": "3", "sysFlag": "5", "queueOffset": "7"}), "")
	require.Equal(t, codec.PullOffsetMoved, got.Code)
	queueOffset, ok := b.offsets.Query(group, topic, 0)
	require.True(t, ok, "stored whatever was found")
	require.Equal(t, int64(3), queueOffset)
}

func TestPullHandsOutAPendingReset(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	for range 5 {
		b.put("T", 0, "", "x")
	}
	require.NoError(t, b.offsets.SetReset("G", "T", 0, 2))
	got := b.request(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "5"}), "")
	require.Equal(t, &answer{Code: codec.PullOffsetMoved, Remark: "OFFSET_RESET", Fields: pulled(2, 0, 5)}, got)
	got = b.request(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "2"}), "")
	require.Equal(t, codec.Success, got.Code, "once")

	require.NoError(t, b.offsets.SetReset("G", "T", 0, 1))
	b.set(func(s *Settings) { s.ServerSideReset = false })
	got = b.request(codec.PullMessage, pullFields("G", "T", nil), "")
	require.Equal(t, codec.Success, got.Code, "switched off")
}

func TestPullOfColdDataIsHandedOver(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.store.HotBytes = 1 })
	b.topicOf("T", 4)
	b.put("T", 0, "", "old")
	for range 40 {
		b.put("T", 1, "", "new")
	}
	frame := frameOf(codec.PullMessage, pullFields("G", "T", fields{"sysFlag": "5", "commitOffset": "9"}), "", 0)
	_, err := b.pull(b.requestOf(frame, true))
	require.ErrorIs(t, err, remoting.ErrHandOver)
	_, ok := b.offsets.Query([]byte("G"), []byte("T"), 0)
	require.False(t, ok, "no effect before the hand-over")
	require.Equal(t, []string{"old"}, bodiesOf(t, b.run(frame).Body))
}

// TestPullOfASlowReader: a client that leaves answers unread gets no more messages until it has read.
func TestPullOfASlowReader(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.put("T", 0, "", "one")
	b.put("T", 0, "", "two")
	b.conn.unread = true
	got := b.request(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "1"}), "")
	require.Equal(t, &answer{Code: codec.PullRetryImmediately, Remark: remarkUnread, Fields: pulled(1, 0, 2)}, got)
	b.conn.unread = false
	got = b.request(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "1"}), "")
	require.Equal(t, []string{"two"}, bodiesOf(t, got.Body))
}

// TestPullByAMemberWhilePullConsumersAreRejected: members of the group may pull, others may not.
func TestPullByAMemberWhilePullConsumersAreRejected(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.put("T", 0, "", "one")
	b.set(func(s *Settings) { s.RejectPullConsumer = true })
	b.subscribe("Push", "T", "*")
	b.subscribe("Pull", "T", "*", func(g *ConsumerGroup, _ *Subscription) { g.Type = codec.ConsumeActively })
	require.Equal(t, codec.Success, b.request(codec.PullMessage, pullFields("Push", "T", nil), "").Code)
	require.Equal(t, codec.SubscriptionNotExist, b.request(codec.PullMessage, pullFields("Pull", "T", nil), "").Code)
	b.clients.consumers["Pull"].members.byConn[b.conn] = &Client{Conn: b.conn}
	require.Equal(t, codec.Success, b.request(codec.PullMessage, pullFields("Pull", "T", nil), "").Code)
	require.Equal(t, codec.Success, b.request(codec.PullMessage, pullFields("TOOLS_CONSUMER", "T", nil), "").Code)
}
