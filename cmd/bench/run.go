package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// run is one measurement.
type run struct {
	*load
	id      uint64
	cluster *cluster
	queues  []queue
	starts  map[queue]int64 // queue offsets before the first message
	on      atomic.Bool
	meters  meters
	senders []*sender
}

// prepare makes topics and connections to send with.
func (l *load) prepare(ctx context.Context) (*run, error) {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	r := &run{load: l, id: binary.BigEndian.Uint64(id[:]), cluster: l.cluster(), starts: map[queue]int64{}}
	var err error
	if r.queues, err = r.cluster.makeQueues(ctx, l, r.id); err != nil {
		return nil, err
	}
	for _, q := range r.queues {
		if r.starts[q], err = r.cluster.maxOffset(ctx, q); err != nil {
			return nil, err
		}
	}
	queues := byAddr(r.queues)
	addrs := make([]string, 0, len(queues))
	for addr := range queues {
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	for i := range l.conns {
		m := newMeter(&r.on)
		s, err := l.newSender(ctx, r.id, i, queues[addrs[i%len(addrs)]], m)
		if err != nil {
			r.close()
			return nil, err
		}
		r.meters, r.senders = append(r.meters, m), append(r.senders, s)
	}
	return r, nil
}

func (r *run) close() {
	for _, s := range r.senders {
		_ = s.conn.Close()
	}
	_ = r.cluster.client.Close()
}

// maxOffset returns the queue offset of the next message of a queue.
func (c *cluster) maxOffset(ctx context.Context, q queue) (int64, error) {
	h := &codec.GetMaxOffsetHeader{Topic: q.topic, QueueID: int32(q.id), Committed: true}
	resp, err := c.client.Call(ctx, q.addr, &codec.Command{Code: codec.GetMaxOffset, Language: codec.LanguageGo, Header: h})
	if err != nil {
		return 0, err
	}
	if resp.Code != codec.Success {
		return 0, fmt.Errorf("offset of queue %d of %s: %d %s", q.id, q.topic, resp.Code, resp.Remark)
	}
	v, _ := resp.Field("offset")
	return strconv.ParseInt(string(v), 10, 64)
}

// makeGroup makes a consumer group everywhere.
func (c *cluster) makeGroup(ctx context.Context, name string, queues []queue) error {
	body, err := codec.MarshalJSON(codec.NewSubscriptionGroupConfig(name))
	if err != nil {
		return err
	}
	for addr := range byAddr(queues) {
		resp, err := c.client.Call(ctx, addr, &codec.Command{Code: codec.UpdateAndCreateSubscriptionGroup, Language: codec.LanguageGo, Body: body})
		if err != nil {
			return fmt.Errorf("create group %s: %w", name, err)
		}
		if resp.Code != codec.Success {
			return fmt.Errorf("create group %s on %s: %d %s", name, addr, resp.Code, resp.Remark)
		}
	}
	return nil
}

// send runs all senders, closed loop or at the rate, until ctx ends or each has sent what it had to.
func (r *run) send(ctx context.Context) error {
	errs := make([]error, len(r.senders))
	var all sync.WaitGroup
	start := time.Now().Add(10 * time.Millisecond)
	for i, s := range r.senders {
		all.Go(func() {
			if r.rate == 0 {
				errs[i] = s.broken(s.closedLoop(ctx))
				return
			}
			interval := time.Duration(float64(len(r.senders)*r.batch) / float64(r.rate) * float64(time.Second))
			offset := interval * time.Duration(i) / time.Duration(len(r.senders))
			errs[i] = s.broken(s.openLoop(ctx, start.Add(offset), interval))
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// measure lets work run through warm-up and measurement and fills in what they all measure. work ends soon after its context.
func (r *run) measure(ctx context.Context, name string, ms meters, work func(ctx context.Context) error) (*result, error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- work(working) }()
	if err := r.pause(ctx, r.warmup, done); err != nil {
		return nil, err
	}
	before, start := processUsage(r.pid), time.Now()
	r.on.Store(true)
	series := newSeries(r.load, ms)
	err := r.ticks(ctx, done, series)
	r.on.Store(false)
	took, after := time.Since(start), processUsage(r.pid)
	stop()
	if err == nil {
		err = <-done
	}
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	sum := ms.sum()
	res := &result{Workload: name, Settings: r.settings(), Seconds: took.Seconds(), Messages: sum.messages, Bytes: sum.bytes, series: series.lines}
	res.Process = before.until(after, sum.messages)
	for _, refused := range sum.refused {
		res.Refused = append(res.Refused, *refused)
	}
	slices.SortFunc(res.Refused, func(a, b refusal) int { return int(b.Messages - a.Messages) })
	return res, nil
}

// pause waits, unless the work ends before.
func (r *run) pause(ctx context.Context, d time.Duration, done <-chan error) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err == nil {
			err = errors.New("the work ended during the warm-up")
		}
		return err
	}
}

// ticks writes a line of progress each interval until the measurement is over.
func (r *run) ticks(ctx context.Context, done <-chan error, series *series) error {
	over := time.NewTimer(r.length)
	defer over.Stop()
	tick := r.tick
	if tick <= 0 {
		tick = r.length + time.Hour
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			series.tick(time.Now())
		case <-over.C:
			return nil
		case <-ctx.Done():
			return nil
		case err := <-done:
			if err == nil {
				err = errors.New("the work ended before its time")
			}
			return err
		}
	}
}
