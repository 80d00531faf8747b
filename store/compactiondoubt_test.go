package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// lateCompaction is a store of flushed messages, all older than the checkpoint, whose topic became a compaction topic: their copies are
// in the compaction log and not on disk.
func lateCompaction(t *testing.T) (h *compactedHistory, want []string) {
	h = newCompactedHistory(t, 2)
	var on atomic.Bool
	h.o.CompactionTopic = func(topic string) bool { return topic == compactedTopic && on.Load() }
	h.o.CompactionQueueBytes, h.o.CompactionLogBytes = 100*batchEntryBytes, 64<<10
	h.open()
	for i := range 40 {
		h.clock.Add(1000)
		require.NoError(t, h.s.PutWait(keyed(compactedTopic, 0, fmt.Sprint("k", i), fmt.Sprint("value ", i)), new(PutResult)))
		want = append(want, fmt.Sprint("value ", i))
	}
	waitDispatched(t, h.s)
	require.NoError(t, h.s.Close())
	on.Store(true)
	h.open()
	caughtUp(t, h.s)
	return h, want
}

func bodiesOf(list []codec.Message) (bodies []string) {
	for _, m := range list {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// A copy of an old record that a power cut tore is not served because the checkpoint is later than the record.
func TestCompactionCopyTornByPowerCut(t *testing.T) {
	t.Parallel()
	h, want := lateCompaction(t)
	fates := h.compactionFates()
	require.NotEmpty(t, fates, "the copies are not on disk")
	flushed := h.s.Flushed()
	h.crash(func(dir string) {
		h.cutPower(dir, flushed, nil)
		changeFile(t, filepath.Join(dir, "compaction", "compactionLog", compactedTopic, "0", segmentName(0)), 0, func(b []byte) {
			for i := range b[:4096] {
				if i%512 > 150 {
					b[i] = 0 // what follows the head of some records
				}
			}
		})
	})
	check, err := readCheckpoint(h.o.Dir, nil)
	require.NoError(t, err)
	require.Greater(t, check.trustedMs(), int64(1_700_000_000_000+30*1000))
	h.open()
	caughtUp(t, h.s)
	require.Equal(t, want, bodiesOf(readQueue(t, h.s, compactedTopic, 0, 0)))
	require.NoError(t, h.s.Close())
}

// The doubt about copied records ends when they are on disk; one that cannot be read leaves nothing vouched for.
func TestCompactionDoubts(t *testing.T) {
	t.Parallel()
	h, want := lateCompaction(t)
	path := filepath.Join(h.o.Dir, ownDir, "copying.json")
	text := func() string {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		var text json.RawMessage
		require.NoError(t, unseal(b, &text))
		return string(text)
	}
	require.JSONEq(t, fmt.Sprintf(`{"%s_0":0}`, compactedTopic), text())
	h.s.flusher.queues(true)
	require.JSONEq(t, `{}`, text())
	require.Empty(t, h.compactionFates())
	require.NoError(t, h.s.PutWait(keyed(compactedTopic, 0, "k", "new"), new(PutResult)))
	caughtUp(t, h.s)
	require.JSONEq(t, `{}`, text(), "the checkpoint is not later than what was just put")
	h.s.flusher.log()
	h.s.flusher.queues(true)

	h.crash(func(dir string) {
		path = filepath.Join(dir, ownDir, "copying.json")
		require.NoError(t, os.WriteFile(path, []byte(`{"Comp`), 0o644))
		changeFile(t, filepath.Join(dir, "compaction", "compactionLog", compactedTopic, "0", segmentName(0)), 1000, func(b []byte) { clear(b[:500]) })
	})
	h.open()
	caughtUp(t, h.s)
	require.Equal(t, append(want, "new"), bodiesOf(readQueue(t, h.s, compactedTopic, 0, 0)))
	require.NoError(t, h.s.Close())
	require.JSONEq(t, `{}`, text())
}

// Messages that a power cut took from the commit log and not from the compaction log stay there: that the queue, which goes on behind
// them, has nothing in their places does not make them those of a deleted topic.
func TestCompactionLogAloneSurvivesTwoPowerCuts(t *testing.T) {
	t.Parallel()
	h := newCompactedHistory(t, 2)
	h.o.CompactionQueueBytes, h.o.CompactionLogBytes = 100*batchEntryBytes, 64<<10
	put := func(texts ...string) {
		for _, text := range texts {
			h.clock.Add(1000)
			require.NoError(t, h.s.PutWait(keyed(compactedTopic, 0, text, text), new(PutResult)))
		}
		caughtUp(t, h.s)
	}
	h.open()
	put("a", "b", "c")
	h.crash(func(dir string) {
		require.NoError(t, writeOpened(dir, 0))
		eachLogFile(t, dir, func(path string, _ int64) { changeFile(t, path, 0, func(b []byte) { clear(b) }) })
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "consumequeue")))
	})
	h.open()
	require.Equal(t, []string{"a", "b", "c"}, bodiesOf(readQueue(t, h.s, compactedTopic, 0, 0)))
	require.NoError(t, h.s.PutWait(keyed(compactedTopic, 1, "other", "other"), new(PutResult))) // the queue's first record is not the log's
	put("d", "e")
	h.s.flusher.log()
	var entries, records int64
	h.s.compact.each(func(c *compactionLog) {
		if c.q.id == 0 {
			records, entries = c.row.files[0].entry(3).physOffset, 3*batchEntryBytes
		}
	})
	h.crash(func(dir string) {
		require.NoError(t, writeOpened(dir, 0))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "consumequeue")))
		for folder, from := range map[string]int64{"compactionLog": records, "compactionCq": entries} {
			changeFile(t, filepath.Join(dir, "compaction", folder, compactedTopic, "0", segmentName(0)), from, func(b []byte) { clear(b) })
		}
	})
	h.open()
	caughtUp(t, h.s)
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, bodiesOf(readQueue(t, h.s, compactedTopic, 0, 0)))
	require.NoError(t, h.s.Close())
}
