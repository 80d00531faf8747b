package store

import (
	"context"

	"github.com/apogee-mq/apogee/codec"
)

// DefaultDelayLevels is Java's messageDelayLevel.
const DefaultDelayLevels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

// DelayLevels are the rests of levels 1, 2, 3 … in milliseconds. Apache: ScheduleMessageService.parseDelayLevel.
type DelayLevels []int64

// ParseDelayLevels reads messageDelayLevel: numbers with a unit of s, m, h or d, separated by blanks.
func ParseDelayLevels(text string) (DelayLevels, error) { return nil, nil }

// Clamp returns level, or the highest one when there are fewer levels.
func (l DelayLevels) Clamp(level int) int { return min(level, len(l)) }

// DueMs returns when a message of a level that was stored at storeTimestampMs is due, both in ms.
func (l DelayLevels) DueMs(level int, storeTimestampMs int64) int64 { return 0 }

// TagsCode returns the tag code of a queue entry in SCHEDULE_TOPIC_XXXX, which is the due time in ms; ok is false for
// properties without a delay level. Recovery needs it, since records do not hold it. Apache:
// CommitLog.checkMessageAndReturnSize.
func (l DelayLevels) TagsCode(properties []byte, storeTimestampMs int64) (dueMs int64, ok bool) {
	return 0, false
}

// ScheduleOptions are the settings of the delay levels.
type ScheduleOptions struct {
	TableOptions
	// Levels is messageDelayLevel. The default value is DefaultDelayLevels.
	Levels DelayLevels
}

// Schedule keeps delayed messages in SCHEDULE_TOPIC_XXXX, one queue a level, and delivers those that are due;
// delayOffset.json says up to where. Apache: ScheduleMessageService.
type Schedule struct{}

// OpenSchedule reads delayOffset.json from path (and path.bak) for the delayed messages in s.
func OpenSchedule(path string, s *Store, opts ScheduleOptions) (*Schedule, error) {
	return &Schedule{}, nil
}

// Levels returns the delay levels.
func (s *Schedule) Levels() DelayLevels { return nil }

// Redirect turns m into a message that rests for a level: topic SCHEDULE_TOPIC_XXXX, queue level-1, its topic and queue
// in REAL_TOPIC and REAL_QID, its due time as tag code. A level above the highest counts as the highest. It allocates
// new properties. Apache: HookUtils.transformDelayLevelMessage.
func (s *Schedule) Redirect(m *Message, level int) {}

// Notify tells that entries became visible in a queue of SCHEDULE_TOPIC_XXXX; the dispatcher's OnArrival calls it. It
// does not block.
func (s *Schedule) Notify(queueID int32) {}

// Run delivers due messages until ctx ends. It may be called once.
func (s *Schedule) Run(ctx context.Context) error { return nil }

// Persist writes delayOffset.json if it changed since the last Persist.
func (s *Schedule) Persist() error { return nil }

// Snapshot returns what delayOffset.json holds. It is the caller's.
func (s *Schedule) Snapshot() codec.DelayOffsetTable { return codec.DelayOffsetTable{} }
