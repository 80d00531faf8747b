package compat

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNotificationFilter asks whether there is something to pop of a tag.
func TestNotificationFilter(t *testing.T) {
	newIn(t, "5.5.0")
	tg := onShared(t)
	r := newPopRun(t, tg, 1)
	notice := func(exp string, pollMs int) map[string]string {
		return ext("consumerGroup", r.group, "topic", r.topic, "queueId", 0, "pollTime", pollMs, "bornTime", nowMs(), "order", false,
			"expType", "TAG", "exp", exp)
	}
	put(t, r.c, r.topic, 0, "a", props("TAGS", "A"))
	dispatched(t, r.c, r.topic, 0, 1)
	require.Equal(t, "true", r.c.ok(t, codeNotification, notice("A", 0), nil).Ext["hasMsg"])
	require.Equal(t, "true", r.c.ok(t, codeNotification, notice("*", 0), nil).Ext["hasMsg"])
	require.Equal(t, "false", r.c.ok(t, codeNotification, notice("B", 0), nil).Ext["hasMsg"])

	answer, err := r.c.send(&packet{Code: codeNotification, Ext: notice("B", 30_000)})
	require.NoError(t, err)
	other := connect(t, tg.Broker())
	put(t, other, r.topic, 0, "another a", props("TAGS", "A"))
	put(t, other, r.topic, 0, "b", props("TAGS", "B"))
	res, err := r.c.await(answer, 20*time.Second)
	require.NoError(t, err)
	require.Equal(t, "true", res.Ext["hasMsg"])
}

// TestPopSuspended gives a message back without counting it as consumed.
func TestPopSuspended(t *testing.T) {
	newIn(t, "5.5.0")
	tg := onShared(t)
	r := newPopRun(t, tg, 1)
	r.put(t, 1, "x")
	for _, suspend := range []bool{true, false} {
		m := r.popUntil(t, 1, time.Minute, popAgain)[0]
		require.Zero(t, m.ReconsumeTimes)
		r.c.ok(t, codeChangeInvisible, with(m.ackFields(), "invisibleTime", 500, "suspend", suspend), nil)
	}
	m := r.popUntil(t, 1, time.Minute, popAgain)[0]
	require.EqualValues(t, 1, m.ReconsumeTimes)
	r.ack(t, m)
}
