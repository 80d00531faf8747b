package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// popCommit is what goes into the table of offsets once the log is on disk up to end.
type popCommit struct {
	pending bool
	end     int64
	settled []int64 // by revive queue
	cursors []popCursor
}

type popCursor struct {
	queue  *PopQueue
	cursor int64
}

// Tick commits cursors and the place up to which the revive topic is done with, as far as they are on disk, and moves
// checkpoints that stay long to its end. Call it every 100 ms or so, from one goroutine.
func (p *Pop) Tick(now time.Time) {
	p.tickMu.Lock()
	defer p.tickMu.Unlock()
	defer func(began time.Time) { p.countTick(time.Since(began)) }(time.Now())
	if p.await.pending && p.store.Flushed() >= p.await.end {
		p.commit()
	}
	if !p.await.pending { // a queue with a cursor that is not committed is not forgotten
		if now.Sub(p.idleAt) >= time.Minute {
			p.idleAt = now
			p.forgetIdle(now.Add(-popIdle).UnixMilli())
		}
		p.collect()
	}
	p.readForeign()
	for _, l := range p.logs {
		p.carryLong(l)
	}
}

// collect notes what is to be committed: first how far the revive queues are settled, then the cursors, so that no checkpoint is
// settled whose cursor is not among them.
func (p *Pop) collect() {
	a := &p.await
	a.settled, a.cursors = a.settled[:0], a.cursors[:0]
	changed := false
	for _, l := range p.logs {
		settled := l.settled()
		a.settled = append(a.settled, settled)
		changed = changed || settled != l.committed
	}
	p.movedMu.Lock()
	moved := p.moved
	p.moved = nil
	p.movedMu.Unlock()
	for _, q := range moved {
		q.mu.Lock()
		q.listed = false
		if !q.gone {
			a.cursors = append(a.cursors, popCursor{q, q.cursor})
		}
		q.mu.Unlock()
	}
	a.end = p.store.Written()
	a.pending = changed || len(a.cursors) > 0
}

func (p *Pop) commit() {
	for _, c := range p.await.cursors {
		q := c.queue
		q.mu.Lock()
		if q.cursor >= c.cursor { // it was neither set back nor deleted meanwhile
			p.commitOffset(q.group.Group, q.group.Topic, q.id, c.cursor)
		}
		q.mu.Unlock()
	}
	for i, l := range p.logs {
		if settled := p.await.settled[i]; settled != l.committed {
			p.commitOffset(reviveGroup, p.topic, l.id, settled)
			l.committed = settled
		}
	}
	clear(p.await.cursors)
	p.await.pending = false
}

// commitOffset never moves a group back: somebody may have moved it on.
func (p *Pop) commitOffset(group, topic string, queueID int32, queueOffset int64) {
	if had, ok := p.offsets.Query([]byte(group), []byte(topic), queueID); ok && had >= queueOffset {
		return
	}
	err := p.offsets.Commit([]byte(group), []byte(topic), queueID, queueOffset)
	if err != nil && !errors.Is(err, ErrOffsetReset) {
		p.opts.Logger.Warn("commit offset of a pop", "topic", topic, "queue", queueID, "group", group, "err", err)
	}
}

// carryLong appends checkpoints again that have fallen far behind.
func (p *Pop) carryLong(l *popLog) {
	for range popCarryBatch {
		key, q, ok := l.peekLong()
		if !ok {
			return
		}
		q.mu.Lock()
		var err error
		if c := q.checkpoints[key]; c != nil {
			err = l.carry(c)
		}
		q.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *popLog) peekLong() (popKey, *PopQueue, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.first; c != nil && l.tail-c.reviveOffset > popCarry {
		return c.popKey, c.queue, true
	}
	return popKey{}, nil, false
}

// forgetIdle drops groups in topics that have nothing pending and were not used since beforeMs.
func (p *Pop) forgetIdle(beforeMs int64) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for key, g := range s.groups {
			if g.usedMs.Load() < beforeMs && g.retire() {
				delete(s.groups, key)
			}
		}
		s.mu.Unlock()
	}
}

// retire makes a group that has nothing pending unusable, so that another may take its place.
func (g *PopGroup) retire() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, q := range g.queues {
		if !q.mu.TryLock() {
			return false
		}
		q.gone = len(q.checkpoints) == 0 && !q.listed && q.order == nil
		if q.gone {
			delete(g.queues, id)
		}
		q.mu.Unlock()
	}
	g.gone = len(g.queues) == 0
	return g.gone
}

// Used keeps the group from being forgotten for a while.
func (g *PopGroup) Used(nowMs int64) {
	if nowMs-g.usedMs.Load() > time.Minute.Milliseconds() {
		g.usedMs.Store(nowMs)
	}
}

// Forget drops what is in flight of a group in a topic whose topic or group was deleted. Nothing of it becomes visible again;
// the revive topic keeps its records, and recovery finds that topic or group are missing.
func (p *Pop) Forget(match func(topic, group string) bool) {
	var gone []*PopGroup
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for key, g := range s.groups {
			if match(g.Topic, g.Group) {
				gone = append(gone, g)
				delete(s.groups, key)
			}
		}
		s.mu.Unlock()
	}
	for _, g := range gone { // outside of the lock: who holds a queue may wait for the log
		g.clear()
	}
}

func (g *PopGroup) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	for id, q := range g.queues {
		q.mu.Lock()
		q.gone, q.cursor = true, -1
		if q.order != nil {
			q.takeOrder(nil)
		}
		for _, c := range q.checkpoints {
			if !c.reviving {
				q.drop(c)
			}
		}
		q.mu.Unlock()
		delete(g.queues, id)
	}
}

// Close commits what is known, after the log is on disk. The table of offsets is to be persisted after it.
func (p *Pop) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.store.opts.SyncFlushTimeout)
	defer cancel()
	p.Tick(p.opts.Now())
	flushed := make(chan error, 1)
	p.store.AfterFlush(p.store.Written(), func(err error) { flushed <- err })
	select {
	case err := <-flushed:
		if err != nil {
			return fmt.Errorf("commit what was popped: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("commit what was popped: %w", ErrFlushTimeout)
	}
	p.Tick(p.opts.Now()) // commits what the first collected
	p.tickMu.Lock()
	defer p.tickMu.Unlock()
	if !p.await.pending {
		p.collect()
	}
	if p.await.pending && p.store.Flushed() >= p.await.end {
		p.commit()
	}
	return p.closeOrders()
}
