package compat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

// The Go client keeps one connection set per instance name, also across producers and consumers of one process, so each
// gets a name of its own here.

func newProducer(t testing.TB, tg *Target, opts ...producer.Option) rocketmq.Producer {
	t.Helper()
	all := append([]producer.Option{
		producer.WithNameServer(primitive.NamesrvAddr{tg.Namesrv()}),
		producer.WithGroupName(unique("PG")),
		producer.WithInstanceName(unique("producer")),
		producer.WithRetry(0),
	}, opts...)
	p, err := rocketmq.NewProducer(all...)
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Shutdown() })
	return p
}

// inbox collects what consumers were given.
type inbox struct {
	mu   sync.Mutex
	msgs []*primitive.MessageExt
}

func (b *inbox) add(msgs ...*primitive.MessageExt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.msgs = append(b.msgs, msgs...)
}

func (b *inbox) all() []*primitive.MessageExt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.msgs)
}

func (b *inbox) bodies() []string {
	var texts []string
	for _, m := range b.all() {
		texts = append(texts, string(m.Body))
	}
	return texts
}

// count is how many bodies begin with a prefix.
func (b *inbox) count(prefix string) int {
	n := 0
	for _, body := range b.bodies() {
		if strings.HasPrefix(body, prefix+"-") {
			n++
		}
	}
	return n
}

// awaitBodies waits until the inbox holds exactly these bodies, in whatever order.
func (b *inbox) awaitBodies(t testing.TB, limit time.Duration, want []string) {
	t.Helper()
	wanted := slices.Sorted(slices.Values(want))
	eventually(t, limit, func() error {
		got := b.bodies()
		slices.Sort(got)
		if !slices.Equal(wanted, got) {
			return fmt.Errorf("want %d messages %.200q, got %d: %.200q", len(wanted), wanted, len(got), got)
		}
		return nil
	})
}

// awaitDistinct waits until each of these bodies has arrived, some maybe more than once.
func (b *inbox) awaitDistinct(t testing.TB, limit time.Duration, want []string) {
	t.Helper()
	b.awaitTimes(t, limit, want, 1)
}

// awaitTimes waits until each of these bodies has arrived so often.
func (b *inbox) awaitTimes(t testing.TB, limit time.Duration, want []string, times int) {
	t.Helper()
	eventually(t, limit, func() error {
		seen := map[string]int{}
		for _, body := range b.bodies() {
			seen[body]++
		}
		for _, body := range want {
			if seen[body] < times {
				return fmt.Errorf("%q has arrived %d times, %d of %d bodies at all", body, seen[body], len(seen), len(want))
			}
		}
		return nil
	})
}

type handler func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// consume puts messages into the inbox and acknowledges them.
func (b *inbox) consume(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	b.add(msgs...)
	return consumer.ConsumeSuccess, nil
}

// pushConsumer builds a push consumer without starting it.
func pushConsumer(t testing.TB, tg *Target, group string, opts ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	all := append([]consumer.Option{
		consumer.WithNameServer(primitive.NamesrvAddr{tg.Namesrv()}),
		consumer.WithGroupName(group),
		consumer.WithInstance(unique("consumer")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, opts...)
	c, err := rocketmq.NewPushConsumer(all...)
	require.NoError(t, err)
	return c
}

// startPush starts a push consumer of one topic that ends with the test.
func startPush(t testing.TB, tg *Target, group, topic string, h handler, opts ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	return startPushTags(t, tg, group, topic, "*", h, opts...)
}

func startPushTags(t testing.TB, tg *Target, group, topic, tags string, h handler, opts ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	c := pushConsumer(t, tg, group, opts...)
	require.NoError(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}, h))
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Shutdown() })
	return c
}

// broadcastDir is where the Go client keeps offsets of a broadcast group; it goes with the test.
func removeBroadcastOffsets(t testing.TB, group string) {
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(os.Getenv("HOME"), ".rocketmq_client_go", group)) })
}

func message(topic, body string) *primitive.Message { return primitive.NewMessage(topic, []byte(body)) }

// sendAll sends a message per body, one after the other.
func sendAll(t testing.TB, p rocketmq.Producer, topic string, texts []string) []*primitive.SendResult {
	t.Helper()
	var results []*primitive.SendResult
	for _, body := range texts {
		res, err := p.SendSync(context.Background(), message(topic, body))
		require.NoError(t, err)
		require.Equal(t, primitive.SendOK, res.Status)
		results = append(results, res)
	}
	return results
}

func numbered(prefix string, n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return texts
}

// membersOf asks the broker who is in a consumer group.
func membersOf(tg *Target, group string) ([]string, error) {
	res, err := callOnce(tg.Broker(), codeConsumerListByGroup, ext("consumerGroup", group), nil)
	if err != nil {
		return nil, err
	}
	if res.Code != resSuccess {
		return nil, errors.New(res.Remark)
	}
	var list struct {
		ConsumerIDList []string `json:"consumerIdList"`
	}
	return list.ConsumerIDList, unmarshal(res.Body, &list)
}

func awaitMembers(t testing.TB, tg *Target, group string, n int) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		ids, err := membersOf(tg, group)
		if n == 0 && err != nil {
			return nil // a group without members is an error
		}
		if err != nil || len(ids) != n {
			return fmt.Errorf("members of %s: %v, %v; want %d", group, ids, err, n)
		}
		return nil
	})
}
