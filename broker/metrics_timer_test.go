package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// sendWith sends a message with properties.
func sendWith(t *testing.T, b *Broker, topic string, pairs ...string) {
	t.Helper()
	var props []byte
	for i := 0; i < len(pairs); i += 2 {
		props = codec.AppendProperty(props, pairs[i], pairs[i+1])
	}
	require.Equal(t, codec.Success, sendProperties(t, b, topic, "body", string(props)).Code)
}

func TestMetricsOfTimersAndDelayLevels(t *testing.T) {
	t.Parallel()
	b := openMetrics(t, func(c *Config) { c.MessageDelayLevel = "1s 2h" })
	now := time.Now().UnixMilli()
	sendWith(t, b, "Timed", codec.PropTimerDelayMs, "1")
	sendWith(t, b, "Timed", codec.PropTimerDelaySeconds, "200")
	sendWith(t, b, "Timed", codec.PropTimerDeliverMs, fmt.Sprint(now+30*3_600_000))
	sendWith(t, b, "Delayed", codec.PropDelay, "1")
	const always = `cluster="DefaultCluster",`
	const node = `node_id="broker-t",node_type="broker",`
	want := []string{
		`rocketmq_messages_in_total{` + always + `is_system="false",message_type="delay",` + node + `topic="Delayed"} 1`,
		`rocketmq_messages_in_total{` + always + `is_system="true",message_type="delay",` + node + `topic="SCHEDULE_TOPIC_XXXX"} 1`,
		`rocketmq_messages_in_total{` + always + `is_system="true",message_type="delay",` + node + `topic="rmq_sys_wheel_timer"} 3`,
		`rocketmq_messages_out_total{` + always + `consumer_group="SCHEDULE_CONSUMER",is_system="true",` + node + `topic="SCHEDULE_TOPIC_XXXX"} 1`,
		`rocketmq_timer_enqueue_total{` + always + node + `storage_medium="disk",storage_type="local",topic="Timed"} 3`,
		`rocketmq_timer_dequeue_total{` + always + node + `storage_medium="disk",storage_type="local",topic="Timed"} 1`,
		`rocketmq_timing_messages{` + always + node + `storage_medium="disk",storage_type="local",topic="Timed"} 2`,
		`rocketmq_timer_enqueue_lag{` + always + node + `storage_medium="disk",storage_type="local"} 0`,
		`rocketmq_timer_dequeue_lag{` + always + node + `storage_medium="disk",storage_type="local"} 2`,
		`rocketmq_timer_message_snapshot{` + always + node + `storage_medium="disk",storage_type="local",timer_bound_s="300"} 1`,
		`rocketmq_timer_message_snapshot{` + always + node + `storage_medium="disk",storage_type="local",timer_bound_s="86400"} 0`,
		`rocketmq_delay_message_latency_seconds_bucket{` + always + node + `storage_medium="disk",storage_type="local",topic="Timed",le="60"} 1`,
		`rocketmq_delay_message_latency_seconds_bucket{` + always + node + `storage_medium="disk",storage_type="local",topic="Timed",le="86400"} 2`,
		`rocketmq_delay_message_latency_seconds_count{` + always + node + `storage_medium="disk",storage_type="local",topic="Timed"} 3`,
	}
	var text string
	lacks := func(line string) bool { return !strings.Contains(text, line) }
	for end := time.Now().Add(30 * time.Second); slices.ContainsFunc(want, lacks) && time.Now().Before(end); {
		_, text = b.get(t, "/metrics")
	}
	require.Empty(t, slices.DeleteFunc(want, func(line string) bool { return !lacks(line) }), "not among the metrics")
	require.NotContains(t, text, `message_type="delay",`+node+`topic="Timed"`, "a timer's delivery counts for its topic alone")
}
