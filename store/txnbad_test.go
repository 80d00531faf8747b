package store

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// TestTxnOpsThatPointNowhere: a start passes over op messages that name no half, takes of the others what is right, and moves on.
func TestTxnOpsThatPointNowhere(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.half("asked")
	r.half("done")
	op := func(queueID int32, tag, body string) {
		m := &Message{Topic: TopicTransOp, QueueID: queueID, Body: []byte(body), BornTimestampMs: r.clock.Load(), BornHost: r.store.host.addr,
			Properties: codec.AppendProperty(nil, codec.PropTags, tag), TagsCode: codec.TagsCode([]byte(tag))}
		require.NoError(t, r.store.PutWait(m, new(PutResult)))
	}
	op(0, opTag, "2,1000000,9223372036854775807,")
	op(0, opTag, "-1,")
	op(0, opTag, "99999999999999999999999,")
	op(0, opTag, "\x00\xff{garbage},,, ,")
	op(0, opTag, strings.Repeat("9", 100_000))
	op(0, "e", "0,") // no tag of theirs
	op(3, opTag, "0,")
	op(0, opTag, "x,1,77,")
	require.Eventually(t, func() bool { return r.store.Dispatched() == r.store.Written() }, 30*time.Second, time.Millisecond)

	r.crash()
	r.pass(10 * time.Second)
	require.Len(t, r.asked, 1, "the one that no op message names")
	r.rollback(r.asked[0].PhysOffset)
	r.pass(10 * time.Second)
	r.pass(10 * time.Second)
	require.Len(t, r.asked, 1)
	require.Empty(t, r.delivered())
	ends := r.store.MaxQueueOffset(TopicTransOp, 0)
	require.EqualValues(t, 8, ends, "seven and that of the rollback")
	require.Eventually(t, func() bool { // nothing holds the queues up
		r.pass(time.Second)
		return r.committedAt(TopicTransHalf) == r.store.MaxQueueOffset(TopicTransHalf, 0) && r.committedAt(TopicTransOp) == ends
	}, 30*time.Second, 10*time.Millisecond)
}
