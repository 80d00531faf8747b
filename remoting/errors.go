package remoting

import "errors"

var (
	// ErrClosed is returned for a connection, client or server that is closed.
	ErrClosed = errors.New("remoting: closed")
	// ErrSlowReader is the reason of closing a connection whose peer leaves too many bytes unread.
	ErrSlowReader = errors.New("remoting: peer reads too slowly")
	// ErrIdle is the reason of closing a connection without reads and writes.
	ErrIdle = errors.New("remoting: idle")
	// ErrBadFrame is the reason of closing a connection whose bytes are no frames.
	ErrBadFrame = errors.New("remoting: bad frame")
	// ErrTimeout is returned by a call that was not answered in time.
	ErrTimeout = errors.New("remoting: call timed out")
	// ErrTooManyCalls is returned when too many calls wait for their answers already.
	ErrTooManyCalls = errors.New("remoting: too many calls wait for an answer")
	// ErrAnswered is returned by a second Reply to the same request.
	ErrAnswered = errors.New("remoting: request is answered already")
	// ErrTooManyConns is the reason of closing a connection beyond Options.MaxConns.
	ErrTooManyConns = errors.New("remoting: too many connections")
	// ErrOverload is the reason of closing a connection whose incomplete frame does not fit into Options.MaxInflightBytes and
	// cannot be answered.
	ErrOverload = errors.New("remoting: too many bytes in flight")
	// ErrHandOver is returned by an inline handler, before it has had any effect, to be run again on its entry's pool.
	ErrHandOver = errors.New("remoting: hand over to the pool")
	// ErrTLS is the reason of closing a connection whose TLS goes wrong.
	ErrTLS = errors.New("remoting: TLS")
	// ErrTLSDisabled is the reason of closing a connection that begins with TLS, with TLSDisabled.
	ErrTLSDisabled = errors.New("remoting: TLS where it is switched off (tls.server.mode=disabled)")
	// ErrPlainRefused is the reason of closing a connection that does not begin with TLS, with TLSEnforcing.
	ErrPlainRefused = errors.New("remoting: no TLS where it is demanded (tls.server.mode=enforcing)")
	// ErrProxy is the reason of closing a connection whose PROXY header cannot be taken.
	ErrProxy = errors.New("remoting: PROXY header")

	errHandshakeTimeout = errors.New("the handshake took too long")
	errProxyNotTrusted  = errors.New("the address it comes from is not among those that are trusted (proxyProtocolSources)")
	// errNoAnswer is answered for a handler that neither answered nor parked its request.
	errNoAnswer = errors.New("no answer was made")
)
