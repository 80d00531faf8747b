package remoting

import (
	"net/netip"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Conn is a connection that a peer has opened to a Server. All methods may be called from any goroutine.
type Conn interface {
	RemoteAddr() netip.AddrPort
	LocalAddr() netip.AddrPort
	// Send encodes c and sends it. It does not wait: the bytes are queued and leave in the connection's next turn. c.Owner is
	// released once the bytes are written, or at once when Send fails; c itself may be used again when Send returns.
	// ErrSlowReader means that the peer left too much unread and is being dropped.
	Send(c *codec.Command) error
	// Call sends c as a request of the server to its client and waits for the answer, which is a copy of its own. c gets an
	// opaque of the connection's own sequence. Never call it from an event loop.
	Call(c *codec.Command, timeout time.Duration) (*codec.Command, error)
	// Writable reports whether the bytes which the peer has not read yet are below the soft bound.
	Writable() bool
	// Close ends the connection; reason is logged and given to OnClose.
	Close(reason error)
	// Closed reports whether the connection has ended.
	Closed() bool
}
