package main

import (
	"log/slog"
	"os"
	"runtime"

	"github.com/apogee-mq/apogee/broker"
)

// spareProcessor gives the runtime a second processor where it has one and callers wait for flushes: a flush keeps the processor it
// runs on, and its end is noticed late when the event loop has that by then. GOMAXPROCS in the environment wins. Where nobody waits
// for flushes a second one costs more than it brings, see compat/BENCHMARKS.md.
func spareProcessor(cfg *broker.Config, log *slog.Logger) {
	if cfg.FlushDiskType != "SYNC_FLUSH" || os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) > 1 {
		return
	}
	runtime.GOMAXPROCS(2)
	log.Debug("two processors of the runtime on one core, for SYNC_FLUSH")
}
