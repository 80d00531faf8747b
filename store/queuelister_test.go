package store

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// After a kill the start goes on from the last list of queues; what has happened to the store since decides whether the list
// counts, and for which queue. Every message is served afterwards.
func TestStartAfterKillGoesOnFromList(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before func(t *testing.T, h *history) // the kill
		change func(t *testing.T, h *history)
		lists  bool
	}{
		{"nothing", nil, nil, true},
		{"another server had it", nil, func(t *testing.T, h *history) { require.NoError(t, writeAbort(h.o.Dir)) }, false},
		{"stopped cleanly before", func(t *testing.T, h *history) {
			require.NoError(t, h.s.Close())
			h.open()
		}, nil, true},
		{"stopped cleanly before, then used", func(t *testing.T, h *history) {
			require.NoError(t, h.s.Close())
			h.open()
			h.run(100)
		}, nil, true},
		{"killed before", func(t *testing.T, h *history) {
			h.crash(func(string) {})
			h.open()
			h.run(100)
		}, nil, true},
		{"list cannot be read", nil, func(t *testing.T, h *history) {
			require.NoError(t, os.Truncate(queueListPath(h.o.Dir), 100))
		}, false},
		{"queue lost", nil, func(t *testing.T, h *history) { removeAllOf(t, h.o.Dir, "consumequeue/T/0") }, true},
		{"topic lost", nil, func(t *testing.T, h *history) { removeAllOf(t, h.o.Dir, "consumequeue/Orders") }, true},
		{"first file lost", nil, func(t *testing.T, h *history) { require.NoError(t, os.Remove(h.queueFile("T", 1, 0))) }, true},
		{"last file lost", nil, func(t *testing.T, h *history) { require.NoError(t, os.Remove(h.queueFile("T", 2, -1))) }, true},
		{"last file cut", nil, func(t *testing.T, h *history) { require.NoError(t, os.Truncate(h.queueFile("T", 2, -1), 20)) }, true},
		{"last file zeroed", nil, func(t *testing.T, h *history) {
			changeFile(t, h.queueFile("T", 3, -1), 0, func(b []byte) { clear(b) })
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 7)
			h.o.QueueSegmentEntries = 10
			h.o.QueueListBytes, h.o.QueueListInterval = 1, 0
			h.open()
			h.run(600)
			h.s.flusher.log()
			h.s.flusher.queues(true)
			h.s.flusher.queues(true)
			list, err := readQueueList(h.o.Dir)
			require.NoError(t, err)
			require.Equal(t, h.s.Written(), list.End)
			h.s.lister.next = h.o.Now().Add(time.Hour)
			h.run(100)
			if c.before != nil {
				c.before(t, h)
				list, err = readQueueList(h.o.Dir)
				require.NoError(t, err)
			}
			h.crash(func(string) {})
			if c.change != nil {
				c.change(t, h)
			}
			h.open()
			require.Equal(t, c.lists, h.s.warmFrom == list.End, "began at %d, list ends at %d", h.s.warmFrom, list.End)
			h.check()
			h.run(50)
			h.check()
			require.NoError(t, h.s.Close())
			h.open()
			h.check()
			require.NoError(t, h.s.Close())
		})
	}
}

// A topic that is deleted behind the list stays so, and one that is made again has only what came since.
func TestListAndDeletedTopics(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueListBytes, o.QueueListInterval = 1, 0
	o.FlushInterval, o.QueueFlushInterval = time.Hour, time.Hour // the test flushes
	s := openTestStore(t, o)
	for _, topic := range []string{"A", "B", "C"} {
		for range 5 {
			var r PutResult
			require.NoError(t, s.PutWait(testMessage(topic, 0, "before"), &r))
		}
	}
	waitDispatched(t, s)
	s.flusher.log()
	s.flusher.queues(true)
	s.lister.next = o.Now().Add(time.Hour)
	require.FileExists(t, queueListPath(o.Dir))
	require.NoError(t, s.DeleteTopic("A"))
	require.NoError(t, s.DeleteTopic("B"))
	var r PutResult
	require.NoError(t, s.PutWait(testMessage("B", 0, "after"), &r))
	waitDispatched(t, s)

	dir := t.TempDir()
	info, err := os.Stat(abortPath(o.Dir))
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, os.DirFS(o.Dir)))
	require.NoError(t, os.Chtimes(abortPath(dir), info.ModTime(), info.ModTime()))
	end := s.Written()
	o.Dir, o.CommitLogDir = dir, ""
	s = openTestStore(t, o)
	require.Less(t, int64(0), s.warmFrom)
	require.Equal(t, end, s.Written())
	require.EqualValues(t, 0, s.MaxQueueOffset("A", 0))
	require.EqualValues(t, 1, s.MaxQueueOffset("B", 0))
	require.EqualValues(t, 5, s.MaxQueueOffset("C", 0))
	require.Equal(t, "after", string(readQueue(t, s, "B", 0, 0)[0].Body))
	require.NoDirExists(t, filepath.Join(dir, "consumequeue", "A"))
}

// A list is due later the more files have to be flushed for it.
func TestListWaitsForDirtyFiles(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueListBytes = 1
	o.FlushInterval, o.QueueFlushInterval = time.Hour, time.Hour // the test flushes
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	o.Now = func() time.Time { return time.UnixMilli(now.Load()) }
	s := openTestStore(t, o)
	const queues = 100
	for q := range int32(queues) {
		putMany(t, s, "T", q, 1, 10)
	}
	s.lister.next = o.Now()
	require.False(t, s.lister.due(s))
	now.Add(queues * listPerDirty.Milliseconds())
	require.True(t, s.lister.due(s))
	s.lister.next = o.Now()
	s.flusher.queues(true)
	require.Empty(t, s.queues.dirty)
	putMany(t, s, "T", 0, 1, 10)
	now.Add(listPerDirty.Milliseconds())
	require.True(t, s.lister.due(s))
}
