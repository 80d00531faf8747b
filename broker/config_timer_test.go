package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChecksTimer(t *testing.T) {
	t.Parallel()
	c := defaultTimerConfig()
	at := func(hour, minute int) time.Time { return time.Date(2026, 3, 1, hour, minute, 0, 0, time.Local) }
	require.True(t, c.checksTimer(at(5, 1), at(3, 0)))
	require.False(t, c.checksTimer(at(5, 6), at(5, 1)), "once in an hour")
	require.False(t, c.checksTimer(at(6, 0), at(3, 0)))
	require.False(t, c.checksTimer(at(5, 1), at(4, 30)), "right after the start")
	c.TimerCheckWhen = "05;17"
	require.True(t, c.checksTimer(at(17, 59), at(5, 1)))
	c.TimerCheckMetrics = false
	require.False(t, c.checksTimer(at(17, 59), at(5, 1)))
}
