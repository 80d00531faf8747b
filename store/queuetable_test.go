package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table answers as a map does, whatever the hashes are.
func TestQueueTable(t *testing.T) {
	t.Parallel()
	for _, spread := range []uint64{1, 3, 1 << 40} { // different hashes
		rnd := rand.New(rand.NewPCG(spread, 1))
		var table *queueTable
		want := make(map[queueKey]*queue)
		hashOf := func(key queueKey) uint64 { return uint64(key.id) % spread * queueShards }
		for range 2000 {
			key := queueKey{fmt.Sprint("topic", rnd.IntN(3)), int32(rnd.IntN(40))}
			q := table.find(hashOf(key), key.topic, key.id)
			require.Same(t, want[key], q)
			switch old := table; {
			case q == nil:
				q = &queue{queueKey: key}
				table = old.roomFor(1 + rnd.IntN(9))
				table.add(hashOf(key), q)
				require.Nil(t, old.find(hashOf(key), key.topic, key.id), "the one before is as it was")
				want[key] = q
			case rnd.IntN(2) == 0:
				table = old.without(q)
				require.Same(t, q, old.find(hashOf(key), key.topic, key.id))
				delete(want, key)
			}
			require.Equal(t, len(want), table.len())
		}
		n := 0
		for hash, q := range table.all() {
			require.Same(t, want[q.queueKey], q)
			require.Equal(t, hashOf(q.queueKey), hash)
			n++
		}
		require.Equal(t, len(want), n)
	}
}
