package compat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	maxBodyBytes       = 4 << 20
	maxPropertiesBytes = 32767
)

func TestSend(t *testing.T) {
	t.Parallel()
	t.Run("code 10 and code 310 store the same record", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		fields := sendFields(topic, 0, props("TAGS", "A", "KEYS", "k"))
		long := c.ok(t, codeSendMessage, fields, []byte("same"))
		short := c.ok(t, codeSendMessageV2, shortened(fields), []byte("same"))
		for i, res := range []*packet{long, short} {
			require.Equal(t, int64(i), num(t, res, "queueOffset"))
			require.Equal(t, "0", res.Ext["queueId"])
			require.Len(t, res.Ext["msgId"], 32)
			require.Equal(t, "DefaultRegion", res.Ext["MSG_REGION"])
			require.Equal(t, "true", res.Ext["TRACE_ON"])
			require.NotEmpty(t, res.Ext["transactionId"])
		}
		all := readTopic(t, tg, topic, 1, 2)
		for _, r := range all {
			require.Equal(t, "A", r.Props["TAGS"])
			require.Equal(t, "k", r.Props["KEYS"])
			require.Equal(t, tg.ClusterName, r.Props["CLUSTER"])
		}
		require.Equal(t, long.Ext["transactionId"], all[0].Props["UNIQ_KEY"])
	})

	t.Run("the client's unique key is kept and answered", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		res := connect(t, tg.Broker()).ok(t, codeSendMessage, sendFields(topic, 0, props("UNIQ_KEY", "ABCDEF0123456789ABCDEF0123456789")), []byte("x"))
		require.Equal(t, "ABCDEF0123456789ABCDEF0123456789", res.Ext["transactionId"])
	})

	t.Run("a negative queue id lets the broker choose", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 4)
		c := connect(t, tg.Broker())
		seen := map[int64]bool{}
		for range 64 {
			res := c.ok(t, codeSendMessage, sendFields(topic, -1, ""), []byte("x"))
			seen[num(t, res, "queueId")] = true
		}
		require.Greater(t, len(seen), 1)
		for id := range seen {
			require.Less(t, id, int64(4))
			require.GreaterOrEqual(t, id, int64(0))
		}
	})

	t.Run("automatic creation takes the smaller queue number", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		for asked, want := range map[int]int{2: 2, 100: 8} {
			topic := unique("T")
			c.ok(t, codeSendMessage, with(sendFields(topic, 0, ""), "defaultTopicQueueNums", asked), []byte("x"))
			r := awaitRoute(t, tg, topic)
			require.Equal(t, want, r.QueueDatas[0].WriteQueueNums)
		}
	})

	t.Run("batch stores its entries one by one", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		body := batchBody(batchEntry{"one", props("TAGS", "A")}, batchEntry{"two", ""}, batchEntry{"three", props("KEYS", "k3")})
		res := c.ok(t, codeSendBatch, with(shortened(sendFields(topic, 0, "")), "m", true), body)
		require.Equal(t, int64(0), num(t, res, "queueOffset"))
		require.Len(t, strings.Split(res.Ext["msgId"], ","), 3)
		all := readTopic(t, tg, topic, 1, 3)
		require.Equal(t, []string{"one", "two", "three"}, bodies(all))
		require.Equal(t, "A", all[0].Props["TAGS"])
		require.Equal(t, "k3", all[2].Props["KEYS"])
	})

	t.Run("a response says who answers", func(t *testing.T) {
		tg := onShared(t)
		for _, addr := range []string{tg.Broker(), tg.VIP(), tg.Namesrv()} {
			res := connect(t, addr).must(t, codeUnknown, nil, nil)
			require.Equal(t, "JAVA", res.Language)
			require.GreaterOrEqual(t, res.Version, 479) // clients take less for a broker that cannot filter
			require.Equal(t, flagResponse, res.Flag)
		}
	})

	t.Run("a binary header is understood", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		res, err := c.callPacket(&packet{
			Code: codeSendMessageV2, Codec: codecRocketMQ, Language: "JAVA", Version: 493,
			Ext: shortened(sendFields(topic, 0, props("TAGS", "A"))), Body: []byte("binary"),
		}, callTimeout)
		require.NoError(t, err)
		require.Equal(t, resSuccess, res.Code, res.Remark)
		require.Equal(t, []string{"binary"}, bodies(readTopic(t, tg, topic, 1, 1)))
	})
}

func TestSendRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	cases := []struct {
		name   string
		change []any
		body   string
		code   int
		remark string
	}{
		{"blank topic", []any{"topic", ""}, "x", resInvalidParameter, "The specified topic is blank."},
		{"illegal character", []any{"topic", "no/slash"}, "x", resInvalidParameter, "The specified topic: no/slash, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"},
		{"topic of 128 characters", []any{"topic", long[:128]}, "x", resInvalidParameter, "The specified topic: " + long[:128] + ", is longer than topic max length: 127"},
		{"queue id beyond the end", []any{"queueId", 4}, "x", resInvalidParameter, "request queueId[4] is illegal"},
		{"body of more than 4 MiB", nil, strings.Repeat("b", maxBodyBytes+1), resMessageIllegal, "the message is illegal"},
		{"properties of more than 32 KiB", []any{"properties", props("fat", strings.Repeat("p", maxPropertiesBytes))}, "x", resMessageIllegal, "the message is illegal"},
		{"no body", nil, "", resSystemError, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tg := onShared(t)
			topic := newTopic(t, tg, 4)
			c := connect(t, tg.Broker())
			fields := with(sendFields(topic, 0, ""), tc.change...)
			c.refused(t, tc.code, tc.remark, codeSendMessage, fields, []byte(tc.body))
			c.refused(t, tc.code, tc.remark, codeSendMessageV2, shortened(fields), []byte(tc.body))
			require.Equal(t, int64(0), put(t, c, topic, 0, "the connection still serves", ""))
		})
	}

	for _, system := range []string{"SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC",
		"TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT"} {
		t.Run("system topic "+system, func(t *testing.T) {
			tg := onShared(t)
			c := connect(t, tg.Broker())
			c.refused(t, resNoPermission, "Sending message to topic["+system+"] is forbidden.", codeSendMessage,
				sendFields(system, 0, ""), []byte("x"))
		})
	}
}

func TestSendLimits(t *testing.T) {
	t.Parallel()
	t.Run("a body of exactly 4 MiB is stored", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		body := strings.Repeat("m", maxBodyBytes)
		put(t, connect(t, tg.Broker()), topic, 0, body, "")
		require.Equal(t, body, string(readTopic(t, tg, topic, 1, 1)[0].Body))
	})

	t.Run("a topic of 127 characters is stored", func(t *testing.T) {
		tg := onShared(t)
		topic := unique("T") + "_"
		topic += strings.Repeat("x", 127-len(topic))
		put(t, connect(t, tg.Broker()), topic, 0, "x", "")
		require.Equal(t, topic, readTopic(t, tg, topic, 1, 1)[0].Topic)
	})

	t.Run("a retry topic may have 255 characters", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		topic := "%RETRY%" + strings.Repeat("x", 255-len("%RETRY%"))
		c.refused(t, resGroupNotExist, "subscription group not exist, x", codeSendMessage, sendFields(topic, 0, ""), []byte("x"))
		c.refused(t, resInvalidParameter, "The specified topic is DLQ or Retry topic: %RETRY%x", codeSendMessage, sendFields(topic+"x", 0, ""), []byte("x"))
	})

	t.Run("properties up to 32 KiB are stored", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		fat := strings.Repeat("p", 32000)
		put(t, connect(t, tg.Broker()), topic, 0, "x", props("fat", fat))
		require.Equal(t, fat, readTopic(t, tg, topic, 1, 1)[0].Props["fat"])
	})
}

func TestSendBatchRefused(t *testing.T) {
	t.Parallel()
	good := batchEntry{"good", ""}.encode()
	cases := []struct {
		name  string
		topic string
		body  []byte
		code  int
	}{
		{"entry longer than the body", "", append(append([]byte{}, good...), 0, 0, 16, 0, 0, 0, 0, 0), resSystemError},
		{"negative size", "", []byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0}, resSystemError},
		{"size of zero", "", make([]byte, 64), resSystemError},
		{"inner body longer than its entry", "", lyingEntry(), resSystemError},
		{"more than 4 MiB in all", "", batchOf(64<<10, 65), resSystemError},
		{"retry topic", "%RETRY%G_compat_batch", good, resMessageIllegal},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tg := onShared(t)
			topic := newTopic(t, tg, 1)
			target := topic
			if tc.topic != "" {
				target = tc.topic
			}
			c := connect(t, tg.Broker())
			res := c.must(t, codeSendBatch, with(shortened(sendFields(target, 0, "")), "m", true), tc.body)
			require.Equal(t, tc.code, res.Code, res.Remark)
			put(t, c, topic, 0, "the connection still serves", "")
		})
	}
}

// lyingEntry is a batch entry whose body claims to be longer than the entry.
func lyingEntry() []byte {
	b := batchEntry{"short", ""}.encode()
	b[16+3] = 200
	return b
}

// batchOf is a batch of n entries of size bytes each.
func batchOf(sizeBytes, n int) []byte {
	var b []byte
	for range n {
		b = append(b, batchEntry{strings.Repeat("b", sizeBytes), ""}.encode()...)
	}
	return b
}
