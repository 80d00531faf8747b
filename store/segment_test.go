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

func TestSegmentNamesAgree(t *testing.T) {
	t.Parallel()
	for _, base := range []int64{0, 1, 99, 1 << 30, 1<<63 - 1} {
		require.Equal(t, segmentName(base), string(appendSegmentName(nil, base)))
	}
	q := &queue{all: newQueues(&Options{Dir: "dir/"}, &commitLog{}), kind: simpleKind{}, queueKey: queueKey{"T", 12}}
	require.Equal(t, filepath.Join(q.dir(), segmentName(60)), q.filePath(60))
	q.kind = batchKind{}
	require.Equal(t, filepath.Join(q.dir(), segmentName(60)), q.filePath(60))
}
