package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// indexCheck is one index file while a store is checked.
type indexCheck struct {
	path     string
	bytes    int64
	header   indexHeader
	slots    int64
	capacity int64
	sound    bool
}

func (x *indexCheck) entryPos(n int64) int64 {
	return indexHeaderBytes + x.slots*indexSlotBytes + n*indexEntryBytes
}

// lateIndex counts messages with keys outside of what the index covers.
type lateIndex struct {
	mu            sync.Mutex // guards what follows
	before, after int64
	firstAfter    int64 // physical offset of the first after the index
}

// checkIndex looks at each index file by itself and tells which stretch of the log the sound ones cover.
func (c *checker) checkIndex() error {
	c.index = make([]*indexCheck, len(c.files.index))
	var entries sync.Mutex
	err := c.parallel(len(c.index), func(_, i int) error {
		f := c.files.index[i]
		x := &indexCheck{path: f.path, bytes: f.size}
		c.index[i] = x
		err := c.checkIndexFile(x)
		entries.Lock()
		defer entries.Unlock()
		c.report.IndexEntries += int64(max(x.header.next-1, 0))
		return err
	})
	if err != nil {
		return err
	}
	if len(c.index) == 0 {
		c.add(Note, c.opts.Dir, -1, "there is no index file", "messages are not found by key", "")
	}
	before := false // the file before is sound
	for _, x := range c.index {
		if x.sound && x.header.next > 1 {
			s := span{x.header.beginPhys, x.header.endPhys}
			if before {
				c.covered[len(c.covered)-1].to = s.to
			} else {
				c.covered = append(c.covered, s)
			}
		}
		before = x.sound && (before || x.header.next > 1)
	}
	return nil
}

func (c *checker) checkIndexFile(x *indexCheck) error {
	r, err := openReader(x.path, windowBytes)
	if err != nil {
		c.badIndex(x, -1, err.Error())
		return nil
	}
	defer r.close()
	var done func()
	r.took, done = c.meter.unit(c.ctx, blockBytes(x.path, x.bytes))
	defer done()
	if x.bytes == 0 && x.path != c.files.index[len(c.files.index)-1].path {
		c.badIndex(x, 0, "the file is empty, but not the last")
		return nil
	}
	if x.bytes == 0 {
		c.add(Note, x.path, -1, "the file is empty", "its creation was cut off", doNextRun)
		return nil
	}
	b, err := r.bytes(0, indexHeaderBytes)
	if err != nil || len(b) < indexHeaderBytes {
		c.badIndex(x, 0, "the header is cut off")
		return stopped(c.ctx)
	}
	x.header = indexHeaderAt(b)
	if x.header.next == 0 { // as it was made
		x.header.next = 1
	}
	if x.slots, err = findIndexSlots(r, x.header, int64(c.opts.IndexSlots)); err != nil {
		x.header.next = 0
		c.badIndex(x, 0, err.Error())
		return stopped(c.ctx)
	}
	x.capacity = (x.bytes - indexHeaderBytes - x.slots*indexSlotBytes) / indexEntryBytes
	h := x.header
	if h.next < 1 || int64(h.next) > x.capacity {
		x.header.next = 0
		c.badIndex(x, 36, fmt.Sprintf("the header counts %d entries, the file has room for %d", h.next, x.capacity))
		return nil
	}
	x.sound = true
	return c.checkChains(x, r)
}

// badIndex reports that a file cannot be relied upon. A file that was not full when the server was killed is removed by the
// next start anyway.
func (c *checker) badIndex(x *indexCheck, pos int64, what string) {
	x.sound = false
	sev, do := Derived, doRepair
	if !c.clean && x.capacity > 0 && int64(x.header.next) < x.capacity {
		sev, do = Note, doNextRun
	}
	c.add(sev, x.path, pos, what, "messages are not found by their keys", do)
}

// checkChains reads all entries, and follows with a table of the slots which entry has to come before each.
func (c *checker) checkChains(x *indexCheck, r *fileReader) error {
	newest := make([]int32, x.slots)
	h, used := x.header, int32(0)
	var first, last indexEntry
	for n := int32(1); n < h.next; n++ {
		pos := x.entryPos(int64(n))
		b, err := r.bytes(pos, indexEntryBytes)
		if err != nil || len(b) < indexEntryBytes {
			c.badIndex(x, pos, "entries cannot be read")
			return stopped(c.ctx)
		}
		e := indexEntryAt(b)
		if e.hash < 0 {
			c.badIndex(x, pos, fmt.Sprintf("entry %d has hash %d", n, e.hash))
			return nil
		}
		slot := int64(e.hash) % x.slots
		if e.older != newest[slot] {
			c.badIndex(x, pos, fmt.Sprintf("entry %d, hash %d, says that %d is the one before it, it is %d", n, e.hash, e.older, newest[slot]))
		}
		if newest[slot] == 0 {
			used++
		}
		newest[slot] = n
		if n == 1 {
			first = e
		} else if e.physOffset < last.physOffset {
			c.badIndex(x, pos, fmt.Sprintf("entry %d points to %d, the one before it to %d", n, e.physOffset, last.physOffset))
		}
		last = e
	}
	if h.next > 1 && (first.physOffset != h.beginPhys || last.physOffset != h.endPhys) {
		c.badIndex(x, 16, fmt.Sprintf("the header says physical offsets %d to %d, the entries %d to %d", h.beginPhys, h.endPhys, first.physOffset, last.physOffset))
	}
	if used != h.usedSlots {
		c.badIndex(x, 32, fmt.Sprintf("the header counts %d slots in use, there are %d", h.usedSlots, used))
	}
	return c.checkSlots(x, r, newest)
}

func (c *checker) checkSlots(x *indexCheck, r *fileReader, newest []int32) error {
	for slot := range newest {
		pos := indexHeaderBytes + int64(slot)*indexSlotBytes
		b, err := r.bytes(pos, indexSlotBytes)
		if err != nil || len(b) < indexSlotBytes {
			c.badIndex(x, pos, "slots cannot be read")
			return stopped(c.ctx)
		}
		if n := int32(binary.BigEndian.Uint32(b)); n != newest[slot] {
			c.badIndex(x, pos, fmt.Sprintf("slot %d says that its newest entry is %d, it is %d", slot, n, newest[slot]))
		}
	}
	return nil
}

var errIndexSlots = errors.New("length and entries do not go together")

// findIndexSlots tells the number of slots of an index file, which the file does not say: want if it is not 0, Java's if
// the length is that of Java's, else what makes the newest entry stand where it does.
func findIndexSlots(r *fileReader, h indexHeader, want int64) (int64, error) {
	fits := func(slots int64) bool {
		rest := r.size - indexHeaderBytes - slots*indexSlotBytes
		return slots > 0 && rest > 0 && rest%indexEntryBytes == 0
	}
	const javaSlots, javaEntries = 5_000_000, 20_000_000
	switch {
	case want > 0 && fits(want):
		return want, nil
	case want > 0:
		return 0, fmt.Errorf("%d bytes are no index file of %d slots", r.size, want)
	case r.size == indexFileBytes(javaSlots, javaEntries):
		return javaSlots, nil
	case h.next <= 1:
		if slots := r.size / 25; fits(slots) { // any number would do for an empty file
			return slots, nil
		}
	}
	return searchIndexSlots(r, h, fits)
}

// searchIndexSlots looks for the newest entry, which the header knows by its physical offset and its number. A message with several keys
// has several entries, so the oldest has to stand where it would, too.
func searchIndexSlots(r *fileReader, h indexHeader, fits func(int64) bool) (int64, error) {
	want := binary.BigEndian.AppendUint64(nil, uint64(h.endPhys))
	if h.next < 2 {
		return 0, errIndexSlots
	}
	for pos := int64(indexHeaderBytes); pos+8 <= r.size; {
		pos = max(pos, r.nextData(pos)-8)
		b, err := r.bytes(pos, windowBytes)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, want)
		if i < 0 {
			if pos += int64(len(b)) - 7; len(b) < 8 {
				break
			}
			continue
		}
		pos += int64(i)
		at := pos - 4 - int64(h.next-1)*indexEntryBytes - indexHeaderBytes
		if slots := at / indexSlotBytes; at%indexSlotBytes == 0 && fits(slots) && slotOf(r, pos-4, slots) == h.next-1 && oldestAt(r, h, slots) {
			return slots, nil
		}
		pos++
	}
	return 0, errIndexSlots
}

// oldestAt reports whether the oldest entry stands where it does with so many slots.
func oldestAt(r *fileReader, h indexHeader, slots int64) bool {
	b, err := r.bytes(indexHeaderBytes+slots*indexSlotBytes+indexEntryBytes, indexEntryBytes)
	if err != nil || len(b) < indexEntryBytes || allZero(b) {
		return false
	}
	e := indexEntryAt(b)
	return e.physOffset == h.beginPhys && e.older == 0
}

// slotOf returns what the slot of the entry at pos holds.
func slotOf(r *fileReader, pos, slots int64) int32 {
	b, err := r.bytes(pos, indexEntryBytes)
	if err != nil || len(b) < indexEntryBytes {
		return 0
	}
	e := indexEntryAt(b)
	if e.hash < 0 {
		return 0
	}
	var slot [indexSlotBytes]byte
	if _, err := r.f.ReadAt(slot[:], indexHeaderBytes+int64(e.hash)%slots*indexSlotBytes); err != nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(slot[:]))
}

// indexCursor goes through the entries of the sound files beside the records of one log file: both are in the order of
// physical offsets.
type indexCursor struct {
	c     *checker
	log   fileSpan
	files []*indexCheck
	n     int32 // number of the next entry in files[0]
	r     *fileReader
	wants []wantedKey // of the record at hand
}

// wantedKey is a key of a record: its hash, and whether all versions of Java index it.
type wantedKey struct {
	hash  int32
	must  bool
	found bool
}

// newIndexCursor stands before the first entry at or behind the beginning of a log file.
func newIndexCursor(c *checker, log fileSpan) *indexCursor {
	x := &indexCursor{c: c, log: log, n: 1}
	physOffset := log.base
	for _, f := range c.index {
		if f.sound && f.header.next > 1 && f.header.endPhys >= physOffset {
			x.files = append(x.files, f)
		}
	}
	if len(x.files) > 0 && x.files[0].header.beginPhys < physOffset {
		f := x.files[0]
		x.n = 1 + int32(sort.Search(int(f.header.next-1), func(i int) bool {
			x.n = int32(i) + 1
			e, _, ok := x.peek()
			return !ok || e.physOffset >= physOffset
		}))
	}
	return x
}

func (x *indexCursor) close() {
	if x.r != nil {
		x.r.close()
		x.r = nil
	}
}

// peek returns the next entry and where it stands.
func (x *indexCursor) peek() (e indexEntry, pos int64, ok bool) {
	for len(x.files) > 0 {
		f := x.files[0]
		if x.n < f.header.next {
			if x.r == nil {
				r, err := openReader(f.path, 64<<10)
				if err != nil {
					return e, 0, false
				}
				x.r = r
			}
			pos = f.entryPos(int64(x.n))
			b, err := x.r.bytes(pos, indexEntryBytes)
			if err != nil || len(b) < indexEntryBytes {
				return e, 0, false
			}
			return indexEntryAt(b), pos, true
		}
		x.close()
		x.files, x.n = x.files[1:], 1
	}
	return e, 0, false
}

// skip passes over entries that point before physOffset.
func (x *indexCursor) skip(physOffset int64) {
	for e, _, ok := x.peek(); ok && e.physOffset < physOffset; e, _, ok = x.peek() {
		x.n++
	}
}

// dangling reports the entries that point before physOffset: there is no record where they point to.
func (x *indexCursor) dangling(physOffset int64) {
	for e, pos, ok := x.peek(); ok && e.physOffset < physOffset; e, pos, ok = x.peek() {
		x.c.badIndex(x.files[0], pos, fmt.Sprintf("entry %d points to %d, where no record begins", x.n, e.physOffset))
		x.files[0].sound = true // by itself
		x.n++
	}
}

// match compares the keys of a record with the entries that point to it.
func (x *indexCursor) match(topic string, m *codec.Message) error {
	x.want(topic, m)
	x.dangling(m.PhysOffset)
	entries, strange := 0, 0
	start := x.at()
	e, pos, ok := x.peek()
	for ; ok && e.physOffset == m.PhysOffset; e, pos, ok = x.peek() {
		entries++
		if x.matchOne(e) < 0 {
			strange++
		}
		x.checkTimes(x.files[0], e, pos, m)
		x.n++
	}
	switch {
	case strange > 1 && strange == entries:
		x.c.misfile(m.PhysOffset)
		x.c.add(Damage, x.log.path, m.PhysOffset-x.log.base+int64(codec.PosBody(m.SysFlag))+4+int64(len(m.Body)),
			fmt.Sprintf("%d index entries point to the record, none is of its topic %q and its keys", entries, m.Topic),
			"topic or keys in it are damaged", doRestore)
		return nil
	case strange > 0:
		x.reportStrange(start, strange, m)
	}
	x.missing(m, pos, ok)
	return nil
}

// matchOne finds the key of an entry among those of the record at hand, -1 when it has no such key.
func (x *indexCursor) matchOne(e indexEntry) int {
	i := slices.IndexFunc(x.wants, func(w wantedKey) bool { return w.hash == e.hash })
	if i >= 0 {
		x.wants[i].found = true
	}
	return i
}

// indexPlace is a place among the entries.
type indexPlace struct {
	file *indexCheck
	n    int32
}

func (x *indexCursor) at() indexPlace {
	if _, _, ok := x.peek(); !ok {
		return indexPlace{}
	}
	return indexPlace{x.files[0], x.n}
}

// reportStrange reports the entries from start on that the record at hand has no key for.
func (x *indexCursor) reportStrange(start indexPlace, strange int, m *codec.Message) {
	r, err := openReader(start.file.path, 4096)
	if err != nil {
		return
	}
	defer r.close()
	for n := start.n; n < start.file.header.next && strange > 0; n++ {
		pos := start.file.entryPos(int64(n))
		b, err := r.bytes(pos, indexEntryBytes)
		if err != nil || len(b) < indexEntryBytes {
			return
		}
		e := indexEntryAt(b)
		if e.physOffset != m.PhysOffset {
			return
		}
		if x.matchOne(e) < 0 {
			strange--
			x.report(start.file, pos, fmt.Sprintf("entry %d has hash %d, the record at %d has no such key", n, e.hash, m.PhysOffset))
		}
	}
}

// checkTimes compares the time of an entry, and those of the header with its first and last record.
func (x *indexCursor) checkTimes(f *indexCheck, e indexEntry, pos int64, m *codec.Message) {
	h := f.header
	if want := int32(h.seconds(m.StoreTimestampMs)); want != e.seconds {
		x.report(f, pos+12, fmt.Sprintf("entry %d has a time of %d s, the record at %d one of %d", x.n, e.seconds, m.PhysOffset, want))
	}
	if x.n == 1 && h.beginMs != m.StoreTimestampMs {
		x.report(f, 0, fmt.Sprintf("the header begins at store time %d, its first record has %d", h.beginMs, m.StoreTimestampMs))
	}
	if x.n == h.next-1 && h.endMs != m.StoreTimestampMs {
		x.report(f, 8, fmt.Sprintf("the header ends at store time %d, its last record has %d", h.endMs, m.StoreTimestampMs))
	}
}

func (x *indexCursor) report(f *indexCheck, pos int64, what string) {
	x.c.add(Derived, f.path, pos, what, "messages are not found by key, or by a key they do not have", doRepair)
}

// want lists the keys of a record as the index has them.
func (x *indexCursor) want(topic string, m *codec.Message) {
	x.wants = x.wants[:0]
	if codec.TransactionType(m.SysFlag) == codec.SysRollback || m.PhysOffset < x.c.files.logMin() {
		return
	}
	uniq, keys, tags := indexedProperties(m.Properties)
	if len(uniq) > 0 {
		x.wants = append(x.wants, wantedKey{hash: codec.IndexKeyHash(topic, uniq), must: true})
	}
	for _, key := range bytes.Split(keys, []byte{keySeparator}) {
		if len(key) > 0 {
			x.wants = append(x.wants, wantedKey{hash: codec.IndexKeyHash(topic, key), must: true})
		}
	}
	if len(tags) > 0 { // older versions of Java did not
		x.wants = append(x.wants, wantedKey{hash: codec.IndexKeyHash(topic, append([]byte(TagKeyPrefix), tags...))})
	}
}

// missing reports keys that no entry was found for; pos is that of the next entry, if there is one.
func (x *indexCursor) missing(m *codec.Message, pos int64, next bool) {
	i := slices.IndexFunc(x.wants, func(w wantedKey) bool { return w.must && !w.found })
	if i < 0 || len(x.c.index) == 0 {
		return
	}
	list := x.c.covered
	if len(list) == 0 {
		return
	}
	if m.PhysOffset > list[len(list)-1].to || m.PhysOffset < list[0].from {
		x.c.late.note(m.PhysOffset, m.PhysOffset < list[0].from)
		return
	}
	for _, s := range list {
		if m.PhysOffset > s.from && m.PhysOffset < s.to && next {
			x.report(x.files[0], pos, fmt.Sprintf("no entry has hash %d, a key of the record at %d", x.wants[i].hash, m.PhysOffset))
			return
		}
	}
}

func (l *lateIndex) note(physOffset int64, before bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before {
		l.before++
		return
	}
	if l.after == 0 || physOffset < l.firstAfter {
		l.firstAfter = physOffset
	}
	l.after++
}

// rest reports the entries that point behind the records of a file: those before limit when the log goes on in the next
// file, else they are counted.
func (x *indexCursor) rest(end, limit int64, goesOn bool) {
	if goesOn {
		x.dangling(limit)
	}
}
