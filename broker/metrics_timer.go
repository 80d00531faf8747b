package broker

import (
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/store"
)

// timer shows how timer messages are doing, unless timerWheelEnable=false. The latency of deliveries is in seconds, whatever
// Java's name for it says. Apache: DefaultStoreMetricsManager.init.
func (m *metrics) timer(s series) {
	t := m.b.timer
	if t == nil {
		return
	}
	st, queued := t.Status(), time.Duration(0)
	if at, ok := t.OldestQueued(); ok {
		queued = max(time.Since(at), 0)
	}
	s.gauge("rocketmq_timer_enqueue_lag", float64(st.OffsetBehind), "local", "disk")
	s.gauge("rocketmq_timer_enqueue_latency_milliseconds", float64(queued.Milliseconds()), "local", "disk")
	s.gauge("rocketmq_timer_dequeue_lag", float64(st.Waiting), "local", "disk")
	s.gauge("rocketmq_timer_dequeue_latency_milliseconds", float64(st.SecondsBehind()), "local", "disk")
	for i, count := range t.Spread() {
		bound := strconv.FormatInt(int64(store.TimerBounds[i].Seconds()), 10)
		s.gauge("rocketmq_timer_message_snapshot", float64(count), "local", "disk", bound)
	}
	for topic, count := range t.Metrics().TimingCount {
		s.gauge("rocketmq_timing_messages", float64(count.Count), "local", "disk", topic)
	}
	ends := make([]float64, len(store.TimerDelaySteps))
	for i, end := range store.TimerDelaySteps {
		ends[i] = end.Seconds()
	}
	t.EachTopic(func(topic string, c store.TimerTopic) {
		s.counter("rocketmq_timer_enqueue_total", c.Enqueued, "local", "disk", topic)
		s.counter("rocketmq_timer_dequeue_total", c.Dequeued, "local", "disk", topic)
		s.histogram("rocketmq_delay_message_latency_seconds", c.DelaySum.Seconds(), ends, c.Delays[:], "local", "disk", topic)
	})
}
