package compat

import (
	"context"
	"fmt"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/require"
)

// TestGoTimer sends timer messages with the official Go client, which has no methods for them, and consumes them with it.
func TestGoTimer(t *testing.T) {
	tg := onShared(t)
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	p := newProducer(t, tg)
	now := nowMs()
	due := map[string]int64{}
	for _, m := range []struct {
		property string
		value    int64
		restMs   int64
	}{
		{primitive.PropertyDelayTimeLevel, 1, 1000},
		{"TIMER_DELIVER_MS", now + 2345, 2345},
		{"TIMER_DELAY_MS", 1500, 1500},
		{"TIMER_DELAY_SEC", 3, 3000},
	} {
		msg := message(topic, m.property)
		msg.WithProperty(m.property, fmt.Sprint(m.value))
		_, err := p.SendSync(context.Background(), msg)
		require.NoError(t, err)
		due[m.property] = now + m.restMs
	}
	var got inbox
	startPush(t, tg, group, topic, got.consume)
	var want []string
	for body := range due {
		want = append(want, body)
	}
	got.awaitBodies(t, timerDelivery, want)
	for _, m := range got.all() {
		// What is stored within the millisecond asked for is in time.
		require.GreaterOrEqual(t, m.StoreTimestamp, due[string(m.Body)]-1, string(m.Body))
		require.Equal(t, topic, m.Topic)
	}
}

// TestJavaTimerRecall needs a broker that lets messages be taken back.
func TestJavaTimerRecall(t *testing.T) {
	needJava(t)
	tg := onOwn(t, WithConf("recallMessageEnable", "true"))
	requireJava(t, tg, javaVersions[0], "--scenario", "timer-recall")
}
