package store

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	keySlotBytes = 24
	// minKeySlots is the least number of slots, as Java's.
	minKeySlots = 128
)

// keySlot holds a key's digest and the queue offset of its newest record, plus one; zero is an empty slot.
type keySlot struct {
	high, low uint64
	offset    int64
}

// keyOffsets maps message keys to the queue offsets of their newest records, in bounded memory. Keys are told apart by 128
// bits of SHA-256. Apache: CompactionLog.OffsetMap.
type keyOffsets struct {
	slots []keySlot // a power of two, at most three quarters in use
	used  int
	last  int64 // the greatest offset put, -1 without
}

// newKeyOffsets makes room for some records, but in no more than maxBytes.
func newKeyOffsets(records int, maxBytes int64) *keyOffsets {
	n := minKeySlots
	for n*3/4 < records && int64(2*n)*keySlotBytes <= maxBytes {
		n *= 2
	}
	return &keyOffsets{slots: make([]keySlot, n), last: -1}
}

// slot finds the slot of a key, or the empty one it would go to.
func (k *keyOffsets) slot(key []byte) (s *keySlot, high, low uint64) {
	sum := sha256.Sum256(key)
	high, low = binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])
	for i := low; ; i++ {
		s := &k.slots[i&uint64(len(k.slots)-1)]
		if s.offset == 0 || s.high == high && s.low == low {
			return s, high, low
		}
	}
}

// put notes the offset of a key's newest record; false when a new key has no room.
func (k *keyOffsets) put(key []byte, queueOffset int64) bool {
	s, high, low := k.slot(key)
	if s.offset == 0 {
		if k.used >= len(k.slots)*3/4 {
			return false
		}
		k.used++
	}
	*s = keySlot{high, low, queueOffset + 1}
	k.last = queueOffset
	return true
}

// get returns the offset of a key's newest record, -1 for an unknown key.
func (k *keyOffsets) get(key []byte) int64 {
	s, _, _ := k.slot(key)
	return s.offset - 1
}
