package remoting

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// LatencySteps are the ends of the steps of Call.Steps; a last step has what took longer. Apache: RemotingMetricsManager.
var LatencySteps = [...]time.Duration{
	time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 7 * time.Millisecond, 10 * time.Millisecond,
	100 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second,
}

// onewayCode stands for the answer of a one-way request.
const onewayCode = -1

// maxCallKinds bounds the kinds of calls that are told apart; a handful of codes times a handful of answers occur.
const maxCallKinds = 4096

// CallKind is what requests are counted by.
type CallKind struct {
	// Code is the request's code, ResponseCode that of its answer, -1 for a one-way request, which has none.
	Code, ResponseCode int32
	// Parked requests waited for something to happen before they were answered.
	Parked bool
}

// Call counts the requests of one kind since the start.
type Call struct {
	CallKind
	Count int64
	// Sum is the time from the arrival of the requests to their answers, Steps how many took how long.
	Sum   time.Duration
	Steps [len(LatencySteps) + 1]int64
}

type callCounter struct {
	sumNs atomic.Int64
	steps [len(LatencySteps) + 1]atomic.Int64
}

// callCounters counts calls by kind. Looking one up takes no lock.
type callCounters struct {
	kinds atomic.Pointer[map[CallKind]*callCounter]
	mu    sync.Mutex // held to replace the map
}

// add counts n calls that took so long each.
func (c *callCounters) add(kind CallKind, n int64, took time.Duration) {
	counter := c.counter(kind)
	if counter == nil {
		return
	}
	step := 0
	for step < len(LatencySteps) && took > LatencySteps[step] {
		step++
	}
	counter.steps[step].Add(n)
	counter.sumNs.Add(n * int64(took))
}

func (c *callCounters) counter(kind CallKind) *callCounter {
	known := c.kinds.Load()
	if known != nil {
		if counter := (*known)[kind]; counter != nil {
			return counter
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[CallKind]*callCounter)
	if known = c.kinds.Load(); known != nil {
		maps.Copy(next, *known)
	}
	if next[kind] == nil {
		if len(next) >= maxCallKinds {
			return nil
		}
		next[kind] = new(callCounter)
		c.kinds.Store(&next)
	}
	return next[kind]
}

// turnCalls are the calls that a loop has answered in a turn. They count as answered when the turn ends.
type turnCalls []struct {
	kind CallKind
	n    int64
}

func (t *turnCalls) add(kind CallKind) {
	calls := *t
	for i := range calls {
		if calls[i].kind == kind {
			calls[i].n++
			return
		}
	}
	*t = append(calls, struct {
		kind CallKind
		n    int64
	}{kind, 1})
}

// flush hands the turn's calls over, which all took the same.
func (t *turnCalls) flush(to *callCounters, took time.Duration) {
	for _, call := range *t {
		to.add(call.kind, call.n, took)
	}
	*t = (*t)[:0]
}

// Calls returns the requests that were answered, by kind.
func (s *Server) Calls() []Call {
	known := s.calls.kinds.Load()
	if known == nil {
		return nil
	}
	calls := make([]Call, 0, len(*known))
	for kind, counter := range *known {
		call := Call{CallKind: kind, Sum: time.Duration(counter.sumNs.Load())}
		for i := range counter.steps {
			call.Steps[i] = counter.steps[i].Load()
			call.Count += call.Steps[i]
		}
		calls = append(calls, call)
	}
	return calls
}
