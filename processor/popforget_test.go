package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// TestDeletionForgetsDeliveries: what was in flight of a deleted topic or group stays gone, also when it is made again.
func TestDeletionForgetsDeliveries(t *testing.T) {
	t.Parallel()
	for _, deleted := range []struct {
		name    string
		request func(b *rig) *answer
		left    []string // what the group pops once both are there again; a new topic has other messages
	}{
		{"topic", func(b *rig) *answer { return b.request(codec.DeleteTopicInBroker, fields{"topic": "T"}, "") }, []string{"new"}},
		{"group with its offsets", func(b *rig) *answer {
			return b.request(codec.DeleteSubscriptionGroup, fields{"groupName": "G", "cleanOffset": "true"}, "")
		}, []string{"m0", "m1", "m2", "m3"}},
		{"group", func(b *rig) *answer { return b.request(codec.DeleteSubscriptionGroup, fields{"groupName": "G"}, "") }, []string{"m0", "m1"}},
	} {
		b := newRig(t)
		b.topicOf("T", 1)
		b.groupOf("G")
		b.putSome("T", 1, 4)
		list := b.pops(nil)
		require.Len(t, list, 4)
		b.acks(list[2:]...)
		b.TickPop(b.clock.Now()) // has a commit of the cursor under way
		require.Equal(t, codec.Success, deleted.request(b).Code, deleted.name)
		b.topicOf("T", 1)
		b.groupOf("G")
		if deleted.name == "topic" {
			b.put("T", 0, "A", "new")
		}
		require.Eventually(t, func() bool { return b.store.Flushed() == b.store.Written() }, 10*time.Second, time.Millisecond)
		b.tickPop(11 * time.Second)
		b.tickPop(time.Second)
		var got []popped
		for {
			a := b.request(codec.PopMessage, b.popFields(fields{"pollTime": "0"}), "")
			if a.Code == codec.PollingTimeout {
				break
			}
			some := b.poppedOf(a)
			b.acks(some...)
			got = append(got, some...)
		}
		require.ElementsMatch(t, deleted.left, bodies(got), deleted.name)
		if deleted.name == "topic" {
			require.Zero(t, got[0].reconsumed, "it is not taken for one that was in flight")
		}
		require.Zero(t, b.popping.state.Checkpoints(), deleted.name)
	}
}
