package store

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// Layout of a unit, big-endian, on disk, do not change. Apache: ConsumeQueueExt.CqExtUnit.
//
//	0 size 2 | 2 tags code 8 | 10 store time 8 | 18 bit map length 2 | 20 bit map
//
// A file ends with a size of -1 where the next unit would leave fewer than 4 bytes behind it.
const (
	unitBytes      = 20 // without a bit map
	unitEndBytes   = 4
	mostUnitBytes  = 1<<15 - 1
	unitEnd        = 0xFFFF
	mostExtAddress = maxExtAddress - (-1 << 63) // as a position
)

// extUnit is what a unit says. Its bits lie in a mapped file.
type extUnit struct {
	tagsCode, storeMs int64
	bits              []byte
}

// unitAt reads the unit that b begins with; false when there is no whole one.
func unitAt(b []byte) (u extUnit, size int64, ok bool) {
	if len(b) < unitBytes {
		return u, 0, false
	}
	n, bits := int(int16(binary.BigEndian.Uint16(b))), int(int16(binary.BigEndian.Uint16(b[18:])))
	if n < unitBytes || n > len(b) || bits != n-unitBytes {
		return u, 0, false
	}
	u = extUnit{int64(binary.BigEndian.Uint64(b[2:])), int64(binary.BigEndian.Uint64(b[10:])), b[unitBytes:n]}
	return u, int64(n), true
}

func putUnit(b []byte, u extUnit) {
	n := unitBytes + len(u.bits)
	_ = b[n-1]
	binary.BigEndian.PutUint16(b, uint16(n))
	binary.BigEndian.PutUint64(b[2:], uint64(u.tagsCode))
	binary.BigEndian.PutUint64(b[10:], uint64(u.storeMs))
	binary.BigEndian.PutUint16(b[18:], uint16(len(u.bits)))
	copy(b[unitBytes:n], u.bits)
}

// extUnits are the files of a queue's units; guarded by the queue's mu. Units are written before the entry that leads to them, by
// whoever writes the entry, and are flushed like it. Those behind the last entry are of no meaning. Apache: ConsumeQueueExt.
type extUnits struct {
	files []*queueFile
	end   int64 // position after the last unit
	ready bool  // end is known, and nothing lies behind it
}

func (q *queue) extDir() string {
	return filepath.Join(q.all.opts.Dir, extFolder, q.topic, strconv.Itoa(int(q.id)))
}

// file returns the file that holds the byte at pos, or nil.
func (x *extUnits) file(pos int64) *queueFile {
	for i := len(x.files) - 1; i >= 0; i-- {
		if f := x.files[i]; pos >= f.base {
			if pos < f.base+f.size {
				return f
			}
			return nil
		}
	}
	return nil
}

// listExtLocked finds the files of units. Only the last ones that follow each other count.
func (q *queue) listExtLocked() (*extUnits, error) {
	if q.ext != nil {
		return q.ext, nil
	}
	x := new(extUnits)
	entries, err := os.ReadDir(q.extDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, wrapFileError(OpRead, q.extDir(), err)
	}
	for _, d := range entries {
		base, ok := segmentBase(d.Name())
		if !ok || d.IsDir() {
			continue
		}
		info, err := d.Info()
		if err != nil {
			return nil, wrapFileError(OpRead, filepath.Join(q.extDir(), d.Name()), err)
		}
		if info.Size() == 0 {
			continue
		}
		if n := len(x.files); n > 0 && x.files[n-1].base+x.files[n-1].size != base {
			x.files = nil
		}
		x.files = append(x.files, &queueFile{q: q, ext: true, base: base, size: info.Size()})
	}
	q.ext = x
	return x, nil
}

// readyExtLocked finds where the next unit goes and removes what lies behind that: units whose entries were cut off. Apache:
// ConsumeQueueExt.recover, truncateByMaxAddress.
func (q *queue) readyExtLocked() error {
	x, err := q.listExtLocked()
	if err != nil || x.ready {
		return err
	}
	width := q.kind.entryBytes()
	if len(q.files) == 0 || q.end <= q.files[0].base {
		if err := q.clearExtLocked(); err != nil {
			return err
		}
		q.ext = &extUnits{ready: true}
		return nil
	}
	last, err := q.entryAtLocked(q.end - width)
	if err != nil {
		return err
	}
	if x.end, err = q.extEndLocked(x, last); err != nil {
		return err
	}
	if x.end < 0 { // its unit is lost: no address may be used again
		if err := q.clearExtLocked(); err != nil {
			return err
		}
		q.ext = &extUnits{end: roundUp(q.end/width*mostUnitBytes, q.all.opts.ExtSegmentBytes), ready: true}
		return nil
	}
	for n := len(x.files); n > 0 && x.files[n-1].base >= x.end; n = len(x.files) {
		f := x.files[n-1]
		q.dropLocked(f)
		if err := os.Remove(f.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRemove, f.path(), err)
		}
		x.files = x.files[:n-1]
	}
	if f := x.file(x.end); f != nil {
		if err := q.mapLocked(f); err != nil {
			return err
		}
		if err := f.m.zeroFrom(x.end - f.base); err != nil {
			return err
		}
		f.allocated = min(roundUp(x.end-f.base, pageBytes), f.size)
	}
	x.ready = true
	return nil
}

// extEndLocked returns the position after the unit of the queue's last entry; after the last unit there is when the entry has none;
// -1 when there are no units to go on behind.
func (q *queue) extEndLocked(x *extUnits, last entry) (int64, error) {
	if len(x.files) == 0 {
		return -1, nil
	}
	f, pos := x.files[len(x.files)-1], int64(0)
	if isExtAddress(last.tagsCode) {
		pos = extPos(last.tagsCode)
		if f = x.file(pos); f == nil {
			return -1, nil
		}
		pos -= f.base
	}
	if err := q.mapLocked(f); err != nil {
		return 0, err
	}
	if isExtAddress(last.tagsCode) {
		if _, n, ok := unitAt(f.m.data[pos:]); ok {
			return f.base + pos + n, nil
		}
		return f.base + f.size, nil
	}
	for {
		_, n, ok := unitAt(f.m.data[pos:])
		if !ok {
			return f.base + pos, nil
		}
		pos += n
	}
}

// putUnitLocked writes the unit of an entry and returns its address; the tags code when it fits nowhere. Apache:
// ConsumeQueueExt.put.
func (q *queue) putUnitLocked(e entry, bits []byte) (int64, error) {
	n := int64(unitBytes + len(bits))
	if n > min(mostUnitBytes, q.all.opts.ExtSegmentBytes-unitEndBytes) || q.ext.end > mostExtAddress-2*q.all.opts.ExtSegmentBytes {
		return e.tagsCode, nil
	}
	x := q.ext
	f, pos := x.file(x.end), x.end
	if f != nil && f.base+f.size-pos-unitEndBytes < n {
		if at := pos - f.base; at+2 <= f.size {
			if err := q.writableLocked(f, at+2); err != nil {
				return 0, err
			}
			binary.BigEndian.PutUint16(f.m.data[at:], unitEnd)
			q.dirtyLocked(f, at, at+2, e.storeMs)
		}
		pos = f.base + f.size
		f = nil
	}
	if f == nil {
		var err error
		if f, err = q.growExtLocked(pos); err != nil {
			return 0, err
		}
		x.end = pos
	}
	at := pos - f.base
	if err := q.writableLocked(f, at+n); err != nil {
		return 0, err
	}
	putUnit(f.m.data[at:], extUnit{e.tagsCode, e.storeMs, bits})
	q.dirtyLocked(f, at, at+n, e.storeMs)
	x.end = pos + n
	return pos + (-1 << 63), nil
}

// growExtLocked creates the file of units that begins at base.
func (q *queue) growExtLocked(base int64) (*queueFile, error) {
	if err := os.MkdirAll(q.extDir(), 0o755); err != nil {
		return nil, wrapFileError(OpCreate, q.extDir(), err)
	}
	size := q.all.opts.ExtSegmentBytes
	m, err := createSegment(q.extDir(), base, size, q.all.faults)
	if err != nil {
		return nil, err
	}
	m.readAround()
	f := &queueFile{q: q, ext: true, base: base, size: size, m: m, fresh: true}
	f.recent.Store(true)
	q.all.cache.add(f)
	q.ext.files = append(q.ext.files, f)
	return f, nil
}

// viewUnits returns the file that holds the unit at an address, with a reference; nil when there is none, or with hotOnly when it is
// not open.
func (q *queue) viewUnits(address int64, hotOnly bool) *segment {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || hotOnly && q.ext == nil {
		return nil
	}
	x, err := q.listExtLocked()
	if err != nil {
		return nil
	}
	f := x.file(extPos(address))
	if f == nil || hotOnly && f.m == nil || q.mapLocked(f) != nil {
		return nil
	}
	f.m.acquire()
	return f.m
}

// dropExtLocked unmaps the files of units and forgets them.
func (q *queue) dropExtLocked() {
	if q.ext == nil {
		return
	}
	for _, f := range q.ext.files {
		q.dropLocked(f)
	}
	q.ext = nil
}

// clearExtLocked removes all units: those of a queue that is made anew, or of which no message is left.
func (q *queue) clearExtLocked() error {
	q.dropExtLocked()
	if err := q.all.faults.check(OpRemove, q.extDir()); err != nil {
		return err
	}
	if err := os.RemoveAll(q.extDir()); err != nil {
		return wrapFileError(OpRemove, q.extDir(), err)
	}
	return nil
}

// trimExt deletes the files of units that only entries before the queue's first live one lead to. Apache:
// ConsumeQueueExt.truncateByMinAddress.
func (q *queue) trimExt(logMin int64) error {
	first := q.minOffset(logMin)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return nil
	}
	if first >= q.max.Load() {
		return q.clearExtLocked()
	}
	e, err := q.entryLocked(first)
	if err != nil || !isExtAddress(e.tagsCode) {
		return err
	}
	x, err := q.listExtLocked()
	if err != nil {
		return err
	}
	for len(x.files) > 1 && x.files[0].base+x.files[0].size <= extPos(e.tagsCode) {
		f := x.files[0]
		if err := q.all.faults.check(OpRemove, f.path()); err != nil {
			return err
		}
		if err := os.Remove(f.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRemove, f.path(), err)
		}
		q.dropLocked(f)
		x.files = append([]*queueFile(nil), x.files[1:]...)
	}
	return nil
}

// hasExt reports whether there are units in the store at all.
func (s *Store) hasExt() bool { return hasEntries(filepath.Join(s.opts.Dir, extFolder)) }

// ExtUnit is what the unit of an entry says. Apache: ConsumeQueueExt.CqExtUnit.
type ExtUnit struct {
	TagsCode, StoreTimestampMs int64
	BitMap                     []byte // nil without one
}

// SizeBytes is the length of the unit in its file.
func (u *ExtUnit) SizeBytes() int { return unitBytes + len(u.BitMap) }

// unitOf returns a copy of the unit of an entry, nil when there is none.
func (q *queue) unitOf(e entry) *ExtUnit {
	if !isExtAddress(e.tagsCode) {
		return nil
	}
	seg := q.viewUnits(e.tagsCode, false)
	if seg == nil {
		return nil
	}
	defer seg.release()
	u, _, ok := unitAt(seg.data[extPos(e.tagsCode)-seg.base:])
	if !ok {
		return nil
	}
	return &ExtUnit{u.tagsCode, u.storeMs, append([]byte(nil), u.bits...)}
}
