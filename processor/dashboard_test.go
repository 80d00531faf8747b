package processor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// What a web dashboard finds at a broker in the benchmarks: each group has offsets of two topics of four queues.
const (
	dashboardTopics = 1_000
	dashboardGroups = 2_000
)

func dashboardRig(b *testing.B) *rig {
	r := newRig(b, realClock)
	topics := make([]*codec.TopicConfig, dashboardTopics)
	for i := range topics {
		topics[i] = codec.NewTopicConfig(fmt.Sprintf("topic-%04d", i))
		topics[i].ReadQueueNums, topics[i].WriteQueueNums = 4, 4
	}
	_, err := r.topics.PutAll(topics)
	require.NoError(b, err)
	groups := make([]*codec.SubscriptionGroupConfig, dashboardGroups)
	for i := range groups {
		groups[i] = codec.NewSubscriptionGroupConfig(fmt.Sprintf("group-%04d", i))
		for _, topic := range []int{i % dashboardTopics, (i + 7) % dashboardTopics} {
			for queueID := range int32(4) {
				require.NoError(b, r.offsets.Commit([]byte(groups[i].GroupName), []byte(topics[topic].TopicName), queueID, 1))
			}
		}
	}
	require.NoError(b, r.groups.PutAll(groups))
	for _, cfg := range topics {
		for queueID := range int32(4) {
			r.putUnseen(cfg.TopicName, queueID, "TagA", "x")
		}
	}
	r.dispatched()
	return r
}

// asks has the processor answer a request once.
func asks(b *testing.B, r *rig, code int32, head fields, want int32) {
	a := r.run(frameOf(code, head, "", 0))
	if a.Code != want {
		b.Fatalf("code %d: answer %d %s", code, a.Code, a.Remark)
	}
}

// BenchmarkDashboardConsumers is the list of consumers of RocketMQ's dashboard: all groups, then lag and members of each.
func BenchmarkDashboardConsumers(b *testing.B) {
	r := dashboardRig(b)
	b.Run("groups", func(b *testing.B) {
		for range b.N {
			asks(b, r, codec.GetAllSubscriptionGroupConfig, nil, codec.Success)
		}
	})
	b.Run("page", func(b *testing.B) {
		for range b.N {
			asks(b, r, codec.GetAllSubscriptionGroupConfig, nil, codec.Success)
			for i := range dashboardGroups {
				head := fields{"consumerGroup": fmt.Sprintf("group-%04d", i)}
				asks(b, r, codec.GetConsumeStats, head, codec.Success)
				asks(b, r, codec.GetConsumerConnectionList, head, codec.ConsumerNotOnline)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/dashboardGroups, "µs/group")
	})
}

// BenchmarkDashboardTopics is the list of topics with the queues and the groups of each.
func BenchmarkDashboardTopics(b *testing.B) {
	r := dashboardRig(b)
	b.Run("topics", func(b *testing.B) {
		for range b.N {
			asks(b, r, codec.GetAllTopicConfig, nil, codec.Success)
		}
	})
	b.Run("page", func(b *testing.B) {
		for range b.N {
			asks(b, r, codec.GetAllTopicConfig, nil, codec.Success)
			for i := range dashboardTopics {
				head := fields{"topic": fmt.Sprintf("topic-%04d", i)}
				asks(b, r, codec.GetTopicStatsInfo, head, codec.Success)
				asks(b, r, codec.QueryTopicConsumeByWho, head, codec.Success)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/dashboardTopics, "µs/topic")
	})
}
