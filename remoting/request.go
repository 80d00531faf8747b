package remoting

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Response codes that this package answers by itself. Apache: RemotingSysResponseCode.
const (
	respSystemError  int32 = 1
	respSystemBusy   int32 = 2
	respNotSupported int32 = 3
)

// The beginnings of the remarks of SYSTEM_BUSY are Apache's, since people and clients match them; the true cause follows.
const (
	overloadRemark = "[OVERLOAD]system busy, start flow control for a while"
	tooOldRemark   = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: %dms, size of queue: %d"
)

// Request is a request while its handler runs. Everything in it dies when the handler returns: it is used again for the next
// request, and Body and fields alias the bytes it came in. A handler that answers later calls Park and copies what it needs.
type Request struct {
	codec.Command
	// Conn is where the request came from.
	Conn Conn
	// Listener is the index in Options.Addrs of the door it came through.
	Listener int
	// Arrived is when its last byte was read.
	Arrived time.Time

	inline bool
	parked bool
	passed bool // the guard
	server *Server
	resp   codec.Command
}

// Inline reports whether the handler runs on an event loop, where it must not wait.
func (r *Request) Inline() bool { return r.inline }

// Response returns the request's own response with that code, to be filled and returned by the handler. Opaque, flag, serialize,
// language and version are set; every call clears the rest.
func (r *Request) Response(code int32) *codec.Command {
	fillResponse(&r.resp, code, r.Opaque, r.Serialize)
	return &r.resp
}

// finish returns what is to be sent after the handler has returned resp and err; nil is nothing.
func (r *Request) finish(resp *codec.Command, err error) *codec.Command {
	if r.parked || r.IsOneway() {
		release(resp)
		return nil
	}
	if err == nil && resp == nil {
		err = errNoAnswer
	}
	if err != nil {
		release(resp)
		resp = r.Response(respSystemError)
		var refusal *codec.Refusal
		if errors.As(err, &refusal) {
			resp.Code, resp.Remark, resp.Header = refusal.Code, refusal.Remark, refusal.Header
		} else {
			resp.Remark = err.Error()
		}
	}
	resp.Opaque = r.Opaque
	resp.Flag |= codec.FlagResponse
	return resp
}

// Park takes over the duty to answer: the handler then returns nil and nil, and whoever holds the Parked calls Reply, from any
// goroutine, also for one-way requests, for which that sends nothing.
func (r *Request) Park() *Parked {
	p := new(Parked)
	r.ParkIn(p)
	return p
}

// ParkIn is Park with memory of the caller's: a new Parked, or one whose Reply has returned and whose Response nobody uses any more.
func (r *Request) ParkIn(p *Parked) {
	r.parked = true
	p.Conn, p.Code, p.Listener, p.Arrived, p.server = r.Conn, r.Code, r.Listener, r.Arrived, r.server
	p.opaque, p.serialize, p.oneway = r.Opaque, r.Serialize, r.IsOneway()
	p.answered.Store(false)
	if p.server != nil {
		p.server.parked.Add(1)
	}
}

// Parked is a request that will be answered later. It holds what an answer needs and nothing of the request's bytes.
type Parked struct {
	Conn     Conn
	Code     int32
	Listener int
	Arrived  time.Time

	opaque    int32
	serialize codec.Serialize
	oneway    bool
	answered  atomic.Bool
	server    *Server
	resp      codec.Command
}

// Response returns the parked request's own response with that code, as Request.Response does. Only the goroutine that is going
// to Reply may call it.
func (p *Parked) Response(code int32) *codec.Command {
	fillResponse(&p.resp, code, p.opaque, p.serialize)
	return &p.resp
}

// Reply sends the answer, from any goroutine. It releases c.Owner in every case. A second Reply sends nothing and returns
// ErrAnswered; a connection that has gone returns ErrClosed. A one-way request is not answered, nor is any with nil: some
// requests have no answer in Apache either.
func (p *Parked) Reply(c *codec.Command) error {
	if !p.answered.CompareAndSwap(false, true) {
		release(c)
		return ErrAnswered
	}
	if p.server != nil {
		defer p.server.parked.Add(-1)
	}
	if p.oneway || c == nil {
		release(c)
		return nil
	}
	if p.server != nil {
		p.server.calls.add(CallKind{Code: p.Code, ResponseCode: c.Code, Parked: true}, 1, p.server.opts.Now().Sub(p.Arrived))
	}
	c.Opaque = p.opaque
	c.Flag |= codec.FlagResponse
	return p.Conn.Send(c)
}

// Forget lets go of what the memory of an answered request refers to, so that it can be kept for another.
func (p *Parked) Forget() {
	if p.Conn == nil {
		return
	}
	p.Conn, p.server = nil, nil
	fillResponse(&p.resp, 0, 0, 0)
}

// Answered reports whether Reply has been called.
func (p *Parked) Answered() bool { return p.answered.Load() }

func fillResponse(c *codec.Command, code, opaque int32, serialize codec.Serialize) {
	*c = codec.Command{Code: code, Language: codec.LanguageJava, Version: codec.Version, Opaque: opaque, Flag: codec.FlagResponse,
		Serialize: serialize, Extra: c.Extra[:0], Parts: c.Parts[:0]}
}

// release gives back what the command's body was borrowed from, once.
func release(c *codec.Command) {
	if c == nil || c.Owner == nil {
		return
	}
	owner := c.Owner
	c.Owner, c.Body = nil, nil
	dropParts(c)
	owner.Release()
}

// dropParts forgets the parts and keeps room for the next ones.
func dropParts(c *codec.Command) {
	clear(c.Parts)
	c.Parts = c.Parts[:0]
	if cap(c.Parts) > maxVector {
		c.Parts = nil
	}
}
