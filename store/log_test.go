package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestArrivals(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	var mu sync.Mutex
	next := make(map[queueKey]int64)
	var last Arrival
	var s *Store
	o.OnArrival = eachArrival(func(a Arrival) {
		mu.Lock()
		defer mu.Unlock()
		key := queueKey{a.Topic, a.QueueID}
		if a.FirstQueueOffset != next[key] || a.QueueOffset < a.FirstQueueOffset {
			t.Errorf("arrival %+v, expected from %d", a, next[key])
		}
		next[key] = a.QueueOffset + 1
		last = a
		if s.MaxQueueOffset(a.Topic, a.QueueID) <= a.QueueOffset {
			t.Error("told before it is visible")
		}
	})
	s = openTestStore(t, o)
	for i := range 5000 {
		var r PutResult
		require.NoError(t, s.PutWait(testMessage("T", int32(i%7), "text"), &r))
	}
	prepared := testMessage("T", 0, "half")
	prepared.SysFlag = codec.SysPrepared
	var r PutResult
	require.NoError(t, s.PutWait(prepared, &r))
	require.Zero(t, r.QueueOffset)
	waitDispatched(t, s)
	require.NoError(t, s.Close()) // the dispatcher has told all
	for q := range int32(7) {
		require.EqualValues(t, (5000+6-int(q))/7, next[queueKey{"T", q}])
	}
	require.True(t, last.SameTags)
	require.Equal(t, codec.TagsCode([]byte("TagA")), last.TagsCode)
}

// Delayed messages have their due time as tag code, however the dispatcher came by the record.
func TestDueTimesAreTagCodes(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.o.DispatchRing = 16
	h.open()
	m := testMessage(TopicSchedule, 2, "rests")
	m.Properties = codec.AppendProperty(m.Properties, codec.PropDelay, "3")
	m.TagsCode = 12345
	var r PutResult
	for range 100 {
		require.NoError(t, h.s.PutWait(m, &r))
	}
	waitDispatched(t, h.s)
	check := func() {
		for i := range int64(100) {
			_, _, tags, ok := h.s.QueueEntry(TopicSchedule, 2, i)
			require.True(t, ok)
			require.Equal(t, h.s.StoreTimeAt(TopicSchedule, 2, i)+10_000, tags)
		}
	}
	check()
	h.crash(func(dir string) { removeAllOf(t, dir, "consumequeue") })
	h.open()
	check()
	require.NoError(t, h.s.Close())
}

// A very full ring loses nothing: what it could not take is read from the log.
func TestDispatcherReadsTheLog(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 64 << 10
	o.DispatchRing = 16
	gate := make(chan struct{})
	var once sync.Once
	o.OnArrival = func([]Arrival) { once.Do(func() { <-gate }) }
	s := openTestStore(t, o)
	const n = 3000
	for i := range n {
		var r PutResult
		require.NoError(t, s.PutWait(testMessage("T", int32(i%3), fmt.Sprint(i)), &r))
		if i == n/2 {
			close(gate)
		}
	}
	waitDispatched(t, s)
	for q := range int32(3) {
		for i, m := range readQueue(t, s, "T", q, 0) {
			require.Equal(t, fmt.Sprint(i*3+int(q)), string(m.Body))
		}
		require.EqualValues(t, n/3, s.MaxQueueOffset("T", q))
	}
}

// A dispatcher that keeps up uses the first places of its ring, over and over; all entries are right wherever the ring begins.
func TestRingBeginsAgain(t *testing.T) {
	t.Parallel()
	for _, places := range []int{homeItems / 4, homeItems * 4} {
		o := testOptions(t)
		o.DispatchRing = places
		s := openTestStore(t, o)
		d, n := s.dispatcher, 0
		put := func(messages int) {
			var r PutResult
			for range messages {
				require.NoError(t, s.PutWait(testMessage("T", 0, fmt.Sprint(n)), &r))
				n++
			}
			require.Eventually(t, func() bool { return d.tail.Load() == d.head.Load() }, 10*time.Second, 10*time.Microsecond)
		}
		for range homeItems + 1 {
			put(1)
		}
		require.EqualValues(t, homeItems, d.home.Load())
		for _, burst := range []int{homeItems, 1, 3 * homeItems, 1, homeSteps, homeItems / 2, 5 * homeItems} {
			put(burst)
		}
		waitDispatched(t, s)
		for i, m := range readQueue(t, s, "T", 0, 0) {
			require.Equal(t, fmt.Sprint(i), string(m.Body))
		}
		require.EqualValues(t, n, s.MaxQueueOffset("T", 0))
	}
}

// A hundred thousand queues cost a few hundred bytes each, no goroutine and no descriptor.
func TestManyQueues(t *testing.T) {
	if testing.Short() {
		t.Skip("creates many files")
	}
	o := testOptions(t)
	o.IndexEnabled = false
	o.QueueFlushInterval = time.Hour
	o.MaxMappedQueues = 1000
	s := openTestStore(t, o)
	n := 5000
	if os.Getenv("STORE_MANY_QUEUES") != "" {
		n = 100_000
	}
	before, routines := heapBytes(), runtime.NumGoroutine()
	for i := range n {
		var r PutResult
		require.NoError(t, s.PutWait(testMessage(fmt.Sprintf("topic-%d", i/8), int32(i%8), "x"), &r))
	}
	waitDispatched(t, s)
	require.Less(t, heapBytes()-before, int64(n)*900)
	require.Equal(t, routines, runtime.NumGoroutine())
	require.LessOrEqual(t, len(s.queues.cache.files), 1000)
	fds, err := os.ReadDir("/proc/self/fd")
	if err == nil {
		require.Less(t, len(fds), 200)
	}
	for i := range n {
		require.EqualValues(t, 1, s.MaxQueueOffset(fmt.Sprintf("topic-%d", i/8), int32(i%8)))
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Segments keep the sizes they were made with, whatever the options say later.
func TestSizesComeFromDisk(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes, o.QueueSegmentEntries = 32<<10, 50
	var lists [][]PutResult
	for _, size := range []int64{32 << 10, 128 << 10, 16 << 10, 1 << 20} {
		o.SegmentBytes = size
		o.QueueSegmentEntries = int(size >> 9)
		s := openTestStore(t, o)
		lists = append(lists, putMany(t, s, "T", 0, 1000, 100))
		require.NoError(t, s.Close())
	}
	s := openTestStore(t, o)
	got := readQueue(t, s, "T", 0, 0)
	require.Len(t, got, 4000)
	for i, m := range got {
		require.Equal(t, lists[i/1000][i%1000].PhysOffset, m.PhysOffset)
	}
	end := int64(0)
	for _, seg := range s.log.all() {
		require.Equal(t, end, seg.base)
		end = seg.end()
	}
}

// A clean stop leaves no segment that was only prepared, a crash may; both start again.
func TestPreparedSegment(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.o.SegmentBytes = 16 << 10
	h.open()
	names := func() (list []string) {
		eachLogFile(t, h.o.Dir, func(path string, _ int64) { list = append(list, filepath.Base(path)) })
		return list
	}
	require.Equal(t, []string{segmentName(0), segmentName(16 << 10)}, names())
	require.NoError(t, h.s.Close())
	require.Equal(t, []string{segmentName(0)}, names())
	h.open()
	putMany(t, h.s, "T", 0, 1, 50)
	h.crash(func(dir string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "commitlog", segmentName(32<<10)), nil, 0o644)) // cut off
	})
	h.open()
	require.Len(t, readQueue(t, h.s, "T", 0, 0), 1)
	require.NoError(t, h.s.Close())
	require.Equal(t, []string{segmentName(0)}, names())
}

// A last segment that a copy cut short gets its length back.
func TestShortLastSegment(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.o.SegmentBytes = 16 << 10
	h.open()
	list := putMany(t, h.s, "T", 0, 100, 200)
	h.crash(func(dir string) {
		last := h.s.log.all()[len(h.s.log.all())-1]
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "commitlog", segmentName(last.end()))))
		end := list[99].EndOffset - last.base
		require.NoError(t, os.Truncate(filepath.Join(dir, "commitlog", segmentName(last.base)), end-10))
	})
	h.open()
	require.Equal(t, list[98].EndOffset, h.s.Written())
	require.Len(t, readQueue(t, h.s, "T", 0, 0), 99)
	putMany(t, h.s, "T", 0, 100, 200)
	for _, seg := range h.s.log.all() {
		require.EqualValues(t, 16<<10, seg.size)
	}
	require.NoError(t, h.s.Close())
}

// Segments that cannot be one log are refused by name.
func TestBrokenRowOfSegments(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(dir string) error{
		"overlap": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, segmentName(100)), make([]byte, 5000), 0o644)
		},
		"empty": func(dir string) error { return os.Truncate(filepath.Join(dir, segmentName(0)), 0) },
	} {
		o := testOptions(t)
		o.SegmentBytes = 16 << 10
		s := openTestStore(t, o)
		putMany(t, s, "T", 0, 200, 200)
		require.NoError(t, s.Close())
		require.NoError(t, change(filepath.Join(o.Dir, "commitlog")))
		_, err := Open(o)
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.ErrorContains(t, err, "commitlog"+string(filepath.Separator)+"0000", name)
	}
}

// The log was removed: its queues go with it, as in Java.
func TestQueuesWithoutLog(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 10, 10)
	require.NoError(t, s.Close())
	removeAllOf(t, o.Dir, "commitlog", "index")
	s = openTestStore(t, o)
	require.Zero(t, s.MaxQueueOffset("T", 0))
	require.EqualValues(t, 0, putMany(t, s, "T", 0, 1, 10)[0].QueueOffset)
}

func TestPutDoesNotAllocate(t *testing.T) {
	s := openTestStore(t, testOptions(t))
	putMany(t, s, "T", 0, 1000, 10)
	m := testMessage("T", 0, strings.Repeat("x", 100))
	var r PutResult
	allocs := leastAllocs(1000, func() {
		if err := s.Put(m, &r); err != nil && err != ErrWouldBlock {
			t.Fatal(err)
		}
	})
	require.Less(t, allocs, 1.0)
	waitDispatched(t, s)
	var g GetResult
	q := GetRequest{Topic: "T", MaxMsgs: 32}
	require.NoError(t, s.Get(&q, &g)) // maps the queue, which was written without
	g.Release()
	q.HotOnly = true
	require.NoError(t, s.Get(&q, &g))
	allocs = leastAllocs(1000, func() {
		g.Release()
		if err := s.Get(&q, &g); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
	g.Release()
}

// The quick look at properties finds what the codec's walk finds.
func TestIndexedProperties(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	words := []string{"UNIQ_KEY", "KEYS", "TAGS", "T", "K", "U", "KEYSX", "UNIQ", "a", "", "\x01", "\x02", "\x01\x02", "value"}
	for range 20000 {
		var props []byte
		for range rnd.IntN(12) {
			props = append(props, words[rnd.IntN(len(words))]...)
			if rnd.IntN(2) == 0 {
				props = append(props, byte(1+rnd.IntN(2)))
			}
		}
		want := map[string][]byte{}
		for it := codec.NewPropertyIter(props); it.Next(); {
			want[string(it.Key)] = it.Value
		}
		uniqKey, keys, tags := indexedProperties(props)
		require.Equal(t, string(want[codec.PropUniqKey]), string(uniqKey), "%q", props)
		require.Equal(t, string(want[codec.PropKeys]), string(keys), "%q", props)
		require.Equal(t, string(want[codec.PropTags]), string(tags), "%q", props)
	}
}

// leastAllocs returns the allocations of one run in the quietest of some rounds: what allocates allocates in each of them, what a store
// writes once a second does not.
func leastAllocs(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 9 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
