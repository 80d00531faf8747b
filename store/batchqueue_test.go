package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// batchOptions are options of a store whose topic B has batch queues, with few entries a file.
func batchOptions(t testing.TB) Options {
	o := testOptions(t)
	o.BatchQueueSegmentEntries = 10
	o.QueueType = func(topic string) QueueType {
		if topic == "B" {
			return BatchQueue
		}
		return SimpleQueue
	}
	return o
}

// innerBatch is a message for topic B that holds n messages.
func innerBatch(queueID int32, name string, n int) *Message {
	var body []byte
	for i := range n {
		body = codec.AppendBatchEntry(body, 0, fmt.Appendf(nil, "%s-%d", name, i), codec.AppendProperty(nil, codec.PropUniqKey, fmt.Sprint("U", name, i)))
	}
	m := testMessage("B", queueID, name)
	m.Body, m.SysFlag = body, codec.SysInnerBatch|codec.SysNeedUnwrap
	return m
}

// A queue of inner batches and single messages is found by every offset in it, after a restart and made anew, too.
func TestBatchQueue(t *testing.T) {
	t.Parallel()
	o := batchOptions(t)
	s := openTestStore(t, o)
	require.EqualValues(t, -1, s.MinQueueOffset("B", 0))
	require.EqualValues(t, 0, s.MaxQueueOffset("B", 0))
	var bases []int64
	next := int64(0)
	for i := range 100 {
		var r PutResult
		m, n := innerBatch(0, fmt.Sprint("batch", i), i%5), int64(i%5)
		if n == 0 {
			m, n = testMessage("B", 0, fmt.Sprint("single", i)), 1
		}
		require.NoError(t, s.PutWait(m, &r))
		require.Equal(t, next, r.QueueOffset)
		bases = append(bases, next)
		next += n
	}
	check := func(s *Store) {
		t.Helper()
		waitDispatched(t, s)
		require.EqualValues(t, 0, s.MinQueueOffset("B", 0))
		require.Equal(t, next, s.MaxQueueOffset("B", 0))
		at := 0
		for queueOffset := range next {
			if at+1 < len(bases) && bases[at+1] == queueOffset {
				at++
			}
			e, ok := s.EntryOf("B", 0, queueOffset)
			require.True(t, ok)
			require.Equal(t, bases[at], e.QueueOffset)
			var r GetResult
			require.NoError(t, s.Get(&GetRequest{Topic: "B", QueueOffset: queueOffset, MaxMsgs: 1}, &r))
			require.Equal(t, Found, r.Status)
			require.Equal(t, e.End, r.NextQueueOffset)
			require.EqualValues(t, e.End-e.QueueOffset, r.Count)
			var m codec.Message
			_, err := codec.DecodeMessage(r.Parts[0], &m)
			require.NoError(t, err)
			require.Equal(t, e.QueueOffset, m.QueueOffset)
			require.Equal(t, e.PhysOffset, m.PhysOffset)
			require.Equal(t, m.StoreTimestampMs, s.StoreTimeAt("B", 0, queueOffset))
			base, ok := codec.Property(m.Properties, codec.PropInnerBase)
			require.Equal(t, m.SysFlag&codec.SysInnerBatch != 0, ok)
			if ok {
				require.Equal(t, fmt.Sprint(m.QueueOffset), string(base))
				num, _ := codec.Property(m.Properties, codec.PropInnerNum)
				require.Equal(t, fmt.Sprint(r.Count), string(num))
			}
			r.Release()
		}
	}
	check(s)
	require.NoError(t, s.Close())
	require.FileExists(t, filepath.Join(o.Dir, "batchconsumequeue", "B", "0", "00000000000000000460"))
	require.NoDirExists(t, filepath.Join(o.Dir, "consumequeue", "B"))
	s = openTestStore(t, o)
	check(s)
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(o.Dir, "batchconsumequeue")))
	s = openTestStore(t, o)
	check(s)
	var r PutResult
	require.NoError(t, s.PutWait(innerBatch(0, "more", 3), &r))
	require.Equal(t, next, r.QueueOffset)
}
