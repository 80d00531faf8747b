package store

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fillAndDelete puts messages until everything that was in the log before is deleted.
func fillAndDelete(t *testing.T, s *Store) {
	t.Helper()
	end := s.Written()
	for i := 0; s.MinPhysOffset() < end; i++ {
		require.NoError(t, s.PutWait(testMessage("Filler", 0, fmt.Sprintf("%0500d", i)), new(PutResult)))
		if i%100 == 99 {
			waitDispatched(t, s)
			awaitDeletable(t, s, 100)
			_, err := s.deleteHead(100)
			require.NoError(t, err)
		}
	}
}

// Delayed messages whose log was deleted are named and passed over, those after them delivered.
func TestDelayedMessagesAreDeleted(t *testing.T) {
	t.Parallel()
	levels, err := ParseDelayLevels("1h 2h")
	require.NoError(t, err)
	var said lockedBuffer
	o := testOptions(t)
	var clock atomic.Int64
	clock.Store(1_700_000_000_000)
	o.Now = func() time.Time { return time.UnixMilli(clock.Load()) }
	o.SegmentBytes, o.Logger = 32<<10, slog.New(slog.NewTextHandler(&said, nil))
	d := openDelayStore(t, o, levels)
	d.schedule.opts.Logger = o.Logger
	d.run(t)
	for i := range 5 {
		m := testMessage("Late", 3, fmt.Sprint("gone", i))
		d.put(t, m, 1)
	}
	fillAndDelete(t, d.Store)
	d.put(t, testMessage("Late", 3, "there"), 1)
	waitDispatched(t, d.Store)
	clock.Add(2 * time.Hour.Milliseconds())
	d.waitFor(t, "Late", 1)
	d.end()
	require.Equal(t, "there", string(d.message(t, "Late", 3, 0).Body))
	require.Contains(t, said.String(), "delayed messages were deleted before they were due")
	require.EqualValues(t, 6, d.schedule.levels[0].offset.Load())
}

// Half messages whose log was deleted are passed over, those after them asked about, after a restart too.
func TestHalfMessagesAreDeleted(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t, func(r *txnRig) { r.opts.SegmentBytes = 32 << 10 })
	r.half("known")
	r.pass(3 * time.Second)
	last := r.half("unread")
	fillAndDelete(t, r.store)
	require.Less(t, last.PhysOffset, r.store.MinPhysOffset())
	r.half("there")
	var asked []string
	failures := 0
	pass := func(d time.Duration) {
		for end := r.now().Add(d); r.now().Before(end); {
			r.clock.Add(500)
			waitDispatched(t, r.store)
			if r.Tick(r.now(), r.rules, func(c *TxnCheck) { asked = append(asked, c.UniqKey) }) != nil {
				failures++
			}
		}
	}
	pass(20 * time.Second)
	require.Equal(t, []string{"U-there"}, asked)
	require.Equal(t, 1, failures, "what was open is passed over once")
	r.crash()
	asked = nil
	pass(60 * time.Second)
	require.Contains(t, asked, "U-there")
	require.NotContains(t, asked, "U-known")
	require.Equal(t, 1, failures)
}
