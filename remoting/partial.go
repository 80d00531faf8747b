package remoting

import (
	"encoding/binary"
	"fmt"

	"github.com/apogee-mq/apogee/codec"
)

// uncount takes the connection's leftover bytes out of those in flight and returns how many counted.
func (l *loop) uncount(c *conn) int {
	was := c.partial
	if was > 0 {
		l.srv.inflight.Add(-int64(was))
		c.partial = 0
	}
	return was
}

// keepLeftover accounts for bytes that belong to a frame which is not complete, or to requests of a peer that does not read.
// There were so many before the turn.
func (l *loop) keepLeftover(c *conn, was int) {
	c.leftover = c.buffered()
	if c.leftover+c.encrypted() <= partialBytes {
		return
	}
	c.partial = c.leftover + c.encrypted()
	total := l.srv.inflight.Add(int64(c.partial))
	switch {
	case c.partial <= was:
	case c.paused && int64(c.partial) > l.srv.opts.MaxConnInflightBytes:
		l.drop(c, ErrSlowReader)
	case total > l.srv.opts.MaxInflightBytes:
		l.refusePartial(c)
	}
}

// refusePartial answers SYSTEM_BUSY to a request of which the header has arrived but not the whole body, and has the rest of it
// skipped.
func (l *loop) refusePartial(c *conn) {
	if c.leftover < 8 {
		l.drop(c, ErrOverload)
		return
	}
	head := c.peek(8)
	size, err := l.frameLen(head)
	headed := 8 + int(binary.BigEndian.Uint32(head[4:])&0xFFFFFF)
	if err != nil || c.paused || headed > c.leftover || headed > partialBytes {
		l.drop(c, ErrOverload)
		return
	}
	frame := append([]byte(nil), c.peek(headed)...) // the same frame without a body
	binary.BigEndian.PutUint32(frame, uint32(headed-4))
	if err := codec.ParseFrame(frame, &l.req.Command); err != nil {
		l.drop(c, fmt.Errorf("%w: %w", ErrBadFrame, err))
		return
	}
	if !l.req.IsResponse() {
		l.refuse(inflightCause(l.srv.opts.MaxInflightBytes))
	}
	c.skip = size
	l.skip(c)
	l.flush(c)
}

// skip discards what has arrived of a frame that was refused.
func (l *loop) skip(c *conn) {
	n := min(c.skip, c.buffered())
	if n == 0 {
		return
	}
	c.discard(n)
	c.skip -= n
	c.leftover = max(0, c.leftover-n)
	l.uncount(c)
}
