package store

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
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

// FuzzBatchEntry reads any 46 bytes as an entry and writes them again: all but the reserved ones come back.
func FuzzBatchEntry(f *testing.F) {
	golden, err := hex.DecodeString(apacheBatchEntries)
	require.NoError(f, err)
	for at := 0; at < len(golden); at += batchEntryBytes {
		f.Add(golden[at:][:batchEntryBytes])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < batchEntryBytes {
			return
		}
		e := batchEntryAt(b)
		again := make([]byte, batchEntryBytes)
		putBatchEntry(again, e)
		require.Equal(t, b[:42], again[:42])
		require.Equal(t, e, batchEntryAt(again))
	})
}

// FuzzBatchQueue changes bytes of a batch queue's file and opens the store: no panic, a walk through the queue comes to its
// end, and no message is served but those that were put there. After an unclean stop none is missing.
func FuzzBatchQueue(f *testing.F) {
	from := batchOptions(f)
	from.SegmentBytes, from.IndexEnabled, from.BatchQueueSegmentEntries = 64<<10, false, 50
	s, err := Open(from)
	require.NoError(f, err)
	put := make(map[int64][]byte) // records by physical offset
	for i := range 80 {
		var r PutResult
		require.NoError(f, s.PutWait(innerBatch(0, "batch", 1+i%4), &r))
		put[r.PhysOffset], err = s.MessageAt(r.PhysOffset)
		require.NoError(f, err)
		require.NoError(f, s.PutWait(testMessage("T", 0, "another topic"), &r))
	}
	waitDispatched(f, s)
	require.NoError(f, s.Close())

	f.Add(uint16(0), []byte{}, uint16(0), []byte{}, true)
	f.Add(uint16(7), []byte{1}, uint16(53), []byte{0x77}, true)                  // physical offsets
	f.Add(uint16(28), []byte{0x7f}, uint16(2300-18), []byte{0x40}, true)         // queue offsets
	f.Add(uint16(46+36), []byte{0x7f, 0xff}, uint16(460+36), []byte{0, 0}, true) // numbers of messages
	f.Add(uint16(92), make([]byte, 46), uint16(500), make([]byte, 1800), true)   // lost sectors
	f.Add(uint16(460), make([]byte, 92), uint16(0), make([]byte, 46), false)
	f.Fuzz(func(t *testing.T, pos1 uint16, change1 []byte, pos2 uint16, change2 []byte, clean bool) {
		o := from
		o.Dir, o.CommitLogDir = t.TempDir(), ""
		require.NoError(t, os.CopyFS(o.Dir, os.DirFS(from.Dir)))
		path := filepath.Join(o.Dir, "batchconsumequeue/B/0", segmentName(0))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		copy(b[int(pos1)%len(b):], change1)
		copy(b[int(pos2)%len(b):], change2)
		require.NoError(t, os.WriteFile(path, b, 0o644))
		if !clean {
			require.NoError(t, os.WriteFile(abortPath(o.Dir), nil, 0o644))
		}
		s, err := Open(o)
		if err != nil {
			return // it may refuse, with a reason
		}
		served := 0
		var r GetResult
		for at := int64(0); at < s.MaxQueueOffset("B", 0); at = r.NextQueueOffset {
			require.NoError(t, s.Get(&GetRequest{Topic: "B", QueueOffset: at, MaxMsgs: 32}, &r))
			require.Greater(t, r.NextQueueOffset, at)
			for _, part := range r.Parts {
				for len(part) > 0 {
					var m codec.Message
					n, err := codec.DecodeMessage(part, &m)
					require.NoError(t, err)
					require.Equal(t, put[m.PhysOffset], part[:n])
					served, part = served+1, part[n:]
				}
			}
			r.Release()
		}
		if !clean {
			require.Equal(t, len(put), served)
		}
		requireWhole(t, s, !clean)
		require.NoError(t, s.Close())
	})
}

// What is served of a damaged queue is right, and the log says which file and place is not.
func TestDamagedBatchEntryIsNamed(t *testing.T) {
	t.Parallel()
	o := batchOptions(t)
	s := openTestStore(t, o)
	for i := range 30 {
		var r PutResult
		require.NoError(t, s.PutWait(innerBatch(0, fmt.Sprint("batch", i), 3), &r))
	}
	waitDispatched(t, s)
	require.NoError(t, s.Close())
	path := filepath.Join(o.Dir, "batchconsumequeue/B/0", segmentName(460))
	changeFile(t, path, 2*batchEntryBytes+7, func(b []byte) { b[0] ^= 1 }) // the physical offset of the 13th entry
	var text bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&text, nil))
	s = openTestStore(t, o)
	list := readQueue(t, s, "B", 0, 0)
	require.Len(t, list, 29)
	for i, m := range list {
		if i >= 12 {
			i++
		}
		require.EqualValues(t, 3*i, m.QueueOffset)
	}
	require.NoError(t, s.Close())
	require.Contains(t, text.String(), "batch consume queue is damaged")
	require.Contains(t, text.String(), path)
	require.Contains(t, text.String(), "pos=92")
}

// A record that contradicts itself about its messages gets no entry, one that promises more than it has gets those it has.
func TestInnerBatchThatLies(t *testing.T) {
	t.Parallel()
	body := innerBatch(0, "x", 3).Body
	props := func(num, base string) []byte {
		return codec.AppendProperty(codec.AppendProperty(nil, codec.PropInnerNum, num), codec.PropInnerBase, base)
	}
	for _, c := range []struct {
		name  string
		props []byte
		count int32 // 0 for an error
	}{
		{"true", props("3", "7"), 3},
		{"more", props("5", "7"), 3},
		{"fewer", props("2", "7"), 2},
		{"none", props("0", "7"), 0},
		{"too many", props("32768", "7"), 0},
		{"no number", props("x", "7"), 0},
		{"another offset", props("3", "8"), 0},
		{"no offset", props("3", "x"), 0},
		{"without a base", codec.AppendProperty(nil, codec.PropInnerNum, "3"), 1},
		{"without either", nil, 1},
	} {
		m := codec.Message{SysFlag: codec.SysInnerBatch, QueueOffset: 7, Body: body, Properties: c.props}
		n, err := innerCount(&m)
		require.Equal(t, c.count == 0, err != nil, c.name)
		require.Equal(t, c.count, n, c.name)
	}
	s := openTestStore(t, batchOptions(t))
	var r PutResult
	for name, change := range map[string]func(m *Message){
		"number":     func(m *Message) { m.Properties = codec.AppendProperty(nil, codec.PropInnerNum, "4") },
		"body":       func(m *Message) { m.Body = m.Body[:len(m.Body)-1] },
		"empty":      func(m *Message) { m.Body = nil },
		"compressed": func(m *Message) { m.SysFlag |= codec.SysCompressed },
		"prepared":   func(m *Message) { m.SysFlag |= codec.SysPrepared },
		"topic":      func(m *Message) { m.Topic = "T" },
	} {
		m := innerBatch(0, "x", 3)
		change(m)
		require.ErrorIs(t, s.PutWait(m, &r), ErrIllegal, name)
	}
	m := innerBatch(0, "x", 3)
	m.Properties = props("3", "1000") // the base is the store's to say
	require.NoError(t, s.PutWait(m, &r))
	raw, err := s.MessageAt(r.PhysOffset)
	require.NoError(t, err)
	var stored codec.Message
	_, err = codec.DecodeMessage(raw, &stored)
	require.NoError(t, err)
	require.Equal(t, string(props("3", "0")), string(stored.Properties))
}
