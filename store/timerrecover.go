package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/apogee-mq/apogee/codec"
)

// timerMaxSent bounds the deliveries that recovery remembers: those of about one flush interval.
const timerMaxSent = 4 << 20

// timerRecovery is what OpenTimer finds out.
type timerRecovery struct {
	mark timerMark
	// ours says that timer.json fits timercheck: Java has not had the store since. clean says that the timer was closed, too.
	ours    bool
	clean   bool
	own     timerFile
	damage  error // why timer log and wheel are made anew from the queue
	noWheel error // why the wheel is made anew from the timer log
}

// recover brings queue, timer log and wheel to agree.
//
//   - timercheck says how far they agreed when it was written. The log behind it is taken as far as it holds records of
//     messages that are there, and the wheel gets what it lacks of them.
//   - What the log has of messages behind the queue offset is not taken in again; other deliveries of that time are looked
//     for in the commit log, so that they are not made twice.
//   - A wheel that is missing or damaged is made anew from the timer log, both from the queue.
func (t *Timer) recover() error {
	var r timerRecovery
	if err := t.openFiles(&r); err != nil {
		return err
	}
	if err := t.readMarks(&r); err != nil {
		return err
	}
	t.readMs, t.queueOffset, t.logPos = t.wheel.floor(r.mark.ReadMs), r.mark.QueueOffset, r.mark.LogPos
	t.writeMs = max(t.wheel.floor(t.opts.Now().UnixMilli()), t.readMs)
	t.loadedMs, t.readFrom = t.readMs, r.mark.ScanFrom
	if err := t.recoverLog(&r); err != nil {
		return err
	}
	if err := t.recoverWheel(&r); err != nil {
		return err
	}
	if r.damage != nil {
		if err := t.rebuild(&r); err != nil {
			return err
		}
	}
	if r.damage != nil || !r.clean {
		if err := t.findSent(); err != nil {
			return err
		}
	}
	t.unsure = !r.clean || r.damage != nil
	t.doneMs.Store(t.readMs)
	t.saved.timerMark = r.mark
	return t.settleRecovery(&r)
}

// settleRecovery makes what was mended last, and says that from here on a stop is not a clean one.
func (t *Timer) settleRecovery(r *timerRecovery) error {
	if len(t.logged) == 0 {
		t.logPos = t.log.end
	}
	if r.clean && r.damage == nil && r.noWheel == nil {
		r.own.Clean, r.own.WheelSum = false, 0
		return t.saveOwn(&r.own)
	}
	if !t.wheel.exists() {
		return nil
	}
	from := r.mark.LogPos
	if r.damage != nil {
		from = 0
	}
	if err := errors.Join(t.log.sync(from, t.log.end), t.wheel.sync()); err != nil {
		return err
	}
	st := timerState{timerMark: timerMark{t.readMs, t.logPos, t.queueOffset, t.readFrom}}
	if err := t.save(&st, timerFile{}); err != nil {
		return err
	}
	return t.dropSnapshots()
}

// dropSnapshots deletes wheels that are older than timerwheel by now: Java would begin with the newest of them.
func (t *Timer) dropSnapshots() error {
	names, err := t.snapshots()
	for _, name := range names {
		if err = errors.Join(err, faultFunc(t.opts.Faults).check(OpRemove, name)); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRemove, name, err)
		}
	}
	return err
}

// snapshots are wheels that Java wrote with timerWheelSnapshotFlush, each with the end of the timer log behind its name.
func (t *Timer) snapshots() ([]string, error) { return filepath.Glob(t.wheel.path + ".*") }

func (t *Timer) openFiles(r *timerRecovery) (err error) {
	dir := t.store.opts.Dir
	faults := faultFunc(t.opts.Faults)
	var logDamage error
	if t.log, logDamage, err = openTimerLog(filepath.Join(dir, "timerlog"), t.opts.LogFileBytes, faults); err != nil {
		return err
	}
	r.damage = logDamage
	if t.wheel, r.noWheel, err = openTimerWheel(filepath.Join(dir, "timerwheel"), t.precision, 2*t.opts.slots, faults); err != nil {
		return err
	}
	if snapshots, err := t.snapshots(); err == nil && len(snapshots) > 0 {
		r.noWheel = fmt.Errorf("%w: there is %s, a newer wheel than timerwheel", ErrForeign, snapshots[len(snapshots)-1])
	}
	return nil
}

// readMarks finds out where to go on.
func (t *Timer) readMarks(r *timerRecovery) error {
	r.own = readTimerFile(t.own.path)
	faults := faultFunc(t.opts.Faults)
	if err := faults.check(OpRead, t.checkPath); err != nil {
		return err
	}
	b, err := os.ReadFile(t.checkPath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrapFileError(OpRead, t.checkPath, err)
	}
	first, end := t.store.MinQueueOffset(TopicWheelTimer, 0), t.store.MaxQueueOffset(TopicWheelTimer, 0)
	check, ok := parseTimerCheck(b)
	switch {
	case ok:
		t.version = check.version
		r.mark = timerMark{check.readMs, check.logPos, min(check.queueOffset, check.masterQueueOffset), -1}
		for i, m := range r.own.Marks {
			if m.ReadMs == r.mark.ReadMs && m.LogPos == r.mark.LogPos && m.QueueOffset == r.mark.QueueOffset {
				r.mark, r.ours, r.clean = m, true, r.own.Clean && i == len(r.own.Marks)-1
			}
		}
	case len(r.own.Marks) > 0:
		t.opts.Logger.Warn("timercheck is missing or damaged, apogee/timer.json is used", "file", t.checkPath)
		r.mark, r.ours = r.own.Marks[len(r.own.Marks)-1], true
	default:
		t.unknownMark(r, end)
	}
	if r.mark.QueueOffset > end {
		t.opts.Logger.Warn("timer had taken in more than its queue holds", "from", r.mark.QueueOffset, "to", end)
	}
	if r.mark.QueueOffset < first {
		t.opts.Logger.Warn("timer messages were deleted before they were taken in", "from", r.mark.QueueOffset, "to", first)
	}
	r.mark.QueueOffset = max(first, min(r.mark.QueueOffset, end))
	if !r.ours || r.mark.ScanFrom < 0 {
		r.mark.ScanFrom = t.store.Written()
		if physOffset, _, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, r.mark.QueueOffset); ok {
			r.mark.ScanFrom = physOffset
		}
		r.mark.ScanFrom = min(r.mark.ScanFrom, t.loggedBefore(r.mark.ReadMs))
	}
	return nil
}

// loggedBefore is a physical offset behind which lies all that was stored at ms or later, as deliveries of later slots were: where
// the last segment of older messages begins, or behind it the last older message of the timer's queue.
func (t *Timer) loggedBefore(ms int64) (physOffset int64) {
	physOffset = t.store.MinPhysOffset()
	for _, seg := range t.store.log.all() {
		if first := t.store.log.storeTimeAt(seg.base, codec.PosBornHost+64); first < 0 || first >= ms {
			break
		}
		physOffset = seg.base
	}
	older := t.store.QueueOffsetByTime(TopicWheelTimer, 0, ms) - 1
	if at, _, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, older); ok {
		physOffset = max(physOffset, at)
	}
	return physOffset
}

// unknownMark is where to go on when nothing says: from the beginning, and as far back as the wheel reaches, as Java does.
func (t *Timer) unknownMark(r *timerRecovery, end int64) {
	r.mark = timerMark{ReadMs: t.wheel.floor(t.opts.Now().UnixMilli()), ScanFrom: -1}
	if end == 0 && t.log.end == t.log.first && !t.wheel.exists() {
		return
	}
	r.mark.ReadMs -= (t.opts.slots - timerSpareSlots) * t.precision
	r.mark.LogPos = t.log.first
	t.opts.Logger.Error("nothing says which timer messages were delivered: timercheck and apogee/timer.json are missing or damaged; "+
		"those of the last days may come again", "file", t.checkPath, "since_ms", r.mark.ReadMs)
}

// recoverLog finds the end of the timer log and notes the records that come behind the queue offset.
func (t *Timer) recoverLog(r *timerRecovery) error {
	switch pos := r.mark.LogPos; {
	case r.damage != nil:
		return nil
	case len(r.own.Marks) > 0 && r.own.PrecisionMs != t.precision:
		r.damage = fmt.Errorf("timerPrecisionMs was %d and is %d", r.own.PrecisionMs, t.precision)
		return nil
	case pos < t.log.first || pos > t.log.made || (pos-t.log.baseOf(pos))%timerRecordBytes != 0:
		r.damage = fmt.Errorf("%w: timer log in %s has %d to %d, but held %d already", ErrCorrupt, t.log.dir, t.log.first, t.log.made, pos)
		return nil
	}
	queued, _, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, r.mark.QueueOffset)
	if !ok {
		queued = t.store.Written()
	}
	t.logged = make(map[int64]struct{})
	end, err := t.log.each(r.mark.LogPos, func(_ int64, rec *timerRecord) bool {
		if !t.bound(rec) {
			return false
		}
		if rec.physOffset >= queued {
			t.logged[rec.physOffset] = struct{}{}
		}
		return true
	})
	if err != nil {
		return err
	}
	if err := t.log.startAt(end); err != nil {
		return err
	}
	if t.log.end > t.log.first {
		if _, err := t.lastRecord(); err != nil {
			r.damage = err
		}
	}
	return nil
}

// bound reports whether the message of a record is there, or was deleted with the begin of the log.
func (t *Timer) bound(r *timerRecord) bool {
	if r.physOffset < t.store.MinPhysOffset() {
		return true
	}
	there := false
	err := t.withMessage(r.physOffset, func(m *timerMessage) error {
		there = m.TotalSizeBytes == r.size && string(m.Topic) == TopicWheelTimer
		return nil
	})
	return there && err == nil
}

// recoverWheel adds the records to the wheel that it lacks, or makes it anew.
func (t *Timer) recoverWheel(r *timerRecovery) error {
	if r.damage != nil {
		return nil
	}
	if r.noWheel == nil && !t.wheel.exists() && t.log.end > t.log.first {
		r.noWheel = fmt.Errorf("%w: timer wheel %s is missing", ErrCorrupt, t.wheel.path)
	}
	if r.noWheel == nil && t.wheel.exists() {
		if err := t.checkWheel(r); err != nil {
			return err
		}
	}
	if r.noWheel != nil {
		t.opts.Logger.Error("timer wheel cannot be used, it is made anew from the timer log", "error", r.noWheel)
		return t.rewheel(r)
	}
	_, err := t.log.each(r.mark.LogPos, func(pos int64, rec *timerRecord) bool {
		if pos >= t.log.end {
			return false
		}
		slot, err := t.wheel.at(rec.atMs())
		if err == nil && slot.last < pos {
			t.rejoin(&slot, pos, rec)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return t.wheel.commit()
}

// checkWheel looks for slots that the timer log does not reach, and for changes since it was closed.
func (t *Timer) checkWheel(r *timerRecovery) error {
	from := t.wheel.unit(t.readMs)
	sum, err := t.wheel.each(func(s timerSlot) {
		if s.unit >= from && s.unit < from+2*t.opts.slots && (s.last >= t.log.end || s.last < -1) {
			r.noWheel = fmt.Errorf("%w: timer wheel %s: slot of %d points to %d of a timer log that ends at %d",
				ErrCorrupt, t.wheel.path, s.unit*t.precision, s.last, t.log.end)
		}
	})
	if err != nil {
		return err
	}
	if r.noWheel == nil && r.clean && sum != r.own.WheelSum {
		r.noWheel = fmt.Errorf("%w: timer wheel %s is not as it was when it was closed", ErrCorrupt, t.wheel.path)
	}
	return nil
}

// rejoin adds a record of the timer log to the chain of its slot.
func (t *Timer) rejoin(slot *timerSlot, pos int64, r *timerRecord) {
	if r.prevPos < 0 { // a new chain
		slot.first, slot.num = pos, 0
	}
	if slot.first < 0 {
		slot.first = pos
	}
	slot.last = pos
	slot.num += int32(weight(r.magic))
	t.wheel.set(*slot)
}

// rewheel makes the wheel anew from the timer log. When that is damaged too both are made anew from the queue.
func (t *Timer) rewheel(r *timerRecovery) error {
	if err := t.wheel.reset(); err != nil {
		return err
	}
	var failed error
	end, err := t.log.each(t.log.first, func(pos int64, rec *timerRecord) bool {
		if pos >= t.log.end {
			return false
		}
		if t.wheel.floor(rec.atMs()) < t.readMs {
			return true
		}
		slot, err := t.wheel.at(rec.atMs())
		if err == nil {
			t.rejoin(&slot, pos, rec)
			if len(t.wheel.touched) >= timerSlice {
				err = t.wheel.commit()
			}
		}
		failed = err
		return err == nil
	})
	if err := errors.Join(err, failed, t.wheel.commit()); err != nil {
		return err
	}
	if end < t.log.end && !t.log.endsAt(end) {
		r.damage = t.log.damaged(end, "no record")
	}
	return nil
}

// rebuild makes timer log and wheel anew from the queue, with everything before the queue offset whose slot is not done.
func (t *Timer) rebuild(r *timerRecovery) error {
	t.opts.Logger.Error("timer log and wheel cannot be used, they are made anew from the queue of timer messages", "topic", TopicWheelTimer,
		"queue", 0, "to", t.queueOffset, "error", r.damage)
	if err := t.log.removeAll(); err != nil {
		return err
	}
	if err := t.wheel.reset(); err != nil {
		return err
	}
	clear(t.logged)
	t.metrics.reset()
	again, err := t.rolledAgain()
	if err != nil {
		return err
	}
	count := 0
	err = t.eachQueued(func(m *timerMessage, queueOffset int64) error {
		written := t.wheel.floor(m.StoreTimestampMs)
		// With another precision the slots are others, but what was done is not.
		switch slotMs, magic := t.placeOf(m, written); {
		case magic&timerMagicRoll == 0 && (slotMs < t.readMs || m.outMs < r.mark.ReadMs):
			return nil
		case again[t.sentKey(m.realTopic, m, m.rounds())]:
			return nil
		case slotMs < t.readMs: // it was taken in later than stored
			written = t.readMs
		}
		count++
		if took, err := t.enqueue(m, m.PhysOffset, m.TotalSizeBytes, written); err != nil || !took {
			return errors.Join(err, fmt.Errorf("timer message %d does not fit the wheel", queueOffset))
		}
		if t.batch.count >= timerSlice {
			t.batch.queueOffset = t.queueOffset
			return t.commit()
		}
		return nil
	})
	t.batch.queueOffset = t.queueOffset
	if err := errors.Join(err, t.commit()); err != nil {
		return fmt.Errorf("make the timer's files anew: %w", err)
	}
	t.stats.Enqueued.Store(0)
	t.opts.Logger.Info("timer log and wheel are made anew", "messages", count)
	return nil
}

// rolledAgain returns which messages the queue holds a second time or more, each round apart.
func (t *Timer) rolledAgain() (map[timerKey]bool, error) {
	again := make(map[timerKey]bool)
	err := t.eachQueued(func(m *timerMessage, _ int64) error {
		if m.rollTimes != nil {
			again[t.sentKey(m.realTopic, m, string(m.rollTimes))] = true
		}
		return nil
	})
	return again, err
}

// eachQueued calls fn with the messages before the queue offset, and passes over those that cannot be read. The message is
// valid during the call only.
func (t *Timer) eachQueued(fn func(m *timerMessage, queueOffset int64) error) error {
	for queueOffset := t.store.MinQueueOffset(TopicWheelTimer, 0); queueOffset < t.queueOffset; queueOffset++ {
		physOffset, size, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, queueOffset)
		if !ok || size == blankEntrySize {
			continue
		}
		var failed error
		err := t.withMessage(physOffset, func(m *timerMessage) error {
			failed = fn(m, queueOffset)
			return nil
		})
		if failed != nil {
			return failed
		}
		if err = ignoreMissing(err); err != nil {
			return err
		}
	}
	return nil
}

// rescue calls take with the messages of a slot that are in the queue and not known, and notes what was taken back.
func (t *Timer) rescue(s *nearSlot, known map[int64]struct{}, take func(nearTimer)) error {
	var recalls []int64
	err := t.eachQueued(func(m *timerMessage, queueOffset int64) error {
		written := t.wheel.floor(m.StoreTimestampMs)
		slotMs, magic := t.placeOf(m, written)
		if _, ok := known[m.PhysOffset]; ok || slotMs != s.ms {
			return nil
		}
		n := nearTimer{dueMs: slotMs + 1, pos: queueOffset, physOffset: m.PhysOffset, writeMs: written, size: m.TotalSizeBytes, magic: magic}
		switch {
		case magic == timerMagicDefault:
			n.dueMs = m.dueMs(t.precision)
		case magic&timerMagicRoll == 0:
			recalls = append(recalls, m.PhysOffset)
			return nil
		}
		take(n)
		return nil
	})
	for _, physOffset := range recalls {
		err = errors.Join(err, t.recall(s, physOffset))
	}
	return err
}

// findSent looks through the commit log for what was delivered behind where timercheck counts.
func (t *Timer) findSent() error {
	from, end := max(t.readFrom, t.store.MinPhysOffset()), t.store.Written()
	t.sentQueued = t.store.MaxQueueOffset(TopicWheelTimer, 0)
	t.sent = make(map[timerKey]int32)
	var m codec.Message
	for from < end && len(t.sent) < timerMaxSent {
		seg := t.store.log.find(from)
		if seg == nil {
			return fmt.Errorf("%w: commit log has no segment for %d", ErrCorrupt, from)
		}
		n, err := readRecord(seg, from-seg.base, min(end-seg.base, seg.size), false, &m)
		if err == nil {
			t.noteSent(&m)
		}
		seg.release()
		if err != nil && !errors.Is(err, codec.ErrBlank) {
			t.opts.Logger.Warn("delivered timer messages are not looked for in all of the log", "physOffset", from, "error", err)
			return nil
		}
		from += n
	}
	return nil
}

// noteSent remembers a message if the timer put it.
func (t *Timer) noteSent(m *codec.Message) {
	var sent timerMessage
	sent.Message = *m
	if sent.parseProperties() != nil || sent.dequeueMs == nil || len(sent.uniqKey) == 0 {
		return
	}
	rounds := ""
	if string(m.Topic) == TopicWheelTimer {
		rounds = string(sent.rollTimes)
	} else if string(m.Topic) != string(sent.realTopic) {
		return
	}
	t.sent[t.sentKey(m.Topic, &sent, rounds)]++
	t.sentMs = max(t.sentMs, sent.outMs)
}
