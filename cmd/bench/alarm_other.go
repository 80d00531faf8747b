//go:build !linux

package bench

import "time"

// Alarm is a time.Timer for open loops.
type Alarm struct {
	// C is told when the time has come.
	C     <-chan time.Time
	timer *time.Timer
}

// NewAlarm returns an alarm that goes off after d. Stop ends it.
func NewAlarm(d time.Duration) (*Alarm, error) {
	t := time.NewTimer(d)
	return &Alarm{C: t.C, timer: t}, nil
}

// Reset has the alarm go off after d instead of when it was to.
func (a *Alarm) Reset(d time.Duration) error {
	a.timer.Reset(d)
	return nil
}

// Stop ends the alarm for good.
func (a *Alarm) Stop() { a.timer.Stop() }
