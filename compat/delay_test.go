package compat

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

// TestDelayLevels sends with all 18 delay levels, of a broker whose levels are short, and with two that it does not have.
func TestDelayLevels(t *testing.T) {
	tg := onOwn(t, WithConf("messageDelayLevel", strings.TrimSpace(strings.Repeat("1s 2s 3s 4s 5s 6s ", 3))))
	t.Run("go", func(t *testing.T) { goDelayLevels(t, tg) })
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			needJava(t)
			requireJava(t, tg, version, "--scenario", "delay-all-levels")
		})
	}
}

func goDelayLevels(t *testing.T, tg *Target) {
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	p := newProducer(t, tg, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	var got inbox
	startPush(t, tg, group, topic, got.consume)
	var want []string
	for level := range 21 {
		msg := message(topic, fmt.Sprint(level, " ", nowMs())).WithDelayTimeLevel(level).WithTag("delayed")
		msg.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: tg.BrokerName, QueueId: level % 2}
		_, err := p.SendSync(context.Background(), msg)
		require.NoError(t, err)
		want = append(want, string(msg.Body))
	}
	got.awaitBodies(t, 2*time.Minute, want)
	for _, m := range got.all() {
		var level int
		var sent int64
		_, err := fmt.Sscan(string(m.Body), &level, &sent)
		require.NoError(t, err)
		seconds := 0
		if level > 0 {
			seconds = (min(level, 18)-1)%6 + 1
		}
		require.GreaterOrEqual(t, m.StoreTimestamp, sent+int64(seconds)*1000, "level %d", level)
		require.Equal(t, level%2, m.Queue.QueueId)
		require.Equal(t, topic, m.Topic)
		require.Equal(t, "delayed", m.GetTags())
	}
}
