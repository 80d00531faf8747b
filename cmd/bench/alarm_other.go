//go:build !linux

package bench

import "time"

// alarm is a time.Timer for open loops.
type alarm struct {
	// c is told when the time has come.
	c     <-chan time.Time
	timer *time.Timer
}

// newAlarm returns an alarm that goes off after d. stop ends it.
func newAlarm(d time.Duration) (*alarm, error) {
	t := time.NewTimer(d)
	return &alarm{c: t.C, timer: t}, nil
}

// reset has the alarm go off after d instead of when it was to.
func (a *alarm) reset(d time.Duration) error {
	a.timer.Reset(d)
	return nil
}

// stop ends the alarm for good.
func (a *alarm) stop() { a.timer.Stop() }
