package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/require"
)

func TestReply(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"code 324": codeSendReply, "code 325": codeSendReplyV2} {
		t.Run("a reply is pushed to the client that asked, "+name, func(t *testing.T) {
			tg := onShared(t)
			id := unique("asker")
			pushed := make(chan *packet, 1)
			asker := connectAnswering(t, tg.Broker(), func(p *packet) *packet {
				pushed <- p
				return &packet{Code: resSuccess, Language: "JAVA", Version: 493}
			})
			asker.ok(t, codeHeartbeat, nil, heartbeat{clientID: id, producerGroup: unique("PG")}.body())
			topic := tg.ClusterName + "_REPLY_TOPIC"
			fields := sendFields(topic, 0, props("REPLY_TO_CLIENT", id, "CORRELATION_ID", "c-1", "MSG_TYPE", "reply", "TTL", "3000"))
			if code == codeSendReplyV2 {
				fields = shortened(fields)
			}
			replier := connect(t, tg.Broker())
			res := replier.ok(t, code, fields, []byte("the answer"))
			require.Equal(t, "0", res.Ext["queueId"])

			p := receive(t, pushed)
			require.Equal(t, codePushReply, p.Code)
			require.Equal(t, "the answer", string(p.Body))
			require.Equal(t, topic, p.Ext["topic"])
			require.Equal(t, replier.conn.LocalAddr().String(), p.Ext["bornHost"])
			require.Equal(t, tg.Broker(), p.Ext["storeHost"])
			properties := parseProps(p.Ext["properties"])
			require.Equal(t, "c-1", properties["CORRELATION_ID"])
			require.NotEmpty(t, properties["PUSH_REPLY_TIME"])
		})
	}

	t.Run("nobody to reply to", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		topic := tg.ClusterName + "_REPLY_TOPIC"
		fields := sendFields(topic, 0, props("REPLY_TO_CLIENT", "gone", "CORRELATION_ID", "c-2", "MSG_TYPE", "reply"))
		c.refused(t, resSystemError, "push reply message fail, channel of <gone> not found.", codeSendReply, fields, []byte("x"))
		c.refused(t, resSystemError, "reply message properties[REPLY_TO_CLIENT] is null", codeSendReply,
			sendFields(topic, 0, props("CORRELATION_ID", "c-3")), []byte("x"))
	})

	t.Run("request and reply with the Go client", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		replier := newProducer(t, tg)
		startPush(t, tg, group, topic, func(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, m := range msgs {
				reply, err := consumer.CreateReplyMessage(m, nil)
				if err != nil {
					return consumer.ConsumeRetryLater, err
				}
				reply.Body = []byte("re: " + string(m.Body))
				if _, err := replier.SendSync(context.Background(), reply); err != nil {
					return consumer.ConsumeRetryLater, err
				}
			}
			return consumer.ConsumeSuccess, nil
		})
		asker := newProducer(t, tg)
		for i := range 3 {
			res, err := asker.Request(context.Background(), 20*time.Second, message(topic, fmt.Sprint("question ", i)))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("re: question ", i), string(res.Body))
		}
	})
}
