package remoting

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// ClientOptions say how a Client behaves. The zero value is unusable; begin with DefaultClientOptions.
type ClientOptions struct {
	// DialTimeout bounds the opening of a connection. The default is 3 s.
	DialTimeout time.Duration
	// CallTimeout bounds a call whose context has no deadline. The default is 3 s.
	CallTimeout time.Duration
	// WriteTimeout bounds one write; a connection that does not take the bytes is closed. The default is 10 s.
	WriteTimeout time.Duration
	// MaxCalls is the number of calls that may wait on one connection. The default is 4,096.
	MaxCalls int
	// MaxFrameBytes is the longest frame accepted, without its 4 length bytes. The default is codec.MaxFrameBytes.
	MaxFrameBytes int
	// OnRequest, if set, gets requests of the server, on the goroutine that reads the connection; c is valid until it returns. What
	// it returns is sent back, nil is not.
	OnRequest func(addr string, c *codec.Command) *codec.Command
	// Dial opens a connection. The default is a net.Dialer's DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Logger gets what the client has to say. The default discards it.
	Logger *slog.Logger
}

// DefaultClientOptions returns the options of a client.
func DefaultClientOptions() ClientOptions {
	return ClientOptions{DialTimeout: 3 * time.Second, CallTimeout: 3 * time.Second, WriteTimeout: 10 * time.Second, MaxCalls: 4096,
		MaxFrameBytes: codec.MaxFrameBytes, Dial: (&net.Dialer{}).DialContext, Logger: slog.New(slog.DiscardHandler)}
}

// Client calls servers: one connection for each address, opened when first needed and again after it broke.
type Client struct {
	opts ClientOptions
}

// NewClient returns a client without connections.
func NewClient(opts ClientOptions) *Client { return &Client{opts: opts} }

// Call sends c as a request to addr ("host:port") and waits for the answer, whatever its code, which is a copy of its own. c gets an
// opaque of the client's.
func (cl *Client) Call(ctx context.Context, addr string, c *codec.Command) (*codec.Command, error) {
	return nil, errors.New("remoting: not there yet")
}

// Oneway sends c to addr as a one-way request and returns when the bytes are with the kernel.
func (cl *Client) Oneway(ctx context.Context, addr string, c *codec.Command) error {
	return errors.New("remoting: not there yet")
}

// Close closes all connections, fails what waits on them and returns when all goroutines of the client have ended.
func (cl *Client) Close() error { return nil }
