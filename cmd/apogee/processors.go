package main

import (
	"log/slog"
	"os"
	"runtime"

	"github.com/apogee-mq/apogee/broker"
)

// spareProcessor gives the runtime a second processor where it has one and callers wait for flushes: the runtime hears of a flush's end
// in its poller, which one processor would look into late, since the event loop waits in a poller of its own. GOMAXPROCS in the environment wins. Where
// nobody waits for flushes a second one costs more than it brings, see compat/BENCHMARKS.md.
func spareProcessor(cfg *broker.Config, log *slog.Logger) {
	if cfg.FlushDiskType != "SYNC_FLUSH" || os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) > 1 {
		return
	}
	runtime.GOMAXPROCS(2)
	log.Debug("two processors of the runtime on one core, for SYNC_FLUSH")
}
