package store

import (
	"sync"
	"time"
)

// TimerDelaySteps are the ends of the steps of TimerTopic.Delays. Apache: DefaultStoreMetricsManager.getMetricsView.
var TimerDelaySteps = [...]time.Duration{time.Minute, 10 * time.Minute, time.Hour, 12 * time.Hour, 24 * time.Hour, 72 * time.Hour}

// TimerBounds are the ends of the steps of Timer.Spread. Apache: TimerMetrics.timerDist.
var TimerBounds = [...]time.Duration{
	5 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour,
}

// TimerTopic is what the timer did for a topic since the start. Apache: DefaultStoreMetricsManager.
type TimerTopic struct {
	// Enqueued were taken out of the timer's queue, Dequeued were put to the topic or back into the queue.
	Enqueued, Dequeued int64
	// Delays are how many were to rest for how long from their birth on, by TimerDelaySteps and one more for longer ones; the
	// rests add up to DelaySum.
	Delays   [len(TimerDelaySteps) + 1]int64
	DelaySum time.Duration
}

// timerTopics counts by topic. Run counts, anyone reads.
type timerTopics struct {
	mu      sync.Mutex // guards byTopic
	byTopic map[string]*TimerTopic
}

// add lets fn change the counters of a topic.
func (c *timerTopics) add(topic []byte, fn func(*TimerTopic)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.byTopic[string(topic)]
	if count == nil {
		if len(c.byTopic) >= maxCountedTopics {
			return
		}
		if c.byTopic == nil {
			c.byTopic = make(map[string]*TimerTopic)
		}
		count = new(TimerTopic)
		c.byTopic[string(topic)] = count
	}
	fn(count)
}

func (c *timerTopics) remove(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byTopic, topic)
}

// countTaken counts a message that was taken in.
func (t *Timer) countTaken(m *timerMessage) {
	rest := time.Duration(max(m.outMs-m.BornTimestampMs, 0)/1000) * time.Second
	t.topics.add(m.realTopic, func(c *TimerTopic) {
		c.Enqueued++
		step := 0
		for step < len(TimerDelaySteps) && rest > TimerDelaySteps[step] {
			step++
		}
		c.Delays[step]++
		c.DelaySum += rest
	})
}

// countPut counts a message that was put to its topic, or back into the queue when rolled, and tells of the former.
func (t *Timer) countPut(m *timerMessage, put *PutResult, rolled bool) {
	t.topics.add(m.realTopic, func(c *TimerTopic) { c.Dequeued++ })
	if !rolled && t.opts.OnDeliver != nil {
		t.opts.OnDeliver(string(m.realTopic), put.EndOffset-put.PhysOffset)
	}
}

// EachTopic calls yield with the counters of every topic that had timer messages since the start.
func (t *Timer) EachTopic(yield func(topic string, c TimerTopic)) {
	t.topics.mu.Lock()
	all := make(map[string]TimerTopic, len(t.topics.byTopic))
	for topic, c := range t.topics.byTopic {
		all[topic] = *c
	}
	t.topics.mu.Unlock()
	for topic, c := range all {
		yield(topic, c)
	}
}

// Spread returns how many messages wait for which part of the time to come, by TimerBounds; those beyond are not counted.
func (t *Timer) Spread() (counts [len(TimerBounds)]int64) {
	now := t.wheel.unit(t.opts.Now().UnixMilli())
	_, err := t.wheel.each(func(s timerSlot) {
		away := time.Duration((s.unit-now)*t.precision) * time.Millisecond
		for i := range TimerBounds {
			if away >= 0 && away < TimerBounds[i] {
				counts[i] += int64(s.num)
				return
			}
		}
	})
	if err != nil {
		t.opts.Logger.Error("count what waits in the timer wheel", "error", err)
	}
	return counts
}

// OldestQueued returns when the oldest message was stored that waits to be taken in; false when all are.
func (t *Timer) OldestQueued() (storedAt time.Time, ok bool) {
	t.mu.Lock()
	queueOffset := t.state.QueueOffset
	t.mu.Unlock()
	physOffset, _, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, queueOffset)
	if !ok {
		return time.Time{}, false
	}
	record, err := t.store.MessageAt(physOffset)
	var m timerMessage
	if err != nil || m.parse(record) != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(m.StoreTimestampMs), true
}
