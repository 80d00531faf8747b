package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cleanRig is a store whose clock and disks the test sets. Its segments were last modified when the test says so.
type cleanRig struct {
	*Store
	t          *testing.T
	now        atomic.Int64 // ms
	log, queue atomic.Int64 // percent in use
	fail       atomic.Bool  // the disks cannot be measured
	said       lockedBuffer
}

// lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// noon is a time at which nothing is deleted by the hour.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.Local)

// percentDisk is a disk with so much in use.
func percentDisk(used int64) Disk {
	return Disk{TotalBytes: 100 << 33, FreeBytes: (100 - used) << 33, AvailableBytes: (100 - used) << 33}
}

func newCleanRig(t *testing.T, change func(o *Options)) *cleanRig {
	r := &cleanRig{t: t}
	r.now.Store(noon.UnixMilli())
	o := testOptions(t)
	o.SegmentBytes, o.QueueSegmentEntries = 32<<10, 50
	o.Now = func() time.Time { return time.UnixMilli(r.now.Load()) }
	o.Logger = slog.New(slog.NewTextHandler(&r.said, nil))
	o.Retention.Pause = 0
	o.DiskUsage = func(path string) (Disk, error) {
		switch {
		case r.fail.Load():
			return Disk{}, syscall.EIO
		case filepath.Base(path) == "consumequeue":
			return percentDisk(r.queue.Load()), nil
		}
		return percentDisk(r.log.Load()), nil
	}
	if change != nil {
		change(&o)
	}
	r.Store = openTestStore(t, o)
	return r
}

// fill puts messages until there are n segments, all of them on disk and modified at the rig's time.
func (r *cleanRig) fill(n int) {
	r.t.Helper()
	for i := 0; len(r.Store.log.all()) < n; i++ {
		var put PutResult
		require.NoError(r.t, r.PutWait(testMessage("T", int32(i%2), fmt.Sprintf("%0200d", i)), &put))
	}
	waitDispatched(r.t, r.Store)
	awaitDeletable(r.t, r.Store, n)
	for _, seg := range r.Store.log.all() {
		r.touch(seg, r.opts.Now())
	}
}

func (r *cleanRig) touch(seg *segment, at time.Time) {
	require.NoError(r.t, os.Chtimes(seg.path, at, at))
}

// round does a round of retention at a time.
func (r *cleanRig) round(at time.Time) (deleted int) {
	r.t.Helper()
	r.now.Store(at.UnixMilli())
	before := len(r.Store.log.all())
	require.NoError(r.t, r.cleaner.tick(context.Background(), true, true))
	return before - len(r.Store.log.all())
}

func (r *cleanRig) put() error { return r.PutWait(testMessage("T", 0, "x"), new(PutResult)) }

func TestExpiredSegmentsAreDeletedAtTheirHour(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, nil)
	r.fill(15)
	expired := noon.Add(72 * time.Hour)
	night := time.Date(2026, 11, 25, 4, 30, 0, 0, time.Local)
	require.Zero(t, r.round(expired), "not the hour")
	require.Zero(t, r.round(time.Date(2026, 11, 24, 4, 30, 0, 0, time.Local)), "not expired")
	second := r.Store.log.all()[3]
	r.touch(second, night)
	require.Equal(t, 3, r.round(night), "nothing behind one that is not expired")
	r.touch(second, noon)
	require.Equal(t, 10, r.round(night), "no more in one round")
	require.Equal(t, 1, r.round(night), "never the last one")
	require.Zero(t, r.round(night))

	require.Positive(t, r.MinQueueOffset("T", 1))
	var got GetResult
	require.NoError(t, r.Get(&GetRequest{Topic: "T", QueueID: 1, MaxMsgs: 1}, &got))
	require.Equal(t, OffsetTooSmall, got.Status)
	require.Equal(t, r.MinQueueOffset("T", 1), got.NextQueueOffset)
	m := r.Metrics()
	require.EqualValues(t, 14, m.DeletedLogFiles)
	require.EqualValues(t, 14*(32<<10), m.DeletedLogBytes)
	require.EqualValues(t, 32<<10, m.LogBytes)
	require.Positive(t, m.DeletedQueueFiles)
	require.NoError(t, r.put())
}

func TestRetentionByHand(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, func(o *Options) { o.Retention.BatchMax = 1 })
	r.fill(25)
	expired := noon.Add(72 * time.Hour)
	r.CleanSoon()
	for range 20 {
		require.Equal(t, 1, r.round(expired))
	}
	require.Zero(t, r.round(expired), "20 rounds are over")
	rules := DefaultRetention()
	rules.DeleteWhen = []int{4, 12}
	r.SetRetention(rules)
	require.Equal(t, 4, r.round(expired))
}

// The four watermarks: when expired segments go, when others do, when puts are refused, and when they are taken again.
func TestDiskWatermarks(t *testing.T) {
	t.Parallel()
	expired := noon.Add(72 * time.Hour)
	for _, c := range []struct {
		log, queue int64
		fresh      int // deleted in a round before they expire
		expired    int // deleted in a round after
		full       bool
	}{
		{75, 75, 0, 0, false},
		{76, 10, 0, 10, false},
		{10, 76, 0, 10, false},
		{85, 85, 0, 10, false},
		{86, 10, 10, 10, false},
		{10, 86, 10, 10, false},
		{90, 10, 10, 10, false},
		{91, 10, 10, 10, true},
		{10, 91, 10, 10, true},
		{100, 100, 10, 10, true},
	} {
		t.Run(fmt.Sprint(c.log, "/", c.queue), func(t *testing.T) {
			t.Parallel()
			r := newCleanRig(t, nil)
			r.fill(25)
			r.log.Store(c.log)
			r.queue.Store(c.queue)
			require.Equal(t, c.fresh, r.round(noon))
			require.Equal(t, c.full, r.Metrics().DiskFull)
			if c.full {
				require.ErrorIs(t, r.put(), ErrNoSpace)
			} else {
				require.NoError(t, r.put())
			}
			require.Equal(t, c.expired, r.round(expired))
			require.InDelta(t, float64(c.log)/100, r.Metrics().LogDiskRatio, 0.001)
			require.InDelta(t, float64(c.queue)/100, r.Metrics().QueueDiskRatio, 0.001)
			require.NotEmpty(t, readQueue(t, r.Store, "T", 0, r.MinQueueOffset("T", 0)))
		})
	}
}

func TestFullDiskIsReleasedByItself(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, func(o *Options) { o.Retention.CleanForcibly = false })
	r.fill(3)
	probe := func(used int64) error {
		r.log.Store(used)
		require.NoError(t, r.cleaner.tick(context.Background(), false, true))
		return r.put()
	}
	require.NoError(t, probe(90))
	require.ErrorIs(t, probe(91), ErrNoSpace)
	require.ErrorIs(t, probe(86), ErrNoSpace, "as in Java, not before it is below the other watermark")
	require.NoError(t, probe(85))
	require.NoError(t, probe(88))
	require.Len(t, r.Store.log.all(), 3, "forced deletion is switched off")
	require.Contains(t, r.said.String(), "disk is full, messages are refused")
	require.Contains(t, r.said.String(), "disk has room again")
}

// Bounds that Java puts on what is configured.
func TestWatermarksStayWithinBounds(t *testing.T) {
	t.Parallel()
	got := Retention{MaxUsedRatio: 1.2, ForciblyRatio: 0.99, WarningRatio: 0.99}.within()
	require.Equal(t, Retention{MaxUsedRatio: 0.95, ForciblyRatio: 0.85, WarningRatio: 0.90, BatchMax: 1}, got)
	got = Retention{BatchMax: 3}.within()
	require.Equal(t, Retention{MaxUsedRatio: 0.10, ForciblyRatio: 0.30, WarningRatio: 0.35, BatchMax: 3}, got)
}

// Numbers of df: in use as a share of that and what may be had, rounded up.
func TestUsedRatio(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    Disk
		want float64
	}{
		{Disk{1000, 1000, 900}, 0},
		{Disk{1000, 500, 500}, 0.50},
		{Disk{1000, 499, 499}, 0.51},
		{Disk{1000, 500, 450}, 0.53},
		{Disk{1000, 0, 0}, 1},
		{Disk{1000, 50, 0}, 1},
		{Disk{}, -1},
	} {
		require.InDelta(t, c.want, c.d.UsedRatio(), 1e-9, c.d)
	}
	_, err := DiskOf(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
	d, err := DiskOf(t.TempDir())
	require.NoError(t, err)
	require.Positive(t, d.TotalBytes)
}

// A disk that nobody can measure: expired messages go at any hour, nothing else does, and that is said once.
func TestBlindRetention(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, nil)
	r.fill(5)
	r.fail.Store(true)
	require.Zero(t, r.round(noon))
	require.NoError(t, r.put())
	require.Equal(t, 4, r.round(noon.Add(72*time.Hour)))
	require.Equal(t, 1, bytes.Count([]byte(r.said.String()), []byte("disk cannot be measured")))
}

// Under force no more is deleted than it takes.
func TestForcedDeletionLooksAgain(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, nil)
	r.fill(10)
	usage := r.opts.DiskUsage
	r.Store.opts.DiskUsage = func(path string) (Disk, error) {
		r.log.Store(80 + int64(len(r.Store.log.all())))
		return usage(path)
	}
	require.Equal(t, 5, r.round(noon))
	require.Zero(t, r.round(noon))
	require.False(t, r.Metrics().DiskFull)
}

// While a disk fills, nobody waits for the next round; before the first one only a full disk counts.
func TestRoundsBetweenRounds(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, func(o *Options) { o.Retention.MaxLogBytes = 20 * 32 << 10 })
	r.fill(35)
	tick := func(started bool) int {
		before := len(r.Store.log.all())
		require.NoError(t, r.cleaner.tick(context.Background(), false, started))
		return before - len(r.Store.log.all())
	}
	require.Zero(t, tick(false))
	require.Equal(t, 10, tick(true))
	require.Equal(t, 5, tick(true))
	require.Zero(t, tick(true))
	r.log.Store(86)
	require.Equal(t, 1, tick(false))
	r.log.Store(95)
	require.Equal(t, 10, tick(false))
}

func TestLogIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, nil)
	r.fill(10)
	rules := DefaultRetention()
	rules.Pause, rules.MaxLogBytes = 0, 4*32<<10+1
	r.SetRetention(rules)
	require.Equal(t, 6, r.round(noon))
	require.EqualValues(t, 4*32<<10, r.Metrics().LogBytes)
	rules.MaxLogBytes = 1
	r.SetRetention(rules)
	require.Equal(t, 3, r.round(noon))
	require.Zero(t, r.round(noon))
}

// What a live group has not consumed is named before it goes, and counted; with KeepUnread it stays until the disk is nearly
// full.
func TestUnreadMessages(t *testing.T) {
	t.Parallel()
	var consumed atomic.Int64
	var live atomic.Bool
	r := newCleanRig(t, func(o *Options) {
		o.Retention.KeepUnread = true
		o.LiveOffsets = func(each func(LiveOffset) bool) {
			if !live.Load() {
				return
			}
			_ = each(LiveOffset{Group: "none", Topic: "Unknown", QueueID: 1}) &&
				each(LiveOffset{Group: "G", Topic: "T", QueueID: 0, QueueOffset: consumed.Load()}) &&
				each(LiveOffset{Group: "fast", Topic: "T", QueueID: 1, QueueOffset: 1 << 40})
		}
	})
	r.fill(12)
	night := time.Date(2026, 11, 25, 4, 30, 0, 0, time.Local)
	live.Store(true)
	third := r.Store.log.all()[3].base
	inThree := int64(0)
	for i := int64(0); ; i++ {
		if phys, _, _, ok := r.QueueEntry("T", 0, i); !ok || phys >= third {
			break
		}
		inThree++
	}

	require.Zero(t, r.round(night))
	require.Positive(t, r.Metrics().UnreadAtRisk)
	require.Contains(t, r.said.String(), "may be deleted within the hour")
	require.NotContains(t, r.said.String(), "are deleted which a live group has not consumed")

	consumed.Store(inThree)
	require.Equal(t, 3, r.round(night))
	require.Zero(t, r.Metrics().UnreadDeleted)

	r.log.Store(86)
	require.Equal(t, 8, r.round(night))
	require.Equal(t, r.MinQueueOffset("T", 0)-inThree, r.Metrics().UnreadDeleted)
	require.Contains(t, r.said.String(), "are deleted which a live group has not consumed")
	require.Contains(t, r.said.String(), "group=G topic=T")
	require.NotContains(t, r.said.String(), "group=fast")

	r.log.Store(10)
	r.fill(5)
	live.Store(false)
	require.Equal(t, 4, r.round(noon.Add(200*time.Hour).Truncate(24*time.Hour).Add(28*time.Hour)), "a group without members keeps nothing")
}

// Queue files, index files and deletion marks go with the messages they lead to; the rest reads as before, after a reopen too.
func TestTrimBehindTheLog(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, func(o *Options) { o.IndexSlots, o.IndexEntries = 50, 200 })
	require.NoError(t, r.PutWait(testMessage("Gone", 0, "x"), new(PutResult)))
	require.NoError(t, r.PutWait(testMessage("Idle", 0, "x"), new(PutResult)))
	require.NoError(t, r.DeleteTopic("Gone"))
	r.fill(12)
	files := func(parts ...string) []string {
		return listNames(t, filepath.Join(append([]string{r.opts.Dir}, parts...)...))
	}
	queueFiles, indexFiles := len(files("consumequeue", "T", "0")), len(files("index"))
	require.Greater(t, queueFiles, 5)
	require.Greater(t, indexFiles, 3)
	r.log.Store(95)
	require.Equal(t, 10, r.round(noon))
	r.log.Store(10)
	require.NoError(t, r.cleaner.tick(context.Background(), false, true))
	first := r.MinPhysOffset()
	m := r.Metrics()
	require.EqualValues(t, indexFiles-len(files("index")), m.DeletedIndexFiles)
	require.Positive(t, m.DeletedIndexFiles)
	require.EqualValues(t, 50*entryBytes*m.DeletedQueueFiles, m.DeletedQueueBytes)
	require.Less(t, len(files("consumequeue", "T", "0")), 4)
	marks, err := os.ReadFile(filepath.Join(r.opts.Dir, ownDir, "deleted.json"))
	require.NoError(t, err)
	require.Equal(t, "{}", string(marks[sealBytes:]))

	check := func(s *Store) {
		require.Equal(t, first, s.MinPhysOffset())
		for id := range int32(2) {
			list := readQueue(t, s, "T", id, 0)
			require.NotEmpty(t, list)
			require.Equal(t, s.MinQueueOffset("T", id), list[0].QueueOffset)
			require.EqualValues(t, s.MaxQueueOffset("T", id)-s.MinQueueOffset("T", id), len(list))
			require.GreaterOrEqual(t, list[0].PhysOffset, first)
			key := "U" + string(list[len(list)-1].Body)
			found, _, _, err := s.QueryIndex("T", key, 32, 0, 1<<62)
			require.NoError(t, err)
			require.Contains(t, found, list[len(list)-1].PhysOffset)
		}
		require.EqualValues(t, 1, s.MinQueueOffset("Idle", 0))
		require.EqualValues(t, 1, s.MaxQueueOffset("Idle", 0))
		require.Zero(t, s.MaxQueueOffset("Gone", 0))
		require.NoError(t, s.PutWait(testMessage("Idle", 0, "y"), new(PutResult)))
		waitDispatched(t, s)
		require.Len(t, readQueue(t, s, "Idle", 0, 0), 1)
	}
	check(r.Store)
}

// A deletion that fails leaves no gap and is tried again.
func TestDeletionFails(t *testing.T) {
	t.Parallel()
	var fs faults
	r := newCleanRig(t, func(o *Options) { o.Faults = fs.check })
	r.fill(8)
	r.log.Store(86)
	calls := 0
	fs.set(func(op FileOp, path string) error {
		if op == OpRemove {
			if calls++; calls == 3 {
				return syscall.EIO
			}
		}
		return nil
	})
	err := r.cleaner.tick(context.Background(), true, true)
	require.ErrorIs(t, err, syscall.EIO)
	require.Len(t, listNames(t, r.opts.CommitLogDir), len(r.Store.log.all())+1, "and the next one, made in advance")
	require.Len(t, r.Store.log.all(), 6)
	require.Equal(t, 5, r.round(noon))
}

// Queues without messages lose their files and go on where they were, also after a restart of either kind.
func TestExpiredQueues(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	putMany(t, h.s, "Idle", 3, 70, 50)
	putMany(t, h.s, "Idle", 0, 7, 50)
	putMany(t, h.s, "rmq_sys_idle", 0, 5, 50)
	for len(h.s.log.all()) < 4 {
		putMany(t, h.s, "Busy", 0, 50, 50)
	}
	mayClean := func(topic string) bool { return topic != "rmq_sys_idle" }
	n, err := h.s.DeleteExpiredQueues(mayClean)
	require.NoError(t, err)
	require.Zero(t, n, "all messages are there")
	h.s.flusher.log()
	mustDeleteHead(t, h.s, 3)
	n, err = h.s.DeleteExpiredQueues(mayClean)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"Busy", "rmq_sys_idle"}, listNames(t, filepath.Join(h.o.Dir, "consumequeue")))

	check := func(next int64) {
		t.Helper()
		require.Equal(t, next, h.s.MinQueueOffset("Idle", 3))
		require.Equal(t, next, h.s.MaxQueueOffset("Idle", 3))
		var got GetResult
		require.NoError(t, h.s.Get(&GetRequest{Topic: "Idle", QueueID: 3, QueueOffset: next, MaxMsgs: 1}, &got))
		require.Equal(t, OffsetOverflowOne, got.Status)
		require.NoError(t, h.s.Get(&GetRequest{Topic: "Idle", QueueID: 3, QueueOffset: 5, MaxMsgs: 1}, &got))
		require.Equal(t, OffsetTooSmall, got.Status)
	}
	check(70)
	h.crash(func(string) {})
	h.open()
	check(70)
	require.NoError(t, h.s.Close())
	h.open()
	check(70)
	require.EqualValues(t, 70, putMany(t, h.s, "Idle", 3, 3, 50)[0].QueueOffset)
	h.crash(func(string) {})
	h.open()
	require.Len(t, readQueue(t, h.s, "Idle", 3, 0), 3)
	require.EqualValues(t, 70, h.s.MinQueueOffset("Idle", 3))
	require.EqualValues(t, 7, h.s.MaxQueueOffset("Idle", 0))
	require.NoError(t, h.s.DeleteTopic("Idle"))
	require.EqualValues(t, 0, putMany(t, h.s, "Idle", 0, 1, 50)[0].QueueOffset)
	h.crash(func(string) {})
	h.open()
	require.EqualValues(t, 1, h.s.MaxQueueOffset("Idle", 0))
	require.NoError(t, h.s.Close())
}

// Topics that nobody uses lose their queues, and do not come back.
func TestUnusedTopics(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	for i := range 20 {
		putMany(t, h.s, fmt.Sprint("T", i), int32(i%3), 3, 50)
	}
	used := func(topic string) bool { return len(topic) == 2 }
	names, err := h.s.DeleteUnusedTopics(used)
	require.NoError(t, err)
	require.Len(t, names, 10)
	names, err = h.s.DeleteUnusedTopics(used)
	require.NoError(t, err)
	require.Empty(t, names)
	for range 2 {
		for i := range 20 {
			want := 3
			if i >= 10 {
				want = 0
			}
			require.EqualValues(t, want, h.s.MaxQueueOffset(fmt.Sprint("T", i), int32(i%3)))
		}
		h.crash(func(string) {})
		h.open()
	}
	require.NoError(t, h.s.Close())
}

// Retain deletes by itself, and ends with its context.
func TestRetain(t *testing.T) {
	t.Parallel()
	r := newCleanRig(t, nil)
	r.fill(5)
	r.log.Store(95)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Retain(ctx, time.Hour); close(done) }()
	require.Eventually(t, func() bool { return r.Metrics().DeletedLogFiles == 4 }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, r.put(), ErrNoSpace)
	r.log.Store(10)
	require.Eventually(t, func() bool { return r.put() == nil }, 10*time.Second, time.Millisecond)
	cancel()
	<-done
}

func TestParseDeleteWhen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{"04": {4}, "4": {4}, "02;04;": {2, 4}, "": nil, "23;00": {23, 0}} {
		got, err := ParseDeleteWhen(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"24", "-1", "four", "04,05"} {
		_, err := ParseDeleteWhen(text)
		require.Error(t, err, text)
	}
}
