package store

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// DefaultDelayLevels is Java's messageDelayLevel.
const DefaultDelayLevels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

// maxDelayLevels bounds the queues of SCHEDULE_TOPIC_XXXX.
const maxDelayLevels = 1024

// unknownLevelRestMs is Java's rest for a level that is not in the table.
const unknownLevelRestMs = 1000

// DelayLevels are the rests of levels 1, 2, 3 … in milliseconds. Apache: ScheduleMessageService.parseDelayLevel.
type DelayLevels []int64

// ParseDelayLevels reads messageDelayLevel: numbers with a unit of s, m, h or d, separated by one blank.
func ParseDelayLevels(text string) (DelayLevels, error) {
	words := strings.Split(text, " ")
	if len(words) > maxDelayLevels {
		return nil, fmt.Errorf("messageDelayLevel has %d levels, more than %d", len(words), maxDelayLevels)
	}
	levels := make(DelayLevels, 0, len(words))
	for _, word := range words {
		rest, err := parseRest(word)
		if err != nil {
			return nil, fmt.Errorf("messageDelayLevel %q: %w", text, err)
		}
		levels = append(levels, rest)
	}
	return levels, nil
}

func parseRest(word string) (ms int64, err error) {
	if len(word) < 2 {
		return 0, fmt.Errorf("%q is not a number with a unit of s, m, h or d", word)
	}
	unit := map[byte]int64{'s': 1000, 'm': 60_000, 'h': 3_600_000, 'd': 86_400_000}[word[len(word)-1]]
	n, err := strconv.ParseInt(word[:len(word)-1], 10, 64)
	if unit == 0 || err != nil || n < 0 || n > math.MaxInt64/2/unit {
		return 0, fmt.Errorf("%q is not a number with a unit of s, m, h or d", word)
	}
	return n * unit, nil
}

// Clamp returns level, or the highest one when there are fewer levels.
func (l DelayLevels) Clamp(level int) int { return min(level, len(l)) }

// DueMs returns when a message of a level that was stored at storeTimestampMs is due, both in ms since 1970. Apache:
// ScheduleMessageService.computeDeliverTimestamp.
func (l DelayLevels) DueMs(level int, storeTimestampMs int64) int64 {
	if level < 1 || level > len(l) {
		return storeTimestampMs + unknownLevelRestMs
	}
	return storeTimestampMs + l[level-1]
}

// TagsCode returns the tag code of a queue entry in SCHEDULE_TOPIC_XXXX, which is the due time in ms; ok is false for
// properties without a delay level. Recovery needs it, since a record does not hold it. Apache:
// CommitLog.checkMessageAndReturnSize.
func (l DelayLevels) TagsCode(properties []byte, storeTimestampMs int64) (dueMs int64, ok bool) {
	level, err := delayLevel(properties)
	if err != nil || level <= 0 {
		return 0, false
	}
	return l.DueMs(l.Clamp(level), storeTimestampMs), true
}

// DelayLevel returns the level that a message asks to rest for, at most 0 when it asks for none: the property DELAY,
// unless the message is prepared or rolled back in a transaction. The error is ErrIllegal for a DELAY that is no number.
// Apache: HookUtils.handleScheduleMessage.
func DelayLevel(properties []byte, sysFlag int32) (level int, err error) {
	switch codec.TransactionType(sysFlag) {
	case codec.SysPrepared, codec.SysRollback:
		return 0, nil
	}
	return delayLevel(properties)
}

func delayLevel(properties []byte) (int, error) {
	text, ok := codec.Property(properties, codec.PropDelay)
	if !ok {
		return 0, nil
	}
	level, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: delay level %q", ErrIllegal, text)
	}
	return int(level), nil
}
