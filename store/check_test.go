package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
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

// checkStore runs Check over dir and returns all that it found.
func checkStore(t testing.TB, dir string) (CheckReport, []Finding) {
	t.Helper()
	var found []Finding
	r, err := Check(context.Background(), CheckOptions{Dir: dir, Workers: 3, Found: func(f Finding) { found = append(found, f) }})
	require.NoError(t, err)
	require.EqualValues(t, r.Notes+r.Repairable+r.Damaged > 0, len(found) > 0)
	return r, found
}

func findingText(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func TestCheckAgreesWithApache(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		verdict string
		notes   int64
	}{
		{fixtureClean, "whole", 0},
		{fixtureCrashed, "whole, to be recovered by the next start", 1},
		{fixtureTruncated, "whole, to be recovered by the next start", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, c.name, "")
			want := readManifest(t, c.name)
			r, found := checkStore(t, dir)
			require.Equal(t, c.verdict, r.Verdict(), findingText(found))
			require.Equal(t, c.notes, r.Notes, findingText(found))
			require.True(t, r.Whole())
			require.EqualValues(t, len(want.Messages), r.Records)
			require.Equal(t, want.CommitLogMinOffset, r.LogBegin)
			require.Equal(t, want.CommitLogMaxOffset, r.LogEnd)
			if c.name == fixtureTruncated { // the entry of the torn message
				r.QueueEntries--
			}
			require.EqualValues(t, want.ConsumeQueueEntryCount, r.QueueEntries)

			s := openTestStore(t, fixtureOptions(t, dir))
			require.NoError(t, s.Close())
			r, found = checkStore(t, dir)
			require.Equal(t, "whole", r.Verdict(), findingText(found))
			require.Empty(t, found)
		})
	}
}

// used is a file of the clean directory and the bytes of it that mean something.
type used struct {
	path     string
	from, to int64
}

// usedBytes lists, for a directory that was stopped cleanly, the stretches that Check answers for.
func usedBytes(t *testing.T, dir string) map[string][]used {
	kinds := make(map[string][]used)
	add := func(kind, path string, from, to int64) { kinds[kind] = append(kinds[kind], used{path, from, to}) }
	l, err := readLayout(dir, nil)
	require.NoError(t, err)
	for _, f := range l.log {
		b, err := os.ReadFile(f.path)
		require.NoError(t, err)
		var m codec.Message
		for pos := int64(0); pos < f.size; {
			n, err := decodeRecord(b[pos:], f.base, pos, f.size, true, &m)
			if err != nil {
				break
			}
			add("log: size, magic, CRC, queue", f.path, pos, pos+codec.PosFlag)
			add("log: queue and physical offset", f.path, pos+codec.PosQueueOffset, pos+codec.PosSysFlag)
			body := pos + int64(codec.PosBody(m.SysFlag))
			add("log: body and topic", f.path, body, body+4+int64(len(m.Body))+1+int64(len(m.Topic)))
			pos += n
		}
	}
	for _, q := range l.queues {
		for _, f := range q.files {
			b, err := os.ReadFile(q.path(f))
			require.NoError(t, err)
			end := int64(0)
			for end < f.size && entryAt(b[end:]).written() {
				end += entryBytes
			}
			if end > 0 {
				add("queue", q.path(f), 0, end)
			}
		}
	}
	for _, f := range l.index {
		b, err := os.ReadFile(f.path)
		require.NoError(t, err)
		next := int64(indexHeaderAt(b).next)
		add("index header", f.path, 0, indexHeaderBytes)
		add("index slots", f.path, indexHeaderBytes, indexHeaderBytes+fixtureIndexSlots*indexSlotBytes)
		at := int64(indexHeaderBytes + fixtureIndexSlots*indexSlotBytes + indexEntryBytes)
		add("index entries", f.path, at, at+(next-1)*indexEntryBytes)
	}
	return kinds
}

// flip changes one bit of a file.
func flip(t testing.TB, path string, pos int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], pos)
	require.NoError(t, err)
	b[0] ^= 1 << bit
	_, err = f.WriteAt(b[:], pos)
	require.NoError(t, err)
}

// requireNamed requires a finding that names the file and a place in it, and a verdict to go with it.
func requireNamed(t testing.TB, dir, path, what string) {
	t.Helper()
	r, found := checkStore(t, dir)
	rel, err := filepath.Rel(dir, path)
	require.NoError(t, err)
	named := slices.ContainsFunc(found, func(f Finding) bool { return f.File == rel && f.Pos >= 0 })
	require.True(t, named && !r.Whole(), "%s, %s: %s\n%s", rel, what, r.Verdict(), findingText(found))
}

func TestCheckFindsFlippedBits(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	for kind, list := range usedBytes(t, dir) {
		t.Run(kind, func(t *testing.T) {
			slices.SortFunc(list, func(a, b used) int { return cmp.Or(strings.Compare(a.path, b.path), cmp.Compare(a.from, b.from)) })
			rnd := rand.New(rand.NewPCG(1, uint64(len(kind))))
			for range 40 {
				u := list[rnd.IntN(len(list))]
				pos, bit := u.from+rnd.Int64N(u.to-u.from), rnd.IntN(8)
				flip(t, u.path, pos, bit)
				requireNamed(t, dir, u.path, fmt.Sprintf("bit %d at %d (from %d to %d)", bit, pos, u.from, u.to))
				flip(t, u.path, pos, bit)
			}
		})
	}
	r, found := checkStore(t, dir)
	require.True(t, r.Whole(), findingText(found))
}

// A wrong bit leads an entry to the record of its neighbour, which is as long and has an entry of its own: the entry is named.
func TestCheckBlamesTheEntryAndNotTheRecord(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	path := filepath.Join(dir, "consumequeue", "FxSql", "3", fmt.Sprintf("%020d", 0))
	flip(t, path, 6, 2)
	requireNamed(t, dir, path, "entry 0")
}

// Every byte of every file may be wrong, also those that nothing vouches for: never a panic, and what is found is told.
func TestCheckSurvivesAnyFlip(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed} {
		dir := unpackFixture(t, name, "")
		paths := allFiles(t, dir)
		rnd := rand.New(rand.NewPCG(2, 2))
		for range 100 {
			path := paths[rnd.IntN(len(paths))]
			info, err := os.Stat(path)
			require.NoError(t, err)
			if info.Size() == 0 {
				continue
			}
			pos, bit := rnd.Int64N(info.Size()), rnd.IntN(8)
			flip(t, path, pos, bit)
			checkStore(t, dir)
			flip(t, path, pos, bit)
		}
	}
}

// allFiles lists the files below dir, each directory's as likely as another's when one is drawn.
func allFiles(t testing.TB, dir string) []string {
	var list []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, path)
		}
		return err
	}))
	return list
}

// A file that is cut off is found wherever what is cut off meant something.
func TestCheckFindsTruncations(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	kinds := usedBytes(t, dir)
	last := make(map[string]int64)
	for _, list := range kinds {
		for _, u := range list {
			last[u.path] = max(last[u.path], u.to)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	for i, path := range slices.Sorted(maps.Keys(last)) {
		if i%3 > 0 && strings.Contains(path, "consumequeue") {
			continue
		}
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, n := range []int64{0, last[path] - 1, rnd.Int64N(last[path])} {
			require.NoError(t, os.WriteFile(path, whole[:n], 0o644))
			r, found := checkStore(t, dir)
			rel, err := filepath.Rel(dir, path)
			require.NoError(t, err)
			named := strings.Contains(findingText(found), rel)
			require.True(t, named && !r.Whole(), "%s of %d bytes: %s\n%s", rel, n, r.Verdict(), findingText(found))
		}
		require.NoError(t, os.WriteFile(path, whole, 0o644))
	}
}

// The number of slots is found by the newest entry. One of the same message before it may by chance look as if it were that.
func TestCheckTellsSlotsOfMessagesWithTwoKeys(t *testing.T) {
	t.Parallel()
	const slots = 500
	keyOf := func(like string) string { // in the slot that the key before it would be in if there were fewer slots
		want := codec.IndexKeyHash("T", []byte(like)) % (slots - indexEntryBytes/indexSlotBytes)
		for n := 0; ; n++ {
			if key := fmt.Sprint("k", n); codec.IndexKeyHash("T", []byte(key))%slots == want {
				return key
			}
		}
	}
	for _, first := range []int64{0, 77_777} {
		x := openTestIndex(t, IndexOptions{Slots: slots, Entries: 1000})
		for i := range int64(30) {
			uniq := fmt.Sprint("uniq", i)
			require.NoError(t, x.Put("T", []byte(uniq), []byte(keyOf(uniq)), nil, first+i*100, 1_700_000_000_000+i))
		}
		path := x.list()[0].seg.path
		r, err := openReader(path, windowBytes)
		require.NoError(t, err)
		defer r.close()
		b, err := r.bytes(0, indexHeaderBytes)
		require.NoError(t, err)
		h := indexHeaderAt(b)
		require.EqualValues(t, 61, h.next)
		got, err := findIndexSlots(r, h, 0)
		require.NoError(t, err)
		require.EqualValues(t, slots, got)
	}
}

func TestCheckSmallFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		file   string
		change func(b []byte) []byte
		want   string
	}{
		{"checkpoint of the future", "checkpoint", func(b []byte) []byte { b[1] ^= 0x40; return b }, "later than the log's last message"},
		{"checkpoint, queue time", "checkpoint", func(b []byte) []byte { b[9] ^= 0x40; return b }, "queue time"},
		{"checkpoint cut off", "checkpoint", func(b []byte) []byte { return b[:17] }, "17 bytes, there should be 4096"},
		{"table cut off", "config/topics.json", func(b []byte) []byte { return b[:len(b)/2] }, "its backup is good"},
		{"table of zeros", "config/consumerOffset.json", func(b []byte) []byte { return make([]byte, len(b)) }, "its backup is good"},
		{"table without backup", "config/transactionMetrics", func(b []byte) []byte { return b[:len(b)-2] }, "its backup is good"},
		{"backup cut off", "config/topics.json.bak", func(b []byte) []byte { return b[:9] }, "only the backup of a good file"},
		{"own list", "apogee/queues.json", func(b []byte) []byte { return b[:len(b)-1] }, "the next start does without it"},
		{"own list with a flipped byte", "apogee/queues.json", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "the checksum is that of other content"},
		{"own list longer than a queue", "apogee/queues.json", func(b []byte) []byte {
			return bytes.Replace(b[sealBytes:], []byte(`"FxGo":{"0":`), []byte(`"FxGo":{"0":9`), 1)
		}, "when the server stopped"},
		{"offset behind the queue", "config/consumerOffset.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte("\"offsetTable\":{"), []byte("\"offsetTable\":{\"FxFill@new\":{1:99999},"), 1)
		}, "group new is at 99999 of topic FxFill, queue 1"},
		{"delay offset behind the queue", "config/delayOffset.json", func(b []byte) []byte { return []byte(`{"offsetTable":{2:4711}}`) },
			"delay level 2 is at 4711"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, fixtureClean, "")
			s := openTestStore(t, fixtureOptions(t, dir))
			require.NoError(t, s.Close())
			path := filepath.Join(dir, c.file)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			changed := c.change(bytes.Clone(b))
			require.NotEqual(t, b, changed)
			require.NoError(t, os.WriteFile(path, changed, 0o644))
			r, found := checkStore(t, dir)
			i := slices.IndexFunc(found, func(f Finding) bool { return f.File == c.file })
			require.GreaterOrEqual(t, i, 0, findingText(found))
			require.Contains(t, found[i].String(), c.want)
			require.Equal(t, strings.HasSuffix(c.file, ".bak"), r.Whole(), findingText(found))
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	check := func(dir string, live bool) error {
		_, err := Check(context.Background(), CheckOptions{Dir: dir, Live: live})
		return err
	}
	require.ErrorIs(t, check(t.TempDir(), false), ErrNoStore)
	require.ErrorIs(t, check(filepath.Join(t.TempDir(), "none"), false), fs.ErrNotExist)
	s := openTestStore(t, testOptions(t))
	putMany(t, s, "T", 0, 20, 100)
	waitDispatched(t, s)
	require.ErrorIs(t, check(s.opts.Dir, false), ErrInUse)
	require.NoError(t, check(s.opts.Dir, true))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Check(ctx, CheckOptions{Dir: s.opts.Dir, Live: true})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCheckBatchQueues(t *testing.T) {
	t.Parallel()
	o := batchOptions(t)
	s := openTestStore(t, o)
	for i := range 60 {
		require.NoError(t, s.PutWait(innerBatch(int32(i%2), fmt.Sprint("batch", i), 1+i%4), new(PutResult)))
		require.NoError(t, s.PutWait(testMessage("B", 0, fmt.Sprint("single", i)), new(PutResult)))
		require.NoError(t, s.PutWait(testMessage("T", 0, fmt.Sprint("other", i)), new(PutResult)))
	}
	require.NoError(t, s.Close())
	r, found := checkStore(t, o.Dir)
	require.Empty(t, found, findingText(found))
	require.EqualValues(t, 180, r.QueueEntries)
	require.Equal(t, 3, r.Queues)

	rows := dumpRows[struct{ QueueOffset, Messages, PhysOffset int64 }](t, filepath.Join(o.Dir, "batchconsumequeue"), DumpOptions{QueueID: 0})
	require.Len(t, rows, 90)
	require.EqualValues(t, 1, rows[1].QueueOffset)
	rnd := rand.New(rand.NewPCG(5, 5))
	path := filepath.Join(o.Dir, "batchconsumequeue/B/0", segmentName(460))
	for range 40 {
		pos, bit := rnd.Int64N(460), rnd.IntN(8)
		if pos%batchEntryBytes >= 38 { // position in a compacted log, and what is reserved
			continue
		}
		flip(t, path, pos, bit)
		requireNamed(t, o.Dir, path, fmt.Sprintf("bit %d at %d", bit, pos))
		flip(t, path, pos, bit)
	}
	require.NoError(t, os.Remove(path))
	r, _ = checkStore(t, o.Dir)
	require.False(t, r.Whole())
}

// Light message queues, extended entries and compaction topics of Apache's.
func TestCheckMoreOfApache(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"extras", "compaction-written", "compaction-compacted", "compaction-more"} {
		r, found := checkStore(t, unpackFixture(t, name, ""))
		require.True(t, r.Whole(), "%s\n%s", name, findingText(found))
		require.NotZero(t, r.Records)
	}
}
