package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// A power cut takes the index of a log that is too long to be indexed before the store opens. Until it is there again a query by key
// waits for IndexWait and is then refused, rather than answered with what is missing.
func TestQueryWaitsForIndexAfterPowerCut(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 32 << 20
	s := openTestStore(t, o)
	body := bytes.Repeat([]byte("x"), 1<<20)
	for i := range catchUpSync/len(body) + 1 {
		m := testMessage("T", 0, fmt.Sprint(i))
		m.Body = body
		m.Properties = codec.AppendProperty(nil, codec.PropUniqKey, fmt.Sprint("key", i))
		require.NoError(t, s.PutWait(m, new(PutResult)))
	}
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(o.Dir, "index")))
	require.NoError(t, writeAbort(o.Dir))
	require.NoError(t, writeOpened(o.Dir, 0)) // by another run of the kernel

	goOn := make(chan struct{})
	o.IndexWait = 10 * time.Millisecond
	o.Faults = func(op FileOp, path string) error {
		if op == OpCreate && strings.Contains(path, "index") {
			<-goOn
		}
		return nil
	}
	s = openTestStore(t, o)
	require.EqualValues(t, catchUpSync/len(body)+1, s.MaxQueueOffset("T", 0), "messages are there without an index")
	_, _, _, err := s.QueryIndex("T", "key3", 32, 0, 1<<62)
	require.ErrorIs(t, err, ErrIndexBehind)

	s.opts.IndexWait = time.Hour
	found := make(chan []int64)
	go func() {
		offsets, _, _, _ := s.QueryIndex("T", "key3", 32, 0, 1<<62)
		found <- offsets
	}()
	close(goOn)
	require.Len(t, <-found, 1, "who waits is answered as soon as the index is there")
}

// A query that waits for the index does not hold up the end of the store.
func TestQueryThatWaitsForIndexEndsWithTheStore(t *testing.T) {
	t.Parallel()
	x := newIndexer(nil)
	x.index = &Index{}
	stop := make(chan struct{})
	close(stop)
	require.ErrorIs(t, x.await(1, time.Hour, stop), ErrClosed)
	require.ErrorIs(t, x.await(1, 0, nil), ErrIndexBehind)
}
