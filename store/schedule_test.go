package store

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// fakeLog is a log in memory. What is put to SCHEDULE_TOPIC_XXXX gets a queue entry, the rest is delivered.
type fakeLog struct {
	now func() time.Time

	mu        sync.Mutex
	records   map[int64][]byte // by physical offset
	end       int64
	queues    map[int32][]int64 // physical offsets in SCHEDULE_TOPIC_XXXX
	due       map[int64]int64
	min       map[int32]int64
	delivered []Message
	at        []time.Time
	puts      chan struct{}
	fail      func(m *Message) error
}

func newFakeLog() *fakeLog {
	return &fakeLog{
		now: time.Now, records: map[int64][]byte{}, queues: map[int32][]int64{}, due: map[int64]int64{}, min: map[int32]int64{},
		puts: make(chan struct{}, 1<<16),
	}
}

func (l *fakeLog) MinPhysOffset() int64 { return 0 }

func (l *fakeLog) MinQueueOffset(_ string, queueID int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.min[queueID]
}

func (l *fakeLog) MaxQueueOffset(_ string, queueID int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.queues[queueID]))
}

func (l *fakeLog) QueueEntry(_ string, queueID int32, queueOffset int64) (int64, int32, int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if queueOffset < l.min[queueID] || queueOffset >= int64(len(l.queues[queueID])) {
		return 0, 0, 0, false
	}
	physOffset := l.queues[queueID][queueOffset]
	return physOffset, int32(len(l.records[physOffset])), l.due[physOffset], true
}

func (l *fakeLog) MessageAt(physOffset int64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if record, ok := l.records[physOffset]; ok {
		return record, nil
	}
	return nil, ErrNotFound
}

func (l *fakeLog) PutWait(m *Message, _ *PutResult) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(m); err != nil {
			return err
		}
	}
	if m.Topic != TopicSchedule {
		l.delivered = append(l.delivered, *m)
		l.at = append(l.at, l.now())
		l.puts <- struct{}{}
		return nil
	}
	record := codec.AppendMessage(nil, &codec.Message{
		QueueID: m.QueueID, Flag: m.Flag, SysFlag: m.SysFlag, BornTimestampMs: m.BornTimestampMs, BornHost: m.BornHost,
		StoreTimestampMs: l.now().UnixMilli(), StoreHost: netip.MustParseAddrPort("127.0.0.1:10911"),
		ReconsumeTimes: m.ReconsumeTimes, Body: m.Body, Topic: []byte(m.Topic), Properties: m.Properties,
	})
	l.records[l.end], l.due[l.end] = record, m.TagsCode
	l.queues[m.QueueID] = append(l.queues[m.QueueID], l.end)
	l.end += int64(len(record))
	return nil
}

func (l *fakeLog) Written() int64 { return 0 }

func (l *fakeLog) awaitFlushed(int64) error { return nil }

// count returns how many messages were delivered.
func (l *fakeLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.delivered)
}

// waitFor waits until n messages were delivered in all.
func (l *fakeLog) waitFor(t testing.TB, n int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for l.count() < n {
		select {
		case <-l.puts:
		case <-deadline:
			require.FailNow(t, "not delivered", "%d of %d", l.count(), n)
		}
	}
}

// testSchedule runs a Schedule with levels of some milliseconds over a fakeLog.
type testSchedule struct {
	*Schedule
	log  *fakeLog
	path string
	stop func()
}

func startSchedule(t testing.TB, log *fakeLog, path string, opts ScheduleOptions) *testSchedule {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "config", "delayOffset.json")
	}
	if opts.Levels == nil {
		opts.Levels = DelayLevels{20, 60, 40, 3_600_000}
	}
	if opts.Now == nil {
		opts.Now = log.now
	}
	s, err := openSchedule(path, log, opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ts := &testSchedule{Schedule: s, log: log, path: path}
	ts.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(ts.stop)
	return ts
}

func delayedMessage(topic, text string) *Message {
	return &Message{
		Topic: topic, QueueID: 3, Flag: 7, SysFlag: 0, ReconsumeTimes: 2, BornTimestampMs: 1_700_000_000_000,
		BornHost: netip.MustParseAddrPort("10.1.2.3:4567"), Body: []byte(text),
		Properties: []byte("KEYS\x01k1\x02DELAY\x013\x02TAGS\x01TagA\x02UNIQ_KEY\x01U1\x02"), TagsCode: 99,
	}
}

func (s *testSchedule) put(t testing.TB, m *Message, level int) {
	t.Helper()
	s.Redirect(m, level)
	require.NoError(t, s.log.PutWait(m, nil))
	s.Notify(m.QueueID)
}

func TestParseDelayLevels(t *testing.T) {
	t.Parallel()
	levels, err := ParseDelayLevels(DefaultDelayLevels)
	require.NoError(t, err)
	require.Len(t, levels, 18)
	require.Equal(t, int64(1000), levels[0])
	require.Equal(t, int64(10_000), levels[2])
	require.Equal(t, int64(2*3_600_000), levels[17])
	levels, err = ParseDelayLevels("2d 0s")
	require.NoError(t, err)
	require.Equal(t, DelayLevels{2 * 86_400_000, 0}, levels)
	for _, bad := range []string{"", "1", "s", "1x", "1s  2s", "-1s", "1.5s", "99999999999999999d", strings.Repeat("1s ", 1024) + "1s"} {
		_, err := ParseDelayLevels(bad)
		require.Error(t, err, "%.20q", bad)
	}
	require.Equal(t, 2, levels.Clamp(18))
	require.Equal(t, 1, levels.Clamp(1))
	require.Equal(t, int64(5+2*86_400_000), levels.DueMs(1, 5))
	require.Equal(t, int64(5+1000), levels.DueMs(3, 5), "Java's rest for a level it does not know")
}

func TestDelayLevelOfAMessage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, properties string
		sysFlag          int32
		want             int
	}{
		{"none", "KEYS\x01a\x02", 0, 0},
		{"three", "DELAY\x013\x02", 0, 3},
		{"at the end without a mark", "KEYS\x01a\x02DELAY\x0118", 0, 18},
		{"a message for the dead-letter queue", "DELAY\x01-1\x02", 0, -1},
		{"a committed transaction", "DELAY\x013\x02", codec.SysCommit, 3},
		{"a prepared transaction", "DELAY\x013\x02", codec.SysPrepared, 0},
		{"a rolled back transaction", "DELAY\x013\x02", codec.SysRollback, 0},
	}
	for _, tt := range tests {
		level, err := DelayLevel([]byte(tt.properties), tt.sysFlag)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, level, tt.name)
	}
	for _, bad := range []string{"DELAY\x01x\x02", "DELAY\x0199999999999\x02"} {
		_, err := DelayLevel([]byte(bad), 0)
		require.ErrorIs(t, err, ErrIllegal)
	}
	levels := DelayLevels{1000, 5000}
	due, ok := levels.TagsCode([]byte("DELAY\x019\x02"), 100)
	require.True(t, ok)
	require.Equal(t, int64(5100), due, "above the highest")
	for _, none := range []string{"", "DELAY\x010\x02", "DELAY\x01-1\x02", "DELAY\x01x\x02"} {
		_, ok = levels.TagsCode([]byte(none), 100)
		require.False(t, ok, none)
	}
}

func TestScheduleRedirect(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_795_228_000_000)
	s, err := openSchedule(filepath.Join(t.TempDir(), "d.json"), newFakeLog(), ScheduleOptions{
		TableOptions: TableOptions{Now: func() time.Time { return now }}})
	require.NoError(t, err)

	m := delayedMessage("Orders", "x")
	given := string(m.Properties)
	s.Redirect(m, 3)
	require.Equal(t, TopicSchedule, m.Topic)
	require.Equal(t, int32(2), m.QueueID)
	require.Equal(t, now.UnixMilli()+10_000, m.TagsCode)
	require.Equal(t, "KEYS\x01k1\x02TAGS\x01TagA\x02UNIQ_KEY\x01U1\x02DELAY\x013\x02REAL_TOPIC\x01Orders\x02REAL_QID\x013\x02", string(m.Properties))
	require.Equal(t, "KEYS\x01k1\x02DELAY\x013\x02TAGS\x01TagA\x02UNIQ_KEY\x01U1\x02", given)

	m = delayedMessage("%RETRY%G", "x")
	m.Properties = []byte("REAL_TOPIC\x01Old\x02REAL_QID\x019\x02TIMER_DELAY_SEC\x015\x02TIMER_DELAY_MS\x015\x02TIMER_DELIVER_MS\x015\x02A\x01b")
	s.Redirect(m, 99)
	require.Equal(t, int32(17), m.QueueID)
	require.Equal(t, now.UnixMilli()+2*3_600_000, m.TagsCode)
	require.Equal(t, "A\x01b\x02DELAY\x0118\x02REAL_TOPIC\x01%RETRY%G\x02REAL_QID\x013\x02", string(m.Properties))
}

func TestScheduleDeliversWhenDue(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	s := startSchedule(t, log, "", ScheduleOptions{})
	begin := time.Now()
	for i, level := range []int{2, 1, 3, 1, 4} {
		s.put(t, delayedMessage("Orders", strconv.Itoa(i)), level)
	}
	log.waitFor(t, 4)
	s.stop()
	var bodies []string
	for i, m := range log.delivered {
		bodies = append(bodies, string(m.Body))
		rest := []time.Duration{60, 20, 40, 20}[int(m.Body[0]-'0')] * time.Millisecond
		require.GreaterOrEqual(t, log.at[i].Sub(begin)+time.Millisecond, rest, "never early")
	}
	require.ElementsMatch(t, []string{"0", "1", "2", "3"}, bodies)

	m := log.delivered[slices.Index(bodies, "1")]
	require.Equal(t, Message{
		Topic: "Orders", QueueID: 3, Flag: 7, ReconsumeTimes: 2, BornTimestampMs: 1_700_000_000_000,
		BornHost: netip.MustParseAddrPort("10.1.2.3:4567"), Body: []byte("1"), TagsCode: codec.TagsCode([]byte("TagA")),
		Properties: []byte("KEYS\x01k1\x02TAGS\x01TagA\x02UNIQ_KEY\x01U1\x02DELAY\x011\x02REAL_TOPIC\x01Orders\x02REAL_QID\x013\x02"),
	}, m)
	require.Equal(t, map[int32]int64{1: 2, 2: 1, 3: 1, 4: 0}, s.Snapshot().OffsetTable)
	require.Error(t, s.Run(context.Background()), "once")
}

func TestScheduleGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	s := startSchedule(t, log, "", ScheduleOptions{})
	for i := range 10 {
		s.put(t, delayedMessage("Orders", strconv.Itoa(i)), 1)
	}
	log.waitFor(t, 10)
	s.stop()
	require.NoError(t, s.Persist())
	for i := range 5 { // while it is down
		m := delayedMessage("Orders", "late-"+strconv.Itoa(i))
		s.Redirect(m, 1)
		require.NoError(t, log.PutWait(m, nil))
	}
	again := startSchedule(t, log, s.path, ScheduleOptions{})
	log.waitFor(t, 15)
	again.stop()
	require.Len(t, log.delivered, 15, "none twice")

	// A kill: what was delivered since the last Persist comes again, and nothing before it.
	lost := startSchedule(t, log, s.path, ScheduleOptions{})
	log.waitFor(t, 20)
	lost.stop()
	require.Len(t, log.delivered, 20)
	require.Equal(t, "late-0", string(log.delivered[15].Body))
}

func TestScheduleTakesOverJavasFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(unpackFixture(t, fixtureClean, "config/delayOffset.json"), "config", "delayOffset.json")
	java, err := os.ReadFile(path)
	require.NoError(t, err)
	log := newFakeLog()
	for queueID, n := range map[int32]int{0: 3, 1: 7, 2: 2, 17: 1} { // as in that store
		log.queues[queueID] = make([]int64, n)
	}
	s, err := openSchedule(path, log, ScheduleOptions{})
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{1: 3, 2: 7, 3: 2, 18: 0}, s.Snapshot().OffsetTable)
	require.NoError(t, s.Persist())
	same, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(java), string(same))
	s.dirty.Store(true)
	require.NoError(t, s.Persist())
	ours, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(java), string(ours), "byte for byte")
}

func TestScheduleStaysWithinItsQueues(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "delayOffset.json")
	putFile(t, path, `{"offsetTable":{1:2,2:900,77:5}}`)
	log := newFakeLog()
	feeder, err := openSchedule(filepath.Join(t.TempDir(), "x.json"), log, ScheduleOptions{Levels: DelayLevels{0, 0, 0}})
	require.NoError(t, err)
	for i := range 10 {
		for level := 1; level <= 3; level++ {
			m := delayedMessage("T"+strconv.Itoa(level), strconv.Itoa(i))
			feeder.Redirect(m, level)
			require.NoError(t, log.PutWait(m, nil))
		}
	}
	log.min[0] = 6 // retention took the first ones
	log.min[2] = 8
	s := startSchedule(t, log, path, ScheduleOptions{Levels: DelayLevels{0, 0, 0}})
	require.Equal(t, int64(10), s.Snapshot().OffsetTable[2], "beyond the end: nothing is delivered again")
	log.waitFor(t, 4+0+2)
	s.stop()
	require.Equal(t, map[int32]int64{1: 10, 2: 10, 3: 10, 77: 5}, s.Snapshot().OffsetTable)
	require.Len(t, log.delivered, 6)
}

func TestScheduleRetriesOneLevelAlone(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	var broken sync.Map
	broken.Store("Full", syscall.ENOSPC)
	log.fail = func(m *Message) error {
		if err, ok := broken.Load(m.Topic); ok {
			return fmt.Errorf("put: %w", err.(error))
		}
		return nil
	}
	s := startSchedule(t, log, "", ScheduleOptions{})
	for i := range 3 {
		s.put(t, delayedMessage("Full", strconv.Itoa(i)), 1)
		s.put(t, delayedMessage("Other", strconv.Itoa(i)), 2)
	}
	log.waitFor(t, 3)
	for _, m := range log.delivered {
		require.Equal(t, "Other", m.Topic)
	}
	broken.Delete("Full")
	log.waitFor(t, 6)
	s.stop()
	require.Equal(t, []string{"0", "1", "2"}, []string{string(log.delivered[3].Body), string(log.delivered[4].Body), string(log.delivered[5].Body)})
}

func TestSchedulePassesOverWhatCannotBeDelivered(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	log.fail = func(m *Message) error {
		if m.Topic == "TooLarge" {
			return ErrMessageTooLarge
		}
		return nil
	}
	s := startSchedule(t, log, "", ScheduleOptions{})
	plain := func(properties string) {
		m := delayedMessage(TopicSchedule, "x")
		m.QueueID, m.Properties, m.TagsCode = 0, []byte(properties), time.Now().UnixMilli()
		require.NoError(t, log.PutWait(m, nil))
	}
	plain("")
	plain("REAL_TOPIC\x01T\x02")
	plain("REAL_TOPIC\x01T\x02REAL_QID\x01x\x02")
	plain("REAL_QID\x010\x02")
	plain("REAL_TOPIC\x01" + TopicTransHalf + "\x02REAL_QID\x010\x02")
	log.mu.Lock()
	log.records[log.end], log.due[log.end] = []byte("not a record"), 0
	log.queues[0] = append(log.queues[0], log.end, log.end+1) // the second is gone from the log
	log.end += 12
	log.mu.Unlock()
	s.put(t, delayedMessage("TooLarge", "x"), 1)
	s.put(t, delayedMessage("Orders", "good"), 1)
	log.waitFor(t, 1)
	s.stop()
	require.Equal(t, "good", string(log.delivered[0].Body))
	require.Equal(t, int64(9), s.Snapshot().OffsetTable[1])
}

// TestScheduleAfterTheClockWasSetBack: a due time further off than the level rests is no due time. Java delivers at once.
func TestScheduleAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	var mu sync.Mutex
	now := time.Now().Add(24 * time.Hour)
	log.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	s := startSchedule(t, log, "", ScheduleOptions{})
	s.put(t, delayedMessage("Orders", "x"), 4)
	require.Eventually(t, func() bool { return s.Snapshot().OffsetTable[4] == 0 && s.levels[3].started.Load() }, 10*time.Second, time.Millisecond)
	require.Zero(t, log.count())
	mu.Lock()
	now = now.Add(-24 * time.Hour)
	mu.Unlock()
	log.waitFor(t, 1) // the next look is within maxNap
	mu.Lock()
	now = now.Add(-time.Hour)
	mu.Unlock()
	s.put(t, delayedMessage("Orders", "y"), 4)
	require.Equal(t, 1, log.count())
	mu.Lock()
	now = now.Add(time.Hour) // a machine that slept, the clock goes on
	mu.Unlock()
	log.waitFor(t, 2)
}

func TestScheduleOfAClosedStoreEnds(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	log.fail = func(m *Message) error {
		if m.Topic == TopicSchedule {
			return nil
		}
		return ErrClosed
	}
	s, err := openSchedule(filepath.Join(t.TempDir(), "d.json"), log, ScheduleOptions{Levels: DelayLevels{0}})
	require.NoError(t, err)
	m := delayedMessage("Orders", "x")
	s.Redirect(m, 1)
	require.NoError(t, log.PutWait(m, nil))
	require.ErrorIs(t, s.Run(context.Background()), ErrClosed)
	require.Zero(t, s.Snapshot().OffsetTable[1])
}

func TestScheduleDeliversManyAtOnce(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	s := startSchedule(t, log, "", ScheduleOptions{})
	const n = 20_000
	var wg sync.WaitGroup
	for level := 1; level <= 3; level++ {
		wg.Go(func() {
			for i := range n / 3 {
				m := delayedMessage("T"+strconv.Itoa(level), strconv.Itoa(i))
				s.Redirect(m, level)
				if err := log.PutWait(m, nil); err != nil {
					t.Error(err)
				}
				s.Notify(m.QueueID)
			}
		})
	}
	wg.Wait()
	log.waitFor(t, n/3*3)
	s.stop()
	next := map[string]int{}
	for _, m := range log.delivered {
		require.Equal(t, strconv.Itoa(next[m.Topic]), string(m.Body), "in order")
		next[m.Topic]++
	}
	// A level's first look may count as a step too.
	require.Contains(t, []int64{n / 3 * 3 / delayVersionStep, (n + 3) / delayVersionStep}, s.Snapshot().DataVersion.Counter)
}

func TestScheduleSurvivesAFailedPersist(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	var mu sync.Mutex
	broken := false
	s := startSchedule(t, log, "", ScheduleOptions{TableOptions: TableOptions{Faults: func(op FileOp, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if broken && op == OpRename {
			return syscall.EIO
		}
		return nil
	}}})
	s.put(t, delayedMessage("Orders", "x"), 1)
	log.waitFor(t, 1)
	s.stop()
	mu.Lock()
	broken = true
	mu.Unlock()
	require.ErrorIs(t, s.Persist(), syscall.EIO)
	mu.Lock()
	broken = false
	mu.Unlock()
	require.NoError(t, s.Persist())
	again, err := openSchedule(s.path, log, ScheduleOptions{Levels: s.Levels()})
	require.NoError(t, err)
	require.Equal(t, int64(1), again.Snapshot().OffsetTable[1])
}

func BenchmarkScheduleDeliver(b *testing.B) {
	log := newFakeLog()
	s, err := openSchedule(filepath.Join(b.TempDir(), "d.json"), log, ScheduleOptions{Levels: DelayLevels{0}})
	require.NoError(b, err)
	m := delayedMessage("Orders", strings.Repeat("x", 1024))
	s.Redirect(m, 1)
	require.NoError(b, log.PutWait(m, nil))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.deliverOne(0); err != nil {
			b.Fatal(err)
		}
		log.delivered, log.at = log.delivered[:0], log.at[:0]
		<-log.puts
	}
}
