package store

import (
	"encoding/binary"

	"github.com/apogee-mq/apogee/codec"
)

// Lengths and marks of the timer's files, on disk, do not change. Apache: TimerLog, Slot, TimerCheckpoint.
//
//	timerlog/<20 digits>, records one behind the other
//	  0 size 4 (52) | 4 previous position 8, -1 for none | 12 magic 4 | 16 write time 8 | 24 delay 4
//	  28 physical offset 8 | 36 record size 4 | 40 hash of the real topic 4 | 44 zeros 8
//	end of a file
//	  0 bytes left 4 | 4 zeros 8 | 12 magic 0xCBD43194 4
//	timerwheel, slots by (time / precision) modulo their number
//	  0 time / precision 8 | 8 first position 8 | 16 last position 8 | 24 number 4 | 28 zeros 4
//	config/timercheck
//	  0 read time 8 | 8 flushed timer log position 8 | 16 queue offset 8 | 24 master's queue offset 8
//	  32 state version 8 | 40 version timestamp 8 | 48 version counter 8 | zeros up to 4096
//
// The records of one slot are a chain from its last position backwards. Times are in ms.
const (
	timerRecordBytes = 52
	timerBlankBytes  = 16
	timerBlankMagic  = 0xCBD43194
	timerSlotBytes   = 32
	timerCheckBytes  = 56

	timerMagicDefault = 1
	// timerMagicRoll marks what goes back into the queue when its slot is due: it is asked for later than the wheel reaches.
	timerMagicRoll = 2
	// timerMagicDelete marks what takes another message back.
	timerMagicDelete = 4
)

// timerRecord is an entry of a timer log.
type timerRecord struct {
	prevPos    int64
	magic      int32
	writeMs    int64
	delayMs    int32
	physOffset int64
	size       int32
	topicHash  int32
}

// atMs is the time that the slot of the record is found by.
func (r *timerRecord) atMs() int64 { return r.writeMs + int64(r.delayMs) }

func (r *timerRecord) rolls() bool   { return r.magic&timerMagicRoll != 0 }
func (r *timerRecord) deletes() bool { return r.magic&timerMagicDelete != 0 && !r.rolls() }

func appendTimerRecord(dst []byte, r *timerRecord) []byte {
	b := binary.BigEndian
	dst = b.AppendUint32(dst, timerRecordBytes)
	dst = b.AppendUint64(dst, uint64(r.prevPos))
	dst = b.AppendUint32(dst, uint32(r.magic))
	dst = b.AppendUint64(dst, uint64(r.writeMs))
	dst = b.AppendUint32(dst, uint32(r.delayMs))
	dst = b.AppendUint64(dst, uint64(r.physOffset))
	dst = b.AppendUint32(dst, uint32(r.size))
	dst = b.AppendUint32(dst, uint32(r.topicHash))
	return b.AppendUint64(dst, 0)
}

// parseTimerRecord reads the record that begins b; false when there is none.
func parseTimerRecord(b []byte) (r timerRecord, ok bool) {
	if len(b) < timerRecordBytes || binary.BigEndian.Uint32(b) != timerRecordBytes {
		return r, false
	}
	r = timerRecord{
		prevPos:    int64(binary.BigEndian.Uint64(b[4:])),
		magic:      int32(binary.BigEndian.Uint32(b[12:])),
		writeMs:    int64(binary.BigEndian.Uint64(b[16:])),
		delayMs:    int32(binary.BigEndian.Uint32(b[24:])),
		physOffset: int64(binary.BigEndian.Uint64(b[28:])),
		size:       int32(binary.BigEndian.Uint32(b[36:])),
		topicHash:  int32(binary.BigEndian.Uint32(b[40:])),
	}
	ok = r.magic|0xF == 0xF && r.prevPos >= -1 && r.writeMs >= 0 && r.physOffset >= 0 && r.size > 0
	return r, ok
}

func appendTimerBlank(dst []byte, left int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(left))
	dst = binary.BigEndian.AppendUint64(dst, 0)
	return binary.BigEndian.AppendUint32(dst, timerBlankMagic)
}

// timerSlot is a slot of the wheel; unit is its time divided by the precision. The slot of no record has last -1.
type timerSlot struct {
	unit        int64
	first, last int64
	num         int32
	magic       int32
}

func appendTimerSlot(dst []byte, s *timerSlot) []byte {
	b := binary.BigEndian
	dst = b.AppendUint64(dst, uint64(s.unit))
	dst = b.AppendUint64(dst, uint64(s.first))
	dst = b.AppendUint64(dst, uint64(s.last))
	dst = b.AppendUint32(dst, uint32(s.num))
	return b.AppendUint32(dst, uint32(s.magic))
}

// timerSlotAt reads the slot at the begin of b, which has timerSlotBytes at least.
func timerSlotAt(b []byte) timerSlot {
	return timerSlot{
		unit:  int64(binary.BigEndian.Uint64(b)),
		first: int64(binary.BigEndian.Uint64(b[8:])),
		last:  int64(binary.BigEndian.Uint64(b[16:])),
		num:   int32(binary.BigEndian.Uint32(b[24:])),
		magic: int32(binary.BigEndian.Uint32(b[28:])),
	}
}

// timerCheck is what config/timercheck holds.
type timerCheck struct {
	readMs            int64 // slots before it are done
	logPos            int64 // up to where the timer log is on disk
	queueOffset       int64 // what comes before it in rmq_sys_wheel_timer is in the timer log or delivered
	masterQueueOffset int64
	version           codec.DataVersion
}

func appendTimerCheck(dst []byte, c *timerCheck) []byte {
	for _, n := range [...]int64{
		c.readMs, c.logPos, c.queueOffset, c.masterQueueOffset,
		c.version.StateVersion, c.version.TimestampMs, c.version.Counter,
	} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return dst
}

// parseTimerCheck reads a timercheck file. The first releases wrote no version. false when b cannot be one.
func parseTimerCheck(b []byte) (c timerCheck, ok bool) {
	if len(b) < 32 {
		return c, false
	}
	at := func(i int) int64 {
		if 8*i+8 > len(b) {
			return 0
		}
		return int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	c = timerCheck{readMs: at(0), logPos: at(1), queueOffset: at(2), masterQueueOffset: at(3)}
	c.version = codec.DataVersion{StateVersion: at(4), TimestampMs: at(5), Counter: at(6)}
	ok = c.readMs > 0 && c.logPos >= 0 && c.queueOffset >= 0 && c.masterQueueOffset >= 0
	return c, ok
}
