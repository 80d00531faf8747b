package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// FuzzRecover changes bytes of a commit log segment, a queue file and the checkpoint, and opens the store: no panic, and
// no message is served that is not whole.
func FuzzRecover(f *testing.F) {
	o := testOptions(f)
	o.SegmentBytes, o.QueueSegmentEntries, o.IndexEnabled = 16<<10, 50, false
	s, err := Open(o)
	require.NoError(f, err)
	for i := range 100 {
		var r PutResult
		require.NoError(f, s.PutWait(testMessage("T", int32(i%2), "some text"), &r))
	}
	waitDispatched(f, s)
	require.NoError(f, s.Close())
	log, err := os.ReadFile(filepath.Join(o.Dir, "commitlog", segmentName(0)))
	require.NoError(f, err)
	queue, err := os.ReadFile(filepath.Join(o.Dir, "consumequeue", "T", "1", segmentName(0)))
	require.NoError(f, err)
	check, err := os.ReadFile(filepath.Join(o.Dir, "checkpoint"))
	require.NoError(f, err)

	f.Add(uint16(0), []byte{}, uint16(0), []byte{}, []byte{}, true)
	f.Add(uint16(20), []byte{0xff}, uint16(8), []byte{0x7f, 0xff, 0xff, 0xff}, []byte{}, false)
	f.Add(uint16(84), []byte{0x7f, 0xff, 0xff, 0xff}, uint16(980), []byte{1, 2, 3}, []byte{0xff}, true)
	f.Add(uint16(0), []byte{0, 0, 0x40, 0, 0xcb, 0xd4, 0x31, 0x94}, uint16(0), []byte{0xff}, []byte{0, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, logPos uint16, logBytes []byte, queuePos uint16, queueBytes, checkBytes []byte, clean bool) {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(o.Dir)))
		write := func(name string, data []byte, pos int, change []byte) {
			data = append([]byte(nil), data...)
			copy(data[pos%len(data):], change)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
		}
		write("commitlog/"+segmentName(0), log, int(logPos), logBytes)
		write("consumequeue/T/1/"+segmentName(0), queue, int(queuePos), queueBytes)
		write("checkpoint", check, 0, checkBytes)
		if !clean {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "abort"), nil, 0o644))
		}
		o := o
		o.Dir, o.CommitLogDir = dir, ""
		s, err := Open(o)
		if err != nil {
			return // it may refuse, with a reason
		}
		requireWhole(t, s, !clean)
		var r PutResult
		require.NoError(t, s.PutWait(testMessage("T", 1, "one more"), &r))
		waitDispatched(t, s)
		b, err := s.MessageAt(r.PhysOffset)
		require.NoError(t, err)
		require.EqualValues(t, r.EndOffset-r.PhysOffset, len(b))
		require.NoError(t, s.Close())
	})
}

// requireWhole reads all queues of the store. After an abnormal exit every record was checked, so what is served is
// whole; after a clean one damage may go unnoticed until a client decodes it, but nothing may break.
func requireWhole(t *testing.T, s *Store, checked bool) {
	s.queues.each("", func(q *queue) {
		var r GetResult
		for at, limit := s.MinQueueOffset(q.topic, q.id), s.MaxQueueOffset(q.topic, q.id); at < limit; at++ {
			if s.Get(&GetRequest{Topic: q.topic, QueueID: q.id, QueueOffset: at, MaxMsgs: 1}, &r) != nil {
				return
			}
			for _, part := range r.Parts {
				require.Equal(t, r.Bytes, len(part))
				var m codec.Message
				_, err := codec.DecodeMessage(part, &m)
				require.True(t, !checked || err == nil && m.CheckBody() == nil)
			}
			r.Release()
			phys, _, _, _ := s.QueueEntry(q.topic, q.id, at)
			_, _ = s.MessageAt(phys)
			s.StoreTimeAt(q.topic, q.id, at)
		}
		s.QueueOffsetByTime(q.topic, q.id, 1<<60)
		s.QueueOffsetByTimeUpper(q.topic, q.id, 0)
	})
}
