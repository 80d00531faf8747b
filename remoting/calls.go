package remoting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// calls are the requests of one side of a connection that wait for an answer, by opaque.
type calls struct {
	mu      sync.Mutex
	next    int32
	waiting map[int32]chan *codec.Command // each with room for its answer
	max     int
	closed  error
}

// begin enters a call and returns its opaque and where its answer will arrive; nil arrives when the connection ends.
func (cs *calls) begin() (int32, <-chan *codec.Command, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed != nil {
		return 0, nil, cs.closed
	}
	if len(cs.waiting) >= cs.max {
		return 0, nil, ErrTooManyCalls
	}
	if cs.waiting == nil {
		cs.waiting = make(map[int32]chan *codec.Command)
	}
	cs.next++
	for cs.waiting[cs.next] != nil { // after 2^32 calls
		cs.next++
	}
	answer := make(chan *codec.Command, 1)
	cs.waiting[cs.next] = answer
	return cs.next, answer, nil
}

// opaque returns an opaque for a request that expects no answer.
func (cs *calls) opaque() int32 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.next++
	return cs.next
}

// forget takes back a call that is not waited for any more.
func (cs *calls) forget(opaque int32) {
	cs.mu.Lock()
	delete(cs.waiting, opaque)
	cs.mu.Unlock()
}

// complete gives a copy of the answer frame to its call and reports whether one waited.
func (cs *calls) complete(opaque int32, frame []byte) bool {
	cs.mu.Lock()
	answer := cs.waiting[opaque]
	delete(cs.waiting, opaque)
	cs.mu.Unlock()
	if answer == nil {
		return false
	}
	c := new(codec.Command)
	if codec.ParseFrame(bytes.Clone(frame), c) != nil {
		c = nil // cannot be: it was parsed to learn its opaque
	}
	answer <- c
	return true
}

// wait waits for the answer until ctx ends.
func (cs *calls) wait(ctx context.Context, opaque int32, answer <-chan *codec.Command) (*codec.Command, error) {
	select {
	case c := <-answer:
		if c == nil {
			return nil, cs.reason()
		}
		return c, nil
	case <-ctx.Done():
		cs.forget(opaque)
		if context.Cause(ctx) == context.DeadlineExceeded {
			return nil, ErrTimeout
		}
		return nil, context.Cause(ctx)
	}
}

// reason is why calls fail, an ErrClosed.
func (cs *calls) reason() error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.closed
}

// close fails the calls that wait and all later ones with ErrClosed, which says why if that is more than an end.
func (cs *calls) close(why error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = ErrClosed
	if why != nil && !errors.Is(why, io.EOF) && !errors.Is(why, net.ErrClosed) && !errors.Is(why, ErrClosed) {
		cs.closed = fmt.Errorf("%w: %v", ErrClosed, why)
	}
	for opaque, answer := range cs.waiting {
		delete(cs.waiting, opaque)
		answer <- nil
	}
}
