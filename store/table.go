package store

import (
	"log/slog"
	"time"
)

// TableOptions are what the tables (topics, groups, offsets, delay offsets) have in common. Nil members take their
// defaults.
type TableOptions struct {
	// Now is the clock. The default value is time.Now.
	Now func() time.Time
	// Faults, if set, is asked before each file operation that may fail. The default value is nil.
	Faults func(op FileOp, path string) error
	// Logger takes what happens. The default value discards.
	Logger *slog.Logger
}
