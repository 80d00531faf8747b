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

// TestQueuesMovedOnLeaveTheTable: queues 0 to 5 were moved from broker-a to broker-b. By the route, broker-c leads all but two of them.
func TestQueuesMovedOnLeaveTheTable(t *testing.T) {
	t.Parallel()
	mappings, err := store.OpenMappings(filepath.Join(t.TempDir(), "topicQueueMapping.json"), store.MappingsOptions{Broker: "broker-a"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mappings.Close()) })
	type item = codec.LogicQueueMappingItem
	moved := func(to ...string) (items []item) {
		for gen, broker := range to {
			items = append(items, item{Gen: int32(gen), Bname: broker, LogicOffset: int64(100 * gen), EndOffset: 10})
		}
		items[len(items)-1].EndOffset = -1
		return items
	}
	theirs := &codec.TopicQueueMappingDetail{Topic: "ST", Bname: "broker-c", Scope: "__global__", Epoch: 2, TotalQueues: 7,
		HostedQueues: map[int32][]item{0: moved("broker-b", "broker-c"), 1: moved("broker-b", "broker-c", "broker-d"), 4: moved("broker-b", "broker-c")}}
	info := func(broker, scope string, epoch int64, leads ...int32) *codec.TopicQueueMappingInfo {
		info := &codec.TopicQueueMappingInfo{Topic: "ST", Bname: broker, Scope: scope, Epoch: epoch, TotalQueues: 7, CurrIDMap: map[int32]int32{}}
		for _, globalID := range leads {
			info.CurrIDMap[globalID] = 0
		}
		return info
	}
	route := &codec.TopicRouteData{TopicQueueMappingByBroker: map[string]*codec.TopicQueueMappingInfo{
		"broker-a": info("broker-a", "__global__", 2, 5, 6),
		"broker-b": info("broker-b", "__global__", 1, 0, 2, 3), // of queue 0 it does not know yet that it was moved on
		"broker-c": info("broker-c", "__global__", 2, 0, 1, 3, 4),
		"broker-e": info("broker-e", "elsewhere", 9, 0, 1, 2, 3, 4),
	}}
	var silent error
	asked := 0
	b := newRig(t, func(s *setup) {
		s.opts.Mappings = mappings
		s.opts.RouteData = func(_ context.Context, topic string) (*codec.TopicRouteData, error) {
			require.Equal(t, "ST", topic)
			return route, silent
		}
		s.opts.Forward = func(_ context.Context, broker string, c *codec.Command) (*codec.Command, error) {
			asked++
			require.Equal(t, "broker-c", broker, "only the leaders of the route are asked")
			require.Equal(t, codec.GetTopicConfig, c.Code)
			require.Contains(t, c.Extra, codec.Field{Key: "lo", Value: "true"})
			if theirs == nil {
				return nil, errors.New("nobody is there")
			}
			text, err := codec.MarshalJSON(theirs)
			require.NoError(t, err)
			answer := new(codec.Command)
			return answer, codec.ParseFrame(frameOf(codec.Success, nil, `{"topicName":"ST","mappingDetail":`+string(text)+`}`, 0), answer)
		}
	})
	b.topicOf("ST", 4)
	put := func(epoch int64) {
		require.NoError(t, mappings.Put(&codec.TopicQueueMappingDetail{Topic: "ST", Bname: "broker-a", Scope: "__global__", Epoch: epoch, TotalQueues: 7,
			HostedQueues: map[int32][]item{0: moved("broker-a", "broker-b"), 1: moved("broker-a", "broker-b"), 2: moved("broker-a", "broker-b"),
				3: moved("broker-a", "broker-b"), 4: moved("broker-a", "broker-b"), 5: moved("broker-a", "broker-b"), 6: moved("broker-a")}}))
	}
	put(1)
	round := func(hour int) (left []int32) {
		b.CleanMappings(context.Background(), time.Date(2026, 11, 29, hour, 10, 0, 0, time.Local))
		for globalID := range mappings.Get([]byte("ST")).HostedQueues {
			left = append(left, globalID)
		}
		return left
	}
	all := []int32{0, 1, 2, 3, 4, 5, 6}
	require.ElementsMatch(t, all, round(4), "the epochs differ")
	put(2)
	theirs.TotalQueues = 8
	require.ElementsMatch(t, all, round(4), "the numbers of queues differ")
	theirs.TotalQueues = 7
	theirs.Bname = "broker-d"
	require.ElementsMatch(t, all, round(4), "it is of another broker")
	theirs.Bname = "broker-c"
	kept := theirs
	theirs = nil
	require.ElementsMatch(t, all, round(4), "the leader cannot be asked")
	theirs = kept
	silent = errors.New("no name server answers")
	require.ElementsMatch(t, all, round(4))
	silent = nil
	before := asked
	require.ElementsMatch(t, all, round(12), "not the hour")
	require.Equal(t, before, asked)
	require.ElementsMatch(t, []int32{1, 2, 3, 5, 6}, round(4), "1 was moved on from there, 2 is led as the table says, 3 is not known there, 5 is led here")
	require.Equal(t, before+1, asked, "one question a leader")
	require.ElementsMatch(t, []int32{1, 2, 3, 5, 6}, round(4))
}
