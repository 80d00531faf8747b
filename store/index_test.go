package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func openTestIndex(t testing.TB, opts IndexOptions) *Index {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Slots == 0 {
		opts.Slots, opts.Entries = fixtureIndexSlots, fixtureIndexEntries
	}
	x, err := OpenIndex(opts, false, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	return x
}

func query(t *testing.T, x *Index, topic, key string) []int64 {
	t.Helper()
	r, err := x.Query(topic, key, maxQueryResults, 0, math.MaxInt64)
	require.NoError(t, err)
	return r.PhysOffsets
}

func TestIndexFindsWhatJavaFinds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := readManifest(t, name)
			x := openTestIndex(t, IndexOptions{Dir: filepath.Join(unpackFixture(t, name, "index/"), "index")})
			require.NotEmpty(t, m.KeyQueries)
			for _, q := range m.KeyQueries {
				r, err := x.Query(q.Topic, q.Key, q.MaxNum, 0, math.MaxInt64)
				require.NoError(t, err)
				require.Equal(t, q.CommitLogOffsets, append([]int64{}, r.PhysOffsets...), "%s#%s", q.Topic, q.Key)
			}
			for _, msg := range m.Messages {
				if msg.UniqKey != "" {
					require.Contains(t, query(t, x, msg.Topic, msg.UniqKey), msg.CommitLogOffset)
				}
			}
			require.Equal(t, m.Messages[len(m.Messages)-1].CommitLogOffset, x.EndPhysOffset())
		})
	}
}

// TestIndexWritesJavasBytes puts the messages of Java's commit log and compares whole files, header, slots and entries.
func TestIndexWritesJavasBytes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			java := filepath.Join(unpackFixture(t, name, "index/"), "index")
			ours := t.TempDir()
			x := openTestIndex(t, IndexOptions{Dir: ours})
			for _, m := range readManifest(t, name).Messages {
				require.NoError(t, x.Put(m.Topic, []byte(m.UniqKey), []byte(m.Keys), []byte(m.Tags), m.CommitLogOffset, m.StoreTimestamp))
			}
			want, got := listNames(t, java), listNames(t, ours)
			require.Len(t, got, len(want))
			for i := range want {
				wantBytes, err := os.ReadFile(filepath.Join(java, want[i]))
				require.NoError(t, err)
				gotBytes, err := os.ReadFile(filepath.Join(ours, got[i]))
				require.NoError(t, err)
				require.True(t, bytes.Equal(wantBytes, gotBytes), "file %d (%s) differs", i, want[i])
			}
		})
	}
}

func listNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestIndexGoesOnInAFileOfJava(t *testing.T) {
	t.Parallel()
	m := readManifest(t, fixtureClean)
	dir := filepath.Join(unpackFixture(t, fixtureClean, "index/"), "index")
	last := m.Messages[len(m.Messages)-1]
	x := openTestIndex(t, IndexOptions{Dir: dir})
	files := len(listNames(t, dir))
	// What is in it already, as a dispatch after a crash would bring it, leaves it as it is.
	before := slices.Clone(x.last.seg.data)
	for _, msg := range m.Messages {
		require.NoError(t, x.Put(msg.Topic, []byte(msg.UniqKey), []byte(msg.Keys), []byte(msg.Tags), msg.CommitLogOffset, msg.StoreTimestamp))
	}
	require.True(t, bytes.Equal(before, x.last.seg.data))

	for i := range 2 * fixtureIndexEntries {
		key := []byte("new-" + strconv.Itoa(i))
		require.NoError(t, x.Put("FxNew", key, nil, nil, last.CommitLogOffset+int64(i+1)*100, last.StoreTimestamp+int64(i)))
	}
	require.Greater(t, len(listNames(t, dir)), files+1)
	for i := range 2 * fixtureIndexEntries {
		require.Equal(t, []int64{last.CommitLogOffset + int64(i+1)*100}, query(t, x, "FxNew", "new-"+strconv.Itoa(i)))
	}
	for _, q := range m.KeyQueries {
		require.Equal(t, q.CommitLogOffsets, append([]int64{}, query(t, x, q.Topic, q.Key)...))
	}
}

func TestIndexTakesEachKeyOfAMessage(t *testing.T) {
	t.Parallel()
	x := openTestIndex(t, IndexOptions{})
	require.NoError(t, x.Put("T", []byte("uniq"), []byte(" a  b a "), []byte("TagA"), 100, 1_000))
	for _, key := range []string{"uniq", "a", "b", TagKeyPrefix + "TagA"} {
		require.Equal(t, []int64{100}, query(t, x, "T", key))
	}
	require.Empty(t, query(t, x, "T", ""))
	require.Empty(t, query(t, x, "T", "TagA"))
	require.Empty(t, query(t, x, "U", "a"))
	require.Equal(t, int32(6), x.last.header.next, "an entry for each word, twice for the one that stands twice")
	require.NoError(t, x.Put("T", nil, nil, nil, 200, 2_000))
	require.Equal(t, int64(100), x.EndPhysOffset())
}

func TestIndexQueryKeepsToTimeAndNumber(t *testing.T) {
	t.Parallel()
	x := openTestIndex(t, IndexOptions{Slots: 8, Entries: 41})
	const n = 100 // over three files
	for i := range int64(n) {
		require.NoError(t, x.Put("T", []byte("k"), nil, nil, i*10, 1_000_000+i*1_000))
	}
	tests := []struct {
		name       string
		max        int
		begin, end int64
		want       []int64
	}{
		{"newest first, then in order", 3, 0, math.MaxInt64, []int64{970, 980, 990}},
		{"never more than 64", 1000, 0, math.MaxInt64, offsetsFrom(36, n)},
		{"none wanted", 0, 0, math.MaxInt64, nil},
		{"less than none", -1, 0, math.MaxInt64, nil},
		{"within one file", 64, 1_005_000, 1_007_000, []int64{50, 60, 70}},
		{"parts of a second are cut off", 64, 1_005_000, 1_005_999, []int64{50}},
		{"over a file's edge", 64, 1_039_000, 1_041_000, []int64{390, 400, 410}},
		{"before all", 64, 0, 999_999, nil},
		{"after all", 64, 1_200_000, 1_300_000, nil},
		{"the wrong way round", 64, 1_007_000, 1_005_000, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := x.Query("T", "k", tt.max, tt.begin, tt.end)
			require.NoError(t, err)
			require.Equal(t, tt.want, r.PhysOffsets)
			require.Equal(t, int64(990), r.EndPhysOffset)
			require.Equal(t, int64(1_099_000), r.EndTimestampMs)
		})
	}
}

func offsetsFrom(first, end int64) []int64 {
	var list []int64
	for i := first; i < end; i++ {
		list = append(list, i*10)
	}
	return list
}

func TestIndexReopens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := IndexOptions{Dir: dir, Slots: 16, Entries: 11}
	x, err := OpenIndex(opts, false, 0)
	require.NoError(t, err)
	for i := range int64(25) {
		require.NoError(t, x.Put("T", []byte(fmt.Sprint("k", i)), nil, nil, i, i+1))
	}
	require.NoError(t, x.Close())
	_, err = x.Query("T", "k1", 1, 0, math.MaxInt64)
	require.ErrorIs(t, err, ErrClosed)

	x, err = OpenIndex(opts, false, 0)
	require.NoError(t, err)
	for i := range int64(25) {
		require.Equal(t, []int64{i}, query(t, x, "T", fmt.Sprint("k", i)))
	}
	require.NoError(t, x.Close())
	require.Len(t, listNames(t, dir), 3, "ten entries a file")
}

func TestIndexAfterAnAbnormalExit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := IndexOptions{Dir: dir, Slots: 16, Entries: 11}
	x, err := OpenIndex(opts, false, 0)
	require.NoError(t, err)
	checkpointMs, err := x.Flush()
	require.NoError(t, err)
	require.Zero(t, checkpointMs)
	for i := range int64(25) {
		require.NoError(t, x.Put("T", []byte(fmt.Sprint("k", i)), nil, nil, i*10, i+1))
	}
	checkpointMs, err = x.Flush()
	require.NoError(t, err)
	require.Equal(t, int64(20), checkpointMs, "the newest message of the second file, the last full one")
	x.release() // as if the process were gone

	x, err = OpenIndex(opts, true, checkpointMs)
	require.NoError(t, err)
	require.Equal(t, int64(190), x.EndPhysOffset())
	require.Len(t, listNames(t, dir), 2)
	for i := range int64(25) { // the log again from its begin
		require.NoError(t, x.Put("T", []byte(fmt.Sprint("k", i)), nil, nil, i*10, i+1))
	}
	for i := range int64(25) {
		require.Equal(t, []int64{i * 10}, query(t, x, "T", fmt.Sprint("k", i)))
	}
	require.NoError(t, x.Close())
}

// TestIndexAfterAPowerCut: a file that was begun in the checkpoint's millisecond, or whose header never reached the disk,
// is as old as the checkpoint by its header and was not flushed all the same.
func TestIndexAfterAPowerCut(t *testing.T) {
	t.Parallel()
	for _, damage := range []func(x *Index){
		func(*Index) {},
		func(x *Index) { clear(x.files[1].seg.data[:indexHeaderBytes]) },
		func(x *Index) { // no hole either: what follows a lost one goes too
			for i := range int64(20) {
				require.NoError(t, x.Put("T", []byte("k"), nil, nil, 150+i*10, 10))
			}
			clear(x.files[1].seg.data[:indexHeaderBytes])
		},
	} {
		dir := t.TempDir()
		opts := IndexOptions{Dir: dir, Slots: 16, Entries: 11}
		x, err := OpenIndex(opts, false, 0)
		require.NoError(t, err)
		for i := range int64(15) {
			require.NoError(t, x.Put("T", []byte("k"), nil, nil, i*10, min(i+1, 10)))
		}
		checkpointMs, err := x.Flush()
		require.NoError(t, err)
		require.Equal(t, int64(10), checkpointMs)
		damage(x)
		x.release()

		x, err = OpenIndex(opts, true, checkpointMs)
		require.NoError(t, err)
		require.Len(t, listNames(t, dir), 1)
		require.Equal(t, int64(90), x.EndPhysOffset())
		require.NoError(t, x.Close())
	}
}

// TestIndexGoesOnInTheMiddleOfAMessage: a stop between two keys of one message must lose none and double none.
func TestIndexGoesOnInTheMiddleOfAMessage(t *testing.T) {
	t.Parallel()
	opts := IndexOptions{Dir: t.TempDir(), Slots: 16, Entries: 100}
	x, err := OpenIndex(opts, false, 0)
	require.NoError(t, err)
	require.NoError(t, x.Put("T", []byte("u1"), []byte("a b"), nil, 10, 1))
	require.NoError(t, x.Put("T", []byte("u2"), []byte("a"), nil, 20, 2))
	require.NoError(t, x.Close())

	x = openTestIndex(t, opts)
	require.NoError(t, x.Put("T", []byte("u2"), []byte("a b c"), nil, 20, 2))
	require.Equal(t, []int64{10, 20}, query(t, x, "T", "a"))
	require.Equal(t, []int64{10, 20}, query(t, x, "T", "b"))
	require.Equal(t, []int64{20}, query(t, x, "T", "c"))
	require.Equal(t, int32(1+5+2), x.last.header.next)
}

func deleteBelow(t *testing.T, x *Index, physOffset int64) {
	t.Helper()
	before := len(listNames(t, x.opts.Dir))
	n, err := x.DeleteBelow(physOffset)
	require.NoError(t, err)
	require.Len(t, listNames(t, x.opts.Dir), before-n)
}

func TestIndexDeletesWholeFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := openTestIndex(t, IndexOptions{Dir: dir, Slots: 16, Entries: 11})
	for i := range int64(25) {
		require.NoError(t, x.Put("T", []byte("k"), nil, nil, i*10, i+1))
	}
	deleteBelow(t, x, 90)
	require.Len(t, listNames(t, dir), 3, "the first file ends at 90")
	deleteBelow(t, x, 91)
	require.Len(t, listNames(t, dir), 2)
	deleteBelow(t, x, math.MaxInt64)
	require.Len(t, listNames(t, dir), 1, "never the newest")
	require.Equal(t, offsetsFrom(20, 25), query(t, x, "T", "k"))
}

func TestIndexDropsWhatGoesBeyondTheLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := openTestIndex(t, IndexOptions{Dir: dir, Slots: 16, Entries: 11})
	put := func(from, to int64, key string) {
		for i := from; i < to; i++ {
			require.NoError(t, x.Put("T", []byte(key), nil, nil, i*10, i+1))
		}
	}
	put(0, 25, "k")
	require.NoError(t, x.DropFrom(250))
	require.Len(t, listNames(t, dir), 3, "the log ends behind the last message")
	require.NoError(t, x.DropFrom(150))
	require.Len(t, listNames(t, dir), 1)
	require.Equal(t, int64(90), x.EndPhysOffset())
	put(9, 15, "k") // from there the log again
	put(15, 25, "new")
	require.Equal(t, offsetsFrom(0, 15), query(t, x, "T", "k"))
	require.Equal(t, offsetsFrom(15, 25), query(t, x, "T", "new"))
	require.NoError(t, x.DropFrom(0))
	require.Empty(t, listNames(t, dir))
	require.Zero(t, x.EndPhysOffset())
	require.EqualValues(t, -1, x.newest())
	put(0, 3, "k")
	require.Equal(t, offsetsFrom(0, 3), query(t, x, "T", "k"))
}

func TestIndexNamesFilesByLocalTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 11, 21, 2, 49, 3, 147_999_999, time.Local)
	x := openTestIndex(t, IndexOptions{Dir: dir, Slots: 4, Entries: 3,
		TableOptions: TableOptions{Now: func() time.Time { return now }}})
	put := func(physOffset int64) { require.NoError(t, x.Put("T", []byte("k"), nil, nil, physOffset, 1)) }
	put(1)
	put(2)
	put(3)
	now = now.Add(-time.Hour)
	put(4)
	put(5)
	require.Equal(t, []string{"20261121024903147", "20261121024903148", "20261121024903149"}, listNames(t, dir),
		"a clock that stands or goes back does not put a new file before an old one")
}

func TestIndexOpensBesideWhatIsNoIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := IndexOptions{Dir: dir, Slots: 16, Entries: 11}
	x, err := OpenIndex(opts, false, 0)
	require.NoError(t, err)
	require.NoError(t, x.Put("T", []byte("k"), nil, nil, 10, 1))
	require.NoError(t, x.Close())
	good := listNames(t, dir)[0]

	write := func(name string, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	short := "20000101000000000"
	overfull := "20000101000000001"
	empty := "20000101000000002"
	write("notes.txt", []byte("x"))
	write(short, make([]byte, 100))
	b := make([]byte, indexFileBytes(16, 11))
	b[36] = 0x7F
	write(overfull, b)
	write(empty, nil)

	x = openTestIndex(t, opts)
	require.Equal(t, []int64{10}, query(t, x, "T", "k"))
	require.Equal(t, []string{short, overfull, good, "notes.txt"}, listNames(t, dir), "an empty file is the only one to go")
}

func TestIndexSurvivesDamagedEntries(t *testing.T) {
	t.Parallel()
	x := openTestIndex(t, IndexOptions{Slots: 2, Entries: 50})
	for i := range int64(40) {
		require.NoError(t, x.Put("T", []byte(fmt.Sprint("k", i%4)), nil, nil, i, i+1))
	}
	b := x.last.seg.data
	for seed := range 2000 {
		saved := slices.Clone(b)
		for i := range 8 { // anywhere behind the header
			b[indexHeaderBytes+(seed*7919+i*104729)%(len(b)-indexHeaderBytes)] = byte(seed * (i + 3))
		}
		for i := range 4 {
			_, err := x.Query("T", fmt.Sprint("k", i), 64, 0, math.MaxInt64)
			require.NoError(t, err)
		}
		copy(b, saved)
	}
}

func TestIndexReportsAFullDisk(t *testing.T) {
	t.Parallel()
	for _, op := range []FileOp{OpCreate, OpAllocate, OpMap} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			now := time.Now()
			var broken bool
			x := openTestIndex(t, IndexOptions{Dir: dir, Slots: 16, Entries: 200_000, TableOptions: TableOptions{
				Now: func() time.Time { return now },
				Faults: func(o FileOp, _ string) error {
					if broken && o == op {
						return syscall.ENOSPC
					}
					return nil
				}}})
			broken = true
			require.ErrorIs(t, x.Put("T", []byte("k"), nil, nil, 1, 1), ErrNoSpace)
			require.Empty(t, listNames(t, dir))
			broken = false
			require.ErrorIs(t, x.Put("T", []byte("k"), nil, nil, 2, 2), ErrNoSpace, "the disk is left alone for a second")
			now = now.Add(indexRetryTime)
			require.NoError(t, x.Put("T", []byte("k"), nil, nil, 3, 3))
			require.Equal(t, []int64{3}, query(t, x, "T", "k"))

			if op != OpAllocate {
				return
			}
			broken = true
			var err error
			at := int64(3)
			for err == nil && at < 190_000 {
				at++
				err = x.Put("T", []byte("k"), nil, nil, at, 3)
			}
			require.ErrorIs(t, err, ErrNoSpace, "entries get blocks as they are needed")
			broken = false
			now = now.Add(indexRetryTime)
			require.NoError(t, x.Put("T", []byte("k"), nil, nil, at, 3))
			require.Contains(t, query(t, x, "T", "k"), at)
		})
	}
}

func TestIndexFlushReportsAFailure(t *testing.T) {
	t.Parallel()
	var broken bool
	x := openTestIndex(t, IndexOptions{Slots: 16, Entries: 3, TableOptions: TableOptions{
		Faults: func(op FileOp, _ string) error {
			if broken && op == OpFlush {
				return syscall.EIO
			}
			return nil
		}}})
	for i := range int64(3) {
		require.NoError(t, x.Put("T", []byte("k"), nil, nil, i, i+1))
	}
	broken = true
	checkpointMs, err := x.Flush()
	require.ErrorIs(t, err, syscall.EIO)
	require.Zero(t, checkpointMs, "what is not on disk does not count")
	broken = false
	checkpointMs, err = x.Flush()
	require.NoError(t, err)
	require.Equal(t, int64(2), checkpointMs)
}

func TestIndexQueriesWhileItIsWritten(t *testing.T) {
	t.Parallel()
	x := openTestIndex(t, IndexOptions{Slots: 7, Entries: 101})
	const n = 3000
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				r, err := x.Query("T", "k3", 64, 0, math.MaxInt64)
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
					return
				}
				for _, at := range r.PhysOffsets {
					if at > r.EndPhysOffset {
						continue // put after the header was read
					}
					if codec.IndexKeyHash("T", fmt.Append(nil, "k", at%10)) != codec.IndexKeyHash("T", []byte("k3")) {
						t.Errorf("offset %d has another key", at)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range int64(n) {
			if i%500 == 499 {
				if _, err := x.DeleteBelow(i - 300); err != nil {
					t.Error(err)
				}
				if _, err := x.Flush(); err != nil {
					t.Error(err)
				}
			}
			if err := x.Put("T", fmt.Append(nil, "k", i%10), nil, nil, i, i+1); err != nil {
				t.Error(err)
			}
		}
		close(done)
	})
	wg.Wait()
}

func TestIndexPutDoesNotAllocate(t *testing.T) {
	x := openTestIndex(t, IndexOptions{Slots: 1000, Entries: 1_000_000})
	uniq, keys, tags := []byte("7F000001000118B4AAC208C1A2B30000"), []byte("order-1 order-2"), []byte("TagA")
	var at int64
	allocs := leastAllocs(1000, func() {
		at++
		if err := x.Put("TopicTest", uniq, keys, tags, at, at); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

func BenchmarkIndexPut(b *testing.B) {
	x := openTestIndex(b, IndexOptions{Slots: 5_000_000, Entries: 20_000_000})
	key := []byte("7F000001000118B4AAC208C1A2B30000")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		copy(key[24:], strconv.AppendInt(key[24:24], int64(10_000_000+i), 10))
		if err := x.Put("TopicTest", key, nil, nil, int64(i), int64(i)); err != nil {
			b.Fatal(err)
		}
	}
}
