package store

import (
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// dropAll takes a segment's pages, which are on disk, out of memory.
func dropAll(t *testing.T, seg *segment) {
	t.Helper()
	f, err := os.Open(seg.path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Sync())
	dropPages(f, seg.data, 0)
	if presentBytes(seg.data) > 0 {
		t.Skipf("the file system of %s keeps pages in memory", seg.path)
	}
}

// coldStore returns a store that was closed and opened again, with n messages in one queue, and the mapping of its file.
func coldStore(t *testing.T, n int) (*Store, *segment) {
	t.Helper()
	o := testOptions(t)
	s := openTestStore(t, o)
	putNumbered(t, s, "T", n, 50)
	require.NoError(t, s.Close())
	s = openTestStore(t, o)
	var r GetResult
	require.NoError(t, s.Get(&GetRequest{Topic: "T", MaxMsgs: 1}, &r)) // has the file mapped
	r.Release()
	return s, s.queues.find("T", 0).files[0].m
}

// TestColdEntriesAreHandedOver: whoever wants messages that are in memory only does not wait for the disk to see that they are not.
func TestColdEntriesAreHandedOver(t *testing.T) {
	t.Parallel()
	s, entries := coldStore(t, 3*nearEntries)
	dropAll(t, entries)
	var r GetResult
	q := GetRequest{Topic: "T", QueueOffset: nearEntries, MaxMsgs: 32, HotOnly: true}
	require.ErrorIs(t, s.Get(&q, &r), ErrCold)
	require.Zero(t, presentBytes(entries.data[nearEntries*entryBytes&^4095:]))
	q.HotOnly = false
	require.NoError(t, s.Get(&q, &r))
	require.Equal(t, Found, r.Status)
	r.Release()
	require.NotZero(t, presentBytes(entries.data[nearEntries*entryBytes&^4095:]))
}

func TestColdPagesAreAwaited(t *testing.T) {
	t.Parallel()
	s, _ := coldStore(t, 100)
	seg := s.log.all()[0]
	await := func(c *coldPages) (upTo int64) {
		return c.await(seg, 5000, 100, coldReadBytes, slog.New(slog.DiscardHandler))
	}
	t.Run("of none", func(t *testing.T) { require.Zero(t, presentBytes(seg.data[:0])) })
	t.Run("with rings", func(t *testing.T) {
		testRing(t)
		dropAll(t, seg)
		require.EqualValues(t, 8192, await(&s.coldPages))
		require.NotZero(t, presentBytes(seg.data[4096:8192]))
		require.Less(t, int64(4096), await(&s.coldPages))
	})
	t.Run("without", func(t *testing.T) {
		var none coldPages
		none.close()
		dropAll(t, seg)
		require.EqualValues(t, 8192, await(&none))
		require.NotZero(t, presentBytes(seg.data[4096:8192]))
	})
	t.Run("as they are closed", func(t *testing.T) {
		var c coldPages
		var readers sync.WaitGroup
		for range 4 * coldRings {
			readers.Go(func() {
				for range 20 {
					await(&c)
				}
			})
		}
		await(&c)
		c.close()
		readers.Wait()
		await(&c)
	})
}
