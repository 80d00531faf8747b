package store

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func mustCompileSQL(t testing.TB, expression string) *SQLFilter {
	t.Helper()
	f, err := CompileSQL(expression)
	require.NoError(t, err)
	return f
}

// putNumbered puts n messages with the property i, from 0 to n-1.
func putNumbered(t testing.TB, s *Store, topic string, n, bodyBytes int) {
	t.Helper()
	var r PutResult
	for i := range n {
		m := testMessage(topic, 0, fmt.Sprintf("%0*d", bodyBytes, i))
		m.Properties = codec.AppendProperty(codec.AppendProperty(nil, "i", fmt.Sprint(i)), codec.PropTags, "A")
		m.TagsCode = codec.TagsCode([]byte("A"))
		require.NoError(t, s.PutWait(m, &r))
	}
	waitDispatched(t, s)
}

func TestGetBySQL(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	const n = 2000
	putNumbered(t, s, "T", n, 50)
	for _, c := range []struct {
		name, sql string
		q         GetRequest
		status    GetStatus
		next      int64
		bodies    []int
	}{
		{"all match", "i >= 0", GetRequest{MaxMsgs: 3}, Found, 3, []int{0, 1, 2}},
		{"some match", "i IN ('5','7','9')", GetRequest{MaxMsgs: 32}, Found, 800, []int{5, 7, 9}},
		{"as many as asked", "i IN ('5','7','9')", GetRequest{MaxMsgs: 2}, Found, 8, []int{5, 7}},
		{"none asked", "i > 10", GetRequest{}, Found, 12, []int{11}},
		{"nothing matches", "none = 1", GetRequest{QueueOffset: 10, MaxMsgs: 32}, NoMatchedMessage, 810, nil},
		{"errors match nothing", "TAGS > 1", GetRequest{QueueOffset: 10, MaxMsgs: 32}, NoMatchedMessage, 810, nil},
		{"scan as far as asked", "none = 1", GetRequest{MaxMsgs: 900}, NoMatchedMessage, 900, nil},
		{"the end while filtering", "i = 1998", GetRequest{QueueOffset: n - 3, MaxMsgs: 32}, Found, n, []int{1998}},
		{"the end", "i >= 0", GetRequest{QueueOffset: n, MaxMsgs: 32}, OffsetOverflowOne, n, nil},
		{"tag and properties", "i < 3", GetRequest{MaxMsgs: 32, Filter: NewTagFilter([]int32{1})}, NoMatchedMessage, 800, nil},
	} {
		for _, hot := range []bool{false, true} {
			c.q.Topic, c.q.SQL, c.q.HotOnly = "T", mustCompileSQL(t, c.sql), hot
			var r GetResult
			require.NoError(t, s.Get(&c.q, &r), c.name)
			require.Equal(t, c.status.String(), r.Status.String(), c.name)
			require.Equal(t, c.next, r.NextQueueOffset, c.name)
			require.Equal(t, len(c.bodies), r.Count, c.name)
			var bodies []int
			for _, part := range r.Parts {
				for len(part) > 0 {
					var m codec.Message
					size, err := codec.DecodeMessage(part, &m)
					require.NoError(t, err)
					i, err := strconv.Atoi(string(m.Body))
					require.NoError(t, err)
					bodies, part = append(bodies, i), part[size:]
				}
			}
			require.Equal(t, c.bodies, bodies, c.name)
			r.Release()
		}
	}
}

// TestGetBySQLLeavesColdDataAlone: a filter must not read what is not hot while an event loop waits.
func TestGetBySQLLeavesColdDataAlone(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 20
	o.HotBytes = 1 << 20
	s := openTestStore(t, o)
	putNumbered(t, s, "T", 400, 10000)
	mapQueue(t, s, "T")
	var r GetResult
	q := GetRequest{Topic: "T", MaxMsgs: 32, SQL: mustCompileSQL(t, "none = 1"), HotOnly: true}
	require.ErrorIs(t, s.Get(&q, &r), ErrCold)
	q.QueueOffset = 350
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, int64(400), r.NextQueueOffset)
	r.Release()
	q.QueueOffset, q.HotOnly = 0, false
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, NoMatchedMessage.String(), r.Status.String())
	require.Equal(t, int64(400), r.NextQueueOffset)
	r.Release()
}

// TestGetBySlowSQLIsNotForEventLoops: an expression that takes long ends the walk; what was found by then is the answer.
func TestGetBySlowSQLIsNotForEventLoops(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	putNumbered(t, s, "T", 500, 50)
	mapQueue(t, s, "T")
	slow := strings.Repeat("none = 1 OR ", 1000)
	var r GetResult
	q := GetRequest{Topic: "T", MaxMsgs: 32, SQL: mustCompileSQL(t, slow+"i = 499"), HotOnly: true}
	require.ErrorIs(t, s.Get(&q, &r), ErrCold)
	q.SQL = mustCompileSQL(t, slow+"i IN ('1', '499')")
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, Found.String(), r.Status.String())
	require.Equal(t, 1, r.Count)
	require.Less(t, r.NextQueueOffset, int64(100))
	r.Release()
	q.HotOnly = false
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, 2, r.Count)
	require.Equal(t, int64(500), r.NextQueueOffset)
	r.Release()
}

func BenchmarkGetBySQL(b *testing.B) {
	s := openTestStore(b, benchOptions(b))
	m := benchMessage(1024)
	var p PutResult
	for i := range 100_000 {
		m.Properties = codec.AppendProperty(sqlBenchProps(), "a", fmt.Sprint(i%10))
		require.NoError(b, s.PutWait(m, &p))
	}
	waitDispatched(b, s)
	var r GetResult
	q := GetRequest{Topic: m.Topic, QueueID: m.QueueID, MaxMsgs: 32, HotOnly: true, SQL: mustCompileSQL(b, "a = 3")}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		require.NoError(b, s.Get(&q, &r))
		i += int(r.NextQueueOffset - q.QueueOffset)
		r.Release()
		if q.QueueOffset = r.NextQueueOffset; q.QueueOffset >= r.MaxQueueOffset {
			q.QueueOffset = 0
		}
	}
}
