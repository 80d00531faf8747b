package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// putMany puts n messages of bodyBytes into one queue, with the tags A and B in turn.
func putMany(t testing.TB, s *Store, topic string, queueID int32, n, bodyBytes int) []PutResult {
	t.Helper()
	list := make([]PutResult, n)
	for i := range n {
		m := testMessage(topic, queueID, fmt.Sprintf("%0*d", bodyBytes, i))
		tag := string(rune('A' + i%2))
		m.Properties = codec.AppendProperty(nil, codec.PropTags, tag)
		m.TagsCode = codec.TagsCode([]byte(tag))
		require.NoError(t, s.PutWait(m, &list[i]))
	}
	waitDispatched(t, s)
	return list
}

// awaitDeletable waits until the first n segments, or all but the last, may be deleted.
func awaitDeletable(t testing.TB, s *Store, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.flusher.pokeAll()
		list := s.log.all()
		for i := range min(n, len(list)-1) {
			if !s.deletable(list, i) {
				return false
			}
		}
		return s.Flushed() == s.Written()
	}, 10*time.Second, time.Millisecond)
}

// mustDeleteHead removes the first n segments.
func mustDeleteHead(t testing.TB, s *Store, n int) {
	t.Helper()
	awaitDeletable(t, s, n)
	got, err := s.deleteHead(n)
	require.NoError(t, err)
	require.Equal(t, n, got)
}

func TestGetStatus(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	const n = 2000
	putMany(t, s, "T", 0, n, 100)
	putMany(t, s, "Empty", 1, 0, 0)
	mustDeleteHead(t, s, 3)
	minOffset := s.MinQueueOffset("T", 0)
	require.Greater(t, minOffset, int64(100))
	none := NewTagFilter([]int32{int32(codec.TagsCode([]byte("C")))})
	tagB := NewTagFilter([]int32{int32(codec.TagsCode([]byte("B"))), 1})

	for _, c := range []struct {
		name   string
		q      GetRequest
		status GetStatus
		next   int64
		count  int
	}{
		{"unknown topic", GetRequest{Topic: "No", QueueOffset: 5, MaxMsgs: 32}, NoMessageInQueue, 0, 0},
		{"unknown queue", GetRequest{Topic: "T", QueueID: 9, QueueOffset: 5, MaxMsgs: 32}, NoMessageInQueue, 0, 0},
		{"negative", GetRequest{Topic: "T", QueueOffset: -1, MaxMsgs: 32}, OffsetTooSmall, minOffset, 0},
		{"before the first", GetRequest{Topic: "T", QueueOffset: minOffset - 1, MaxMsgs: 32}, OffsetTooSmall, minOffset, 0},
		{"the first", GetRequest{Topic: "T", QueueOffset: minOffset, MaxMsgs: 1}, Found, minOffset + 1, 1},
		{"the end", GetRequest{Topic: "T", QueueOffset: n, MaxMsgs: 32}, OffsetOverflowOne, n, 0},
		{"behind the end", GetRequest{Topic: "T", QueueOffset: n + 1, MaxMsgs: 32}, OffsetOverflowBadly, n, 0},
		{"the last", GetRequest{Topic: "T", QueueOffset: n - 1, MaxMsgs: 32}, Found, n, 1},
		{"as many as may be", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 100}, Found, 1032, 32},
		{"as many as asked", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 3}, Found, 1003, 3},
		{"none asked", GetRequest{Topic: "T", QueueOffset: 1000}, Found, 1001, 1},
		{"few bytes asked", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 32, MaxBytes: 1}, Found, 1001, 1},
		{"bytes asked", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 32, MaxBytes: 500}, Found, 1002, 2},
		{"nothing matches", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 32, Filter: none}, NoMatchedMessage, 1800, 0},
		{"scan as far as asked", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 900, Filter: none}, NoMatchedMessage, 1900, 0},
		{"half matches", GetRequest{Topic: "T", QueueOffset: 1000, MaxMsgs: 32, Filter: tagB}, Found, 1064, 32},
		{"end reached while filtering", GetRequest{Topic: "T", QueueOffset: n - 3, MaxMsgs: 32, Filter: tagB}, Found, n, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r GetResult
			require.NoError(t, s.Get(&c.q, &r))
			defer r.Release()
			require.Equal(t, c.status.String(), r.Status.String())
			require.Equal(t, c.next, r.NextQueueOffset)
			require.Equal(t, c.count, r.Count)
			total := 0
			for _, p := range r.Parts {
				total += len(p)
			}
			require.Equal(t, total, r.Bytes)
			if c.q.Topic == "T" && c.q.QueueID == 0 {
				require.Equal(t, minOffset, r.MinQueueOffset)
				require.EqualValues(t, n, r.MaxQueueOffset)
			}
		})
	}
}

// Messages that follow each other in the log are one part.
func TestGetMergesNeighbours(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	list := putMany(t, s, "T", 0, 10, 50)
	putMany(t, s, "Other", 0, 1, 50)
	putMany(t, s, "T", 0, 10, 50)
	var r GetResult
	require.NoError(t, s.Get(&GetRequest{Topic: "T", MaxMsgs: 32}, &r))
	defer r.Release()
	require.Equal(t, 20, r.Count)
	require.Len(t, r.Parts, 2)
	require.EqualValues(t, list[9].EndOffset-list[0].PhysOffset, len(r.Parts[0]))
}

func TestGetLimitsOfHotAndCold(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 20
	o.HotBytes = 1 << 20
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 400, 10000)
	var r GetResult
	for _, c := range []struct {
		offset  int64
		maxMsgs int
		count   int
		cold    bool
	}{
		{0, 32, 6, true},          // 64 KiB
		{399 - 60, 32, 25, false}, // 256 KiB
		{0, 2, 2, true},
	} {
		require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: c.offset, MaxMsgs: c.maxMsgs}, &r))
		require.Equal(t, c.count, r.Count)
		require.Equal(t, c.cold, r.Cold)
		r.Release()
	}
	require.True(t, s.InMemory(s.Written()-1))
	require.False(t, s.InMemory(s.Written()))
	require.False(t, s.InMemory(0))
	require.ErrorIs(t, s.Get(&GetRequest{Topic: "T", MaxMsgs: 32, HotOnly: true}, &r), ErrCold)
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: 390, MaxMsgs: 32, HotOnly: true}, &r))
	require.Equal(t, 10, r.Count)
	r.Release()

	// A message as large as allowed is returned whole, hot or cold.
	big := testMessage("Big", 0, "")
	big.Body = make([]byte, o.MaxMessageBytes)
	var p PutResult
	require.NoError(t, s.PutWait(big, &p))
	waitDispatched(t, s)
	require.NoError(t, s.Get(&GetRequest{Topic: "Big", MaxMsgs: 32, MaxBytes: 100}, &r))
	require.Equal(t, 1, r.Count)
	require.Greater(t, r.Bytes, o.MaxMessageBytes)
	r.Release()
	big.Body = append(big.Body, 'x')
	require.ErrorIs(t, s.PutWait(big, &p), ErrMessageTooLarge)
}

// A hot-only read does not open queue files either.
func TestGetHotOnlyAfterStart(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MaxMappedQueues = 16
	s := openTestStore(t, o)
	for q := range int32(40) {
		putMany(t, s, "T", q, 3, 50)
	}
	require.NoError(t, s.Close())
	s = openTestStore(t, o)
	require.LessOrEqual(t, len(s.queues.cache.files), 17)
	cold := 0
	var r GetResult
	for q := range int32(40) {
		hot := GetRequest{Topic: "T", QueueID: q, MaxMsgs: 32, HotOnly: true}
		if err := s.Get(&hot, &r); err != nil {
			require.ErrorIs(t, err, ErrCold)
			cold++
		}
		r.Release()
		require.Len(t, readQueue(t, s, "T", q, 0), 3)
	}
	require.Equal(t, 40, cold) // what the process has not touched may be on disk only
	putMany(t, s, "T", 39, 1, 50)
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueID: 39, QueueOffset: 3, MaxMsgs: 32, HotOnly: true}, &r))
	require.Equal(t, 1, r.Count)
	r.Release()
}

// A read ends with its queue file, and a lost file is passed over.
func TestGetAcrossQueueFiles(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueSegmentEntries = 100
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 350, 50)
	var r GetResult
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: 90, MaxMsgs: 32}, &r))
	require.Equal(t, 10, r.Count)
	require.EqualValues(t, 100, r.NextQueueOffset)
	r.Release()
	require.Len(t, readQueue(t, s, "T", 0, 0), 350)

	q := s.queues.find("T", 0)
	q.mu.Lock()
	q.dropLocked(q.files[1])
	q.files = append(q.files[:1:1], q.files[2:]...)
	q.mu.Unlock()
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: 150, MaxMsgs: 32}, &r))
	require.Equal(t, OffsetFoundNull, r.Status)
	require.EqualValues(t, 200, r.NextQueueOffset)
	r.Release()
}

// Records whose segment is gone are passed over up to the next segment.
func TestGetWhileRemoving(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	list := putMany(t, s, "T", 0, 500, 100)
	q := s.queues.find("T", 0)
	seg := s.log.all()[1]
	first := int64(0)
	for list[first].PhysOffset < seg.base {
		first++
	}
	var r GetResult
	mustDeleteHead(t, s, 2)
	q.minFor.Store(seg.end()) // as if the deletion came between the check of the range and the walk
	q.min.Store(0)
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: 3, MaxMsgs: 2}, &r))
	require.Equal(t, Found, r.Status)
	require.Equal(t, 2, r.Count)
	require.Greater(t, r.NextQueueOffset, first)
	r.Release()
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: 3, MaxMsgs: 2, Filter: NewTagFilter(nil)}, &r))
	require.Equal(t, NoMatchedMessage, r.Status)
	r.Release()
}

// A result keeps what it read, whatever happens to the file.
func TestGetResultOutlivesItsSegment(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 500, 100)
	var r GetResult
	require.NoError(t, s.Get(&GetRequest{Topic: "T", MaxMsgs: 32}, &r))
	seg := r.held[0]
	mustDeleteHead(t, s, 2)
	require.NoFileExists(t, seg.path)
	require.NoError(t, s.Close())
	var m codec.Message
	_, err := codec.DecodeMessage(r.Parts[0], &m)
	require.NoError(t, err)
	require.NoError(t, m.CheckBody())
	require.EqualValues(t, 1, seg.refs.Load())
	r.Release()
	require.EqualValues(t, 0, seg.refs.Load())
	r.Release()
	require.ErrorIs(t, s.Get(&GetRequest{Topic: "T", MaxMsgs: 32}, &r), ErrClosed)
	_, err = s.MessageAt(0)
	require.ErrorIs(t, err, ErrClosed)
}

func TestMessageAt(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	list := putMany(t, s, "T", 0, 10, 100)
	b, err := s.MessageAt(list[3].PhysOffset)
	require.NoError(t, err)
	require.EqualValues(t, list[3].EndOffset-list[3].PhysOffset, len(b))
	for _, phys := range []int64{-1, list[3].PhysOffset + 1, list[3].PhysOffset - 1, list[9].EndOffset, list[9].EndOffset - 1, 1 << 60} {
		_, err := s.MessageAt(phys)
		require.ErrorIs(t, err, ErrNotFound)
	}
}

func TestOffsetsByTime(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.open()
	defer func() { require.NoError(t, h.s.Close()) }()
	h.clock.Store(1000)
	for range 5 {
		for range 3 {
			putMany(t, h.s, "T", 0, 1, 10)
		}
		h.clock.Add(10)
	}
	for _, c := range []struct{ ms, lower, upper int64 }{
		{0, 0, 0}, {999, 0, 0}, {1000, 0, 2}, {1001, 3, 2}, {1010, 3, 5}, {1039, 12, 11}, {1040, 12, 14}, {1041, 15, 14}, {1 << 60, 15, 14},
	} {
		require.Equal(t, c.lower, h.s.QueueOffsetByTime("T", 0, c.ms), "lower %d", c.ms)
		require.Equal(t, c.upper, h.s.QueueOffsetByTimeUpper("T", 0, c.ms), "upper %d", c.ms)
	}
	require.EqualValues(t, 0, h.s.QueueOffsetByTime("No", 0, 1000))
	require.EqualValues(t, 1000, h.s.EarliestStoreTime("T", 0))
	require.EqualValues(t, -1, h.s.EarliestStoreTime("No", 0))
	require.EqualValues(t, 1020, h.s.StoreTimeAt("T", 0, 8))
	require.EqualValues(t, -1, h.s.StoreTimeAt("T", 0, 15))
	require.EqualValues(t, -1, h.s.StoreTimeAt("T", 0, -1))

	// The clock goes back: store times do not.
	h.clock.Store(500)
	list := putMany(t, h.s, "T", 0, 1, 10)
	require.EqualValues(t, 1040, list[0].StoreTimestampMs)
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s := openTestStore(t, o)
	long := strings.Repeat("t", 128)
	for _, c := range []struct {
		name   string
		change func(m *Message)
		want   error
	}{
		{"no topic", func(m *Message) { m.Topic = "" }, ErrIllegal},
		{"topic is a path", func(m *Message) { m.Topic = "../x" }, ErrIllegal},
		{"topic is a directory", func(m *Message) { m.Topic = ".." }, ErrIllegal},
		{"long topic", func(m *Message) { m.Topic = long }, ErrIllegal},
		{"long retry topic", func(m *Message) { m.Topic = "%RETRY%" + long }, nil},
		{"too long retry topic", func(m *Message) { m.Topic = "%RETRY%" + long + long }, ErrIllegal},
		{"negative queue", func(m *Message) { m.QueueID = -1 }, ErrIllegal},
		{"inner batch", func(m *Message) { m.SysFlag = codec.SysInnerBatch }, ErrIllegal},
		{"long properties", func(m *Message) { m.Properties = make([]byte, 32768) }, ErrMessageTooLarge},
		{"properties as long as may be", func(m *Message) { m.Properties = []byte("a\x01" + strings.Repeat("p", 32765)) }, nil},
		{"long body", func(m *Message) { m.Body = make([]byte, o.MaxMessageBytes+1) }, ErrMessageTooLarge},
		{"larger than a segment", func(m *Message) { m.Body = make([]byte, o.SegmentBytes) }, ErrMessageTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testMessage("T", 0, "text")
			c.change(m)
			var r PutResult
			before := s.Written()
			err := s.PutWait(m, &r)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.want == nil, s.Written() > before)
		})
	}
	var r BatchPutResult
	before := s.Written()
	for _, body := range [][]byte{nil, {1, 2, 3}, append(codec.AppendBatchEntry(nil, 0, []byte("x"), nil), 0, 0, 0, 99)} {
		m := testMessage("T", 0, "")
		m.Body, m.Properties = body, nil
		require.ErrorIs(t, s.PutBatchWait(m, &r), ErrIllegal)
	}
	require.Equal(t, before, s.Written())
}

// A batch that does not fit into the rest of a segment goes whole into the next one.
func TestPutBatchStaysInOneSegment(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	m := testMessage("T", 2, "")
	m.Body, m.Properties = nil, nil
	for i := range 20 {
		m.Body = codec.AppendBatchEntry(m.Body, int32(i), fmt.Appendf(nil, "%0100d", i), codec.AppendProperty(nil, codec.PropTags, fmt.Sprint("tag", i)))
	}
	var r BatchPutResult
	for b := range 30 {
		require.NoError(t, s.PutBatchWait(m, &r))
		require.EqualValues(t, b*20, r.QueueOffset)
		require.Equal(t, 20, r.Count)
		require.Len(t, r.PhysOffsets, 20)
		require.Equal(t, r.PhysOffset, r.PhysOffsets[0])
		require.Equal(t, r.PhysOffset/o.SegmentBytes, (r.EndOffset-1)/o.SegmentBytes)
	}
	waitDispatched(t, s)
	list := readQueue(t, s, "T", 2, 0)
	require.Len(t, list, 600)
	for i, got := range list {
		require.EqualValues(t, i%20, got.Flag)
		require.Equal(t, fmt.Sprintf("%0100d", i%20), string(got.Body))
		_, _, tags, ok := s.QueueEntry("T", 2, int64(i))
		require.True(t, ok)
		require.Equal(t, codec.TagsCode(fmt.Appendf(nil, "tag%d", i%20)), tags)
	}
}

// The bytes in the log are those of the codec, for every kind of host and topic.
func TestPutWritesWhatTheCodecWould(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"10.1.2.3:10911", "[2001:db8::1]:10911", "[::ffff:10.1.2.3]:10911"} {
		for _, born := range []string{"10.0.0.1:5000", "[2001:db8::2]:5000", "[::ffff:10.0.0.1]:5000"} {
			for _, topic := range []string{"T", "%RETRY%" + strings.Repeat("t", 127), "%DLQ%" + strings.Repeat("t", 200)} {
				o := testOptions(t)
				o.StoreHost = mustAddr(store)
				s := openTestStore(t, o)
				m := testMessage(topic, 3, "a body")
				m.BornHost = mustAddr(born)
				m.Flag, m.SysFlag, m.ReconsumeTimes, m.PreparedTransactionOffset = -7, codec.SysMultiTags|codec.SysCommit, 5, 1<<40
				var r PutResult
				require.NoError(t, s.PutWait(m, &r))
				raw, err := s.MessageAt(r.PhysOffset)
				require.NoError(t, err)
				var got codec.Message
				n, err := codec.DecodeMessage(raw, &got)
				require.NoError(t, err)
				require.Equal(t, len(raw), n)
				require.Equal(t, codec.AppendMessage(nil, &got), raw)
				require.Equal(t, []any{topic, "a body", string(m.Properties), m.Flag, int32(5), int64(1 << 40), int32(3), r.StoreTimestampMs},
					[]any{string(got.Topic), string(got.Body), string(got.Properties), got.Flag, got.ReconsumeTimes, got.PreparedTransactionOffset, got.QueueID, got.StoreTimestampMs})
				require.Equal(t, mustAddr(store).Addr().Unmap(), got.StoreHost.Addr())
				require.Equal(t, mustAddr(born).Addr().Unmap(), got.BornHost.Addr())
				require.EqualValues(t, 5000, got.BornHost.Port())
				require.Equal(t, m.SysFlag, got.SysFlag&^(codec.SysBornHostV6|codec.SysStoreHostV6))
				require.NoError(t, s.Close())
			}
		}
	}
}

// An empty store takes little of the disk, whatever the size of its segments.
func TestEmptyStoreIsSmall(t *testing.T) {
	t.Parallel()
	o := DefaultOptions(t.TempDir())
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 1, 10)
	total := int64(0)
	require.NoError(t, filepath.WalkDir(o.Dir, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		total += diskBytes(t, path)
		return nil
	}))
	require.Less(t, total, int64(64<<20))
}
