package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// slotBits are the low bits of an opaque that name the slot of its request.
const slotBits = 12

// slot is one request in flight.
type slot struct {
	opaque int32
	first  uint32
	n      int
	dueNs  int64
}

// sender is one connection that sends.
type sender struct {
	conn   *conn
	meter  *meter
	maker  *maker
	queues []queue
	size   int
	batch  int
	max    uint32 // messages to send in all; 0 for no bound

	next  uint32 // number of the next message
	turn  uint32
	acked ledger

	mu    sync.Mutex // guards the fields below, which writer and reader share in an open loop
	slots []slot
	free  []int32
}

func (l *load) newSender(ctx context.Context, run uint64, n int, queues []queue, m *meter) (*sender, error) {
	c, err := l.connect(ctx, queues[0].addr)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: c, meter: m, maker: newMaker(run, uint32(n), l.size), queues: queues, size: l.size, batch: l.batch,
		turn: uint32(n), slots: make([]slot, l.window)}
	for i := range s.slots {
		s.free = append(s.free, int32(i))
	}
	return s, nil
}

// done says whether there is nothing more to send.
func (s *sender) done() bool { return s.max > 0 && s.next >= s.max }

// add gathers the next request, if a slot is free.
func (s *sender) add(dueNs int64) (added bool, err error) {
	s.mu.Lock()
	if len(s.free) == 0 {
		s.mu.Unlock()
		return false, nil
	}
	at := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	n := s.batch
	if s.max > 0 {
		n = int(min(uint32(n), s.max-s.next))
	}
	opaque := int32(s.turn<<slotBits)&0x7FFFFFFF | at
	s.slots[at] = slot{opaque, s.next, n, dueNs}
	s.mu.Unlock()
	q := s.queues[int(s.turn)%len(s.queues)]
	err = s.conn.add(s.maker.request(q, s.next, n, opaque, dueNs))
	s.next += uint32(n)
	s.turn++
	return true, err
}

// readOne takes one answer.
func (s *sender) readOne() error {
	resp, err := s.conn.read()
	if err != nil {
		return err
	}
	at := resp.Opaque & (1<<slotBits - 1)
	s.mu.Lock()
	if int(at) >= len(s.slots) || s.slots[at].opaque != resp.Opaque {
		s.mu.Unlock()
		return fmt.Errorf("an answer to no request: opaque %d", resp.Opaque)
	}
	r := s.slots[at]
	s.slots[at].opaque = -1
	s.free = append(s.free, at)
	s.mu.Unlock()
	if resp.Code != codec.Success {
		s.meter.refuse(r.n, resp.Code, resp.Remark)
		return nil
	}
	for i := range r.n {
		s.acked.add(r.first + uint32(i))
	}
	s.meter.add(r.n, int64(r.n*s.size), time.Now().UnixNano()-r.dueNs)
	return nil
}

func (s *sender) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots) - len(s.free)
}

// closedLoop answers each answer with the next request until ctx ends, and then waits for what is in flight.
func (s *sender) closedLoop(ctx context.Context) error {
	stopping := false
	for {
		if stopping = stopping || ctx.Err() != nil || s.done(); stopping {
			if s.inFlight() == 0 {
				return nil
			}
			_ = s.conn.SetReadDeadline(time.Now().Add(answerTimeout))
		} else {
			if err := s.fill(time.Now().UnixNano()); err != nil {
				return err
			}
		}
		if err := s.conn.flush(); err != nil {
			return err
		}
		if err := s.readOne(); err != nil {
			return err
		}
		for s.conn.r.Buffered() >= 4 && s.inFlight() > 0 {
			if err := s.readOne(); err != nil {
				return err
			}
		}
	}
}

// fill gathers a request for each free slot.
func (s *sender) fill(nowNs int64) error {
	for !s.done() {
		if added, err := s.add(nowNs); err != nil || !added {
			return err
		}
	}
	return nil
}

// openLoop sends when messages are due, one batch each interval from start on, until ctx ends.
func (s *sender) openLoop(ctx context.Context, start time.Time, interval time.Duration) error {
	read := make(chan error, 1)
	go func() {
		for {
			if err := s.readOne(); err != nil {
				if s.inFlight() == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
					err = nil
				}
				read <- err
				return
			}
		}
	}()
	due := start
	wake, err := newAlarm(time.Until(due))
	if err != nil {
		return err
	}
	defer wake.stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case err := <-read:
			return err
		case <-wake.c:
		}
		for now := time.Now(); !due.After(now); due = due.Add(interval) {
			if added, err := s.add(due.UnixNano()); err != nil {
				return err
			} else if !added {
				break
			}
		}
		if err := s.conn.flush(); err != nil {
			return err
		}
		if err := wake.reset(max(time.Until(due), 50*time.Microsecond)); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(answerTimeout); s.inFlight() > 0 && time.Now().Before(deadline); {
		select {
		case err := <-read:
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	_ = s.conn.SetReadDeadline(time.Now())
	return <-read
}

// broken makes an error of a connection that names it.
func (s *sender) broken(err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("connection to %s: %w", s.queues[0].addr, err)
}
