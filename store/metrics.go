package store

import (
	"math"
	"sync/atomic"
)

// Metrics are figures of a store: counters since it was opened, and how things stand.
type Metrics struct {
	// LogDiskRatio and QueueDiskRatio are the shares of their disks in use, from 0 to 1, -1 when unknown. DiskFull says that
	// puts are refused because of them.
	LogDiskRatio, QueueDiskRatio float64
	DiskFull                     bool
	// LogBytes is the length of the log, from its first segment to the end of its last.
	LogBytes int64
	// What retention has deleted, in files and their bytes.
	DeletedLogFiles, DeletedLogBytes     int64
	DeletedQueueFiles, DeletedQueueBytes int64
	DeletedIndexFiles                    int64
	// UnreadDeleted counts messages that were deleted before a group which had members had consumed them, once for each
	// group. UnreadAtRisk is how many may be deleted within the hour.
	UnreadDeleted, UnreadAtRisk int64
}

// cleanCounts are the counters behind Metrics.
type cleanCounts struct {
	logFiles, logBytes, queueFiles, queueBytes, indexFiles atomic.Int64
	unreadDeleted, unreadAtRisk                            atomic.Int64
}

// Metrics returns the figures as they are now.
func (s *Store) Metrics() Metrics {
	c := s.cleaner
	m := Metrics{
		DiskFull:        c.full.Load(),
		DeletedLogFiles: c.counts.logFiles.Load(), DeletedLogBytes: c.counts.logBytes.Load(),
		DeletedQueueFiles: c.counts.queueFiles.Load(), DeletedQueueBytes: c.counts.queueBytes.Load(),
		DeletedIndexFiles: c.counts.indexFiles.Load(),
		UnreadDeleted:     c.counts.unreadDeleted.Load(), UnreadAtRisk: c.counts.unreadAtRisk.Load(),
	}
	m.LogDiskRatio, m.QueueDiskRatio = c.measured()
	if list := s.log.all(); len(list) > 0 {
		m.LogBytes = list[len(list)-1].end() - list[0].base
	}
	return m
}

// measured is how full the disks were when they were last measured.
func (c *cleaner) measured() (logRatio, queueRatio float64) {
	return math.Float64frombits(c.logRatio.Load()), math.Float64frombits(c.queueRatio.Load())
}

// LogDisks returns how full the disks of the log are, by directory. Apache: DefaultMessageStore.getRuntimeInfo.
func (s *Store) LogDisks() map[string]float64 {
	disks := make(map[string]float64)
	for _, dir := range s.log.dirs.all() {
		disks[dir], _ = s.usedRatio(dir) // -1 when it cannot be measured
	}
	return disks
}
