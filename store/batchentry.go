package store

import "encoding/binary"

// Layout of an entry of a batch consume queue, big-endian, on disk, do not change. One entry stands for one record, which
// holds one message or, as an inner batch, several. Apache: BatchConsumeQueue.
//
//	 0 physical offset 8 | 8 record size 4 | 12 tags code 8 | 20 store time 8 | 28 queue offset of the first message 8
//	36 number of messages 2 | 38 position in a compacted log 4, -1 without | 42 reserved 4, zero
const (
	batchEntryBytes = 46
	// notCompacted is the position of an entry whose record is in no compacted log.
	notCompacted = -1
)

// batchEntry is one line of a batch consume queue.
type batchEntry struct {
	physOffset  int64
	size        int32
	tagsCode    int64
	storeMs     int64
	queueOffset int64 // of the first message
	count       int16 // messages
	compacted   int32 // position in a compacted log, or notCompacted
}

// batchEntryAt reads the entry at the beginning of b, which has at least batchEntryBytes.
func batchEntryAt(b []byte) batchEntry {
	_ = b[batchEntryBytes-1]
	return batchEntry{
		physOffset:  int64(binary.BigEndian.Uint64(b)),
		size:        int32(binary.BigEndian.Uint32(b[8:])),
		tagsCode:    int64(binary.BigEndian.Uint64(b[12:])),
		storeMs:     int64(binary.BigEndian.Uint64(b[20:])),
		queueOffset: int64(binary.BigEndian.Uint64(b[28:])),
		count:       int16(binary.BigEndian.Uint16(b[36:])),
		compacted:   int32(binary.BigEndian.Uint32(b[38:])),
	}
}

// putBatchEntry writes e to the beginning of b, which has at least batchEntryBytes.
func putBatchEntry(b []byte, e batchEntry) {
	_ = b[batchEntryBytes-1]
	binary.BigEndian.PutUint64(b, uint64(e.physOffset))
	binary.BigEndian.PutUint32(b[8:], uint32(e.size))
	binary.BigEndian.PutUint64(b[12:], uint64(e.tagsCode))
	binary.BigEndian.PutUint64(b[20:], uint64(e.storeMs))
	binary.BigEndian.PutUint64(b[28:], uint64(e.queueOffset))
	binary.BigEndian.PutUint16(b[36:], uint16(e.count))
	binary.BigEndian.PutUint32(b[38:], uint32(e.compacted))
	binary.BigEndian.PutUint32(b[42:], 0)
}

// written tells an entry from the zeros behind the last one.
func (e batchEntry) written() bool {
	return e.physOffset >= 0 && e.size > 0 && e.queueOffset >= 0 && e.count > 0
}

// end is the queue offset after the entry's last message.
func (e batchEntry) end() int64 { return e.queueOffset + int64(e.count) }
