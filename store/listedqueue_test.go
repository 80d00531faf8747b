package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// After a clean stop the files of queues are known from the list. Whatever is wrong with one of them, or with the list, every
// message is served afterwards.
func TestListedQueues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(t *testing.T, h *history)
	}{
		{"nothing", func(*testing.T, *history) {}},
		{"directory lost", func(t *testing.T, h *history) { removeAllOf(t, h.o.Dir, "consumequeue/T/0") }},
		{"topic lost", func(t *testing.T, h *history) { removeAllOf(t, h.o.Dir, "consumequeue/Orders") }},
		{"all lost", func(t *testing.T, h *history) { removeAllOf(t, h.o.Dir, "consumequeue") }},
		{"first file lost", func(t *testing.T, h *history) { require.NoError(t, os.Remove(h.queueFile("T", 1, 0))) }},
		{"last file lost", func(t *testing.T, h *history) { require.NoError(t, os.Remove(h.queueFile("T", 2, -1))) }},
		{"last file cut", func(t *testing.T, h *history) { require.NoError(t, os.Truncate(h.queueFile("T", 2, -1), 20)) }},
		{"last file empty", func(t *testing.T, h *history) { require.NoError(t, os.Truncate(h.queueFile("T", 2, -1), 0)) }},
		{"last file zeroed", func(t *testing.T, h *history) { changeFile(t, h.queueFile("T", 3, -1), 0, func(b []byte) { clear(b) }) }},
		{"list lost", func(t *testing.T, h *history) { require.NoError(t, os.Remove(queueListPath(h.o.Dir))) }},
		{"list of another store", func(t *testing.T, h *history) {
			require.NoError(t, os.WriteFile(queueListPath(h.o.Dir), []byte(`{"end":4000,"queues":{"T":{"0":3}},"files":{"T":{"0":[60,900,0,6000,1]}}}`), 0o644))
		}},
		{"list that cannot be", func(t *testing.T, h *history) {
			list, err := readQueueList(h.o.Dir)
			require.NoError(t, err)
			for topic, ids := range list.Files {
				for id := range ids {
					ids[id] = listedQueue{-1, 1 << 62, 7, -20, 1 << 50}
				}
				list.Files[topic] = ids
			}
			require.NoError(t, list.write(h.o.Dir, nil))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 7)
			h.o.QueueSegmentEntries = 10 // each queue gets more than one file
			h.open()
			h.run(600)
			require.NoError(t, h.s.Close())
			c.change(t, h)
			h.open()
			h.check()
			h.run(50)
			h.check()
			require.NoError(t, h.s.Close())
			h.open()
			h.check()
			require.NoError(t, h.s.Close())
		})
	}
}

// queueFile is the path of a file of a queue: the first, or with -1 the last.
func (h *history) queueFile(topic string, id int32, which int) string {
	dir := filepath.Join(h.o.Dir, "consumequeue", topic, string('0'+id))
	entries, err := os.ReadDir(dir)
	require.NoError(h.t, err)
	require.Greater(h.t, len(entries), 1)
	if which < 0 {
		which += len(entries)
	}
	return filepath.Join(dir, entries[which].Name())
}
