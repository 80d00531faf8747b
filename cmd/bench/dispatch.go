package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// lagEvery is how often --lag asks a broker. To ask is not free: the answer counts the broker's groups and queues.
const lagEvery = 100 * time.Millisecond

// lag is how far brokers were behind with entering messages of the log into queues and index: upper bounds, over all moments between
// the first reading and the last. The time is never below the distance of two readings.
type lag struct {
	Millis   float64 `json:"maxMs"`
	Bytes    int64   `json:"maxBytes"`
	Readings int     `json:"readings"`
}

// reading is what a broker said at some moment between asked and got.
type reading struct {
	asked, got          time.Time
	written, dispatched int64
}

// lagOf follows the readings of one broker.
type lagOf struct {
	lag
	// open starts with the newest reading whose log is dispatched as a whole (or the first of all) and goes on with all after it.
	open []reading
}

// add takes the next reading. Just before it no more may have been dispatched than the reading before it told: then the oldest byte
// that was not was written after the reading that open starts with was asked for, and was as old as that.
func (l *lagOf) add(r reading) {
	if l.Readings++; len(l.open) > 0 {
		l.Millis = max(l.Millis, float64(r.got.Sub(l.open[0].asked))/float64(time.Millisecond))
	}
	l.Bytes = max(l.Bytes, r.written-r.dispatched)
	l.open = append(l.open, r)
	done := 0
	for done+1 < len(l.open) && l.open[done+1].written <= r.dispatched {
		done++
	}
	l.open = append(l.open[:0], l.open[done:]...)
}

// sendWatched is send while brokers are asked how far behind they are.
func (r *run) sendWatched(ctx context.Context, worst *lag) error {
	firsts := map[string]reading{} // a server that does not tell is named before it has any load
	for addr := range byAddr(r.queues) {
		var err error
		if firsts[addr], err = r.cluster.dispatched(ctx, addr); err != nil {
			return fmt.Errorf("--lag: %w", err)
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex // guards worst and errs
	var errs []error
	var watchers sync.WaitGroup
	for addr, first := range firsts {
		watchers.Go(func() {
			l, err := r.watch(watching, addr, first)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			worst.Millis, worst.Bytes, worst.Readings = max(worst.Millis, l.Millis), max(worst.Bytes, l.Bytes), worst.Readings+l.Readings
		})
	}
	err := r.send(ctx)
	stop()
	watchers.Wait()
	return errors.Join(append(errs, err)...)
}

// watch reads a broker until ctx ends.
func (r *run) watch(ctx context.Context, addr string, first reading) (lag, error) {
	var l lagOf
	l.add(first)
	ticker := time.NewTicker(lagEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return l.lag, nil
		}
		got, err := r.cluster.dispatched(ctx, addr)
		switch {
		case ctx.Err() != nil:
			return l.lag, nil
		case err != nil:
			return l.lag, fmt.Errorf("--lag: %w", err)
		}
		l.add(got)
	}
}

// dispatched asks a broker for its watermarks. Apache's tells the second as the bytes between.
func (c *cluster) dispatched(ctx context.Context, addr string) (reading, error) {
	r := reading{asked: time.Now()}
	resp, err := c.client.Call(ctx, addr, &codec.Command{Code: codec.GetBrokerRuntimeInfo, Language: codec.LanguageGo})
	if err != nil {
		return r, err
	}
	r.got = time.Now()
	if resp.Code != codec.Success {
		return r, fmt.Errorf("status of %s: %d %s", addr, resp.Code, resp.Remark)
	}
	var kv codec.KVTable
	if err := codec.UnmarshalJSON(resp.Body, &kv); err != nil {
		return r, fmt.Errorf("read the status of %s: %w", addr, err)
	}
	written, err := strconv.ParseInt(kv.Table["commitLogMaxOffset"], 10, 64)
	behind, berr := strconv.ParseInt(kv.Table["dispatchBehindBytes"], 10, 64)
	if err := errors.Join(err, berr); err != nil {
		return r, fmt.Errorf("the status of %s does not tell how far it has dispatched: %w", addr, err)
	}
	r.written, r.dispatched = written, written-behind
	return r, nil
}
