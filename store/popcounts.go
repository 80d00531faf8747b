package store

import (
	"sync/atomic"
	"time"
)

// PopTickSteps are the ends of the steps in which TickTimes counts. Apache: PopMetricsManager.getMetricsView.
var PopTickSteps = [...]time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second,
}

// popCounts counts since the start, or since the group was last forgotten, what became of a group in a topic.
type popCounts struct {
	checkpoints, checkpointsRefused atomic.Int64 // records written
	acks, acksRefused               atomic.Int64
	checkpointsDone, acksDone       atomic.Int64 // records taken in
	revived, reviveRefused          atomic.Int64 // messages
}

// PopCounts are the counts of a group in a topic. Apache: PopMetricsManager.
type PopCounts struct {
	// ReviveQueueID is the revive queue of the group's records.
	ReviveQueueID int32
	// Checkpoints and Acks are records written into the revive topic; those that were refused are beside.
	Checkpoints, CheckpointsRefused, Acks, AcksRefused int64
	// CheckpointsDone are deliveries that are over, AcksDone are ack records that were taken in.
	CheckpointsDone, AcksDone int64
	// Revived are messages that went to a retry topic, ReviveRefused how often one could not.
	Revived, ReviveRefused int64
}

// countPut counts a record of one kind by how its write ended.
func countPut(done, refused *atomic.Int64, err error) {
	switch err {
	case nil:
		done.Add(1)
	case ErrWouldBlock: // it is tried again
	default:
		refused.Add(1)
	}
}

// EachCount calls yield with the counts of groups in topics until it returns false.
func (p *Pop) EachCount(yield func(topic, group string, c PopCounts) bool) {
	var list []*PopGroup
	for i := range p.shards {
		s := &p.shards[i]
		list = list[:0]
		s.mu.Lock()
		for _, g := range s.groups {
			list = append(list, g)
		}
		s.mu.Unlock()
		for _, g := range list {
			n := &g.counts
			c := PopCounts{
				ReviveQueueID: g.log.id,
				Checkpoints:   n.checkpoints.Load(), CheckpointsRefused: n.checkpointsRefused.Load(),
				Acks: n.acks.Load(), AcksRefused: n.acksRefused.Load(),
				CheckpointsDone: n.checkpointsDone.Load(), AcksDone: n.acksDone.Load(),
				Revived: n.revived.Load(), ReviveRefused: n.reviveRefused.Load(),
			}
			if !yield(g.Topic, g.Group, c) {
				return
			}
		}
	}
}

// PopReviveQueue is how a revive queue is doing.
type PopReviveQueue struct {
	ID int32
	// Behind is how many records lie behind the last one with which all is done. Late is how long the oldest delivery that is over
	// has been so.
	Behind int64
	Late   time.Duration
}

// Standing returns where a group that pops continues in a queue, -1 when only the table of offsets tells, and how many messages of it
// are in flight.
func (p *Pop) Standing(topic, group string, queueID int32) (cursor, inFlight int64) {
	g := p.Find([]byte(topic), []byte(group))
	if g == nil {
		return -1, 0
	}
	g.mu.RLock()
	q := g.queues[queueID]
	g.mu.RUnlock()
	if q == nil {
		return -1, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cursor, int64(q.inFlight)
}

// ReviveQueues returns how the revive queues are doing at now.
func (p *Pop) ReviveQueues(now time.Time) []PopReviveQueue {
	list := make([]PopReviveQueue, 0, len(p.logs))
	for _, l := range p.logs {
		q := PopReviveQueue{ID: l.id, Behind: max(p.store.MaxQueueOffset(p.topic, l.id)-1-l.settled(), 0)}
		l.mu.Lock()
		if len(l.due) > 0 {
			q.Late = max(now.Sub(time.UnixMilli(l.due[0].dueMs)), 0)
		}
		l.mu.Unlock()
		list = append(list, q)
	}
	return list
}

// UncommittedCursors returns how many queues of groups have a cursor that is ahead of the table of offsets.
func (p *Pop) UncommittedCursors() int {
	p.movedMu.Lock()
	defer p.movedMu.Unlock()
	return len(p.moved)
}

// TickTimes returns how long ticks took, by PopTickSteps and one more, and their sum.
func (p *Pop) TickTimes() (counts [len(PopTickSteps) + 1]int64, sum time.Duration) {
	for i := range counts {
		counts[i] = p.tickCounts[i].Load()
	}
	return counts, time.Duration(p.tickSum.Load())
}

func (p *Pop) countTick(took time.Duration) {
	i := 0
	for i < len(PopTickSteps) && took > PopTickSteps[i] {
		i++
	}
	p.tickCounts[i].Add(1)
	p.tickSum.Add(int64(took))
}

// CountRevival counts a message of d that went to a retry topic, or could not.
func (d *PopDue) CountRevival(err error) {
	countPut(&d.queue.group.counts.revived, &d.queue.group.counts.reviveRefused, err)
}
