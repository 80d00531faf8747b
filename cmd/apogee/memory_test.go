package main

import (
	"io"
	"log/slog"
	"math"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/store"
)

func TestHeapIsBoundedByWhatThereIs(t *testing.T) {
	was := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	log := slog.New(slog.NewTextHandler(io.Discard, nil))

	t.Setenv("GOMEMLIMIT", "123MiB")
	boundHeap(log)
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1), "the runtime has read GOMEMLIMIT already")

	t.Setenv("GOMEMLIMIT", "")
	boundHeap(log)
	require.Positive(t, store.RAM())
	require.InDelta(t, store.RAM()/2, debug.SetMemoryLimit(-1), 1)
}
