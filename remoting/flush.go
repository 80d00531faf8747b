package remoting

import (
	"github.com/apogee-mq/apogee/codec"
)

// maxVector is the most slices the kernel takes in one writev, on Linux and on macOS.
const maxVector = 1024

// answers are the inline answers of a connection's turn: heads and small bodies in one buffer, with the places where parts of
// borrowed bodies go in between.
type answers struct {
	buf    []byte
	inlets []inlet
	owners []codec.Releaser
	bytes  int
	vector [][]byte // of the write under way
}

// inlet is a slice that is to be written when buf has been written up to pos.
type inlet struct {
	pos  int
	part []byte
}

// add encodes a response and takes over its owner.
func (a *answers) add(c *codec.Command) {
	was := len(a.buf)
	parts := partsBytes(c)
	if parts <= copyPartsBytes {
		a.buf = codec.AppendFrame(a.buf, c)
		a.bytes += len(a.buf) - was
		release(c)
		return
	}
	a.buf = codec.AppendFrameHead(a.buf, c)
	a.bytes += len(a.buf) - was + parts
	for _, part := range c.Parts {
		a.inlets = append(a.inlets, inlet{pos: len(a.buf), part: part})
	}
	if c.Owner != nil {
		a.owners = append(a.owners, c.Owner)
	}
	c.Owner = nil
	dropParts(c)
}

// appendVector appends the slices to be written, in order.
func (a *answers) appendVector(v [][]byte) [][]byte {
	from := 0
	for _, in := range a.inlets {
		if in.pos > from {
			v = append(v, a.buf[from:in.pos])
			from = in.pos
		}
		if len(in.part) > 0 {
			v = append(v, in.part)
		}
	}
	if from < len(a.buf) {
		v = append(v, a.buf[from:])
	}
	return v
}

// reset gives back what was borrowed and empties the buffer for the next turn.
func (a *answers) reset() {
	for _, owner := range a.owners {
		owner.Release()
	}
	clear(a.owners)
	clear(a.inlets)
	a.owners, a.inlets, a.bytes = a.owners[:0], a.inlets[:0], 0
	if cap(a.buf) > keepBytes {
		a.buf = nil
	}
	a.buf = a.buf[:0]
}

// flush writes the turn's answers, and with them what others have sent on the connection meanwhile.
func (l *loop) flush(c *conn) {
	if c.unsent.Load() != int64(c.outbound) {
		l.flushListed(c)
		return
	}
	a := &l.answers
	if a.bytes > 0 && !c.gone {
		if len(a.inlets) == 0 {
			l.turn.bytesOut += int64(len(a.buf))
			l.put(c, a.buf)
		} else {
			a.vector = a.appendVector(a.vector[:0])
			l.write(c, a.vector)
		}
		l.account(c)
	}
	a.reset()
}

// flushListed writes what others have sent and then the turn's answers. It reports whether the connection is to be closed.
func (l *loop) flushListed(c *conn) (closing bool) {
	if c.sec != nil && !c.sec.ready {
		return l.shake(c)
	}
	a := &l.answers
	out, closing := c.takeOut()
	if out != nil {
		out.seal()
	}
	if !c.gone {
		v := a.vector[:0]
		if out != nil {
			for i := range out.pieces {
				if len(out.pieces[i].b) > 0 {
					v = append(v, out.pieces[i].b)
				}
			}
		}
		a.vector = a.appendVector(v)
		l.write(c, a.vector)
	}
	if out != nil {
		c.unsent.Add(-int64(out.bytes))
		l.srv.buffers.recycle(out)
	}
	a.reset()
	l.account(c)
	return closing
}

// write gives the slices to gnet, which copies what the kernel does not take at once.
func (l *loop) write(c *conn, v [][]byte) {
	for n := 0; len(v) > 0 && !c.gone; v = v[n:] {
		n = min(len(v), maxVector)
		for _, b := range v[:n] {
			l.turn.bytesOut += int64(len(b))
		}
		switch {
		case c.sec != nil:
			l.writeSecure(c, v[:n])
		case n == 1:
			l.put(c, v[0])
		default:
			l.putAll(c, v[:n])
		}
		clear(v[:n])
	}
	if !c.gone {
		c.lastActive = l.now.Sub(l.srv.start)
	}
}

// put gives one slice to gnet.
func (l *loop) put(c *conn, b []byte) {
	if c.sec != nil {
		l.writeSecure(c, [][]byte{b})
		return
	}
	_, _ = c.g.Write(b) // an error has closed the connection, which OnClose tells
}

// putAll writes slices, which it consumes, at once as far as the kernel takes them, and gives the rest to gnet. gnet's own writev
// makes a new vector for each call.
func (l *loop) putAll(c *conn, v [][]byte) {
	if c.g.OutboundBuffered() == 0 {
		v = skip(v, l.vector.write(c.g.Fd(), v))
	}
	if len(v) > 0 {
		_, _ = c.g.Writev(v) // an error has closed the connection, which OnClose tells
	}
}

// skip cuts the first n bytes off the slices.
func skip(v [][]byte, n int) [][]byte {
	for len(v) > 0 && n >= len(v[0]) {
		n -= len(v[0])
		v = v[1:]
	}
	if n > 0 {
		v[0] = v[0][n:]
	}
	return v
}

// account looks at what gnet still holds for a peer: more than the soft bound pauses the connection's requests, more than the hard
// bound ends it.
func (l *loop) account(c *conn) {
	if c.gone {
		return
	}
	was, opts := c.outbound, &l.srv.opts
	c.outbound = c.g.OutboundBuffered()
	if c.outbound == was && was == 0 {
		return
	}
	c.unsent.Add(int64(c.outbound - was))
	total := l.srv.unsent.Add(int64(c.outbound - was))
	if c.outbound < was {
		c.lastActive = l.now.Sub(l.srv.start)
	}
	if c.outbound < was || !c.paused {
		c.lastRead = l.now.Sub(l.srv.start)
	}
	unsent := int64(c.outbound)
	above := unsent > opts.SoftUnsentBytes
	c.paused = c.paused || above // until lookAfter finds that the peer has read
	if was > 0 && c.outbound > was && (unsent > opts.MaxConnUnsentBytes || above && total > opts.MaxUnsentBytes) {
		l.drop(c, ErrSlowReader)
		return
	}
	if c.outbound > 0 && !c.lagging {
		c.lagging = true
		l.lagging = append(l.lagging, c)
		l.srv.lagging()
	}
}

// lookAfter sees how far slow readers have come. gnet writes on by itself but tells nobody.
func (l *loop) lookAfter() {
	lagging := l.lagging
	l.lagging = l.spareLagging[:0]
	for _, c := range lagging {
		c.lagging = false
		l.account(c)
		if c.paused && !c.gone && int64(c.outbound) <= l.srv.opts.SoftUnsentBytes/2 {
			c.paused = false
			l.traffic(c)
		}
	}
	clear(lagging)
	l.spareLagging = lagging[:0]
}
