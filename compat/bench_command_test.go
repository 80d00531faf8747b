package compat

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBenchCommand runs `apogee bench` against the target: every acknowledged message is read back.
func TestBenchCommand(t *testing.T) {
	tg := onShared(t)
	bin, err := apogeeBinary()
	require.NoError(t, err)
	for _, args := range [][]string{
		{"produce", "--connections", "3", "--window", "4"},
		{"produce", "--batch", "16", "--size", "100", "--connections", "2"},
		{"produce", "--rate", "500"},
		{"consume", "--messages", "500", "--connections", "2"},
		{"e2e", "--rate", "300", "--groups", "2", "--connections", "2"},
	} {
		t.Run(args[0], func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			if tg.Kind == Apogee && args[0] == "produce" {
				args = append(args, "--lag")
			}
			args = append([]string{"bench"}, append(args, "-n", tg.Namesrv(), "--topics", "2", "--queues", "2", "--duration", "500ms",
				"--warmup", "100ms", "--progress", "0", "--output", "json")...)
			out, err := exec.CommandContext(ctx, bin, args...).Output()
			require.NoError(t, err)
			var got struct {
				Messages int64
				Check    struct{ Acknowledged, Found, Missing, Repeated int64 }
				Dispatch *struct{ Readings int64 }
			}
			require.NoError(t, json.Unmarshal(out, &got))
			require.Positive(t, got.Check.Acknowledged)
			require.Equal(t, got.Check.Acknowledged, got.Check.Found)
			require.Zero(t, got.Check.Missing)
			require.Zero(t, got.Check.Repeated)
			if slices.Contains(args, "--lag") {
				require.Positive(t, got.Dispatch.Readings)
			}
		})
	}
}
