package compat

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReceipts sends acks and renewals with receipts that are cut, forged, of another broker or used up. None does anything to the
// delivery, which is acknowledged in the end and does not come again.
func TestReceipts(t *testing.T) {
	tg := onShared(t)
	r := newPopRun(t, tg, 1)
	r.put(t, 1, "x")
	m := r.popUntil(t, 1, time.Minute, popAgain)[0]
	part := strings.Fields(m.receipt)
	// receipt is the message's with some parts, by number, replaced.
	receipt := func(pairs ...any) string {
		all := append([]string(nil), part...)
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i].(int)] = pairs[i+1].(string)
		}
		return strings.Join(all, " ")
	}
	for _, tt := range []struct {
		name, receipt string
		code          int
	}{
		{"empty", "", resSystemError},
		{"one word", "x", resSystemError},
		{"five parts", strings.Join(part[:5], " "), resSystemError},
		{"no numbers", "a b c d e f g h", resSystemError},
		{"a number beyond 64 bits", receipt(1, "99999999999999999999"), resSystemError},
		{"64 KiB", strings.Repeat("1", 64<<10), resSystemError},
		{"of another broker and another delivery", receipt(0, "7", 5, "another-broker"), resSuccess},
		{"of a delivery that never was", receipt(1, "1000"), resSuccess},
		{"of a time to come", receipt(1, "9999999999999"), resSuccess},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := r.c.must(t, codeAck, with(m.ackFields(), "extraInfo", tt.receipt), nil)
			require.Equal(t, tt.code, res.Code, "ack: %s", res.Remark)
			if tt.code == resSuccess { // Apache makes a delivery of whatever a renewal names
				return
			}
			res = r.c.must(t, codeChangeInvisible, with(m.ackFields(), "extraInfo", tt.receipt, "invisibleTime", 1000), nil)
			require.Equal(t, tt.code, res.Code, "renewal: %s", res.Remark)
		})
	}
	require.Empty(t, r.pop(t, popFields(r.group, r.topic, time.Minute)), "it is still invisible")
	r.ack(t, m, m)
	require.Empty(t, r.pop(t, popFields(r.group, r.topic, time.Minute)))
}
