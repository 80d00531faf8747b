package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mapQueue has the files of a topic's first queue mapped, as the first reader has.
func mapQueue(t testing.TB, s *Store, topic string) {
	t.Helper()
	var r GetResult
	require.NoError(t, s.Get(&GetRequest{Topic: topic, MaxMsgs: 1}, &r))
	r.Release()
}

// onDisk counts the entries in the first file of a queue.
func onDisk(t testing.TB, s *Store, topic string) (n int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.opts.Dir, "consumequeue", topic, "0", segmentName(0)))
	require.NoError(t, err)
	for ; simpleKind.decode(simpleKind{}, b[n*entryBytes:], int64(n)*entryBytes).written(); n++ {
	}
	return n
}

// Queues that nobody reads are written without a mapping, many entries at a time; whoever looks finds all of them.
func TestQueuesThatNobodyReads(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueFlushInterval = time.Hour
	s := openTestStore(t, o)
	s.queues.keptHot.Store(hotRuns) // all runs are short, however fast the test is
	const n = 3*keptRunBytes/entryBytes + 7
	puts := putMany(t, s, "T", 0, n, 10)
	require.Empty(t, s.queues.cache.files)
	require.EqualValues(t, 1, s.queues.kept.Load())
	was := onDisk(t, s, "T")
	require.Less(t, was, n)
	require.Greater(t, was, n-keptRunBytes/entryBytes-1)

	var r GetResult
	require.NoError(t, s.Get(&GetRequest{Topic: "T", QueueOffset: n - 1, MaxMsgs: 1}, &r))
	require.Equal(t, 1, r.Count)
	r.Release()
	require.Equal(t, n, onDisk(t, s, "T"))
	require.Zero(t, s.queues.kept.Load())
	q := s.queues.find("T", 0)
	for i := range int64(n) {
		e, ok := q.entry(i)
		require.True(t, ok)
		require.Equal(t, puts[i].PhysOffset, e.physOffset)
	}
	putMany(t, s, "T", 0, 1, 10)
	require.Equal(t, n+1, onDisk(t, s, "T"))
}

// A flush writes what queues have kept, a deleted topic takes it along, and the next start finds everything.
func TestKeptEntriesAreFlushed(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueFlushInterval = time.Hour
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 10, 10)
	putMany(t, s, "Gone", 0, 10, 10)
	require.EqualValues(t, 2, s.queues.kept.Load())
	s.flusher.queues(true)
	require.Equal(t, 10, onDisk(t, s, "T"))
	require.Zero(t, s.queues.kept.Load())

	putMany(t, s, "T", 0, 5, 10)
	putMany(t, s, "Gone", 0, 5, 10)
	require.NoError(t, s.DeleteTopic("Gone"))
	require.EqualValues(t, 1, s.queues.kept.Load())
	require.NoError(t, s.Close())
	require.Equal(t, 15, onDisk(t, s, "T"))
	s = openTestStore(t, o)
	require.EqualValues(t, 15, s.queues.find("T", 0).max.Load())
}

// Beyond a number of queues less is kept of each, and then nothing.
func TestKeptEntriesAreBounded(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	s.queues.kept.Store(keptRuns)
	const small = smallRunBytes / entryBytes
	putMany(t, s, "T", 0, small, 10) // the first one makes the file
	require.Equal(t, 1, onDisk(t, s, "T"))
	putMany(t, s, "T", 0, 1, 10)
	require.Equal(t, small+1, onDisk(t, s, "T"))
	s.queues.kept.Store(keptRuns + smallRuns)
	putMany(t, s, "T", 0, 1, 10)
	require.Equal(t, small+2, onDisk(t, s, "T"))
	require.EqualValues(t, keptRuns+smallRuns, s.queues.kept.Load())
	require.Empty(t, s.queues.cache.files)
}

// A queue that gets many entries at once is written a block of its file at a time, as long as that is so.
func TestHotQueueKeepsABlock(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueFlushInterval = time.Hour
	s := openTestStore(t, o)
	const short, block = keptRunBytes / entryBytes, 4096/entryBytes + 1
	q := s.queues.findOrCreate("T", 0)
	at := int64(0)
	put := func(n int, ms int64) {
		for range n {
			require.NoError(t, q.put(entry{physOffset: 1000 * at, size: 1000, count: 1, queueOffset: at, storeMs: ms}))
			at++
		}
	}
	put(1, 1000) // makes the file
	put(short-1, 1000)
	require.Equal(t, 1, onDisk(t, s, "T"))
	full := int64(1000 + short*hotEntryMs - 1)
	put(1, full)
	require.Equal(t, 1+short, onDisk(t, s, "T"))
	put(block-short-2, full)
	require.Equal(t, 1+short, onDisk(t, s, "T"), "up to the end of the block")
	require.EqualValues(t, 1, s.queues.keptHot.Load())
	require.Zero(t, q.late.pos, "from the beginning of the block, which was read")
	put(1, full+1000) // lies in two blocks
	require.Equal(t, block, onDisk(t, s, "T"))
	require.EqualValues(t, 4096, q.late.pos, "from the beginning of the block, which the run had")
	full += 1000
	put(block, full+block*hotEntryMs)
	require.Equal(t, 2*block, onDisk(t, s, "T"))
	require.Zero(t, s.queues.keptHot.Load(), "it took too long")
	s.queues.keptHot.Store(hotRuns)
	put(short, full)
	require.Equal(t, 2*block+short, onDisk(t, s, "T"), "there are enough long runs")
	put(short, full)
	require.Equal(t, 2*block+2*short, onDisk(t, s, "T"))
	require.EqualValues(t, hotRuns, s.queues.keptHot.Load())
}

// A flush leaves what a busy queue has in memory for the write of its block, and counts it as not flushed. The flush of all writes it, and
// the queue goes on with the whole block as long as it gets entries.
func TestFlushOfHotQueue(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.QueueFlushInterval = time.Hour
	s := openTestStore(t, o)
	q := s.queues.findOrCreate("T", 0)
	const ms = 1_000_000
	at := 0
	put := func(n int) {
		for range n {
			require.NoError(t, q.put(entry{physOffset: int64(1000 * at), size: 1000, count: 1, queueOffset: int64(at), storeMs: ms}))
			at++
		}
	}
	flush := func(all bool, nowMs int64) (oldestMs int64) {
		t.Helper()
		oldestMs, err := s.queues.flush(all, nowMs, nowMs, nil)
		require.NoError(t, err)
		return oldestMs
	}
	put(600)
	const whole = 2*fileBlockBytes/entryBytes + 1
	require.Equal(t, whole, onDisk(t, s, "T"))
	require.EqualValues(t, ms, flush(false, ms+lazyFlushMs-1), "it has much to flush")
	require.Equal(t, whole, onDisk(t, s, "T"))
	require.Equal(t, notDirty, flush(true, ms+1))
	require.Equal(t, at, onDisk(t, s, "T"))
	require.EqualValues(t, 2*fileBlockBytes, q.late.pos)
	put(2)
	require.Equal(t, at-2, onDisk(t, s, "T"))
	require.Equal(t, notDirty, flush(false, ms+1+lazyFlushMs))
	require.Equal(t, at, onDisk(t, s, "T"))
	require.EqualValues(t, 1, s.queues.keptHot.Load())
	require.Equal(t, notDirty, flush(true, ms+2+lazyFlushMs))
	require.Zero(t, s.queues.keptHot.Load(), "nothing came since the last flush")
	require.Empty(t, s.queues.dirty)
	put(1)
	for n := range at {
		e, ok := q.entry(int64(n))
		require.True(t, ok)
		require.EqualValues(t, 1000*n, e.physOffset)
	}
}

// A disk that is full when a queue needs its next block holds up the dispatcher, and nothing is lost.
func TestKeptEntriesMeetAFullDisk(t *testing.T) {
	t.Parallel()
	var fs faults
	o := testOptions(t)
	o.Faults = fs.check
	s := openTestStore(t, o)
	const block = 4096 / entryBytes // entries that lie in the first block as a whole
	putMany(t, s, "T", 0, block, 10)
	fs.set(func(op FileOp, path string) error {
		if strings.Contains(path, "consumequeue") && (op == OpAllocate || op == OpWrite) {
			return syscall.ENOSPC
		}
		return nil
	})
	var r PutResult
	require.NoError(t, s.PutWait(testMessage("T", 0, "last"), &r))
	require.Eventually(t, func() bool { return s.dispatcher.stuck.Load() != nil }, time.Minute, time.Millisecond)
	require.True(t, errors.Is(*s.dispatcher.stuck.Load(), ErrNoSpace))
	require.EqualValues(t, block, s.queues.find("T", 0).max.Load())
	fs.set(nil)
	waitDispatched(t, s)
	require.EqualValues(t, block+1, s.queues.find("T", 0).max.Load())
	require.NoError(t, s.Close())
	require.Equal(t, block+1, onDisk(t, s, "T"))
}
