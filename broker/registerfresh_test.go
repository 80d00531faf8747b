package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// createAlone adds a topic and says that nothing else has changed.
func (r *registering) createAlone(topic string) {
	r.add(topic)
	r.ChangedTopics([]codec.QueuesOfTopic{{Topic: topic, Queues: codec.QueueData{Perm: 6, ReadQueueNums: 3, WriteQueueNums: 4, TopicSysFlag: 1}}})
}

// awaitChanged fails when the name servers are not told of the changes so far.
func (r *registering) awaitChanged(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), registerPatience)
	defer cancel()
	r.AwaitChanged(ctx)
	require.NoError(t, ctx.Err())
}

func TestNewTopicIsToldByItself(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(*RegistrarOptions) {}, ns.addr)
	ns.next(codec.RegisterBroker)
	r.AwaitFirst()
	for i := range 5 {
		topic := fmt.Sprintf("T%d", i)
		r.createAlone(topic)
		r.awaitChanged(t)
		h := ns.nextButAll(t)
		require.Equal(t, topic, h.fields["topic"])
		require.Equal(t, []codec.QueueData{{BrokerName: "broker-a", Perm: 6, ReadQueueNums: 3, WriteQueueNums: 4, TopicSysFlag: 1}}, h.route.QueueDatas)
	}
	for {
		if h := ns.next(codec.RegisterBroker); h.version.Counter == 5 {
			require.Len(t, h.topics, 6, "all topics follow")
			return
		}
	}
}

// nextButAll returns the next request that does not register all topics.
func (f *fakeNamesrv) nextButAll(t *testing.T) heard {
	for {
		if h := <-f.heard; h.code != codec.RegisterBroker {
			require.Equal(t, codec.RegisterTopicInNamesrv, h.code)
			return h
		}
	}
}

// A name server that was started anew does not know the broker: it would answer success and forget the topic.
func TestNameServerStartedAnewIsToldAllTopics(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(*RegistrarOptions) {}, ns.addr)
	ns.next(codec.RegisterBroker)
	r.AwaitFirst()
	ns.close()
	ns = openFakeNamesrv(t, ns.addr)
	require.Eventually(t, func() bool { return r.opts.Client.ConnID(ns.addr) == 0 }, registerPatience, time.Millisecond)
	r.createAlone("T")
	require.Contains(t, ns.next(codec.RegisterBroker).topics, "T")
	r.awaitChanged(t)
	r.createAlone("U")
	require.Equal(t, "U", ns.nextButAll(t).fields["topic"], "over the new connection it knows the broker")
}

// Apache's name servers before 5.0 do not know the request; they are asked once.
func TestNameServerThatTakesNoSingleTopics(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	ns.answerWith(func(code int32) (int32, string) {
		if code == codec.RegisterTopicInNamesrv {
			return codec.RequestCodeNotSupported, "no"
		}
		return codec.Success, ""
	})
	r := startRegistrar(t, func(*RegistrarOptions) {}, ns.addr)
	ns.next(codec.RegisterBroker)
	r.AwaitFirst()
	r.createAlone("T")
	require.Equal(t, "T", ns.next(codec.RegisterTopicInNamesrv).fields["topic"])
	require.Contains(t, ns.next(codec.RegisterBroker).topics, "T")
	r.awaitChanged(t)
	r.createAlone("U")
	require.Contains(t, ns.next(codec.RegisterBroker).topics, "U")
}

// What changes at once beyond a bound, and what is gone, is told with all topics.
func TestManyNewTopicsAreToldTogether(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(*RegistrarOptions) {}, ns.addr)
	ns.next(codec.RegisterBroker)
	r.AwaitFirst()
	var topics []codec.QueuesOfTopic
	for i := range maxFreshTopics + 1 {
		topics = append(topics, codec.QueuesOfTopic{Topic: fmt.Sprintf("T%d", i)})
		r.add(topics[i].Topic)
	}
	r.ChangedTopics(topics)
	require.Len(t, ns.next(codec.RegisterBroker).topics, maxFreshTopics+2)
	r.awaitChanged(t)
}
