package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
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

// fixtureExtras was written by Apache RocketMQ 5.4.0 with enableLmq, enableMultiDispatch, enabledAppendPropCRC, forceVerifyPropCRC,
// enableConsumeQueueExt (files of 4,096 bytes), enableCalcFilterBitMap and enablePropertyFilter, and stopped cleanly. Its manifest is
// what its broker answered to pulls of everything, and of three groups with expressions.
const fixtureExtras = "extras"

type extrasManifest struct {
	Queues  map[string][]int64 // topic/queue id to the physical offsets
	Filters map[string][]int64 // group/queue id to the queue offsets that pass, in topic Ext
}

func readExtras(t testing.TB) *extrasManifest {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", fixtureExtras, "manifest.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	m := new(extrasManifest)
	require.NoError(t, json.NewDecoder(z).Decode(m))
	return m
}

// extrasOptions are the settings that the directory was written with, as far as they are for light message queues.
func extrasOptions(t testing.TB, dir string) Options {
	o := fixtureOptions(t, dir)
	o.MultiDispatch = true
	return o
}

func requireExtras(t *testing.T, s *Store, want *extrasManifest) {
	t.Helper()
	for name, phys := range want.Queues {
		topic, id := queueName(t, name)
		var got []int64
		for _, m := range readQueue(t, s, topic, id, 0) {
			got = append(got, m.PhysOffset)
		}
		require.Equal(t, phys, got, name)
	}
}

func TestLMQsOfApache(t *testing.T) {
	t.Parallel()
	want := readExtras(t)
	for _, how := range []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"clean", func(*testing.T, string) {}},
		{"killed", func(t *testing.T, dir string) { require.NoError(t, writeAbort(dir)) }},
		{"queues lost", func(t *testing.T, dir string) { removeAllOf(t, dir, "consumequeue") }},
		{"queues cut", func(t *testing.T, dir string) {
			changeFile(t, filepath.Join(dir, "consumequeue/%LMQ%y/0", segmentName(0)), 5*entryBytes, func(b []byte) { clear(b) })
			require.NoError(t, writeAbort(dir))
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, fixtureExtras, "")
			file := func(lmq string) []byte {
				b, err := os.ReadFile(filepath.Join(dir, "consumequeue", lmq, "0", segmentName(0)))
				require.NoError(t, err)
				return b
			}
			x, y := file("%LMQ%x"), file("%LMQ%y")
			how.change(t, dir)
			s := openTestStore(t, extrasOptions(t, dir))
			requireExtras(t, s, want)
			require.Equal(t, x, file("%LMQ%x"))
			require.Equal(t, y, file("%LMQ%y"))
			var r PutResult
			require.NoError(t, s.PutWait(lmqMessage("Parent", "next", "%LMQ%y,%LMQ%x"), &r))
			waitDispatched(t, s)
			require.Equal(t, "20,40", storedProperty(t, s, r.PhysOffset, codec.PropInnerMultiQueueOffset))
			require.EqualValues(t, 41, s.MaxQueueOffset("%LMQ%x", 0))
		})
	}
}

// lmqMessage is a message that goes to light message queues too.
func lmqMessage(topic, text, names string) *Message {
	m := testMessage(topic, 0, text)
	m.Properties = codec.AppendProperty(m.Properties, codec.PropInnerMultiDispatch, names)
	return m
}

func storedProperty(t testing.TB, s *Store, physOffset int64, key string) string {
	t.Helper()
	raw, err := s.MessageAt(physOffset)
	require.NoError(t, err)
	var m codec.Message
	_, err = codec.DecodeMessage(raw, &m)
	require.NoError(t, err)
	value, ok := codec.Property(m.Properties, key)
	if !ok {
		return "none"
	}
	return string(value)
}

func TestLMQPut(t *testing.T) {
	t.Parallel()
	long := LMQPrefix + strings.Repeat("n", 251)
	o := testOptions(t)
	o.MultiDispatch = true
	s := openTestStore(t, o)
	for _, c := range []struct{ name, topic, names, stored, offsets string }{
		{"two", "T", "%LMQ%a,%LMQ%b", "%LMQ%a,%LMQ%b", "0,0"},
		{"again", "T", "%LMQ%b", "%LMQ%b", "1"},
		{"twice the same", "T", "%LMQ%a,%LMQ%a", "%LMQ%a", "1"},
		{"other topics are left out", "T", "T2,%LMQ%a,T3", "%LMQ%a", "2"},
		{"separators are left out", "T", "%LMQ%a/b,%LMQ%a", "%LMQ%a", "3"},
		{"empty names", "T", "%LMQ%a,", "%LMQ%a", "4"},
		{"nothing left", "T", "T2", "T2", "none"},
		{"name too long", "T", long, long, "none"},
		{"longest name", "T", long[:255], long[:255], "0"},
		{"its own queue", "%LMQ%a", "%LMQ%a,%LMQ%b", "%LMQ%b", "2"},
		{"retry topic", "%RETRY%g", "%LMQ%a", "%LMQ%a", "none"},
		{"system topic", "rmq_sys_x", "%LMQ%a", "%LMQ%a", "none"},
		{"delayed", TopicSchedule, "%LMQ%a", "%LMQ%a", "none"},
		{"half message", TopicTransHalf, "%LMQ%a", "%LMQ%a", "none"},
	} {
		var r PutResult
		require.NoError(t, s.PutWait(lmqMessage(c.topic, c.name, c.names), &r), c.name)
		require.Equal(t, c.stored, storedProperty(t, s, r.PhysOffset, codec.PropInnerMultiDispatch), c.name)
		require.Equal(t, c.offsets, storedProperty(t, s, r.PhysOffset, codec.PropInnerMultiQueueOffset), c.name)
	}
	waitDispatched(t, s)
	require.EqualValues(t, 6, s.MaxQueueOffset("%LMQ%a", 0))
	require.EqualValues(t, 3, s.MaxQueueOffset("%LMQ%b", 0))
	require.EqualValues(t, 1, s.MaxQueueOffset(long[:255], 0))
}

func TestLMQsAreBounded(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MultiDispatch, o.MaxLMQs = true, 3
	s := openTestStore(t, o)
	var r PutResult
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%1,%LMQ%2,%LMQ%3"), &r))
	written := s.Written()
	require.ErrorIs(t, s.PutWait(lmqMessage("T", "x", "%LMQ%1,%LMQ%4"), &r), ErrTooManyLMQs)
	require.ErrorIs(t, s.PutWait(testMessage("%LMQ%4", 0, "x"), &r), ErrTooManyLMQs)
	require.Equal(t, written, s.Written())
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%3"), &r))
	waitDispatched(t, s)
	require.NoError(t, s.DeleteTopic("%LMQ%1"))
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%4"), &r))
	require.NoError(t, s.Close())
	s = openTestStore(t, o)
	require.EqualValues(t, 3, s.queues.lmqs.Load())
	require.EqualValues(t, 2, s.MaxQueueOffset("%LMQ%3", 0))
}

// Offsets that a client made up lead nowhere.
func TestLMQOffsetsOfClientsDoNotCount(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MultiDispatch = true
	s := openTestStore(t, o)
	forged := codec.AppendProperty(nil, codec.PropInnerMultiDispatch, "%LMQ%a")
	forged = codec.AppendProperty(forged, codec.PropInnerMultiQueueOffset, "77")
	var r PutResult
	m := testMessage("T", 0, "x")
	m.Properties = forged
	require.NoError(t, s.PutWait(m, &r))
	require.Equal(t, "0", storedProperty(t, s, r.PhysOffset, codec.PropInnerMultiQueueOffset))
	m.Topic = TopicTransHalf
	require.NoError(t, s.PutWait(m, &r))
	require.Equal(t, "none", storedProperty(t, s, r.PhysOffset, codec.PropInnerMultiQueueOffset))
	batch := testMessage("T", 0, "")
	batch.Properties = nil
	batch.Body = codec.AppendBatchEntry(nil, 0, []byte("one"), forged)
	var br BatchPutResult
	require.NoError(t, s.PutBatchWait(batch, &br))
	require.Equal(t, "none", storedProperty(t, s, br.PhysOffset, codec.PropInnerMultiQueueOffset))
	waitDispatched(t, s)
	require.EqualValues(t, 1, s.MaxQueueOffset("%LMQ%a", 0))
	require.NoError(t, s.Close())
	removeAllOf(t, o.Dir, "consumequeue")
	s = openTestStore(t, o)
	require.EqualValues(t, 1, s.MaxQueueOffset("%LMQ%a", 0))
}

// Without the option names mean nothing, and properties are stored as they come.
func TestLMQsSwitchedOff(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	var r PutResult
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%a"), &r))
	waitDispatched(t, s)
	require.Equal(t, "none", storedProperty(t, s, r.PhysOffset, codec.PropInnerMultiQueueOffset))
	require.Zero(t, s.MaxQueueOffset("%LMQ%a", 0))
}

func TestLMQArrivals(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MultiDispatch, o.DispatchRing = true, 16
	var mu sync.Mutex
	next := make(map[string]int64)
	o.OnArrival = eachArrival(func(a Arrival) {
		mu.Lock()
		defer mu.Unlock()
		if a.FirstQueueOffset != next[a.Topic] {
			t.Errorf("arrival %+v, expected from %d", a, next[a.Topic])
		}
		next[a.Topic] = a.QueueOffset + 1
	})
	s := openTestStore(t, o)
	var r PutResult
	for i := range 3000 {
		require.NoError(t, s.PutWait(lmqMessage("T", "x", fmt.Sprintf("%%LMQ%%%d,%%LMQ%%all", i%3)), &r))
	}
	waitDispatched(t, s)
	require.NoError(t, s.Close())
	require.Equal(t, map[string]int64{"T": 3000, "%LMQ%all": 3000, "%LMQ%0": 1000, "%LMQ%1": 1000, "%LMQ%2": 1000}, next)
}

// A deleted light message queue begins anew, after a recovery too.
func TestLMQDeleted(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.o.MultiDispatch = true
	h.open()
	var r PutResult
	for range 10 {
		require.NoError(t, h.s.PutWait(lmqMessage("T", "old", "%LMQ%a,%LMQ%b"), &r))
	}
	require.NoError(t, h.s.DeleteTopic("%LMQ%a"))
	require.NoError(t, h.s.PutWait(lmqMessage("T", "new", "%LMQ%a,%LMQ%b"), &r))
	require.Equal(t, "0,10", storedProperty(t, h.s, r.PhysOffset, codec.PropInnerMultiQueueOffset))
	check := func() {
		waitDispatched(t, h.s)
		a := readQueue(t, h.s, "%LMQ%a", 0, 0)
		require.Len(t, a, 1)
		require.Equal(t, "new", string(a[0].Body))
		require.Len(t, readQueue(t, h.s, "%LMQ%b", 0, 0), 11)
	}
	check()
	h.crash(func(string) {})
	h.open()
	check()
	h.crash(func(dir string) { removeAllOf(t, dir, "consumequeue") })
	h.open()
	check()
	require.NoError(t, h.s.DeleteTopic("T")) // its queue goes, the others stay
	h.crash(func(dir string) { removeAllOf(t, dir, "consumequeue") })
	h.open()
	check()
	require.Zero(t, h.s.MaxQueueOffset("T", 0))
	require.NoError(t, h.s.Close())
}

// After kills and power cuts light message queues have just the records that name them.
func TestLMQCrash(t *testing.T) {
	t.Parallel()
	eachCrashSeed(t, 25, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed)
		h.o.MultiDispatch = true
		h.open()
		for range 3 {
			for range h.rnd.IntN(150) {
				h.put()
				h.putLMQ()
				if h.rnd.IntN(10) == 0 {
					h.s.flusher.log()
				}
				if h.rnd.IntN(20) == 0 {
					waitDispatched(t, h.s)
					h.s.flusher.queues(h.rnd.IntN(2) == 0)
				}
			}
			waitDispatched(t, h.s)
			flushed, fates := h.s.Flushed(), h.queueFates()
			if h.rnd.IntN(2) == 0 {
				h.crash(func(dir string) { h.cutPower(dir, flushed, fates) })
			} else {
				h.crash(func(string) {})
			}
			h.open()
			h.forget(flushed)
			h.checkQueues()
			h.checkLMQs()
		}
		require.NoError(t, h.s.Close())
		removeAllOf(t, h.o.Dir, "consumequeue")
		h.open()
		h.checkQueues()
		h.checkLMQs()
		require.NoError(t, h.s.Close())
	})
}

func (h *history) putLMQ() {
	h.count++
	uniq := fmt.Sprint("uniq", h.count)
	m := lmqMessage("T", string(h.text(h.rnd.IntN(300))), fmt.Sprintf("%%LMQ%%%d,%%LMQ%%%d", h.rnd.IntN(5), 5+h.rnd.IntN(30)))
	m.QueueID = int32(h.rnd.IntN(4))
	m.Properties = codec.AppendProperty(m.Properties, codec.PropUniqKey, uniq)
	var r PutResult
	require.NoError(h.t, h.s.PutWait(m, &r))
	h.keep(m, uniq, r.QueueOffset, r.PhysOffset, r.EndOffset)
}

func (h *history) checkLMQs() {
	h.t.Helper()
	want := make(map[string][]int64)
	for _, k := range h.puts {
		var m codec.Message
		_, err := codec.DecodeMessage(k.raw, &m)
		require.NoError(h.t, err)
		for it := lmqsOf(m.Topic, m.Properties); it.next(); {
			require.EqualValues(h.t, len(want[string(it.Name)]), it.QueueOffset)
			want[string(it.Name)] = append(want[string(it.Name)], k.phys)
		}
	}
	h.s.queues.each("", func(q *queue) {
		if IsLMQ(q.topic) {
			require.EqualValues(h.t, len(want[q.topic]), q.max.Load(), q.topic)
		}
	})
	for name, list := range want {
		for i, phys := range list {
			got, _, tags, ok := h.s.QueueEntry(name, 0, int64(i))
			require.True(h.t, ok)
			require.Equal(h.t, phys, got)
			require.Equal(h.t, codec.TagsCode([]byte("TagA")), tags)
		}
	}
}

// Queues that cannot grow hold back the record, which then comes once to each of its queues.
func TestLMQCannotGrow(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MultiDispatch = true
	var fail sync.Map
	o.Faults = func(op FileOp, path string) error {
		if _, on := fail.Load("on"); on && op == OpCreate && bytes.Contains([]byte(path), []byte("%LMQ%b")) {
			return ErrNoSpace
		}
		return nil
	}
	s := openTestStore(t, o)
	fail.Store("on", true)
	var r PutResult
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%a,%LMQ%b,%LMQ%c"), &r))
	require.Eventually(t, func() bool { return s.dispatcher.stuck.Load() != nil }, time.Minute, time.Millisecond)
	require.ErrorIs(t, s.Put(testMessage("T", 0, "y"), &r), ErrStuck)
	fail.Delete("on")
	waitDispatched(t, s)
	for _, topic := range []string{"T", "%LMQ%a", "%LMQ%b", "%LMQ%c"} {
		require.Len(t, readQueue(t, s, topic, 0, 0), 1, topic)
	}
}

// Light message queues cost a few hundred bytes each, no goroutine and no descriptor.
func TestManyLMQs(t *testing.T) {
	if testing.Short() {
		t.Skip("creates many files")
	}
	o := testOptions(t)
	o.MultiDispatch, o.IndexEnabled, o.MaxMappedQueues, o.QueueFlushInterval = true, false, 500, time.Hour
	s := openTestStore(t, o)
	n := 3000
	if os.Getenv("STORE_MANY_QUEUES") != "" {
		n = o.MaxLMQs
	}
	before, routines := heapBytes(), runtime.NumGoroutine()
	var r PutResult
	for i := range n {
		require.NoError(t, s.PutWait(lmqMessage("T", "x", fmt.Sprint(LMQPrefix, i)), &r))
	}
	waitDispatched(t, s)
	require.Less(t, heapBytes()-before, int64(n)*900)
	require.Equal(t, routines, runtime.NumGoroutine())
	require.LessOrEqual(t, len(s.queues.cache.files), 500)
	require.EqualValues(t, n, s.queues.lmqs.Load())
}

func TestLMQOffsets(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureExtras, "config")
	path, plain := filepath.Join(dir, "config", "lmqConsumerOffset.json"), filepath.Join(dir, "config", "consumerOffset.json")
	java, err := os.ReadFile(path)
	require.NoError(t, err)
	o, err := OpenLMQOffsets(path, plain, OffsetsOptions{})
	require.NoError(t, err)
	requireOffset(t, o, "%LMQ%g", "%LMQ%x", 0, 18)
	requireOffset(t, o, "%LMQ%g", "%LMQ%x", 9, 18) // one offset, whatever the queue
	requireOffset(t, o, "%LMQ%g", "Parent", 0, 5)
	requireOffset(t, o, "G_plain", "%LMQ%x", 0, 7)
	requireOffset(t, o, "G_plain", "Ext", 1, 9)
	commit(t, o, "%LMQ%g", "%LMQ%x", 0, 18)
	require.NoError(t, o.Persist())
	ours, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, sortedLines(string(java)), sortedLines(string(ours)))
	commit(t, o, "%LMQ%g", "%LMQ%z", 4, 3)
	require.NoError(t, o.Close())
	o, err = OpenLMQOffsets(path, plain, OffsetsOptions{})
	require.NoError(t, err)
	requireOffset(t, o, "%LMQ%g", "%LMQ%z", 0, 3)
	require.NoFileExists(t, plain)
}

// A broker that gets light message queues starts with the offsets it had.
func TestLMQOffsetsFollowPlainOnes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, plain := filepath.Join(dir, "lmqConsumerOffset.json"), filepath.Join(dir, "consumerOffset.json")
	o := openTestOffsets(t, plain, OffsetsOptions{})
	commit(t, o, "G", "T", 1, 7)
	require.NoError(t, o.Persist())
	lmq, err := OpenLMQOffsets(path, plain, OffsetsOptions{})
	require.NoError(t, err)
	requireOffset(t, lmq, "G", "T", 1, 7)
	commit(t, lmq, "G", "T", 1, 8)
	require.NoError(t, lmq.Close())
	lmq, err = OpenLMQOffsets(path, plain, OffsetsOptions{})
	require.NoError(t, err)
	requireOffset(t, lmq, "G", "T", 1, 8)
}

func TestLMQTopicsAndGroupsAreImplicit(t *testing.T) {
	dir := t.TempDir()
	topics, err := OpenTopics(filepath.Join(dir, "topics.json"), TopicsOptions{LMQ: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, topics.Close()) })
	groups, err := OpenGroups(filepath.Join(dir, "subscriptionGroup.json"), GroupsOptions{LMQ: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, groups.Close()) })
	topic, ok := topics.GetBytes([]byte("%LMQ%x"))
	require.True(t, ok)
	require.Equal(t, "%LMQ%x", topic.TopicName)
	require.EqualValues(t, 1, topic.ReadQueueNums)
	require.EqualValues(t, 1, topic.WriteQueueNums)
	require.Equal(t, int32(codec.PermRead|codec.PermWrite), topic.Perm)
	_, ok = topics.Get("%RETRY%%LMQ%x")
	require.False(t, ok)
	changed := codec.NewTopicConfig("%LMQ%x")
	changed.ReadQueueNums = 5
	_, err = topics.Put(changed)
	require.NoError(t, err)
	topic, _ = topics.Get("%LMQ%x")
	require.EqualValues(t, 1, topic.ReadQueueNums)
	n, g := topics.Len(), groups.Len()
	for i := range 3 * maxImplicit / 2 {
		_, ok := topics.Get(fmt.Sprint(LMQPrefix, i))
		require.True(t, ok)
	}
	require.LessOrEqual(t, len(topics.lmq.named), maxImplicit)
	group, ok := groups.Find([]byte("%LMQ%g"))
	require.True(t, ok)
	require.Equal(t, "%LMQ%g", group.GroupName)
	require.NoError(t, groups.Put(codec.NewSubscriptionGroupConfig("%LMQ%g")))
	require.Equal(t, n, topics.Len())
	require.Equal(t, g, groups.Len())
	name := []byte("%LMQ%g")
	require.Zero(t, leastAllocs(100, func() { topics.GetBytes(name); groups.GetBytes(name) }))
}

// Puts to light message queues allocate nothing once the queues are there.
func TestLMQPutDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("sync.Pool drops items under the race detector")
	}
	o := testOptions(t)
	o.MultiDispatch, o.SegmentBytes = true, 64<<20
	s := openTestStore(t, o)
	m := lmqMessage("T", "text", "%LMQ%a,%LMQ%b")
	var r PutResult
	require.NoError(t, s.PutWait(m, &r))
	require.LessOrEqual(t, leastAllocs(2000, func() { _ = s.PutWait(m, &r) }), 0.1)
	waitDispatched(t, s)
}
