package remoting

import (
	"math/bits"
	"sync"
)

// Size classes of chunks: powers of two. What is larger is left to the garbage collector, so that what the pools keep is bounded.
const (
	minChunkShift = 9  // 512 B
	maxChunkShift = 22 // 4 MiB
)

// chunk is a reusable buffer. It is a pointer so that its way into a pool does not allocate.
type chunk struct{ b []byte }

// chunks hands out buffers by size class.
type chunks struct {
	classes [maxChunkShift - minChunkShift + 1]sync.Pool
}

// get returns an empty chunk with room for n bytes.
func (p *chunks) get(n int) *chunk {
	shift := max(bits.Len(uint(max(n, 1)-1)), minChunkShift)
	if shift > maxChunkShift {
		return &chunk{b: make([]byte, 0, n)}
	}
	if c, ok := p.classes[shift-minChunkShift].Get().(*chunk); ok {
		return c
	}
	return &chunk{b: make([]byte, 0, 1<<shift)}
}

// put takes back a chunk, which may have grown.
func (p *chunks) put(c *chunk) {
	if c == nil {
		return
	}
	shift := bits.Len(uint(cap(c.b))) - 1
	if shift < minChunkShift || shift > maxChunkShift {
		return
	}
	c.b = c.b[:0]
	p.classes[shift-minChunkShift].Put(c)
}
