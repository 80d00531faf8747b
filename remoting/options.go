package remoting

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Options say where a Server listens and how much it takes on. The zero value is unusable; begin with DefaultOptions.
type Options struct {
	// Addrs are the listeners as "host:port". The first is the main one, the others are further doors such as the VIP port. An
	// empty host listens on all interfaces, port 0 on a free one (see Server.Addrs).
	Addrs []string
	// Table gives the codes served by the listener with that index in Addrs. It is called once for each listener, in Open.
	Table func(listener int) *Table

	// Loops is the number of event loops. The default is the number of CPUs the process may use, at most 16. A loop that waits for
	// its connections holds one of the runtime's processors for up to 10 ms, so GOMAXPROCS should be more than Loops.
	Loops int
	// ReadBufferBytes is what a loop reads at most in one turn from one connection, which bounds the work of a turn too. The
	// default is 256 KiB.
	ReadBufferBytes int
	// MaxFrameBytes is the longest frame accepted, without its 4 length bytes. The default is codec.MaxFrameBytes.
	MaxFrameBytes int

	// IdleTimeout closes a connection without reads and writes for so long. The default is 120 s, as Apache's.
	IdleTimeout time.Duration
	// KeepAlive is the period of TCP keep-alive probes. The default is 60 s.
	KeepAlive time.Duration
	// MaxConns is the number of connections open at once; further ones are closed at once. The default is 65,536.
	MaxConns int

	// SoftUnsentBytes is what a connection may leave unread before it counts as not writable and its further requests wait in
	// its inbound buffer. The default is 4 MiB.
	SoftUnsentBytes int64
	// MaxConnUnsentBytes is what a connection may leave unread before it is dropped as a slow reader. The default is 32 MiB.
	MaxConnUnsentBytes int64
	// MaxUnsentBytes bounds the same over all connections. Beyond it a connection that is above its soft bound is dropped when
	// it is sent more. The default is 1 GiB.
	MaxUnsentBytes int64
	// MaxInflightBytes bounds the bytes of requests which are handed to pools and of frames that have arrived in part. Beyond
	// it requests are answered SYSTEM_BUSY. The default is 256 MiB.
	MaxInflightBytes int64
	// MaxConnInflightBytes bounds the same for one connection. The default is 64 MiB.
	MaxConnInflightBytes int64
	// MaxConnCalls is the number of server-to-client requests that may wait for an answer on one connection. The default is 1,024.
	MaxConnCalls int

	// Workers and Queue are the goroutines of each pool and the requests that may wait for one. PoolClient has many by default: the
	// heartbeat of a group that is new waits until the name servers know its retry topic, and nobody shall wait behind it.
	Workers [poolKinds]int
	Queue   [poolKinds]int
	// MaxWait is how long a request may wait for a worker before it is answered SYSTEM_BUSY instead of being run; 0 is for ever.
	// The defaults are Apache's: send 200 ms, pull 5 s, client 31 s, admin 5 s.
	MaxWait [poolKinds]time.Duration

	// Guard, if set, is asked before every handler, on the handler's goroutine; its error is the answer. Of an inline entry it may
	// return ErrHandOver, to be asked again on the pool.
	Guard func(*Request) error

	// TLS says what is done with connections that begin with TLS; nil is TLSDisabled. Its files are followed by its own Watch.
	TLS *TLS
	// HandshakeTimeout is how long a handshake of TLS may take, its wait for a turn included. The default is 10 s, as Apache's.
	HandshakeTimeout time.Duration
	// ProxySources are the addresses from which a PROXY header is believed; from others it ends the connection. The default is
	// PrivateProxySources; Apache believes all.
	ProxySources ProxySources

	// OnOpen and OnClose, if set, are told of connections, on the connection's event loop: they must not wait. OnClose comes once
	// for each OnOpen.
	OnOpen  func(Conn)
	OnClose func(c Conn, reason error)
	// OnDrain, if set, is called by Close after the pools have ended. It answers requests that are parked for an event which
	// may never come (long polling).
	OnDrain func()
	// DrainTimeout is how long Close waits for parked requests after OnDrain. The default is 2 s.
	DrainTimeout time.Duration

	// Logger gets what the server has to say. The default discards it.
	Logger *slog.Logger
	// Now is the clock that stamps requests and finds idle connections. The default is time.Now.
	Now func() time.Time
}

// DefaultOptions returns the options of a server without listeners and codes.
func DefaultOptions() Options {
	procs := min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	return Options{
		Loops:                min(procs, 16),
		ReadBufferBytes:      256 << 10,
		MaxFrameBytes:        codec.MaxFrameBytes,
		IdleTimeout:          120 * time.Second,
		KeepAlive:            60 * time.Second,
		MaxConns:             65536,
		SoftUnsentBytes:      4 << 20,
		MaxConnUnsentBytes:   32 << 20,
		MaxUnsentBytes:       1 << 30,
		MaxInflightBytes:     256 << 20,
		MaxConnInflightBytes: 64 << 20,
		MaxConnCalls:         1024,
		Workers:              [poolKinds]int{PoolSend: max(2, procs), PoolPull: max(4, 2*procs), PoolClient: 128, PoolAdmin: max(16, 2*procs)},
		Queue:                [poolKinds]int{PoolSend: 10000, PoolPull: 100000, PoolClient: 50000, PoolAdmin: 10000},
		MaxWait: [poolKinds]time.Duration{PoolSend: 200 * time.Millisecond, PoolPull: 5 * time.Second,
			PoolClient: 31 * time.Second, PoolAdmin: 5 * time.Second},
		DrainTimeout: 2 * time.Second, HandshakeTimeout: 10 * time.Second,
		ProxySources: PrivateProxySources(),
		Logger:       slog.New(slog.DiscardHandler),
		Now:          time.Now,
	}
}

// validate reports the first option that cannot work.
func (o *Options) validate() error {
	if len(o.Addrs) == 0 {
		return errors.New("remoting: no address to listen on")
	}
	if o.Table == nil {
		return errors.New("remoting: no table of codes")
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"Loops", int64(o.Loops)}, {"ReadBufferBytes", int64(o.ReadBufferBytes)}, {"MaxFrameBytes", int64(o.MaxFrameBytes)},
		{"IdleTimeout", int64(o.IdleTimeout)}, {"HandshakeTimeout", int64(o.HandshakeTimeout)}, {"MaxConns", int64(o.MaxConns)}, {"SoftUnsentBytes", o.SoftUnsentBytes},
		{"MaxConnUnsentBytes", o.MaxConnUnsentBytes}, {"MaxUnsentBytes", o.MaxUnsentBytes}, {"MaxInflightBytes", o.MaxInflightBytes},
		{"MaxConnInflightBytes", o.MaxConnInflightBytes}, {"MaxConnCalls", int64(o.MaxConnCalls)},
	} {
		if n.value <= 0 {
			return fmt.Errorf("remoting: option %s must be more than 0, is %d", n.name, n.value)
		}
	}
	if o.MaxFrameBytes > codec.MaxFrameBytes {
		return fmt.Errorf("remoting: option MaxFrameBytes must be at most %d, is %d", codec.MaxFrameBytes, o.MaxFrameBytes)
	}
	for kind := range poolKinds {
		if o.Workers[kind] <= 0 || o.Queue[kind] <= 0 {
			return fmt.Errorf("remoting: pool %s needs workers and a queue, has %d and %d", PoolKind(kind), o.Workers[kind], o.Queue[kind])
		}
	}
	if o.Logger == nil || o.Now == nil {
		return errors.New("remoting: options Logger and Now must be set")
	}
	return nil
}
