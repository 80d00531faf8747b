package store

import (
	"fmt"
	"math"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// timerMessage is a message of rmq_sys_wheel_timer. The slices alias the record.
type timerMessage struct {
	codec.Message
	outMs             int64 // the slot that it waits for
	realTopic         []byte
	realQueue         []byte
	tags, uniqKey     []byte
	deleteKey         []byte // what it takes back, nil for a message to be delivered
	rollTimes         []byte
	delaySec, delayMs []byte
	deliverMs         []byte
	dequeueMs         []byte // nil for one that was not delivered or rolled
}

// parse reads a record. The error is ErrCorrupt for bytes that are no message, ErrIllegal for a message that does not
// belong into the timer's queue.
func (m *timerMessage) parse(record []byte) error {
	*m = timerMessage{}
	if _, err := codec.DecodeMessage(record, &m.Message); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m.parseProperties()
}

func (m *timerMessage) parseProperties() error {
	var out []byte
	for it := codec.NewPropertyIter(m.Properties); it.Next(); {
		switch string(it.Key) {
		case codec.PropTimerOutMs:
			out = it.Value
		case codec.PropRealTopic:
			m.realTopic = it.Value
		case codec.PropRealQueueID:
			m.realQueue = it.Value
		case codec.PropTags:
			m.tags = it.Value
		case codec.PropUniqKey:
			m.uniqKey = it.Value
		case codec.PropTimerDelUniqKey:
			m.deleteKey = it.Value
		case codec.PropTimerRollTimes:
			m.rollTimes = it.Value
		case codec.PropTimerDelaySeconds:
			m.delaySec = it.Value
		case codec.PropTimerDelayMs:
			m.delayMs = it.Value
		case codec.PropTimerDeliverMs:
			m.deliverMs = it.Value
		case codec.PropTimerDequeueMs:
			m.dequeueMs = it.Value
		}
	}
	outMs, err := strconv.ParseInt(string(out), 10, 64)
	if err != nil || outMs < 0 || len(m.realTopic) == 0 {
		return fmt.Errorf("%w: waits until %q for topic %q", ErrIllegal, out, m.realTopic)
	}
	m.outMs = outMs
	return nil
}

// dueMs returns the moment that was asked for: within the slot of the message, whose end it is at the latest. A delay
// counts from when the message was stored. Of a message that went through the queue again that time is lost, and the
// sender's clock stands for it.
func (m *timerMessage) dueMs(precision int64) int64 {
	end := m.outMs + precision
	since, text, unit := m.StoreTimestampMs, m.delayMs, int64(1)
	if m.rollTimes != nil {
		since = m.BornTimestampMs
	}
	switch {
	case m.delaySec != nil:
		text, unit = m.delaySec, 1000
	case m.delayMs == nil:
		text, since = m.deliverMs, 0
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit-since {
		return end
	}
	if due := since + n*unit; due > m.outMs && due <= end {
		return due
	}
	return end
}

// topicHash is the hash of the real topic in a timer log record. Apache: TimerMessageStore.hashTopicForMetrics.
func (m *timerMessage) topicHash() int32 { return timerTopicHash(m.realTopic) }

func timerTopicHash(topic []byte) int32 { return int32(codec.TagsCode(topic)) }

// timerKey tells messages apart by a hash.
type timerKey [2]uint64

// key hashes parts with a mark between them.
func (t *Timer) key(parts ...[]byte) (k timerKey) {
	for i := range k {
		h := &t.hashes[i]
		h.Reset()
		for _, part := range parts {
			h.Write(part)
			h.WriteByte(0)
		}
		k[i] = h.Sum64()
	}
	return k
}

// sentKey tells deliveries apart: to which topic, of which message, for which time and in which round.
func (t *Timer) sentKey(topic []byte, m *timerMessage, rounds string) timerKey {
	if m.deleteKey != nil { // it has the key of what it takes back
		rounds += "-"
	}
	t.digits = strconv.AppendInt(t.digits[:0], m.outMs, 10)
	return t.key(topic, m.uniqKey, t.digits, []byte(rounds))
}

// rounds is TIMER_ROLL_TIMES after one more.
func (m *timerMessage) rounds() string {
	n, err := strconv.ParseInt(string(m.rollTimes), 10, 32)
	if err != nil {
		n = 0
	}
	return strconv.FormatInt(n+1, 10)
}
