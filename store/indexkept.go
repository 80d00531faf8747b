package store

import "encoding/binary"

// keptChecks is how many of the newest entries of an index file are looked at before it is kept after a kill.
const keptChecks = 1 << 16

// settle makes a file right that a killed process left: the entry that it was about to write, which the header does not count,
// may already be the newest of its slot. false says that the file cannot be what was written, and is not to be kept.
func (x *indexFile) settle() bool {
	h := &x.header
	if int64(h.next) < x.capacity {
		cut := x.entry(h.next)
		if cut.hash < 0 || cut.older < 0 || cut.older >= h.next {
			return false
		}
		if slot := x.seg.data[x.slotPos(cut.hash):]; binary.BigEndian.Uint32(slot) == uint32(h.next) {
			binary.BigEndian.PutUint32(slot, uint32(cut.older))
		}
	}
	before := h.endPhys
	for n := h.next - 1; n > 0 && n > h.next-keptChecks; n-- {
		e := x.entry(n)
		if e.hash < 0 || e.physOffset > before || e.physOffset < h.beginPhys || e.older < 0 || e.older >= n {
			return false
		}
		newest := int32(binary.BigEndian.Uint32(x.seg.data[x.slotPos(e.hash):]))
		if newest < n || newest >= h.next {
			return false
		}
		before = e.physOffset
	}
	return true
}
