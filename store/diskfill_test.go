package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// diskFill fills a store's disk again and again, and remembers all that was acknowledged.
type diskFill struct {
	t       *testing.T
	o       Options
	s       *Store
	offsets *Offsets
	// free makes room on a disk that is full.
	free func()
	// beforeOpen, if set, is called before a start on a full disk.
	beforeOpen func()
	kept       []PutResult
	n          int
}

const diskFillQueues = 4

func (d *diskFill) open() {
	var err error
	d.s, err = Open(d.o)
	require.NoError(d.t, err)
	d.offsets, err = OpenOffsets(filepath.Join(d.o.Dir, "config", "consumerOffset.json"), OffsetsOptions{TableOptions: TableOptions{Faults: d.o.Faults}})
	require.NoError(d.t, err)
}

// put puts the next message.
func (d *diskFill) put() error {
	var r PutResult
	err := d.s.PutWait(d.message(d.n), &r)
	if err == nil {
		d.kept = append(d.kept, r)
		d.n++
	}
	return err
}

func (d *diskFill) message(i int) *Message {
	m := testMessage("T", int32(i%diskFillQueues), fmt.Sprintf("%d-%s", i, strings.Repeat("z", i%3000)))
	m.Properties = codec.AppendProperty(nil, codec.PropUniqKey, fmt.Sprint("uniq", i))
	return m
}

// fill puts until the disk is full.
func (d *diskFill) fill() {
	d.t.Helper()
	for range 1_000_000 {
		err := d.put()
		if err == nil {
			continue
		}
		require.ErrorIs(d.t, err, ErrNoSpace)
		return
	}
	d.t.Fatal("the disk does not become full")
}

// check finds every acknowledged message that the log still reaches back to, byte for byte.
func (d *diskFill) check() {
	d.t.Helper()
	first := d.s.MinPhysOffset()
	var r GetResult
	checked := 0
	for i, put := range d.kept {
		if put.PhysOffset < first {
			continue
		}
		checked++
		raw, err := d.s.MessageAt(put.PhysOffset)
		require.NoError(d.t, err)
		var m codec.Message
		_, err = codec.DecodeMessage(raw, &m)
		require.NoError(d.t, err)
		require.NoError(d.t, m.CheckBody())
		require.True(d.t, bytes.Equal(d.message(i).Body, m.Body))
		require.Equal(d.t, put.QueueOffset, m.QueueOffset)
		if put.PhysOffset >= d.s.Dispatched() {
			continue // its queue cannot grow yet
		}
		require.NoError(d.t, d.s.Get(&GetRequest{Topic: "T", QueueID: int32(i % diskFillQueues), QueueOffset: put.QueueOffset, MaxMsgs: 1}, &r))
		require.Equal(d.t, Found, r.Status)
		require.Equal(d.t, raw, bytes.Clone(r.Parts[0]))
		r.Release()
	}
	require.Positive(d.t, checked)
}

// run fills the disk and frees it, ten times; some of them with a stop and a start while it is full. Before each filling it
// calls prepare.
func (d *diskFill) run(prepare func()) {
	t := d.t
	d.open()
	for round := range 10 {
		prepare()
		d.fill()
		require.False(t, d.s.ReadOnly())
		d.check()
		require.NoError(t, d.offsets.Commit([]byte("G"), []byte("T"), 0, int64(round+1)))
		err := d.offsets.Persist() // it may still find room
		require.True(t, err == nil || errors.Is(err, ErrNoSpace), "%v", err)
		if round%3 == 2 {
			err := errors.Join(d.s.Close(), d.offsets.Close())
			require.True(t, err == nil || errors.Is(err, ErrNoSpace), "%v", err)
			if d.beforeOpen != nil {
				d.beforeOpen()
			}
			d.open()
			d.check()
			// An offset that could not be written is committed again by its consumer.
			require.NoError(t, d.offsets.Commit([]byte("G"), []byte("T"), 0, int64(round+1)))
		}
		d.free()
		require.Eventually(t, func() bool { return d.put() == nil }, 10*time.Second, time.Millisecond)
		// A put may find room before the feeder, which tries every feedRetry, has.
		require.Eventually(t, func() bool { return d.s.log.feeder.failed.Load() == nil }, 10*time.Second, time.Millisecond)
		waitDispatched(t, d.s)
		d.check()
		require.NoError(t, d.offsets.Persist())
	}
	require.NoError(t, errors.Join(d.s.Close(), d.offsets.Close()))
	d.open()
	d.check()
	got, _ := d.offsets.Query([]byte("G"), []byte("T"), 0)
	require.EqualValues(t, 10, got)
	require.EqualValues(t, (d.n+diskFillQueues-1)/diskFillQueues, d.s.MaxQueueOffset("T", 0))
	require.NoError(t, errors.Join(d.s.Close(), d.offsets.Close()))
}

func diskFillOptions(t *testing.T, dir string) Options {
	o := testOptions(t)
	o.Dir, o.CommitLogDir = dir, ""
	o.SegmentBytes, o.QueueSegmentEntries, o.IndexSlots, o.IndexEntries = 256<<10, 100, 100, 1000
	o.AllocChunkBytes, o.TouchAheadBytes = 64<<10, 64<<10
	o.Retention.Pause = 0
	return o
}

// A disk that takes nothing any more, for whatever is to be written, ten times.
func TestDiskFillsByFault(t *testing.T) {
	t.Parallel()
	d := &diskFill{t: t, o: diskFillOptions(t, t.TempDir())}
	var full atomic.Bool
	var clock atomic.Int64 // the index asks a disk that refused no sooner than after a second
	clock.Store(1_700_000_000_000)
	d.o.Now = func() time.Time { return time.UnixMilli(clock.Add(10)) }
	d.o.Faults = func(op FileOp, path string) error {
		if full.Load() && (op == OpAllocate || op == OpCreate || op == OpWrite) && !strings.HasPrefix(filepath.Base(path), "abort") {
			return syscall.ENOSPC
		}
		return nil
	}
	d.free = func() { full.Store(false) }
	d.beforeOpen = d.free // a start writes into blocks that it has; the faults know no difference
	d.run(func() {
		for range 300 {
			require.NoError(t, d.put())
		}
		full.Store(true)
	})
}

// retainNow does rounds of retention until the disk is no longer full. What is not visible in queues yet may hold them up: a queue
// that could not grow is tried again a little later.
func retainNow(t *testing.T, s *Store) {
	require.Eventually(t, func() bool {
		require.NoError(t, s.cleaner.tick(context.Background(), true, true))
		return !s.Metrics().DiskFull && s.Metrics().LogDiskRatio <= 0.85
	}, 10*time.Second, time.Millisecond)
}
