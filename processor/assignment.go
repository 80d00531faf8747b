package processor

import (
	"cmp"
	"errors"
	"slices"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// QUERY_ASSIGNMENT 400, SET_MESSAGE_REQUEST_MODE 401, GET_ALL_MESSAGE_REQUEST_MODE 402: the broker tells a client which queues to read,
// and how.
//
// Behavior:
// * The queues are those of the topic on all brokers, as the name servers know them. Without a route, members or a known
//   strategy the answer names no list at all, and the client changes nothing; an empty list takes its queues away.
// * Strategies are AVG and AVG_BY_CIRCLE, as in Java's broker.
// * POP: each member reads queue -1 of every broker, or with popShareQueueNum its own queues and those of that many members
//   behind it. Retry topics are always pulled.
//
// Apache: QueryAssignmentProcessor.

// assignment is the memory of nothing: all of it is in the request.
type assignment struct {
	request codec.QueryAssignmentRequest
	mode    codec.MessageRequestMode
	queues  []codec.MessageQueue
	members []string
}

var errNoBody = errors.New("the request has no body")

// queryAssignment answers QUERY_ASSIGNMENT. It may ask a name server, so it runs on a pool.
func (p *Processor) queryAssignment(req *remoting.Request) (*codec.Command, error) {
	var a assignment
	if len(req.Body) == 0 {
		return nil, errNoBody
	}
	if err := codec.UnmarshalJSON(req.Body, &a.request); err != nil {
		return nil, err
	}
	a.mode = p.requestMode(a.request.Topic, a.request.ConsumerGroup)
	var answer codec.QueryAssignmentResponse
	if queues, ok := p.assign(&a); ok {
		list := make([]codec.MessageQueueAssignment, 0, len(queues))
		for _, q := range queues {
			list = append(list, codec.MessageQueueAssignment{MessageQueue: q, Mode: a.mode.Mode})
		}
		answer.MessageQueueAssignments = &list
	}
	return jsonResponse(req, &answer)
}

// requestMode is how a group gets a topic's messages.
func (p *Processor) requestMode(topic, group string) codec.MessageRequestMode {
	if p.opts.RequestModes != nil {
		if mode, ok := p.opts.RequestModes.Get(topic, group); ok {
			return mode
		}
	}
	live := p.live()
	mode := codec.MessageRequestMode{Topic: topic, ConsumerGroup: group, Mode: live.RequestMode}
	if isRetryTopic(topic) {
		mode.Mode = modePull
	}
	if mode.Mode == modePop {
		mode.PopShareQueueNum = live.PopShareQueueNum
	}
	return mode
}

const (
	modePull = "PULL"
	modePop  = "POP"
)

// assign returns the queues of a client in order, each once; false when nothing can be said.
func (p *Processor) assign(a *assignment) (queues []codec.MessageQueue, ok bool) {
	if p.opts.Route == nil {
		return nil, false
	}
	if a.queues, ok = p.opts.Route(a.request.Topic); !ok {
		return nil, false
	}
	a.queues = sortedQueues(a.queues)
	switch a.request.MessageModel {
	case codec.Broadcasting:
		return a.queues, true
	case codec.Clustering:
	default:
		return nil, false
	}
	if !p.live().ServerLoadBalancer {
		return a.queues, true
	}
	for _, m := range p.clients.Members(a.request.ConsumerGroup) {
		a.members = append(a.members, m.ID)
	}
	slices.Sort(a.members)
	allocate := strategies[a.request.StrategyName]
	if len(a.members) == 0 || len(a.queues) == 0 || a.request.ClientID == "" || allocate == nil {
		p.log.Warn("no assignment", "topic", a.request.Topic, "group", a.request.ConsumerGroup, "client", a.request.ClientID,
			"members", len(a.members), "strategy", a.request.StrategyName)
		return nil, false
	}
	if a.mode.Mode == modePop {
		return sortedQueues(a.forPop(allocate)), true
	}
	return allocate(a.request.ClientID, a.queues, a.members), true
}

// sortedQueues brings queues into Java's order and drops what is there twice.
func sortedQueues(queues []codec.MessageQueue) []codec.MessageQueue {
	queues = slices.Clone(queues)
	slices.SortFunc(queues, func(a, b codec.MessageQueue) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.BrokerName, b.BrokerName), cmp.Compare(a.QueueID, b.QueueID))
	})
	return slices.Compact(queues)
}

// forPop assigns queues that several members may read. Apache: QueryAssignmentProcessor.allocate4Pop.
func (a *assignment) forPop(allocate strategy) (queues []codec.MessageQueue) {
	share, at := int(a.mode.PopShareQueueNum), slices.Index(a.members, a.request.ClientID)
	switch {
	case share <= 0 || share >= len(a.members)-1:
		for _, q := range a.queues {
			q.QueueID = -1
			queues = append(queues, q)
		}
	case at < 0:
	case len(a.members) <= len(a.queues):
		for i := range share + 1 {
			queues = append(queues, allocate(a.members[(at+i)%len(a.members)], a.queues, a.members)...)
		}
	default:
		queues = append(queues, a.queues[at%len(a.queues)])
	}
	return queues
}

// strategy divides queues among members, both in order.
type strategy func(clientID string, queues []codec.MessageQueue, members []string) []codec.MessageQueue

var strategies = map[string]strategy{"AVG": allocateAveragely, "AVG_BY_CIRCLE": allocateByCircle}

// allocateAveragely gives each member a run of queues. Apache: AllocateMessageQueueAveragely.
func allocateAveragely(clientID string, queues []codec.MessageQueue, members []string) []codec.MessageQueue {
	at := slices.Index(members, clientID)
	if at < 0 {
		return nil
	}
	each, more := len(queues)/len(members), len(queues)%len(members)
	from := at*each + min(at, more)
	if at < more {
		each++
	}
	return slices.Clone(queues[from : from+each])
}

// allocateByCircle deals the queues out one by one. Apache: AllocateMessageQueueAveragelyByCircle.
func allocateByCircle(clientID string, queues []codec.MessageQueue, members []string) (list []codec.MessageQueue) {
	at := slices.Index(members, clientID)
	for ; at >= 0 && at < len(queues); at += len(members) {
		list = append(list, queues[at])
	}
	return list
}

// setRequestMode answers SET_MESSAGE_REQUEST_MODE.
func (p *Processor) setRequestMode(req *remoting.Request) (*codec.Command, error) {
	if len(req.Body) == 0 {
		return nil, errNoBody
	}
	var mode codec.MessageRequestMode
	if err := codec.UnmarshalJSON(req.Body, &mode); err != nil {
		return nil, err
	}
	if isRetryTopic(mode.Topic) {
		return nil, refuse(codec.NoPermission, "retry topic is not allowed to set mode")
	}
	if _, ok := p.topics.Get(mode.Topic); !ok {
		return nil, refuse(codec.TopicNotExist, "topic[%s] not exist", mode.Topic)
	}
	if _, ok := p.groups.Find([]byte(mode.ConsumerGroup)); !ok {
		return nil, refuse(codec.SubscriptionGroupNotExist, "subscription group does not exist")
	}
	if mode.Mode != modePop && mode.Mode != modePull {
		return nil, refuse(codec.InvalidParameter, "mode is %q, want PULL or POP", mode.Mode)
	}
	if p.opts.RequestModes == nil {
		return nil, refuse(codec.SystemError, "this broker has no table of request modes")
	}
	if err := p.opts.RequestModes.Set(mode); err != nil {
		if errors.Is(err, store.ErrTableFull) {
			return nil, refuse(codec.SystemError, "%v", err)
		}
		return nil, err
	}
	p.log.Info("request mode was set", "topic", mode.Topic, "group", mode.ConsumerGroup, "mode", mode.Mode, "share", mode.PopShareQueueNum)
	return req.Response(codec.Success), nil
}

// allRequestModes answers GET_ALL_MESSAGE_REQUEST_MODE.
func (p *Processor) allRequestModes(req *remoting.Request) (*codec.Command, error) {
	if p.opts.RequestModes == nil {
		return nil, refuse(codec.SystemError, "No message request mode in this broker")
	}
	body, err := p.opts.RequestModes.JSON()
	if err != nil {
		return nil, err
	}
	resp := req.Response(codec.Success)
	resp.Body = body
	return resp, nil
}
