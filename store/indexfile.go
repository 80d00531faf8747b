package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"unsafe"
)

// Layout of an index file, big-endian, on disk, do not change. Apache: IndexHeader, IndexFile.
//
//	 0 begin timestamp 8 | 8 end timestamp 8 | 16 begin physical offset 8 | 24 end physical offset 8
//	32 slots in use 4 | 36 next entry 4, from 1 on: entry 0 is not used
//	40 slots, 4 each: the newest entry of the slot, 0 for none
//	.. entries, 20 each: key hash 4 | physical offset 8 | seconds since the begin timestamp 4 | next older entry 4
//
// A key's hash is that of "topic#key", its slot is the hash modulo the number of slots.
const (
	indexHeaderBytes = 40
	indexSlotBytes   = 4
	indexEntryBytes  = 20

	// indexChunkBytes is how much of the entries gets disk blocks at a time.
	indexChunkBytes = 1 << 20
	// indexSpread is how many slots there are for each entry when an index file is spread over its slots: sixteen entries a page.
	indexSpread = 64
)

// indexFile is one file of the index. One goroutine writes. An entry is never changed once the header counts it, so that
// readers need mu only for header and slots. Apache: IndexFile.
type indexFile struct {
	seg       *segment
	slots     int64
	capacity  int64 // entries, the unused one included
	allocated int64 // has disk blocks up to here; the writer's
	synced    bool  // full and flushed; Index.flushing guards it

	mu     sync.Mutex // guards header and the slots
	header indexHeader
}

type indexHeader struct {
	beginMs, endMs     int64
	beginPhys, endPhys int64
	usedSlots          int32
	next               int32
}

func indexFileBytes(slots, entries int64) int64 {
	return indexHeaderBytes + slots*indexSlotBytes + entries*indexEntryBytes
}

// createIndexFile makes an empty file that goes on from the one before. Header and slots get disk blocks at once: a write
// into a hole on a full disk would be a signal and not an error.
func createIndexFile(path string, slots, entries int64, before indexHeader, faults faultFunc) (*indexFile, error) {
	if err := faults.check(OpCreate, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, wrapFileError(OpCreate, path, err)
	}
	defer f.Close()
	size := indexFileBytes(slots, entries)
	x := &indexFile{slots: slots, capacity: entries}
	err = f.Truncate(size)
	if err == nil {
		err = x.allocate(path, x.entryPos(0), faults)
	}
	if err == nil {
		x.seg, err = mapSegment(f, path, 0, size, faults)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		if x.seg != nil {
			x.seg.release()
		}
		os.Remove(path)
		return nil, fmt.Errorf("create index file: %w", err)
	}
	x.seg.readAround()
	x.header = indexHeader{
		beginMs: before.endMs, endMs: before.endMs, beginPhys: before.endPhys, endPhys: before.endPhys, next: 1,
	}
	x.writeHeader()
	return x, nil
}

// openIndexFile maps a file of slots and entries. A file of another length is not an index of this kind: ErrCorrupt.
func openIndexFile(path string, slots, entries int64, faults faultFunc) (*indexFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, wrapFileError(OpRead, path, err)
	}
	if size := indexFileBytes(slots, entries); info.Size() != size {
		return nil, fmt.Errorf("%w: index file %s has %d bytes, not %d", ErrCorrupt, path, info.Size(), size)
	}
	seg, err := openSegment(path, 0, faults)
	if err != nil {
		return nil, err
	}
	seg.readAround()
	x := &indexFile{seg: seg, slots: slots, capacity: entries, header: indexHeaderAt(seg.data)}
	if next := x.header.next; int64(next) > entries {
		seg.release()
		return nil, fmt.Errorf("%w: index file %s counts %d entries at 36, it has room for %d", ErrCorrupt, path, next, entries)
	}
	x.header.next = max(1, x.header.next)
	if int64(x.header.next) >= x.spreadAt() && !x.full() {
		x.keepSlots()
		wantPages(x.seg.data[:x.entryPos(0)]) // each key needs one of them
	}
	return x, nil
}

// spreadAt is the number of entries, the unused one included, from which on hardly a page of the slots is not there.
func (x *indexFile) spreadAt() int64 { return x.slots/indexSpread + 1 }

// keepSlots has the kernel count how often the pages of the slots are used. Of a mapping that is looked at here and there it does not:
// it dropped them among the first when memory was short, and the dispatcher waited for the disk with each key.
func (x *indexFile) keepSlots() { advisePages(x.seg.data[:x.entryPos(0)], pagesAsUsed) }

func indexHeaderAt(b []byte) indexHeader {
	return indexHeader{
		beginMs:   int64(binary.BigEndian.Uint64(b[0:])),
		endMs:     int64(binary.BigEndian.Uint64(b[8:])),
		beginPhys: int64(binary.BigEndian.Uint64(b[16:])),
		endPhys:   int64(binary.BigEndian.Uint64(b[24:])),
		usedSlots: int32(binary.BigEndian.Uint32(b[32:])),
		next:      int32(binary.BigEndian.Uint32(b[36:])),
	}
}

// indexEntry is one entry of an index file.
type indexEntry struct {
	hash       int32
	physOffset int64
	seconds    int32 // since the header's begin
	older      int32 // the slot's entry before this one, 0 for none
}

func indexEntryAt(b []byte) indexEntry {
	return indexEntry{
		hash:       int32(binary.BigEndian.Uint32(b)),
		physOffset: int64(binary.BigEndian.Uint64(b[4:])),
		seconds:    int32(binary.BigEndian.Uint32(b[12:])),
		older:      int32(binary.BigEndian.Uint32(b[16:])),
	}
}

func (x *indexFile) slotPos(hash int32) int64 {
	return indexHeaderBytes + int64(hash)%x.slots*indexSlotBytes
}

func (x *indexFile) entryPos(n int64) int64 {
	return indexHeaderBytes + x.slots*indexSlotBytes + n*indexEntryBytes
}

// allocate gives the bytes below to disk blocks.
func (x *indexFile) allocate(path string, to int64, faults faultFunc) error {
	if to <= x.allocated {
		return nil
	}
	end := min(roundUp(to+indexChunkBytes, pageBytes), indexFileBytes(x.slots, x.capacity))
	if err := allocateFile(path, x.allocated, end-x.allocated, faults); err != nil {
		return err
	}
	x.allocated = end
	return nil
}

func (x *indexFile) full() bool { return int64(x.header.next) >= x.capacity }

// expect has the processor fetch the slot that put will change.
func (x *indexFile) expect(hash int32) {
	prefetchWrite(unsafe.Pointer(&x.seg.data[x.slotPos(hash)]), 4)
}

// put adds one key; the file must not be full.
func (x *indexFile) put(hash int32, physOffset, storeTimestampMs int64) error {
	h := &x.header // only the writer changes it
	pos := x.entryPos(int64(h.next))
	if err := x.allocate(x.seg.path, pos+indexEntryBytes, x.seg.faults); err != nil {
		return err
	}
	slot := x.seg.data[x.slotPos(hash):]
	older := int32(binary.BigEndian.Uint32(slot))
	if older < 0 || older >= h.next {
		older = 0
	}
	entry := x.seg.data[pos : pos+indexEntryBytes]
	binary.BigEndian.PutUint32(entry, uint32(hash))
	binary.BigEndian.PutUint64(entry[4:], uint64(physOffset))
	binary.BigEndian.PutUint32(entry[12:], h.seconds(storeTimestampMs))
	binary.BigEndian.PutUint32(entry[16:], uint32(older))

	x.mu.Lock()
	defer x.mu.Unlock()
	binary.BigEndian.PutUint32(slot, uint32(h.next))
	if h.next <= 1 {
		h.beginMs, h.beginPhys = storeTimestampMs, physOffset
	}
	if older == 0 {
		h.usedSlots++
	}
	h.next++
	h.endMs, h.endPhys = storeTimestampMs, physOffset
	x.writeHeader()
	switch {
	case x.full():
		x.seg.readAround() // whoever looks for a key needs one page of it
	case int64(h.next) == x.spreadAt():
		x.keepSlots()
	}
	return nil
}

// seconds is the time of an entry as it is stored.
func (h *indexHeader) seconds(storeTimestampMs int64) uint32 {
	if h.beginMs <= 0 {
		return 0
	}
	return uint32(max(0, min((storeTimestampMs-h.beginMs)/1000, 1<<31-1)))
}

func (x *indexFile) writeHeader() {
	b, h := x.seg.data, &x.header
	binary.BigEndian.PutUint64(b[0:], uint64(h.beginMs))
	binary.BigEndian.PutUint64(b[8:], uint64(h.endMs))
	binary.BigEndian.PutUint64(b[16:], uint64(h.beginPhys))
	binary.BigEndian.PutUint64(b[24:], uint64(h.endPhys))
	binary.BigEndian.PutUint32(b[32:], uint32(h.usedSlots))
	binary.BigEndian.PutUint32(b[36:], uint32(h.next))
}

// head returns the header as it is now.
func (x *indexFile) head() indexHeader {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.header
}

// overlaps reports whether the file's range of time and [beginMs, endMs] meet. Apache: IndexFile.isTimeMatched.
func (h *indexHeader) overlaps(beginMs, endMs int64) bool {
	return beginMs < h.beginMs && endMs > h.endMs ||
		beginMs >= h.beginMs && beginMs <= h.endMs ||
		endMs >= h.beginMs && endMs <= h.endMs
}

// find appends the offsets of entries with a hash and a time between beginMs and endMs, newest first, until there are
// limit. The caller holds a reference on the file. Apache: IndexFile.selectPhyOffset.
func (x *indexFile) find(found []int64, hash int32, limit int, beginMs, endMs int64) []int64 {
	x.mu.Lock()
	n := int32(binary.BigEndian.Uint32(x.seg.data[x.slotPos(hash):]))
	h := x.header
	x.mu.Unlock()
	// An older entry has a smaller number; anything else is damage and would lead in circles.
	for end := h.next; n > 0 && n < end && len(found) < limit; {
		e := x.entry(n)
		timeMs := h.beginMs + int64(e.seconds)*1000
		if e.seconds < 0 || timeMs < beginMs {
			break
		}
		if e.hash == hash && timeMs <= endMs {
			found = append(found, e.physOffset)
		}
		end, n = n, e.older
	}
	return found
}

func (x *indexFile) entry(n int32) indexEntry {
	pos := x.entryPos(int64(n))
	return indexEntryAt(x.seg.data[pos : pos+indexEntryBytes])
}

// has reports whether a key of the message at physOffset is in the file. Only the writer calls it.
func (x *indexFile) has(hash int32, physOffset int64) bool {
	n := int32(binary.BigEndian.Uint32(x.seg.data[x.slotPos(hash):]))
	for end := x.header.next; n > 0 && n < end; {
		e := x.entry(n)
		if e.physOffset < physOffset {
			return false
		}
		if e.physOffset == physOffset && e.hash == hash {
			return true
		}
		end, n = n, e.older
	}
	return false
}

// flush writes the file to disk and waits.
func (x *indexFile) flush() error { return x.seg.flush(0, x.seg.size) }

// remove deletes the file; readers keep what they hold.
func (x *indexFile) remove() error {
	if err := x.seg.remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
