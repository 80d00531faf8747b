package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/require"
)

// acked is a message whose send was answered, and where it lies.
type acked struct {
	body        string
	queueID     int32
	queueOffset int64
	msgID       string
}

// senders send, each on a connection of its own and several requests at a time, until their connections end.
type senders struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	done []acked
}

const sendWindow = 8

func (s *senders) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

// start runs one sender; it ends with its connection.
func (s *senders) start(c *client, topic string, queues int, name string) {
	for w := range sendWindow {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			for i := 0; ; i++ {
				body := fmt.Sprintf("%s-%d-%06d", name, w, i)
				res, err := c.call(codeSendMessage, sendFields(topic, i%queues, props("KEYS", body)), []byte(body))
				if err != nil {
					return
				}
				if res.Code != resSuccess {
					continue // refused, so not owed
				}
				a := acked{body: body, msgID: res.Ext["msgId"]}
				if _, err := fmt.Sscan(res.Ext["queueId"]+" "+res.Ext["queueOffset"], &a.queueID, &a.queueOffset); err != nil {
					return
				}
				s.mu.Lock()
				s.done = append(s.done, a)
				s.mu.Unlock()
			}
		}()
	}
}

// TestKillWhileSending kills the broker in the middle of sends, three times over.
func TestKillWhileSending(t *testing.T) {
	tg := onOwn(t, WithConf("mappedFileSizeCommitLog", "1048576"))
	const topicQueues = 4
	topic := newTopic(t, tg, topicQueues)
	var owed []acked
	for round := range 3 {
		var s senders
		for i := range 4 {
			s.start(connect(t, tg.Broker()), topic, topicQueues, fmt.Sprintf("r%d-s%d", round, i))
		}
		eventually(t, 60*time.Second, func() error {
			if n := s.count(); n < 3000 {
				return fmt.Errorf("%d sends were answered", n)
			}
			return nil
		})
		tg.KillBroker(t)
		s.wg.Wait()
		owed = append(owed, s.done...)
		tg.StartBroker(t)
		checkKept(t, tg, topic, topicQueues, owed)
	}
}

// checkKept reads the whole topic: every acknowledged message lies where the answer said, no message twice, and the
// offsets of each queue have no gap.
func checkKept(t testing.TB, tg *Target, topic string, topicQueues int, owed []acked) {
	t.Helper()
	c := connect(t, tg.Broker())
	at := map[string]acked{}
	for q := range topicQueues {
		all, err := readQueue(c, topic, q)
		require.NoError(t, err)
		for i, r := range all {
			require.Equal(t, int64(i), r.QueueOffset, "queue %d", q)
			require.Equal(t, int32(q), r.QueueID)
			body := string(r.Body)
			_, twice := at[body]
			require.False(t, twice, "%s is there twice", body)
			at[body] = acked{body: body, queueID: r.QueueID, queueOffset: r.QueueOffset}
		}
		res := c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", q), nil)
		require.Equal(t, int64(len(all)), num(t, res, "offset"))
	}
	for _, a := range owed {
		r, there := at[a.body]
		require.True(t, there, "%s was acknowledged and is lost", a.body)
		require.Equal(t, a.queueID, r.queueID)
		require.Equal(t, a.queueOffset, r.queueOffset, a.body)
	}
	for _, a := range []acked{owed[0], owed[len(owed)/2], owed[len(owed)-1]} {
		_, physOffset := parseMessageID(t, a.msgID)
		all, err := decodeRecords(c.ok(t, codeViewMessageByID, ext("offset", physOffset), nil).Body)
		require.NoError(t, err)
		require.Equal(t, []string{a.body}, bodies(all))
		queryFound(t, c, queryFields(topic, a.body), 1)
	}
}

// TestKillWhileConsuming kills the broker while a consumer that stays is in the middle of a backlog.
func TestKillWhileConsuming(t *testing.T) {
	tg := onOwn(t)
	topic, group := newTopic(t, tg, 4), newGroup(t, tg)
	texts := numbered("backlog", 2000)
	c := connect(t, tg.Broker())
	for i, body := range texts {
		put(t, c, topic, i%4, body, "")
	}
	var got inbox
	startPush(t, tg, group, topic, func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		return got.consume(ctx, msgs...)
	}, consumer.WithPullBatchSize(8), consumer.WithPullInterval(5*time.Millisecond))
	eventually(t, 60*time.Second, func() error {
		if n := len(got.all()); n < 300 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	tg.KillBroker(t)
	tg.StartBroker(t)
	got.awaitDistinct(t, 120*time.Second, texts)
	more := numbered("more", 20)
	c = connect(t, tg.Broker())
	for _, body := range more {
		put(t, c, topic, 0, body, "")
	}
	got.awaitDistinct(t, 60*time.Second, more)
	for q := range 4 {
		want := int64(500)
		if q == 0 {
			want += int64(len(more))
		}
		awaitCommitted(t, tg, group, topic, q, want)
	}
}

// TestKillAfterCommit kills the broker when offsets have been committed: a group begins again at an offset that it
// committed, at most an interval of saving earlier.
func TestKillAfterCommit(t *testing.T) {
	tg := onOwn(t, WithConf("flushConsumerOffsetInterval", "1000"))
	topic, group := newTopic(t, tg, 1), newGroup(t, tg)
	c := connect(t, tg.Broker())
	for _, body := range numbered("m", 10) {
		put(t, c, topic, 0, body, "")
	}
	c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 7), nil)
	eventually(t, 30*time.Second, func() error { return saved(tg, topic, group, 0, 7) })
	tg.KillBroker(t)
	tg.StartBroker(t)
	c = connect(t, tg.Broker())
	require.Equal(t, int64(7), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
	require.Equal(t, int64(10), num(t, c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", 0), nil), "offset"))
}

// saved says whether the file of consumer offsets has this offset for the group in a queue.
func saved(tg *Target, topic, group string, queueID int, queueOffset int64) error {
	b, err := os.ReadFile(filepath.Join(tg.StorePath(), "config", "consumerOffset.json"))
	if err != nil {
		return err
	}
	v, err := parseFastjson(b)
	if err != nil {
		return err
	}
	all, _ := v.(map[string]any)
	table, _ := all["offsetTable"].(map[string]any)
	queues, _ := table[topic+"@"+group].(map[string]any)
	if got := queues[strconv.Itoa(queueID)]; got != float64(queueOffset) {
		return fmt.Errorf("queue %d of %s@%s is saved at %v, not %d", queueID, topic, group, got, queueOffset)
	}
	return nil
}
