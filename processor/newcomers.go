package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// Heartbeats of groups that are new.
//
// Each has to wait until its %RETRY% topics are on disk and at the name servers. Thousands may come at once, when all clients of a cluster
// turn to a broker that does not know their groups, and give up after 3 s (Java's timeout). So they hold no workers while they
// wait: one worker creates, and whoever comes meanwhile shares the next write and the next registration with all the others.

const (
	// maxNewcomers and maxNewcomerBytes bound the heartbeats that wait and their bodies; beyond them a worker waits with its own.
	maxNewcomers     = 20_000
	maxNewcomerBytes = 64 << 20
)

// newcomers are the heartbeats that wait for retry topics.
type newcomers struct {
	p *Processor

	mu      sync.Mutex // guards all below
	waiting []*newcomer
	bytes   int
	// creating says that some worker is at it, or will be.
	creating bool
}

type newcomer struct {
	from   Client
	data   codec.HeartbeatData
	topics []*codec.TopicConfig
	answer remoting.Parked
}

// join creates the retry topics that a heartbeat lacks, and returns false when they are there. When others are being created it parks the
// request, which is answered with the next ones, and returns true.
func (n *newcomers) join(req *remoting.Request, from Client, data *codec.HeartbeatData) bool {
	topics := n.p.missingRetryTopics(data)
	if len(topics) == 0 {
		return false
	}
	n.mu.Lock()
	if n.creating && len(n.waiting) < maxNewcomers && n.bytes+len(req.Body) <= maxNewcomerBytes {
		one := &newcomer{from: from, data: *data, topics: topics}
		req.ParkIn(&one.answer)
		n.waiting = append(n.waiting, one)
		n.bytes += len(req.Body)
		n.mu.Unlock()
		return true
	}
	first := !n.creating
	n.creating = true
	n.mu.Unlock()
	if first {
		defer n.next()
	}
	n.p.createRetryTopics(topics)
	return false
}

// next has those who wait served, by this goroutine when the pool has no room.
func (n *newcomers) next() {
	for n.begins() && !n.p.opts.Submit(remoting.PoolClient, n) {
		n.serve()
	}
}

// begins reports whether there is somebody to be served; if not, the next newcomer is the first again.
func (n *newcomers) begins() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.creating = len(n.waiting) > 0
	return n.creating
}

// Run serves those who wait and, when some have come meanwhile, has them served.
func (n *newcomers) Run() {
	defer n.next()
	n.serve()
}

func (n *newcomers) serve() {
	n.mu.Lock()
	all := n.waiting
	n.waiting, n.bytes = nil, 0
	n.mu.Unlock()
	var topics []*codec.TopicConfig
	for _, one := range all {
		topics = append(topics, one.topics...)
	}
	n.p.createRetryTopics(topics)
	for _, one := range all {
		n.p.answerNewcomer(one)
	}
}

// answerNewcomer goes on with a heartbeat whose topics are there, or could not be created.
func (p *Processor) answerNewcomer(one *newcomer) {
	resp, err := p.beat(one.answer.Response(codec.Success), one.from, &one.data)
	if err != nil {
		resp = errorResponse(&one.answer, err)
	}
	if err := one.answer.Reply(resp); err != nil {
		p.log.Debug("answer not sent", "client", one.from.ID, "code", codec.HeartBeat, "err", err)
	}
}

// missingRetryTopics are the retry topics that a heartbeat's groups have to be given.
func (p *Processor) missingRetryTopics(data *codec.HeartbeatData) []*codec.TopicConfig {
	var topics []*codec.TopicConfig
	for i := range data.ConsumerDataSet {
		group := &data.ConsumerDataSet[i]
		cfg, ok := p.acceptsGroup(group)
		if !ok || !p.lacksRetryTopic(group) {
			continue
		}
		topic := store.NewRetryTopic(group.GroupName, cfg.RetryQueueNums, p.wantsOrder(group))
		if group.UnitMode {
			topic.TopicSysFlag = codec.TopicUnitSub
		}
		topics = append(topics, topic)
	}
	return topics
}

// createRetryTopics returns when topics are on disk and registered. A client whose topics cannot be created is served all the same.
func (p *Processor) createRetryTopics(topics []*codec.TopicConfig) {
	if err := p.topics.CreateAllIfAbsent(topics); err != nil {
		p.log.Error("create retry topics", "topics", len(topics), "error", err)
	}
	p.awaitRegistered()
}
