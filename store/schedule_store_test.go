package store

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// delayStore is a Store with its Schedule, wired as a broker does it.
type delayStore struct {
	*Store
	schedule *Schedule
	arrived  chan Arrival // in other topics than the schedule's
	end      func()       // of Run; the store stays open
}

func openDelayStore(t testing.TB, opts Options, levels DelayLevels) *delayStore {
	t.Helper()
	opts.DelayLevels = levels
	d := &delayStore{arrived: make(chan Arrival, 1<<16)}
	var schedule atomic.Pointer[Schedule]
	opts.OnArrival = eachArrival(func(a Arrival) {
		if a.Topic != TopicSchedule {
			d.arrived <- a
		} else if s := schedule.Load(); s != nil {
			s.Notify(a.QueueID)
		}
	})
	var err error
	d.Store, err = Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Store.Close()) })
	d.schedule, err = OpenSchedule(filepath.Join(opts.Dir, "config", "delayOffset.json"), d.Store,
		ScheduleOptions{Levels: levels, TableOptions: TableOptions{Now: opts.Now}})
	require.NoError(t, err)
	schedule.Store(d.schedule)
	return d
}

func (d *delayStore) run(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.schedule.Run(ctx) }()
	d.end = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(d.end)
}

func (d *delayStore) put(t testing.TB, m *Message, level int) {
	t.Helper()
	d.schedule.Redirect(m, level)
	require.NoError(t, d.PutWait(m, new(PutResult)))
}

// waitFor waits until a topic's queue 3 has n messages.
func (d *delayStore) waitFor(t testing.TB, topic string, n int64) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for d.MaxQueueOffset(topic, 3) < n {
		select {
		case <-d.arrived:
		case <-deadline:
			require.FailNow(t, "not delivered", "%d of %d in %s", d.MaxQueueOffset(topic, 3), n, topic)
		}
	}
}

func (d *delayStore) message(t testing.TB, topic string, queueID int32, queueOffset int64) codec.Message {
	t.Helper()
	physOffset, _, tagsCode, ok := d.QueueEntry(topic, queueID, queueOffset)
	require.True(t, ok)
	record, err := d.MessageAt(physOffset)
	require.NoError(t, err)
	var m codec.Message
	_, err = codec.DecodeMessage(record, &m)
	require.NoError(t, err)
	if topic != TopicSchedule {
		tags, _ := codec.Property(m.Properties, codec.PropTags)
		require.Equal(t, codec.TagsCode(tags), tagsCode)
	}
	return m
}

func smallStoreOptions(dir string) Options {
	opts := DefaultOptions(dir)
	opts.SegmentBytes, opts.QueueSegmentEntries = 4<<20, 3000
	opts.IndexSlots, opts.IndexEntries = fixtureIndexSlots, fixtureIndexEntries
	return opts
}

func TestScheduleInAStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	levels := DelayLevels{30, 3_600_000}
	d := openDelayStore(t, smallStoreOptions(dir), levels)
	d.run(t)
	before := time.Now().UnixMilli()
	for i := range 20 {
		d.put(t, delayedMessage("Orders", strconv.Itoa(i)), 1)
	}
	d.put(t, delayedMessage("Late", "x"), 2)
	d.waitFor(t, "Orders", 20)
	for i := range int64(20) {
		m := d.message(t, "Orders", 3, i)
		require.Equal(t, strconv.Itoa(int(i)), string(m.Body))
		require.Equal(t, netip.MustParseAddrPort("10.1.2.3:4567"), m.BornHost)
		require.Equal(t, int32(2), m.ReconsumeTimes)
		delayed := d.message(t, TopicSchedule, 0, i)
		require.Equal(t, string(delayed.Properties), string(m.Properties))
		require.GreaterOrEqual(t, m.StoreTimestampMs, delayed.StoreTimestampMs+30)
	}
	_, _, due, ok := d.QueueEntry(TopicSchedule, 1, 0)
	require.True(t, ok)
	require.Equal(t, d.message(t, TopicSchedule, 1, 0).StoreTimestampMs+3_600_000, due)
	require.GreaterOrEqual(t, due, before+3_600_000)
	d.end()
	require.NoError(t, d.schedule.Persist())
	require.NoError(t, d.Close())

	// The hour goes by while nothing runs.
	opts := smallStoreOptions(dir)
	opts.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	again := openDelayStore(t, opts, levels)
	again.run(t)
	again.waitFor(t, "Late", 1)
	require.Equal(t, int64(20), again.MaxQueueOffset("Orders", 3), "none twice")
	require.Equal(t, "x", string(again.message(t, "Late", 3, 0).Body))
}

// TestScheduleInAStoreOfJava: the store was stopped with a message for level 18 under way.
func TestScheduleInAStoreOfJava(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	var nowMs atomic.Int64
	opts := smallStoreOptions(dir)
	opts.SegmentBytes, opts.QueueSegmentEntries = 1<<20, 3000
	opts.Now = func() time.Time { return time.UnixMilli(nowMs.Load()) }
	nowMs.Store(1_795_228_800_000) // some minutes after the stop
	levels, err := ParseDelayLevels(DefaultDelayLevels)
	require.NoError(t, err)
	d := openDelayStore(t, opts, levels)
	pending := d.message(t, TopicSchedule, 17, 0)
	_, _, due, ok := d.QueueEntry(TopicSchedule, 17, 0)
	require.True(t, ok)
	require.Greater(t, due, nowMs.Load())
	require.Equal(t, due, pending.StoreTimestampMs+2*3_600_000)
	topic, _ := codec.Property(pending.Properties, codec.PropRealTopic)
	queue, _ := codec.Property(pending.Properties, codec.PropRealQueueID)
	queueID, err := strconv.Atoi(string(queue))
	require.NoError(t, err)
	before := d.MaxQueueOffset(string(topic), int32(queueID))
	ends := d.Written()
	d.run(t)
	require.Eventually(t, func() bool { // the first look
		for _, q := range d.schedule.levels {
			if !q.idle.Load() && q.level != 18 {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, ends, d.Written(), "what Java delivered is not delivered again")
	nowMs.Store(due)
	deadline := time.After(10 * time.Second)
	for d.MaxQueueOffset(string(topic), int32(queueID)) == before {
		select {
		case <-d.arrived:
		case <-deadline:
			require.FailNow(t, "not delivered")
		}
	}
	m := d.message(t, string(topic), int32(queueID), before)
	require.Equal(t, pending.Body, m.Body)
	require.Equal(t, string(pending.Properties), string(m.Properties))
}

// TestScheduleInARebuiltStore: due times are not in the log, they come from its store times and the level.
func TestScheduleInARebuiltStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openDelayStore(t, smallStoreOptions(dir), DelayLevels{50_000, 60_000})
	for i := range 10 {
		d.put(t, delayedMessage("Orders", strconv.Itoa(i)), 1+i%2)
	}
	var due []int64
	require.NoError(t, d.Close())
	again := openDelayStore(t, smallStoreOptions(dir), DelayLevels{50_000, 60_000})
	for i := range int64(10) {
		_, _, at, ok := again.QueueEntry(TopicSchedule, int32(i%2), i/2)
		require.True(t, ok)
		m := again.message(t, TopicSchedule, int32(i%2), i/2)
		require.Equal(t, m.StoreTimestampMs+50_000+i%2*10_000, at)
		due = append(due, at)
	}
	require.NoError(t, again.Close())
	parts := []string{"consumequeue", "index", "checkpoint"}
	for _, name := range parts {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	rebuilt := openDelayStore(t, smallStoreOptions(dir), DelayLevels{50_000, 60_000})
	for i := range int64(10) {
		_, _, at, ok := rebuilt.QueueEntry(TopicSchedule, int32(i%2), i/2)
		require.True(t, ok)
		require.Equal(t, due[i], at)
	}
}

// BenchmarkScheduleBurst is 10,000 messages that are due at one time; ms/burst is how long until all are visible.
func BenchmarkScheduleBurst(b *testing.B) {
	const n = 10_000
	opts := DefaultOptions(b.TempDir())
	opts.SegmentBytes = 256 << 20
	var nowMs atomic.Int64
	nowMs.Store(1_700_000_000_000)
	opts.Now = func() time.Time { return time.UnixMilli(nowMs.Load()) }
	d := openDelayStore(b, opts, DelayLevels{1000})
	d.run(b)
	body := fmt.Sprintf("%01024d", 0)
	var total int64
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		for range n {
			d.put(b, delayedMessage("Orders", body), 1)
		}
		total += n
		b.StartTimer()
		begin := time.Now()
		nowMs.Add(1000)
		d.schedule.wake <- struct{}{}
		d.waitFor(b, "Orders", total)
		spent += time.Since(begin)
	}
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "ms/burst")
}
