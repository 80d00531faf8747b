package main

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/apogee-mq/apogee/store"
)

// heapShareOfRAM is how much of the memory there is Go's heap may take before the collector works harder: the rest is for the page
// cache, which a container's limit counts too.
const heapShareOfRAM = 0.5

// boundHeap makes the collector keep the heap within the machine's or the container's memory. GOMEMLIMIT in the environment wins.
func boundHeap(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(float64(store.RAM()) * heapShareOfRAM)
	debug.SetMemoryLimit(limit)
	log.Debug("heap is bounded", "bytes", limit)
}
