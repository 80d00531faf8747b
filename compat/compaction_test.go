package compat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// compactionConf makes files of 240 messages at most, and has them compacted soon.
func compactionConf(interval string) Option {
	return func(t *Target) {
		t.conf["compactionMappedFileSize"] = "50000"
		t.conf["compactionCqMappedFileSize"] = "11040"
		t.conf["compactionScheduleInternal"] = interval
	}
}

func newCompactionTopic(t testing.TB, tg *Target, queues int) string {
	t.Helper()
	topic := unique("T")
	c := connect(t, tg.Broker())
	c.ok(t, codeCreateTopic, with(topicFields(topic, queues), "attributes", "+cleanup.policy=COMPACTION"), nil)
	awaitRoute(t, tg, topic)
	return topic
}

// putKeyed sends n messages over some keys and returns the newest body of each key.
func putKeyed(t testing.TB, c *client, topic string, queueID, n, keys int, name string, newest map[string]string) {
	t.Helper()
	for i := range n {
		key := fmt.Sprint("key-", i%keys)
		newest[key] = fmt.Sprintf("%s %d %s", name, i, strings.Repeat("x", 100))
		put(t, c, topic, queueID, newest[key], props("KEYS", key, "TAGS", "T"))
	}
}

func newestBodies(all []record) map[string]string {
	newest := map[string]string{}
	for _, r := range all {
		newest[r.Props["KEYS"]] = string(r.Body)
	}
	return newest
}

// awaitCompacted waits until a queue's first record is not before an offset.
func awaitCompacted(t testing.TB, c *client, topic string, queueID int, least int64) []record {
	t.Helper()
	var all []record
	eventually(t, 2*time.Minute, func() (err error) {
		if all, err = readQueue(c, topic, queueID); err == nil && (len(all) == 0 || all[0].QueueOffset < least) {
			err = fmt.Errorf("%d records, not compacted", len(all))
		}
		return err
	})
	return all
}

func TestCompaction(t *testing.T) {
	t.Run("messages need keys", func(t *testing.T) {
		tg := onShared(t)
		topic := newCompactionTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		const missing = "Required message key is missing"
		c.refused(t, resMessageIllegal, missing, codeSendMessage, sendFields(topic, 0, props("TAGS", "A")), []byte("x"))
		c.refused(t, resMessageIllegal, missing, codeSendMessage, sendFields(topic, 0, props("KEYS", " \t ")), []byte("x"))
		c.refused(t, resMessageIllegal, missing, codeSendMessageV2, shortened(sendFields(topic, 0, "")), []byte("x"))
		require.Equal(t, int64(0), put(t, c, topic, 0, "with", props("KEYS", "k")))
		require.Equal(t, []string{"with"}, bodies(readTopic(t, tg, topic, 1, 1)))
	})

	t.Run("a batch without keys", func(t *testing.T) {
		tg := onShared(t)
		topic := newCompactionTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		fields := with(shortened(sendFields(topic, 0, "")), "m", true)
		batch := batchBody(batchEntry{"one", props("KEYS", "a")}, batchEntry{"two", ""})
		if tg.Kind == Apache { // stores the second one, which nobody can ever read
			c.ok(t, codeSendBatch, fields, batch)
			require.Equal(t, []string{"one"}, bodies(readTopic(t, tg, topic, 1, 1)))
		} else {
			c.refused(t, resMessageIllegal, "Required message key is missing", codeSendBatch, fields, batch)
		}
		c.ok(t, codeSendBatch, fields, batchBody(batchEntry{"three", props("KEYS", "a")}, batchEntry{"four", props("KEYS", "b")}))
	})

	t.Run("the newest message of each key stays and offsets keep their values", func(t *testing.T) {
		tg := onOwn(t, compactionConf("2000"))
		topic := newCompactionTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		newest := map[string]string{}
		putKeyed(t, c, topic, 0, 600, 9, "first", newest)
		all := awaitCompacted(t, c, topic, 0, 1)
		require.Equal(t, newest, newestBodies(all))
		last := int64(-1)
		for _, r := range all {
			require.Greater(t, r.QueueOffset, last)
			last = r.QueueOffset
		}
		require.Equal(t, int64(599), last)

		group := unique("G")
		res := c.ok(t, codePullMessage, pullFields(group, topic, 0, 0), nil)
		require.Equal(t, all[0].QueueOffset, num(t, res, "minOffset"))
		require.Equal(t, int64(600), num(t, res, "maxOffset"))
		gap := c.ok(t, codePullMessage, with(pullFields(group, topic, 0, all[0].QueueOffset-1), "maxMsgNums", 1), nil)
		require.Equal(t, all[:1], pulled(t, gap))
		require.Equal(t, all[0].QueueOffset+1, num(t, gap, "nextBeginOffset"))
		end := c.refused(t, resPullNotFound, "OFFSET_OVERFLOW_ONE", codePullMessage, pullFields(group, topic, 0, 600), nil)
		require.Equal(t, int64(600), num(t, end, "nextBeginOffset"))
		beyond := c.refused(t, resPullOffsetMoved, "OFFSET_OVERFLOW_BADLY", codePullMessage, pullFields(group, topic, 0, 601), nil)
		require.Equal(t, int64(600), num(t, beyond, "nextBeginOffset"))
		// What is not a pull looks at the consume queue.
		queue := ext("topic", topic, "queueId", 0)
		require.Equal(t, int64(600), num(t, c.ok(t, codeGetMaxOffset, queue, nil), "offset"))
		require.Equal(t, int64(0), num(t, c.ok(t, codeGetMinOffset, queue, nil), "offset"))
		require.Equal(t, int64(0), num(t, c.ok(t, codeSearchOffset, with(queue, "timestamp", 0), nil), "offset"))

		tg.StopBroker(t)
		tg.StartBroker(t)
		c = connect(t, tg.Broker())
		again, err := readQueue(c, topic, 0)
		require.NoError(t, err)
		require.Equal(t, newest, newestBodies(again))
		putKeyed(t, c, topic, 0, 300, 4, "second", newest)
		require.Equal(t, newest, newestBodies(awaitCompacted(t, c, topic, 0, all[0].QueueOffset+1)))
	})

	t.Run("a parked pull gets what arrives", func(t *testing.T) {
		tg := onShared(t)
		topic := newCompactionTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "one", props("KEYS", "k"))
		readTopic(t, tg, topic, 1, 1)
		fields := with(pullFields(unique("G"), topic, 0, 1), "sysFlag", pullSubExpr|pullSuspend, "suspendTimeoutMillis", 20000)
		ch, err := c.send(&packet{Code: codePullMessage, Ext: fields})
		require.NoError(t, err)
		put(t, connect(t, tg.Broker()), topic, 0, "two", props("KEYS", "k"))
		res, err := c.await(ch, 15*time.Second)
		require.NoError(t, err)
		require.Equal(t, []string{"two"}, bodies(pulled(t, res)))
	})

	t.Run("a deleted topic made again is empty", func(t *testing.T) {
		tg := onShared(t)
		if tg.Kind == Apache {
			t.Skip("Apache's broker goes on with the files of the deleted topic and loses what is sent to the new one")
		}
		topic := newCompactionTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "old", props("KEYS", "k"))
		dispatched(t, c, topic, 0, 1)
		c.ok(t, codeDeleteTopicInBroker, ext("topic", topic), nil)
		c.ok(t, codeCreateTopic, with(topicFields(topic, 1), "attributes", "+cleanup.policy=COMPACTION"), nil)
		require.Equal(t, int64(0), put(t, c, topic, 0, "new", props("KEYS", "k")))
		require.Equal(t, []string{"new"}, bodies(readTopic(t, tg, topic, 1, 1)))
	})
}
