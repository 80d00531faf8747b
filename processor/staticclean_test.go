package processor

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// TestStretchesWithoutMessagesLeaveTheTable: one a round, at the hour of deletion, of queues that are led here, when its broker says
// that it holds nothing.
func TestStretchesWithoutMessagesLeaveTheTable(t *testing.T) {
	t.Parallel()
	mappings, err := store.OpenMappings(filepath.Join(t.TempDir(), "topicQueueMapping.json"), store.MappingsOptions{Broker: "broker-a"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mappings.Close()) })
	offsets := map[string][2]string{"broker-b": {"30", "40"}} // first and end
	b := newRig(t, func(s *setup) {
		s.opts.Mappings = mappings
		s.opts.Forward = func(_ context.Context, broker string, c *codec.Command) (*codec.Command, error) {
			at, ok := offsets[broker]
			if !ok {
				return nil, errors.New("nobody is there")
			}
			require.Contains(t, c.Extra, codec.Field{Key: "lo", Value: "false"}, "the physical queue is meant")
			answer := new(codec.Command)
			i := map[int32]int{codec.GetMinOffset: 0, codec.GetMaxOffset: 1}[c.Code]
			return answer, codec.ParseFrame(frameOf(codec.Success, fields{"offset": at[i]}, "", 0), answer)
		}
	})
	b.topicOf("ST", 4)
	b.putUnseen("ST", 3, "", "here")
	b.dispatched()
	type item = codec.LogicQueueMappingItem
	require.NoError(t, mappings.Put(&codec.TopicQueueMappingDetail{Topic: "ST", Bname: "broker-a", Scope: "__global__", Epoch: 1, TotalQueues: 5,
		HostedQueues: map[int32][]item{
			0: {{Bname: "broker-b", QueueID: 0, EndOffset: 40}, {Gen: 1, Bname: "broker-a", QueueID: 0, LogicOffset: 100, EndOffset: 10},
				{Gen: 2, Bname: "broker-a", QueueID: 3, LogicOffset: 200, EndOffset: -1}},
			1: {{Bname: "broker-a", QueueID: 1, EndOffset: 0}, {Gen: 1, Bname: "broker-b", LogicOffset: 100, EndOffset: -1}}, // led elsewhere
			2: {{Bname: "broker-c", EndOffset: 1}, {Gen: 1, Bname: "broker-a", QueueID: 2, LogicOffset: 100, EndOffset: -1}},
			3: {{Bname: "broker-a", QueueID: 3, EndOffset: 1}, {Gen: 1, Bname: "broker-a", QueueID: 1, LogicOffset: 100, EndOffset: -1}},
			4: {{Bname: "broker-a", QueueID: 2, EndOffset: -1}},
		}}))
	stretches := func() (n [5]int) {
		for globalID, items := range mappings.Get([]byte("ST")).HostedQueues {
			n[globalID] = len(items)
		}
		return n
	}
	night, noon := time.Date(2026, 11, 29, 4, 10, 0, 0, time.Local), time.Date(2026, 11, 29, 12, 0, 0, 0, time.Local)
	round := func(at time.Time) [5]int {
		b.CleanMappings(context.Background(), at)
		return stretches()
	}
	require.Equal(t, [5]int{3, 2, 2, 2, 1}, round(night), "all stretches hold something, or cannot be asked")
	offsets["broker-b"] = [2]string{"40", "40"}
	require.Equal(t, [5]int{3, 2, 2, 2, 1}, round(noon), "not the hour")
	require.Equal(t, [5]int{2, 2, 2, 2, 1}, round(night))
	require.Equal(t, [5]int{1, 2, 2, 2, 1}, round(night), "the second of it never had anything")
	require.Equal(t, [5]int{1, 2, 2, 2, 1}, round(night), "the last one leads")
	offsets["broker-c"] = [2]string{"0", "0"}
	require.Equal(t, [5]int{1, 2, 1, 2, 1}, round(night))
	got := mappings.Get([]byte("ST")).HostedQueues[0][0]
	require.Equal(t, item{Gen: 2, Bname: "broker-a", QueueID: 3, LogicOffset: 200, EndOffset: -1}, got)
}
