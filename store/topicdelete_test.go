package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeleteTopic(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	putMany(t, h.s, "T", 0, 100, 50)
	putMany(t, h.s, "T", 3, 50, 50)
	putMany(t, h.s, "Other", 0, 30, 50)
	var held GetResult
	require.NoError(t, h.s.Get(&GetRequest{Topic: "T", MaxMsgs: 32}, &held))
	require.NoError(t, h.s.DeleteTopic("T"))
	require.NoDirExists(t, filepath.Join(h.o.Dir, "consumequeue", "T"))
	require.Zero(t, h.s.MaxQueueOffset("T", 0))
	require.EqualValues(t, 30, h.s.MaxQueueOffset("Other", 0))
	require.NotZero(t, held.Parts[0][0:4])
	held.Release()
	require.NoError(t, h.s.DeleteTopic("T"))
	require.NoError(t, h.s.DeleteTopic("Never"))
	require.ErrorIs(t, h.s.DeleteTopic("../T"), ErrIllegal)

	// Made again, it begins at 0; neither a clean stop nor a crash brings the old messages back.
	require.EqualValues(t, 0, putMany(t, h.s, "T", 0, 5, 50)[0].QueueOffset)
	check := func() {
		require.EqualValues(t, 5, h.s.MaxQueueOffset("T", 0))
		require.Len(t, readQueue(t, h.s, "T", 0, 0), 5)
		require.Zero(t, h.s.MaxQueueOffset("T", 3))
		require.Len(t, readQueue(t, h.s, "Other", 0, 0), 30)
	}
	check()
	h.crash(func(string) {})
	h.open()
	check()
	require.NoError(t, h.s.Close())
	h.open()
	check()
	require.NoError(t, h.s.DeleteTopic("T"))
	h.crash(func(string) {})
	h.open()
	require.Zero(t, h.s.MaxQueueOffset("T", 0))
	require.NoError(t, h.s.Close())
	require.ErrorIs(t, h.s.DeleteTopic("T"), ErrClosed)
}

// A topic may be deleted while its new files are on their way to the disk, which is no failed flush.
func TestDeleteTopicWhileItIsFlushed(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.o.CompactionTopic = func(topic string) bool { return topic == "T" }
	h.open()
	putMany(t, h.s, "T", 0, 100, 50)
	q := h.s.queues.find("T", 0)
	f := q.files[0]
	taken, err := f.takeDirty(queueFlush{all: true})
	require.NoError(t, err)
	require.True(t, taken.fresh)
	dir, row := f.dir(), q.compaction.row
	require.NoError(t, h.s.DeleteTopic("T"))
	require.NoDirExists(t, dir)
	require.NoError(t, taken.flush(dir, f.base, nil))
	taken.done()
	for _, dir := range []string{row.logDir, row.queueDir} { // the folders of all topics stay
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Dir(dir)), 0o755))
	}
	require.NoError(t, row.sync())
	require.NoError(t, h.s.Close())
}

// A topic that another server deleted and made again has two runs of offsets in the log; the later one counts.
func TestRecreatedTopicIsRecovered(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	putMany(t, h.s, "T", 0, 20, 50)
	require.NoError(t, h.s.DeleteTopic("T"))
	list := putMany(t, h.s, "T", 0, 7, 50)
	h.crash(func(dir string) { removeAllOf(t, dir, ownDir, "consumequeue") })
	h.open()
	got := readQueue(t, h.s, "T", 0, 0)
	require.Len(t, got, 7)
	require.Equal(t, list[0].PhysOffset, got[0].PhysOffset)
	require.NoError(t, h.s.Close())
}

// A topic that is configured no more gets no queues from the log.
func TestTopicExistsDecides(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	putMany(t, h.s, "T", 0, 20, 50)
	putMany(t, h.s, "Other", 0, 30, 50)
	h.crash(func(dir string) { removeAllOf(t, dir, "consumequeue") })
	h.o.TopicExists = func(topic string) bool { return topic != "T" }
	h.open()
	require.Zero(t, h.s.MaxQueueOffset("T", 0))
	require.Len(t, readQueue(t, h.s, "Other", 0, 0), 30)
	require.NoError(t, h.s.Close())
}
