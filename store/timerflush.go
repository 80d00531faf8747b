package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// timerMark says how far the timer is.
type timerMark struct {
	ReadMs      int64 `json:"readMs"`
	LogPos      int64 `json:"logPos"`
	QueueOffset int64 `json:"queueOffset"`
	// ScanFrom is where the commit log ended when ReadMs became the present slot. Whatever was delivered of that slot and
	// later ones lies behind.
	ScanFrom int64 `json:"scanFrom"`
}

// timerFile is apogee/timer.json: what timercheck cannot hold. Of its marks one has the numbers of timercheck; when none
// has, Java has had the store since.
type timerFile struct {
	PrecisionMs int64       `json:"precisionMs"`
	Marks       []timerMark `json:"marks"`
	// Clean says that the timer was closed at the last mark, and WheelSum is a checksum of the wheel then.
	Clean    bool   `json:"clean"`
	WheelSum uint32 `json:"wheelSum"`
}

// readTimerFile reads timer.json; one that cannot be read is as good as none.
func readTimerFile(path string) (f timerFile) {
	b, err := os.ReadFile(path)
	if err != nil || unseal(b, &f) != nil {
		return timerFile{}
	}
	return f
}

// Flush makes what Run did last: timer log, wheel, and then timercheck, which says how far they count. It counts no delivery
// that is not on disk. Apache: TimerFlushService.
func (t *Timer) Flush() error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.rates.note(t.opts.Now(), t.stats.Enqueued.Load(), t.stats.Delivered.Load()+t.stats.Expired.Load())
	t.mu.Lock()
	st := t.state
	t.mu.Unlock()
	if t.pending == nil && t.changed(&st) {
		if err := t.syncFiles(&st); err != nil {
			t.moved.Store(true)
			return err
		}
		t.pending = &st
	}
	if p := t.pending; p != nil && t.store.Flushed() >= p.written {
		if err := t.save(p, timerFile{}); err != nil {
			return err
		}
		t.pending = nil
	}
	return t.metrics.persist()
}

// changed reports whether something happened since the last save. A slot that was over without a record is nothing.
func (t *Timer) changed(st *timerState) bool {
	was, is := t.saved.timerMark, st.timerMark
	if was.QueueOffset != is.QueueOffset || was.LogPos != is.LogPos {
		return true
	}
	return was.ReadMs != is.ReadMs && t.moved.Swap(false)
}

func (t *Timer) syncFiles(st *timerState) error {
	if err := t.log.sync(t.saved.LogPos, st.LogPos); err != nil {
		return err
	}
	return t.wheel.sync()
}

// save writes timer.json and timercheck. The former keeps the mark before too: a stop between the two leaves one that fits.
func (t *Timer) save(st *timerState, f timerFile) error {
	f.PrecisionMs = t.precision
	f.Marks = []timerMark{t.saved.timerMark, st.timerMark}
	if err := t.saveOwn(&f); err != nil {
		return err
	}
	check := timerCheck{readMs: st.ReadMs, logPos: st.LogPos, queueOffset: st.QueueOffset, masterQueueOffset: st.QueueOffset,
		version: t.version.Next(0, t.opts.Now().UnixMilli())}
	if err := t.writeCheck(&check); err != nil {
		return err
	}
	t.version, t.saved = check.version, *st
	t.doneMs.Store(st.ReadMs)
	return nil
}

func (t *Timer) saveOwn(f *timerFile) error {
	text, err := sealed(f)
	if err == nil {
		err = t.own.save(text)
	}
	if err != nil {
		return fmt.Errorf("persist the state of the timer: %w", err)
	}
	return nil
}

// writeCheck writes timercheck and waits for the disk. Its numbers lie in one sector, so they change together.
func (t *Timer) writeCheck(c *timerCheck) error {
	if err := os.MkdirAll(filepath.Dir(t.checkPath), 0o755); err != nil {
		return wrapFileError(OpCreate, t.checkPath, err)
	}
	if err := faultFunc(t.opts.Faults).check(OpWrite, t.checkPath); err != nil {
		return err
	}
	f, err := os.OpenFile(t.checkPath, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return wrapFileError(OpWrite, t.checkPath, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() < checkpointBytes {
		if err := f.Truncate(checkpointBytes); err != nil {
			return wrapFileError(OpWrite, t.checkPath, err)
		}
	}
	if _, err := f.WriteAt(appendTimerCheck(nil, c), 0); err != nil {
		return wrapFileError(OpWrite, t.checkPath, err)
	}
	if err := f.Sync(); err != nil {
		return wrapFileError(OpFlush, t.checkPath, err)
	}
	return nil
}

// Checkpoint returns the numbers of timercheck as GET_TIMER_CHECK_POINT answers them: what is done as of now, what was taken in as
// far as it is on disk, since from there on another server takes in again.
func (t *Timer) Checkpoint() []byte {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	st := t.state
	t.mu.Unlock()
	return appendTimerCheck(nil, &timerCheck{readMs: st.ReadMs, logPos: t.saved.LogPos, queueOffset: t.saved.QueueOffset,
		masterQueueOffset: t.saved.QueueOffset, version: t.version})
}

// Close makes everything last when Run has ended, in a way that neither this server nor Java delivers anything twice: the
// slot that is delivered in part gets a new chain without what was delivered.
func (t *Timer) Close() error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	defer t.closeFiles()
	if !t.wheel.exists() && t.queueOffset == 0 {
		return t.metrics.persist()
	}
	err := t.commit()
	if err == nil {
		err = t.settle()
	}
	if err != nil {
		return fmt.Errorf("close the timer: %w", err)
	}
	t.publish()
	st := t.state
	if err := t.store.awaitFlushed(st.written); err != nil {
		return fmt.Errorf("close the timer: what was delivered is not known to be on disk: %w", err)
	}
	sum, err := t.wheel.each(func(timerSlot) {})
	if err == nil {
		err = t.syncFiles(&st)
	}
	if err == nil {
		err = t.save(&st, timerFile{Clean: true, WheelSum: sum})
	}
	if err != nil {
		return fmt.Errorf("close the timer: %w", err)
	}
	return t.metrics.persist()
}

// settle gives the slots that are delivered in part new chains, and ends the timer log with a record of the last message
// that was taken in: Java goes on in the queue behind the message of the last record.
func (t *Timer) settle() error {
	var last timerRecord
	if t.log.end > t.log.first {
		var err error
		if last, err = t.lastRecord(); err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	settled := false
	for _, s := range t.loaded {
		if s.delivered {
			if err := t.relink(s); err != nil {
				return err
			}
			settled = true
		}
	}
	physOffset, _, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, t.queueOffset-1)
	if !settled && ok && t.log.end > t.log.first && last.physOffset != physOffset {
		if err := t.endChain(t.readMs); err != nil {
			return err
		}
	}
	return t.commit()
}

// lastRecord returns the record that ends the timer log.
func (t *Timer) lastRecord() (timerRecord, error) {
	pos := t.log.end - timerRecordBytes
	if base := t.log.baseOf(t.log.end); pos < base { // the file before ends with a blank
		pos = base - t.log.fileBytes + ((t.log.fileBytes-timerBlankBytes)/timerRecordBytes-1)*timerRecordBytes
	}
	return t.log.read(pos)
}

// relink gives a slot a new chain of what is not delivered, in the order of the moments.
func (t *Timer) relink(s *nearSlot) error {
	var left []nearTimer
	for {
		for i := range t.near {
			if t.slotOf(&t.near[i]) == s.ms {
				left = append(left, t.near[i])
			}
		}
		if !s.partial {
			break
		}
		t.near = t.near[:0]
		if err := t.fill(s); err != nil {
			return err
		}
	}
	slices.SortFunc(left, func(a, b nearTimer) int { return a.compare(&b) })
	t.wheel.set(timerSlot{unit: t.wheel.unit(s.ms), first: -1, last: -1})
	for _, physOffset := range s.recalled {
		if err := t.copyRecord(s.ms, physOffset, timerMagicDefault|timerMagicDelete, s.ms); err != nil {
			return err
		}
	}
	for _, n := range left {
		if err := t.copyRecord(s.ms, n.physOffset, n.magic, n.dueMs-1); err != nil {
			return err
		}
	}
	return t.endChain(s.ms)
}

// copyRecord adds a record of a message that had one before. A message that is gone gets none.
func (t *Timer) copyRecord(slotMs, physOffset int64, magic int32, atMs int64) error {
	r := timerRecord{magic: magic, writeMs: t.writeMs, delayMs: int32(atMs - t.writeMs), physOffset: physOffset}
	err := t.withMessage(physOffset, func(m *timerMessage) error {
		r.topicHash, r.size = m.topicHash(), m.TotalSizeBytes
		return nil
	})
	if err != nil {
		return ignoreMissing(err)
	}
	_, err = t.link(&r, slotMs)
	return err
}

// endChain adds a record of the last message that was taken in. It is marked as one that takes another one back, and does
// nothing where it lies: the message takes nothing back, or something of another slot.
func (t *Timer) endChain(slotMs int64) error {
	physOffset, size, _, ok := t.store.QueueEntry(TopicWheelTimer, 0, t.queueOffset-1)
	if !ok || size == blankEntrySize {
		return nil
	}
	r := timerRecord{magic: timerMagicDefault | timerMagicDelete, writeMs: t.writeMs, delayMs: int32(slotMs - t.writeMs),
		physOffset: physOffset, size: size}
	if _, err := t.link(&r, slotMs); err != nil {
		return err
	}
	slot, err := t.wheel.at(slotMs)
	if err != nil {
		return err
	}
	slot.num++ // it stands for no message
	t.wheel.set(slot)
	return nil
}

// timerRates measures how much is taken in and delivered per second.
type timerRates struct {
	mu     sync.Mutex // guards all below
	points []timerPoint
}

type timerPoint struct {
	at                 time.Time
	enqueued, dequeued int64
}

// timerRatePoints is how many flushes a rate is measured over.
const timerRatePoints = 10

func (r *timerRates) note(now time.Time, enqueued, dequeued int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.points = append(r.points, timerPoint{now, enqueued, dequeued})
	if len(r.points) > timerRatePoints {
		r.points = slices.Delete(r.points, 0, len(r.points)-timerRatePoints)
	}
}

func (r *timerRates) perSecond() (enqueued, dequeued float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.points) < 2 {
		return 0, 0
	}
	first, last := r.points[0], r.points[len(r.points)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0, 0
	}
	return float64(last.enqueued-first.enqueued) / seconds, float64(last.dequeued-first.dequeued) / seconds
}
