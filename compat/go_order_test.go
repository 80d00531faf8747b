package compat

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

const orderKeys = 12

// goOrder sends keys in order and keeps what the members of a group take.
type goOrder struct {
	tg    *Target
	topic string
	group string

	mu     sync.Mutex
	all    []taken
	acked  map[string]place
	errors int

	end  chan struct{}
	done chan struct{}
}

// send sends a number until it is acknowledged, and only then the next one of its key, until the test ends it.
func (g *goOrder) send(p rocketmq.Producer) {
	defer close(g.done)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for turn := 0; ; {
		select {
		case <-g.end:
			return
		case <-pace.C:
		}
		key := turn % orderKeys
		id := fmt.Sprintf("k%d/%d", key, turn/orderKeys)
		msg := message(g.topic, id).WithShardingKey(fmt.Sprint("k", key))
		msg.Queue = &primitive.MessageQueue{Topic: g.topic, BrokerName: g.tg.BrokerName, QueueId: key % orderQueues}
		res, err := p.SendSync(context.Background(), msg)
		g.mu.Lock()
		if err == nil && res.Status == primitive.SendOK {
			g.acked[id] = place{res.MessageQueue.QueueId, res.QueueOffset}
			turn++
		} else {
			g.errors++
		}
		g.mu.Unlock()
	}
}

// join starts a member.
func (g *goOrder) join(t testing.TB, name string) rocketmq.PushConsumer {
	t.Helper()
	return startPush(t, g.tg, g.group, g.topic, func(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, m := range msgs {
			g.all = append(g.all, taken{name, string(m.Body), place{m.Queue.QueueId, m.QueueOffset}})
		}
		return consumer.ConsumeSuccess, nil
	}, consumer.WithConsumerOrder(true))
}

// awaitQueues waits until a member takes from so many queues from now on.
func (g *goOrder) awaitQueues(t testing.TB, member string, n int) {
	t.Helper()
	g.mu.Lock()
	from := len(g.all)
	g.mu.Unlock()
	eventually(t, 120*time.Second, func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		queues := map[int]bool{}
		for _, m := range g.all[from:] {
			if m.member == member {
				queues[m.at.queueID] = true
			}
		}
		if len(queues) < n {
			return fmt.Errorf("%s takes from %d queues, not %d", member, len(queues), n)
		}
		return nil
	})
}

// awaitError waits for a send that fails from now on.
func (g *goOrder) awaitError(t testing.TB) {
	t.Helper()
	g.mu.Lock()
	from := g.errors
	g.mu.Unlock()
	eventually(t, 60*time.Second, func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.errors == from {
			return fmt.Errorf("no send has failed")
		}
		return nil
	})
}

// finish ends the producer and waits until all that was acknowledged has been taken.
func (g *goOrder) finish(t testing.TB) {
	t.Helper()
	close(g.end)
	<-g.done
	eventually(t, 90*time.Second, func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		seen := map[string]bool{}
		for _, m := range g.all {
			seen[m.id] = true
		}
		for id, at := range g.acked {
			if !seen[id] {
				return fmt.Errorf("%s, acknowledged at %v, has not been taken", id, at)
			}
		}
		return nil
	})
}

// TestGoOrder has keys sent in order, each to its queue, while the broker is killed, and a member leaves and another one comes in its place.
// They are not there at once: this client does not unlock the queues that it gives up to another member, which then
// waits for the end of the locks.
func TestGoOrder(t *testing.T) {
	tg := onOwn(t)
	g := &goOrder{tg: tg, topic: newTopic(t, tg, orderQueues), group: newGroup(t, tg), acked: map[string]place{},
		end: make(chan struct{}), done: make(chan struct{})}
	first := g.join(t, "first")
	go g.send(newProducer(t, tg, producer.WithQueueSelector(producer.NewManualQueueSelector())))
	g.awaitQueues(t, "first", orderQueues)
	tg.KillBroker(t)
	g.awaitError(t)
	tg.StartBroker(t)
	g.awaitQueues(t, "first", orderQueues)

	require.NoError(t, first.Shutdown())
	g.join(t, "second")
	g.awaitQueues(t, "second", orderQueues)
	g.finish(t)
	g.mu.Lock()
	defer g.mu.Unlock()
	requireOrder(t, g.all, g.acked, 3)
}
