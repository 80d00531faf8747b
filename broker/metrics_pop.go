package broker

import (
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/store"
)

// What Java says of how a put ended. Apache: PutMessageStatus.
const (
	putOK      = "PUT_OK"
	putRefused = "SERVICE_NOT_AVAILABLE"
)

// pop shows the deliveries in flight. Java merges checkpoints and acks in a buffer, which is what its names speak of; here the buffer
// is what is pending, and a record counts as read from the revive topic when it is done with. Apache: PopMetricsManager.
func (m *metrics) pop(s series) {
	pop := m.b.pop
	ends := make([]float64, len(store.PopTickSteps))
	for i, end := range store.PopTickSteps {
		ends[i] = float64(end.Milliseconds())
	}
	counts, sum := pop.TickTimes()
	s.histogram("rocketmq_pop_buffer_scan_time_consume_milliseconds", float64(sum)/float64(time.Millisecond), ends, counts[:])
	s.gauge("rocketmq_pop_offset_buffer_size", float64(pop.UncommittedCursors()))
	s.gauge("rocketmq_pop_checkpoint_buffer_size", float64(pop.Checkpoints()))
	for _, q := range pop.ReviveQueues(time.Now()) {
		id := strconv.Itoa(int(q.ID))
		s.gauge("rocketmq_pop_revive_lag_milliseconds", float64(q.Behind), id)
		s.gauge("rocketmq_pop_revive_latency_milliseconds", float64(q.Late.Milliseconds()), id)
	}
	shown := 0
	pop.EachCount(func(topic, group string, c store.PopCounts) bool {
		m.popGroup(s, topic, group, &c)
		shown++
		return shown < maxQueueSeries
	})
}

func (m *metrics) popGroup(s series, topic, group string, c *store.PopCounts) {
	id := strconv.Itoa(int(c.ReviveQueueID))
	for _, n := range [...]struct {
		kind               string
		put, refused, done int64
	}{{"CK", c.Checkpoints, c.CheckpointsRefused, c.CheckpointsDone}, {"ACK", c.Acks, c.AcksRefused, c.AcksDone}} {
		if n.put > 0 {
			s.counter("rocketmq_pop_revive_in_message_total", n.put, group, topic, n.kind, putOK)
		}
		if n.refused > 0 {
			s.counter("rocketmq_pop_revive_in_message_total", n.refused, group, topic, n.kind, putRefused)
		}
		if n.done > 0 {
			s.counter("rocketmq_pop_revive_out_message_total", n.done, group, topic, id, n.kind)
		}
	}
	if c.Revived > 0 {
		s.counter("rocketmq_pop_revive_retry_messages_total", c.Revived, group, topic, putOK)
	}
	if c.ReviveRefused > 0 {
		s.counter("rocketmq_pop_revive_retry_messages_total", c.ReviveRefused, group, topic, putRefused)
	}
}
