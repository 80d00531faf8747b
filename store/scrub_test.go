package store

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// waitFlushed waits until all that is written is flushed.
func waitFlushed(t testing.TB, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Flushed() == s.Written() }, time.Minute, time.Millisecond)
}

func TestScrub(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 64 << 10
	log := new(lines)
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := openTestStore(t, o)
	list := putMany(t, s, "T", 0, 1000, 100)
	waitFlushed(t, s)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var waited time.Duration
	passes := 0
	var bad int64
	opts := ScrubOptions{BytesPerSecond: 1 << 20, Interval: 24 * time.Hour, Wait: func(ctx context.Context, d time.Duration) error {
		if d < 24*time.Hour {
			waited += d
			return nil
		}
		switch passes++; passes {
		case 1:
			require.Zero(t, s.ScrubCounts().Damaged.Load())
			seg := s.log.find(list[500].PhysOffset)
			defer seg.release()
			bad = list[500].PhysOffset - seg.base
			flip(t, seg.path, bad+int64(codec.PosBody(0))+4, 0)
		case 2:
			cancel()
		}
		return ctx.Err()
	}}
	require.ErrorIs(t, s.Scrub(ctx, opts), context.Canceled)
	c := s.ScrubCounts()
	require.EqualValues(t, 2, c.Passes.Load())
	require.EqualValues(t, 1, c.Damaged.Load())
	require.EqualValues(t, 1999, c.Records.Load())
	require.Equal(t, time.Duration(float64(c.Bytes.Load())/(1<<20)*float64(time.Second)).Round(time.Millisecond), waited.Round(time.Millisecond))
	require.Contains(t, log.String(), "commit log is damaged")
	require.Contains(t, log.String(), "body CRC")
	require.Error(t, s.Scrub(context.Background(), ScrubOptions{}))
}

// Segments that are deleted while they are read are no damage.
func TestScrubBesideDeletion(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 16 << 10
	s := openTestStore(t, o)
	putMany(t, s, "T", 0, 1000, 100)
	waitDispatched(t, s)
	waitFlushed(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := s.Scrub(ctx, ScrubOptions{BytesPerSecond: 1, Interval: time.Hour, Wait: func(ctx context.Context, d time.Duration) error {
		if d == time.Hour {
			cancel()
			return ctx.Err()
		}
		_, err := s.log.deleteHead(2)
		return err
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, s.ScrubCounts().Damaged.Load())
	require.NotZero(t, s.ScrubCounts().Records.Load())
}
