package store

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIndexOfAStoreOfJava: every key of every message, in what Java left after a clean stop, after a crash, with a torn
// message, and when the index has to be built from the log.
func TestIndexOfAStoreOfJava(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed, fixtureTruncated} {
		for _, rebuilt := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " rebuilt"}[rebuilt], func(t *testing.T) {
				t.Parallel()
				dir := unpackFixture(t, name, "")
				if rebuilt {
					for _, part := range []string{"consumequeue", "index", "checkpoint"} {
						require.NoError(t, os.RemoveAll(filepath.Join(dir, part)))
					}
				}
				opts := smallStoreOptions(dir)
				opts.SegmentBytes = 1 << 20
				s, err := Open(opts)
				require.NoError(t, err)
				m := readManifest(t, name)
				for range 2 { // and once more after a clean stop
					for _, q := range m.KeyQueries {
						got, _, _, err := s.QueryIndex(q.Topic, q.Key, q.MaxNum, 0, math.MaxInt64)
						require.NoError(t, err)
						require.Equal(t, q.CommitLogOffsets, append([]int64{}, got...), "%s#%s", q.Topic, q.Key)
					}
					for _, msg := range m.Messages {
						if msg.UniqKey == "" {
							continue
						}
						got, _, last, err := s.QueryIndex(msg.Topic, msg.UniqKey, 64, 0, math.MaxInt64)
						require.NoError(t, err)
						require.Contains(t, got, msg.CommitLogOffset)
						require.Equal(t, m.Messages[len(m.Messages)-1].CommitLogOffset, last)
					}
					require.NoError(t, s.Close())
					s, err = Open(opts)
					require.NoError(t, err)
				}
				require.NoError(t, s.Close())
			})
		}
	}
}
