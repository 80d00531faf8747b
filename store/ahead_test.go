package store

import (
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What was expected of a message's queue may be wrong by the time it is put.
func TestPutThatExpectedAnotherQueue(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	expected := func(topic string, queueID int32) Expected {
		e := s.Expect(NameOf(topic), queueID)
		s.Fetch(&e)
		return e
	}
	put := func(e Expected, topic string, queueID int32) int64 {
		m := testMessage(topic, queueID, topic)
		m.Expected = e
		var r PutResult
		require.NoError(t, s.PutWait(m, &r))
		return r.QueueOffset
	}
	require.Zero(t, put(expected("T", 0), "T", 0), "there was none")
	require.EqualValues(t, 1, put(expected("T", 0), "T", 0))
	require.Zero(t, put(expected("T", 0), "T", 1))
	require.Zero(t, put(expected("T", 0), "U", 0))

	old := expected("T", 0)
	require.NoError(t, s.DeleteTopic("T"))
	require.Zero(t, put(old, "T", 0), "it was deleted")
	require.EqualValues(t, 1, put(old, "T", 0), "and there is a new one")
}

// The dispatched watermark stays before the first record whose keys the index did not take; none of them is lost.
func TestIndexThatTakesNoKeysForAWhile(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	var refuse atomic.Bool
	o.Faults = func(op FileOp, path string) error {
		if refuse.Load() && op == OpCreate && filepath.Base(filepath.Dir(path)) == "index" {
			return syscall.ENOSPC
		}
		return nil
	}
	s := openTestStore(t, o)
	const perFile = 1000 // two keys a message, 2,000 entries a file
	var results []PutResult
	put := func() error {
		var r PutResult
		err := s.PutWait(testMessage("T", int32(len(results)%3), fmt.Sprint(len(results))), &r)
		if err == nil {
			results = append(results, r)
		}
		return err
	}
	for range perFile - 100 {
		require.NoError(t, put())
	}
	require.Eventually(t, func() bool { return s.Dispatched() == s.Written() }, time.Minute, time.Millisecond)
	refuse.Store(true)
	var err error
	for err == nil && len(results) < 100*perFile {
		err = put()
	}
	require.ErrorIs(t, err, ErrNoSpace)
	first := s.Dispatched()
	require.Equal(t, results[perFile-1].PhysOffset, first, "the first whose keys the file has no room for") // entry 0 is not used

	refuse.Store(false)
	require.Eventually(t, func() bool { return s.Dispatched() == s.Written() }, time.Minute, time.Millisecond)
	require.NoError(t, put())
	require.Eventually(t, func() bool { return s.Dispatched() == s.Written() }, time.Minute, time.Millisecond)
	for i, r := range results {
		got, _, _, err := s.QueryIndex("T", "U"+fmt.Sprint(i), maxQueryResults, 0, math.MaxInt64)
		require.NoError(t, err)
		require.Contains(t, got, r.PhysOffset)
	}
	for id := range int32(3) {
		require.Len(t, readQueue(t, s, "T", id, 0), (len(results)+2-int(id))/3)
	}
}
