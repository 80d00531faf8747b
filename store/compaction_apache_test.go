package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The directories compaction-* were written by Apache RocketMQ 5.4.0 with compactionMappedFileSize=9200 and
// compactionCqMappedFileSize=1840: topic Compacted with 130 small messages over 4 keys in queue 0, 100 larger ones over 11
// keys in queue 1, and a batch of three, the second without a key, in queue 2. "written" is before the first compaction,
// "compacted" after it (and a SIGKILL), "more" after 60 more messages and a clean stop.
const compactedTopic = "Compacted"

func compactionOptions(t testing.TB, dir string) Options {
	o := testOptions(t)
	o.Dir, o.CommitLogDir = dir, ""
	o.CompactionTopic = func(topic string) bool { return topic == compactedTopic }
	o.CompactionLogBytes, o.CompactionQueueBytes = 9200, 1840
	o.CompactionInterval = time.Hour // tests compact themselves
	return o
}

// caughtUp waits until every compaction log has what its queue has.
func caughtUp(t testing.TB, s *Store) {
	t.Helper()
	waitDispatched(t, s)
	require.Eventually(t, func() bool {
		done := true
		s.compact.each(func(c *compactionLog) {
			c.mu.Lock()
			defer c.mu.Unlock()
			done = done && !c.behind && c.next >= c.q.max.Load()
		})
		return done
	}, time.Minute, time.Millisecond)
}

// compactionFiles are the files below a store's compaction folder.
func compactionFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	root := filepath.Join(dir, "compaction")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".bak" {
			return err
		}
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		files[name], err = os.ReadFile(path)
		return err
	}))
	return files
}

func requireSameFiles(t testing.TB, want, got map[string][]byte) {
	t.Helper()
	for name, b := range want {
		require.Contains(t, got, name)
		require.True(t, string(b) == string(got[name]), name)
	}
	require.Len(t, got, len(want))
}

// Files that a dispatcher, a first start and a compaction make are those of Apache, byte for byte.
func TestCompactionFilesAreApaches(t *testing.T) {
	t.Parallel()
	written, compacted := unpackFixture(t, "compaction-written", ""), unpackFixture(t, "compaction-compacted", "")
	want := compactionFiles(t, compacted)
	t.Run("compaction", func(t *testing.T) {
		s := openTestStore(t, compactionOptions(t, written))
		before := make([][]string, 3)
		for id := range int32(3) {
			before[id] = newestOf(readQueue(t, s, compactedTopic, id, 0))
		}
		s.compact.compactAll(nil)
		for id := range int32(3) {
			require.Equal(t, before[id], newestOf(readQueue(t, s, compactedTopic, id, 0)))
		}
		require.NoError(t, s.Close())
		requireSameFiles(t, want, compactionFiles(t, written))
	})
	t.Run("first start without compaction files", func(t *testing.T) {
		dir := unpackFixture(t, "compaction-written", "")
		want := compactionFiles(t, dir)
		delete(want, "position-checkpoint")
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "compaction")))
		s := openTestStore(t, compactionOptions(t, dir))
		caughtUp(t, s)
		require.NoError(t, s.Close())
		requireSameFiles(t, want, compactionFiles(t, dir))
	})
	t.Run("messages after a compaction", func(t *testing.T) {
		dir := unpackFixture(t, "compaction-more", "")
		want := compactionFiles(t, dir)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "compaction")))
		require.NoError(t, os.CopyFS(filepath.Join(dir, "compaction"), os.DirFS(filepath.Join(compacted, "compaction"))))
		s := openTestStore(t, compactionOptions(t, dir))
		caughtUp(t, s)
		require.NoError(t, s.Close())
		requireSameFiles(t, want, compactionFiles(t, dir))
	})
}

// Pulls are answered as by Apache from the same files: an offset in a gap leads to the next message.
func TestCompactionGetsAreApaches(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, compactionOptions(t, unpackFixture(t, "compaction-compacted", "")))
	caughtUp(t, s)
	for _, c := range []struct {
		queueID       int32
		at            int64
		status        GetStatus
		next          int64
		offsets, phys []int64
	}{
		{0, -1, Found, 117, []int64{112, 113, 114, 116}, []int64{0, 252, 504, 756}},
		{0, 0, Found, 117, []int64{112, 113, 114, 116}, []int64{0, 252, 504, 756}},
		{0, 115, Found, 117, []int64{116}, []int64{756}},
		{0, 128, Found, 130, []int64{128, 129}, []int64{35892, 36144}},
		{0, 130, OffsetOverflowOne, 130, nil, nil},
		{0, 131, OffsetOverflowBadly, 130, nil, nil},
		{0, 500, OffsetOverflowBadly, 130, nil, nil},
		{1, 77, Found, 91, []int64{80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90},
			[]int64{0, 624, 1249, 1875, 2502, 3130, 3759, 4389, 5021, 5653, 6286}},
		{1, 128, OffsetOverflowBadly, 100, nil, nil},
		{2, 1, Found, 3, []int64{2}, []int64{110}},
		{2, 4, OffsetOverflowBadly, 0, nil, nil},
	} {
		var r GetResult
		require.NoError(t, s.Get(&GetRequest{Topic: compactedTopic, QueueID: c.queueID, QueueOffset: c.at, MaxMsgs: 32}, &r))
		offsets, phys := placesOf(t, &r)
		require.Equal(t, c.status, r.Status, "queue %d at %d", c.queueID, c.at)
		require.Equal(t, c.next, r.NextQueueOffset, "queue %d at %d", c.queueID, c.at)
		require.Equal(t, []int64{112, 80, 0}[c.queueID], r.MinQueueOffset)
		require.Equal(t, []int64{130, 100, 3}[c.queueID], r.MaxQueueOffset)
		require.Equal(t, c.offsets, offsets, "queue %d at %d", c.queueID, c.at)
		require.Equal(t, c.phys, phys, "queue %d at %d", c.queueID, c.at)
		r.Release()
	}
	// What is not a pull looks at the consume queue, as in Apache.
	require.EqualValues(t, 0, s.MinQueueOffset(compactedTopic, 0))
	require.EqualValues(t, 130, s.MaxQueueOffset(compactedTopic, 0))
	require.EqualValues(t, 0, s.QueueOffsetByTime(compactedTopic, 0, 0))
}
