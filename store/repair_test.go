package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// repairStore repairs dir and returns the verdict afterwards and what was done.
func repairStore(t testing.TB, dir string) (CheckReport, []RepairStep) {
	t.Helper()
	_, plan, err := PlanRepair(context.Background(), RepairOptions{CheckOptions: CheckOptions{Dir: dir}})
	require.NoError(t, err)
	var did []RepairStep
	r, err := Repair(context.Background(), RepairOptions{CheckOptions: CheckOptions{Dir: dir}}, func(s RepairStep) { did = append(did, s) })
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(did), min(len(plan), 1))
	return r, did
}

// What is derived or has a backup is whole after a repair, and every message is served as before.
func TestRepair(t *testing.T) {
	t.Parallel()
	cut := func(name string, n int64) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, name), n)) }
	}
	bit := func(name string, pos int64) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { flip(t, filepath.Join(dir, name), pos, 3) }
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, name))) }
	}
	const fill = "consumequeue/FxFill/1/00000000000000000000"
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"queue entry", bit(fill, 777)},
		{"queue entry, size", bit(fill, 20*5+10)},
		{"queue entry, tags", bit(fill, 20*5+19)},
		{"queue file cut off", cut(fill, 12345)},
		{"queue file empty", cut(fill, 0)},
		{"second file of a queue", remove("consumequeue/FxFill/1/00000000000000060000")},
		{"queue", remove("consumequeue/FxGo/0")},
		{"topic's queues", remove("consumequeue/FxGo")},
		{"first index file", remove("index/20261121014522590")},
		{"index entry", bit("index/20261121022732466", 2500)},
		{"index slot", bit("index/20261121022732466", 100)},
		{"index header", bit("index/20261121022732466", 38)},
		{"checkpoint", bit("checkpoint", 1)},
		{"checkpoint cut off", cut("checkpoint", 20)},
		{"topics", cut("config/topics.json", 99)},
		{"several", func(t *testing.T, dir string) {
			bit(fill, 777)(t, dir)
			bit("index/20261121022732466", 2500)(t, dir)
			cut("config/topics.json", 99)(t, dir)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, fixtureClean, "")
			topics, err := os.ReadFile(filepath.Join(dir, "config/topics.json.bak"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config/topics.json.bak"), topics, 0o644))
			c.change(t, dir)
			r, found := checkStore(t, dir)
			require.False(t, r.Whole(), findingText(found))
			before := dirState(t, dir)
			_, plan, err := PlanRepair(context.Background(), RepairOptions{CheckOptions: CheckOptions{Dir: dir}})
			require.NoError(t, err)
			require.NotEmpty(t, plan)
			require.Equal(t, before, dirState(t, dir), "a plan changes nothing")

			r, did := repairStore(t, dir)
			_, found = checkStore(t, dir)
			require.Equal(t, "whole", r.Verdict(), "%v\n%s", did, findingText(found))
			s := openTestStore(t, fixtureOptions(t, dir))
			requireManifest(t, s, readManifest(t, fixtureClean))
		})
	}
}

// dirState is the length and the time of change of all files.
func dirState(t testing.TB, dir string) map[string]string {
	state := make(map[string]string)
	for _, path := range allFiles(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		state[path] = fmt.Sprint(info.Size(), info.ModTime())
	}
	return state
}

func TestRepairTornTail(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureTruncated, "")
	require.NoError(t, os.Truncate(filepath.Join(dir, "consumequeue/FxCrashB/3/00000000000000000000"), 333))
	log := filepath.Join(dir, "commitlog", segmentName(2097152))
	before, err := os.ReadFile(log)
	require.NoError(t, err)
	r, did := repairStore(t, dir)
	_, found := checkStore(t, dir)
	require.Equal(t, "whole", r.Verdict(), "%v\n%s", did, findingText(found))
	kept, err := filepath.Glob(filepath.Join(dir, "apogee/aside/*/commitlog", segmentName(2097152)+".from-171355"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	tail, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	require.Equal(t, bytes.TrimRight(before[171355:], "\x00"), bytes.TrimRight(tail, "\x00"))
	requireManifest(t, openTestStore(t, fixtureOptions(t, dir)), readManifest(t, fixtureTruncated))
}

// Damage in the middle of the log stays as it is, and nothing that is whole behind it goes.
func TestRepairKeepsWhatIsWhole(t *testing.T) {
	t.Parallel()
	want := readManifest(t, fixtureClean)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		refuse bool
	}{
		{"and a queue", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "consumequeue/FxNormal/1/00000000000000000000"), 21))
		}, false},
		{"and the checkpoint", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "checkpoint"), 21))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, fixtureClean, "")
			lost := want.Messages[1000]
			phys := lost.CommitLogOffset
			base := phys / (1 << 20) * (1 << 20)
			flip(t, filepath.Join(dir, "commitlog", segmentName(base)), phys-base+codec.PosMagic, 2)
			c.change(t, dir)
			r, did := repairStore(t, dir)
			require.EqualValues(t, len(want.Messages)-1, r.Records)
			require.Equal(t, "damaged", r.Verdict())
			refused := slices.ContainsFunc(did, func(s RepairStep) bool { return s.Refused })
			require.Equal(t, c.refuse, refused, "%v", did)
			rows := dumpRows[struct{ PhysOffset int64 }](t, filepath.Join(dir, "commitlog"), DumpOptions{QueueID: -1, Body: BodyNone})
			require.Len(t, rows, len(want.Messages)) // one row tells of the damage
		})
	}
}

// Any one bit in queues and index is put right.
func TestRepairAnyDerivedBit(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	kinds := usedBytes(t, dir)
	rnd := rand.New(rand.NewPCG(6, 6))
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if strings.HasPrefix(kind, "log") {
			continue
		}
		for range 4 {
			u := kinds[kind][rnd.IntN(len(kinds[kind]))]
			if strings.Contains(u.path, TopicSchedule) {
				continue
			}
			if _, err := os.Stat(u.path); err != nil {
				continue // an index file that was made anew has another name
			}
			flip(t, u.path, u.from+rnd.Int64N(u.to-u.from), rnd.IntN(8))
			r, did := repairStore(t, dir)
			require.Equal(t, "whole", r.Verdict(), "%s %v", kind, did)
		}
	}
	requireManifest(t, openTestStore(t, fixtureOptions(t, dir)), readManifest(t, fixtureClean))
}
