package store

import (
	"iter"
	"sync/atomic"
	"unsafe"
)

// queueTable finds queues by topic and id. Each lies in the slot that its hash names, or in the next one behind it that was free. It does what
// a map does with one hash of the topic instead of two, for each message put, and look-ups take no lock: a slot that was used keeps its hash.
// Whoever changes it holds a lock of his own. A nil table is an empty one.
type queueTable struct {
	slots []queueSlot // a power of two of them, a third at least never used
	used  int
	count int // of queues
}

type queueSlot struct {
	hash uint64                // set before the first queue is
	q    atomic.Pointer[queue] // nil when the slot was never used, noQueue when its queue was removed
}

// noQueue stands for queues that were removed.
var noQueue = &queue{queueKey: queueKey{id: -1}}

// queueHash is the hash of a queue. Its low bits name the shard. The slots of a topic's first 8 queues, of the 8 after them and so on are each
// other's neighbors, in a ring: producers go round the queues of a topic.
func queueHash(topic Name, id int32) uint64 {
	h := topic.hash ^ uint64(uint32(id)/ringSlots)*0x9E3779B97F4A7C15
	return h&^ringBits | (h+uint64(uint32(id))*queueShards)&ringBits
}

const (
	ringSlots = 8
	ringBits  = (ringSlots - 1) * queueShards // of a hash
)

// nextInRing is the hash of the next queue of the same 8.
func nextInRing(hash uint64) uint64 { return hash&^ringBits | (hash+queueShards)&ringBits }

// find returns a queue or nil.
func (t *queueTable) find(hash uint64, topic string, id int32) *queue {
	if t == nil {
		return nil
	}
	for i := t.first(hash); ; i++ {
		s := t.slot(i)
		q := s.q.Load()
		if q == nil || s.hash == hash && q.id == id && q.topic == topic {
			return q
		}
	}
}

// likely returns the first queue with a hash, or nil, and the next of its ring, if that is where it is looked for first. It does not look at
// the queues.
func (t *queueTable) likely(hash uint64) (q, next *queue) {
	if t == nil {
		return nil, nil
	}
	if s := t.slot(t.first(nextInRing(hash))); s.q.Load() != nil && s.hash == nextInRing(hash) {
		next = s.q.Load()
	}
	for i := t.first(hash); ; i++ {
		s := t.slot(i)
		if q := s.q.Load(); q == nil || s.hash == hash && q != noQueue {
			return q, next
		}
	}
}

// expect has the processor fetch the slot of a hash, and those of its ring.
func (t *queueTable) expect(hash uint64) {
	if t != nil {
		slot := t.slot(t.first(hash &^ ringBits))
		prefetch(unsafe.Pointer(slot), ringSlots*unsafe.Sizeof(*slot))
	}
}

// first is where the look-up of a hash begins.
func (t *queueTable) first(hash uint64) int { return int(hash / queueShards & uint64(len(t.slots)-1)) }

// slot is one of the slots, which form a ring.
func (t *queueTable) slot(i int) *queueSlot { return &t.slots[i&(len(t.slots)-1)] }

// roomFor returns a table with the queues of t and room for n more: t itself if it has that. One that is made for it has more, so that the next
// ones are not made soon.
func (t *queueTable) roomFor(n int) *queueTable {
	if t != nil && (t.used+n)*3 <= len(t.slots)*2 {
		return t
	}
	return t.withSlots(tableSlots((t.len() + n) * 5 / 4))
}

func (t *queueTable) withSlots(n int) *queueTable {
	next := &queueTable{slots: make([]queueSlot, n)}
	for hash, q := range t.all() {
		next.add(hash, q)
	}
	return next
}

// tableSlots is how many slots a table of n queues has.
func tableSlots(n int) int {
	slots := 2
	for slots*2 < n*3 {
		slots *= 2
	}
	return slots
}

// add puts a queue into a table that has room, and not this queue.
func (t *queueTable) add(hash uint64, q *queue) {
	t.count++
	for i := t.first(hash); ; i++ {
		s := t.slot(i)
		old := s.q.Load()
		if old == nil {
			s.hash = hash
			t.used++
		}
		if old == nil || old == noQueue && s.hash == hash {
			s.q.Store(q)
			return
		}
	}
}

// without takes a queue out of t, if it is there, and returns t, or a smaller table when few are left.
func (t *queueTable) without(hash uint64, gone *queue) *queueTable {
	i := t.first(hash)
	for t.slot(i).q.Load() != gone {
		if t.slot(i).q.Load() == nil {
			return t // somebody else was faster
		}
		i++
	}
	t.slot(i).q.Store(noQueue)
	if t.count--; t.count*16 < len(t.slots) {
		return t.withSlots(tableSlots(t.count * 2))
	}
	return t
}

// all are the queues with their hashes. Those that are added or removed meanwhile are among them or not.
func (t *queueTable) all() iter.Seq2[uint64, *queue] {
	return func(yield func(uint64, *queue) bool) {
		if t == nil {
			return
		}
		for i := range t.slots {
			s := &t.slots[i]
			if q := s.q.Load(); q != nil && q != noQueue && !yield(s.hash, q) {
				return
			}
		}
	}
}

// len is the number of queues.
func (t *queueTable) len() int {
	if t == nil {
		return 0
	}
	return t.count
}
