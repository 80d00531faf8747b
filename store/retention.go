package store

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Bounds of the watermarks. Apache: DefaultMessageStore.CleanCommitLogService, MessageStoreConfig.getDiskMaxUsedSpaceRatio.
const (
	warningMost, warningLeast   = 0.90, 0.35
	forciblyMost, forciblyLeast = 0.85, 0.30
	maxUsedMost, maxUsedLeast   = 0.95, 0.10
)

// Retention says what of the log may be deleted, and when. Ratios are shares of a disk from 0 to 1. Apache: MessageStoreConfig.
type Retention struct {
	// ReservedTime is how long after its last modification a segment expires. The default value is 72 h.
	ReservedTime time.Duration
	// DeleteWhen are the hours of the day at which expired segments are deleted. The default value is 4.
	DeleteWhen []int
	// MaxUsedRatio is the ratio above which expired segments are deleted at any hour. The default value is 0.75.
	MaxUsedRatio float64
	// ForciblyRatio is the ratio above which segments are deleted before they expire, and up to which a disk that was full
	// has to fall until messages are taken again. The default value is 0.85, which is also the most.
	ForciblyRatio float64
	// WarningRatio is the ratio above which a disk is full: no more messages are taken. The default value is 0.90, which is also
	// the most.
	WarningRatio float64
	// CleanForcibly allows deletion before expiry. The default value is true.
	CleanForcibly bool
	// BatchMax is the most segments that one round deletes, Pause the time between two of them. The default values are 10 and
	// 100 ms.
	BatchMax int
	Pause    time.Duration

	// MaxLogBytes, if positive, bounds the length of the log: the oldest segments go before they expire. The default value is 0.
	MaxLogBytes int64
	// KeepUnread keeps segments that hold messages which a live group has not consumed, until a disk is above ForciblyRatio.
	// The default value is false.
	KeepUnread bool
}

// DefaultRetention returns Java's rules.
func DefaultRetention() Retention {
	return Retention{
		ReservedTime: 72 * time.Hour, DeleteWhen: []int{4}, MaxUsedRatio: 0.75, ForciblyRatio: 0.85, WarningRatio: 0.90,
		CleanForcibly: true, BatchMax: 10, Pause: 100 * time.Millisecond,
	}
}

// within puts the ratios where Java has them: what is set beyond their bounds counts as the bound.
func (r Retention) within() Retention {
	r.MaxUsedRatio = min(max(r.MaxUsedRatio, maxUsedLeast), maxUsedMost)
	r.ForciblyRatio = min(max(r.ForciblyRatio, forciblyLeast), forciblyMost)
	r.WarningRatio = min(max(r.WarningRatio, warningLeast), warningMost)
	r.BatchMax = max(r.BatchMax, 1)
	return r
}

// timeUp reports whether now is in one of the hours of DeleteWhen.
func (r *Retention) timeUp(now time.Time) bool {
	for _, hour := range r.DeleteWhen {
		if now.Hour() == hour {
			return true
		}
	}
	return false
}

// ParseDeleteWhen reads hours of the day as Java writes them: "04", or a list separated by ";". Apache:
// UtilAll.isItTimeToDo.
func ParseDeleteWhen(text string) ([]int, error) {
	var hours []int
	for _, part := range strings.Split(text, ";") {
		if part == "" {
			continue
		}
		hour, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || hour < 0 || hour > 23 {
			return nil, errors.New("want hours of the day, 00 to 23, separated by \";\"")
		}
		hours = append(hours, hour)
	}
	return hours, nil
}
