package processor

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

func backFields(group string, physOffset int64, more fields) fields {
	return fields{
		"group": group, "offset": strconv.FormatInt(physOffset, 10), "delayLevel": "0", "originTopic": "T", "originMsgId": "x",
		"unitMode": "false", "maxReconsumeTimes": "16",
	}.with(more)
}

func TestSendBackRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		head   fields
		change func(*rig)
		want   int32
		remark string
	}{
		{name: "no offset", head: backFields("G", 0, fields{"offset": absent}), want: 1, remark: "the request has no offset"},
		{name: "no level", head: backFields("G", 0, fields{"delayLevel": absent}), want: 1, remark: "the request has no delayLevel"},
		{name: "unknown group", head: backFields("bad group", 0, nil), want: 26,
			remark: "subscription group not exist, bad group \nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."},
		{name: "broker not writable", head: backFields("G", 0, nil),
			change: func(b *rig) { b.set(func(s *Settings) { s.Permission = codec.PermRead }) },
			want:   16, remark: "the broker[127.0.0.2] sending message is forbidden"},
		{name: "retry topic not writable", head: backFields("G", 0, nil),
			change: func(b *rig) {
				b.topicOf("%RETRY%G", 1, func(c *codec.TopicConfig) { c.Perm = codec.PermRead })
			},
			want: 16, remark: "the topic[%RETRY%G] sending message is forbidden"},
		{name: "no message there", head: backFields("G", 99999, nil), want: 1, remark: "look message by offset failed, 99999"},
		{name: "inside a message", head: backFields("G", 7, nil), want: 1, remark: "look message by offset failed, 7"},
		{name: "negative offset", head: backFields("G", -1, nil), want: 1, remark: "look message by offset failed, -1"},
		{name: "group without retries loses it", head: backFields("None", 0, nil),
			change: func(b *rig) { b.groupOf("None", func(c *codec.SubscriptionGroupConfig) { c.RetryQueueNums = 0 }) },
			want:   0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRig(t)
			b.put("T", 0, "TagA", "body")
			before := b.store.Written()
			if tt.change != nil {
				tt.change(b)
			}
			got := b.request(codec.ConsumerSendMsgBack, tt.head, "")
			require.Equal(t, &answer{Code: tt.want, Remark: tt.remark, Fields: fields{}}, got)
			require.Equal(t, before, b.store.Written())
		})
	}
}

func TestSendBackRetriesThenGivesUp(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	first := b.put("T", 2, "TagA", "body")
	firstID := string(codec.AppendOffsetMsgID(nil, testHost, first.PhysOffset))

	// The first failure: level 3 + 0.
	from := b.store.Written()
	require.Equal(t, &answer{Fields: fields{}}, b.request(codec.ConsumerSendMsgBack, backFields("G", first.PhysOffset, nil), ""))
	m := b.stored(from)
	require.Equal(t, store.TopicSchedule, string(m.Topic))
	require.Equal(t, int32(2), m.QueueID)
	require.Equal(t, int32(1), m.ReconsumeTimes)
	require.Equal(t, "body", string(m.Body))
	want := map[string]string{
		"TAGS": "TagA", "RETRY_TOPIC": "T", "ORIGIN_MESSAGE_ID": firstID, "WAIT": "false", "DELAY": "3", "REAL_TOPIC": "%RETRY%G", "REAL_QID": "0",
	}
	require.Equal(t, want, propMap(m.Properties))
	topic, ok := b.topics.Get("%RETRY%G")
	require.True(t, ok)
	require.Equal(t, int32(1), topic.ReadQueueNums)
	_, ok = b.groups.Get("G")
	require.True(t, ok)

	// A level of the client's choice; the first topic and id stay.
	from = b.store.Written()
	require.Equal(t, int32(0), b.request(codec.ConsumerSendMsgBack, backFields("G", m.PhysOffset, fields{"delayLevel": "5"}), "").Code)
	m = b.stored(from)
	want["DELAY"] = "5"
	require.Equal(t, want, propMap(m.Properties))
	require.Equal(t, int32(2), m.ReconsumeTimes)
	require.Equal(t, int32(4), m.QueueID)

	// Too often.
	from = b.store.Written()
	require.Equal(t, int32(0), b.request(codec.ConsumerSendMsgBack, backFields("G", m.PhysOffset, fields{"maxReconsumeTimes": "2"}), "").Code)
	m = b.stored(from)
	want["DELAY"] = "0"
	require.Equal(t, "%DLQ%G", string(m.Topic))
	require.Equal(t, want, propMap(m.Properties))
	require.Equal(t, int32(3), m.ReconsumeTimes)
	b.dispatched()
	_, _, tagsCode, ok := b.store.QueueEntry("%DLQ%G", 0, 0)
	require.True(t, ok)
	require.Equal(t, codec.TagsCode([]byte("TagA")), tagsCode)

	// A negative level goes there at once.
	from = b.store.Written()
	require.Equal(t, int32(0), b.request(codec.ConsumerSendMsgBack, backFields("G", first.PhysOffset, fields{"delayLevel": "-1"}), "").Code)
	require.Equal(t, "%DLQ%G", string(b.stored(from).Topic))
}

func TestSendBackStoreClosed(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.groupOf("G")
	b.topicOf("%RETRY%G", 1)
	r := b.put("T", 0, "", "body")
	b.close()
	got := b.request(codec.ConsumerSendMsgBack, backFields("G", r.PhysOffset, nil), "")
	require.Equal(t, int32(1), got.Code)
}
