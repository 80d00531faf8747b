package store

import (
	"hash/maphash"
	"iter"
	"sync/atomic"
	"unsafe"
)

// Name is a name and its hash, made once for the tables that it is looked up in.
type Name struct {
	text string
	hash uint64
}

var nameSeed = maphash.MakeSeed()

// NameOf returns a name.
func NameOf(text string) Name { return Name{text, maphash.String(nameSeed, text)} }

// NameOfBytes returns a name that lies in a frame, and is valid as long as that is.
func NameOfBytes(text []byte) Name { return NameOf(aliasText(text)) }

// bytes is the name as bytes that are not changed: who keeps the name makes a copy of them.
func (n Name) bytes() []byte { return unsafe.Slice(unsafe.StringData(n.text), len(n.text)) }

// nameShards keeps a copy-on-write small: 10,000 names are 40 a shard.
const nameShards = 256

// Names is a table by name. Look-ups take no lock: a change replaces the slots of a shard, which never change. Whoever changes it
// holds a lock of his own, and bounds it. Among many names a look-up waits for memory twice or three times; Expect and Fetch, some
// time before it, have the processor do that beside other work.
type Names[V any] struct {
	shards [nameShards]atomic.Pointer[nameSlots[V]]
	count  atomic.Int64
}

type nameSlots[V any] struct {
	slots []nameSlot[V] // a power of two of them, a third at least free
	count int
}

type nameSlot[V any] struct {
	hash  uint64
	value *V // nil when the slot is free
	name  string
}

func (t *Names[V]) shard(name Name) *atomic.Pointer[nameSlots[V]] {
	return &t.shards[name.hash%nameShards]
}

// first is the slot where the look-up of a hash begins.
func (s *nameSlots[V]) first(hash uint64) int { return int(hash / nameShards & uint64(len(s.slots)-1)) }

// Get returns the value of a name, nil for none.
func (t *Names[V]) Get(name Name) *V {
	s := t.shard(name).Load()
	if s == nil {
		return nil
	}
	for i := s.first(name.hash); ; i++ {
		slot := &s.slots[i&(len(s.slots)-1)]
		if slot.value == nil || slot.hash == name.hash && slot.name == name.text {
			return slot.value
		}
	}
}

// Expect has the processor fetch the slot where a look-up begins.
func (t *Names[V]) Expect(name Name) {
	if s := t.shard(name).Load(); s != nil {
		slot := &s.slots[s.first(name.hash)]
		prefetch(unsafe.Pointer(slot), unsafe.Sizeof(*slot))
	}
}

// Fetch has the processor fetch what the slot points at, the name and the first so many bytes of the value.
func (t *Names[V]) Fetch(name Name, bytes uintptr) {
	s := t.shard(name).Load()
	if s == nil {
		return
	}
	if slot := &s.slots[s.first(name.hash)]; slot.value != nil {
		prefetch(unsafe.Pointer(slot.value), bytes)
		prefetch(unsafe.Pointer(unsafe.StringData(slot.name)), uintptr(len(slot.name)))
	}
}

// fill gives an empty table its names.
func (t *Names[V]) fill(values map[string]*V) {
	var counts [nameShards]int
	for name := range values {
		counts[NameOf(name).hash%nameShards]++
	}
	var shards [nameShards]*nameSlots[V]
	for name, v := range values {
		n := NameOf(name)
		s := &shards[n.hash%nameShards]
		if *s == nil {
			*s = newNameSlots[V](counts[n.hash%nameShards])
		}
		(*s).add(nameSlot[V]{n.hash, v, name})
	}
	for i := range shards {
		t.shards[i].Store(shards[i])
	}
	t.count.Store(int64(len(values)))
}

func newNameSlots[V any](names int) *nameSlots[V] {
	return &nameSlots[V]{slots: make([]nameSlot[V], tableSlots(names))}
}

// Set gives a name its value; nil takes the name out.
func (t *Names[V]) Set(name string, value *V) {
	n := NameOf(name)
	shard := t.shard(n)
	old := shard.Load()
	count := old.len()
	if value != nil {
		count++
	}
	next := newNameSlots[V](count)
	if old != nil {
		for i := range old.slots {
			if s := &old.slots[i]; s.value != nil && (s.hash != n.hash || s.name != name) {
				next.add(*s)
			}
		}
	}
	if value != nil {
		next.add(nameSlot[V]{n.hash, value, name})
	}
	shard.Store(next)
	t.count.Add(int64(next.len() - old.len()))
}

func (s *nameSlots[V]) add(slot nameSlot[V]) {
	i := s.first(slot.hash)
	for s.slots[i].value != nil {
		i = (i + 1) & (len(s.slots) - 1)
	}
	s.slots[i] = slot
	s.count++
}

func (s *nameSlots[V]) len() int {
	if s == nil {
		return 0
	}
	return s.count
}

// Len is the number of names.
func (t *Names[V]) Len() int { return int(t.count.Load()) }

// All are the names with their values, each shard as it is when it is come to.
func (t *Names[V]) All() iter.Seq2[string, *V] {
	return func(yield func(string, *V) bool) {
		for i := range t.shards {
			s := t.shards[i].Load()
			if s == nil {
				continue
			}
			for j := range s.slots {
				if s.slots[j].value != nil && !yield(s.slots[j].name, s.slots[j].value) {
					return
				}
			}
		}
	}
}
