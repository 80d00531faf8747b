package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	retentionSegment = 1 << 20
	// retentionLimit is for a server that looks a minute after its start for the first time.
	retentionLimit = 3 * time.Minute
)

// retentionConf keeps messages an hour and deletes at another hour of the day: only a request makes anything go.
func retentionConf() []Option {
	return []Option{WithConf("mappedFileSizeCommitLog", strconv.Itoa(retentionSegment)), WithConf("fileReservedTime", "1"),
		WithConf("deleteWhen", fmt.Sprintf("%02d", (time.Now().Hour()+12)%24)), WithConf("diskMaxUsedSpaceRatio", "95"),
		WithConf("cleanResourceInterval", "1000"), WithConf("flushIntervalConsumeQueue", "200")}
}

// logBegin is the physical offset of the first file in the commit log's directory.
func logBegin(tg *Target) (int64, error) {
	entries, err := os.ReadDir(filepath.Join(tg.StorePath(), "commitlog")) // sorted
	if err != nil || len(entries) == 0 {
		return 0, errors.Join(errors.New("the log has no files"), err)
	}
	return strconv.ParseInt(entries[0].Name(), 10, 64)
}

// expireBefore makes all files of the log that end at or before a physical offset look two hours old.
func expireBefore(t testing.TB, tg *Target, physOffset int64) {
	t.Helper()
	dir := filepath.Join(tg.StorePath(), "commitlog")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	old := time.Now().Add(-2 * time.Hour)
	for _, e := range entries {
		base, err := strconv.ParseInt(e.Name(), 10, 64)
		require.NoError(t, err)
		if base+retentionSegment <= physOffset {
			require.NoError(t, os.Chtimes(filepath.Join(dir, e.Name()), old, old))
		}
	}
}

// deleteExpired has everything deleted that has expired, and waits until the log begins at least at a physical offset and a queue
// has followed it.
func deleteExpired(t testing.TB, tg *Target, c *client, topic string, least int64) (minOffset int64) {
	t.Helper()
	at := ext("topic", topic, "queueId", 0)
	before := num(t, c.ok(t, codeGetMinOffset, at, nil), "offset")
	eventually(t, retentionLimit, func() error {
		// Each request is good for 20 rounds; what is not on disk yet may take more of them.
		if res, err := c.call(codeDeleteExpiredLog, nil, nil); err != nil || res.Code != resSuccess {
			return fmt.Errorf("request 329: %v, %v", res, err)
		}
		begin, err := logBegin(tg)
		if err != nil || begin < least {
			return fmt.Errorf("the log begins at %d, want %d: %w", begin, least, err)
		}
		res, err := c.call(codeGetMinOffset, at, nil)
		if err != nil {
			return err
		}
		if minOffset, err = strconv.ParseInt(res.Ext["offset"], 10, 64); err == nil && minOffset <= before {
			err = fmt.Errorf("the queue begins at %d", minOffset)
		}
		return err
	})
	return minOffset
}

// TestDeletedMessages deletes the head of the log (329) and looks what clients see of it: those that were behind, those that ask for
// what is gone, and the queues that have nothing left (306) or no topic (316).
func TestDeletedMessages(t *testing.T) {
	tg := onOwn(t, retentionConf()...)
	topic, old, group := newTopic(t, tg, 1), newTopic(t, tg, 1), newGroup(t, tg)
	c := connect(t, tg.Broker())
	for _, body := range numbered("old", 5) {
		put(t, c, old, 0, body, "")
	}
	const n = 3200
	pad := strings.Repeat("p", 1000)
	for i := range n {
		put(t, c, topic, 0, fmt.Sprintf("%d %s", i, pad), props("KEYS", fmt.Sprint("key-", i)))
	}
	c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 10), nil)
	all := readTopic(t, tg, topic, 1, n)
	last := all[n-1].PhysOffset / retentionSegment * retentionSegment
	require.GreaterOrEqual(t, last, int64(3*retentionSegment))
	expireBefore(t, tg, last)
	first := deleteExpired(t, tg, c, topic, last)
	begin, err := logBegin(tg)
	require.NoError(t, err)
	require.Equal(t, last, begin, "the file being written stays")
	require.GreaterOrEqual(t, all[first].PhysOffset, last)
	require.Less(t, all[first-1].PhysOffset, last)

	requireGone(t, c, topic, all, int(first))
	requireBehindGoesOn(t, tg, topic, group, all[first:])
	requireEmptyQueueCleaned(t, tg, c, old)
	requireUnusedTopicCleaned(t, tg, topic)
	kept, err := readQueue(connect(t, tg.Broker()), topic, 0)
	require.NoError(t, err)
	require.Equal(t, all[first:], kept)
}

// requireGone asks in every way for messages before the first one that is left, and for that one.
func requireGone(t *testing.T, c *client, topic string, all []record, first int) {
	t.Helper()
	for _, queueOffset := range []int64{0, int64(first) - 1} {
		res := c.refused(t, resPullOffsetMoved, "OFFSET_TOO_SMALL", codePullMessage, pullFields(unique("G"), topic, 0, queueOffset), nil)
		require.EqualValues(t, first, num(t, res, "nextBeginOffset"))
		require.EqualValues(t, first, num(t, res, "minOffset"))
		require.EqualValues(t, len(all), num(t, res, "maxOffset"))
	}
	require.Equal(t, all[first], pulled(t, c.ok(t, codePullMessage, pullFields(unique("G"), topic, 0, int64(first)), nil))[0])
	at := ext("topic", topic, "queueId", 0)
	require.Equal(t, all[first].StoreMs, num(t, c.ok(t, codeGetEarliestStoreTime, at, nil), "timestamp"))
	require.EqualValues(t, first, num(t, c.ok(t, codeSearchOffset, with(at, "timestamp", 0), nil), "offset"))
	require.EqualValues(t, len(all), num(t, c.ok(t, codeGetMaxOffset, at, nil), "offset"))
	for _, i := range []int{0, first - 1} {
		c.refused(t, resQueryNotFound, "can not find message, maybe time range not correct", codeQueryMessage,
			queryFields(topic, fmt.Sprint("key-", i)), nil)
		c.refused(t, resSystemError, fmt.Sprintf("can not find message by the offset, %d", all[i].PhysOffset), codeViewMessageByID,
			ext("offset", all[i].PhysOffset), nil)
	}
	for _, i := range []int{first, len(all) - 1} {
		require.Equal(t, all[i:i+1], queryFound(t, c, queryFields(topic, fmt.Sprint("key-", i)), 1))
	}
}

// requireBehindGoesOn starts a consumer whose group had committed an offset that is gone: it gets all that is left, and no more.
func requireBehindGoesOn(t *testing.T, tg *Target, topic, group string, left []record) {
	t.Helper()
	var got inbox
	startPush(t, tg, group, topic, got.consume)
	got.awaitDistinct(t, 120*time.Second, bodies(left))
	require.Len(t, got.all(), len(left))
	awaitCommitted(t, tg, group, topic, 0, left[len(left)-1].QueueOffset+1)
}

// queueFiles counts the files of a topic's queues.
func queueFiles(tg *Target, topic string) (n int) {
	_ = filepath.WalkDir(filepath.Join(tg.StorePath(), "consumequeue", topic), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

// requireEmptyQueueCleaned has the queue of a topic deleted whose five messages are gone (306). The topic stays.
func requireEmptyQueueCleaned(t *testing.T, tg *Target, c *client, topic string) {
	t.Helper()
	require.Positive(t, queueFiles(tg, topic))
	eventually(t, retentionLimit, func() error {
		if res, err := c.call(codeCleanQueues, nil, nil); err != nil || res.Code != resSuccess {
			return fmt.Errorf("request 306: %v, %v", res, err)
		}
		if n := queueFiles(tg, topic); n > 0 {
			return fmt.Errorf("%d files", n)
		}
		return nil
	})
	next := int64(5)
	if tg.Kind == Apache { // see MATRIX.md
		next = 0
	}
	require.Equal(t, next, put(t, c, topic, 0, "after", ""))
	dispatched(t, c, topic, 0, next+1)
	res := c.ok(t, codePullMessage, pullFields(unique("G"), topic, 0, next), nil)
	require.Equal(t, []string{"after"}, bodies(pulled(t, res)))
}

// requireUnusedTopicCleaned takes a topic out of the table while the broker is down, and has its queues deleted (316), and none else.
func requireUnusedTopicCleaned(t *testing.T, tg *Target, other string) {
	t.Helper()
	unused := newTopic(t, tg, 1)
	put(t, connect(t, tg.Broker()), unused, 0, "x", "")
	readTopic(t, tg, unused, 1, 1)
	tg.StopBroker(t)
	path := filepath.Join(tg.StorePath(), "config", "topics.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var table map[string]json.RawMessage
	var topics map[string]json.RawMessage
	require.NoError(t, errors.Join(json.Unmarshal(b, &table), json.Unmarshal(table["topicConfigTable"], &topics)))
	require.Contains(t, topics, unused)
	delete(topics, unused)
	table["topicConfigTable"] = mustJSON(topics)
	require.NoError(t, os.WriteFile(path, mustJSON(table), 0o644))
	tg.StartBroker(t)
	c := connect(t, tg.Broker())
	require.Positive(t, queueFiles(tg, unused))
	c.ok(t, codeCleanTopics, nil, nil)
	eventually(t, stopTimeout, func() error {
		if n := queueFiles(tg, unused); n > 0 {
			return fmt.Errorf("%d files", n)
		}
		return nil
	})
	require.Positive(t, queueFiles(tg, other))
}
