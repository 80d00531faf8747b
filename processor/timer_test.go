package processor

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

const timerRefusal = "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del msg, the delay " +
	"time should be bigger than the current time"

// withTimer gives a rig a timer, which runs until the test ends.
func (b *rig) withTimer() *store.Timer {
	b.t.Helper()
	timer, err := store.OpenTimer(b.store, store.TimerOptions{TableOptions: store.TableOptions{Now: b.clock.Now}})
	require.NoError(b.t, err)
	b.opts.Timer = timer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- timer.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		require.NoError(b.t, <-done)
		require.NoError(b.t, timer.Close())
	})
	return timer
}

// sendTimer sends a message with properties.
func (b *rig) sendTimer(topic string, pairs ...string) *answer {
	return b.request(codec.SendMessageV2, sendFields(topic, fields{"i": propText(pairs...)}), "body")
}

func (b *rig) inMs(d time.Duration) string {
	return strconv.FormatInt(b.clock.Now().Add(d).UnixMilli(), 10)
}

func TestTimerRefusals(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	got := b.sendTimer("T", codec.PropTimerDelayMs, "1000")
	require.Equal(t, codec.SystemError, got.Code)
	require.Equal(t, "accurate timer message is not enabled, timerWheelEnable is false", got.Remark)
	b.withTimer()
	for _, tt := range []struct {
		name  string
		pairs []string
	}{
		{"no number", []string{codec.PropTimerDelayMs, "soon"}},
		{"too far off", []string{codec.PropTimerDelaySeconds, "259201"}},
		{"moment too far off", []string{codec.PropTimerDeliverMs, b.inMs(73 * time.Hour)}},
		{"takes back what is over", []string{codec.PropTimerDeliverMs, b.inMs(0), codec.PropTimerDelUniqKey, "K"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := b.sendTimer("T", tt.pairs...)
			require.Equal(t, codec.MessageIllegal, got.Code)
			require.Equal(t, timerRefusal, got.Remark)
			require.Zero(t, b.store.Written())
		})
	}
}

// A slot with more than timerCongestNumEachSlot messages takes some at random, one with twice as many none.
func TestTimerFlowControl(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	timer := b.withTimer()
	b.set(func(s *Settings) { s.TimerSlotMax = 2 })
	chance := int32(0)
	b.opts.Random = func(n int32) int32 { return min(chance, n-1) }
	at := []string{codec.PropTimerDeliverMs, b.inMs(time.Hour)}
	send := func(wantWaiting int64) {
		t.Helper()
		require.Equal(t, codec.Success, b.sendTimer("T", at...).Code)
		require.Eventually(t, func() bool { timer.Notify(); return timer.Status().Waiting == wantWaiting }, 20*time.Second, time.Millisecond)
	}
	refused := func() {
		t.Helper()
		got := b.sendTimer("T", at...)
		require.Equal(t, codec.SystemError, got.Code)
		require.Equal(t, "timer message is under flow control, max num limit is 4 or the current value is greater than 2 and less than 4, "+
			"trigger random flow control", got.Remark)
	}
	send(1)
	send(2)
	send(3) // as many as are free of it, and one
	chance = 999
	refused() // 1000 * 1 of 2.1 is the limit
	chance = 0
	send(4)
	refused()
	require.Equal(t, codec.Success, b.sendTimer("T", codec.PropTimerDeliverMs, b.inMs(2*time.Hour)).Code, "another slot is free")
}

// timerStopEnqueue leaves messages in their queue, timerStopDequeue in the wheel.
func TestTimerStops(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	timer := b.withTimer()
	timer.Pause(true, true)
	require.Equal(t, codec.Success, b.sendTimer("T", codec.PropTimerDelayMs, "5000").Code)
	b.dispatched()
	require.Equal(t, int64(1), timer.Status().OffsetBehind)
	timer.Pause(false, true)
	require.Eventually(t, func() bool { timer.Notify(); return timer.Status().Waiting == 1 }, 20*time.Second, time.Millisecond)
	b.clock.move(time.Minute)
	timer.Pause(true, true)
	require.Equal(t, int64(0), b.store.MaxQueueOffset("T", 0)+b.store.MaxQueueOffset("T", 3))
	timer.Pause(true, false)
	require.Eventually(t, func() bool { timer.Notify(); return timer.Stats().Delivered.Load() == 1 }, 20*time.Second, time.Millisecond)
}

func TestRecallRefusals(t *testing.T) {
	t.Parallel()
	handle := func(parts ...any) string {
		text := fmt.Sprintln(parts...)
		return base64.URLEncoding.EncodeToString([]byte(text[:len(text)-1]))
	}
	for _, tt := range []struct {
		name   string
		change func(*Settings)
		fields func(b *rig) fields
		code   int32
		remark string
	}{
		{name: "off", change: func(s *Settings) { s.Recall = false }, code: codec.NoPermission, remark: "recall failed, operation is forbidden"},
		{name: "not yet", change: func(s *Settings) { s.AcceptSendsFrom = time.UnixMilli(1 << 42) }, code: codec.ServiceNotAvailable,
			remark: "recall failed, broker service not available"},
		{name: "not writable", change: func(s *Settings) { s.Permission, s.RecallUnwritable = codec.PermRead, false }, code: codec.ServiceNotAvailable,
			remark: "recall failed, broker service not available"},
		{name: "unknown topic", fields: func(*rig) fields { return fields{"topic": "Nowhere"} }, code: codec.TopicNotExist,
			remark: "recall failed, the topic[Nowhere] not exist"},
		{name: "no handle", fields: func(*rig) fields { return fields{"recallHandle": "nonsense"} }, code: codec.IllegalOperation,
			remark: "recall handle is invalid"},
		{name: "another version", fields: func(b *rig) fields {
			return fields{"recallHandle": handle("v2", "T", "broker-a", b.inMs(time.Minute), "K")}
		}, code: codec.IllegalOperation, remark: "recall handle is invalid"},
		{name: "another topic", fields: func(b *rig) fields {
			return fields{"recallHandle": handle("v1", "U", "broker-a", b.inMs(time.Minute), "K")}
		}, code: codec.IllegalOperation, remark: "recall failed, topic not match"},
		{name: "another broker", fields: func(b *rig) fields {
			return fields{"recallHandle": handle("v1", "T", "broker-b", b.inMs(time.Minute), "K")}
		}, code: codec.IllegalOperation, remark: "recall failed, broker service not available"},
		{name: "over", fields: func(b *rig) fields {
			return fields{"recallHandle": handle("v1", "T", "broker-a", b.inMs(0), "K")}
		}, code: codec.IllegalOperation, remark: "recall failed, timestamp invalid"},
		{name: "too far off", fields: func(b *rig) fields {
			return fields{"recallHandle": handle("v1", "T", "broker-a", b.inMs(72*time.Hour), "K")}
		}, code: codec.IllegalOperation, remark: "recall failed, timestamp invalid"},
		{name: "no number", fields: func(*rig) fields {
			return fields{"recallHandle": handle("v1", "T", "broker-a", "soon", "K")}
		}, code: codec.IllegalOperation, remark: "recall failed, timestamp invalid"},
		{name: "timer switched off", fields: func(b *rig) fields { b.opts.Timer = nil; return nil }, code: codec.SystemError,
			remark: "recall failed, execute error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRig(t)
			b.withTimer()
			b.topicOf("T", 4)
			b.set(func(s *Settings) {
				s.Recall = true
				if tt.change != nil {
					tt.change(s)
				}
			})
			head := fields{"topic": "T", "recallHandle": handle("v1", "T", "broker-a", b.inMs(time.Minute), "K")}
			if tt.fields != nil {
				head = head.with(tt.fields(b))
			}
			got := b.request(codec.RecallMessage, head, "")
			require.Equal(t, tt.code, got.Code)
			require.Equal(t, tt.remark, got.Remark)
			require.Zero(t, b.store.Written())
		})
	}
}
