package admin

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpansOfATrace(t *testing.T) {
	t.Parallel()
	pub := "Pub\x011795225568000\x01DefaultRegion\x01PG_trace\x01FxTrace\x01ID1\x01TagA\x01K1\x01127.0.0.1:10911\x015\x0138\x010\x01OFF1\x01true\x02"
	sub := "SubAfter\x01REQ\x01ID1\x0194\x01false\x01K1\x010\x011795225570000\x01CG_trace\x02"
	require.Equal(t, []span{
		{kind: "Pub", group: "PG_trace", host: "10.0.0.1", msgID: "ID1", atMs: 1795225568000, costMs: 38, ok: true},
		{kind: "Sub", group: "CG_trace", host: "10.0.0.1", msgID: "ID1", atMs: 1795225570000, costMs: 94},
	}, readSpans(pub+"SubBefore\x01x\x02"+sub+"broken\x02Pub\x01short\x02", 7, "10.0.0.1"))
}
