package store

import (
	"context"
	"errors"
	"hash/maphash"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// timerSlots is half the number of slots of a wheel, seven days of seconds; on disk, do not change.
	timerSlots = 7 * 24 * 3600
	// timerSpareSlots are never rolled into. Apache: TIMER_BLANK_SLOTS.
	timerSpareSlots = 60
	// timerSlice is how many messages are taken in or delivered before the other gets its turn.
	timerSlice = 256
	// timerMaxNear is how many messages that are due soon are in memory. A slot with more is read in parts.
	timerMaxNear = 1 << 19
	// timerRetry is how long deliveries rest after a message could not be put.
	timerRetry = 100 * time.Millisecond
	// timerCleanEvery is how often files of the timer log that are done with are looked for.
	timerCleanEvery = 30 * time.Second
)

// TimerOptions are the settings of a Timer.
type TimerOptions struct {
	TableOptions
	// Precision is timerPrecisionMs, how long a slot of the wheel is. The default value is 1 s.
	Precision time.Duration
	// RollSlots is timerRollWindowSlot: what is asked for later than so many slots from now goes through the queue again
	// before. The default value is two days of seconds.
	RollSlots int64
	// LogFileBytes is mappedFileSizeTimerLog, the length of a timer log file. The default value is 100 MiB.
	LogFileBytes int64
	// OnDeliver, if set, is told of every message put to its topic and of the length of its record. It must not block.
	OnDeliver func(topic string, recordBytes int64)

	// slots and maxNear are timerSlots and timerMaxNear, but for tests.
	slots   int64
	maxNear int
}

func (o *TimerOptions) fill() {
	o.TableOptions.fill()
	if o.Precision < time.Millisecond {
		o.Precision = time.Second
	}
	if o.LogFileBytes < timerRecordBytes+timerBlankBytes {
		o.LogFileBytes = 100 << 20
	}
	if o.slots <= 0 {
		o.slots = timerSlots
	}
	if o.maxNear <= 0 {
		o.maxNear = timerMaxNear
	}
	// Apache: the constructor of TimerMessageStore.
	switch most := o.slots - timerSpareSlots; {
	case o.RollSlots == 0:
		o.RollSlots = min(2*24*3600, most)
	case o.RollSlots > most || o.RollSlots < 2:
		o.RollSlots = most
	}
}

// Timer keeps messages until a moment that their senders named. They rest in queue 0 of rmq_sys_wheel_timer; the timer log
// says where those of each slot of the wheel lie, and the wheel where the chain of a slot ends. That is all on disk; only
// what is due within the next seconds is in memory, in the order of the moments that were asked for. Apache:
// TimerMessageStore.
//
//	rmq_sys_wheel_timer ──► timer log and wheel ──► near ──► the message's topic
//	              queueOffset                 loadedMs   readMs
//
// A wheel's slot is a second long by default, and Java delivers everything of a slot when it is over. Here a record keeps
// the moment: its write time and delay give one millisecond less than it, which lies in the same slot. Where they give
// the begin of the slot the record is Java's, and the moment is in the message.
//
// Only Run changes the files, and Open and Close when it does not run; Flush makes them last.
type Timer struct {
	opts      TimerOptions
	store     *Store
	log       *timerLog
	wheel     *timerWheel
	metrics   *topicCounts
	topics    timerTopics
	checkPath string
	own       *jsonFile     // apogee/timer.json
	wake      chan struct{} // holds one token
	running   atomic.Bool

	stopEnqueue, stopDequeue atomic.Bool
	checkup                  atomic.Pointer[timerCheckup] // that waits for Run
	unsure                   bool                         // it was not closed before this start
	doneMs                   atomic.Int64                 // slots before it are done, on disk
	moved                    atomic.Bool                  // a slot with records is done since the last save

	// Run's from here on.
	precision int64 // in ms
	span      int64 // of the wheel in ms
	readMs    int64 // slots before it are done
	writeMs   int64 // begin of the present slot; never goes back
	loadedMs  int64 // slots before it are in near
	near      nearHeap
	loaded    []*nearSlot // with records, from readMs on
	spare     []nearTimer
	// queueOffset is what is taken in next.
	queueOffset int64
	batch       timerBatch
	logPos      int64 // up to where the timer log has what is before queueOffset
	// readFrom is where the log ended when readMs became the present slot: what was delivered of it lies behind.
	readFrom int64
	// logged are records that are in the timer log although they come behind queueOffset: found by recovery.
	logged map[int64]struct{}
	// sent are deliveries that recovery found in the log, each with the number of times. They are for slots up to sentMs, and
	// queue offsets below sentQueued.
	sent               map[timerKey]int32
	sentMs, sentQueued int64
	retryMs            int64
	failing            bool
	cleanMs            int64
	message            timerMessage
	hashes             [2]maphash.Hash
	text               []byte
	digits             []byte

	mu    sync.Mutex // guards state
	state timerState

	flushing sync.Mutex // guards what follows
	pending  *timerState
	saved    timerState
	version  codec.DataVersion

	stats TimerStats
	rates timerRates
}

// timerState is how far Run is.
type timerState struct {
	timerMark
	written int64 // where the log ended: deliveries before it count
}

// timerBatch is what was added to timer log and wheel and is not committed.
type timerBatch struct {
	queueOffset int64 // behind the last one
	count       int
	fresh       []nearTimer // those whose slot is loaded
}

// TimerStats are counters since the start, for any goroutine.
type TimerStats struct {
	// Enqueued went into the wheel, Expired were delivered without, since their time was over.
	Enqueued, Expired atomic.Int64
	// Delivered went to their topic, Rolled back into the queue, Recalled were taken back.
	Delivered, Rolled, Recalled atomic.Int64
	// Dropped pointed to nothing that can be delivered; Repeated were found delivered already after a crash.
	Dropped, Repeated atomic.Int64
	// LateMaxMs is the greatest delay behind the moment asked for, in ms.
	LateMaxMs atomic.Int64
}

// TimerStatus is what GET_BROKER_RUNTIME_INFO tells. Apache: AdminBrokerProcessor.prepareRuntimeInfo.
type TimerStatus struct {
	// ReadBehind is how far the slot that is being delivered is behind the clock.
	ReadBehind time.Duration
	// OffsetBehind is how many messages of the queue are not in the wheel yet.
	OffsetBehind int64
	// Waiting is how many records the wheel holds.
	Waiting int64
	// EnqueuePerSecond and DequeuePerSecond were measured over the last seconds.
	EnqueuePerSecond, DequeuePerSecond float64

	rest time.Duration // how far behind a timer may be that has caught up: a nap, and the slot that is not over
}

// SecondsBehind is ReadBehind in whole seconds, 0 while the timer has caught up. Apache: TimerMessageStore.getDequeueBehind.
func (st TimerStatus) SecondsBehind() int64 {
	if st.ReadBehind < st.rest {
		return 0
	}
	return int64(st.ReadBehind.Seconds())
}

// OpenTimer reads what waits from the timer's files in the directory of s, and mends them.
func OpenTimer(s *Store, opts TimerOptions) (*Timer, error) {
	opts.fill()
	dir := s.opts.Dir
	t := &Timer{
		opts: opts, store: s, checkPath: filepath.Join(dir, "config", "timercheck"),
		own:       newJSONFile(filepath.Join(dir, ownDir, "timer.json"), opts.TableOptions),
		wake:      make(chan struct{}, 1),
		precision: opts.Precision.Milliseconds(), span: 2 * opts.slots * opts.Precision.Milliseconds(),
	}
	var err error
	if t.metrics, err = openTimerMetrics(filepath.Join(dir, "config", "timermetrics"), opts.TableOptions); err != nil {
		return nil, err
	}
	if err := t.recover(); err != nil {
		t.closeFiles()
		return nil, err
	}
	t.publish()
	return t, nil
}

func (t *Timer) closeFiles() {
	if t.log != nil {
		t.log.close()
	}
	if t.wheel != nil {
		t.wheel.close()
	}
}

// SlotMs returns the slot of a message that is to be delivered at a moment, both in ms; it goes into TIMER_OUT_MS. A message
// comes when its slot is over, so a moment on the border belongs to the slot before. Apache:
// HookUtils.transformTimerMessage.
func (t *Timer) SlotMs(deliverMs int64) int64 {
	if deliverMs%t.precision == 0 {
		return deliverMs - t.precision
	}
	return t.wheel.floor(deliverMs)
}

// SlotCount returns how many messages wait in a slot, as far as they are in the wheel. Apache: TimerMessageStore.isReject.
func (t *Timer) SlotCount(slotMs int64) int64 { return t.wheel.num(slotMs) }

// Redirect turns m into a message that waits for a slot of SlotMs: topic rmq_sys_wheel_timer, its topic and queue in
// REAL_TOPIC and REAL_QID, the slot in TIMER_OUT_MS. It allocates new properties. Apache: HookUtils.transformTimerMessage.
func (t *Timer) Redirect(m *Message, slotMs int64) {
	props := codec.AppendPropertiesWithout(make([]byte, 0, len(m.Properties)+len(m.Topic)+64), m.Properties,
		codec.PropTimerOutMs, codec.PropRealTopic, codec.PropRealQueueID)
	props = codec.AppendProperty(props, codec.PropTimerOutMs, strconv.FormatInt(slotMs, 10))
	props = codec.AppendProperty(props, codec.PropRealTopic, m.Topic)
	props = codec.AppendProperty(props, codec.PropRealQueueID, strconv.Itoa(int(m.QueueID)))
	m.Properties = props
	m.Topic, m.QueueID = TopicWheelTimer, 0
}

// Notify tells that messages became visible in rmq_sys_wheel_timer; the dispatcher's OnArrival calls it. It does not block.
func (t *Timer) Notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Pause stops taking messages out of the queue, or delivering, until it is called again. Apache: timerStopEnqueue,
// timerStopDequeue.
func (t *Timer) Pause(enqueue, dequeue bool) {
	t.stopEnqueue.Store(enqueue)
	t.stopDequeue.Store(dequeue)
	t.Notify()
}

// Stats returns the counters.
func (t *Timer) Stats() *TimerStats { return &t.stats }

// Metrics returns how many messages of each topic wait, as GET_TIMER_METRICS answers it. It is the caller's.
func (t *Timer) Metrics() codec.TimerMetrics {
	counts, version := t.metrics.snapshot()
	return codec.TimerMetrics{DataVersion: version, TimingCount: counts}
}

// RemoveTopic forgets the counts of a deleted topic.
func (t *Timer) RemoveTopic(topic string) {
	t.metrics.remove(topic)
	t.topics.remove(topic)
}

// Status returns how the timer is doing.
func (t *Timer) Status() TimerStatus {
	t.mu.Lock()
	st := t.state
	t.mu.Unlock()
	enqueued, dequeued := t.rates.perSecond()
	return TimerStatus{
		ReadBehind:       max(0, time.Duration(t.opts.Now().UnixMilli()-st.ReadMs)*time.Millisecond),
		OffsetBehind:     max(0, t.store.MaxQueueOffset(TopicWheelTimer, 0)-st.QueueOffset),
		Waiting:          t.waiting(st.ReadMs),
		EnqueuePerSecond: enqueued, DequeuePerSecond: dequeued,
		rest: maxNap + t.opts.Precision,
	}
}

// waiting counts the records of the slots from readMs on.
func (t *Timer) waiting(readMs int64) (n int64) {
	from := t.wheel.unit(readMs)
	_, err := t.wheel.each(func(s timerSlot) {
		if s.unit >= from && s.unit < from+2*t.opts.slots {
			n += int64(s.num)
		}
	})
	if err != nil {
		t.opts.Logger.Error("count what waits in the timer wheel", "error", err)
	}
	return n
}

// Run takes in and delivers messages until ctx ends or the store is closed. It may be called once.
func (t *Timer) Run(ctx context.Context) error {
	if t.running.Swap(true) {
		return errors.New("timer runs already")
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-timer.C:
		}
		for more := true; more; {
			next, err := t.turn(ctx)
			if err != nil {
				return err
			}
			nap := napUntil(next, t.opts.Now().UnixMilli())
			if more = nap <= 0 && ctx.Err() == nil; !more {
				timer.Reset(nap)
			}
		}
	}
}

// napUntil is how long to sleep until nextMs, which may be never: 0 when it is over, and maxNap at most.
func napUntil(nextMs, nowMs int64) time.Duration {
	most := maxNap.Milliseconds()
	return time.Duration(max(0, min(nextMs-nowMs, most))) * time.Millisecond
}

// turn takes in and delivers a slice each and returns when to come again, in ms. An error is ErrClosed.
func (t *Timer) turn(ctx context.Context) (nextMs int64, err error) {
	nowMs := t.opts.Now().UnixMilli()
	t.writeMs = max(t.writeMs, t.wheel.floor(nowMs))
	nextMs = nowMs + maxNap.Milliseconds()
	if !t.wheel.exists() && t.queueOffset >= t.store.MaxQueueOffset(TopicWheelTimer, 0) {
		nextMs = never
	}
	if nowMs < t.retryMs && t.retryMs <= nowMs+timerRetry.Milliseconds() {
		return t.retryMs, nil
	}
	t.retryMs = 0
	more, err := t.work(ctx, nowMs)
	t.publish()
	switch {
	case errors.Is(err, ErrClosed):
		return 0, err
	case err != nil:
		t.report(err)
		t.retryMs = nowMs + timerRetry.Milliseconds()
		return t.retryMs, nil
	}
	t.failing = false
	t.clean(nowMs)
	if more {
		return nowMs, nil
	}
	if len(t.near) > 0 && !t.stopDequeue.Load() {
		nextMs = min(nextMs, t.near[0].dueMs)
	}
	return nextMs, nil
}

// work takes in and delivers a slice each. What was taken in before a crash is taken in again before anything is delivered,
// since some of it may take another message back.
func (t *Timer) work(ctx context.Context, nowMs int64) (more bool, err error) {
	if t.queueOffset >= t.sentQueued {
		if err := t.load(); err != nil {
			return false, err
		}
		t.advance()
	}
	more, err = t.takeIn(ctx)
	if errors.Is(err, ErrClosed) || more && t.queueOffset < t.sentQueued || t.stopDequeue.Load() {
		return more, err
	}
	again, failed := t.deliverDue(ctx, nowMs)
	return more || again, errors.Join(err, failed)
}

// report logs why nothing moves, once until something does.
func (t *Timer) report(err error) {
	if !t.failing {
		t.opts.Logger.Error("timer messages cannot be moved on, tried again until they can", "offset", t.queueOffset,
			"read", t.readMs, "error", err)
	}
	t.failing = true
}

// clean deletes the timer log's files whose slots are all done.
func (t *Timer) clean(nowMs int64) {
	if nowMs < t.cleanMs {
		return
	}
	t.cleanMs = nowMs + timerCleanEvery.Milliseconds()
	dropped, err := t.log.dropDone(func(last *timerRecord) bool {
		return last.writeMs+(t.opts.RollSlots+1)*t.precision < t.doneMs.Load()
	})
	if err != nil {
		t.opts.Logger.Error("delete timer log files that are done", "error", err)
	} else if dropped > 0 {
		t.opts.Logger.Info("timer log files deleted, all of their messages are delivered", "files", dropped)
	}
}

// publish lets Flush and Status see how far Run is.
func (t *Timer) publish() {
	st := timerState{written: t.store.Written()}
	st.ReadMs, st.LogPos, st.QueueOffset, st.ScanFrom = t.readMs, t.logPos, t.queueOffset, t.readFrom
	t.mu.Lock()
	t.state = st
	t.mu.Unlock()
}
