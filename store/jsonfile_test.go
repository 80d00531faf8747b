package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func testFile(t testing.TB, opts TableOptions) *jsonFile {
	t.Helper()
	opts.fill()
	return newJSONFile(filepath.Join(fastDir(t), "config", "delayOffset.json"), opts)
}

func putFile(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func loadLevel(t testing.TB, f *jsonFile) int64 {
	t.Helper()
	table, err := loadJSON[codec.DelayOffsetTable](f)
	require.NoError(t, err)
	require.NotNil(t, table)
	return table.OffsetTable[1]
}

// aside returns the files that were set aside, by their content.
func aside(t testing.TB, f *jsonFile) map[string]bool {
	t.Helper()
	names, err := filepath.Glob(f.path + "*" + damagedSuffix + "*")
	require.NoError(t, err)
	found := make(map[string]bool)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		found[string(text)] = true
	}
	return found
}

const (
	oldTable = `{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1},"offsetTable":{1:11}}`
	newTable = `{"dataVersion":{"counter":2,"stateVersion":0,"timestamp":2},"offsetTable":{1:22}}`
)

func TestTableFileKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	f := testFile(t, TableOptions{})
	for i, text := range []string{oldTable, newTable, oldTable} {
		require.NoError(t, f.save([]byte(text)))
		got, err := os.ReadFile(f.path)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		bak, err := os.ReadFile(f.path + bakSuffix)
		if i == 0 {
			require.ErrorIs(t, err, fs.ErrNotExist)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []string{oldTable, newTable}[i-1], string(bak))
	}
	entries, err := os.ReadDir(filepath.Dir(f.path))
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing else stays behind")
}

func TestTableFileLoadsTheNewestGoodOne(t *testing.T) {
	t.Parallel()
	const torn = `{"dataVersion":{"counter":2,"sta`
	tests := []struct {
		name, main, bak string // "-" for no file
		want            int64
		aside           []string
	}{
		{"both good", newTable, oldTable, 22, nil},
		{"no backup", newTable, "-", 22, nil},
		{"no file", "-", oldTable, 11, nil},
		{"empty file", "", oldTable, 11, nil},
		{"torn file", torn, oldTable, 11, []string{torn}},
		{"file of zeros", "\x00\x00\x00", oldTable, 11, []string{"\x00\x00\x00"}},
		{"torn backup", newTable, torn, 22, []string{torn}},
		{"empty backup", newTable, "", 22, nil},
		{"file goes on after its end", newTable + "}", oldTable, 11, []string{newTable + "}"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := testFile(t, TableOptions{})
			putFile(t, f.path+".unrelated", "")
			if tt.main != "-" {
				putFile(t, f.path, tt.main)
			}
			if tt.bak != "-" {
				putFile(t, f.path+bakSuffix, tt.bak)
			}
			require.Equal(t, tt.want, loadLevel(t, f))
			kept := aside(t, f)
			require.Len(t, kept, len(tt.aside))
			for _, text := range tt.aside {
				require.True(t, kept[text], "the damaged file is kept")
			}
			require.Equal(t, tt.want, loadLevel(t, f), "and again")
			require.NoError(t, f.save([]byte(newTable)))
			require.Equal(t, int64(22), loadLevel(t, f))
		})
	}
}

func TestTableFileWithNothingGoodIsAnError(t *testing.T) {
	t.Parallel()
	for _, files := range [][2]string{{"{", "-"}, {"{", ""}, {"{", "{"}, {"-", "{"}, {"", "\x00"}} {
		f := testFile(t, TableOptions{})
		putFile(t, f.path+".unrelated", "")
		for i, path := range []string{f.path, f.path + bakSuffix} {
			if files[i] != "-" {
				putFile(t, path, files[i])
			}
		}
		for range 2 {
			_, err := loadJSON[codec.DelayOffsetTable](f)
			require.ErrorIs(t, err, ErrCorrupt, "%q", files)
			require.ErrorContains(t, err, f.path)
		}
		require.Empty(t, aside(t, f), "nothing is moved")
	}
}

func TestTableFileMissingIsNoError(t *testing.T) {
	t.Parallel()
	f := testFile(t, TableOptions{})
	table, err := loadJSON[codec.DelayOffsetTable](f)
	require.NoError(t, err)
	require.Nil(t, table)
	putFile(t, f.path, "") // Java stopped before its first write
	table, err = loadJSON[codec.DelayOffsetTable](f)
	require.NoError(t, err)
	require.Nil(t, table)
}

// TestTableFileTornAtEveryByte: Java renames the file to .bak and writes the new one in place; a stop in between leaves
// any beginning of it.
func TestTableFileTornAtEveryByte(t *testing.T) {
	t.Parallel()
	root := unpackFixture(t, fixtureClean, "config/consumerOffset.json")
	good, err := os.ReadFile(filepath.Join(root, "config", "consumerOffset.json"))
	require.NoError(t, err)
	newer := []byte(strings.Replace(string(good), `"counter":2`, `"counter":3`, 1))
	require.NotEqual(t, good, newer)

	f := testFile(t, TableOptions{})
	for n := range len(newer) + 1 {
		putFile(t, f.path, string(newer[:n]))
		putFile(t, f.path+bakSuffix, string(good))
		table, err := loadJSON[offsetFile](f)
		require.NoError(t, err)
		require.NotNil(t, table)
		require.Len(t, table.OffsetTable, 36)
		want := int64(2)
		if n == len(newer) {
			want = 3
		}
		require.Equal(t, want, table.DataVersion.Counter, "%d bytes", n)
		require.NoError(t, os.RemoveAll(filepath.Dir(f.path)))
	}
}

// TestTableFileStoppedAnywhere fails each operation of a write in turn, as a stop there would leave the folder.
func TestTableFileStoppedAnywhere(t *testing.T) {
	t.Parallel()
	for n := 0; ; n++ {
		calls, failed := 0, FileOp("")
		f := testFile(t, TableOptions{})
		require.NoError(t, f.save([]byte(oldTable)))
		require.NoError(t, f.save([]byte(oldTable)))
		f.faults = func(op FileOp, path string) error {
			calls++
			if calls > n {
				if failed == "" {
					failed = op
				}
				return syscall.EIO
			}
			return nil
		}
		err := f.save([]byte(newTable))
		f.faults = nil
		got := loadLevel(t, f)
		if failed == "" {
			require.NoError(t, err)
			require.Equal(t, int64(22), got)
			require.Greater(t, n, 4, "create, write, flush, two renames, flush of the folder")
			return
		}
		require.ErrorIs(t, err, syscall.EIO)
		require.Contains(t, []int64{11, 22}, got, "operation %d, %s", n, failed)
		require.NoError(t, f.save([]byte(newTable)), "and a retry works")
		require.Equal(t, int64(22), loadLevel(t, f))
		require.Empty(t, aside(t, f))
	}
}

func TestTableFileNamesAFullDisk(t *testing.T) {
	t.Parallel()
	f := testFile(t, TableOptions{Faults: func(op FileOp, _ string) error {
		if op == OpWrite {
			return syscall.ENOSPC
		}
		return nil
	}})
	require.ErrorIs(t, f.save([]byte(newTable)), ErrNoSpace)
	_, err := os.Stat(f.path + tmpSuffix)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestTableFileKeepsEveryDamagedOne(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)
	f := testFile(t, TableOptions{Now: func() time.Time { return at }})
	for _, torn := range []string{"{1", "{2", "{3"} {
		putFile(t, f.path, torn)
		putFile(t, f.path+bakSuffix, oldTable)
		require.Equal(t, int64(11), loadLevel(t, f))
	}
	require.Len(t, aside(t, f), 3)
}

func TestTableFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	broken := ""
	f := testFile(t, TableOptions{Faults: func(op FileOp, path string) error {
		if op == OpRead && path == broken {
			return syscall.EIO
		}
		return nil
	}})
	require.NoError(t, f.save([]byte(oldTable)))
	require.NoError(t, f.save([]byte(newTable)))
	broken = f.path
	_, err := loadJSON[codec.DelayOffsetTable](f)
	require.ErrorIs(t, err, syscall.EIO, "an unreadable disk is no reason to take an older table")
	broken = f.path + bakSuffix
	require.Equal(t, int64(22), loadLevel(t, f))
}

// FuzzLoadTables reads any text as each of the tables. What can be read must come back the same from what is written.
func FuzzLoadTables(f *testing.F) {
	delays, err := os.ReadFile(filepath.Join(unpackFixture(f, fixtureClean, "config/"), "config", "delayOffset.json"))
	require.NoError(f, err)
	f.Add(delays)
	for _, text := range []string{"", "null", "{}", "[]", oldTable, `{"offsetTable":null}`,
		`{"offsetTable":{"T@G":null,"@":{0:1},"x":{},"T@G@broadcast":{0:5}},"groupTopicMap":{"G":["T"]},"dataVersion":{"counter":2}}`,
		`{"topicConfigTable":{"T":null,"":{},"../x":{"perm":6},"U":{"attributes":{"message.type":"FIFO"},"order":true}}}`,
		`{"subscriptionGroupTable":{"G":null,"H":{"retryMaxTimes":3}},"forbiddenTable":{"G":null,"H":{"T":4}}}`,
		`{"offsetTable":{-1:5,99999:-7,1:9223372036854775807},"later":1}`} {
		f.Add([]byte(text))
	}
	topicsOptions, groupsOptions := testTopicsOptions(), GroupsOptions{}
	topicsOptions.fill()
	groupsOptions.fill()
	f.Fuzz(func(t *testing.T, text []byte) {
		if stored := fuzzRead[offsetFile](text); stored != nil {
			one, two := openTestOffsets(t, "/nowhere", OffsetsOptions{}), openTestOffsets(t, "/nowhere", OffsetsOptions{})
			one.fill(stored)
			two.fill(fuzzAgain(t, one.fileContent()))
			require.Equal(t, one.Snapshot(), two.Snapshot())
			one.DeleteGroup("G")
			one.DeleteTopic("T")
		}
		if stored := fuzzRead[codec.DelayOffsetTable](text); stored != nil {
			one, err := openSchedule("/nowhere", newFakeLog(), ScheduleOptions{})
			require.NoError(t, err)
			one.fill(stored)
			table := one.Snapshot()
			again := fuzzAgain(t, &table)
			require.Equal(t, table.OffsetTable, again.OffsetTable)
		}
		if stored := fuzzRead[codec.TopicConfigTable](text); stored != nil {
			values, version, _ := topicsOptions.merge(stored)
			again := fuzzAgain(t, &codec.TopicConfigTable{DataVersion: version, TopicConfigTable: values})
			require.Len(t, again.TopicConfigTable, len(values))
			for name, cfg := range again.TopicConfigTable {
				require.True(t, equalTopics(values[name], cfg), name)
			}
		}
		if stored := fuzzRead[codec.SubscriptionGroupTable](text); stored != nil {
			values, version, _ := groupsOptions.merge(stored)
			again := fuzzAgain(t, &codec.SubscriptionGroupTable{DataVersion: version, SubscriptionGroupTable: values, ForbiddenTable: stored.ForbiddenTable})
			require.Len(t, again.SubscriptionGroupTable, len(values))
		}
	})
}

// fuzzRead reads text as loadJSON does; nil for damage.
func fuzzRead[T any](text []byte) *T {
	value := new(T)
	if len(text) == 0 || codec.UnmarshalJSON(text, value) != nil {
		return nil
	}
	return value
}

// fuzzAgain writes a table and reads it.
func fuzzAgain[T any](t *testing.T, value *T) *T {
	t.Helper()
	text, err := codec.MarshalPrettyJSON(value)
	require.NoError(t, err)
	again := new(T)
	require.NoError(t, codec.UnmarshalJSON(text, again), "%s", text)
	return again
}
