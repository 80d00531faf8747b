package store

import "github.com/apogee-mq/apogee/codec"

// tornLocked reports whether a power cut may leave, of the entry at pos, a physical offset and a size of which only one was
// written, or half: a sector of its file ends between their bytes. Such an entry may seem to lead to an older record.
func (q *queue) tornLocked(pos int64) bool {
	f := q.fileLocked(pos) // files are no multiple of a sector
	return f != nil && (pos-f.base)%sectorBytes > sectorBytes-12
}

// recorded reports whether the log has a record where e says, as far as the log still goes back.
func (qs *queues) recorded(e entry) bool {
	if e.size == blankEntrySize || e.physOffset < qs.log.minPhys() {
		return true
	}
	seg := qs.log.find(e.physOffset)
	if seg == nil {
		return false
	}
	defer seg.release()
	var m codec.Message
	n, err := readRecord(seg, e.physOffset-seg.base, seg.size, false, &m)
	return err == nil && n == int64(e.size)
}
