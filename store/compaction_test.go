package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// newestOf is the newest body of each key, those of deleted keys left out.
func newestOf(list []codec.Message) []string {
	newest := make(map[string]string)
	for _, m := range list {
		keys, _ := codec.Property(m.Properties, codec.PropKeys)
		if newest[string(keys)] = fmt.Sprintf("%s=%s", keys, m.Body); len(m.Body) == 0 {
			delete(newest, string(keys))
		}
	}
	var all []string
	for _, text := range newest {
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// placesOf are the offsets of the records in a result.
func placesOf(t testing.TB, r *GetResult) (queueOffsets, physOffsets []int64) {
	t.Helper()
	for _, part := range r.Parts {
		for len(part) > 0 {
			var m codec.Message
			n, err := codec.DecodeMessage(part, &m)
			require.NoError(t, err)
			queueOffsets, physOffsets = append(queueOffsets, m.QueueOffset), append(physOffsets, m.PhysOffset)
			part = part[n:]
		}
	}
	return queueOffsets, physOffsets
}

// keyed is a message with a key.
func keyed(topic string, queueID int32, key, text string) *Message {
	m := testMessage(topic, queueID, text)
	m.Properties = codec.AppendProperty(m.Properties, codec.PropKeys, key)
	return m
}

// compactedStore opens a store whose topic Compacted is compacted, with small files.
func compactedStore(t testing.TB) *Store {
	return openTestStore(t, compactionOptions(t, t.TempDir()))
}

func putAll(t testing.TB, s *Store, list ...*Message) {
	t.Helper()
	for _, m := range list {
		require.NoError(t, s.PutWait(m, new(PutResult)))
	}
	caughtUp(t, s)
}

// fill puts n messages over some keys into queue 0.
func fillKeys(t testing.TB, s *Store, n, keys int, name string) {
	t.Helper()
	for i := range n {
		require.NoError(t, s.PutWait(keyed(compactedTopic, 0, fmt.Sprint("k", i%keys), fmt.Sprint(name, i)), new(PutResult)))
	}
	caughtUp(t, s)
}

// compactNow compacts what is on disk, which is all.
func compactNow(t testing.TB, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Flushed() == s.Written() }, time.Minute, time.Millisecond)
	s.compact.compactAll(nil)
}

func offsetsOf(list []codec.Message) (offsets []int64) {
	for _, m := range list {
		offsets = append(offsets, m.QueueOffset)
	}
	return offsets
}

func TestCompactionKeepsTheNewestOfEachKey(t *testing.T) {
	t.Parallel()
	s := compactedStore(t)
	fillKeys(t, s, 500, 7, "a")
	all := readQueue(t, s, compactedTopic, 0, 0)
	require.Len(t, all, 500)
	compactNow(t, s)
	some := readQueue(t, s, compactedTopic, 0, 0)
	require.Less(t, len(some), 100)
	require.Equal(t, newestOf(all), newestOf(some))
	require.True(t, slices.IsSorted(offsetsOf(some)))
	require.EqualValues(t, 499, some[len(some)-1].QueueOffset)

	fillKeys(t, s, 500, 3, "b")
	all = readQueue(t, s, compactedTopic, 0, 0)
	compactNow(t, s)
	require.Equal(t, newestOf(all), newestOf(readQueue(t, s, compactedTopic, 0, 0)))
	files := compactionFiles(t, s.opts.Dir)
	compactNow(t, s) // nothing is new
	requireSameFiles(t, files, compactionFiles(t, s.opts.Dir))
}

// A message without a body deletes its key: both go with the next compaction, unless they are in the newest file.
func TestCompactionDropsWhatWasDeleted(t *testing.T) {
	t.Parallel()
	s := compactedStore(t)
	putAll(t, s, keyed(compactedTopic, 0, "gone", "value"), keyed(compactedTopic, 0, "gone", ""))
	require.Len(t, readQueue(t, s, compactedTopic, 0, 0), 2)
	fillKeys(t, s, 100, 2, "x")
	compactNow(t, s)
	for _, m := range readQueue(t, s, compactedTopic, 0, 0) {
		keys, _ := codec.Property(m.Properties, codec.PropKeys)
		require.NotEqual(t, "gone", string(keys))
	}
}

// All keys deleted: the old files go and nothing takes their place.
func TestCompactionOfNothingButDeletions(t *testing.T) {
	t.Parallel()
	s := compactedStore(t)
	for range 100 {
		require.NoError(t, s.PutWait(keyed(compactedTopic, 0, "k", ""), new(PutResult)))
	}
	caughtUp(t, s)
	compactNow(t, s)
	list := readQueue(t, s, compactedTopic, 0, 0)
	require.NotEmpty(t, list) // of the newest file
	require.Less(t, len(list), 60)
	require.EqualValues(t, 100, s.MaxQueueOffset(compactedTopic, 0))
	putAll(t, s, keyed(compactedTopic, 0, "k", "back"))
	require.Equal(t, []string{"k=back"}, newestOf(readQueue(t, s, compactedTopic, 0, 0)))
}

// With too little room for the keys a compaction does a part, and the next ones the rest.
func TestCompactionWithLittleMemory(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, t.TempDir())
	o.CompactionKeyBytes = 0 // 96 keys
	s := openTestStore(t, o)
	fillKeys(t, s, 1500, 300, "v")
	all := readQueue(t, s, compactedTopic, 0, 0)
	left := len(all)
	for range 20 {
		compactNow(t, s)
		some := readQueue(t, s, compactedTopic, 0, 0)
		require.Equal(t, newestOf(all), newestOf(some))
		require.LessOrEqual(t, len(some), left)
		left = len(some)
	}
	require.Less(t, left, 450)
}

// Ordinary topics have nothing to do with it, and without the setting no topic has.
func TestCompactionIsForItsTopicsOnly(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, t.TempDir())
	s := openTestStore(t, o)
	putAll(t, s, keyed("Other", 0, "k", "v"), keyed(compactedTopic, 0, "k", "v"))
	require.Nil(t, s.queues.find("Other", 0).compaction)
	require.NoDirExists(t, filepath.Join(s.compact.logRoot(), "Other"))
	require.NoError(t, s.Close())
	o.CompactionTopic = nil
	s = openTestStore(t, o)
	require.Nil(t, s.queues.find(compactedTopic, 0).compaction)
	require.Len(t, readQueue(t, s, compactedTopic, 0, 0), 1)
}

// Messages without keys have no place in the compaction log, and do not hold up those behind them.
func TestCompactionLeavesOutMessagesWithoutKeys(t *testing.T) {
	t.Parallel()
	s := compactedStore(t)
	putAll(t, s, keyed(compactedTopic, 0, "a", "1"), testMessage(compactedTopic, 0, "2"), keyed(compactedTopic, 0, " ", "3"),
		keyed(compactedTopic, 0, "b", "4"))
	require.Equal(t, []int64{0, 3}, offsetsOf(readQueue(t, s, compactedTopic, 0, 0)))
}

// A filter passes what it should; Java passes all.
func TestCompactionGetFilters(t *testing.T) {
	t.Parallel()
	s := compactedStore(t)
	fillKeys(t, s, 60, 5, "v")
	var r GetResult
	q := GetRequest{Topic: compactedTopic, MaxMsgs: 32, Filter: NewTagFilter([]int32{int32(codec.TagsCode([]byte("nobody")))})}
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, NoMatchedMessage, r.Status)
	require.Greater(t, r.NextQueueOffset, int64(30))
	r.Release()
	q.Filter = NewTagFilter([]int32{int32(codec.TagsCode([]byte("TagA")))})
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, 32, r.Count)
	r.Release()
	q.HotOnly = true
	require.ErrorIs(t, s.Get(&q, &r), ErrCold)
	q.QueueOffset = 60
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, OffsetOverflowOne, r.Status)
	r.Release()
}

// What the commit log has no more is served from the compaction log; that is what it is for.
func TestCompactionOutlivesTheCommitLog(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, t.TempDir())
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	fillKeys(t, s, 500, 7, "a")
	compactNow(t, s)
	want := readQueue(t, s, compactedTopic, 0, 0)
	var logFrom int64
	require.Eventually(t, func() bool { // only what is on disk goes, and the store's own goroutine flushes
		s.flusher.pokeAll()
		_, err := s.deleteHead(1000)
		logFrom = s.queues.find(compactedTopic, 0).minOffset(s.log.minPhys())
		return err == nil && logFrom > want[0].QueueOffset
	}, time.Minute, 10*time.Millisecond)
	check := func() {
		t.Helper()
		got := readQueue(t, s, compactedTopic, 0, 0)
		require.Equal(t, offsetsOf(want), offsetsOf(got))
		require.Equal(t, newestOf(want), newestOf(got))
		require.Equal(t, want[0].QueueOffset, s.MinQueueOffset(compactedTopic, 0))
		require.Equal(t, want[0].QueueOffset, s.QueueOffsetByTime(compactedTopic, 0, 0))
		require.Equal(t, want[0].StoreTimestampMs, s.EarliestStoreTime(compactedTopic, 0))
		require.EqualValues(t, 500, s.MaxQueueOffset(compactedTopic, 0))
	}
	check()
	require.NoError(t, s.Close())
	s = openTestStore(t, o)
	caughtUp(t, s)
	check()
	require.NoError(t, os.WriteFile(abortPath(o.Dir), nil, 0o644)) // as after a kill
}

// Retention waits for a compaction log that is being copied, unless the disk is full.
func TestCompactionHoldsBackRetention(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, func(o *Options) { o.CompactionTopic = func(topic string) bool { return topic == compactedTopic } })
	fillKeys(t, r.Store, 3, 3, "a")
	r.fill(5)
	c := r.queues.find(compactedTopic, 0).compaction
	c.mu.Lock()
	c.next, c.behind = 1, true
	r.compact.mu.Lock()
	r.compact.behind = append(r.compact.behind, c) // and nobody is woken
	r.compact.mu.Unlock()
	c.mu.Unlock()
	e, ok := c.q.entry(1)
	require.True(t, ok)
	require.Equal(t, e.physOffset, r.compact.needs())
	night := time.Date(2026, 11, 25, 4, 30, 0, 0, time.Local)
	require.Zero(t, r.round(night))
	r.log.Store(86)
	require.Positive(t, r.round(noon))
	r.log.Store(0)
	require.NoError(t, c.catchUp(nil))
	r.compact.mu.Lock()
	r.compact.behind = nil
	r.compact.mu.Unlock()
	require.Equal(t, maxPhys, r.compact.needs())
}

func TestCompactionFilesGoWithTheirTopic(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, t.TempDir())
	s := openTestStore(t, o)
	fillKeys(t, s, 200, 3, "old")
	compactNow(t, s)
	require.Contains(t, string(compactionFiles(t, o.Dir)["position-checkpoint"]), "Compacted_0")
	require.NoError(t, s.DeleteTopic(compactedTopic))
	require.NoDirExists(t, filepath.Join(s.compact.logRoot(), compactedTopic))
	require.NoDirExists(t, filepath.Join(s.compact.queueRoot(), compactedTopic))
	require.NotContains(t, string(compactionFiles(t, o.Dir)["position-checkpoint"]), "Compacted_0")
	fillKeys(t, s, 50, 3, "new")
	list := readQueue(t, s, compactedTopic, 0, 0)
	require.Len(t, list, 50)
	require.Equal(t, "new0", string(list[0].Body))
}

// Java leaves the files of a deleted topic behind. They are not taken for those of a new topic with the same name.
func TestCompactionFilesOfAnotherTopicAreRemoved(t *testing.T) {
	t.Parallel()
	left := unpackFixture(t, "compaction-more", "compaction/")
	t.Run("found at the start", func(t *testing.T) {
		t.Parallel()
		o := compactionOptions(t, fastDir(t))
		s := openTestStore(t, o)
		fillKeys(t, s, 150, 3, "new")
		require.NoError(t, s.Close())
		require.NoError(t, os.RemoveAll(filepath.Join(o.Dir, "compaction")))
		require.NoError(t, os.CopyFS(filepath.Join(o.Dir, "compaction"), os.DirFS(filepath.Join(left, "compaction"))))
		s = openTestStore(t, o)
		caughtUp(t, s)
		list := readQueue(t, s, compactedTopic, 0, 0)
		require.Len(t, list, 150)
		require.Equal(t, "new0", string(list[0].Body))
		compactNow(t, s)
		require.Equal(t, newestOf(list), newestOf(readQueue(t, s, compactedTopic, 0, 0)))
		require.Less(t, len(readQueue(t, s, compactedTopic, 0, 0)), 100)
	})
	t.Run("found when the topic is made", func(t *testing.T) {
		t.Parallel()
		o := compactionOptions(t, fastDir(t))
		on := false
		o.CompactionTopic = func(topic string) bool { return on && topic == compactedTopic }
		require.NoError(t, os.CopyFS(filepath.Join(o.Dir, "compaction"), os.DirFS(filepath.Join(left, "compaction"))))
		s := openTestStore(t, o)
		on = true
		fillKeys(t, s, 20, 3, "new")
		list := readQueue(t, s, compactedTopic, 0, 0)
		require.Len(t, list, 20)
		require.Equal(t, "new0", string(list[0].Body))
	})
}

// A file operation that fails leaves the messages where they can be read, before and after the next start.
func TestCompactionFaults(t *testing.T) {
	t.Parallel()
	for n := range 200 {
		o := compactionOptions(t, fastDir(t))
		var mu sync.Mutex
		var count int
		armed := false
		o.Faults = func(op FileOp, path string) error {
			mu.Lock()
			defer mu.Unlock()
			if !armed || !strings.Contains(path, "compact") && !strings.Contains(path, "position") {
				return nil
			}
			if count++; count == n+1 {
				return errors.New("disk trouble")
			}
			return nil
		}
		s := openTestStore(t, o)
		fillKeys(t, s, 100, 5, "v")
		want := newestOf(readQueue(t, s, compactedTopic, 0, 0))
		require.Eventually(t, func() bool { return s.Flushed() == s.Written() }, time.Minute, time.Millisecond)
		mu.Lock()
		armed = true
		mu.Unlock()
		s.compact.compactAll(nil)
		mu.Lock()
		hit := count > n
		armed = false
		mu.Unlock()
		if c := s.queues.find(compactedTopic, 0).compaction; c.failed == nil {
			require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "fault %d", n)
		} else {
			require.ErrorIs(t, s.Get(&GetRequest{Topic: compactedTopic, MaxMsgs: 1}, new(GetResult)), errSwapping)
		}
		require.NoError(t, s.Close())
		s = openTestStore(t, o)
		caughtUp(t, s)
		require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "fault %d", n)
		compactNow(t, s)
		require.Equal(t, want, newestOf(readQueue(t, s, compactedTopic, 0, 0)), "fault %d", n)
		require.NoError(t, s.Close())
		if !hit {
			require.Greater(t, n, 10)
			return
		}
	}
	t.Fatal("a compaction has more file operations than this test looks at")
}

// A stop in any step of a compaction leaves the old files or the new ones.
func TestCompactionCutOffInAnyStep(t *testing.T) {
	t.Parallel()
	for n := range int64(200) {
		o := compactionOptions(t, fastDir(t))
		dir := fastDir(t)
		var count atomic.Int64
		var armed atomic.Bool // the flusher asks, too
		o.Faults = func(op FileOp, path string) error {
			if !armed.Load() || !strings.Contains(path, "compact") && !strings.Contains(path, "position") {
				return nil
			}
			if count.Add(1) == n+1 {
				return os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(o.Dir))
			}
			return nil
		}
		s := openTestStore(t, o)
		fillKeys(t, s, 100, 5, "v")
		want := readQueue(t, s, compactedTopic, 0, 0)
		require.Eventually(t, func() bool { return s.Flushed() == s.Written() }, time.Minute, time.Millisecond)
		armed.Store(true)
		s.compact.compactAll(nil)
		armed.Store(false)
		require.NoError(t, s.Close())
		if count.Load() <= n {
			require.Greater(t, n, int64(10))
			return
		}
		o.Dir, o.CommitLogDir = filepath.Join(dir, "copy"), ""
		s = openTestStore(t, o)
		caughtUp(t, s)
		got := readQueue(t, s, compactedTopic, 0, 0)
		require.Equal(t, newestOf(want), newestOf(got), "step %d", n)
		require.NoDirExists(t, s.compact.tempRoot())
		require.Contains(t, []int{100, len(readQueueAfterCompaction(t, s))}, len(got), "step %d: neither old nor new", n)
	}
	t.Fatal("a compaction has more file operations than this test looks at")
}

func readQueueAfterCompaction(t testing.TB, s *Store) []codec.Message {
	compactNow(t, s)
	return readQueue(t, s, compactedTopic, 0, 0)
}

// Pulls, puts and compactions at the same time.
func TestCompactionUnderReaders(t *testing.T) {
	t.Parallel()
	o := compactionOptions(t, t.TempDir())
	o.MaxMappedQueues = 16
	s := openTestStore(t, o)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				list := readQueue(t, s, compactedTopic, 0, 0)
				for i, m := range list {
					if want := fmt.Sprint("v", m.QueueOffset); string(m.Body) != want {
						t.Errorf("message %d is %s, want %s", i, m.Body, want)
						return
					}
				}
			}
		})
	}
	for i := range 3000 {
		require.NoError(t, s.PutWait(keyed(compactedTopic, 0, fmt.Sprint("k", i%13), fmt.Sprint("v", i)), new(PutResult)))
		if i%100 == 0 {
			compactNow(t, s)
		}
	}
	close(stop)
	readers.Wait()
	caughtUp(t, s)
	require.Len(t, newestOf(readQueue(t, s, compactedTopic, 0, 0)), 13)
}

func TestKeyOffsets(t *testing.T) {
	t.Parallel()
	k := newKeyOffsets(1000, 1<<20)
	require.EqualValues(t, -1, k.get([]byte("none")))
	want := make(map[string]int64)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range int64(1000) {
		key := fmt.Sprint(rnd.IntN(700))
		want[key] = i
		require.True(t, k.put([]byte(key), i))
	}
	for key, offset := range want {
		require.Equal(t, offset, k.get([]byte(key)))
	}
	small := newKeyOffsets(1000, 0)
	n := 0
	for small.put([]byte(fmt.Sprint(n)), int64(n)) {
		n++
	}
	require.Equal(t, minKeySlots*3/4, n)
	require.True(t, small.put([]byte("7"), 1000), "a key that is there needs no room")
	require.EqualValues(t, 1000, small.get([]byte("7")))
}

func TestCompactionFileLengthsAreApaches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ log, queue, wantLog, wantQueue int64 }{
		{100 << 20, 10 << 20, 104857460, 10485746}, // the defaults
		{9200, 1840, 11040, 1840},
		{0, 100, 460, 92},
		{50000, 11040, 55200, 11040},
	} {
		o := compactionOptions(t, t.TempDir())
		o.CompactionLogBytes, o.CompactionQueueBytes = c.log, c.queue
		require.NoError(t, o.validate())
		require.Equal(t, c.wantLog, o.CompactionLogBytes)
		require.Equal(t, c.wantQueue, o.CompactionQueueBytes)
	}
}
