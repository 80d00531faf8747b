package compat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

// TestTrace has Go clients trace into the topic that is for it and into one of their own, and both mqadmins tell who sent and who
// consumed the message.
func TestTrace(t *testing.T) {
	needJava(t)
	tg := onOwn(t, WithConf("traceTopicEnable", "true"))
	tool, cli := startMqadmin(t, tg), newAdminCLI(t, tg)
	for _, traceTopic := range []string{"RMQ_SYS_TRACE_TOPIC", newTopic(t, tg, 1)} {
		topic, group, sender := newTopic(t, tg, 1), newGroup(t, tg), unique("PG")
		cfg := func() *primitive.TraceConfig {
			return &primitive.TraceConfig{TraceTopic: traceTopic, GroupName: unique("TG"), Access: primitive.Local, NamesrvAddrs: []string{tg.Namesrv()}}
		}
		in := new(inbox)
		startPush(t, tg, group, topic, in.consume, consumer.WithTrace(cfg()))
		p := newProducer(t, tg, producer.WithGroupName(sender), producer.WithTrace(cfg()))
		sent, err := p.SendSync(context.Background(), message(topic, "traced"))
		require.NoError(t, err)
		in.awaitDistinct(t, 30*time.Second, []string{"traced"})
		line := "queryMsgTraceById -n " + tg.Namesrv() + " -i " + sent.MsgID + " -t " + traceTopic
		eventually(t, 60*time.Second, func() error {
			theirs, err := tool.run(strings.Fields(line)...)
			require.NoError(t, err)
			ours, said, exit := cli.run(t, line)
			switch want := []string{"Pub " + sender, "Sub " + group}; {
			case exit != 0:
				return errors.New(said)
			case !strings.Contains(words(theirs), want[0]) || !strings.Contains(words(theirs), want[1]):
				return fmt.Errorf("%q are not in %s", want, theirs)
			case words(ours) != words(theirs):
				return fmt.Errorf("ours: %s\nApache's: %s", ours, theirs)
			}
			return nil
		})
	}
}

// words is a text without what keeps its words apart.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
