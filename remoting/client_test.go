package remoting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func newTestClient(t *testing.T, change func(*ClientOptions)) *Client {
	t.Helper()
	opts := DefaultClientOptions()
	if change != nil {
		change(&opts)
	}
	cl := NewClient(opts)
	t.Cleanup(func() { require.NoError(t, cl.Close()) })
	return cl
}

// patient is a context for calls that are answered.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestClientCallsOverOneConnection(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, nil)
	cl := newTestClient(t, nil)
	ctx, addr := patient(t), s.Addrs()[0].String()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			body := strings.Repeat(fmt.Sprint(i, " "), 1+i*100)
			for _, code := range []int32{codeEcho, codePooled} {
				resp, err := cl.Call(ctx, addr, &codec.Command{Code: code, Body: []byte(body)})
				if errorIsNil(t, err) && body != string(resp.Body) {
					t.Error("another call's answer")
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, s.Conns())
	resp, err := cl.Call(ctx, addr, &codec.Command{Code: 4711})
	require.NoError(t, err, "an answer is an answer, whatever its code")
	require.Equal(t, respNotSupported, resp.Code)
}

func TestClientOneway(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	s := serve(t, []Entry{{Code: 1000, Inline: true, Handler: func(req *Request) (*codec.Command, error) {
		if !req.IsOneway() {
			return nil, errors.New("not one-way")
		}
		got <- string(req.Body)
		return nil, nil
	}}}, nil)
	cl := newTestClient(t, nil)
	lend := new(lender)
	require.NoError(t, cl.Oneway(patient(t), s.Addrs()[0].String(), &codec.Command{Code: 1000, Parts: [][]byte{[]byte("a"), []byte("b")}, Owner: lend}))
	require.Equal(t, "ab", receives(t, "one-way request", got))
	require.Equal(t, int32(1), lend.released.Load())
}

func TestClientReconnects(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().String()
	cl := newTestClient(t, nil)
	ctx := patient(t)
	require.NoError(t, ln.Close())
	_, err = cl.Call(ctx, addr, &codec.Command{Code: codeEcho})
	require.ErrorContains(t, err, "connect to "+addr)
	for range 3 {
		opts := serverOptions(addr)
		s, err := Open(opts)
		require.NoError(t, err)
		resp, err := cl.Call(ctx, addr, &codec.Command{Code: codeEcho, Body: []byte("again")})
		require.NoError(t, err)
		require.Equal(t, "again", string(resp.Body))
		require.NoError(t, s.Close(ctx))
		eventually(t, "the client has noticed", func() bool {
			cl.mu.Lock()
			defer cl.mu.Unlock()
			return len(cl.conns) == 0
		})
	}
}

func serverOptions(addr string) Options {
	opts := DefaultOptions()
	opts.Addrs = []string{addr}
	opts.Table = func(int) *Table { return NewTable([]Entry{{Code: codeEcho, Inline: true, Handler: echo}}) }
	return opts
}

func TestClientFailsCallsWhenTheServerHangsUp(t *testing.T) {
	t.Parallel()
	s := serve(t, []Entry{{Code: 1000, Inline: true, Handler: func(req *Request) (*codec.Command, error) {
		req.Park()
		req.Conn.Close(errors.New("rude"))
		return nil, nil
	}}}, nil)
	cl := newTestClient(t, nil)
	_, err := cl.Call(patient(t), s.Addrs()[0].String(), &codec.Command{Code: 1000})
	require.ErrorIs(t, err, ErrClosed)
}

func TestClientCallTimesOutAndOpensANewConnection(t *testing.T) {
	t.Parallel()
	var dials atomic.Int32
	s, parked := serveParked(t, 2)
	cl := newTestClient(t, func(o *ClientOptions) {
		o.CallTimeout = 200 * time.Millisecond
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	addr := s.Addrs()[0].String()
	_, err := cl.Call(patient(t), addr, &codec.Command{Code: codeEcho})
	require.NoError(t, err)
	_, err = cl.Call(context.Background(), addr, &codec.Command{Code: 1000})
	require.ErrorIs(t, err, ErrTimeout)
	require.ErrorContains(t, err, addr)
	resp, err := cl.Call(patient(t), addr, &codec.Command{Code: codeEcho})
	require.NoError(t, err)
	require.Equal(t, int32(0), resp.Code)
	require.Equal(t, int32(2), dials.Load(), "nothing came during the first call, so its connection was given up")
	_ = receives(t, "parked", parked).Reply(&codec.Command{})

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	done := make(chan error, 1)
	go func() { _, err := cl.Call(ctx, addr, &codec.Command{Code: 1000}); done <- err }()
	p := receives(t, "parked", parked)
	cancel()
	require.ErrorIs(t, receives(t, "cancelled call", done), context.Canceled)
	require.NoError(t, p.Reply(p.Response(0)), "the connection is kept")
}

func TestClientBoundsItsCalls(t *testing.T) {
	t.Parallel()
	s, parked := serveParked(t, 3)
	cl := newTestClient(t, func(o *ClientOptions) { o.MaxCalls = 2 })
	ctx, addr := patient(t), s.Addrs()[0].String()
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := cl.Call(ctx, addr, &codec.Command{Code: 1000})
			done <- err
		}()
	}
	first, second := receives(t, "parked", parked), receives(t, "parked", parked)
	_, err := cl.Call(ctx, addr, &codec.Command{Code: 1000})
	require.ErrorIs(t, err, ErrTooManyCalls)
	for _, p := range []*Parked{first, second} {
		require.NoError(t, p.Reply(p.Response(0)))
		require.NoError(t, receives(t, "answer", done))
	}
}

func TestClientAnswersRequestsOfTheServer(t *testing.T) {
	t.Parallel()
	conns := make(chan Conn, 1)
	s := serve(t, nil, func(o *Options) { o.OnOpen = func(c Conn) { conns <- c } })
	pushed := make(chan int32, 1)
	cl := newTestClient(t, func(o *ClientOptions) {
		o.OnRequest = func(addr string, c *codec.Command) *codec.Command {
			if c.IsOneway() {
				pushed <- c.Code
				return nil
			}
			return &codec.Command{Code: 0, Body: append([]byte(addr+" "), c.Body...)}
		}
	})
	addr := s.Addrs()[0].String()
	_, err := cl.Call(patient(t), addr, &codec.Command{Code: codeEcho})
	require.NoError(t, err)
	conn := receives(t, "open", conns)
	resp, err := conn.Call(&codec.Command{Code: 220, Body: []byte("are you there")}, patience)
	require.NoError(t, err)
	require.Equal(t, addr+" are you there", string(resp.Body))
	require.NoError(t, conn.Send(&codec.Command{Code: 40, Flag: codec.FlagOneway}))
	require.Equal(t, int32(40), receives(t, "push", pushed))
}

func TestClientGivesUpOnBadFrames(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string][]byte{
		"negative length": {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"oversize":        {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"no JSON":         {0, 0, 0, 8, 0, 0, 0, 4, 'n', 'o', 'p', 'e'},
		"half a frame":    {0, 0, 1, 0, 0, 0, 0, 4, '{', '}'},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var served sync.WaitGroup
			served.Go(func() {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.ReadFull(nc, make([]byte, 8))
				_, _ = nc.Write(bad)
				_ = nc.Close()
			})
			cl := newTestClient(t, nil)
			_, err = cl.Call(patient(t), ln.Addr().String(), &codec.Command{Code: 1})
			require.Error(t, err)
			require.NoError(t, ln.Close())
			served.Wait()
		})
	}
}

func TestClientCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s, parked := serveParked(t, 1)
	dialing := make(chan struct{})
	cl := NewClient(func() ClientOptions {
		o := DefaultClientOptions()
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "nowhere" {
				close(dialing)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		return o
	}())
	addr := s.Addrs()[0].String()
	done := make(chan error, 2)
	go func() { _, err := cl.Call(context.Background(), addr, &codec.Command{Code: 1000}); done <- err }()
	p := receives(t, "parked", parked)
	go func() { _, err := cl.Call(context.Background(), "nowhere", &codec.Command{Code: 1000}); done <- err }()
	receives(t, "dialing", dialing)
	require.NoError(t, cl.Close())
	for range 2 {
		require.ErrorIs(t, receives(t, "failed call", done), ErrClosed)
	}
	_, err := cl.Call(context.Background(), addr, &codec.Command{Code: codeEcho})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, cl.Oneway(context.Background(), addr, &codec.Command{Code: codeEcho}), ErrClosed)
	eventually(t, "the server has noticed", p.Conn.Closed)
	require.ErrorIs(t, p.Reply(p.Response(0)), ErrClosed)
}
