package store

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// snapshot is every file of a directory with its bytes and times.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprint(info.Mode(), info.ModTime().UnixNano())
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(b)
		}
		all[path] = text
		return nil
	}))
	return all
}

// rocksDB writes what Apache's broker 5.4.0 leaves of a database after a clean stop: an empty log and the four files of
// every database; with data there is a table.
func rocksDB(t *testing.T, dir string, data bool) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	names := []string{"000004.log", "CURRENT", "IDENTITY", "LOCK", "MANIFEST-000005", "OPTIONS-000007"}
	if data {
		names = append(names, "000009.sst")
	}
	for _, name := range names {
		text := "x"
		if name == "000004.log" {
			text = ""
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

// raftEntry is the head of the first entry of a DLedger file that begins at base.
func raftEntry(base int64) []byte {
	b := make([]byte, 4096)
	binary.BigEndian.PutUint32(b, 1)
	binary.BigEndian.PutUint32(b[4:], 148)
	binary.BigEndian.PutUint64(b[8:], 7)
	binary.BigEndian.PutUint64(b[16:], 1)
	binary.BigEndian.PutUint64(b[24:], uint64(base))
	binary.BigEndian.PutUint32(b[44:], 100)
	return b
}

// A directory that this store cannot read is refused with what was found and the way out, and nothing in it changes.
func TestForeignDirectoriesAreNotTouched(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(dir string)
		want []string
	}{
		{"DLedger directory", func(dir string) { require.NoError(t, os.MkdirAll(filepath.Join(dir, "dledger-n0", "data"), 0o755)) },
			[]string{"dledger-n0", "plain master"}},
		{"DLedger entries", func(dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "commitlog"), 0o755))
			path := filepath.Join(dir, "commitlog", segmentName(1<<30))
			require.NoError(t, os.WriteFile(path, raftEntry(1<<30), 0o644))
		}, []string{"commitlog/00000000001073741824", "plain master"}},
		{"queues", func(dir string) { rocksDB(t, filepath.Join(dir, "consumequeue"), false) }, []string{"consumequeue", "made anew"}},
		{"older queues", func(dir string) { rocksDB(t, filepath.Join(dir, "consumequeue_r"), false) }, []string{"consumequeue_r", "made anew"}},
		{"topics", func(dir string) { rocksDB(t, filepath.Join(dir, "config/topics"), true) }, []string{"config/topics", "rocksDBConfigToJson"}},
		{"groups", func(dir string) { rocksDB(t, filepath.Join(dir, "config/subscriptionGroups"), true) },
			[]string{"config/subscriptionGroups", "rocksDBConfigToJson"}},
		{"offsets", func(dir string) { rocksDB(t, filepath.Join(dir, "config/consumerOffsets"), false) },
			[]string{"config/consumerOffsets", "rocksDBConfigToJson"}},
		{"all tables in one", func(dir string) { rocksDB(t, filepath.Join(dir, "config/metadata"), false) },
			[]string{"config/metadata", "rocksDBConfigToJson"}},
		{"second configuration", func(dir string) { rocksDB(t, filepath.Join(dir, "config/rdb"), false) },
			[]string{"config/rdb", "rocksDBConfigToJson"}},
		{"timers", func(dir string) { rocksDB(t, filepath.Join(dir, "rocksdbstore"), true) },
			[]string{"rocksdbstore", "timerRocksDBEnable", "without these keys"}},
		{"receipts", func(dir string) { rocksDB(t, filepath.Join(dir, "kvStore"), true) }, []string{"kvStore", "acknowledge"}},
		{"receipts after a kill", func(dir string) {
			rocksDB(t, filepath.Join(dir, "kvStore"), false)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "kvStore", "000004.log"), []byte("entries"), 0o644))
		}, []string{"kvStore", "acknowledge"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(t)
			s := openTestStore(t, o)
			putMany(t, s, "T", 0, 20, 20)
			require.NoError(t, s.Close())
			c.make(o.Dir)
			before := snapshot(t, o.Dir)
			o.Now = func() time.Time { return time.Now().Add(time.Hour) }
			_, err := Open(o)
			require.ErrorIs(t, err, ErrForeign)
			for _, text := range c.want {
				require.ErrorContains(t, err, text)
			}
			require.Equal(t, before, snapshot(t, o.Dir))
		})
	}
}

// Apache's broker 5.4.0 makes these directories without using them.
func TestUnusedRocksDBIsNoHindrance(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	rocksDB(t, filepath.Join(o.Dir, "rocksdbstore"), false)
	rocksDB(t, filepath.Join(o.Dir, "kvStore"), false)
	openTestStore(t, o)
}
