package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever happens to one byte of deleted.json or ends.json, what is read is what was written or nothing; files of former versions,
// which have no checksum, are read, too.
func TestSealedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	marks := map[string]int64{"TopicA": 1234567, "TopicB": 99}
	ends := map[string]map[int32]int64{"TopicA": {0: 12, 7: 345}, "crc": {1: 1}}
	d, e := &deletions{}, &queueEnds{}
	load := func() {
		require.NoError(t, d.load(dir, 0, nil, discardLogger()))
		require.NoError(t, e.load(dir, nil, discardLogger()))
	}
	load()
	require.Empty(t, d.marks)
	require.Empty(t, e.ends)
	d.marks, e.ends = marks, ends
	require.NoError(t, d.saveLocked())
	require.NoError(t, e.saveLocked())
	load()
	require.Equal(t, marks, d.marks)
	require.Equal(t, ends, e.ends)

	for _, name := range []string{"deleted.json", "ends.json"} {
		path := filepath.Join(dir, ownDir, name)
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := range whole {
			for bit := range 8 {
				b := append([]byte(nil), whole...)
				b[i] ^= 1 << bit
				require.NoError(t, os.WriteFile(path, b, 0o644))
				load()
				if len(d.marks) > 0 {
					require.Equal(t, marks, d.marks, "%s", b)
				}
				if len(e.ends) > 0 {
					require.Equal(t, ends, e.ends, "%s", b)
				}
			}
		}
		require.NoError(t, os.WriteFile(path, whole, 0o644))
	}
	for name, v := range map[string]any{"deleted.json": marks, "ends.json": ends} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, ownDir, name), text, 0o644))
	}
	load()
	require.Equal(t, marks, d.marks)
	require.Equal(t, ends, e.ends)
}
