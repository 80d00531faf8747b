package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// deliverDue delivers what is due, at most a slice; more says that there is more. Messages go in the order of their moments,
// so that one which cannot be put holds up the others and everything before readMs is done. Apache:
// TimerMessageStore.dequeue.
func (t *Timer) deliverDue(ctx context.Context, nowMs int64) (more bool, err error) {
	if err := t.load(); err != nil {
		return false, err
	}
	t.advance()
	for range timerSlice {
		if len(t.near) == 0 || t.near[0].dueMs > nowMs {
			return t.behind(), nil
		}
		if ctx.Err() != nil {
			return false, nil
		}
		n := t.near[0]
		if t.slotOf(&n) > t.readMs {
			t.advance()
		}
		if err := t.deliver(&n, nowMs); err != nil {
			return false, err
		}
		t.near.pop()
		t.advance()
	}
	return true, nil
}

// behind reports whether slots whose time is over are not read yet.
func (t *Timer) behind() bool {
	n := len(t.loaded)
	return t.loadedMs < t.writeMs || n > 0 && t.loaded[n-1].partial && len(t.near) == 0
}

// advance moves readMs over the slots that are over and done.
func (t *Timer) advance() {
	to := min(t.writeMs, t.loadedMs)
	for len(t.loaded) > 0 {
		s := t.loaded[0]
		if s.ms >= t.writeMs || s.partial || len(t.near) > 0 && t.slotOf(&t.near[0]) <= s.ms {
			to = min(to, s.ms)
			break
		}
		t.loaded[0] = nil
		t.loaded = t.loaded[1:]
		t.moved.Store(true)
	}
	if len(t.sent) > 0 && t.readMs > t.sentMs && t.queueOffset >= t.sentQueued {
		t.sent = nil
	}
	if to > t.readMs {
		t.readMs = to
		if len(t.sent) == 0 { // as long as it is needed another start needs it too
			t.readFrom = t.store.Written()
		}
	}
	t.answerCheck()
}

// deliver does what a message in memory is due for. What can never be delivered is logged and passed over: nil. Apache:
// TimerMessageStore.doPut.
func (t *Timer) deliver(n *nearTimer, nowMs int64) error {
	s := t.nearSlot(t.slotOf(n))
	err := t.withMessage(n.physOffset, func(m *timerMessage) error {
		switch {
		case m.TotalSizeBytes != n.size || string(m.Topic) != TopicWheelTimer,
			n.magic&timerMagicRoll == 0 && t.wheel.floor(m.outMs) != s.ms:
			return fmt.Errorf("%w: at %d lies another message by now", ErrNotFound, n.physOffset)
		case n.magic&timerMagicRoll != 0:
			return t.roll(m, n)
		case m.deleteKey != nil:
			return nil
		case t.recalledBy(s, m):
			t.stats.Recalled.Add(1)
			return nil
		}
		if err := t.put(m, m.realTopic, n.writeMs, ""); err != nil {
			return err
		}
		t.metrics.add(m.realTopic, -1, nowMs)
		t.stats.Delivered.Add(1)
		late := t.opts.Now().UnixMilli() - n.dueMs
		for old := t.stats.LateMaxMs.Load(); late > old && !t.stats.LateMaxMs.CompareAndSwap(old, late); {
			old = t.stats.LateMaxMs.Load()
		}
		return nil
	})
	if err != nil && isFinalError(err) {
		t.stats.Dropped.Add(1)
		t.opts.Logger.Error("timer message cannot be delivered, dropped", "physOffset", n.physOffset, "slot", s.ms, "error", err)
		err = nil
	}
	if err == nil {
		s.delivered = true
	}
	return err
}

// isFinalError reports whether a message can never be put.
func isFinalError(err error) bool {
	return ignoreMissing(err) == nil || errors.Is(err, ErrMessageTooLarge)
}

// roll puts a message back into the queue, since its time is further off than the wheel reaches.
func (t *Timer) roll(m *timerMessage, n *nearTimer) error {
	if err := t.put(m, m.Topic, n.writeMs, m.rounds()); err != nil {
		return err
	}
	t.metrics.add(m.realTopic, -weight(n.magic), t.opts.Now().UnixMilli())
	t.stats.Rolled.Add(1)
	return nil
}

// deliverLate delivers a message that came when its slot was over. One that takes back came too late.
func (t *Timer) deliverLate(m *timerMessage) error {
	if m.deleteKey != nil {
		return nil
	}
	err := t.put(m, m.realTopic, math.MaxInt64, "")
	if err == nil {
		t.stats.Expired.Add(1)
		t.countTaken(m)
	}
	return err
}

// put puts a message to its topic, or back to the queue of the timer when rounds is not empty. Its properties stay as they
// are, but for when it was taken in and put out. Apache: TimerMessageStore.convert, convertMessage.
func (t *Timer) put(m *timerMessage, topic []byte, enqueueMs int64, rounds string) error {
	if len(t.sent) > 0 {
		k := t.sentKey(topic, m, rounds)
		if count := t.sent[k]; count > 0 && len(m.uniqKey) > 0 {
			if t.sent[k]--; count == 1 {
				delete(t.sent, k)
			}
			t.stats.Repeated.Add(1)
			return nil
		}
	}
	if err := m.CheckBody(); err != nil {
		return fmt.Errorf("%w: message at %d: %w", ErrCorrupt, m.PhysOffset, err)
	}
	queueID := int64(m.QueueID)
	if rounds == "" {
		var err error
		if queueID, err = strconv.ParseInt(string(m.realQueue), 10, 32); err != nil {
			return fmt.Errorf("%w: waits for queue %q of topic %q", ErrIllegal, m.realQueue, topic)
		}
	}
	out := &Message{
		Topic: string(topic), QueueID: int32(queueID), Flag: m.Flag, SysFlag: m.SysFlag, ReconsumeTimes: m.ReconsumeTimes,
		BornTimestampMs: m.BornTimestampMs, BornHost: m.BornHost, Body: m.Body, Properties: t.putProperties(m, enqueueMs, rounds),
		TagsCode: codec.TagsCode(m.tags),
	}
	var put PutResult
	if err := t.store.PutWait(out, &put); err != nil {
		return err
	}
	t.countPut(m, &put, rounds != "")
	return nil
}

// putProperties returns the properties that a message is put with. It may be used until the next call. Where the marks of
// the timer make them too long they are left out rather than the message.
func (t *Timer) putProperties(m *timerMessage, enqueueMs int64, rounds string) []byte {
	marks := []string{codec.PropTimerEnqueueMs, codec.PropTimerDequeueMs, codec.PropTimerRollTimes}
	if rounds == "" {
		marks = marks[:2]
	}
	text := codec.AppendPropertiesWithout(t.text[:0], m.Properties, marks...)
	number := func(key string, n int64) {
		t.digits = strconv.AppendInt(t.digits[:0], n, 10)
		text = codec.AppendPropertyBytes(text, key, t.digits)
	}
	number(codec.PropTimerEnqueueMs, enqueueMs)
	if rounds != "" {
		text = codec.AppendProperty(text, codec.PropTimerRollTimes, rounds)
	}
	number(codec.PropTimerDequeueMs, t.opts.Now().UnixMilli())
	if t.text = text; len(text) > codec.MaxPropertiesBytes {
		return m.Properties
	}
	return text
}
