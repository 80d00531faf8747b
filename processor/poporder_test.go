package processor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func ordered(more fields) fields {
	return fields{"order": "true", "queueId": "0", "maxMsgNums": "2"}.with(more)
}

func TestOrderedPopBlocksItsQueue(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 5)
	a := b.request(codec.PopMessage, b.popFields(ordered(fields{"attemptId": "one"})), "")
	require.Equal(t, codec.Success, a.Code)
	require.Equal(t, "999", a.Fields["reviveQid"])
	require.Equal(t, "0 0 0", a.Fields["orderCountInfo"])
	list := b.poppedOf(a)
	require.Equal(t, []string{"m0", "m1"}, bodies(list))
	require.Nil(t, b.pops(ordered(nil)), "blocked")
	require.Equal(t, []string{"m0", "m1"}, bodies(b.pops(ordered(fields{"attemptId": "one"}))), "the same attempt gets them again")
	list = b.pops(ordered(fields{"attemptId": "one"}))
	b.acks(list[1])
	require.EqualValues(t, 0, b.committedOf("T"), "order holds it back")
	b.acks(list[0])
	require.EqualValues(t, 2, b.committedOf("T"))
	require.Equal(t, []string{"m2", "m3"}, bodies(b.poppedOf(b.answered())), "the ack wakes the parked one")
	b.acks(list[0])
	wrong := list[0]
	wrong.queueOffset = 4
	wrong.receipt = fmt.Sprintf("2 %d 10000 999 0 broker-a 0 4", b.clock.Now().UnixMilli())
	require.Equal(t, codec.MessageIllegal, b.request(codec.AckMessage, wrong.ackFields(nil), "").Code)
	require.EqualValues(t, 2, b.committedOf("T"))
}

func (b *rig) committedOf(topic string) int64 {
	queueOffset, ok := b.offsets.Query([]byte("G"), []byte(topic), 0)
	require.True(b.t, ok)
	return queueOffset
}

func TestOrderedPopBeginsAgainWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 3)
	list := b.pops(ordered(nil))
	b.acks(list[0])
	require.Nil(t, b.pops(ordered(nil)))
	a := b.request(codec.ChangeMessageInvisibleTime, list[1].ackFields(fields{"invisibleTime": "12000"}), "")
	require.Equal(t, codec.Success, a.Code)
	require.Equal(t, fmt.Sprint(mustReceipt(t, list[1].receipt).PopTimeMs), a.Fields["popTime"])
	b.tickPop(11 * time.Second)
	b.quiet(b.conn)
	b.tickPop(2 * time.Second)
	a = b.answered()
	require.Equal(t, "0 qo0%1 1;0 0 0", a.Fields["orderCountInfo"])
	require.Equal(t, []string{"m1", "m2"}, bodies(b.poppedOf(a)))
	require.Zero(t, b.store.MaxQueueOffset("%RETRY%G_T", 0))
	require.NoError(t, b.offsets.SetReset("G", "T", 0, 0))
	require.Equal(t, []string{"m0", "m1"}, bodies(b.pops(ordered(nil))), "a reset ends the block")
}

// TestOrderedPopSurvivesAKill: a process that follows still blocks, and knows what was acknowledged.
func TestOrderedPopSurvivesAKill(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 1)
	b.groupOf("G")
	b.putSome("T", 1, 4)
	list := b.pops(ordered(nil))
	b.acks(list[0])
	for _, reopen := range []func(){b.reopenPop, b.openPop} { // the second finds what the first has written to consumerOrderInfo.json
		reopen()
		a := b.request(codec.PopMessage, b.popFields(ordered(fields{"pollTime": "0"})), "")
		require.Equal(t, codec.PollingTimeout, a.Code, "still blocked")
		require.EqualValues(t, 1, b.committedOf("T"))
	}
	b.acks(list[1])
	require.EqualValues(t, 2, b.committedOf("T"))
	require.NoError(t, b.popping.state.PersistOrders())
	require.NoError(t, b.popping.state.Close())
	b.openPop()
	require.Equal(t, []string{"m2", "m3"}, bodies(b.pops(ordered(nil))))
}
