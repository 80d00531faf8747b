package store

import (
	"encoding/binary"
	"path/filepath"
)

// timerLogFile shows the records of a timer log. From is a position in the whole log.
func (d *dumper) timerLogFile(path string) error {
	r, err := openReader(path, windowBytes)
	if err != nil {
		return err
	}
	defer r.close()
	base, _ := segmentBase(filepath.Base(path))
	for pos := int64(0); pos+timerBlankBytes <= r.size; pos += timerRecordBytes {
		b, err := r.bytes(pos, timerRecordBytes)
		if err != nil {
			return err
		}
		if len(b) < timerBlankBytes || binary.BigEndian.Uint32(b) == 0 {
			return nil
		}
		if binary.BigEndian.Uint32(b[12:]) == timerBlankMagic {
			return d.row(field{"pos", pos}, field{"blank", int32(binary.BigEndian.Uint32(b))})
		}
		t, ok := parseTimerRecord(b)
		switch {
		case !ok:
			return d.row(field{"pos", pos}, field{"damaged", "no timer record"})
		case base+pos < d.opts.From:
			continue
		}
		err = d.row(field{"position", base + pos}, field{"pos", pos}, field{"previous", t.prevPos}, field{"magic", t.magic},
			field{"roll", t.rolls()}, field{"delete", t.deletes()}, field{"writeTimestamp", t.writeMs}, field{"delayMs", t.delayMs},
			field{"time", timeText(t.atMs())}, field{"physOffset", t.physOffset}, field{"size", t.size}, field{"topicHash", t.topicHash})
		if err != nil {
			return err
		}
	}
	return nil
}

// timerWheelFile shows the slots of a timer wheel that were ever used. From is the number of a slot.
func (d *dumper) timerWheelFile(path string) error {
	r, err := openReader(path, windowBytes)
	if err != nil {
		return err
	}
	defer r.close()
	for pos := d.opts.From * timerSlotBytes; pos >= 0 && pos+timerSlotBytes <= r.size; pos += timerSlotBytes {
		pos = r.nextData(pos) / timerSlotBytes * timerSlotBytes
		b, err := r.bytes(pos, timerSlotBytes)
		if err != nil {
			return err
		}
		if len(b) < timerSlotBytes || allZero(b) {
			continue
		}
		s := timerSlotAt(b)
		err = d.row(field{"slot", pos / timerSlotBytes}, field{"pos", pos}, field{"unit", s.unit}, field{"first", s.first}, field{"last", s.last},
			field{"count", s.num}, field{"magic", s.magic})
		if err != nil {
			return err
		}
	}
	return nil
}

// timerCheckFile shows a timer checkpoint.
func (d *dumper) timerCheckFile(path string) error {
	b, err := readHead(path, checkpointBytes)
	if err != nil {
		return err
	}
	c, ok := parseTimerCheck(b)
	if !ok {
		return d.row(field{"damaged", "no timer checkpoint"})
	}
	return d.row(field{"readTimestamp", c.readMs}, field{"readTime", timeText(c.readMs)}, field{"timerLogPosition", c.logPos},
		field{"queueOffset", c.queueOffset}, field{"masterQueueOffset", c.masterQueueOffset},
		field{"stateVersion", c.version.StateVersion}, field{"versionTimestamp", c.version.TimestampMs}, field{"versionCounter", c.version.Counter})
}
