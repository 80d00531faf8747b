package main

import (
	"io"
	"log/slog"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/broker"
)

func TestSpareProcessor(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, x := range []struct {
		flush, environment string
		procs, want        int
	}{
		{"SYNC_FLUSH", "", 1, 2},
		{"SYNC_FLUSH", "", 3, 3},
		{"SYNC_FLUSH", "1", 1, 1},
		{"ASYNC_FLUSH", "", 1, 1},
	} {
		t.Setenv("GOMAXPROCS", x.environment)
		runtime.GOMAXPROCS(x.procs)
		spareProcessor(&broker.Config{FlushDiskType: x.flush}, log)
		require.Equal(t, x.want, runtime.GOMAXPROCS(0), x)
	}
}
