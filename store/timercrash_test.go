package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// timerDisk remembers what of the timer's files is on disk, so that a power cut can be played.
type timerDisk struct {
	dir   string
	files map[string][]byte
}

func (d *timerDisk) names(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(d.dir, "timerlog", "*"))
	require.NoError(t, err)
	return append(names, filepath.Join(d.dir, "timerwheel"))
}

// synced notes that the files are on disk as they are.
func (d *timerDisk) synced(t testing.TB) {
	t.Helper()
	clear(d.files)
	for _, name := range d.names(t) {
		if b, err := os.ReadFile(name); err == nil {
			d.files[name] = b
		}
	}
}

// cut loses some of the sectors that changed since.
func (d *timerDisk) cut(t testing.TB, rnd *rand.Rand) {
	t.Helper()
	for _, name := range d.names(t) {
		now, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		old := d.files[name]
		if len(old) != len(now) {
			old = make([]byte, len(now))
		}
		for at := 0; at < len(now); at += 512 {
			end := min(at+512, len(now))
			if string(old[at:end]) != string(now[at:end]) && rnd.IntN(2) == 0 {
				copy(now[at:end], old[at:end])
			}
		}
		require.NoError(t, os.WriteFile(name, now, 0o644))
	}
}

// TestTimerCrashes sends, lets time pass, flushes, and ends the timer at any point: by a stop, by a kill, by a power cut, or
// by a kill after a file operation has failed. Everything comes at its moment or right after the next start, and once.
func TestTimerCrashes(t *testing.T) {
	t.Parallel()
	seeds := uint64(16)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			crashTimer(t, seed)
		})
	}
}

func crashTimer(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	failAt := -1
	disk := &timerDisk{files: map[string][]byte{}}
	faults := func(op FileOp, path string) error {
		if failAt > 0 {
			failAt--
		}
		if failAt == 0 {
			return fmt.Errorf("%s %s: %w", op, path, errFault)
		}
		if op == OpFlush && filepath.Base(path) == "timerwheel" { // the last of the two
			disk.synced(t)
		}
		return nil
	}
	ts := openTimerStore(t, TimerOptions{slots: 300, RollSlots: 60, LogFileBytes: 52*20 + 30, TableOptions: TableOptions{Faults: faults}})
	disk.dir = ts.Store.opts.Dir
	due, count := map[string]int64{}, 0
	turn := func() {
		for range 50 {
			ts.settled(t)
			written := ts.Written()
			next, err := ts.timer.turn(context.Background())
			require.NoError(t, err)
			if next > ts.nowMs.Load() && ts.Written() == written {
				return
			}
		}
	}
	for step := range 120 {
		for range rnd.IntN(6) {
			count++
			id := fmt.Sprintf("%d-%d", step, count)
			due[id] = ts.nowMs.Load() + []int64{100, 3_000, 30_000, 200_000}[rnd.IntN(4)]*rnd.Int64N(100)/100 + 1
			if ts.timer.SlotMs(due[id]) < ts.nowMs.Load()/1000*1000 && rnd.IntN(2) == 0 {
				due[id] += 1000
			}
			ts.send(t, "T", id, due[id])
			if rnd.IntN(8) == 0 {
				ts.send(t, "T", id, ts.timer.SlotMs(due[id])+1, codec.PropTimerDelUniqKey, id)
				if ts.timer.SlotMs(due[id]) >= ts.nowMs.Load()/1000*1000 {
					delete(due, id)
				} // else both were late
			}
		}
		turn()
		ts.nowMs.Add(rnd.Int64N(2_500))
		turn()
		if rnd.IntN(3) == 0 {
			require.NoError(t, ts.timer.Flush())
		}
		switch rnd.IntN(12) {
		case 0:
			ts.restart(t)
		case 1:
			ts.kill(t)
		case 2:
			ts.timer.closeFiles()
			disk.cut(t, rnd)
			disk.synced(t) // what is left
			ts.open(t)
		case 3:
			failAt = 1 + rnd.IntN(30)
			turn()
			_ = ts.timer.Flush()
			turn()
			if rnd.IntN(2) == 0 {
				_ = ts.timer.Close()
			}
			failAt = -1
			ts.kill(t)
		}
	}
	for range 400 {
		ts.nowMs.Add(700)
		turn()
	}
	times := map[string]int{}
	for i := range ts.MaxQueueOffset("T", 1) {
		m := ts.at(t, "T", 1, i)
		times[string(m.Body)]++
		if at, ok := due[string(m.Body)]; ok {
			require.GreaterOrEqual(t, m.StoreTimestampMs, at, "%s came early", m.Body)
		}
	}
	for id := range due {
		require.Equal(t, 1, times[id], "%s came %d times", id, times[id])
	}
	for id := range times {
		require.Contains(t, due, id, "it was taken back")
	}
}

var errFault = errors.New("played fault")

// Bits flipped and files cut anywhere in what the timer has on disk, after a clean stop and after a kill: no panic, and no message
// is lost. After a clean stop none comes twice.
func TestTimerFlippedBits(t *testing.T) {
	t.Parallel()
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 6))
			ts := openTimerStore(t, TimerOptions{slots: 1000, RollSlots: 120})
			want := map[string]bool{}
			for i := range 60 {
				id := fmt.Sprint(i)
				want[id] = true
				ts.send(t, "T", id, timerBegin+int64(i)*4_000+1)
			}
			ts.work(t)
			for range 20 {
				ts.pass(t, 1500*time.Millisecond)
			}
			killed := seed%2 == 0
			if killed {
				ts.timer.closeFiles()
			} else {
				require.NoError(t, ts.timer.Close())
			}
			dir := ts.Store.opts.Dir
			logs, err := filepath.Glob(filepath.Join(dir, "timerlog", "*"))
			require.NoError(t, err)
			files := []string{filepath.Join(dir, "timerwheel"), filepath.Join(dir, "config", "timercheck"), filepath.Join(dir, ownDir, "timer.json"),
				filepath.Join(dir, "config", "timermetrics"), logs[rnd.IntN(len(logs))], logs[len(logs)-1]}
			damageFile(t, rnd, files[int(seed/2)%len(files)])
			ts.open(t)
			for range 300 {
				ts.pass(t, 1500*time.Millisecond)
			}
			got := map[string]bool{}
			for _, id := range ts.delivered(t, "T") {
				require.True(t, killed || !got[id], "%s came twice", id)
				got[id] = true
			}
			require.Equal(t, want, got)
		})
	}
}

// damageFile flips a bit of a file, near its beginning as often as anywhere, or cuts it. One that is not there stays so.
func damageFile(t *testing.T, rnd *rand.Rand, path string) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || len(b) == 0 {
		return
	}
	require.NoError(t, err)
	if rnd.IntN(3) == 0 {
		b = b[:rnd.IntN(len(b))]
	} else {
		at := rnd.IntN(len(b))
		if rnd.IntN(2) == 0 {
			at = rnd.IntN(min(len(b), 4096))
		}
		b[at] ^= 1 << rnd.IntN(8)
	}
	require.NoError(t, os.WriteFile(path, b, 0o644))
}

// A wheel or a timer log that is missing or damaged is made anew.
func TestTimerMendsDamage(t *testing.T) {
	t.Parallel()
	flip := func(t *testing.T, name string, at int64) {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		b[at] ^= 0x55
		require.NoError(t, os.WriteFile(name, b, 0o644))
	}
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, dir string)
	}{
		{"nothing", func(*testing.T, string) {}},
		{"wheel is missing", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "timerwheel"))) }},
		{"wheel is short", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "timerwheel"), 4000))
		}},
		{"wheel is zeros", func(t *testing.T, dir string) {
			name := filepath.Join(dir, "timerwheel")
			info, err := os.Stat(name)
			require.NoError(t, err)
			require.NoError(t, errors.Join(os.Truncate(name, 0), os.Truncate(name, info.Size())))
		}},
		{"timer log is missing", func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, "timerlog"))) }},
		{"first timer log file is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "timerlog", segmentName(0))))
		}},
		{"middle timer log file is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "timerlog", segmentName(1000))))
		}},
		{"timer log file is short", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "timerlog", segmentName(1000)), 60))
		}},
		{"record has another size", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "timerlog", segmentName(1000)), 52*3) }},
		{"record has another time", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "timerlog", segmentName(1000)), 52*3+22) }},
		{"record points elsewhere", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "timerlog", segmentName(1000)), 52*3+6) }},
		{"timercheck is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "config", "timercheck")))
		}},
		{"timercheck is zeros", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config", "timercheck"), make([]byte, 4096), 0o644))
		}},
		{"wheel and timer log are missing", func(t *testing.T, dir string) {
			require.NoError(t, errors.Join(os.Remove(filepath.Join(dir, "timerwheel")), os.RemoveAll(filepath.Join(dir, "timerlog"))))
		}},
		{"our file is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "apogee", "timer.json")))
		}},
		{"counts are damaged", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config", "timermetrics"), []byte("{"), 0o644))
			os.Remove(filepath.Join(dir, "config", "timermetrics.bak"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ts := openTimerStore(t, TimerOptions{slots: 1000, RollSlots: 120})
			want := map[string]int{}
			for i := range 100 {
				id := fmt.Sprint(i)
				want[id] = 1
				ts.send(t, "T", id, timerBegin+int64(i)*4_000+1) // the last ones are rolled twice
			}
			ts.work(t)
			for range 20 {
				ts.pass(t, 1500*time.Millisecond)
			}
			require.NoError(t, ts.timer.Close())
			tt.harm(t, ts.Store.opts.Dir)
			ts.open(t)
			for range 300 {
				ts.pass(t, 1500*time.Millisecond)
			}
			times := map[string]int{}
			for _, id := range ts.delivered(t, "T") {
				times[id]++
			}
			require.Equal(t, want, times)
		})
	}
}

func TestTimerWithAnotherPrecision(t *testing.T) {
	t.Parallel()
	ts := openTimerStore(t, TimerOptions{slots: 1000, RollSlots: 500})
	var want []string
	for i := range 50 {
		id := fmt.Sprintf("%02d", i)
		want = append(want, id)
		ts.send(t, "T", id, timerBegin+1_000+int64(i)*137)
	}
	ts.work(t)
	for _, precision := range []time.Duration{100 * time.Millisecond, 3 * time.Second, time.Second} {
		ts.pass(t, 1900*time.Millisecond)
		require.NoError(t, ts.timer.Close())
		ts.opts.Precision = precision
		ts.open(t)
	}
	for range 40 {
		ts.pass(t, 300*time.Millisecond)
	}
	require.Equal(t, want, ts.delivered(t, "T"))
}

// cutLog takes what the commit log has from a place on, and opens all anew.
func (ts *timerStore) cutLog(t *testing.T, physOffset int64) {
	t.Helper()
	ts.timer.closeFiles()
	opts := ts.Store.opts
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, txnFiles{os.DirFS(opts.Dir)}))
	opts.Dir, opts.CommitLogDir = to, filepath.Join(to, "commitlog")
	path := filepath.Join(opts.CommitLogDir, segmentName(0))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, errors.Join(os.Truncate(path, physOffset), os.Truncate(path, info.Size())))
	ts.Store, err = Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ts.Store.Close()) })
	require.Equal(t, physOffset, ts.Written())
	ts.open(t)
}

// The end of the commit log is gone with messages that timer log and wheel, which are on disk, point to: after a power cut, or, when
// timercheck vouches for them, by damage or with a store of Java's. They are dropped, which the log says, also when other records lie there
// by the time they are due; nothing else is lost, and nothing is stuck.
func TestTimerOfCutLog(t *testing.T) {
	t.Parallel()
	for _, vouched := range []bool{false, true} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("vouched %t, written again %t", vouched, again), func(t *testing.T) {
				t.Parallel()
				timerOfCutLog(t, vouched, again)
			})
		}
	}
}

func timerOfCutLog(t *testing.T, vouched, again bool) {
	var said lockedBuffer
	ts := openTimerStore(t, TimerOptions{TableOptions: TableOptions{Logger: slog.New(slog.NewTextHandler(&said, nil))}})
	ts.send(t, "T", "kept", timerBegin+5_000)
	ts.work(t)
	kept := ts.Written()
	const cut = 20
	for i := range cut {
		ts.send(t, "T", fmt.Sprint("cut", i), timerBegin+4_000+int64(i)*200)
	}
	ts.work(t)
	require.NoError(t, ts.timer.Flush())
	if vouched {
		require.NoError(t, ts.awaitFlushed(ts.Written()))
		require.NoError(t, ts.timer.Flush())
		require.Equal(t, int64(cut+1), ts.timer.saved.QueueOffset)
	}
	ts.cutLog(t, kept)
	want := []string{"kept", "later"}
	if again { // other records, of other lengths, take the place
		for i := range 10 {
			want = append(want, fmt.Sprint("another message ", i))
			ts.send(t, "T", want[len(want)-1], timerBegin+6_000+int64(i)*100)
		}
		ts.work(t)
	}
	ts.send(t, "T", "later", timerBegin+9_000)
	ts.work(t)
	ts.pass(t, 20*time.Second)
	require.ElementsMatch(t, want, ts.delivered(t, "T"))
	require.Zero(t, ts.timer.Status().Waiting, "nothing is stuck")
	require.Regexp(t, `level=(WARN|ERROR) .*timer`, said.String())
	if vouched {
		require.Equal(t, int64(cut), ts.timer.Stats().Dropped.Load())
		require.Contains(t, said.String(), "timer message cannot be delivered, dropped")
	}
}
