package store

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// fastDir is t.TempDir in memory, where /dev/shm has room and TMPDIR does not name another place. It is for tests that copy stores many
// times: what they ask for has to survive a copy, and a disk adds nothing to that but the time of its journal. What a file system makes of
// holes, blocks and flushes is tested elsewhere, on that of t.TempDir.
func fastDir(t testing.TB) string {
	t.Helper()
	const shm, room = "/dev/shm", 1 << 30
	if usage, err := DiskOf(shm); err != nil || usage.AvailableBytes < room || os.Getenv("TMPDIR") != "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(shm, "store-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
