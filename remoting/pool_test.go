package remoting

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// gate is a handler that waits, and tells that it does.
type gate struct {
	began chan struct{}
	open  chan struct{}
}

func newGate() *gate { return &gate{began: make(chan struct{}, 1000), open: make(chan struct{})} }

func (g *gate) handle(req *Request) (*codec.Command, error) {
	g.began <- struct{}{}
	<-g.open
	return echo(req)
}

func TestInlineHandlerHandsOver(t *testing.T) {
	t.Parallel()
	var inline, pooled atomic.Int32
	both := func(req *Request) (*codec.Command, error) {
		if req.Inline() {
			inline.Add(1)
			return nil, ErrHandOver
		}
		pooled.Add(1)
		return echo(req)
	}
	s := serve(t, []Entry{{Code: 1000, Inline: true, Pool: PoolSend, Handler: both}}, nil)
	c := dial(t, s)
	const n = 300
	got := map[int32]string{}
	for i := range n {
		c.send(request(1000, int32(i), strings.Repeat("x", i)))
	}
	for range n {
		cmd := c.receive()
		require.Len(t, cmd.Body, int(cmd.Opaque))
		got[cmd.Opaque] = ""
	}
	require.Len(t, got, n)
	require.Equal(t, int32(n), inline.Load())
	require.Equal(t, int32(n), pooled.Load())
	require.Equal(t, int64(n), s.Metrics().HandedOver)
}

func TestFullPoolIsBusyAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate()
	s := serve(t, []Entry{{Code: 1000, Pool: PoolSend, Handler: g.handle}}, func(o *Options) {
		o.Workers[PoolSend], o.Queue[PoolSend], o.MaxWait[PoolSend] = 1, 2, 0
	})
	c := dial(t, s)
	c.send(request(1000, 0, "runs"))
	receives(t, "the first one runs", g.began)
	var burst [][]byte
	for i := range 5 {
		burst = append(burst, request(1000, int32(1+i), "x"))
	}
	burst = append(burst, oneway(1000, 99, ""), request(codeEcho, 50, ""))
	c.send(burst...)
	busy := map[int32]bool{}
	for range 4 { // two of the five wait
		got := c.receive()
		if got.Opaque == 50 {
			continue
		}
		require.Equal(t, respSystemBusy, got.Code)
		require.Equal(t, "[OVERLOAD]system busy, start flow control for a while, the send pool's queue of 2 requests is full", got.Remark)
		busy[got.Opaque] = true
	}
	require.Len(t, busy, 3)
	require.Equal(t, 2, s.Pool(PoolSend).Len())
	require.Equal(t, 2, s.Metrics().Queued[PoolSend])
	require.False(t, s.Pool(PoolSend).Submit(taskFunc(func() {})), "a task does not fit either")
	c.send(request(codePooled, 60, "another pool"))
	require.Equal(t, int32(60), c.receive().Opaque)
	close(g.open)
	for range 3 {
		got := c.receive()
		require.Equal(t, int32(0), got.Code)
		require.False(t, busy[got.Opaque])
	}
	require.Equal(t, int64(4), s.Metrics().Busy)
}

func TestRequestThatWaitedTooLongIsBusy(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	g := newGate()
	s := serve(t, []Entry{{Code: 1000, Pool: PoolSend, Handler: g.handle}}, func(o *Options) {
		o.Workers[PoolSend], o.MaxWait[PoolSend] = 1, 200*time.Millisecond
		o.Now = func() time.Time { return time.Unix(0, now.Load()) }
	})
	c := dial(t, s)
	c.send(request(1000, 1, ""))
	receives(t, "the first one runs", g.began)
	c.send(request(1000, 2, ""), request(1000, 3, ""))
	eventually(t, "two wait", func() bool { return s.Pool(PoolSend).Len() == 2 })
	now.Add(int64(201 * time.Millisecond))
	close(g.open)
	require.Equal(t, int32(0), c.receive().Code)
	for i := range 2 {
		got := c.receive()
		require.Equal(t, respSystemBusy, got.Code)
		require.Equal(t, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 201ms, size of queue: "+
			[]string{"1", "0"}[i], got.Remark)
	}
	require.Equal(t, int64(2), s.Metrics().TooOld)
}

func TestBytesInFlightAreBounded(t *testing.T) {
	t.Parallel()
	g := newGate()
	s := serve(t, []Entry{{Code: 1000, Pool: PoolSend, Handler: g.handle}}, func(o *Options) {
		o.Workers[PoolSend], o.MaxWait[PoolSend] = 1, 0
		o.MaxConnInflightBytes, o.MaxInflightBytes = 30_000, 50_000
	})
	a, b := dial(t, s), dial(t, s)
	body := strings.Repeat("x", 9000)
	for i := range 4 {
		a.send(request(1000, int32(i), body))
	}
	got := a.receive()
	require.Equal(t, int32(3), got.Opaque)
	require.Equal(t, respSystemBusy, got.Code)
	require.Equal(t, "[OVERLOAD]system busy, start flow control for a while, requests of this connection that are being answered "+
		"take more than 30000 bytes", got.Remark)
	for i := range 3 {
		b.send(request(1000, int32(i), body))
	}
	got = b.receive()
	require.Equal(t, int32(2), got.Opaque)
	require.Equal(t, respSystemBusy, got.Code)
	require.Equal(t, "[OVERLOAD]system busy, start flow control for a while, requests that are being answered take more than 50000 bytes",
		got.Remark)
	close(g.open)
	for range 3 {
		require.Len(t, a.receive().Body, 9000)
	}
	for range 2 {
		require.Len(t, b.receive().Body, 9000)
	}
	eventually(t, "nothing is in flight", func() bool { return s.Metrics().InflightBytes == 0 })
	a.send(request(1000, 9, body))
	require.Len(t, a.receive().Body, 9000)
}

func TestFrameThatDoesNotFitIsRefusedAndSkipped(t *testing.T) {
	t.Parallel()
	g := newGate()
	s := serve(t, []Entry{{Code: 1000, Pool: PoolSend, Handler: g.handle}}, func(o *Options) { o.MaxInflightBytes = 1 << 20 })
	a, b := dial(t, s), dial(t, s)
	a.send(request(1000, 1, strings.Repeat("x", 1<<20-1000)))
	receives(t, "a large one runs", g.began)
	large := request(codeEcho, 2, strings.Repeat("y", 4<<20))
	for _, frame := range [][]byte{large, oneway(codeEcho, 3, strings.Repeat("y", 4<<20)), large} {
		var wrote sync.WaitGroup
		wrote.Go(func() {
			_, _ = b.Write(frame[:len(frame)/2])
			_, _ = b.Write(frame[len(frame)/2:])
			_, _ = b.Write(request(codeEcho, 4, "small"))
		})
		got := b.receive()
		if got.Opaque == 2 {
			require.Equal(t, respSystemBusy, got.Code)
			require.Contains(t, got.Remark, "[OVERLOAD]system busy, start flow control for a while, requests that are being answered")
			got = b.receive()
		}
		require.Equal(t, int32(4), got.Opaque)
		require.Equal(t, "small", string(got.Body))
		wrote.Wait()
	}
	require.Equal(t, int64(3), s.Metrics().Busy)
	close(g.open)
	a.receive()
	b.send(request(codeEcho, 5, strings.Repeat("z", 1<<19)))
	require.Len(t, b.receive().Body, 1<<19, "the next one that fits is taken")
}

type taskFunc func()

func (f taskFunc) Run() { f() }

func TestSubmittedTasksRun(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(o *Options) { o.Queue[PoolPull] = 1000 })
	ran := make(chan int, 1000)
	for i := range 500 {
		require.True(t, s.Pool(PoolPull).Submit(taskFunc(func() {
			if i%10 == 0 {
				panic("a task's own bug")
			}
			ran <- i
		})))
	}
	seen := map[int]bool{}
	for range 450 {
		seen[receives(t, "task", ran)] = true
	}
	require.Len(t, seen, 450)
	eventually(t, "panics are counted", func() bool { return s.Metrics().Panics == 50 })
	require.NoError(t, s.Close(context.Background()))
	require.False(t, s.Pool(PoolPull).Submit(taskFunc(func() {})), "a closed pool takes nothing")
}

func TestPoolKindsHaveNames(t *testing.T) {
	t.Parallel()
	names := map[PoolKind]string{PoolSend: "send", PoolPull: "pull", PoolClient: "client", PoolAdmin: "admin", 99: "unknown"}
	for kind, name := range names {
		require.Equal(t, name, kind.String())
	}
}
