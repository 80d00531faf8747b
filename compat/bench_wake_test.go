package compat

import (
	"encoding/binary"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	wakeRate = 5000 // messages a second
	bodyAt   = 88   // in a record of a host with an IPv4 address
)

// parked is a request that waits at the broker for a message of one queue.
type parked struct {
	maker *frameMaker
	// fields are those of the next request, after the answer a or, for the first one, nil.
	fields func(queueID int, a *reply, dst []field) []field
}

// parkedPulls are pulls from the end of a queue.
func (b *benchRun) parkedPulls() func(queueID int) (*parked, error) {
	maker := newFrameMaker(codePullMessage, without(with(pullFields(b.group, b.topic, 0, 0), "sysFlag", pullSubExpr|pullSuspend,
		"suspendTimeoutMillis", 15000), "queueId", "queueOffset"))
	return func(queueID int) (*parked, error) {
		end, err := callOnce(b.target.Broker(), codeGetMaxOffset, ext("topic", b.topic, "queueId", queueID), nil)
		if err != nil {
			return nil, err
		}
		from, err := strconv.ParseInt(end.Ext["offset"], 10, 64)
		return &parked{maker, func(queueID int, a *reply, dst []field) []field {
			if a != nil && a.field("nextBeginOffset") != nil {
				from = a.number("nextBeginOffset")
			}
			return append(dst, field{name: "queueId", n: int64(queueID)}, field{name: "queueOffset", n: from})
		}}, err
	}
}

// parkedPops are pops of one queue. What they get stays invisible for longer than the run.
func (b *benchRun) parkedPops() func(queueID int) (*parked, error) {
	maker := newFrameMaker(codePop, ext("consumerGroup", b.group, "topic", b.topic, "maxMsgNums", 32, "invisibleTime", 300000,
		"pollTime", 15000, "initMode", 1, "expType", "TAG", "exp", "*", "order", false))
	return func(int) (*parked, error) {
		return &parked{maker, func(queueID int, _ *reply, dst []field) []field {
			return append(dst, field{name: "queueId", n: int64(queueID)}, field{name: "bornTime", n: nowMs()})
		}}, nil
	}
}

// wake measures from the sending of a message to its arrival at a request that was parked, and returns how many have arrived: fewer
// than were sent when the server does not keep up.
func (b *benchRun) wake(until time.Time, park func(queueID int) (*parked, error)) int64 {
	lasts := time.Until(until)
	var mu sync.Mutex
	stop := make(chan struct{})
	var waiting sync.WaitGroup
	ready := make(chan error, benchQueues)
	for queueID := range benchQueues {
		waiting.Go(func() {
			one, err := park(queueID)
			if ready <- err; err == nil {
				b.keepParked(one, queueID, stop, &mu)
			}
		})
	}
	for range benchQueues {
		require.NoError(b, <-ready)
	}
	b.each(1, func(_ int, p *pipe) error { return b.sendPaced(p, lasts) })
	close(stop)
	waiting.Wait()
	return int64(len(b.ms))
}

// sendPaced sends what is due each millisecond. The body of a message begins with the time of its sending.
func (b *benchRun) sendPaced(p *pipe, lasts time.Duration) error {
	go func() { // answers are read and forgotten
		var a reply
		for p.read(&a) == nil {
		}
	}()
	maker := b.sender("", 0)
	var body [benchBody]byte
	sent := 0
	return paced(p.conn, lasts, func(dst []byte, now time.Time, due int) []byte {
		binary.BigEndian.PutUint64(body[:], uint64(now.UnixNano()))
		for ; sent < due; sent++ {
			dst = maker.append(dst, firstOpaque, body[:], queueField(sent))
		}
		return dst
	})
}

// paced writes each millisecond what add appends: up to message number due.
func paced(w io.Writer, lasts time.Duration, add func(dst []byte, now time.Time, due int) []byte) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var out []byte
	for range tick.C {
		now := time.Now()
		if now.Sub(began) > lasts {
			return nil
		}
		out = add(out[:0], now, int(now.Sub(began)*wakeRate/time.Second))
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
	return nil
}

// keepParked has one request at the broker at all times, until it is stopped.
func (b *benchRun) keepParked(one *parked, queueID int, stop <-chan struct{}, mu *sync.Mutex) {
	p, err := openPipe(b.target.Broker())
	if err != nil {
		b.Error(err)
		return
	}
	defer p.close()
	go func() {
		<-stop
		p.close()
	}()
	began := time.Now().UnixNano()
	var a reply
	var ms []float64
	var after *reply
	var fields [4]field
	for {
		p.out = one.maker.append(p.out[:0], firstOpaque, nil, one.fields(queueID, after, fields[:0])...)
		if _, err := p.conn.Write(p.out); err != nil {
			break
		}
		if err := p.read(&a); err != nil {
			break
		}
		now := time.Now().UnixNano()
		after = &a
		if a.code == resSuccess {
			_ = records(a.body, func(r []byte) { // a record that does not parse counts as none
				if sent := int64(binary.BigEndian.Uint64(r[bodyAt:])); sent >= began { // not one of the run before
					ms = append(ms, float64(now-sent)/1e6)
				}
			})
		}
	}
	mu.Lock()
	b.ms = append(b.ms, ms...)
	mu.Unlock()
}
