package store

import (
	"path/filepath"
	"strconv"
)

// queueOfPath tells topic and queue from the path of a queue file; false when it does not lie in a queue.
func queueOfPath(path string) (topic string, queueID int32, ok bool) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", 0, false
	}
	dir := filepath.Dir(path)
	id, err := strconv.ParseInt(filepath.Base(dir), 10, 32)
	return filepath.Base(filepath.Dir(dir)), int32(id), err == nil
}

// entryRows goes through the fixed-size entries of a file. show gets each with its number in the queue, until it has
// none that is written.
func (d *dumper) entryRows(path string, size int64, show func(number, pos int64, b []byte) (more bool, err error)) error {
	if topic, id, ok := queueOfPath(path); ok && !d.opts.passes(topic, id) {
		return nil
	}
	r, err := openReader(path, windowBytes)
	if err != nil {
		return err
	}
	defer r.close()
	base, _ := segmentBase(filepath.Base(path))
	for pos := int64(0); pos+size <= r.size; pos += size {
		b, err := r.bytes(pos, size)
		if err != nil {
			return err
		}
		if int64(len(b)) < size {
			break
		}
		if more, err := show((base+pos)/size, pos, b); err != nil || !more {
			return err
		}
	}
	return nil
}

// queueFile shows the entries of a consume queue file.
func (d *dumper) queueFile(path string) error {
	return d.entryRows(path, entryBytes, func(queueOffset, pos int64, b []byte) (bool, error) {
		e := entryAt(b)
		switch {
		case e.zero():
			return false, nil
		case queueOffset < d.opts.From:
			return true, nil
		case !e.written():
			return true, d.row(field{"queueOffset", queueOffset}, field{"pos", pos}, field{"damaged", "no entry"},
				field{"physOffset", e.physOffset}, field{"size", e.size}, field{"tagsCode", e.tagsCode})
		}
		fields := []field{{"queueOffset", queueOffset}, {"pos", pos}, {"physOffset", e.physOffset}, {"size", e.size}, {"tagsCode", e.tagsCode}}
		if e.size == blankEntrySize {
			fields = append(fields, field{"blank", true})
		}
		return true, d.row(fields...)
	})
}

// batchQueueFile shows the entries of a batch consume queue file. From is a queue offset here too.
func (d *dumper) batchQueueFile(path string) error {
	return d.entryRows(path, batchEntryBytes, func(_, pos int64, b []byte) (bool, error) {
		e := batchEntryAt(b)
		switch {
		case !e.written():
			return false, nil
		case e.end() <= d.opts.From:
			return true, nil
		}
		return true, d.row(field{"queueOffset", e.queueOffset}, field{"pos", pos}, field{"messages", int32(e.count)},
			field{"physOffset", e.physOffset}, field{"size", e.size}, field{"tagsCode", e.tagsCode},
			field{"storeTimestamp", e.storeMs}, field{"storeTime", timeText(e.storeMs)}, field{"compacted", e.compacted})
	})
}
