package processor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// While the key index is made again from the log a query is told to come again, and not that there is nothing.
func TestQueryWhileTheIndexIsBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newRigIn(t, dir)
	b.topicOf("T", 1)
	m := store.Message{Topic: "T", BornHost: testHost, Body: []byte("x"), Properties: []byte(propText(codec.PropKeys, "k"))}
	require.NoError(t, b.store.PutWait(&m, new(store.PutResult)))
	b.close()
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "index")))

	var broken atomic.Bool
	broken.Store(true)
	b = newRigIn(t, dir, func(s *setup) {
		s.store.IndexWait = time.Millisecond
		s.store.Faults = func(op store.FileOp, path string) error {
			if broken.Load() && op == store.OpCreate && strings.Contains(path, "index") {
				return errors.New("not yet")
			}
			return nil
		}
	})
	query := func() *answer {
		return b.request(codec.QueryMessage, fields{"topic": "T", "key": "k", "maxNum": "64", "beginTimestamp": "0", "endTimestamp": "9999999999999"}, "")
	}
	got := query()
	require.Equal(t, codec.SystemBusy, got.Code)
	require.Contains(t, got.Remark, "the key index is still being built")
	require.Empty(t, got.Body)
	broken.Store(false)
	require.Eventually(t, func() bool {
		b.clock.move(time.Minute) // the index rests a while after an error
		got = query()
		return got.Code == codec.Success
	}, time.Minute, 10*time.Millisecond)
	var found codec.Message
	_, err := codec.DecodeMessage(got.Body, &found)
	require.NoError(t, err)
	require.Equal(t, "x", string(found.Body))
}
