package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An alarm goes off as often as it is set, and one that was set far ahead can be set to be sooner.
func TestAlarm(t *testing.T) {
	t.Parallel()
	a, err := newAlarm(-time.Second)
	require.NoError(t, err)
	defer a.stop()
	<-a.c
	require.NoError(t, a.reset(time.Hour))
	require.NoError(t, a.reset(time.Millisecond))
	<-a.c
	require.Empty(t, a.c)
}
