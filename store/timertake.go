package store

import (
	"context"
	"errors"
	"fmt"
)

// takeIn puts what is new in rmq_sys_wheel_timer into timer log and wheel. more says that there is more to take in. What
// is late already is delivered at once. Apache: TimerMessageStore.enqueue, doEnqueue.
func (t *Timer) takeIn(ctx context.Context) (more bool, err error) {
	if err := t.commit(); err != nil || t.stopEnqueue.Load() {
		return false, err
	}
	end := t.store.MaxQueueOffset(TopicWheelTimer, 0)
	from := t.queueOffset
	next := from
	t.batch = timerBatch{queueOffset: next, fresh: t.batch.fresh[:0]}
	for range timerSlice {
		if next >= end || ctx.Err() != nil {
			break
		}
		physOffset, size, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, next)
		if !ok {
			if first := t.store.MinQueueOffset(TopicWheelTimer, 0); first > next {
				t.opts.Logger.Error("timer messages were deleted before they were taken in", "from", next, "to", first)
				next = first
				t.batch.queueOffset = next
				continue
			}
			err = fmt.Errorf("entry %d of %s cannot be read", next, TopicWheelTimer)
			break
		}
		var took bool
		if took, err = t.takeOne(next, physOffset, size); !took || err != nil {
			break
		}
		next++
		t.batch.queueOffset = next
	}
	// What was taken in counts, whatever stopped the rest.
	if failed := t.commit(); failed != nil {
		return false, failed
	}
	return next > from && next < end && err == nil, err
}

// takeOne takes in one message; took is false when the rest has to wait: for the wheel to come round.
func (t *Timer) takeOne(queueOffset, physOffset int64, size int32) (took bool, err error) {
	if _, ok := t.logged[physOffset]; ok {
		delete(t.logged, physOffset)
		return true, nil
	}
	if size == blankEntrySize {
		err = fmt.Errorf("%w: entry %d of %s is of a message that was lost", ErrNotFound, queueOffset, TopicWheelTimer)
	} else {
		err = t.withMessage(physOffset, func(m *timerMessage) error {
			if m.outMs < t.readMs {
				return errLate
			}
			took, err := t.enqueue(m, physOffset, size, t.writeMs)
			if err == nil && !took {
				err = errWheelFull
			}
			if err == nil {
				t.countTaken(m)
			}
			return err
		})
	}
	if errors.Is(err, errLate) {
		// What came before it counts first.
		if err := t.commit(); err != nil {
			return false, err
		}
		err = t.withMessage(physOffset, t.deliverLate)
	}
	switch {
	case errors.Is(err, errWheelFull):
		return false, nil
	case err != nil && ignoreMissing(err) == nil:
		t.stats.Dropped.Add(1)
		t.opts.Logger.Error("timer message cannot be taken in, dropped", "offset", queueOffset, "physOffset", physOffset, "error", err)
	case err != nil:
		return false, err
	}
	return true, nil
}

var (
	// errWheelFull says that a slot is still in use for a time one round of the wheel ago.
	errWheelFull = errors.New("the wheel has not come round")
	// errLate says that the slot of a message was over when it came.
	errLate = errors.New("the time of the message is over")
)

// placeOf returns the slot that a message goes to when it is put into the wheel at writeMs, and the marks of its record. Apache:
// TimerMessageStore.doEnqueue.
func (t *Timer) placeOf(m *timerMessage, writeMs int64) (slotMs int64, magic int32) {
	slotMs, magic = t.wheel.floor(m.outMs), timerMagicDefault
	if window := t.opts.RollSlots * t.precision; m.outMs-writeMs >= window {
		magic |= timerMagicRoll
		if m.outMs-writeMs-window < t.opts.RollSlots/3*t.precision {
			slotMs = writeMs + t.opts.RollSlots/2*t.precision // leaves enough for the next round
		} else {
			slotMs = writeMs + window
		}
	}
	if m.deleteKey != nil {
		magic |= timerMagicDelete
	}
	return slotMs, magic
}

// enqueue adds a message to timer log and wheel, as of writeMs; took is false when its slot is not free yet: those from readMs
// on are in use.
func (t *Timer) enqueue(m *timerMessage, physOffset int64, size int32, writeMs int64) (took bool, err error) {
	slotMs, magic := t.placeOf(m, writeMs)
	if slotMs >= t.readMs+t.span {
		return false, nil
	}
	r := timerRecord{
		magic: magic, writeMs: writeMs, delayMs: int32(slotMs - writeMs),
		physOffset: physOffset, size: size, topicHash: m.topicHash(),
	}
	if magic == timerMagicDefault {
		r.delayMs = int32(m.dueMs(t.precision) - 1 - writeMs)
	}
	pos, err := t.link(&r, slotMs)
	if err != nil {
		return false, err
	}
	nowMs := t.opts.Now().UnixMilli()
	t.metrics.add(m.realTopic, weight(magic), nowMs)
	t.batch.count++
	if slotMs < t.loadedMs {
		n := nearTimer{dueMs: r.atMs() + 1, pos: pos, physOffset: physOffset, writeMs: writeMs, size: size, magic: magic}
		t.batch.fresh = append(t.batch.fresh, n)
	}
	return true, nil
}

// weight is how much a record counts for its slot and its topic.
func weight(magic int32) int64 {
	if magic&timerMagicDelete != 0 {
		return -1
	}
	return 1
}

// link appends a record to the chain of a slot.
func (t *Timer) link(r *timerRecord, slotMs int64) (pos int64, err error) {
	slot, err := t.wheel.at(slotMs)
	if err != nil {
		return 0, err
	}
	r.prevPos = slot.last
	if pos, err = t.log.append(r); err != nil {
		return 0, err
	}
	if slot.first < 0 {
		slot.first = pos
	}
	slot.last = pos
	slot.num += int32(weight(r.magic))
	t.wheel.set(slot)
	return pos, nil
}

// commit writes what was added and lets the messages that are due soon be seen. After an error it is called again.
func (t *Timer) commit() error {
	if err := t.log.commit(); err != nil {
		return err
	}
	if err := t.wheel.commit(); err != nil {
		return err
	}
	t.queueOffset = max(t.queueOffset, t.batch.queueOffset)
	if t.queueOffset >= t.sentQueued {
		t.logged = nil
	}
	if len(t.logged) == 0 { // otherwise the next start has to find them again
		t.logPos = t.log.end
	}
	t.stats.Enqueued.Add(int64(t.batch.count))
	fresh := t.batch.fresh
	t.batch = timerBatch{queueOffset: t.queueOffset, fresh: fresh[:0]}
	for i := range fresh {
		if err := t.addNear(&fresh[i]); err != nil {
			return err
		}
	}
	return nil
}

// addNear adds a new message to a slot that is in memory.
func (t *Timer) addNear(n *nearTimer) error {
	s := t.nearSlot(t.slotOf(n))
	r := timerRecord{magic: n.magic}
	if r.deletes() {
		return t.recall(s, n.physOffset)
	}
	if !s.partial || n.compare(&s.mark) <= 0 {
		t.near.push(*n)
	}
	return nil
}
