package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// maxFreshTopics bounds the topics that are told by themselves; more are registered with all the others.
const maxFreshTopics = 64

// freshTopics are the changes that a name server has not heard of since all topics were registered.
type freshTopics struct {
	mu sync.Mutex // guards all below
	// number is that of the latest change.
	number int64
	topics []codec.QueuesOfTopic
	// all says that there was a change that only the registration of all topics can tell, or that none was registered yet.
	all bool
}

// add takes a change; without topics it is one of all.
func (f *freshTopics) add(number int64, topics []codec.QueuesOfTopic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number = number
	if len(topics) == 0 || len(f.topics)+len(topics) > maxFreshTopics {
		f.all, f.topics = true, nil
	}
	if !f.all {
		f.topics = append(f.topics, topics...)
	}
}

// clear forgets changes that are about to be registered with all topics.
func (f *freshTopics) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.topics = false, nil
}

// spoil has everything told by the next registration of all topics.
func (f *freshTopics) spoil() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.topics = true, nil
}

// take returns the topics to be told by themselves and the number of the change that is then known; false when that cannot be.
func (f *freshTopics) take() ([]codec.QueuesOfTopic, int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	topics := f.topics
	f.topics = nil
	return topics, f.number, !f.all
}

// errOtherConn says that a name server may have been started anew since all topics were registered.
var errOtherConn = errors.New("the connection is another one")

// tellFresh tells a name server topics by themselves, how many, and reports whether it knows all changes now. It tells them only over the connection
// over which all topics were registered: a name server that does not know the broker, because it was started anew, answers success and
// forgets the topic. Apache: BrokerOuterAPI.registerSingleTopicAll.
func (r *Registrar) tellFresh(ctx context.Context, l *namesrvLink) (count int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return 0, true
	}
	topics, number, ok := l.fresh.take()
	if !ok || l.conn == 0 || l.conn == l.plain {
		l.fresh.spoil()
		return 0, false
	}
	for _, t := range topics {
		if err := r.tell(ctx, l, t); err != nil {
			r.opts.Logger.Debug("topic is not told by itself", "namesrv", l.addr, "topic", t.Topic, "err", err)
			l.conn = 0
			l.fresh.spoil()
			return 0, false
		}
	}
	l.told.Store(number)
	r.progressed()
	return len(topics), true
}

func (r *Registrar) tell(ctx context.Context, l *namesrvLink, t codec.QueuesOfTopic) error {
	t.Queues.BrokerName = r.opts.Broker
	body, err := codec.MarshalJSON(codec.TopicRouteData{QueueDatas: []codec.QueueData{t.Queues}})
	if err != nil {
		return err
	}
	if r.opts.Client.ConnID(l.addr) != l.conn {
		return errOtherConn
	}
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	resp, err := r.opts.Client.Call(ctx, l.addr, request(codec.RegisterTopicInNamesrv, body, &codec.RegisterTopicHeader{Topic: t.Topic}))
	switch {
	case err != nil:
		return err
	case resp.Code != codec.Success:
		l.plain = l.conn
		return fmt.Errorf("name server answers %d: %s", resp.Code, resp.Remark)
	case r.opts.Client.ConnID(l.addr) != l.conn:
		return errOtherConn
	}
	return nil
}
