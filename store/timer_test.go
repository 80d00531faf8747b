package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// timerBegin is where the clocks of the tests begin: in the middle of a second.
const timerBegin = int64(1_795_225_749_300)

// timerStore is a Store with its Timer under a clock that only the test moves.
type timerStore struct {
	*Store
	timer *Timer
	nowMs *atomic.Int64
	opts  TimerOptions
}

func openTimerStore(t testing.TB, opts TimerOptions) *timerStore {
	t.Helper()
	ts := &timerStore{nowMs: new(atomic.Int64), opts: opts}
	ts.nowMs.Store(timerBegin)
	ts.opts.Now = func() time.Time { return time.UnixMilli(ts.nowMs.Load()) }
	if ts.opts.slots == 0 {
		ts.opts.slots, ts.opts.RollSlots = 3*24*3600, 2*24*3600
	}
	if ts.opts.LogFileBytes == 0 {
		ts.opts.LogFileBytes = 1000
	}
	storeOpts := smallStoreOptions(fastDir(t))
	storeOpts.Now, storeOpts.FlushInterval = ts.opts.Now, 5*time.Millisecond
	var err error
	ts.Store, err = Open(storeOpts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ts.Store.Close()) })
	ts.open(t)
	return ts
}

func (ts *timerStore) open(t testing.TB) {
	t.Helper()
	var err error
	ts.timer, err = OpenTimer(ts.Store, ts.opts)
	require.NoError(t, err)
	t.Cleanup(ts.timer.closeFiles)
}

// kill forgets the timer as a killed process would, and opens it again.
func (ts *timerStore) kill(t testing.TB) {
	t.Helper()
	ts.timer.closeFiles()
	ts.open(t)
}

// restart closes the timer and opens it again.
func (ts *timerStore) restart(t testing.TB) {
	t.Helper()
	require.NoError(t, ts.timer.Close())
	ts.open(t)
}

// send puts a message that waits until deliverMs.
func (ts *timerStore) send(t testing.TB, topic, id string, deliverMs int64, more ...string) {
	t.Helper()
	props := append([]string{codec.PropUniqKey, id, codec.PropTimerDeliverMs, strconv.FormatInt(deliverMs, 10)}, more...)
	m := &Message{Topic: topic, QueueID: 1, Body: []byte(id), BornTimestampMs: ts.nowMs.Load(), BornHost: fixtureHost, Properties: textOf(props...)}
	ts.timer.Redirect(m, ts.timer.SlotMs(deliverMs))
	require.NoError(t, ts.PutWait(m, new(PutResult)))
}

var fixtureHost = DefaultOptions("x").StoreHost

func textOf(pairs ...string) (text []byte) {
	for i := 0; i < len(pairs); i += 2 {
		text = codec.AppendProperty(text, pairs[i], pairs[i+1])
	}
	return text
}

// settled waits until everything put is in its queue.
func (ts *timerStore) settled(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return ts.Dispatched() == ts.Written() }, 30*time.Second, 50*time.Microsecond)
}

// work lets the timer do all that it can at this time.
func (ts *timerStore) work(t testing.TB) {
	t.Helper()
	for {
		ts.settled(t)
		written := ts.Written()
		next, err := ts.timer.turn(context.Background())
		require.NoError(t, err)
		if next > ts.nowMs.Load() && ts.Written() == written {
			return
		}
	}
}

// pass moves the clock on and works.
func (ts *timerStore) pass(t testing.TB, d time.Duration) {
	t.Helper()
	ts.nowMs.Add(d.Milliseconds())
	ts.work(t)
}

// delivered returns the unique keys of what is in a topic's queue 1.
func (ts *timerStore) delivered(t testing.TB, topic string) (ids []string) {
	t.Helper()
	ts.settled(t)
	for i := range ts.MaxQueueOffset(topic, 1) {
		m := ts.at(t, topic, 1, i)
		ids = append(ids, string(m.Body))
	}
	return ids
}

func (ts *timerStore) at(t testing.TB, topic string, queueID int32, queueOffset int64) (m codec.Message) {
	t.Helper()
	physOffset, _, _, ok := ts.QueueEntry(topic, queueID, queueOffset)
	require.True(t, ok)
	record, err := ts.MessageAt(physOffset)
	require.NoError(t, err)
	_, err = codec.DecodeMessage(record, &m)
	require.NoError(t, err)
	return m
}

func prop(t testing.TB, m codec.Message, key string) string {
	t.Helper()
	v, ok := codec.Property(m.Properties, key)
	require.True(t, ok, "no %s in %q", key, m.Properties)
	return string(v)
}

func TestTimerDeliversAtTheMillisecond(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	ts.send(t, "T", "c", timerBegin+1203)
	ts.send(t, "T", "a", timerBegin+1200)
	ts.send(t, "T", "b", timerBegin+1200)
	ts.send(t, "T", "border", timerBegin+1700) // a whole second
	ts.work(t)
	ts.pass(t, 1199*time.Millisecond)
	require.Empty(t, ts.delivered(t, "T"))
	ts.pass(t, time.Millisecond)
	require.Equal(t, []string{"a", "b"}, ts.delivered(t, "T"))
	ts.pass(t, 2*time.Millisecond)
	require.Len(t, ts.delivered(t, "T"), 2)
	ts.pass(t, time.Millisecond)
	require.Len(t, ts.delivered(t, "T"), 3)
	ts.pass(t, 496*time.Millisecond)
	require.Len(t, ts.delivered(t, "T"), 3)
	ts.pass(t, time.Millisecond)
	require.Equal(t, []string{"a", "b", "c", "border"}, ts.delivered(t, "T"))

	m := ts.at(t, "T", 1, 0)
	require.Equal(t, "T", prop(t, m, codec.PropRealTopic))
	require.Equal(t, "1", prop(t, m, codec.PropRealQueueID))
	require.Equal(t, strconv.FormatInt(timerBegin/1000*1000+1000, 10), prop(t, m, codec.PropTimerOutMs))
	require.Equal(t, strconv.FormatInt(timerBegin/1000*1000, 10), prop(t, m, codec.PropTimerEnqueueMs))
	require.Equal(t, strconv.FormatInt(timerBegin+1200, 10), prop(t, m, codec.PropTimerDequeueMs))
	require.Equal(t, int64(4), ts.timer.Stats().Delivered.Load())
	require.Equal(t, int64(0), ts.timer.Metrics().TimingCount["T"].Count)
	require.Zero(t, ts.timer.Status().OffsetBehind)
}

func TestTimerDelaysCountFromTheStore(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	put := func(id string, pairs ...string) {
		m := &Message{Topic: "T", QueueID: 1, Body: []byte(id), BornHost: fixtureHost, Properties: textOf(append(pairs, codec.PropUniqKey, id)...)}
		ts.timer.Redirect(m, ts.timer.SlotMs(timerBegin+2500))
		require.NoError(t, ts.PutWait(m, new(PutResult)))
	}
	put("ms", codec.PropTimerDelayMs, "2500")
	put("seconds first", codec.PropTimerDelaySeconds, "2", codec.PropTimerDelayMs, "1") // within the slot
	put("nonsense", codec.PropTimerDelayMs, "99999999999999999999")
	ts.work(t)
	ts.pass(t, 1999*time.Millisecond)
	require.Empty(t, ts.delivered(t, "T"))
	ts.pass(t, time.Millisecond)
	require.Equal(t, []string{"seconds first"}, ts.delivered(t, "T"))
	ts.pass(t, 500*time.Millisecond)
	require.Equal(t, []string{"seconds first", "ms"}, ts.delivered(t, "T"))
	ts.pass(t, time.Second)
	require.Equal(t, []string{"seconds first", "ms", "nonsense"}, ts.delivered(t, "T"))
}

func TestTimerDeliversAtOnceWhatIsLate(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	ts.send(t, "T", "late", timerBegin+100)
	ts.send(t, "T", "later", timerBegin+5000)
	ts.nowMs.Add(3000)
	ts.work(t)
	require.Equal(t, []string{"late"}, ts.delivered(t, "T"))
	require.Equal(t, "9223372036854775807", prop(t, ts.at(t, "T", 1, 0), codec.PropTimerEnqueueMs))
	require.Equal(t, int64(1), ts.timer.Stats().Expired.Load())
	require.Equal(t, int64(1), ts.timer.Metrics().TimingCount["T"].Count)
}

func TestTimerRecalls(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	due := timerBegin + 10_200
	for _, id := range []string{"bare", "with topic", "kept", "other topic"} {
		ts.send(t, "T", id, due)
	}
	ts.work(t)
	ts.send(t, "T", "bare", ts.timer.SlotMs(due)+1, codec.PropTimerDelUniqKey, "bare")
	ts.send(t, "T", "with topic", ts.timer.SlotMs(due)+1, codec.PropTimerDelUniqKey, "T+with topic")
	ts.send(t, "T", "other topic", ts.timer.SlotMs(due)+1, codec.PropTimerDelUniqKey, "U+other topic")
	ts.work(t)
	ts.pass(t, 9*time.Second) // the slot is in memory
	ts.send(t, "T", "late", due, codec.PropTimerDelUniqKey, "kept too")
	ts.send(t, "T", "kept too", due)
	ts.work(t)
	ts.pass(t, 3*time.Second)
	require.Equal(t, []string{"kept", "other topic"}, ts.delivered(t, "T"))
	require.Equal(t, int64(3), ts.timer.Stats().Recalled.Load())
	require.Equal(t, int64(-1), ts.timer.Metrics().TimingCount["T"].Count, "one of the recalls found nothing")
}

// Forty days are rolled every two days, and the message comes at its millisecond.
func TestTimerRollsForFortyDays(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{LogFileBytes: 52*4 + 16})
	const days = 40
	due := timerBegin + days*24*3_600_000 + 7
	ts.send(t, "T", "far", due)
	ts.send(t, "T", "taken back", due)
	ts.send(t, "T", "taken back", ts.timer.SlotMs(due)+1, codec.PropTimerDelUniqKey, "taken back")
	ts.work(t)
	for hour := range days * 24 {
		ts.pass(t, time.Hour)
		switch hour % 50 {
		case 3:
			ts.restart(t)
		case 17:
			require.NoError(t, ts.timer.Flush())
			ts.kill(t)
		}
		require.Empty(t, ts.delivered(t, "T"))
	}
	ts.pass(t, 6*time.Millisecond)
	require.Empty(t, ts.delivered(t, "T"))
	ts.pass(t, time.Millisecond)
	require.Equal(t, []string{"far"}, ts.delivered(t, "T"))
	rolled, err := strconv.Atoi(prop(t, ts.at(t, "T", 1, 0), codec.PropTimerRollTimes))
	require.NoError(t, err)
	require.InDelta(t, 20, rolled, 2)
	files, err := filepath.Glob(filepath.Join(ts.Store.opts.Dir, "timerlog", "*"))
	require.NoError(t, err)
	require.Less(t, len(files), 10, "files that are done with are deleted")
}

func TestTimerReadsFullSlotsInParts(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{maxNear: 10, LogFileBytes: 5200})
	var want []string
	for i := range 95 {
		ms := timerBegin + 5_000 + int64((i*37)%95)
		ts.send(t, "T", strconv.FormatInt(ms, 10), ms)
		want = append(want, strconv.FormatInt(timerBegin+5_000+int64(i), 10))
	}
	ts.send(t, "T", want[20], ts.timer.SlotMs(timerBegin+5_000)+1, codec.PropTimerDelUniqKey, want[20])
	ts.work(t)
	ts.pass(t, 4*time.Second)
	ts.pass(t, 1010*time.Millisecond)
	require.Equal(t, want[:11], ts.delivered(t, "T"))
	ts.restart(t)
	ts.work(t)
	require.Equal(t, want[:11], ts.delivered(t, "T"))
	ts.pass(t, 2*time.Second)
	require.Equal(t, append(want[:20:20], want[21:]...), ts.delivered(t, "T"))
}

// A slot that was delivered in part goes on where it was, whichever way the timer ended.
func TestTimerRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"close", "kill", "kill after flush"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			ts := openTimerStore(t, TimerOptions{})
			var want []string
			for i := range 40 {
				id := fmt.Sprintf("%02d", i)
				ts.send(t, "T", id, timerBegin+2_000+int64(i)*50)
				want = append(want, id)
			}
			ts.work(t)
			require.NoError(t, ts.timer.Flush())
			for range 45 {
				ts.pass(t, 90*time.Millisecond)
				switch end {
				case "close":
					ts.restart(t)
				case "kill after flush":
					require.NoError(t, ts.timer.Flush())
					fallthrough
				case "kill":
					ts.kill(t)
				}
			}
			require.Equal(t, want, ts.delivered(t, "T"))
		})
	}
}

// Another server that is killed leaves a timercheck that is older than what it has delivered.
func TestTimerFindsWhatAnotherServerDelivered(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	old := appendTimerCheck(nil, &timerCheck{readMs: ts.timer.SlotMs(timerBegin), queueOffset: 11, masterQueueOffset: 11})
	var want []string
	for i := range 10 {
		id := fmt.Sprintf("%02d", i)
		ts.send(t, "T", id, timerBegin+2_000+int64(i)*500)
		want = append(want, id)
	}
	ts.work(t)
	ts.pass(t, 10*time.Second)
	require.Equal(t, want, ts.delivered(t, "T"))
	ts.send(t, "T", "later", timerBegin+30_000) // behind them in the log
	ts.work(t)
	require.NoError(t, ts.timer.Flush())
	require.NoError(t, os.WriteFile(ts.timer.checkPath, old, 0o644))
	ts.kill(t)
	ts.pass(t, 10*time.Second)
	require.Equal(t, want, ts.delivered(t, "T"))
	ts.pass(t, 20*time.Second)
	require.Equal(t, append(want, "later"), ts.delivered(t, "T"))
}

// What another server takes in again is not said to be taken in.
func TestTimerCheckpointSaysWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	taken := func() int64 {
		check, ok := parseTimerCheck(ts.timer.Checkpoint())
		require.True(t, ok)
		require.Equal(t, check.queueOffset, check.masterQueueOffset)
		return check.queueOffset
	}
	ts.send(t, "T", "a", timerBegin+60_000)
	ts.work(t)
	require.Zero(t, taken())
	require.Eventually(t, func() bool {
		require.NoError(t, ts.timer.Flush())
		return taken() == 1
	}, time.Minute, time.Millisecond)
	b, err := os.ReadFile(ts.timer.checkPath)
	require.NoError(t, err)
	require.Equal(t, int64(1), int64(binary.BigEndian.Uint64(b[16:])))
}

func TestTimerDropsWhatPointsNowhere(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	m := &Message{Topic: TopicWheelTimer, Body: []byte("x"), BornHost: fixtureHost, Properties: textOf(codec.PropUniqKey, "x")}
	require.NoError(t, ts.PutWait(m, new(PutResult)))
	m.Properties = textOf(codec.PropTimerOutMs, strconv.FormatInt(timerBegin+5000, 10), codec.PropRealTopic, "T", codec.PropRealQueueID, "none")
	require.NoError(t, ts.PutWait(m, new(PutResult)))
	ts.send(t, "T", "good", timerBegin+5000)
	ts.work(t)
	ts.pass(t, 20*time.Second)
	require.Equal(t, []string{"good"}, ts.delivered(t, "T"))
	require.Equal(t, int64(2), ts.timer.Stats().Dropped.Load())
}

func TestTimerSleepsWhenThereIsNothingToDo(t *testing.T) {
	t.Parallel()
	const now = 1_800_000_000_000
	require.Equal(t, maxNap, napUntil(never, now))
	require.Equal(t, maxNap, napUntil(now+maxNap.Milliseconds()+1, now))
	require.Equal(t, 3*time.Millisecond, napUntil(now+3, now))
	require.Zero(t, napUntil(now, now))
	require.Zero(t, napUntil(now-5, now))
}

// A timer that has delivered all that is due is not behind until it looks again, a nap later at most.
func TestTimerThatRestsIsNotBehind(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	ts.send(t, "T", "x", timerBegin+2000)
	for i := range 12 {
		ts.work(t)
		ts.nowMs.Add(maxNap.Milliseconds())
		require.Zero(t, ts.timer.Status().SecondsBehind(), "look %d", i)
		ts.nowMs.Add(100) // another place in the slot
	}
	ts.work(t)
	ts.nowMs.Add(5000)
	require.GreaterOrEqual(t, ts.timer.Status().SecondsBehind(), int64(4))
}
