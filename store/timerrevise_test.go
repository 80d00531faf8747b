package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// count runs a check as another goroutine does, while the timer has its turns.
func (ts *timerStore) count(t testing.TB, check func(context.Context) (int, error)) (revised int) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		n, err := check(context.Background())
		revised = n
		done <- err
	}()
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			return revised
		default:
			_, err := ts.timer.turn(context.Background())
			require.NoError(t, err)
		}
	}
}

func (ts *timerStore) counts() map[string]int64 {
	counts := make(map[string]int64)
	for topic, c := range ts.timer.Metrics().TimingCount {
		counts[topic] = c.Count
	}
	return counts
}

func TestReviseMetrics(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{slots: 300, RollSlots: 60})
	now := ts.nowMs.Load()
	for i := range int64(40) {
		ts.send(t, "A", fmt.Sprint("a", i), now+1500+i*700)
	}
	for i := range int64(7) {
		ts.send(t, "B", fmt.Sprint("b", i), now+120_000+i) // rolled before
	}
	ts.send(t, "Aa", "x", now+30_000) // Aa and BB have one hash
	ts.send(t, "BB", "y", now+30_000)
	ts.send(t, "BB", "z", now+30_000)
	ts.send(t, "C", "c", now+30_000)
	ts.send(t, "A", "recall", now+1500+39*700, codec.PropTimerDelUniqKey, "a39")
	ts.work(t)
	require.EqualValues(t, map[string]int64{"A": 39, "B": 7, "Aa": 1, "BB": 2, "C": 1}, ts.counts())
	ts.pass(t, time.Duration(10_000-now%1000)*time.Millisecond) // a check waits for a moment between two seconds
	right := ts.counts()
	require.Less(t, right["A"], int64(39))

	revise := func(below int64) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) { return ts.timer.ReviseMetrics(ctx, below) }
	}
	require.Zero(t, ts.count(t, revise(1<<30)), "right counts were changed")
	require.Equal(t, right, ts.counts())
	spoil := func() {
		ts.timer.metrics.add([]byte("A"), 1000, now)
		ts.timer.metrics.add([]byte("B"), -5, now)
		ts.timer.metrics.add([]byte("BB"), 1, now)
		ts.timer.metrics.add([]byte("gone"), 3, now)
		ts.timer.metrics.remove("C")
	}
	spoil()
	require.Equal(t, 3, ts.count(t, revise(1000)))
	want := map[string]int64{"A": right["A"] + 1000, "B": 7, "Aa": 1, "BB": 2, "gone": 0}
	require.Equal(t, want, ts.counts(), "Java leaves great counts, and topics without one")
	require.Equal(t, 2, ts.count(t, ts.timer.RecountMetrics))
	want["A"], want["C"] = right["A"], 1
	require.Equal(t, want, ts.counts())
}

// TestReviseAfterKill kills the timer with counts that were not saved.
func TestReviseAfterKill(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{slots: 300, RollSlots: 60})
	now := ts.nowMs.Load()
	for i := range int64(30) {
		ts.send(t, "A", fmt.Sprint("a", i), now+1500+i*300)
	}
	ts.work(t)
	require.NoError(t, ts.timer.Flush())
	ts.pass(t, time.Duration(5000-now%1000)*time.Millisecond)
	for i := range int64(9) {
		ts.send(t, "New", fmt.Sprint("n", i), now+60_000)
	}
	ts.work(t)
	right := ts.counts()
	ts.kill(t)
	require.True(t, ts.timer.MetricsUnsure())
	require.NotEqual(t, right, ts.counts())
	ts.count(t, ts.timer.RecountMetrics)
	ts.work(t)
	require.Equal(t, right, ts.counts())
	ts.pass(t, 70*time.Second)
	require.Equal(t, map[string]int64{"A": 0, "New": 0}, ts.counts())

	ts.restart(t)
	require.False(t, ts.timer.MetricsUnsure())
	require.Zero(t, ts.count(t, ts.timer.RecountMetrics))
}

// TestReviseWhileBusy checks while messages come and go: what the check finds is right, so it changes nothing.
func TestReviseWhileBusy(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{slots: 300, RollSlots: 60, LogFileBytes: 52*50 + 30})
	sent := int64(0)
	for range 30 {
		for range 20 {
			sent++
			ts.send(t, "T", fmt.Sprint(sent), ts.nowMs.Load()+300+sent*7919%40_000)
		}
		ts.settled(t)
		checking := make(chan struct{})
		go func() {
			defer close(checking)
			revised, err := ts.timer.RecountMetrics(context.Background())
			if err != nil || revised > 0 {
				t.Errorf("%d counts changed, error %v", revised, err)
			}
		}()
		for waiting := true; waiting; {
			_, err := ts.timer.turn(context.Background())
			require.NoError(t, err)
			ts.nowMs.Add(10)
			select {
			case <-checking:
				waiting = false
			default:
			}
		}
	}
	ts.pass(t, time.Minute)
	require.Equal(t, map[string]int64{"T": 0}, ts.counts())
}

// TestReviseStuck asks a timer that does not run.
func TestReviseStuck(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := ts.timer.RecountMetrics(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, ts.count(t, ts.timer.RecountMetrics), "another one cannot begin")
}

// TestTimerWheelSnapshots takes over a store of Java with timerWheelSnapshotFlush: its wheel is as of the start, newer ones
// have the position of the timer log behind their names.
func TestTimerWheelSnapshots(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{slots: 300, RollSlots: 60})
	dir, now := ts.Store.opts.Dir, ts.nowMs.Load()
	path := filepath.Join(dir, "timerwheel")
	ts.send(t, "T", "old", now+20_000)
	ts.work(t)
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	ts.send(t, "T", "new", now+25_000)
	ts.work(t)
	end := ts.timer.log.end
	require.NoError(t, ts.timer.Close())
	require.NoError(t, os.Rename(path, fmt.Sprintf("%s.%d", path, end)))
	require.NoError(t, os.WriteFile(path, old, 0o644))
	require.NoError(t, os.WriteFile(path+".9.tmp", []byte("cut off"), 0o644))
	require.NoError(t, os.Remove(ts.timer.own.path)) // Java's
	ts.open(t)
	left, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Equal(t, []string{path}, left, "Java would begin with the snapshot")
	ts.pass(t, 30*time.Second)
	require.Equal(t, []string{"old", "new"}, ts.delivered(t, "T"))
}
