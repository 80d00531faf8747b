package processor

import (
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// CLEAN_EXPIRED_CONSUMEQUEUE 306, CLEAN_UNUSED_TOPIC 316, DELETE_EXPIRED_COMMITLOG 329.
//
// Behavior:
// * 329 answers at once; the next 20 rounds of retention delete what has expired at any hour.
// * 316 deletes the queues of topics that are in no table; those of the broker and light queues stay.
// * 306 deletes queues without messages, as Java does, but their offsets go on: Java's begin again at 0, and its consumers then
//   skip what is sent before they notice.
//
// Apache: AdminBrokerProcessor.

// lightTopicPrefix begins the names of light message queues. Apache: MixAll.LMQ_PREFIX.
const lightTopicPrefix = "%LMQ%"

// cleanQueues answers CLEAN_EXPIRED_CONSUMEQUEUE.
func (p *Processor) cleanQueues(req *remoting.Request) (*codec.Command, error) {
	n, err := p.store.DeleteExpiredQueues(func(topic string) bool { return !p.topics.IsSystem(topic) })
	if err != nil {
		return nil, err
	}
	p.log.Info("queues without messages deleted", "queues", n, "client", req.Conn.RemoteAddr())
	return req.Response(codec.Success), nil
}

// cleanTopics answers CLEAN_UNUSED_TOPIC.
func (p *Processor) cleanTopics(req *remoting.Request) (*codec.Command, error) {
	names, err := p.store.DeleteUnusedTopics(func(topic string) bool {
		_, known := p.topics.Get(topic)
		return known || p.topics.IsSystem(topic) || strings.HasPrefix(topic, lightTopicPrefix)
	})
	if err != nil {
		return nil, err
	}
	p.log.Info("queues of unknown topics deleted", "topics", len(names), "client", req.Conn.RemoteAddr())
	return req.Response(codec.Success), nil
}

// cleanLog answers DELETE_EXPIRED_COMMITLOG.
func (p *Processor) cleanLog(req *remoting.Request) (*codec.Command, error) {
	p.store.CleanSoon()
	p.log.Info("expired messages are deleted at any hour", "client", req.Conn.RemoteAddr())
	return req.Response(codec.Success), nil
}
