package processor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestPriorityNamesTheQueue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sent string
		queue      string
		kept       bool
	}{
		{"that number", propText(codec.PropPriority, "2"), "2", true},
		{"0", propText(codec.PropPriority, "0"), "0", true},
		{"with a sign", propText(codec.PropPriority, "+2"), "2", true},
		{"beyond the last queue", propText(codec.PropPriority, "77"), "3", true},
		{"less than 0", propText(codec.PropPriority, "-1"), "1", true},
		{"no number", propText(codec.PropPriority, "high"), "1", true},
		{"too large a number", propText(codec.PropPriority, "2147483648"), "1", true},
		{"beside a sharding key", propText(codec.PropPriority, "2", codec.PropShardingKey, "k"), "1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRig(t)
			b.topicOf("T", 4)
			from := b.store.Written()
			got := b.request(codec.SendMessageV2, sendFields("T", fields{"e": "1", "i": tt.sent}), "body")
			require.Equal(t, codec.Success, got.Code, got.Remark)
			require.Equal(t, tt.queue, got.Fields["queueId"])
			m := b.stored(from)
			require.Equal(t, tt.queue, fmt.Sprint(m.QueueID))
			_, kept := propMap(m.Properties)[codec.PropPriority]
			require.Equal(t, tt.kept, kept)
			require.Equal(t, got.Fields["transactionId"], propMap(m.Properties)[codec.PropUniqKey])
		})
	}
}

func TestPriorityOfDelayedAndHalfMessagesIsLost(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{
		propText(codec.PropPriority, "2", codec.PropDelay, "1"),
		propText(codec.PropPriority, "2", codec.PropTranMsg, "true", "PGROUP", "P"),
	} {
		b := newRig(t)
		b.topicOf("T", 4)
		from := b.store.Written()
		got := b.request(codec.SendMessageV2, sendFields("T", fields{"e": "1", "i": sent}), "body")
		require.Equal(t, codec.Success, got.Code, got.Remark)
		stored := propMap(b.stored(from).Properties)
		require.Equal(t, "1", stored[codec.PropRealQueueID], sent)
		require.NotContains(t, stored, codec.PropPriority)
	}
}

func TestPriorityWithoutQueuesIsRefused(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4, func(c *codec.TopicConfig) { c.WriteQueueNums = 0 })
	got := b.request(codec.SendMessageV2, sendFields("T", fields{"e": "1", "i": propText(codec.PropPriority, "2")}), "body")
	require.Equal(t, codec.SystemError, got.Code)
	require.Contains(t, got.Remark, "no queue to write to")
}

// priorityRig has a topic T of that message type and four queues, a group G, and draws the same number every time.
func priorityRig(t *testing.T, messageType, factor string, draw int32) *rig {
	b := newRig(t)
	b.topicOf("T", 4, func(c *codec.TopicConfig) {
		if messageType != "" {
			c.Attributes = map[string]string{"+message.type": messageType}
		}
	})
	b.groupOf("G", func(c *codec.SubscriptionGroupConfig) {
		if factor != "" {
			c.Attributes = map[string]string{"+priority.factor": factor}
		}
	})
	b.opts.Random = func(n int32) int32 { return min(draw, n-1) }
	return b
}

func TestPopReadsQueuesByPriority(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, messageType, factor string
		draw                      int32
		lowestFirst               bool
		want                      string
	}{
		{"highest first", "PRIORITY", "", 50, false, "[m3 m7 m2 m6 m1 m5 m0 m4]"},
		{"lowest first", "PRIORITY", "", 50, true, "[m0 m4 m1 m5 m2 m6 m3 m7]"},
		{"not beyond the group's factor", "PRIORITY", "51", 50, false, "[m3 m7 m2 m6 m1 m5 m0 m4]"},
		{"a random queue for the rest", "PRIORITY", "50", 50, false, "[m1 m5 m0 m4 m3 m7 m2 m6]"},
		{"never with 0", "PRIORITY", "0", 1, false, "[m0 m4 m3 m7 m2 m6 m1 m5]"},
		{"other topics", "NORMAL", "", 50, false, "[m1 m5 m0 m4 m3 m7 m2 m6]"},
		{"topics without a type", "", "", 50, true, "[m2 m6 m3 m7 m0 m4 m1 m5]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := priorityRig(t, tt.messageType, tt.factor, tt.draw)
			b.putSome("T", 4, 2)
			b.set(func(s *Settings) { s.PriorityOrderAsc = !tt.lowestFirst })
			require.Equal(t, tt.want, fmt.Sprint(bodies(b.pops(fields{"maxMsgNums": "32"}))))
		})
	}
}

// TestPopByPriorityReadsRetriesLast: what is due again waits behind all priorities, unless popFromRetryProbabilityForPriority.
func TestPopByPriorityReadsRetriesLast(t *testing.T) {
	t.Parallel()
	for percent, want := range map[int32]string{0: "[m2 m1 m0 m3]", 100: "[m3 m2 m1 m0]"} {
		b := priorityRig(t, "PRIORITY", "", 1)
		b.set(func(s *Settings) { s.PopRetryPercent, s.PriorityRetryPercent = 100, percent })
		b.putSome("T", 4, 1)
		require.Equal(t, []string{"m3"}, bodies(b.pops(fields{"maxMsgNums": "1"})))
		b.tickPop(10 * time.Second)
		require.Equal(t, want, fmt.Sprint(bodies(b.pops(fields{"maxMsgNums": "32"}))))
	}
}
