package admin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// javaCompactionLog is the last file of queue 0 in the store that Apache's broker wrote.
func javaCompactionLog(t *testing.T) []byte {
	t.Helper()
	packed, err := os.ReadFile("../../store/testdata/compaction-written/store.tar.gz")
	require.NoError(t, err)
	r, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	for files := tar.NewReader(r); ; {
		head, err := files.Next()
		require.NoError(t, err)
		if strings.HasSuffix(head.Name, "compactionLog/Compacted/0/00000000000000033120") {
			b, err := io.ReadAll(files)
			require.NoError(t, err)
			return b
		}
	}
}

// testdata/compactionlog.txt was printed by Apache's dumpCompactionLog 5.5.0.
func TestDumpCompactionLog(t *testing.T) {
	t.Parallel()
	whole := javaCompactionLog(t)
	path := filepath.Join(t.TempDir(), "log")
	dump := func(b []byte) (string, error) {
		require.NoError(t, os.WriteFile(path, b, 0o444))
		out, err := runCommand(t, "dumpCompactionLog", "-f", path)
		require.NoError(t, os.Remove(path))
		return out, err
	}
	want, err := os.ReadFile("testdata/compactionlog.txt")
	require.NoError(t, err)
	out, err := dump(whole)
	require.NoError(t, err)
	require.Equal(t, string(want), out)

	first, _, _ := strings.Cut(string(want), "\n")
	out, err = dump(whole[:300]) // the second record is cut
	require.EqualError(t, err, "read "+path+": the record at byte 252 says that it has 252 bytes, 48 are left in the file")
	require.Equal(t, first+"\n", out)
	damaged := bytes.Clone(whole)
	damaged[252+4] ^= 0xff
	out, err = dump(damaged)
	require.ErrorContains(t, err, "read "+path+": no message at byte 252: ")
	require.Equal(t, first+"\n", out)

	_, err = runCommand(t, "dumpCompactionLog")
	require.EqualError(t, err, "miss dump log file name: dumpCompactionLog needs -f (file)")
	_, err = runCommand(t, "dumpCompactionLog", "-f", path)
	require.EqualError(t, err, "file "+path+" not exist")
	_, err = runCommand(t, "dumpCompactionLog", "-f", filepath.Dir(path))
	require.EqualError(t, err, "file "+filepath.Dir(path)+" is a directory")
	_, err = runCommand(t, "exportMetadataInRocksDB", "-p", "dir", "-t", "topics")
	require.EqualError(t, err, localRocksDB)
}
