package processor

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// cleanRig has small segments, and disks that the test fills.
func cleanRig(t *testing.T, usedPercent *atomic.Int64) *rig {
	return newRig(t, func(s *setup) {
		s.store.SegmentBytes, s.store.QueueSegmentEntries = 32<<10, 50
		s.store.Retention.Pause = 0
		s.opts.StoreDir = s.store.Dir
		s.store.DiskUsage = func(string) (store.Disk, error) {
			free := (100 - usedPercent.Load()) << 33
			return store.Disk{TotalBytes: 100 << 33, FreeBytes: free, AvailableBytes: free}, nil
		}
	})
}

// retain runs retention until the test ends.
func (b *rig) retain(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.store.Retain(ctx, time.Hour); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// A disk above its watermark: sends are refused with Java's remark, reads and commits of offsets go on, and what is sent after
// there is room again is taken.
func TestDiskAboveItsWatermark(t *testing.T) {
	t.Parallel()
	var used atomic.Int64
	b := cleanRig(t, &used)
	b.topicOf("T", 1)
	b.retain(t)
	send := frameOf(codec.SendMessageV2, sendFields("T", nil), "body", 0)
	require.Equal(t, codec.Success, b.run(send).Code)
	used.Store(93)
	var got *answer
	require.Eventually(t, func() bool { got = b.run(send); return got.Code != codec.Success }, 10*time.Second, time.Millisecond)
	require.Equal(t, codec.ServiceNotAvailable, got.Code)
	require.Equal(t, "service not available now. It may be caused by one of the following reasons: the broker's disk is full "+
		"[CL:  0.93 CQ:  0.93 INDEX:  0.93], messages are put to the slave, message store has been shut down, etc.", got.Remark)
	require.NoError(t, b.offsets.Commit([]byte("G"), []byte("T"), 0, 1))
	used.Store(50)
	require.Eventually(t, func() bool { return b.run(send).Code == codec.Success }, 10*time.Second, time.Millisecond)
}

func TestCleanByHand(t *testing.T) {
	t.Parallel()
	var used atomic.Int64
	b := cleanRig(t, &used)
	b.topicOf("T", 1)
	b.topicOf("Idle", 1)
	b.put("Idle", 0, "", "body")
	b.put("Unknown", 0, "", "body")
	b.put(store.TopicSchedule, 0, "", "body")
	queues := func() []string {
		entries, err := os.ReadDir(filepath.Join(b.opts.StoreDir, "consumequeue"))
		require.NoError(t, err)
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = e.Name()
		}
		return names
	}
	require.Equal(t, []string{"Idle", store.TopicSchedule, "Unknown"}, queues())
	got := b.run(frameOf(codec.CleanUnusedTopic, nil, "", 0))
	require.Equal(t, codec.Success, got.Code)
	require.Empty(t, got.Remark)
	require.Equal(t, []string{"Idle", store.TopicSchedule}, queues())

	for range 400 {
		b.put("T", 0, "", string(make([]byte, 300)))
	}
	require.Equal(t, codec.Success, b.run(frameOf(codec.CleanExpiredConsumeQueue, nil, "", 0)).Code)
	require.Equal(t, []string{"Idle", store.TopicSchedule, "T"}, queues(), "all messages are there")
	used.Store(95)
	b.retain(t)
	require.Eventually(t, func() bool { return b.store.Metrics().DeletedLogFiles > 2 }, 10*time.Second, time.Millisecond)
	require.Equal(t, codec.Success, b.run(frameOf(codec.CleanExpiredConsumeQueue, nil, "", 0)).Code)
	require.Equal(t, []string{store.TopicSchedule, "T"}, queues(), "the broker's own stay")
	require.EqualValues(t, 1, b.store.MaxQueueOffset("Idle", 0))
	require.Equal(t, codec.Success, b.run(frameOf(codec.DeleteExpiredCommitLog, nil, "", 0)).Code)
}

// Who is live, and how far: groups in clustering with members, of the topics they are subscribed to, and the broker's own readers.
func TestLiveOffsets(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 2)
	b.topicOf("Old", 1)
	commit := func(group, topic string, queueID int32, queueOffset int64) {
		require.NoError(t, b.offsets.Commit([]byte(group), []byte(topic), queueID, queueOffset))
	}
	commit("G", "T", 0, 5)
	commit("G", "T", 1, 7)
	commit("G", "Old", 0, 3)
	commit("asleep", "T", 0, 1)
	commit("broadcast", "T", 0, 2)
	commit(store.GroupTrans, store.TopicTransHalf, 0, 4)
	b.subscribe("G", "T", "*")
	b.subscribe("broadcast", "T", "*", func(g *ConsumerGroup, _ *Subscription) { g.Model = codec.Broadcasting })
	var got []store.LiveOffset
	b.LiveOffsets(func(o store.LiveOffset) bool {
		got = append(got, o)
		return true
	})
	require.ElementsMatch(t, []store.LiveOffset{
		{Group: "G", Topic: "T", QueueID: 0, QueueOffset: 5},
		{Group: "G", Topic: "T", QueueID: 1, QueueOffset: 7},
		{Group: store.GroupTrans, Topic: store.TopicTransHalf, QueueID: 0, QueueOffset: 4},
	}, got)
	n := 0
	b.LiveOffsets(func(store.LiveOffset) bool { n++; return false })
	require.Equal(t, 1, n)
}
