package remoting

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// PoolKind names one of a server's pools.
type PoolKind uint8

// The pools of a server. They are apart so that sends do not starve heartbeats.
const (
	PoolSend PoolKind = iota
	PoolPull
	PoolClient
	PoolAdmin

	poolKinds = 4
)

// String returns the pool's name.
func (k PoolKind) String() string {
	switch k {
	case PoolSend:
		return "send"
	case PoolPull:
		return "pull"
	case PoolClient:
		return "client"
	case PoolAdmin:
		return "admin"
	}
	return "unknown"
}

// keepJobs is the queue that a pool keeps when it has run empty.
const keepJobs = 1024

// job is a request, or a task of Submit, that waits for a worker.
type job struct {
	conn    *conn
	chunk   *chunk // a copy of the request's frame
	entry   *Entry
	passed  bool // the guard
	arrived time.Time
	task    interface{ Run() }
}

// Pool runs work that must not run on an event loop, with a fixed number of goroutines and a bounded queue.
type Pool struct {
	srv     *Server
	kind    PoolKind
	max     int
	maxWait time.Duration
	workers sync.WaitGroup
	length  atomic.Int64 // of the queue

	// mu guards the fields below.
	mu     sync.Mutex
	work   sync.Cond
	ring   []job // a power of two long
	head   int
	count  int
	idle   int
	closed bool
}

// newPool starts a pool's workers.
func newPool(srv *Server, kind PoolKind) *Pool {
	p := &Pool{srv: srv, kind: kind, max: srv.opts.Queue[kind], maxWait: srv.opts.MaxWait[kind]}
	p.work.L = &p.mu
	for range srv.opts.Workers[kind] {
		p.workers.Go(p.run)
	}
	return p
}

// Submit queues the task and reports whether there was room. It may be called from any goroutine and does not wait.
func (p *Pool) Submit(task interface{ Run() }) bool {
	one := [1]job{{task: task}}
	return p.offer(one[:]) == 1
}

// Len returns the number of tasks and requests that wait.
func (p *Pool) Len() int { return int(p.length.Load()) }

// offer queues the first of jobs and returns how many there was room for.
func (p *Pool) offer(jobs []job) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(jobs), p.max-p.count)
	if p.closed {
		n = 0
	}
	for _, j := range jobs[:n] {
		if p.count == len(p.ring) {
			p.growLocked()
		}
		p.ring[(p.head+p.count)&(len(p.ring)-1)] = j
		p.count++
	}
	p.length.Store(int64(p.count))
	for range min(n, p.idle) {
		p.work.Signal()
	}
	return n
}

func (p *Pool) growLocked() {
	ring := make([]job, max(64, 2*len(p.ring)))
	for i := range p.count {
		ring[i] = p.ring[(p.head+i)&(len(p.ring)-1)]
	}
	p.ring, p.head = ring, 0
}

// take waits for a job; there is none when the pool is closed and empty.
func (p *Pool) take() (j job, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.count == 0 {
		if p.closed {
			return job{}, false
		}
		if len(p.ring) > keepJobs {
			p.ring, p.head = nil, 0
		}
		p.idle++
		p.work.Wait()
		p.idle--
	}
	j = p.ring[p.head]
	p.ring[p.head] = job{}
	p.head = (p.head + 1) & (len(p.ring) - 1)
	p.count--
	p.length.Store(int64(p.count))
	return j, true
}

// run is a worker.
func (p *Pool) run() {
	var req Request
	for {
		j, ok := p.take()
		if !ok {
			return
		}
		if j.task != nil {
			p.runTask(j.task)
		} else {
			p.runRequest(&req, &j)
		}
	}
}

func (p *Pool) runTask(task interface{ Run() }) {
	defer func() {
		if v := recover(); v != nil {
			p.srv.stats.panics.Add(1)
			p.srv.log.Error("task panicked", "pool", p.kind.String(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	task.Run()
}

// runRequest runs the handler of a request that was handed over, and sends its answer.
func (p *Pool) runRequest(req *Request, j *job) {
	size := len(j.chunk.b)
	defer func() {
		p.srv.buffers.chunks.put(j.chunk)
		j.conn.done(size)
	}()
	if err := codec.ParseFrame(j.chunk.b, &req.Command); err != nil {
		p.srv.log.Error("frame does not parse a second time", "client", j.conn.remote, "err", err)
		return
	}
	req.Conn, req.Listener, req.Arrived, req.server = j.conn, int(j.conn.listener), j.arrived, p.srv
	req.inline, req.parked, req.passed = false, false, j.passed
	var resp *codec.Command
	if waited := p.srv.opts.Now().Sub(j.arrived); p.maxWait > 0 && waited > p.maxWait {
		p.srv.stats.tooOld.Add(1)
		remark := fmt.Sprintf(tooOldRemark, waited.Milliseconds(), p.Len())
		resp = req.finish(nil, &codec.Refusal{Code: respSystemBusy, Remark: remark})
	} else {
		resp = req.finish(p.srv.invoke(j.entry.Handler, req))
	}
	if req.parked {
		return
	}
	kind := CallKind{Code: req.Code, ResponseCode: onewayCode}
	if resp != nil {
		kind.ResponseCode = resp.Code
	}
	p.srv.calls.add(kind, 1, p.srv.opts.Now().Sub(j.arrived))
	if resp == nil {
		return
	}
	p.srv.stats.responses.Add(1)
	if err := j.conn.send(resp); err != nil {
		p.srv.log.Debug("answer not sent", "client", j.conn.remote, "code", req.Code, "err", err)
	}
}

// fullCause says in a remark why a request was not queued.
func (p *Pool) fullCause() string {
	return ", the " + p.kind.String() + " pool's queue of " + strconv.Itoa(p.max) + " requests is full"
}

// close lets the workers finish what is queued, and end. It returns when they have, or ctx's error.
func (p *Pool) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.work.Broadcast()
	p.mu.Unlock()
	return waitGroup(ctx, &p.workers, "of the "+p.kind.String()+" pool")
}

// invoke runs a handler, unless the guard refuses the request; a panic becomes an error.
func (s *Server) invoke(h Handler, req *Request) (resp *codec.Command, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.stats.panics.Add(1)
			s.log.Error("handler panicked", "code", req.Code, "client", req.Conn.RemoteAddr(), "panic", v,
				"stack", string(debug.Stack()))
			resp, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	if s.opts.Guard != nil && !req.passed {
		if err := s.opts.Guard(req); err != nil {
			return nil, err
		}
		req.passed = true
	}
	return h(req)
}

// unknown is the handler of codes without an entry.
func unknown(req *Request) (*codec.Command, error) { return nil, unknownCode(req.Code) }

func connInflightCause(limit int64) string {
	return ", requests of this connection that are being answered take more than " + strconv.FormatInt(limit, 10) + " bytes"
}

func inflightCause(limit int64) string {
	return ", requests that are being answered take more than " + strconv.FormatInt(limit, 10) + " bytes"
}
