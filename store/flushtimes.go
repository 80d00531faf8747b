package store

import (
	"sync/atomic"
	"time"
)

// flushSteps are the ends of the steps of FlushTimes.
var flushSteps = [...]time.Duration{100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond}

// FlushTimes is how long flushes of the log took since the store was opened: Counts by Ends, and one more for those above.
type FlushTimes struct {
	Ends   []time.Duration
	Counts []int64
	Sum    time.Duration
}

// flushTimes are the counters behind FlushTimes.
type flushTimes struct {
	sum   atomic.Int64
	steps [len(flushSteps) + 1]atomic.Int64
}

func (t *flushTimes) add(took time.Duration) {
	step := 0
	for step < len(flushSteps) && took > flushSteps[step] {
		step++
	}
	t.steps[step].Add(1)
	t.sum.Add(int64(took))
}

// FlushTimes returns how long each flush of the log took, one that failed too.
func (s *Store) FlushTimes() FlushTimes {
	t := &s.flusher.times
	times := FlushTimes{Ends: flushSteps[:], Counts: make([]int64, len(t.steps)), Sum: time.Duration(t.sum.Load())}
	for i := range t.steps {
		times.Counts[i] = t.steps[i].Load()
	}
	return times
}
