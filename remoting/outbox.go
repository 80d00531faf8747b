package remoting

import (
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// Bodies in parts of at most this many bytes are copied behind their head: cheaper than a longer vector.
const copyPartsBytes = 4096

// sendChunkBytes is the room taken for answers that leave together.
const sendChunkBytes = 4096

// piece is bytes on their way out, with what is to be given back when they are written.
type piece struct {
	b     []byte
	chunk *chunk
	owner codec.Releaser
}

// outbox is what goroutines other than the loop have sent on a connection and its loop has not taken yet. A connection has one only
// while there is something in it.
type outbox struct {
	pieces []piece
	tail   *chunk // the answers after pieces
	bytes  int
}

// outboxes and chunks are shared by all connections of a server.
type buffers struct {
	chunks   chunks
	outboxes sync.Pool
}

// outbox returns an empty outbox.
func (p *buffers) outbox() *outbox {
	if o, ok := p.outboxes.Get().(*outbox); ok {
		return o
	}
	return &outbox{}
}

// recycle releases everything in the outbox and keeps it for another connection.
func (p *buffers) recycle(o *outbox) {
	if o == nil {
		return
	}
	for i := range o.pieces {
		p.chunks.put(o.pieces[i].chunk)
		if owner := o.pieces[i].owner; owner != nil {
			owner.Release()
		}
	}
	p.chunks.put(o.tail)
	clear(o.pieces)
	if cap(o.pieces) > 256 {
		o.pieces = nil
	}
	o.pieces, o.tail, o.bytes = o.pieces[:0], nil, 0
	p.outboxes.Put(o)
}

// add appends the frame of c and returns its size in bytes. c.Owner is given back here, or kept until the pieces are recycled.
func (o *outbox) add(p *buffers, c *codec.Command) int {
	before := o.bytes
	parts := partsBytes(c)
	need := 512 + len(c.Body)
	if parts > 0 && parts <= copyPartsBytes {
		need += parts
	}
	if o.tail != nil && cap(o.tail.b)-len(o.tail.b) < need {
		o.seal()
	}
	if o.tail == nil {
		o.tail = p.chunks.get(max(need, sendChunkBytes))
	}
	was := len(o.tail.b)
	if parts <= copyPartsBytes {
		o.tail.b = codec.AppendFrame(o.tail.b, c)
		o.bytes += len(o.tail.b) - was
		release(c)
		return o.bytes - before
	}
	o.tail.b = codec.AppendFrameHead(o.tail.b, c)
	o.bytes += len(o.tail.b) - was + parts
	o.seal()
	for _, b := range c.Parts {
		o.pieces = append(o.pieces, piece{b: b})
	}
	o.pieces[len(o.pieces)-1].owner = c.Owner
	c.Owner = nil
	dropParts(c)
	return o.bytes - before
}

// addChunk appends a frame that was encoded elsewhere.
func (o *outbox) addChunk(ch *chunk) {
	o.seal()
	o.pieces = append(o.pieces, piece{b: ch.b, chunk: ch})
	o.bytes += len(ch.b)
}

// seal moves the tail behind the pieces.
func (o *outbox) seal() {
	if o.tail != nil {
		o.pieces = append(o.pieces, piece{b: o.tail.b, chunk: o.tail})
		o.tail = nil
	}
}

func partsBytes(c *codec.Command) int {
	n := 0
	for _, b := range c.Parts {
		n += len(b)
	}
	return n
}
