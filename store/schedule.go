package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// deliverSlice is how many messages of one level are delivered before the others get their turn.
	deliverSlice = 256
	// deliverRetry is how long a level rests after a message could not be put.
	deliverRetry = 100 * time.Millisecond
	// maxNap bounds a wait for a due time: timers do not count the time a machine sleeps, and clocks are set.
	maxNap = time.Second
	// delayVersionStep is how many deliveries move the data version. Apache: delayOffsetUpdateVersionStep.
	delayVersionStep = 200

	never = math.MaxInt64
)

// ScheduleOptions are the settings of the delay levels.
type ScheduleOptions struct {
	TableOptions
	// Levels is messageDelayLevel. The default value is DefaultDelayLevels.
	Levels DelayLevels
	// OnDeliver, if set, is told of every message put to its topic and of the length of its record. It must not block.
	OnDeliver func(topic string, recordBytes int64)
}

// delayLog is what Schedule needs of a Store.
type delayLog interface {
	MinPhysOffset() int64
	MinQueueOffset(topic string, queueID int32) int64
	MaxQueueOffset(topic string, queueID int32) int64
	QueueEntry(topic string, queueID int32, queueOffset int64) (physOffset int64, size int32, tagsCode int64, ok bool)
	MessageAt(physOffset int64) ([]byte, error)
	PutWait(m *Message, r *PutResult) error
	Written() int64
	awaitFlushed(physOffset int64) error
}

// Schedule keeps delayed messages in SCHEDULE_TOPIC_XXXX, one queue a level, and delivers those that are due;
// delayOffset.json says up to where. All messages of a level rest for the same time, so its queue is in the order of the
// due times, and only the first entry of each queue has to be watched. Apache: ScheduleMessageService.
//
// A message is put to its topic before its level's offset moves, and the offsets are written by Persist: after a crash
// the messages delivered since the last Persist are delivered again, as in Java. Persist counts no delivery that is not on
// disk, so that a power cut loses none.
type Schedule struct {
	opts    ScheduleOptions
	log     delayLog
	file    *jsonFile
	unknown codec.UnknownFields
	levels  []*delayQueue // level 1 first
	others  map[int32]int64
	wake    chan struct{} // holds one token
	running atomic.Bool

	delivered atomic.Int64
	dirty     atomic.Bool
	version   atomic.Pointer[codec.DataVersion]

	persisting sync.Mutex // one Persist at a time
}

// delayQueue is the queue of one level. All but the atomics belong to Run.
type delayQueue struct {
	level  int32
	restMs int64
	// offset is the queue offset of the first message that is not delivered. The file holds it once started.
	offset  atomic.Int64
	started atomic.Bool
	// idle says that Run saw the end of the queue and wants to be told of the next entry.
	idle    atomic.Bool
	failing bool
	wakeMs  int64
}

func (q *delayQueue) queueID() int32 { return q.level - 1 }

// OpenSchedule reads delayOffset.json from path (and path.bak) for the delayed messages in s.
func OpenSchedule(path string, s *Store, opts ScheduleOptions) (*Schedule, error) {
	return openSchedule(path, s, opts)
}

func openSchedule(path string, log delayLog, opts ScheduleOptions) (*Schedule, error) {
	opts.fill()
	if opts.Levels == nil {
		levels, err := ParseDelayLevels(DefaultDelayLevels)
		if err != nil {
			return nil, err
		}
		opts.Levels = levels
	}
	s := &Schedule{
		opts: opts, log: log, file: newJSONFile(path, opts.TableOptions),
		wake: make(chan struct{}, 1), others: make(map[int32]int64),
	}
	s.version.Store(&codec.DataVersion{TimestampMs: opts.Now().UnixMilli()})
	for i, restMs := range opts.Levels {
		s.levels = append(s.levels, &delayQueue{level: int32(i + 1), restMs: restMs})
	}
	stored, err := loadJSON[codec.DelayOffsetTable](s.file)
	if err != nil {
		return nil, err
	}
	if stored != nil {
		s.fill(stored)
	}
	return s, nil
}

func (s *Schedule) fill(stored *codec.DelayOffsetTable) {
	s.unknown = stored.Unknown
	s.version.Store(&stored.DataVersion)
	for level, queueOffset := range stored.OffsetTable {
		if level < 1 || int(level) > len(s.levels) {
			s.others[level] = queueOffset
			continue
		}
		s.take(s.levels[level-1], queueOffset)
	}
}

// take sets where a level goes on, within what its queue holds. Apache: ScheduleMessageService.correctDelayOffset.
func (s *Schedule) take(q *delayQueue, queueOffset int64) {
	first := s.log.MinQueueOffset(TopicSchedule, q.queueID())
	end := s.log.MaxQueueOffset(TopicSchedule, q.queueID())
	if right := max(first, min(queueOffset, end)); right != queueOffset {
		s.opts.Logger.Error("delay offset is outside of its queue, corrected", "level", q.level, "from", queueOffset,
			"to", right, "min", first, "max", end)
		queueOffset = right
		s.dirty.Store(true)
	}
	q.offset.Store(queueOffset)
	q.started.Store(true)
}

// Levels returns the delay levels.
func (s *Schedule) Levels() DelayLevels { return s.opts.Levels }

// Redirect turns m into a message that rests for a level: topic SCHEDULE_TOPIC_XXXX, queue level-1, its topic and queue
// in REAL_TOPIC and REAL_QID, its due time as tag code. A level above the highest counts as the highest. It allocates
// new properties. Apache: HookUtils.transformDelayLevelMessage.
func (s *Schedule) Redirect(m *Message, level int) {
	level = s.opts.Levels.Clamp(level)
	// Timers are not for a message that rests for a level.
	props := codec.AppendPropertiesWithout(make([]byte, 0, len(m.Properties)+len(m.Topic)+64), m.Properties,
		codec.PropDelay, codec.PropRealTopic, codec.PropRealQueueID,
		codec.PropTimerDeliverMs, codec.PropTimerDelaySeconds, codec.PropTimerDelayMs)
	props = codec.AppendProperty(props, codec.PropDelay, strconv.Itoa(level))
	props = codec.AppendProperty(props, codec.PropRealTopic, m.Topic)
	props = codec.AppendProperty(props, codec.PropRealQueueID, strconv.Itoa(int(m.QueueID)))
	m.Properties = props
	m.Topic = TopicSchedule
	m.QueueID = int32(level - 1)
	m.TagsCode = s.opts.Levels.DueMs(level, s.opts.Now().UnixMilli())
}

// Notify tells that entries became visible in a queue of SCHEDULE_TOPIC_XXXX; the dispatcher's OnArrival calls it. It
// does not block.
func (s *Schedule) Notify(queueID int32) {
	if queueID >= 0 && int(queueID) < len(s.levels) && s.levels[queueID].idle.CompareAndSwap(true, false) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Run delivers due messages until ctx ends or the store is closed. It may be called once.
func (s *Schedule) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return errors.New("delay levels run already")
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		next, err := s.deliverDue(ctx)
		if err != nil {
			return err
		}
		if next == never {
			timer.Stop()
			continue
		}
		nap := time.Duration(next-s.opts.Now().UnixMilli()) * time.Millisecond
		timer.Reset(max(0, min(nap, maxNap)))
	}
}

// deliverDue gives each level a turn and returns when the first of them wants the next, in ms; never when all are idle.
func (s *Schedule) deliverDue(ctx context.Context) (nextMs int64, err error) {
	nextMs = never
	for _, q := range s.levels {
		nowMs := s.opts.Now().UnixMilli()
		if ctx.Err() != nil {
			return never, nil
		}
		// A level that waits is due early when the clock was set back: its first message must be looked at again.
		if q.idle.Load() || q.wakeMs > nowMs && q.wakeMs <= nowMs+max(q.restMs, deliverRetry.Milliseconds()) {
			nextMs = min(nextMs, q.waitMs())
			continue
		}
		if q.wakeMs, err = s.deliver(q, nowMs); err != nil {
			return never, err
		}
		nextMs = min(nextMs, q.waitMs())
	}
	return nextMs, nil
}

func (q *delayQueue) waitMs() int64 {
	if q.idle.Load() {
		return never
	}
	return q.wakeMs
}

// deliver puts what is due of a level, at most deliverSlice messages, and returns when to come again, in ms.
func (s *Schedule) deliver(q *delayQueue, nowMs int64) (wakeMs int64, err error) {
	for range deliverSlice {
		queueOffset := q.offset.Load()
		physOffset, _, dueMs, ok := s.log.QueueEntry(TopicSchedule, q.queueID(), queueOffset)
		if !ok {
			if s.skipGone(q) {
				continue
			}
			if s.atEnd(q) {
				return nowMs, nil
			}
			if _, _, _, ok := s.log.QueueEntry(TopicSchedule, q.queueID(), queueOffset); ok {
				continue
			}
			return nowMs + deliverRetry.Milliseconds(), nil
		}
		// A due time further off than the level rests comes from a clock that was set back. Apache:
		// DeliverDelayedMessageTimerTask.correctDeliverTimestamp.
		if dueMs > nowMs && dueMs <= nowMs+q.restMs {
			s.start(q)
			return dueMs, nil
		}
		if physOffset < s.log.MinPhysOffset() && s.skipGone(q) { // the entry outlives its record
			continue
		}
		if err := s.deliverOne(physOffset); err != nil {
			if errors.Is(err, ErrClosed) {
				return 0, err
			}
			s.reportFailure(q, queueOffset, err)
			return nowMs + deliverRetry.Milliseconds(), nil
		}
		q.failing = false
		s.moved(q, queueOffset+1)
	}
	return nowMs, nil
}

// skipGone moves a level to the begin of its queue when what it wants was deleted; false when it was not.
func (s *Schedule) skipGone(q *delayQueue) bool {
	first := s.log.MinQueueOffset(TopicSchedule, q.queueID())
	if q.offset.Load() >= first {
		return false
	}
	s.opts.Logger.Error("delayed messages were deleted before they were due", "level", q.level, "from", q.offset.Load(),
		"to", first)
	s.moved(q, first)
	return true
}

// atEnd marks a level as idle; false when there is an entry after all.
func (s *Schedule) atEnd(q *delayQueue) bool {
	q.idle.Store(true)
	if s.log.MaxQueueOffset(TopicSchedule, q.queueID()) <= q.offset.Load() {
		return true
	}
	// Whoever put the entry may have seen idle and left a token; that wakes Run once for nothing.
	q.idle.Store(false)
	return false
}

// start makes a level appear in the file, as Java does when it first looks at a message of it.
func (s *Schedule) start(q *delayQueue) {
	if !q.started.Load() {
		s.moved(q, q.offset.Load())
	}
}

// moved notes how far a level is.
func (s *Schedule) moved(q *delayQueue, queueOffset int64) {
	q.offset.Store(queueOffset)
	q.started.Store(true)
	if !s.dirty.Load() {
		s.dirty.Store(true)
	}
	if s.delivered.Add(1)%delayVersionStep == 0 {
		version := s.version.Load().Next(0, s.opts.Now().UnixMilli())
		s.version.Store(&version)
	}
}

func (s *Schedule) reportFailure(q *delayQueue, queueOffset int64, err error) {
	if !q.failing {
		s.opts.Logger.Error("delayed message could not be put, tried again until it can", "level", q.level,
			"offset", queueOffset, "error", err)
	}
	q.failing = true
}

// deliverOne puts a delayed message to its own topic. What can never be delivered is logged and passed over: nil.
func (s *Schedule) deliverOne(physOffset int64) error {
	record, err := s.log.MessageAt(physOffset)
	if err == nil {
		var m *Message
		if m, err = timeUp(record); err == nil {
			err = s.put(m)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt), errors.Is(err, ErrIllegal), errors.Is(err, ErrMessageTooLarge):
		s.opts.Logger.Error("delayed message cannot be delivered, passed over", "physOffset", physOffset, "error", err)
	default:
		return err
	}
	return nil
}

// put puts a message to its topic and tells of it.
func (s *Schedule) put(m *Message) error {
	var put PutResult
	err := s.log.PutWait(m, &put)
	if err == nil && s.opts.OnDeliver != nil {
		s.opts.OnDeliver(m.Topic, put.EndOffset-put.PhysOffset)
	}
	return err
}

// timeUp makes the message that is delivered for a record of SCHEDULE_TOPIC_XXXX. Its properties stay as they are, DELAY
// and REAL_TOPIC among them, as Java leaves them. Apache: ScheduleMessageService.messageTimeUp.
func timeUp(record []byte) (*Message, error) {
	var d codec.Message
	if _, err := codec.DecodeMessage(record, &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	topic, _ := codec.Property(d.Properties, codec.PropRealTopic)
	queue, _ := codec.Property(d.Properties, codec.PropRealQueueID)
	queueID, err := strconv.ParseInt(string(queue), 10, 32)
	if err != nil || len(topic) == 0 || string(topic) == TopicTransHalf {
		return nil, fmt.Errorf("%w: delayed for topic %q, queue %q", ErrIllegal, topic, queue)
	}
	tags, _ := codec.Property(d.Properties, codec.PropTags)
	return &Message{
		Topic: string(topic), QueueID: int32(queueID), Flag: d.Flag, SysFlag: d.SysFlag, ReconsumeTimes: d.ReconsumeTimes,
		BornTimestampMs: d.BornTimestampMs, BornHost: d.BornHost, Body: d.Body, Properties: d.Properties,
		TagsCode: codec.TagsCode(tags),
	}, nil
}

// Persist writes delayOffset.json if it changed since the last Persist, after the log is flushed up to what was delivered.
func (s *Schedule) Persist() error {
	s.persisting.Lock()
	defer s.persisting.Unlock()
	if !s.dirty.Swap(false) {
		return nil
	}
	table := s.Snapshot()
	text, err := codec.MarshalPrettyJSON(&table)
	if err == nil {
		err = s.log.awaitFlushed(s.log.Written())
	}
	if err == nil {
		err = s.file.save(text)
	}
	if err != nil {
		s.dirty.Store(true)
		return fmt.Errorf("persist delay offsets: %w", err)
	}
	return nil
}

// Snapshot returns what delayOffset.json holds, as GET_ALL_DELAY_OFFSET answers it. It is the caller's.
func (s *Schedule) Snapshot() codec.DelayOffsetTable {
	offsets := maps.Clone(s.others)
	for _, q := range s.levels {
		if q.started.Load() {
			offsets[q.level] = q.offset.Load()
		}
	}
	return codec.DelayOffsetTable{DataVersion: *s.version.Load(), OffsetTable: offsets, Unknown: s.unknown}
}
