package remoting

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestAnswerCarriesTheRequestsOpaqueAndCodec(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, nil))
	for _, serialize := range []codec.Serialize{codec.SerializeJSON, codec.SerializeRocketMQ} {
		for _, code := range []int32{codeEcho, codePooled} {
			c.send(codec.AppendFrame(nil, &codec.Command{Code: code, Opaque: -7, Language: codec.LanguageGo, Serialize: serialize, Body: []byte("b")}))
			got := c.receive()
			require.Equal(t, int32(0), got.Code)
			require.Equal(t, int32(-7), got.Opaque)
			require.Equal(t, codec.FlagResponse, got.Flag)
			require.Equal(t, codec.LanguageJava, got.Language)
			require.Equal(t, codec.Version, got.Version)
			require.Equal(t, serialize, got.Serialize)
			require.Equal(t, "b", string(got.Body))
		}
	}
}

func TestFramesSplitAtEveryByte(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, nil)
	c := dial(t, s)
	frames := bytes.Join([][]byte{request(codeEcho, 1, "first"), request(codePooled, 2, ""), request(codeEcho, 3, "third")}, nil)
	for cut := range len(frames) {
		c.send(frames[:cut])
		// What could be answered of the first piece has been when its whole frames are counted.
		whole, n := 0, 0
		for cut-whole >= 4 {
			size, err := codec.FrameLen(frames[whole:])
			require.NoError(t, err)
			if whole+size > cut {
				break
			}
			whole += size
			n++
		}
		eventually(t, "whole frames are read", func() bool { return s.Metrics().BytesIn == int64(cut*len(frames)+whole) })
		c.send(frames[cut:])
		got := map[int32]string{}
		for range 3 {
			cmd := c.receive()
			got[cmd.Opaque] = string(cmd.Body)
		}
		require.Equal(t, map[int32]string{1: "first", 2: "", 3: "third"}, got, "cut at %d", cut)
	}
}

func TestFramesDribbledByteByByte(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, nil))
	for _, b := range request(codeEcho, 5, "slowly") {
		c.send([]byte{b})
	}
	require.Equal(t, "slowly", string(c.receive().Body))
}

func TestManyFramesInOneWriteAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, nil))
	const n = 5 * turnFrames // several turns' bounds
	var all []byte
	for i := range n {
		all = append(all, request(codeEcho, int32(i), fmt.Sprint("body ", i))...)
	}
	var wrote sync.WaitGroup
	wrote.Go(func() { _, _ = c.Write(all) })
	for i := range n {
		got := c.receive()
		require.Equal(t, int32(i), got.Opaque)
		require.Equal(t, fmt.Sprint("body ", i), string(got.Body))
	}
	wrote.Wait()
}

func TestFramesOfAllSizesInRandomPieces(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	c := dial(t, serve(t, nil, nil))
	var all []byte
	var bodies []string
	for i := range 200 {
		body := strings.Repeat(string(rune('a'+i%26)), r.IntN(1<<r.IntN(19)))
		bodies = append(bodies, body)
		all = append(all, request(codeEcho, int32(i), body)...)
	}
	var wrote sync.WaitGroup
	defer wrote.Wait()
	wrote.Go(func() {
		for len(all) > 0 {
			n := min(len(all), 1+r.IntN(100_000))
			if _, err := c.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
	})
	for i, body := range bodies {
		got := c.receive()
		require.Equal(t, int32(i), got.Opaque)
		require.True(t, body == string(got.Body), "body %d of %d bytes differs", i, len(body))
	}
}

func TestLargeFramesBothWays(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, nil))
	body := strings.Repeat("0123456789abcdef", (codec.MaxFrameBytes-1000)/16)
	for _, code := range []int32{codeEcho, codePooled} {
		var wrote sync.WaitGroup
		wrote.Go(func() { _, _ = c.Write(request(code, 9, body)) })
		got := c.receive()
		require.Equal(t, int32(9), got.Opaque)
		require.True(t, body == string(got.Body))
		wrote.Wait()
	}
}

func TestBadFramesCloseTheirConnectionOnly(t *testing.T) {
	t.Parallel()
	word := func(length, word uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, length), word)
	}
	cases := map[string][]byte{
		"negative length":             {0xff, 0xff, 0xff, 0xf0},
		"most negative length":        {0x80, 0, 0, 0},
		"length of zero":              {0, 0, 0, 0},
		"length of three":             word(3, 0),
		"one byte more than allowed":  word(codec.MaxFrameBytes+1, 10),
		"header longer than frame":    word(20, 17),
		"header of 16 MiB in 100":     word(100, 0x00ffffff),
		"unknown header codec":        append(word(12, 8|9<<24), make([]byte, 8)...),
		"header is no JSON":           append(word(12, 8), "not json"...),
		"header is JSON of a list":    append(word(7, 3), "[1]"...),
		"binary header cut short":     append(word(12, 8|1<<24), make([]byte, 8)...),
		"TLS client hello":            {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc},
		"HTTP request":                []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"empty header without object": word(4, 0),
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(logLines)
			s := serve(t, nil, func(o *Options) { o.Logger = log.logger() })
			other, c := dial(t, s), dial(t, s)
			c.send(request(codeEcho, 1, "good"), bad, request(codeEcho, 2, "never seen"))
			require.Equal(t, int32(1), c.receive().Opaque)
			c.receiveEnd()
			other.send(request(codeEcho, 3, "other"))
			require.Equal(t, int32(3), other.receive().Opaque)
			eventually(t, "connection is gone", func() bool { return s.Conns() == 1 })
			require.Equal(t, int64(1), s.Metrics().ClosedBadFrame)
			require.Equal(t, 1, strings.Count(log.String(), "bad frame"), log.String())
		})
	}
}

func TestUnknownCodeIsNotSupported(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, nil))
	for _, code := range []int32{0, 7777, -1, 200050, 31} {
		c.send(request(code, 4, ""))
		got := c.receive()
		require.Equal(t, respNotSupported, got.Code)
		require.Equal(t, fmt.Sprintf(" request type %d not supported", code), got.Remark)
		require.Equal(t, int32(4), got.Opaque)
	}
}

func TestListenersHaveTheirOwnTables(t *testing.T) {
	t.Parallel()
	where := func(req *Request) (*codec.Command, error) {
		resp := req.Response(0)
		resp.Body = []byte{byte(req.Listener)}
		return resp, nil
	}
	s := serve(t, nil, func(o *Options) {
		o.Addrs = []string{"127.0.0.1:0", "127.0.0.1:0"}
		both, one := Entry{Code: 1000, Inline: true, Handler: where}, Entry{Code: 1001, Pool: PoolPull, Handler: where}
		o.Table = func(listener int) *Table {
			if listener == 0 {
				return NewTable([]Entry{both, one})
			}
			return NewTable([]Entry{both})
		}
	})
	require.Len(t, s.Addrs(), 2)
	main, vip := dialAt(t, s, 0), dialAt(t, s, 1)
	for i, c := range []*rawConn{main, vip} {
		c.send(request(1000, 1, ""))
		require.Equal(t, []byte{byte(i)}, c.receive().Body)
	}
	main.send(request(1001, 1, ""))
	require.Equal(t, []byte{0}, main.receive().Body)
	vip.send(request(1001, 1, ""))
	require.Equal(t, respNotSupported, vip.receive().Code)
}

func TestPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, nil)
	taken := s.Addrs()[0].String()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	opts := s.opts
	opts.Addrs = []string{free.Addr().String(), taken}
	_, err = Open(opts)
	require.EqualError(t, err, "listen on "+taken+": address already in use")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	again, err := net.Listen("tcp", free.Addr().String())
	require.NoError(t, err, "the first address is free again")
	require.NoError(t, again.Close())
}

func TestOpenRefusesOptionsThatCannotWork(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*Options){
		"no address":  func(o *Options) { o.Addrs = nil },
		"no table":    func(o *Options) { o.Table = nil },
		"Loops":       func(o *Options) { o.Loops = 0 },
		"pool admin":  func(o *Options) { o.Workers[PoolAdmin] = 0 },
		"MaxConns":    func(o *Options) { o.MaxConns = -1 },
		"MaxFrame":    func(o *Options) { o.MaxFrameBytes = codec.MaxFrameBytes + 1 },
		"table of":    func(o *Options) { o.Table = func(int) *Table { return nil } },
		"listen on x": func(o *Options) { o.Addrs = []string{"x:y:z"} },
		"Logger":      func(o *Options) { o.Logger = nil },
	}
	for name, change := range cases {
		opts := DefaultOptions()
		opts.Addrs, opts.Table = []string{"127.0.0.1:0"}, func(int) *Table { return NewTable(nil) }
		change(&opts)
		_, err := Open(opts)
		require.ErrorContains(t, err, strings.Fields(name)[0])
	}
}

func TestOnewayRequestsAreNeverAnswered(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	fails := func(*Request) (*codec.Command, error) { ran.Add(1); return nil, errors.New("no") }
	panics := func(*Request) (*codec.Command, error) { ran.Add(1); panic("no") }
	parks := func(req *Request) (*codec.Command, error) {
		ran.Add(1)
		p := req.Park()
		return nil, p.Reply(p.Response(0))
	}
	s := serve(t, []Entry{
		{Code: 1000, Inline: true, Handler: fails}, {Code: 1001, Pool: PoolSend, Handler: fails},
		{Code: 1002, Inline: true, Handler: panics}, {Code: 1003, Pool: PoolSend, Handler: panics},
		{Code: 1004, Inline: true, Handler: parks}, {Code: 1005, Pool: PoolSend, Handler: parks},
	}, nil)
	c := dial(t, s)
	for code := int32(1000); code < 1010; code++ { // the last ones are unknown
		c.send(oneway(code, code, ""))
	}
	c.send(oneway(codeEcho, 1, "x"), oneway(codePooled, 2, "x"))
	eventually(t, "all have run", func() bool { return ran.Load() == 6 && s.Metrics().InflightBytes == 0 })
	c.send(request(codeEcho, 42, "x"))
	require.Equal(t, int32(42), c.receive().Opaque, "the first answer is to the first request that wants one")
}

func TestErrorsOfHandlersBecomeCodes(t *testing.T) {
	t.Parallel()
	type header struct {
		ForbiddenType int32 `field:"forbiddenType"`
	}
	refuses := func(*Request) (*codec.Command, error) {
		return nil, fmt.Errorf("check: %w", &codec.Refusal{Code: 16, Remark: "no permission", Header: &header{3}})
	}
	fails := func(*Request) (*codec.Command, error) { return nil, errors.New("disk on fire") }
	forgets := func(*Request) (*codec.Command, error) { return nil, nil }
	panics := func(*Request) (*codec.Command, error) { panic("boom") }
	log := new(logLines)
	s := serve(t, []Entry{
		{Code: 1000, Inline: true, Handler: refuses}, {Code: 1001, Handler: refuses},
		{Code: 1002, Inline: true, Handler: fails}, {Code: 1003, Handler: fails},
		{Code: 1004, Inline: true, Handler: forgets}, {Code: 1005, Handler: forgets},
		{Code: 1006, Inline: true, Handler: panics}, {Code: 1007, Handler: panics},
	}, func(o *Options) { o.Logger = log.logger() })
	c := dial(t, s)
	for code := int32(1000); code < 1008; code++ {
		c.send(request(code, code, ""))
		got := c.receive()
		require.Equal(t, code, got.Opaque)
		switch code / 2 {
		case 500:
			require.Equal(t, int32(16), got.Code)
			require.Equal(t, "no permission", got.Remark)
			value, ok := got.Field("forbiddenType")
			require.True(t, ok)
			require.Equal(t, "3", string(value))
		case 501:
			require.Equal(t, respSystemError, got.Code)
			require.Equal(t, "disk on fire", got.Remark)
		case 502:
			require.Equal(t, respSystemError, got.Code)
		case 503:
			require.Equal(t, respSystemError, got.Code)
			require.Equal(t, "panic: boom", got.Remark)
		}
	}
	require.Equal(t, int64(2), s.Metrics().Panics)
	require.Equal(t, 2, strings.Count(log.String(), "handler panicked"))
	require.Contains(t, log.String(), "server_test.go", "the stack is logged")
	require.Equal(t, 1, s.Conns())
}

func TestConnectionsBeyondTheBoundAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(o *Options) { o.MaxConns = 2 })
	a, b := dial(t, s), dial(t, s)
	a.send(request(codeEcho, 1, ""))
	a.receive()
	b.send(request(codeEcho, 1, ""))
	b.receive()
	dial(t, s).receiveEnd()
	require.NoError(t, a.Close())
	eventually(t, "a place is free", func() bool { return s.Conns() == 1 })
	c := dial(t, s)
	c.send(request(codeEcho, 2, ""))
	require.Equal(t, int32(2), c.receive().Opaque)
}

// flakyListener fails to accept so many times first.
type flakyListener struct {
	net.Listener
	failures atomic.Int32
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterDescriptorsRanOut(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	s := serve(t, nil, func(o *Options) { o.Logger = log.logger() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	flaky := &flakyListener{Listener: ln}
	flaky.failures.Store(3)
	s.accepts.Go(func() { s.accept(&listener{Listener: flaky, table: s.listeners[0].table}) })
	t.Cleanup(func() { _ = ln.Close() })
	nc, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	_, err = nc.Write(request(codeEcho, 8, "late"))
	require.NoError(t, err)
	c := dial(t, s)
	c.Conn = nc
	c.r.Reset(nc)
	require.Equal(t, int32(8), c.receive().Opaque)
	require.Equal(t, 1, strings.Count(log.String(), "too many open files"), "said once")
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	s := serve(t, nil, func(o *Options) {
		o.IdleTimeout = 240 * time.Millisecond // looked for every 10 ms, but only the clock below makes anybody idle
		o.Now = func() time.Time { return time.Unix(0, now.Load()) }
	})
	silent, half, busy := dial(t, s), dial(t, s), dial(t, s)
	frame := request(codeEcho, 1, "never finished")
	half.send(frame[:len(frame)-3])
	for _, c := range []*rawConn{silent, busy} {
		c.send(request(codeEcho, 1, ""))
		c.receive()
	}
	eventually(t, "half a frame has arrived", func() bool { return s.Conns() == 3 })
	now.Add(int64(200 * time.Millisecond))
	busy.send(request(codeEcho, 2, ""))
	busy.receive()
	require.Equal(t, 3, s.Conns())
	now.Add(int64(200 * time.Millisecond))
	silent.receiveEnd()
	half.receiveEnd()
	busy.send(request(codeEcho, 3, ""))
	require.Equal(t, int32(3), busy.receive().Opaque)
	require.Equal(t, int64(2), s.Metrics().ClosedIdle)
}

func TestOpenAndCloseAreTold(t *testing.T) {
	t.Parallel()
	opened, closed := make(chan Conn, 1), make(chan Conn, 1)
	s := serve(t, nil, func(o *Options) {
		o.OnOpen = func(c Conn) { opened <- c }
		o.OnClose = func(c Conn, reason error) { closed <- c }
	})
	c := dial(t, s)
	conn := receives(t, "open", opened)
	require.Equal(t, c.LocalAddr().String(), conn.RemoteAddr().String())
	require.Equal(t, c.RemoteAddr().String(), conn.LocalAddr().String())
	require.False(t, conn.Closed())
	require.True(t, conn.Writable())
	require.NoError(t, c.Close())
	require.Equal(t, conn, receives(t, "close", closed))
	require.True(t, conn.Closed())
	require.False(t, conn.Writable())
	require.ErrorIs(t, conn.Send(&codec.Command{Code: 1}), ErrClosed)
}

func TestOnewaysOfAPeerThatClosesAreHandled(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	count := func(*Request) (*codec.Command, error) { ran.Add(1); return nil, nil }
	s := serve(t, []Entry{{Code: 1000, Inline: true, Handler: count}, {Code: 1001, Handler: count}}, nil)
	const n = 3 * turnFrames
	for _, code := range []int32{1000, 1001} {
		ran.Store(0)
		c := dial(t, s)
		var all []byte
		for i := range n {
			all = append(all, oneway(code, int32(i), "")...)
		}
		c.send(all)
		require.NoError(t, c.Close())
		eventually(t, "all have run", func() bool { return ran.Load() == n })
	}
}

func TestCloseAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}, 2), make(chan struct{})
	waits := func(req *Request) (*codec.Command, error) {
		began <- struct{}{}
		<-goOn
		return echo(req)
	}
	var parked *Parked
	parks := func(req *Request) (*codec.Command, error) {
		parked = req.Park()
		began <- struct{}{}
		return nil, nil
	}
	s := serve(t, []Entry{{Code: 1000, Pool: PoolSend, Handler: waits}, {Code: 1001, Inline: true, Handler: parks}}, func(o *Options) {
		o.DrainTimeout = patience
		o.OnDrain = func() { _ = parked.Reply(parked.Response(19)) }
	})
	c := dial(t, s)
	c.send(request(1000, 1, strings.Repeat("x", 1<<20)), request(1001, 2, ""))
	receives(t, "the pooled one runs", began)
	receives(t, "the other one is parked", began)
	ended := make(chan error, 1)
	go func() { ended <- s.Close(context.Background()) }()
	eventually(t, "no new connections", func() bool {
		nc, err := net.Dial("tcp", s.Addrs()[0].String())
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	c.send(request(codeEcho, 3, "comes too late"))
	close(goOn)
	first, second := c.receive(), c.receive()
	if first.Opaque == 2 {
		first, second = second, first
	}
	require.Equal(t, int32(1), first.Opaque)
	require.Len(t, first.Body, 1<<20)
	require.Equal(t, int32(2), second.Opaque)
	require.Equal(t, int32(19), second.Code)
	c.receiveEnd()
	require.NoError(t, receives(t, "closed", ended))
	require.NoError(t, s.Close(context.Background()), "a second time is nothing")
}

func TestCloseReturnsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	waits := func(*Request) (*codec.Command, error) {
		close(began)
		<-goOn
		return nil, errors.New("too late")
	}
	opts := DefaultOptions()
	opts.Addrs = []string{"127.0.0.1:0"}
	opts.Table = func(int) *Table { return NewTable([]Entry{{Code: 1000, Pool: PoolAdmin, Handler: waits}}) }
	s, err := Open(opts)
	require.NoError(t, err)
	c := dial(t, s)
	c.send(request(1000, 1, ""))
	receives(t, "the handler runs", began)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = s.Close(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "admin pool")
	close(goOn)
	s.pools[PoolAdmin].workers.Wait()
}

func TestConnectionsComeAndGo(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	open := map[Conn]bool{}
	parks := func(req *Request) (*codec.Command, error) {
		p := req.Park()
		go func() { _ = p.Reply(p.Response(0)) }()
		return nil, nil
	}
	s := serve(t, []Entry{{Code: 1000, Inline: true, Handler: parks}}, func(o *Options) {
		o.Loops = 2
		o.OnOpen = func(c Conn) { mu.Lock(); defer mu.Unlock(); open[c] = true }
		o.OnClose = func(c Conn, _ error) { mu.Lock(); defer mu.Unlock(); delete(open, c) }
	})
	stop := make(chan struct{})
	var pusher, clients sync.WaitGroup
	pusher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			for c := range open {
				_ = c.Send(&codec.Command{Code: 40, Flag: codec.FlagOneway, Body: make([]byte, 300)})
			}
			mu.Unlock()
		}
	})
	for client := range 8 {
		clients.Go(func() {
			for i := range 40 {
				nc, err := net.Dial("tcp", s.Addrs()[0].String())
				if !errorIsNil(t, err) {
					return
				}
				c := &rawConn{t: t, Conn: nc, r: bufio.NewReader(nc)}
				frames := bytes.Join([][]byte{request(codeEcho, 1, "a"), request(1000, 2, ""), request(codePooled, 3, strings.Repeat("b", i*100))}, nil)
				_, _ = nc.Write(frames[:len(frames)-client*i%len(frames)])
				if i%3 != 0 { // some leave without a word
					_, _ = c.tryReceive()
				}
				if i%5 == 0 {
					_ = nc.(*net.TCPConn).SetLinger(0)
				}
				_ = nc.Close()
			}
		})
	}
	clients.Wait()
	close(stop)
	pusher.Wait()
	eventually(t, "all are gone", func() bool {
		m := s.Metrics()
		return m.Conns == 0 && m.Parked == 0 && m.InflightBytes == 0 && m.UnsentBytes == 0
	})
	require.Empty(t, open)
	require.Equal(t, s.Metrics().ConnsOpened, s.Metrics().ConnsClosed)
}

// TestCloseLeavesNothingBehind is not parallel: it counts what the process has.
func TestCloseLeavesNothingBehind(t *testing.T) {
	descriptors := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // only Linux tells
		}
		return len(files)
	}
	round := func() {
		opts := serverOptions("127.0.0.1:0")
		opts.Addrs = append(opts.Addrs, "127.0.0.1:0")
		s, err := Open(opts)
		require.NoError(t, err)
		cl := NewClient(DefaultClientOptions())
		for _, addr := range s.Addrs() {
			_, err := cl.Call(context.Background(), addr.String(), &codec.Command{Code: codeEcho})
			require.NoError(t, err)
		}
		require.NoError(t, s.Close(context.Background()))
		require.NoError(t, cl.Close())
	}
	round() // package net and gnet start what they keep
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range 5 {
		round()
	}
	eventually(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines+1 }) // this one
	require.LessOrEqual(t, descriptors(), files)
}

func TestCallsAreCountedByCodeAndAnswer(t *testing.T) {
	t.Parallel()
	const codePark = 1000
	parked := make(chan *Parked, 1)
	s := serve(t, []Entry{{Code: codeEcho, Inline: true, Handler: echo}, {Code: codePark, Inline: true, Handler: func(req *Request) (*codec.Command, error) {
		parked <- req.Park()
		return nil, nil
	}}}, nil)
	c := dial(t, s)
	c.send(request(codeEcho, 1, "a"), request(codeEcho, 2, "b"), oneway(codeEcho, 3, "c"), request(codePark, 4, ""))
	c.receive()
	c.receive()
	p := receives(t, "parked request", parked)
	require.NoError(t, p.Reply(p.Response(19)))
	c.receive()
	counts := func() map[CallKind]int64 {
		m := make(map[CallKind]int64)
		for _, call := range s.Calls() {
			m[call.CallKind] = call.Count
		}
		return m
	}
	want := map[CallKind]int64{{Code: codeEcho}: 2, {Code: codeEcho, ResponseCode: onewayCode}: 1, {Code: codePark, ResponseCode: 19, Parked: true}: 1}
	eventually(t, "calls are counted", func() bool { return maps.Equal(want, counts()) })
}
