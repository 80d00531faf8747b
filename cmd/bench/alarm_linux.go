package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a time.Timer for open loops, a timerfd: the runtime waits for its own timers in whole milliseconds where nothing else is to
// be done, and what is due half a millisecond late counts as the server's latency.
type alarm struct {
	// c is told when the time has come, unless it still holds what it was told before.
	c    <-chan time.Time
	file *os.File
}

// newAlarm returns an alarm that goes off after d. stop ends it.
func newAlarm(d time.Duration) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	c := make(chan time.Time, 1)
	a := &alarm{c: c, file: os.NewFile(uintptr(fd), "timerfd")}
	go func() {
		var times [8]byte
		for {
			if _, err := a.file.Read(times[:]); err != nil { // stopped
				return
			}
			select {
			case c <- time.Now():
			default:
			}
		}
	}()
	return a, a.reset(d)
}

// reset has the alarm go off after d, at once if that is not positive, instead of when it was to.
func (a *alarm) reset(d time.Duration) error {
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, d.Nanoseconds()))}
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.TimerfdSettime(int(fd), 0, &at, nil) })
	if err == nil && failed != nil {
		err = fmt.Errorf("timerfd_settime: %w", failed)
	}
	return err
}

// stop ends the alarm for good.
func (a *alarm) stop() { _ = a.file.Close() }
