package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/store"
)

func TestScrubSettings(t *testing.T) {
	t.Parallel()
	cfg, log, err := loadText(t, "scrubBytesPerSecond=1048576\nscrubIntervalHours=168\n")
	require.NoError(t, err)
	require.Empty(t, log)
	require.Equal(t, store.ScrubOptions{BytesPerSecond: 1 << 20, Interval: 168 * time.Hour}, cfg.scrubOptions())
	cfg = DefaultConfig()
	require.Zero(t, cfg.scrubOptions().BytesPerSecond)
	_, _, err = loadText(t, "scrubIntervalHours=0")
	require.Error(t, err)
}
