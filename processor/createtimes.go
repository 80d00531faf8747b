package processor

import (
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// CreateSteps are the ends of the steps in CreateTimes. Apache: BrokerMetricsManager.
var CreateSteps = [...]time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second, 5 * time.Second}

// CreateTimes is how long requests took that create or change topics, or groups: how many by CreateSteps, and longer ones.
type CreateTimes struct {
	// Failed are requests that were refused, System those about a topic of the broker's own.
	Failed, System bool
	Steps          [len(CreateSteps) + 1]int64
	Sum            time.Duration
}

// createTimes are the CreateTimes of a kind of request.
type createTimes struct {
	mu    sync.Mutex // guards times
	times [4]CreateTimes
}

func (t *createTimes) add(took time.Duration, failed, system bool) {
	at := 0
	if failed {
		at++
	}
	if system {
		at += 2
	}
	step := 0
	for step < len(CreateSteps) && took > CreateSteps[step] {
		step++
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.times[at]
	c.Failed, c.System = failed, system
	c.Steps[step]++
	c.Sum += took
}

// seen returns those of which there were any.
func (t *createTimes) seen() (list []CreateTimes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.times {
		if c.Steps != ([len(CreateSteps) + 1]int64{}) {
			list = append(list, c)
		}
	}
	return list
}

// TopicCreateTimes and GroupCreateTimes return how long it took to create or change topics and groups.
func (p *Processor) TopicCreateTimes() []CreateTimes { return p.stats.topicCreates.seen() }

// GroupCreateTimes is TopicCreateTimes for groups.
func (p *Processor) GroupCreateTimes() []CreateTimes { return p.stats.groupCreates.seen() }

// timed is a handler whose time is noted.
func (p *Processor) timed(times *createTimes, handler func(*remoting.Request) (*codec.Command, error)) func(*remoting.Request) (*codec.Command, error) {
	return func(req *remoting.Request) (*codec.Command, error) {
		began := p.opts.Now()
		resp, err := handler(req)
		name, _ := req.Field("topic")
		times.add(p.opts.Now().Sub(began), err != nil || resp != nil && resp.Code != codec.Success, len(name) > 0 && p.topics.IsSystem(string(name)))
		return resp, err
	}
}
