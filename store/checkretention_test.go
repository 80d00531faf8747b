package store

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Retention took the head of log, queues and index: the directory is whole, and there is nothing to repair.
func TestCheckAfterRetention(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes, o.QueueSegmentEntries = 32<<10, 50
	o.FlushInterval, o.QueueFlushInterval = time.Hour, time.Hour // the test flushes
	o.IndexSlots, o.IndexEntries = 50, 100
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 600, 300)
	waitDispatched(t, s)
	s.flusher.log()
	s.flusher.queues(true)
	_, err := s.deleteHead(3)
	require.NoError(t, err)
	begin := s.MinPhysOffset()
	require.Positive(t, begin)
	require.Positive(t, s.MinQueueOffset("T", 0))
	require.NoError(t, s.Close())
	r, found := checkStore(t, o.Dir)
	require.Equal(t, "whole", r.Verdict(), findingText(found))
	require.Equal(t, begin, r.LogBegin)
	_, plan, err := PlanRepair(context.Background(), RepairOptions{CheckOptions: CheckOptions{Dir: o.Dir}})
	require.NoError(t, err)
	require.Empty(t, plan)
}

// Check, dump and repair take every directory of Apache's that lies in testdata.
func TestToolsTakeEveryFixture(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed, fixtureTruncated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, name, "")
			for _, path := range allFiles(t, filepath.Join(dir, "consumequeue")) {
				require.NoError(t, Dump(context.Background(), io.Discard, path, DumpOptions{QueueID: -1}), path)
			}
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "index")))
			r, _ := repairStore(t, dir)
			require.True(t, r.Whole(), r.Verdict())
			requireManifest(t, openTestStore(t, fixtureOptions(t, dir)), readManifest(t, name))
		})
	}
}
