package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// produce sends, closed loop or at a rate.
func (l *load) produce(ctx context.Context) (*result, error) {
	r, err := l.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	send, behind := r.send, new(lag)
	if l.lag {
		send = func(ctx context.Context) error { return r.sendWatched(ctx, behind) }
	}
	res, err := r.measure(ctx, "produce", r.meters, send)
	if err != nil {
		return nil, err
	}
	if l.lag {
		res.Dispatch = behind
	}
	res.addLatency("send", r.meters)
	if l.verify {
		res.Check, err = r.check(ctx)
	}
	return res, err
}

// consume sends a backlog and then pulls it, over and over.
func (l *load) consume(ctx context.Context) (*result, error) {
	r, err := l.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	each := (l.max + int64(len(r.senders)) - 1) / int64(len(r.senders))
	for _, s := range r.senders {
		s.max = uint32(each)
	}
	if err := r.send(ctx); err != nil {
		return nil, err
	}
	var check *check
	if l.verify {
		if check, err = r.check(ctx); err != nil {
			return nil, err
		}
	}
	ms := meters{}
	receivers, err := r.receivers(ctx, group, true, func(m *meter) func(mark, int) {
		ms = append(ms, m)
		return func(id mark, bytes int) {
			if id.run == r.id {
				m.add(1, int64(bytes), 0)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	defer closeAll(receivers)
	res, err := r.measure(ctx, "consume", ms, func(ctx context.Context) error { return receiveAll(ctx, receivers) })
	if res != nil {
		res.Check = check
	}
	return res, err
}

// endToEnd sends at a rate and receives each message.
func (l *load) endToEnd(ctx context.Context) (*result, error) {
	if l.rate == 0 {
		return nil, errors.New("e2e needs --rate")
	}
	r, err := l.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	arrived := meters{}
	var receivers []*receiver
	for g := range l.groups {
		more, err := r.receivers(ctx, fmt.Sprintf("%s-%d", group, g), false, func(m *meter) func(mark, int) {
			arrived = append(arrived, m)
			return func(id mark, bytes int) {
				if id.run == r.id {
					m.add(1, int64(bytes), time.Now().UnixNano()-id.dueNs)
				}
			}
		})
		if err != nil {
			return nil, err
		}
		for _, rc := range more {
			rc.wait = pollTime
		}
		receivers = append(receivers, more...)
	}
	defer func() { closeAll(receivers) }()
	res, err := r.measure(ctx, "e2e", arrived, func(ctx context.Context) error { return r.sendAndReceive(ctx, receivers) })
	if err != nil {
		return nil, err
	}
	sent := r.meters.sum()
	for _, refused := range sent.refused {
		res.Refused = append(res.Refused, *refused)
	}
	res.addLatency("send", r.meters)
	res.addLatency("end to end", arrived)
	if l.verify {
		res.Check, err = r.check(ctx)
	}
	return res, err
}

// sendAndReceive ends when ctx does: first the senders, and a moment later the receivers.
func (r *run) sendAndReceive(ctx context.Context, receivers []*receiver) error {
	receiving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- receiveAll(receiving, receivers) }()
	sent := make(chan error, 1)
	go func() { sent <- r.send(ctx) }()
	select {
	case err := <-sent:
		stop()
		return errors.Join(err, <-done)
	case err := <-done:
		return err
	}
}

// receivers opens connections that pull all queues; see makes what is called with every message of one.
func (r *run) receivers(ctx context.Context, group string, again bool, see func(m *meter) func(mark, int)) ([]*receiver, error) {
	if err := r.cluster.makeGroup(ctx, group, r.queues); err != nil {
		return nil, err
	}
	var all []*receiver
	for _, queues := range byAddr(r.queues) {
		conns := min(r.conns, len(queues))
		for i := range conns {
			var mine []queue
			var from []int64
			for at := i; at < len(queues); at += conns {
				mine, from = append(mine, queues[at]), append(from, r.starts[queues[at]])
			}
			rc, err := r.newReceiver(ctx, group, mine, from)
			if err != nil {
				return nil, err
			}
			rc.again, rc.see = again, see(newMeter(&r.on))
			all = append(all, rc)
		}
	}
	return all, nil
}

func receiveAll(ctx context.Context, receivers []*receiver) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(receivers))
	var all sync.WaitGroup
	for i, rc := range receivers {
		all.Go(func() {
			if errs[i] = rc.run(ctx); errs[i] != nil {
				stop()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func closeAll(receivers []*receiver) {
	for _, rc := range receivers {
		_ = rc.conn.Close()
	}
}

// check is what reading everything back showed.
type check struct {
	Acknowledged int64 `json:"acknowledged"`
	Found        int64 `json:"found"`
	Missing      int64 `json:"missing"`
	Repeated     int64 `json:"repeated"`
}

// patience is how long a check goes on without finding a message more: what was acknowledged may be on its way into queues.
const patience = 10 * time.Second

// check reads all queues from where they were before the run and looks for every acknowledged message.
func (r *run) check(ctx context.Context) (*check, error) {
	c := &check{}
	for _, s := range r.senders {
		s.acked.each(func(uint32) { c.Acknowledged++ })
	}
	var mu sync.Mutex
	seen := make([]ledger, len(r.senders))
	receivers, err := r.receivers(ctx, group, false, func(*meter) func(mark, int) {
		return func(id mark, _ int) {
			if id.run != r.id || int(id.sender) >= len(seen) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[id.sender].add(id.number) {
				c.Repeated++
			} else if r.senders[id.sender].acked.has(id.number) {
				c.Found++
			}
		}
	})
	if err != nil {
		return nil, err
	}
	defer closeAll(receivers)
	for found, since := int64(0), time.Now(); ; {
		if err := receiveAll(ctx, receivers); err != nil {
			return nil, fmt.Errorf("read back what was sent: %w", err)
		}
		if c.Found > found {
			found, since = c.Found, time.Now()
		}
		c.Missing = c.Acknowledged - c.Found
		if c.Missing == 0 || time.Since(since) > patience {
			return c, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
