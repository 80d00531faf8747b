package store

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An entry that a power cut tore between its physical offset and its size is written again, also in a later file of a queue,
// whose sectors do not lie where those of one long file would.
func TestTornEntryIsWrittenAgain(t *testing.T) {
	t.Parallel()
	const perFile, inFile = 120, 102 // the entry's first 8 bytes end a sector
	for name, offset := range map[string]int{"first file": inFile, "second file": perFile + inFile} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 1)
			h.o.SegmentBytes, h.o.QueueSegmentEntries = 64<<10, perFile
			h.open()
			put := func(queueID int32) {
				h.clock.Add(1000)
				m := testMessage("T", queueID, "some text")
				var r PutResult
				require.NoError(t, h.s.PutWait(m, &r))
				h.keep(m, "Usome text", r.QueueOffset, r.PhysOffset, r.EndOffset)
			}
			for range offset {
				put(0)
			}
			for end := h.s.Written() + 2*int64(h.o.SegmentBytes); h.s.Written() < end; { // recovery begins behind the entries before
				put(1)
			}
			waitDispatched(t, h.s)
			h.s.flusher.log()
			h.s.flusher.queues(true)
			put(0)
			waitDispatched(t, h.s)
			h.crash(func(dir string) {
				path := filepath.Join(dir, "consumequeue", "T", "0", segmentName(int64(offset/perFile*perFile*entryBytes)))
				changeFile(t, path, inFile*entryBytes, func(b []byte) {
					require.NotZero(t, b[11])
					clear(b[:8])
				})
			})
			h.open()
			h.check()
			require.NoError(t, h.s.Close())
		})
	}
}
