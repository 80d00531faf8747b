package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// testOptions are small files in a new directory.
func testOptions(t testing.TB) Options {
	o := DefaultOptions(t.TempDir())
	o.SegmentBytes = 1 << 20
	o.QueueSegmentEntries = 3000
	o.IndexSlots, o.IndexEntries = 500, 2000
	o.FlushInterval, o.QueueFlushInterval = 20*time.Millisecond, 20*time.Millisecond
	if os.Getenv("STORE_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return o
}

func openTestStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// testMessage is a message whose text can be recognised.
func testMessage(topic string, queueID int32, text string) *Message {
	props := codec.AppendProperty(nil, codec.PropUniqKey, "U"+text)
	props = codec.AppendProperty(props, codec.PropTags, "TagA")
	return &Message{
		Topic:           topic,
		QueueID:         queueID,
		BornTimestampMs: 1_700_000_000_000,
		BornHost:        netip.MustParseAddrPort("10.0.0.1:5000"),
		Body:            []byte(text),
		Properties:      props,
		TagsCode:        codec.TagsCode([]byte("TagA")),
	}
}

// eachArrival is an Options.OnArrival that calls fn for each queue of a batch.
func eachArrival(fn func(Arrival)) func([]Arrival) {
	return func(batch []Arrival) {
		for _, a := range batch {
			fn(a)
		}
	}
}

// waitDispatched waits until all that is written is visible.
func waitDispatched(t testing.TB, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Dispatched() == s.Written() }, time.Minute, 100*time.Microsecond)
}

// readQueue returns all messages of a queue from an offset on.
func readQueue(t testing.TB, s *Store, topic string, queueID int32, from int64) []codec.Message {
	t.Helper()
	var list []codec.Message
	var r GetResult
	for at := from; ; {
		require.NoError(t, s.Get(&GetRequest{Topic: topic, QueueID: queueID, QueueOffset: at, MaxMsgs: 32}, &r))
		if r.Status == Found {
			for _, part := range r.Parts {
				part = bytes.Clone(part)
				for len(part) > 0 {
					var m codec.Message
					n, err := codec.DecodeMessage(part, &m)
					require.NoError(t, err)
					require.NoError(t, m.CheckBody())
					list = append(list, m)
					part = part[n:]
				}
			}
		}
		r.Release()
		if r.NextQueueOffset >= r.MaxQueueOffset {
			return list
		}
		at = r.NextQueueOffset
	}
}

func TestPutGet(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s := openTestStore(t, o)
	const n = 10000
	var r PutResult
	for i := range n {
		require.NoError(t, s.PutWait(testMessage("T", int32(i%3), fmt.Sprint(i)), &r))
		require.EqualValues(t, i/3, r.QueueOffset)
	}
	waitDispatched(t, s)
	for q := range int32(3) {
		list := readQueue(t, s, "T", q, 0)
		require.Len(t, list, (n+2-int(q))/3)
		for i, m := range list {
			require.Equal(t, fmt.Sprint(i*3+int(q)), string(m.Body))
			require.EqualValues(t, i, m.QueueOffset)
		}
	}
	require.NoError(t, s.Close())
	require.NoFileExists(t, abortPath(o.Dir))
	s = openTestStore(t, o)
	require.Len(t, readQueue(t, s, "T", 1, 0), (n+1)/3)
}

func mustAddr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// diskBytes is what a file takes of the disk.
func diskBytes(t testing.TB, path string) int64 {
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(path, &st))
	return st.Blocks * 512
}
