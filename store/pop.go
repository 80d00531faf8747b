package store

import (
	"errors"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What POP has delivered and waits for: the messages in flight of every group.
//
// A pop appends a checkpoint to the revive topic before it is answered, an ack appends an ack record before it is answered; both
// have Java's bodies. In memory stands what of it is pending, by topic, group and queue, and by due time; recovery makes it
// again from the revive topic, from the committed offset of reviveGroup on. That offset is the one before the oldest pending
// checkpoint, so that Java's broker, which reads from there, finds all of them. A checkpoint that stays long is appended again
// at the end (carry), so that the part of the topic which recovery reads stays short.
//
// Where a group continues in a queue, its cursor, is committed to the table of offsets only when the checkpoint that moved it
// is on disk: the table may be ahead of the log after a power cut otherwise, and messages would be lost to the group. Recovery
// takes the cursor from the checkpoints where those are ahead. The offset of reviveGroup follows the cursors: a checkpoint is
// never passed over before the cursor behind it is committed.
//
// Locks: PopQueue.mu before popLog.mu; no other is held with them but the store's own. Nothing waits for a disk under popLog.mu.
//
// Apache: PopMessageProcessor, PopBufferMergeService, PopReviveService.

const (
	// reviveGroup is the group whose committed offsets tell how far the revive topic is done with. Apache:
	// PopAckConstants.REVIVE_GROUP.
	reviveGroup = "CID_RMQ_SYS_REVIVE_GROUP"
	// MaxPopMessages is the most messages of one pop.
	MaxPopMessages = 32

	popShards = 64
	// popCarry is how many records a pending checkpoint may lie behind the end of its revive queue.
	popCarry = 100_000
	// popCarryBatch is how many of them one Tick moves.
	popCarryBatch = 1_000
	// popIdle is how long a group in a topic is kept that has nothing pending.
	popIdle = time.Hour
)

// ErrTooManyInFlight says that no more deliveries can be kept; acks and time make room.
var ErrTooManyInFlight = errors.New("too many deliveries are in flight")

// PopOptions are the settings of the deliveries in flight.
type PopOptions struct {
	TableOptions
	// Cluster names the revive topic, BrokerName goes into its records.
	Cluster, BrokerName string
	// Queues is the number of revive queues. The default value is 8.
	Queues int
	// MaxCheckpoints bounds the deliveries in flight; each has 1 to 32 messages. The default value is 1,000,000.
	MaxCheckpoints int
	// TimerReached tells up to when timer messages have been delivered: acks that Java's broker wrote come that way. Unset means
	// that there is no timer, and all of them are there.
	TimerReached func() time.Time
	// Redirect makes a message one that the timer delivers at dueMs. Unset means that there is no timer.
	Redirect func(m *Message, dueMs int64)
}

// Pop keeps the deliveries of POP that are in flight. All methods may be called from any goroutine. It has no goroutine: whoever
// owns it calls Tick.
type Pop struct {
	opts    PopOptions
	store   *Store
	offsets *Offsets
	topic   string // the revive topic
	logs    []*popLog
	seed    maphash.Seed
	shards  [popShards]popShard
	count   atomic.Int64 // checkpoints
	scratch sync.Pool    // of *popScratch
	free    sync.Pool    // of *popCheckpoint
	// openedMs is when this process began: deliveries before may be known to Java's timer only.
	openedMs int64
	// wheelEnd is where the queue of timer messages ended then.
	wheelEnd int64
	// timerReachedMs is what TimerReached said at timerAskedMs.
	timerReachedMs, timerAskedMs atomic.Int64

	orders popOrders

	tickCounts [len(PopTickSteps) + 1]atomic.Int64
	tickSum    atomic.Int64 // ns

	movedMu sync.Mutex
	moved   []*PopQueue // whose cursor is ahead of the table of offsets

	tickMu sync.Mutex
	await  popCommit
	idleAt time.Time
}

type popShard struct {
	mu     sync.Mutex // guards what follows
	key    []byte     // scratch
	groups map[string]*PopGroup
}

// PopGroup is a group in one topic, which may be a retry topic of POP.
type PopGroup struct {
	Topic, Group string

	pop    *Pop
	log    *popLog
	mu     sync.RWMutex // guards what follows
	queues map[int32]*PopQueue
	gone   bool
	usedMs atomic.Int64
	counts popCounts
}

// PopQueue is a group in one queue. Its methods, but for TryLock, Lock and those that say so, are for who holds its lock.
type PopQueue struct {
	group *PopGroup
	id    int32

	mu          sync.Mutex // guards what follows
	gone        bool       // replaced by another
	cursor      int64      // the next queue offset to pop, -1 when only the table of offsets knows
	listed      bool       // in Pop.moved
	checkpoints map[popKey]*popCheckpoint
	inFlight    int // messages
	order       *orderInfo

	// popJournal.mu guards what follows.
	inOrder     int // place in orderDue plus one, 0 for none
	orderFreeMs int64
}

// popKey tells the checkpoints of a queue apart.
type popKey struct{ startOffset, popTimeMs int64 }

// popCheckpoint is one delivery.
type popCheckpoint struct {
	popKey
	queue *PopQueue
	log   *popLog
	// dueMs is when what is not acknowledged becomes visible again.
	dueMs       int64
	invisibleMs int64
	// diffs is nil for messages that follow each other.
	diffs []int32
	count int32
	acked uint32
	// reviving says that the time is over: acks come too late.
	reviving bool
	// recovered says that an earlier process may have begun to revive it.
	recovered bool
	// foreign says that Java's timer may still hold acks of it.
	foreign bool
	// suspend says that it does not count as a consumption.
	suspend bool
	reputs  int32

	// popLog.mu guards what follows.
	reviveOffset int64
	inDue        int // place in popLog.due, -1 for none
	prev, next   *popCheckpoint
}

// popScratch is the memory of one append.
type popScratch struct {
	m     Message
	put   PutResult
	body  []byte
	props []byte
	diffs [MaxPopMessages]int32
	fresh [MaxPopMessages]int64
}

// ReviveTopic returns the name of a cluster's revive topic. Apache: PopAckConstants.buildClusterReviveTopic.
func ReviveTopic(cluster string) string { return revivePrefix + cluster }

// PopRetryTopicV1 is where messages of topic go that group did not acknowledge. Apache: KeyBuilder.buildPopRetryTopicV1.
func PopRetryTopicV1(topic, group string) string { return RetryTopicPrefix + group + "_" + topic }

// PopRetryTopicV2 is the name of the same with enableRetryTopicV2. Apache: KeyBuilder.buildPopRetryTopicV2.
func PopRetryTopicV2(topic, group string) string { return RetryTopicPrefix + group + "+" + topic }

// PopNormalTopic returns the topic whose retry topic a group pops, or topic itself. Apache: KeyBuilder.parseNormalTopic.
func PopNormalTopic(topic, group string) string {
	rest, ok := strings.CutPrefix(topic, RetryTopicPrefix)
	if !ok {
		return topic
	}
	if rest, ok = strings.CutPrefix(rest, group); ok && len(rest) > 1 && (rest[0] == '_' || rest[0] == '+') {
		return rest[1:]
	}
	return topic
}

// OpenPop reads what is in flight from the revive topic.
func OpenPop(s *Store, offsets *Offsets, opts PopOptions) (*Pop, error) {
	opts.fill()
	if opts.Queues <= 0 {
		opts.Queues = reviveQueues
	}
	if opts.MaxCheckpoints <= 0 {
		opts.MaxCheckpoints = 1_000_000
	}
	p := &Pop{opts: opts, store: s, offsets: offsets, topic: ReviveTopic(opts.Cluster), seed: maphash.MakeSeed(), openedMs: opts.Now().UnixMilli()}
	p.scratch.New = func() any { return new(popScratch) }
	p.free.New = func() any { return new(popCheckpoint) }
	for i := range p.shards {
		p.shards[i].groups = make(map[string]*PopGroup)
	}
	p.wheelEnd = s.MaxQueueOffset(TopicWheelTimer, 0)
	for i := range opts.Queues {
		p.logs = append(p.logs, &popLog{pop: p, id: int32(i)})
	}
	if err := p.recover(); err != nil {
		return nil, fmt.Errorf("read deliveries in flight from %s: %w", p.topic, err)
	}
	if err := p.openOrders(); err != nil {
		return nil, err
	}
	return p, nil
}

// OpenedMs returns when this process began, in ms of the clock.
func (p *Pop) OpenedMs() int64 { return p.openedMs }

// Topic returns the revive topic's name.
func (p *Pop) Topic() string { return p.topic }

// Checkpoints returns the number of deliveries in flight.
func (p *Pop) Checkpoints() int64 { return p.count.Load() }

// Group returns a group in a topic, made if need be. It allocates only then.
func (p *Pop) Group(topic, group []byte) *PopGroup {
	s := p.shardOf(topic, group)
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.findLocked(topic, group); g != nil {
		return g
	}
	g := &PopGroup{Topic: string(topic), Group: string(group), pop: p, queues: make(map[int32]*PopQueue)}
	g.log = p.logs[p.logOf(g.Topic, g.Group)]
	g.usedMs.Store(p.opts.Now().UnixMilli())
	s.groups[string(s.key)] = g
	return g
}

// Find returns a group in a topic, nil when it has popped nothing lately.
func (p *Pop) Find(topic, group []byte) *PopGroup {
	s := p.shardOf(topic, group)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(topic, group)
}

func (p *Pop) shardOf(topic, group []byte) *popShard {
	return &p.shards[(maphash.Bytes(p.seed, group)*31+maphash.Bytes(p.seed, topic))%popShards]
}

func (s *popShard) findLocked(topic, group []byte) *PopGroup {
	s.key = append(append(append(s.key[:0], topic...), groupSeparator), group...)
	return s.groups[string(s.key)]
}

// logOf spreads the groups over the revive queues. All queues of a group in a topic and its retry topics are in one, so that one
// pop has one, and replay sees their records in order.
func (p *Pop) logOf(topic, group string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(PopNormalTopic(topic, group))) // never fails
	_, _ = h.Write([]byte{groupSeparator})
	_, _ = h.Write([]byte(group))
	return int(h.Sum32() % uint32(len(p.logs)))
}

// ReviveQueueID returns the revive queue of the group's records.
func (g *PopGroup) ReviveQueueID() int32 { return g.log.id }

// Lock locks a queue of the group, made if need be. The caller owes Unlock.
func (p *Pop) Lock(topic, group []byte, queueID int32) *PopQueue {
	for {
		q := p.Group(topic, group).queue(queueID)
		if q == nil {
			continue
		}
		if q.mu.Lock(); !q.gone {
			return q
		}
		q.mu.Unlock()
	}
}

// TryLock is Lock that returns nil when somebody else holds the queue.
func (p *Pop) TryLock(topic, group []byte, queueID int32) *PopQueue {
	for {
		q := p.Group(topic, group).queue(queueID)
		if q == nil {
			continue
		}
		if !q.mu.TryLock() {
			return nil
		}
		if !q.gone {
			return q
		}
		q.mu.Unlock()
	}
}

// Unlock ends what Lock began.
func (q *PopQueue) Unlock() { q.mu.Unlock() }

// queue returns a queue of the group, nil when the group has been forgotten meanwhile.
func (g *PopGroup) queue(id int32) *PopQueue {
	g.mu.RLock()
	q, gone := g.queues[id], g.gone
	g.mu.RUnlock()
	if q != nil || gone {
		return q
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil
	}
	if q = g.queues[id]; q == nil {
		q = &PopQueue{group: g, id: id, cursor: -1, checkpoints: make(map[popKey]*popCheckpoint)}
		g.queues[id] = q
	}
	return q
}

// Cursor returns where the group continues as far as deliveries tell, -1 when only the committed offset does.
func (q *PopQueue) Cursor() int64 { return q.cursor }

// InFlight returns how many messages of the queue are in flight.
func (q *PopQueue) InFlight() int { return q.inFlight }

// Skip moves the cursor over messages that are not for the group. It is not on disk at once: they would be skipped again.
func (q *PopQueue) Skip(next int64) { q.moveTo(next) }

func (q *PopQueue) moveTo(next int64) {
	q.cursor = next
	if q.listed {
		return
	}
	q.listed = true
	p := q.group.pop
	p.movedMu.Lock()
	p.moved = append(p.moved, q)
	p.movedMu.Unlock()
}

// PopTaking is one delivery out of one queue.
type PopTaking struct {
	// StartOffset is the queue offset that was read from, QueueOffsets are those of the 1 to 32 messages, ascending, Next is
	// where the group continues.
	StartOffset, Next      int64
	QueueOffsets           []int64
	PopTimeMs, InvisibleMs int64
	// HotOnly makes Take return ErrWouldBlock instead of waiting for the log to have room.
	HotOnly bool
}

// Take makes a delivery durable and moves the cursor. The errors are those of Store.Put and ErrTooManyInFlight; nothing has
// changed then.
func (q *PopQueue) Take(t *PopTaking) error {
	p := q.group.pop
	if p.count.Load() >= int64(p.opts.MaxCheckpoints) {
		return ErrTooManyInFlight
	}
	if len(t.QueueOffsets) == 0 || len(t.QueueOffsets) > MaxPopMessages {
		return fmt.Errorf("%w: delivery of %d messages", ErrIllegal, len(t.QueueOffsets))
	}
	key := popKey{t.StartOffset, t.PopTimeMs}
	if q.checkpoints[key] != nil { // the cursor was set back in this very millisecond
		return ErrWouldBlock
	}
	c := p.newCheckpoint(q, key, t.InvisibleMs)
	c.setOffsets(t.QueueOffsets)
	if err := q.append(c, t.HotOnly); err != nil {
		p.recycle(c)
		return err
	}
	q.moveTo(t.Next)
	return nil
}

// append writes a new checkpoint and adds it to what is pending.
func (q *PopQueue) append(c *popCheckpoint, hotOnly bool) error {
	if err := c.log.put(c, hotOnly); err != nil {
		return err
	}
	q.checkpoints[c.popKey] = c
	q.inFlight += int(c.count)
	q.group.pop.count.Add(1)
	return nil
}

// Reset moves the cursor to where an administrator wants it, durably.
func (q *PopQueue) Reset(queueOffset int64) error {
	c := popCheckpoint{popKey: popKey{queueOffset, q.group.pop.opts.Now().UnixMilli()}, queue: q, log: q.group.log, inDue: -1}
	if err := c.log.putRecord(&c); err != nil {
		return err
	}
	q.moveTo(queueOffset)
	return q.OrderClear(queueOffset)
}

// Ack marks messages of a delivery as done, durably. ErrNotFound says that no such delivery is pending: it is done already, its
// time is over, or it never was. Offsets that are not of the delivery are passed over. ErrWouldBlock is only returned with
// hotOnly.
func (q *PopQueue) Ack(startOffset, popTimeMs int64, queueOffsets []int64, hotOnly bool) error {
	c := q.checkpoints[popKey{startOffset, popTimeMs}]
	if c == nil || c.reviving {
		return ErrNotFound
	}
	p := q.group.pop
	w := p.scratch.Get().(*popScratch)
	defer p.scratch.Put(w)
	var bits uint32
	n := 0
	for _, queueOffset := range queueOffsets {
		if i := c.index(queueOffset); i >= 0 && (c.acked|bits)&(1<<i) == 0 {
			bits |= 1 << i
			w.fresh[n] = queueOffset
			n++
		}
	}
	if n == 0 {
		return nil
	}
	reviveOffset, err := c.log.putAck(w, c, w.fresh[:n], hotOnly)
	if err != nil {
		return err
	}
	q.mark(c, bits, reviveOffset)
	return nil
}

// mark notes acknowledged messages, and drops the delivery when all are.
func (q *PopQueue) mark(c *popCheckpoint, bits uint32, reviveOffset int64) {
	l := c.log
	q.inFlight -= onesIn(bits &^ c.acked)
	c.acked |= bits
	if onesIn(c.acked) >= int(c.count) {
		q.drop(c)
	}
	l.reached(reviveOffset)
}

func (q *PopQueue) drop(c *popCheckpoint) {
	p := q.group.pop
	delete(q.checkpoints, c.popKey)
	q.inFlight -= int(c.count) - onesIn(c.acked)
	c.log.remove(c)
	p.count.Add(-1)
	q.group.counts.checkpointsDone.Add(1)
	p.recycle(c)
}

// Extend makes one message of a delivery invisible for another time, from nowMs on: a new delivery of that message is written,
// then the old one acknowledged. It returns the new delivery's time. ErrNotFound as in Ack, also for a message that is
// acknowledged. With suspend the new delivery does not count as a consumption.
func (q *PopQueue) Extend(startOffset, popTimeMs, queueOffset, nowMs, invisibleMs int64, suspend, hotOnly bool) (popTime int64, err error) {
	old := q.checkpoints[popKey{startOffset, popTimeMs}]
	if old == nil || old.reviving {
		return 0, ErrNotFound
	}
	i := old.index(queueOffset)
	if i < 0 || old.acked&(1<<i) != 0 {
		return 0, ErrNotFound
	}
	p := q.group.pop
	key := popKey{queueOffset, nowMs}
	for q.checkpoints[key] != nil {
		key.popTimeMs++
	}
	c := p.newCheckpoint(q, key, invisibleMs)
	c.log, c.count, c.suspend = old.log, 1, suspend
	if err := q.append(c, hotOnly); err != nil {
		p.recycle(c)
		return 0, err
	}
	// The new delivery stands. Should the ack of the old one not be written, recovery finds that the new one has taken over.
	w := p.scratch.Get().(*popScratch)
	defer p.scratch.Put(w)
	w.fresh[0] = queueOffset
	reviveOffset, err := old.log.putAck(w, old, w.fresh[:1], hotOnly)
	if err != nil {
		reviveOffset = c.reviveOffset
	}
	q.mark(old, 1<<i, reviveOffset)
	return key.popTimeMs, nil
}

func (p *Pop) newCheckpoint(q *PopQueue, key popKey, invisibleMs int64) *popCheckpoint {
	c := p.free.Get().(*popCheckpoint)
	*c = popCheckpoint{popKey: key, queue: q, log: q.group.log, invisibleMs: invisibleMs, dueMs: key.popTimeMs + max(invisibleMs, 0), inDue: -1}
	return c
}

func (p *Pop) recycle(c *popCheckpoint) {
	*c = popCheckpoint{}
	p.free.Put(c)
}

func (c *popCheckpoint) setOffsets(queueOffsets []int64) {
	c.count = int32(len(queueOffsets))
	for i, queueOffset := range queueOffsets {
		if queueOffset != c.startOffset+int64(i) {
			c.diffs = make([]int32, len(queueOffsets))
			for i, queueOffset := range queueOffsets {
				c.diffs[i] = int32(queueOffset - c.startOffset)
			}
			return
		}
	}
}

// index returns which message of the delivery has that queue offset, -1 for none.
func (c *popCheckpoint) index(queueOffset int64) int {
	diff := queueOffset - c.startOffset
	switch {
	case diff < 0:
		return -1
	case c.diffs == nil:
		if diff < int64(c.count) {
			return int(diff)
		}
		return -1
	case diff > int64(c.diffs[len(c.diffs)-1]):
		return -1
	}
	i, ok := slices.BinarySearch(c.diffs, int32(diff))
	if !ok {
		return -1
	}
	return i
}

// offset returns the queue offset of message i.
func (c *popCheckpoint) offset(i int) int64 {
	if c.diffs == nil {
		return c.startOffset + int64(i)
	}
	return c.startOffset + int64(c.diffs[i])
}
