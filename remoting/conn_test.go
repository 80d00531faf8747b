package remoting

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// lender counts the releases of what it lent.
type lender struct{ released atomic.Int32 }

func (l *lender) Release() { l.released.Add(1) }

// serveConn opens a server and one connection to it, as both ends see it.
func serveConn(t *testing.T, entries []Entry, change func(*Options)) (*Server, *rawConn, Conn) {
	t.Helper()
	opened := make(chan Conn, 1)
	s := serve(t, entries, func(o *Options) {
		if change != nil {
			change(o)
		}
		o.OnOpen = func(c Conn) {
			select {
			case opened <- c:
			default:
			}
		}
	})
	c := dial(t, s)
	return s, c, receives(t, "open", opened)
}

func TestPartsLeaveBetweenSmallAnswersInOrder(t *testing.T) {
	t.Parallel()
	lend := new(lender)
	parts := make([][]byte, 3*maxVector) // more than the kernel takes at once
	for i := range parts {
		parts[i] = []byte(strings.Repeat(string(rune('a'+i%26)), 1+i%5))
	}
	parts[7] = nil
	small := [][]byte{[]byte("two "), []byte("parts")}
	answer := func(parts [][]byte) Handler {
		return func(req *Request) (*codec.Command, error) {
			resp := req.Response(0)
			resp.Parts, resp.Owner = append(resp.Parts, parts...), lend
			return resp, nil
		}
	}
	s := serve(t, []Entry{
		{Code: 1000, Inline: true, Handler: answer(parts)}, {Code: 1001, Inline: true, Handler: answer(small)},
		{Code: 1002, Pool: PoolPull, Handler: answer(parts)}, {Code: 1003, Pool: PoolPull, Handler: answer(small)},
	}, nil)
	c := dial(t, s)
	want := map[int32]string{900: "x", 901: "x"}
	for code, p := range map[int32][][]byte{1000: parts, 1001: small, 1002: parts, 1003: small} {
		want[code] = string(bytes.Join(p, nil))
	}
	codes := []int32{codeEcho, 1000, 1001, 1000, codeEcho, 1001}
	var frames [][]byte
	for i, code := range codes {
		frames = append(frames, request(code, int32(i), "x"))
	}
	c.send(frames...)
	for i, code := range codes {
		got := c.receive()
		require.Equal(t, int32(i), got.Opaque)
		require.Equal(t, want[code], string(got.Body))
	}
	eventually(t, "each is released once, after the write", func() bool { return lend.released.Load() == 4 })
	for range 20 {
		c.send(request(1002, 1002, ""), request(1003, 1003, ""), request(codePooled, codePooled, "x"))
	}
	for range 60 {
		got := c.receive()
		require.Equal(t, want[got.Opaque], string(got.Body))
	}
	eventually(t, "released", func() bool { return lend.released.Load() == 44 })
}

func TestSendFromManyGoroutines(t *testing.T) {
	t.Parallel()
	s, c, conn := serveConn(t, nil, nil)
	const senders, each = 8, 150
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			lend := new(lender)
			for i := range each {
				cmd := &codec.Command{Code: int32(sender), Version: int32(i), Flag: codec.FlagOneway}
				switch i % 3 {
				case 0:
					cmd.Body = []byte(strings.Repeat("b", i))
				case 1:
					cmd.Body = []byte(strings.Repeat("b", 30_000))
				case 2:
					cmd.Parts, cmd.Owner = [][]byte{[]byte(strings.Repeat("p", 3000)), []byte(strings.Repeat("q", 3000))}, lend
				}
				if !errorIsNil(t, conn.Send(cmd)) {
					return
				}
			}
			eventually(t, "lent parts are released", func() bool { return int(lend.released.Load()) == each/3 })
		})
	}
	next := make([]int32, senders)
	opaques := map[int32]bool{}
	for range senders * each {
		got := c.receive()
		require.Equal(t, next[got.Code], got.Version, "each sender's commands keep their order")
		next[got.Code]++
		require.False(t, opaques[got.Opaque], "opaques are the connection's own")
		opaques[got.Opaque] = true
	}
	wg.Wait()
	require.Equal(t, int64(senders*each), s.Metrics().Pushes)
}

// errorIsNil is for goroutines other than the test's.
func errorIsNil(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// releaseFunc is an owner that does something when it is released.
type releaseFunc func()

func (f releaseFunc) Release() { f() }

func TestLongFlushLetsOthersIn(t *testing.T) {
	const readers = 8
	parked := make(chan *Parked, readers)
	held, holds := make(chan struct{}), make(chan struct{})
	var flushed atomic.Int32
	seen := make(chan int32, 1)
	s := serve(t, []Entry{
		{Code: 1000, Inline: true, Handler: func(req *Request) (*codec.Command, error) {
			parked <- req.Park()
			return nil, nil
		}},
		{Code: 1001, Inline: true, Handler: func(req *Request) (*codec.Command, error) {
			close(holds)
			<-held
			return req.Response(0), nil
		}},
		{Code: 1002, Inline: true, Handler: func(*Request) (*codec.Command, error) {
			seen <- flushed.Load()
			return nil, nil
		}},
	}, func(o *Options) { o.Loops = 1 })
	conns := make([]*rawConn, readers)
	for i := range conns {
		conns[i] = dial(t, s)
		conns[i].send(request(1000, 1, ""), request(codeEcho, 2, ""))
		require.EqualValues(t, 2, conns[i].receive().Opaque)
	}
	other := dial(t, s)
	other.send(request(1001, 1, ""))
	receives(t, "the loop is held", holds)
	for i := range readers {
		p := receives(t, "a parked request", parked)
		resp := p.Response(0)
		resp.Parts, resp.Owner = [][]byte{make([]byte, flushBytes)}, releaseFunc(func() {
			if i == 0 { // while the loop flushes
				other.send(oneway(1002, 2, ""))
			}
			flushed.Add(1)
		})
		require.NoError(t, p.Reply(resp))
	}
	close(held)
	require.Less(t, receives(t, "the request of the other connection", seen), int32(readers), "it waited until all were flushed")
	for _, c := range conns {
		require.Len(t, c.receive().Body, flushBytes)
	}
}

func TestParkedRequestIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	s, parked := serveParked(t, 1)
	c := dial(t, s)
	for _, code := range []int32{1000, 1001} {
		c.send(codec.AppendFrame(nil, &codec.Command{Code: code, Opaque: 77, Serialize: codec.SerializeRocketMQ, Body: []byte("dies")}))
		p := receives(t, "parked", parked)
		require.Equal(t, code, p.Code)
		require.False(t, p.Answered())
		require.Equal(t, int64(1), s.Metrics().Parked)
		c.send(request(codeEcho, 1, "others go on"))
		require.Equal(t, int32(1), c.receive().Opaque)

		lend := new(lender)
		var answered, refused atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				cmd := &codec.Command{Code: 21, Parts: [][]byte{[]byte("late")}, Owner: lend}
				switch err := p.Reply(cmd); {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, ErrAnswered):
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int32(1), answered.Load())
		require.Equal(t, int32(3), refused.Load())
		got := c.receive()
		require.Equal(t, int32(77), got.Opaque)
		require.Equal(t, "late", string(got.Body))
		eventually(t, "all released", func() bool { return lend.released.Load() == 4 })
		require.Zero(t, s.Metrics().Parked)
	}
	c.send(request(codeEcho, 2, ""))
	require.Equal(t, int32(2), c.receive().Opaque, "no second answer came")
}

func TestParkedResponseKeepsOpaqueAndCodec(t *testing.T) {
	t.Parallel()
	parks := func(req *Request) (*codec.Command, error) {
		p := req.Park()
		go func() {
			resp := p.Response(19)
			resp.Remark = "nothing new"
			_ = p.Reply(resp)
		}()
		return nil, nil
	}
	c := dial(t, serve(t, []Entry{{Code: 1000, Inline: true, Handler: parks}}, nil))
	c.send(codec.AppendFrame(nil, &codec.Command{Code: 1000, Opaque: 5, Serialize: codec.SerializeRocketMQ}))
	got := c.receive()
	require.Equal(t, int32(19), got.Code)
	require.Equal(t, int32(5), got.Opaque)
	require.Equal(t, "nothing new", got.Remark)
	require.Equal(t, codec.SerializeRocketMQ, got.Serialize)
}

func TestReplyAfterTheConnectionHasGone(t *testing.T) {
	t.Parallel()
	s, parked := serveParked(t, 1)
	c := dial(t, s)
	c.send(request(1000, 1, ""))
	p := receives(t, "parked", parked)
	require.NoError(t, c.Close())
	eventually(t, "the connection has gone", p.Conn.Closed)
	lend := new(lender)
	resp := p.Response(0)
	resp.Parts, resp.Owner = [][]byte{make([]byte, 100_000)}, lend
	require.ErrorIs(t, p.Reply(resp), ErrClosed)
	require.Equal(t, int32(1), lend.released.Load())
	require.Zero(t, s.Metrics().Parked)
}

func TestCallOfAClient(t *testing.T) {
	t.Parallel()
	_, c, conn := serveConn(t, nil, func(o *Options) { o.MaxConnCalls = 3 })
	type result struct {
		cmd *codec.Command
		err error
	}
	call := func(timeout time.Duration) chan result {
		done := make(chan result, 1)
		go func() {
			cmd, err := conn.Call(&codec.Command{Code: 220, Body: []byte("how are you")}, timeout)
			done <- result{cmd, err}
		}()
		return done
	}
	first := call(patience)
	asked := c.receive()
	require.Equal(t, int32(220), asked.Code)
	require.Equal(t, "how are you", string(asked.Body))
	require.False(t, asked.IsResponse())
	second := call(patience)
	askedAgain := c.receive()
	require.NotEqual(t, asked.Opaque, askedAgain.Opaque)

	// The client's own requests may have the same opaque; the response bit tells them apart.
	c.send(request(codeEcho, asked.Opaque, "mine"))
	require.Equal(t, "mine", string(c.receive().Body))

	answer := func(opaque int32, body string) []byte {
		return codec.AppendFrame(nil, &codec.Command{Code: 0, Opaque: opaque, Flag: codec.FlagResponse, Body: []byte(body)})
	}
	c.send(answer(12345, "to nothing"), answer(askedAgain.Opaque, "second"), answer(asked.Opaque, "first"), answer(asked.Opaque, "twice"))
	got := receives(t, "second answer", second)
	require.NoError(t, got.err)
	require.Equal(t, "second", string(got.cmd.Body))
	got = receives(t, "first answer", first)
	require.NoError(t, got.err)
	require.Equal(t, "first", string(got.cmd.Body))

	late := call(time.Millisecond)
	require.ErrorIs(t, receives(t, "timeout", late).err, ErrTimeout)
	c.send(answer(c.receive().Opaque, "too late"))

	waiting := []chan result{call(patience), call(patience), call(patience)}
	for range waiting {
		c.receive()
	}
	require.ErrorIs(t, receives(t, "one too many", call(patience)).err, ErrTooManyCalls)
	require.NoError(t, c.Close())
	for _, done := range waiting {
		require.ErrorIs(t, receives(t, "failed call", done).err, ErrClosed)
	}
	_, err := conn.Call(&codec.Command{Code: 220}, patience)
	require.ErrorIs(t, err, ErrClosed)
}

func TestCloseByTheServerSendsWhatWasSentBefore(t *testing.T) {
	t.Parallel()
	reasons := make(chan error, 1)
	_, c, conn := serveConn(t, nil, func(o *Options) { o.OnClose = func(_ Conn, reason error) { reasons <- reason } })
	require.NoError(t, conn.Send(&codec.Command{Code: 1, Flag: codec.FlagOneway, Body: make([]byte, 100_000)}))
	reason := errors.New("enough")
	conn.Close(reason)
	conn.Close(errors.New("a second reason"))
	require.ErrorIs(t, conn.Send(&codec.Command{Code: 2, Flag: codec.FlagOneway}), ErrClosed)
	require.Len(t, c.receive().Body, 100_000)
	c.receiveEnd()
	require.Equal(t, reason, receives(t, "reason", reasons))
}

func TestSlowReaderIsDroppedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	s, slow, conn := serveConn(t, nil, func(o *Options) {
		o.SoftUnsentBytes, o.MaxConnUnsentBytes = 1<<20, 8<<20
		o.Logger = log.logger()
	})
	other := dial(t, s)
	lend := new(lender)
	sent := int32(0)
	wasUnwritable := false
	for err := error(nil); err == nil; sent++ {
		require.Less(t, sent, int32(1000), "1 GiB was taken for a peer that does not read")
		cmd := &codec.Command{Code: 1, Flag: codec.FlagOneway, Parts: [][]byte{make([]byte, 1<<20)}, Owner: lend}
		if err = conn.Send(cmd); err != nil && !errors.Is(err, ErrClosed) {
			require.ErrorIs(t, err, ErrSlowReader)
		}
		wasUnwritable = wasUnwritable || !conn.Writable()
		other.send(request(codeEcho, 1, "quick"))
		require.Equal(t, "quick", string(other.receive().Body))
	}
	require.True(t, wasUnwritable)
	eventually(t, "dropped", conn.Closed)
	eventually(t, "everything lent is released", func() bool { return lend.released.Load() == sent })
	eventually(t, "it is counted", func() bool { return s.Metrics().ClosedSlow == 1 })
	eventually(t, "it is said once", func() bool { return strings.Count(log.String(), "reads too slowly") == 1 })
	require.NoError(t, slow.SetReadDeadline(time.Now().Add(patience)))
	_, _ = io.Copy(io.Discard, slow)
}

func TestRequestsOfAPeerThatDoesNotReadWaitForIt(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	const bodyBytes = 256 << 10
	body := make([]byte, bodyBytes)
	for i := range body {
		body[i] = byte(i ^ i>>8)
	}
	pull := func(req *Request) (*codec.Command, error) {
		ran.Add(1)
		resp := req.Response(0)
		resp.Parts = [][]byte{body[:bodyBytes/2], body[bodyBytes/2:]}
		return resp, nil
	}
	s, c, conn := serveConn(t, []Entry{{Code: 1000, Inline: true, Handler: pull}}, func(o *Options) {
		o.SoftUnsentBytes, o.MaxConnUnsentBytes = 1<<20, 8<<20
	})
	const n = 400 // 100 MiB of answers
	for i := range n {
		c.send(request(1000, int32(i), ""))
	}
	eventually(t, "the server stops answering", func() bool { return !conn.Writable() })
	other := dial(t, s)
	other.send(request(codeEcho, 1, ""))
	other.receive()
	require.Less(t, ran.Load(), int32(n/2))
	for i := range n {
		got := c.receive()
		require.Equal(t, int32(i), got.Opaque)
		require.True(t, bytes.Equal(body, got.Body), "answer %d is damaged", i)
		require.LessOrEqual(t, s.Metrics().UnsentBytes, int64(3<<20))
	}
	eventually(t, "writable again", conn.Writable)
	require.False(t, conn.Closed())
}

func TestPeerThatNeverReadsIsDroppedInTheEnd(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	pull := func(req *Request) (*codec.Command, error) {
		resp := req.Response(0)
		resp.Parts = [][]byte{make([]byte, 1<<20)}
		return resp, nil
	}
	s, c, conn := serveConn(t, []Entry{{Code: 1000, Inline: true, Handler: pull}}, func(o *Options) {
		o.SoftUnsentBytes = 1 << 20
		o.IdleTimeout = 240 * time.Millisecond // by the clock below
		o.Now = func() time.Time { return time.Unix(0, now.Load()) }
	})
	for i := 0; conn.Writable(); i++ {
		c.send(request(1000, int32(i), ""))
	}
	eventually(t, "dropped although it goes on asking", func() bool {
		now.Add(int64(100 * time.Millisecond))
		_, _ = c.Write(request(1000, 1, ""))
		return conn.Closed()
	})
	eventually(t, "it is counted", func() bool { return s.Metrics().ClosedSlow == 1 })
}

func TestUnsentBytesOfAllConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var conns []Conn
	s := serve(t, nil, func(o *Options) {
		o.SoftUnsentBytes, o.MaxUnsentBytes = 1<<20, 16<<20
		o.MaxConnUnsentBytes = 1 << 30
		o.OnOpen = func(c Conn) {
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	})
	for range 4 {
		dial(t, s)
	}
	eventually(t, "open", func() bool { mu.Lock(); defer mu.Unlock(); return len(conns) == 4 })
	for i := 0; s.Metrics().ClosedSlow == 0; i++ {
		require.Less(t, i, 2000)
		_ = conns[i%4].Send(&codec.Command{Code: 1, Flag: codec.FlagOneway, Body: make([]byte, 1<<20)})
		require.LessOrEqual(t, s.Metrics().UnsentBytes, int64(24<<20))
	}
}
