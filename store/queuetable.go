package store

import (
	"iter"
	"unsafe"
)

// queueTable finds queues by topic and id. Each lies in the slot that its hash names, or in the next free one behind it. A table is never
// changed: a change makes a new one. It does what a map does with one hash of the topic instead of two, for each message put.
type queueTable struct {
	slots []queueSlot // a power of two of them, a third at least free
	count int
}

type queueSlot struct {
	hash uint64
	q    *queue // nil when the slot is free
}

// queueHash is the hash of a queue. Its low bits name the shard.
func queueHash(topic Name, id int32) uint64 {
	return topic.hash ^ uint64(uint32(id))*0x9E3779B97F4A7C15
}

// find returns a queue or nil. The table may be nil.
func (t *queueTable) find(hash uint64, topic string, id int32) *queue {
	if t == nil {
		return nil
	}
	for i := t.first(hash); ; i++ {
		s := &t.slots[i&(len(t.slots)-1)]
		if s.q == nil || s.hash == hash && s.q.id == id && s.q.topic == topic {
			return s.q
		}
	}
}

// likely returns the first queue with a hash, or nil. It does not look at the queue. The table may be nil.
func (t *queueTable) likely(hash uint64) *queue {
	if t == nil {
		return nil
	}
	for i := t.first(hash); ; i++ {
		s := &t.slots[i&(len(t.slots)-1)]
		if s.q == nil || s.hash == hash {
			return s.q
		}
	}
}

// expect has the processor fetch the slot of a hash. The table may be nil.
func (t *queueTable) expect(hash uint64) {
	if t != nil {
		slot := &t.slots[t.first(hash)]
		prefetch(unsafe.Pointer(slot), unsafe.Sizeof(*slot))
	}
}

// first is the slot of a hash.
func (t *queueTable) first(hash uint64) int { return int(hash / queueShards & uint64(len(t.slots)-1)) }

// roomFor returns a table with the queues of t, which may be nil, and room for n more.
func (t *queueTable) roomFor(n int) *queueTable {
	next := &queueTable{slots: make([]queueSlot, tableSlots(t.len()+n))}
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

// add puts a queue into a table that has room and nobody else sees yet.
func (t *queueTable) add(hash uint64, q *queue) {
	i := t.first(hash)
	for t.slots[i].q != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = queueSlot{hash, q}
	t.count++
}

// without returns a table without one of the queues of t.
func (t *queueTable) without(gone *queue) *queueTable {
	next := &queueTable{slots: make([]queueSlot, tableSlots(t.count))}
	for hash, q := range t.all() {
		if q != gone {
			next.add(hash, q)
		}
	}
	return next
}

// all are the queues with their hashes. The table may be nil.
func (t *queueTable) all() iter.Seq2[uint64, *queue] {
	return func(yield func(uint64, *queue) bool) {
		if t == nil {
			return
		}
		for _, s := range t.slots {
			if s.q != nil && !yield(s.hash, s.q) {
				return
			}
		}
	}
}

// len is the number of queues. The table may be nil.
func (t *queueTable) len() int {
	if t == nil {
		return 0
	}
	return t.count
}
