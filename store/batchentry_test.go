package store

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// What Apache's broker 5.4.0 wrote into batchconsumequeue/BcqA/0 for a batch of three messages, one message with the tag A,
// and again a batch of three.
const apacheBatchEntries = "00000000000000000000014d0000000000000000000001a1fd9c46d000000000000000000003ffffffff00000000" +
	"000000000000014d000000bd0000000000000041000001a1fd9c470d00000000000000030001ffffffff00000000" +
	"000000000000020a0000013a0000000000000000000001a1fd9c471400000000000000040003ffffffff00000000"

func TestBatchEntriesAreApaches(t *testing.T) {
	t.Parallel()
	golden, err := hex.DecodeString(apacheBatchEntries)
	require.NoError(t, err)
	for i, want := range []batchEntry{
		{physOffset: 0, size: 333, storeMs: 1795256239824, queueOffset: 0, count: 3, compacted: notCompacted},
		{physOffset: 333, size: 189, tagsCode: 'A', storeMs: 1795256239885, queueOffset: 3, count: 1, compacted: notCompacted},
		{physOffset: 522, size: 314, storeMs: 1795256239892, queueOffset: 4, count: 3, compacted: notCompacted},
	} {
		b := golden[i*batchEntryBytes:][:batchEntryBytes]
		got := batchEntryAt(b)
		require.Equal(t, want, got)
		require.True(t, got.written())
		require.Equal(t, want.queueOffset+int64(want.count), got.end())
		again := make([]byte, batchEntryBytes)
		putBatchEntry(again, got)
		require.Equal(t, b, again)
	}
	require.False(t, batchEntryAt(make([]byte, batchEntryBytes)).written())
}
