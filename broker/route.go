package broker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// routeFresh is how long a route is used again without asking.
	routeFresh = 5 * time.Second
	// routeWait is how long the name servers have to answer.
	routeWait = 3 * time.Second
	// maxRoutes bounds the routes that are kept.
	maxRoutes = 10_000
)

// routes asks the name servers for the queues of topics on all brokers. Apache: TopicRouteInfoManager.
type routes struct {
	ask func(ctx context.Context, topic string) (*codec.TopicRouteData, error)
	now func() time.Time

	mu    sync.Mutex // guards what follows
	known map[string]route
}

type route struct {
	queues   []codec.MessageQueue // readable
	writable []codec.MessageQueue
	ok       bool
	at       time.Time
}

// queues returns the readable queues of a topic; false when no name server knows it.
func (r *routes) queues(topic string) ([]codec.MessageQueue, bool) {
	route := r.of(topic)
	return route.queues, route.ok
}

// writeQueues returns the writable queues of a topic in the order in which clients number them. Apache:
// MQClientInstance.topicRouteData2TopicPublishInfo.
func (r *routes) writeQueues(topic string) ([]codec.MessageQueue, bool) {
	route := r.of(topic)
	return route.writable, route.ok
}

func (r *routes) of(topic string) route {
	now := r.now()
	r.mu.Lock()
	had, known := r.known[topic]
	r.mu.Unlock()
	if known && now.Sub(had.at) < routeFresh {
		return had
	}
	ctx, cancel := context.WithTimeout(context.Background(), routeWait)
	defer cancel()
	data, err := r.ask(ctx, topic)
	if err != nil {
		return had // the name servers may be gone for a while
	}
	next := route{at: now, ok: data != nil}
	if data != nil {
		for _, q := range data.QueueDatas {
			next.queues = appendQueues(next.queues, topic, q.BrokerName, q.Perm&codec.PermRead, q.ReadQueueNums)
		}
		slices.SortStableFunc(data.QueueDatas, func(a, b codec.QueueData) int { return strings.Compare(a.BrokerName, b.BrokerName) })
		for _, q := range data.QueueDatas {
			next.writable = appendQueues(next.writable, topic, q.BrokerName, q.Perm&codec.PermWrite, q.WriteQueueNums)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxRoutes {
		r.known = make(map[string]route)
	}
	r.known[topic] = next
	return next
}

// appendQueues adds the queues of a topic on one broker, unless perm is 0.
func appendQueues(list []codec.MessageQueue, topic, broker string, perm, n int32) []codec.MessageQueue {
	for id := int32(0); perm != 0 && id < n; id++ {
		list = append(list, codec.MessageQueue{BrokerName: broker, QueueID: id, Topic: topic})
	}
	return list
}

// Route asks the name servers in turn for a topic's route; nil when they do not know it. The error is that of the last one, when none
// answered.
func (r *Registrar) Route(ctx context.Context, topic string) (data *codec.TopicRouteData, err error) {
	for _, l := range r.links.now() {
		var resp *codec.Command
		if resp, err = r.opts.Client.Call(ctx, l.addr, request(codec.GetRouteInfoByTopic, nil, &codec.GetRouteInfoHeader{Topic: topic})); err != nil {
			continue
		}
		if resp.Code != codec.Success {
			return nil, nil
		}
		data = new(codec.TopicRouteData)
		if err = codec.UnmarshalJSON(resp.Body, data); err == nil {
			return data, nil
		}
	}
	return nil, err
}
