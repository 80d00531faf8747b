package remoting

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// What the first bytes of a connection have told.
const (
	doorClosed uint8 = iota // nothing yet
	doorPlain
	doorTLS
)

// firstByteTLS is the type of the record that begins a handshake of TLS. No frame begins with it: it would be too long.
const firstByteTLS = 0x16

// pass looks at the first bytes of a connection, once, and at its handshake. It reports whether frames can be cut.
func (l *loop) pass(c *conn) bool {
	if c.door == doorClosed {
		l.greet(c)
	}
	if c.door != doorTLS || c.gone {
		return c.door == doorPlain && !c.gone
	}
	if !c.sec.ready {
		c.lastActive = l.now.Sub(l.srv.start)
		l.feed(c)
	}
	return c.sec.ready && !c.gone
}

// greet opens the door of a connection, or closes the connection: before anything is parsed that the mode of TLS does not let in.
// Apache: HandshakeHandler, TlsModeHandler.
func (l *loop) greet(c *conn) {
	c.lastActive = l.now.Sub(l.srv.start)
	n := c.g.InboundBuffered()
	if n == 0 {
		return
	}
	head, _ := c.g.Peek(min(n, maxProxyBytes))
	if !c.proxied && beginsProxy(head) {
		h, used, err := parseProxy(head)
		switch {
		case err == nil && used == 0:
			return // the rest is to come
		case err == nil && !l.srv.opts.ProxySources.Contains(c.remote.Addr()):
			err = errProxyNotTrusted
		}
		if err != nil {
			l.drop(c, fmt.Errorf("%w: %w", ErrProxy, err))
			return
		}
		_, _ = c.g.Discard(used) // cannot fail, the bytes are there
		c.proxied = true
		if h.source.IsValid() {
			l.srv.log.Debug("connection through a proxy", "client", h.source, "proxy", c.remote)
			c.remote = h.source
		}
		l.greet(c)
		return
	}
	mode := TLSDisabled
	if l.srv.opts.TLS != nil {
		mode = l.srv.opts.TLS.Mode()
	}
	switch isTLS := head[0] == firstByteTLS; {
	case isTLS && mode == TLSDisabled:
		l.drop(c, ErrTLSDisabled)
	case isTLS:
		l.startTLS(c)
	case mode == TLSEnforcing:
		l.srv.stats.plainRefused.Add(1)
		l.drop(c, ErrPlainRefused)
	default:
		c.door = doorPlain
	}
}

// foreign says what a connection speaks whose first bytes are no frame, "" if that is not known.
func foreign(head []byte) string {
	if len(head) < 4 {
		return ""
	}
	switch string(head[:4]) {
	case "GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI ":
		return ", this is HTTP and not RocketMQ's protocol"
	case "SSH-":
		return ", this is SSH and not RocketMQ's protocol"
	}
	return ""
}

const (
	// maxNotices is the number of addresses that have a line in the log for each kind of failure in a noticePeriod.
	maxNotices   = 1024
	noticePeriod = 10 * time.Minute
)

// notices keep peers that fail again and again from filling the log.
type notices struct {
	// mu guards the fields below.
	mu       sync.Mutex
	since    time.Time
	seen     map[notice]struct{}
	withheld int64
}

type notice struct {
	addr netip.Addr
	kind error
}

// allow reports whether a failure of a peer is to be logged, and how many were not since the last period.
func (n *notices) allow(addr netip.Addr, kind error, now time.Time) (ok bool, withheld int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil || now.Sub(n.since) >= noticePeriod {
		n.since, n.seen = now, make(map[notice]struct{})
		withheld, n.withheld = n.withheld, 0
	}
	key := notice{addr, kind}
	if _, seen := n.seen[key]; seen || len(n.seen) >= maxNotices {
		n.withheld++
		return false, withheld
	}
	n.seen[key] = struct{}{}
	return true, withheld
}

// doorErrors are the reasons of closing a connection that peers can bring about at will.
var doorErrors = []error{ErrBadFrame, ErrTLS, ErrTLSDisabled, ErrPlainRefused, ErrProxy}

// doorError returns which of them reason is, nil if none.
func doorError(reason error) error {
	for _, kind := range doorErrors {
		if errors.Is(reason, kind) {
			return kind
		}
	}
	return nil
}
