package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// ScrubCounts are counters of Scrub since the store was opened.
type ScrubCounts struct {
	// Passes counts how often the whole log was read, Records and Bytes what was read.
	Passes, Records, Bytes atomic.Int64
	// Damaged counts places that hold no whole record. A place that is met again in the next pass counts again.
	Damaged atomic.Int64
}

// ScrubOptions are the settings of Store.Scrub.
type ScrubOptions struct {
	// BytesPerSecond is how fast the log is read.
	BytesPerSecond int64
	// Interval is how long nothing is read between two passes, at least a second.
	Interval time.Duration
	// Wait waits, or returns the error of a context that has ended. The default value waits by the clock.
	Wait func(ctx context.Context, d time.Duration) error
}

// ScrubCounts returns the counters of Scrub.
func (s *Store) ScrubCounts() *ScrubCounts { return &s.scrubbed }

// Scrub reads what is flushed of the log over and over, with read(2) and at a pace, and compares every body with its
// checksum. Damage is an error in the log with file and position, and is counted. It returns when ctx ends.
func (s *Store) Scrub(ctx context.Context, opts ScrubOptions) error {
	if opts.BytesPerSecond <= 0 {
		return fmt.Errorf("scrub with %d bytes a second", opts.BytesPerSecond)
	}
	if opts.Wait == nil {
		opts.Wait = waitTime
	}
	for {
		if err := s.scrubOnce(ctx, &opts); err != nil {
			return err
		}
		if err := opts.Wait(ctx, max(opts.Interval, time.Second)); err != nil {
			return err
		}
	}
}

// waitTime waits by the clock.
func waitTime(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// scrubOnce reads the log once.
func (s *Store) scrubOnce(ctx context.Context, opts *ScrubOptions) error {
	for _, seg := range s.log.all() {
		limit := min(s.Flushed()-seg.base, seg.size)
		if limit <= 0 {
			break
		}
		if err := s.scrubSegment(ctx, opts, seg, limit); err != nil {
			return err
		}
	}
	n := s.scrubbed.Passes.Add(1)
	s.opts.Logger.Info("commit log scrubbed", "passes", n, "records", s.scrubbed.Records.Load(), "damaged", s.scrubbed.Damaged.Load())
	return nil
}

// scrubSegment reads the records of one segment that lie before limit. A segment that is deleted meanwhile is no error.
func (s *Store) scrubSegment(ctx context.Context, opts *ScrubOptions, seg *segment, limit int64) error {
	r, err := openLogFile(seg.path, seg.base, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.scrubDamage(seg.path, 0, limit, err)
		return nil
	}
	defer r.close()
	r.took = func(n int) error {
		s.scrubbed.Bytes.Add(int64(n))
		return opts.Wait(ctx, time.Duration(float64(n)/float64(opts.BytesPerSecond)*float64(time.Second)))
	}
	w, err := r.walk(ctx, 0, limit, &scrub{s, seg.path})
	switch {
	case err != nil:
		return err
	case w.kind != logFull && w.pos < limit:
		s.scrubDamage(seg.path, w.pos, limit, w.cause)
	}
	return nil
}

// scrub counts what walk finds.
type scrub struct {
	s    *Store
	path string
}

func (v *scrub) record(int64, *codec.Message) error {
	v.s.scrubbed.Records.Add(1)
	return nil
}

func (v *scrub) damage(pos, until int64, cause error) error {
	v.s.scrubDamage(v.path, pos, until, cause)
	return nil
}

func (s *Store) scrubDamage(path string, pos, until int64, cause error) {
	s.scrubbed.Damaged.Add(1)
	s.opts.Logger.Error("commit log is damaged, what lies there is lost", "path", path, "pos", pos, "until", until, "err", cause)
}
