package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// timerCheckWait is how long a check waits for Run to be between two slots.
const timerCheckWait = time.Minute

// The counts of timermetrics go astray by what is dropped, by what is taken back too late, and by a kill between two saves. A
// check counts the records of the timer log that are in the wheel and whose slot is not done, and puts that in their place.
//
// Run says from where the count holds, at a moment when nothing of the present slot is delivered; what it changes from then on
// is added in the end. Everything else happens in the goroutine of the caller, with files of its own. Apache:
// TimerMessageStore.checkAndReviseMetrics, which counts while messages come and go.

// timerCheckup is a check that waits for Run.
type timerCheckup struct{ from chan timerCheckFrom }

// timerCheckFrom is where timer log and wheel were when a check began.
type timerCheckFrom struct {
	readMs           int64
	first, made, end int64 // of the timer log
}

// timerTopicNames tells topics by the hash in a timer log record.
type timerTopicNames struct {
	byHash map[int32]string
	double map[int32]bool // more than one topic has it: the message says which
	left   map[int32]bool // of topics that are not counted
}

// MetricsUnsure reports whether the counts may be wrong since the timer was not closed before this start.
func (t *Timer) MetricsUnsure() bool { return t.unsure }

// ReviseMetrics counts the messages of those topics anew of which fewer than below wait by the present count. It returns of how
// many topics the count was wrong. Run must run, and Close wait for it to return.
func (t *Timer) ReviseMetrics(ctx context.Context, below int64) (revised int, err error) {
	names := timerTopicNames{byHash: make(map[int32]string), double: make(map[int32]bool), left: make(map[int32]bool)}
	counts, _ := t.metrics.snapshot()
	for topic, c := range counts {
		if c.Count >= below {
			names.left[timerTopicHash([]byte(topic))] = true
		}
	}
	for topic, c := range counts {
		switch hash := timerTopicHash([]byte(topic)); {
		case c.Count >= below || names.left[hash]: // Java too leaves out a small one with the hash of a great one
		case names.byHash[hash] != "":
			names.double[hash] = true
		default:
			names.byHash[hash] = topic
		}
	}
	actual := make(map[string]int64, len(counts))
	for topic, c := range counts {
		if c.Count < below && !names.left[timerTopicHash([]byte(topic))] {
			actual[topic] = 0
		}
	}
	return t.checkMetrics(ctx, actual, func(r *timerRecord) (string, error) {
		if topic := names.byHash[r.topicHash]; topic == "" || !names.double[r.topicHash] {
			return topic, nil
		}
		topic, err := t.realTopicAt(r.physOffset)
		if _, ok := actual[topic]; !ok {
			return "", err
		}
		return topic, err
	})
}

// RecountMetrics counts the messages of all topics anew, those without a count too. Apache has no such thing.
func (t *Timer) RecountMetrics(ctx context.Context) (revised int, err error) {
	counts, _ := t.metrics.snapshot()
	actual, byHash, double := make(map[string]int64, len(counts)), make(map[int32]string), make(map[int32]bool)
	for topic := range counts {
		hash := timerTopicHash([]byte(topic))
		double[hash] = byHash[hash] != ""
		byHash[hash], actual[topic] = topic, 0
	}
	return t.checkMetrics(ctx, actual, func(r *timerRecord) (topic string, err error) {
		if topic = byHash[r.topicHash]; topic != "" && !double[r.topicHash] {
			return topic, nil
		}
		if topic, err = t.realTopicAt(r.physOffset); topic != "" && byHash[r.topicHash] == "" && len(byHash) < maxCountedTopics {
			byHash[r.topicHash] = topic
		}
		return topic, err
	})
}

// checkMetrics counts into actual what nameOf gives a topic for, and makes the counts right.
func (t *Timer) checkMetrics(ctx context.Context, actual map[string]int64, nameOf func(*timerRecord) (string, error)) (int, error) {
	from, err := t.awaitCheck(ctx)
	if err != nil {
		return 0, fmt.Errorf("count timer messages: %w", err)
	}
	defer t.metrics.unfollow()
	err = t.countRecords(ctx, from, func(r *timerRecord) error {
		topic, err := nameOf(r)
		if topic != "" {
			actual[topic] += weight(r.magic)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count timer messages: %w", err)
	}
	wrong := t.metrics.revise(actual, t.opts.Now().UnixMilli())
	for topic, count := range wrong {
		t.opts.Logger.Info("count of waiting timer messages was wrong", "topic", topic, "was", count[0], "is", count[1])
	}
	return len(wrong), nil
}

// awaitCheck asks Run for a moment between two slots, from which on the changes of counts are noted.
func (t *Timer) awaitCheck(ctx context.Context) (timerCheckFrom, error) {
	ask := &timerCheckup{from: make(chan timerCheckFrom, 1)}
	if !t.checkup.CompareAndSwap(nil, ask) {
		return timerCheckFrom{}, errors.New("it is done already")
	}
	t.Notify()
	ctx, cancel := context.WithTimeout(ctx, timerCheckWait)
	defer cancel()
	select {
	case from := <-ask.from:
		return from, nil
	case <-ctx.Done():
	}
	if !t.checkup.CompareAndSwap(ask, nil) { // it came at the last moment
		return <-ask.from, nil
	}
	return timerCheckFrom{}, fmt.Errorf("the timer does not move on: %w", ctx.Err())
}

// answerCheck lets a check begin if nothing of the present slot is delivered and everything is written. Run calls it.
func (t *Timer) answerCheck() {
	ask := t.checkup.Load()
	if ask == nil || t.batch.count > 0 || len(t.log.batch)+len(t.wheel.touched) > 0 {
		return
	}
	if len(t.loaded) > 0 && t.loaded[0].delivered {
		return
	}
	if t.checkup.CompareAndSwap(ask, nil) {
		t.metrics.follow()
		ask.from <- timerCheckFrom{readMs: t.readMs, first: t.log.first, made: t.log.made, end: t.log.end}
	}
}

// countRecords calls count with the records of the slots that are not done. Of a slot with a new chain the records of the old
// one do not count.
func (t *Timer) countRecords(ctx context.Context, from timerCheckFrom, count func(*timerRecord) error) error {
	firsts, pos, err := t.chainBegins(from)
	if err != nil || pos >= from.end {
		return err
	}
	log := &timerLog{dir: t.log.dir, fileBytes: t.log.fileBytes, faults: t.log.faults, files: make(map[int64]*os.File),
		first: from.first, made: from.made, end: from.end}
	defer log.close()
	var failed error
	end, err := log.each(pos, func(pos int64, r *timerRecord) bool {
		if pos >= from.end {
			return false
		}
		unit := t.wheel.unit(r.atMs())
		if first := firsts[unit%t.wheel.slots]; r.topicHash == 0 || t.wheel.floor(r.atMs()) < from.readMs || first == 0 || pos < first-1 {
			return true
		}
		failed = errors.Join(count(r), ctx.Err())
		return failed == nil
	})
	if err = errors.Join(err, failed); err == nil && end < from.end && !log.endsAt(end) {
		err = log.damaged(end, "no record")
	}
	return err
}

// chainBegins returns for each slot of the wheel where its chain begins, and one more, or 0 when it has none or is done; and the
// first of these positions.
func (t *Timer) chainBegins(from timerCheckFrom) (firsts []int64, least int64, err error) {
	firsts, least = make([]int64, t.wheel.slots), math.MaxInt64
	unit := t.wheel.unit(from.readMs)
	_, err = t.wheel.each(func(s timerSlot) {
		if s.unit >= unit && s.unit < unit+t.wheel.slots && s.first >= 0 && s.first < from.end {
			firsts[s.unit%t.wheel.slots] = s.first + 1
			least = min(least, s.first)
		}
	})
	return firsts, max(least, from.first), err
}

// realTopicAt reads the topic that a message is for; "" when it is gone.
func (t *Timer) realTopicAt(physOffset int64) (string, error) {
	record, err := t.store.MessageAt(physOffset)
	var m timerMessage
	if err == nil {
		err = m.parse(record)
	}
	if err != nil {
		return "", ignoreMissing(err)
	}
	return string(m.realTopic), nil
}
