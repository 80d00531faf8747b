package store

import (
	"cmp"
	"container/heap"
	"errors"
	"slices"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// popReplay makes what is pending again from the revive topic.
type popReplay struct {
	p      *Pop
	record codec.Message
	got    GetResult
	// resets are the queues whose cursor was set by a reset.
	resets map[*PopQueue]bool
	// foreignOnly passes over the records that this process writes itself.
	foreignOnly bool
}

func (p *Pop) recover() error {
	r := popReplay{p: p, resets: make(map[*PopQueue]bool)}
	for _, l := range p.logs {
		if err := r.log(l); err != nil {
			return err
		}
	}
	for i := range p.shards {
		for _, g := range p.shards[i].groups {
			for _, q := range g.queues {
				q.supersede()
				if r.resets[q] {
					if err := p.offsets.Commit([]byte(g.Group), []byte(g.Topic), q.id, q.cursor); err != nil && !errors.Is(err, ErrOffsetReset) {
						return err
					}
				}
			}
		}
	}
	if n := p.count.Load(); n > 0 {
		p.opts.Logger.Info("deliveries in flight were taken over", "topic", p.topic, "deliveries", n)
	}
	return nil
}

// log replays one revive queue.
func (r *popReplay) log(l *popLog) error {
	p := r.p
	least, most := p.store.MinQueueOffset(p.topic, l.id), p.store.MaxQueueOffset(p.topic, l.id)
	committed, ok := p.offsets.Query([]byte(reviveGroup), []byte(p.topic), l.id)
	if !ok {
		committed = -1
	}
	at := max(committed+1, least)
	if at > most { // the log lost its end after the offset was persisted
		at = most
		if err := p.offsets.Commit([]byte(reviveGroup), []byte(p.topic), l.id, at-1); err != nil {
			return err
		}
	}
	l.tail, l.committed = at-1, at-1
	for at < most {
		next, err := r.some(l, at)
		if err != nil {
			return err
		}
		at = max(next, at+1)
	}
	l.scanned = at
	return nil
}

// some replays the records from an offset on and returns where to go on.
func (r *popReplay) some(l *popLog, from int64) (next int64, err error) {
	if err := r.p.store.Get(&GetRequest{Topic: r.p.topic, QueueID: l.id, QueueOffset: from, MaxMsgs: MaxPopMessages}, &r.got); err != nil {
		return 0, err
	}
	defer r.got.Release()
	for _, part := range r.got.Parts {
		for len(part) > 0 {
			n, err := codec.DecodeMessage(part, &r.record)
			if err != nil {
				return 0, err
			}
			part = part[n:]
			if r.foreignOnly && !isForeign(&r.record) {
				continue
			}
			r.p.apply(l, &r.record, r.resets)
		}
	}
	return r.got.NextQueueOffset, nil
}

// apply takes one record in. One that cannot be read is logged and passed over, as Java does.
func (p *Pop) apply(l *popLog, m *codec.Message, resets map[*PopQueue]bool) {
	tags, _ := codec.Property(m.Properties, codec.PropTags)
	var err error
	switch string(tags) {
	case codec.PopTagCheckpoint:
		var c codec.PopCheckpoint
		if err = codec.UnmarshalJSON(m.Body, &c); err == nil && c.Topic != "" && c.Group != "" {
			p.applyCheckpoint(l, m, &c, resets)
		}
	case codec.PopTagAck, codec.PopTagBatchAck:
		var a codec.PopAck
		if err = codec.UnmarshalJSON(m.Body, &a); err == nil && a.Topic != "" && a.Group != "" {
			p.applyAck(l, m, &a)
		}
	}
	if err != nil {
		p.opts.Logger.Warn("record of a delivery is not readable", "topic", p.topic, "queue", l.id, "offset", m.QueueOffset, "err", err)
	}
	l.reached(m.QueueOffset)
}

func (p *Pop) applyCheckpoint(l *popLog, m *codec.Message, body *codec.PopCheckpoint, resets map[*PopQueue]bool) {
	if body.Count > MaxPopMessages || body.Count < 0 || body.QueueID < 0 || len(body.Diffs) > MaxPopMessages ||
		len(body.Diffs) > 0 && len(body.Diffs) != int(body.Count) || !slices.IsSorted(body.Diffs) {
		p.opts.Logger.Warn("checkpoint of a delivery makes no sense", "topic", p.topic, "queue", l.id, "offset", m.QueueOffset)
		return
	}
	q := p.Lock([]byte(body.Topic), []byte(body.Group), body.QueueID)
	defer q.Unlock()
	foreign := isForeign(m)
	if body.Count == 0 {
		if !foreign && resets != nil {
			q.moveTo(body.StartOffset)
			resets[q] = true
		}
		return
	}
	key := popKey{body.StartOffset, body.PopTimeMs}
	if c := q.checkpoints[key]; c != nil { // written again
		p.merge(l, q, c, m, body)
		return
	}
	c := p.newCheckpoint(q, key, body.InvisibleMs)
	c.log, c.count, c.reviveOffset, c.recovered, c.foreign, c.suspend = l, body.Count, m.QueueOffset, true, foreign, body.Suspend
	c.reputs, _ = parseReputs(body.RePutTimes)
	for i, diff := range body.Diffs {
		if int(diff) != i {
			c.diffs = slices.Clone(body.Diffs)
			break
		}
	}
	c.acked = uint32(body.Acked) & (1<<c.count - 1)
	if next := c.offset(int(c.count)-1) + 1; next > q.cursor && body.RePutTimes == "" {
		q.moveTo(next)
	}
	if onesIn(c.acked) == int(c.count) {
		p.recycle(c)
		return
	}
	q.checkpoints[key] = c
	q.inFlight += int(c.count) - onesIn(c.acked)
	p.count.Add(1)
	l.mu.Lock()
	l.linkLocked(c)
	heap.Push(&l.due, c)
	l.mu.Unlock()
}

// merge takes in a checkpoint that was carried: its later record stands for it.
func (p *Pop) merge(l *popLog, q *PopQueue, c *popCheckpoint, m *codec.Message, body *codec.PopCheckpoint) {
	if c.count == 0 { // acks came before it
		return
	}
	if c.log != l {
		return
	}
	l.mu.Lock()
	l.unlinkLocked(c)
	c.reviveOffset = m.QueueOffset
	l.linkLocked(c)
	l.mu.Unlock()
	q.mark(c, uint32(body.Acked)&(1<<c.count-1), m.QueueOffset)
}

func (p *Pop) applyAck(l *popLog, m *codec.Message, a *codec.PopAck) {
	if a.QueueID < 0 {
		return
	}
	q := p.Lock([]byte(a.Topic), []byte(a.Group), a.QueueID)
	defer q.Unlock()
	c := q.checkpoints[popKey{a.StartOffset, a.PopTimeMs}]
	if c == nil || c.reviving {
		return
	}
	var bits uint32
	if i := c.index(a.QueueOffset); i >= 0 {
		bits |= 1 << i
	}
	for _, queueOffset := range a.QueueOffsets {
		if i := c.index(queueOffset); i >= 0 {
			bits |= 1 << i
		}
	}
	q.group.counts.acksDone.Add(1)
	q.mark(c, bits, m.QueueOffset)
}

func parseReputs(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err
}

// supersede acknowledges in older deliveries what a newer one has taken over: the process ended between the two records of Extend. The
// second record is written now, since the newer delivery may be over when the next process looks.
func (q *PopQueue) supersede() {
	if len(q.checkpoints) < 2 {
		return
	}
	list := make([]*popCheckpoint, 0, len(q.checkpoints))
	for _, c := range q.checkpoints {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *popCheckpoint) int { return cmp.Compare(b.popTimeMs, a.popTimeMs) })
	newer := make(map[int64]bool)
	for _, c := range list {
		var bits uint32
		var taken []int64
		for i := range int(c.count) {
			if newer[c.offset(i)] && c.acked&(1<<i) == 0 {
				bits |= 1 << i
				taken = append(taken, c.offset(i))
			} else if c.acked&(1<<i) == 0 {
				newer[c.offset(i)] = true
			}
		}
		if bits == 0 {
			continue
		}
		if _, err := c.log.putAck(new(popScratch), c, taken, false); err != nil { // the store takes nothing; this process knows
			q.group.pop.opts.Logger.Warn("note that a delivery was renewed", "topic", q.group.Topic, "group", q.group.Group, "err", err)
		}
		q.mark(c, bits, 0)
	}
}
