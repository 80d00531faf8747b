package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestZerosAheadEndWithTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "segment")
	require.NoError(t, os.WriteFile(path, make([]byte, 10_000), 0o644))
	require.NoError(t, writeZeros(path, 8192, 10_000-8192, nil))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, int64(10_000), info.Size(), "a size that is no multiple of a page is kept")
}
