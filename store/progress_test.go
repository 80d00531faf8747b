package store

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A line says what is done, of how much, how fast, and how long the rest will take.
func TestProgressTells(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.UnixMilli(1_700_000_000_000)
	p := progress{logger: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	p.tell() // nothing has begun
	p.begin("reading the commit log", unitMiB, 10<<30)
	now = now.Add(4 * time.Second)
	p.tell() // no rate yet
	p.done.Store(2 << 30)
	p.tell()
	p.begin("opening queues", "topics", 300)
	p.done.Store(100)
	now = now.Add(10 * time.Second)
	p.tell()
	lines := bytes.Split(bytes.TrimSpace(log.Bytes()), []byte("\n"))
	require.Len(t, lines, 3)
	require.NotContains(t, string(lines[0]), "remaining")
	require.Contains(t, string(lines[1]), `work="reading the commit log" done=2048 of=10240 unit=MiB per-second=512 remaining=16s`)
	require.Contains(t, string(lines[2]), `work="opening queues" done=100 of=300 unit=topics per-second=10 remaining=20s`)
}

// While something takes long there is a line at every tick, and none after its end.
func TestProgressTicks(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 100)
	p := progress{logger: slog.New(slog.NewTextHandler(lineWriter(lines), nil)), now: time.Now}
	p.begin("opening queues", "topics", 1)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); p.every(time.Millisecond, stop) }()
	for range 3 {
		require.Contains(t, <-lines, "opening queues")
	}
	close(stop)
	<-ended
}

type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	select {
	case w <- string(b):
	default:
	}
	return len(b), nil
}
