package auth

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// open opens a guard with what the options leave out.
func open(t testing.TB, opts Options) *Guard {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Cluster == "" {
		opts.Cluster = "DefaultCluster"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Now = time.Now
	g, err := Open(opts)
	require.NoError(t, err)
	return g
}
