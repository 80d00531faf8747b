package remoting

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// Codes of the tests' own handlers.
const (
	codeEcho   int32 = 900 + iota // inline: answers with the body
	codePooled                    // on the pull pool: answers with the body
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// TestMain gives the runtime a second processor where there is only one: an event loop that waits holds one until the runtime's
// monitor notices, up to 10 ms later.
func TestMain(m *testing.M) {
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	os.Exit(m.Run())
}

func echo(req *Request) (*codec.Command, error) {
	resp := req.Response(0)
	resp.Body = req.Body
	return resp, nil
}

// serve opens a server of the entries on one listener of the loopback, and closes it with the test.
func serve(t testing.TB, entries []Entry, change func(*Options)) *Server {
	t.Helper()
	opts := DefaultOptions()
	opts.Addrs = []string{"127.0.0.1:0"}
	table := NewTable(append([]Entry{
		{Code: codeEcho, Inline: true, Handler: echo},
		{Code: codePooled, Pool: PoolPull, Handler: echo},
	}, entries...))
	opts.Table = func(int) *Table { return table }
	opts.DrainTimeout = 100 * time.Millisecond
	opts.MaxWait = [poolKinds]time.Duration{} // a loaded machine is no reason to fail
	if change != nil {
		change(&opts)
	}
	s, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Close(ctx))
		require.Zero(t, s.Metrics().Conns)
		require.Zero(t, s.Metrics().InflightBytes)
		require.Zero(t, s.Metrics().UnsentBytes)
	})
	return s
}

// serveParked opens a server that parks requests, those of code 1000 inline and those of 1001 on a pool, and hands them to the
// test. The channel holds as many as waiting.
func serveParked(t testing.TB, waiting int) (*Server, <-chan *Parked) {
	t.Helper()
	parked := make(chan *Parked, waiting)
	parks := func(req *Request) (*codec.Command, error) {
		parked <- req.Park()
		return nil, nil
	}
	return serve(t, []Entry{{Code: 1000, Inline: true, Handler: parks}, {Code: 1001, Pool: PoolPull, Handler: parks}}, nil), parked
}

// rawConn speaks frames over a plain socket.
type rawConn struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, s *Server) *rawConn { return dialAt(t, s, 0) }

func dialAt(t testing.TB, s *Server, listener int) *rawConn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addrs()[listener].String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return &rawConn{t: t, Conn: nc, r: bufio.NewReaderSize(nc, 64<<10)}
}

// request encodes a request.
func request(code, opaque int32, body string) []byte {
	return codec.AppendFrame(nil, &codec.Command{Code: code, Opaque: opaque, Version: codec.Version, Body: []byte(body)})
}

func oneway(code, opaque int32, body string) []byte {
	return codec.AppendFrame(nil, &codec.Command{Code: code, Opaque: opaque, Flag: codec.FlagOneway, Body: []byte(body)})
}

func (c *rawConn) send(frames ...[]byte) {
	c.t.Helper()
	_, err := c.Write(bytes.Join(frames, nil))
	require.NoError(c.t, err)
}

// receive reads one frame.
func (c *rawConn) receive() *codec.Command {
	c.t.Helper()
	cmd, err := c.tryReceive()
	require.NoError(c.t, err)
	return cmd
}

func (c *rawConn) tryReceive() (*codec.Command, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(c.r, head); err != nil {
		return nil, err
	}
	frame := append(head, make([]byte, binary.BigEndian.Uint32(head))...)
	if _, err := io.ReadFull(c.r, frame[4:]); err != nil {
		return nil, err
	}
	cmd := new(codec.Command)
	return cmd, codec.ParseFrame(frame, cmd)
}

// receiveClose reads to the end of the connection, whatever comes before it.
func (c *rawConn) receiveClose(what string) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, c.r)
	var timeout net.Error
	require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "%s: connection is still open", what)
}

// receiveEnd reads to the end of the connection, which must come without a further byte.
func (c *rawConn) receiveEnd() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(patience)))
	rest, err := io.ReadAll(c.r)
	var timeout net.Error
	if err != nil {
		require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "connection is still open")
	}
	require.Empty(c.t, rest)
}

// eventually waits for a condition that has no event of its own.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

// receives waits for a value.
func receives[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(t, "not received: "+what)
		panic("unreachable")
	}
}

// logLines is a log to look into.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logLines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
