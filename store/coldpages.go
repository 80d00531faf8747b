package store

import (
	"log/slog"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// coldPages makes pages of log and queues present before readers who are far behind look at them. Whoever meets a page that is not in memory
// keeps the processor it runs on until the disk has answered; where GOMAXPROCS is 1 no event loop runs meanwhile. So a ring is asked for
// them, whose callers wait in the runtime's poller. Where there are none, as in many containers, the pages are asked for and looked for again
// and again; those that do not come are left to whoever looks at them.
type coldPages struct {
	open  sync.Once
	rings chan *ring // those nobody waits on; closed with the store
	made  int        // rings
	gate  sync.Mutex // see turn
}

const (
	// coldRings bounds the readers who wait for pages at one time.
	coldRings = 8
	// coldReadBytes is how much of the log is read at a time, coldEntryBytes of a queue. A fault would read what the device reads ahead,
	// which may be 8 MiB and keep the core for some milliseconds, or 128 KiB.
	coldReadBytes  = 256 << 10
	coldEntryBytes = 64 << 10
	// coldPoll is how long is waited first for pages without a ring, then twice as long each time, up to coldPatience.
	coldPoll     = 50 * time.Microsecond
	coldPatience = 50 * time.Millisecond
)

// await returns when the n bytes at a position of a segment are in memory; the kernel is asked for as many as ahead with them. It says up
// to where others behind them are in memory, too.
func (c *coldPages) await(seg *segment, pos, n, ahead int64, logger *slog.Logger) (upTo int64) {
	from, to := pos&^(pageBytes-1), min(roundUp(pos+n, pageBytes), seg.size)
	end := min(max(to, from+ahead), seg.size)
	there := from + presentBytes(seg.data[from:end])
	if there >= to {
		return there
	}
	fd, err := syscall.Open(seg.path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // an os.File costs six calls more
	if err != nil {
		return to // deleted just now
	}
	defer syscall.Close(fd)
	defer c.turn()
	if r := c.take(logger); r != nil {
		r.readAhead(fd, there, end)
		done := r.present(seg.data[there:to])
		c.rings <- r
		if done {
			return to
		}
	}
	readAhead(fd, there, end)
	lookFor(seg.data[there:min(to, there+coldReadBytes)])
	return to
}

// turn lets the event loop have a turn. Where GOMAXPROCS is 1 all goroutines that can run do so before the loop does, which would find the
// answers of all readers at once, and requests of others that have waited for these: so they go on one after the other, with a turn of the loop
// in between.
func (c *coldPages) turn() {
	c.gate.Lock()
	runtime.Gosched()
	c.gate.Unlock()
}

// lookFor waits until b is in memory, or long enough.
func lookFor(b []byte) {
	for wait := coldPoll; wait <= coldPatience && presentBytes(b) < int64(len(b)); wait *= 2 {
		time.Sleep(wait)
	}
}

// take returns a ring that nobody waits on, when there is one, for the caller to give back; nil where there are none.
func (c *coldPages) take(logger *slog.Logger) *ring {
	c.open.Do(func() {
		failed := func(err error) {
			logger.Warn("one of the readers of messages that are not in memory does without io_uring from here on", "err", err)
		}
		c.rings = make(chan *ring, coldRings)
		for c.made < coldRings {
			r, err := newRing(failed) // why there is none is said of the flusher's
			if err != nil {
				break
			}
			c.rings <- r
			c.made++
		}
	})
	if c.made == 0 {
		return nil
	}
	return <-c.rings
}

// close waits for the readers who have rings; those who come later do without.
func (c *coldPages) close() {
	c.open.Do(func() {})
	if c.made == 0 {
		return
	}
	for range c.made {
		(<-c.rings).close()
	}
	close(c.rings)
}
