package bench

import "encoding/binary"

// The head of every body, big-endian; the rest is filling:
//
//	run       8   the same for all messages of one run
//	sender    4   the connection it was sent on
//	number    4   counts the connection's messages
//	due       8   when it was due or sent, nanoseconds since 1970
const headBytes = 24

// mark is what a body says about itself.
type mark struct {
	run    uint64
	sender uint32
	number uint32
	dueNs  int64
}

func (m mark) put(body []byte) {
	binary.BigEndian.PutUint64(body, m.run)
	binary.BigEndian.PutUint32(body[8:], m.sender)
	binary.BigEndian.PutUint32(body[12:], m.number)
	binary.BigEndian.PutUint64(body[16:], uint64(m.dueNs))
}

func readMark(body []byte) (m mark, ok bool) {
	if len(body) < headBytes {
		return m, false
	}
	return mark{binary.BigEndian.Uint64(body), binary.BigEndian.Uint32(body[8:]), binary.BigEndian.Uint32(body[12:]),
		int64(binary.BigEndian.Uint64(body[16:]))}, true
}

// ledger is a set of one sender's message numbers, a bit each.
type ledger struct{ bits []uint64 }

func (l *ledger) add(n uint32) (again bool) {
	word := int(n / 64)
	for word >= len(l.bits) {
		l.bits = append(l.bits, make([]uint64, max(1024, len(l.bits)))...)
	}
	bit := uint64(1) << (n % 64)
	again = l.bits[word]&bit != 0
	l.bits[word] |= bit
	return again
}

func (l *ledger) has(n uint32) bool {
	word := int(n / 64)
	return word < len(l.bits) && l.bits[word]&(1<<(n%64)) != 0
}

// each calls f with every number in the set.
func (l *ledger) each(f func(n uint32)) {
	for word, bits := range l.bits {
		for b := 0; bits != 0; b, bits = b+1, bits>>1 {
			if bits&1 != 0 {
				f(uint32(word*64 + b))
			}
		}
	}
}
