package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// queueCheck is one queue while a store is checked.
type queueCheck struct {
	*queueSpans
	key      queueKey
	schedule bool

	matched atomic.Int64 // records whose entry points to them

	mu           sync.Mutex // guards what follows
	missing      int64      // records without an entry that points to them
	missingFirst int64      // lowest of their queue offsets
	orphans      []orphan   // the first of them

	end int64          // queue offset behind the last entry; known when checkQueues is done
	bad map[int64]bool // queue offsets of entries that are reported to be wrong

	misfiled bool // it holds records whose heads say something else
}

// orphan is a record that says it is in a queue whose entry does not point to it.
type orphan struct {
	physOffset, queueOffset int64
	taken                   bool // there is another entry at queueOffset
}

// maxOrphans bounds how many orphans of one queue are kept, maxAllOrphans how many of all. More of them in a queue say that
// the queue is wrong, and not the records.
const maxOrphans, maxAllOrphans = 64, 200_000

func (c *checker) addOrphan(q *queueCheck, o orphan) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.missing++
	q.missingFirst = min(q.missingFirst, o.queueOffset)
	if len(q.orphans) < maxOrphans && c.orphans.Add(1) <= maxAllOrphans {
		q.orphans = append(q.orphans, o)
	}
}

// markBad remembers that an entry is reported, so that the record which misses it is not reported too.
func (q *queueCheck) markBad(queueOffset int64) {
	if q.bad == nil {
		q.bad = make(map[int64]bool)
	}
	if len(q.bad) < maxOrphans {
		q.bad[queueOffset] = true
	}
}

func (c *checker) prepareQueues() {
	c.queues = make(map[queueKey]*queueCheck, len(c.files.queues))
	c.queueBytes = c.files.queueFileBytes()
	for key, spans := range c.files.queues {
		c.queues[key] = &queueCheck{queueSpans: spans, key: key, schedule: key.topic == TopicSchedule, missingFirst: math.MaxInt64}
	}
	c.batches = make(map[queueKey]*batchCheck, len(c.files.batches))
	for key, spans := range c.files.batches {
		c.batches[key] = &batchCheck{queueSpans: spans, key: key}
	}
	_, err := os.Stat(filepath.Join(c.opts.Dir, "consumequeue_ext"))
	c.hasExt = err == nil
}

// entryWindows keep a piece of each queue in memory: records of a queue come in the order of its entries, so each piece is
// read about once. All pieces together take windowsBytes.
type entryWindows struct {
	bytes int64 // of one window
	open  map[*queueCheck]*entryWindow
}

type entryWindow struct {
	path string
	base int64 // position in the queue of the first byte
	file int64 // position in the queue where the file begins
	buf  []byte
}

const windowsBytes = 48 << 20

func newEntryWindows(queues int) *entryWindows {
	n := min(max(windowsBytes/int64(max(queues, 1)), 16*entryBytes), 800*entryBytes)
	return &entryWindows{bytes: n / entryBytes * entryBytes, open: make(map[*queueCheck]*entryWindow)}
}

// entryPlace says where an entry stands, and whether one is there at all.
type entryPlace struct {
	path  string
	pos   int64
	there bool
}

// entry returns what q holds at queueOffset.
func (ws *entryWindows) entry(q *queueCheck, queueOffset int64) (entry, entryPlace, error) {
	if queueOffset > math.MaxInt64/entryBytes-1 {
		return entry{}, entryPlace{}, nil
	}
	pos := queueOffset * entryBytes
	w := ws.open[q]
	if w == nil {
		w = new(entryWindow)
		ws.open[q] = w
	}
	if pos < w.base || pos+entryBytes > w.base+int64(len(w.buf)) {
		f, ok := q.at(pos)
		if !ok {
			return entry{}, entryPlace{}, nil
		}
		if err := w.read(q, f, pos, ws.bytes); err != nil {
			return entry{}, entryPlace{}, err
		}
		if len(w.buf) < entryBytes {
			return entry{}, entryPlace{}, nil
		}
	}
	e := entryAt(w.buf[pos-w.base:])
	return e, entryPlace{w.path, pos - w.file, e.written()}, nil
}

func (w *entryWindow) read(q *queueCheck, f fileSpan, pos, n int64) error {
	if w.file != f.base || w.path == "" {
		w.path, w.file = q.path(f), f.base
	}
	r, err := openReader(w.path, int(n))
	if err != nil {
		return err
	}
	defer r.close()
	r.buf = w.buf[:0]
	b, err := r.bytes(pos-f.base, n)
	w.buf, w.base = b, pos
	return err
}

// checkQueues reads all queues, several at a time, and finds entries that have no record.
func (c *checker) checkQueues() error {
	keys := c.sortedQueues()
	c.report.Queues += len(keys)
	var entries atomic.Int64
	err := c.parallel(len(keys), func(_, i int) error {
		s := &queueScan{c: c, q: c.queues[keys[i]], hole: -1, beyondFirst: -1}
		err := s.run()
		entries.Add(s.entries)
		return err
	})
	c.report.QueueEntries += entries.Load()
	if err != nil {
		return err
	}
	for _, key := range keys {
		c.reportOrphans(c.queues[key])
	}
	for key, l := range c.lost {
		s, do := c.unlessStopped()
		c.add(s, l.path, l.pos, fmt.Sprintf("%d records of topic %s, queue %d, from here on: the queue has no directory", l.records, key.topic, key.id),
			"consumers do not get these messages", do)
	}
	return nil
}

// queueScan reads the entries of one queue in their order.
type queueScan struct {
	c *checker
	q *queueCheck

	entries     int64 // that point to records, in the log or expired
	inLog       int64 // that point into the log
	end         int64 // queue offset behind the last entry
	hole        int64 // queue offset of the first of the entries not written, -1
	beyond      int64 // entries that point behind the end of the log
	beyondFirst int64
	mixed       bool // some of them have others behind them
}

func (s *queueScan) run() error {
	for i, f := range s.q.files {
		s.checkSpan(i, f)
		if err := s.scanFile(f); err != nil {
			return err
		}
	}
	s.reportBeyond()
	if s.beyond > 0 && !s.mixed {
		s.end = s.beyondFirst
	}
	s.q.end = s.end
	if s.mixed || s.inLog != s.q.matched.Load() {
		return s.verify()
	}
	return nil
}

// checkSpan looks at the place and the length of a file.
func (s *queueScan) checkSpan(i int, f fileSpan) {
	files := s.q.files
	path := s.q.path(f)
	switch {
	case f.size == 0 && i == len(files)-1:
		s.c.add(Note, path, -1, "the file is empty", "its creation was cut off", doNextRun)
	case f.size == 0:
		s.c.add(Derived, path, 0, "the file is empty, but not the last of its queue", "it was cut off", doRepair)
	case f.size%entryBytes != 0 || f.base%entryBytes != 0:
		s.c.add(Derived, path, f.size/entryBytes*entryBytes, fmt.Sprintf("%d bytes are no whole number of entries", f.size),
			"the file was cut off", doRepair)
	case i > 0 && files[i-1].end() != f.base:
		s.c.add(Derived, path, -1, fmt.Sprintf("it begins at %d, the file before it ends at %d", f.base, files[i-1].end()),
			"a file of the queue is missing or was cut off", doRepair)
	case s.c.queueBytes > 0 && f.size != s.c.queueBytes && f.size > 0:
		s.c.add(Note, path, f.size, fmt.Sprintf("the file has %d bytes, most files of queues have %d", f.size, s.c.queueBytes),
			"it was cut off, or made under another mappedFileSizeConsumeQueue; Java does not open it then", "")
	case i == 0 && f.base > 0 && s.c.files.logMin() == 0:
		s.c.add(Derived, path, -1, fmt.Sprintf("the queue begins at offset %d, but nothing was ever deleted from the log", f.base/entryBytes),
			"the files before it are missing", doRepair)
	}
}

func (s *queueScan) scanFile(f fileSpan) error {
	if f.base%entryBytes != 0 {
		return nil
	}
	path := s.q.path(f)
	r, err := openReader(path, 64<<10)
	if err != nil {
		s.c.add(Derived, path, -1, err.Error(), "the queue cannot be read", doRepair)
		return nil
	}
	defer r.close()
	var done func()
	r.took, done = s.c.meter.unit(s.c.ctx, blockBytes(path, f.size))
	defer done()
	whole := min(f.size, r.size) / entryBytes * entryBytes
	for pos := int64(0); pos < whole; {
		if data := min(r.nextData(pos)/entryBytes*entryBytes, whole); data > pos {
			s.unwritten((f.base + pos) / entryBytes)
			pos = data
			continue
		}
		b, err := r.bytes(pos, min(int64(r.window)/entryBytes*entryBytes, whole-pos))
		if err != nil {
			if err := stopped(s.c.ctx); err != nil {
				return err
			}
			s.c.add(Derived, path, pos, err.Error(), "the queue cannot be read", doRepair)
			return nil
		}
		n := int64(len(b)) / entryBytes * entryBytes
		if n == 0 {
			break
		}
		for at := int64(0); at < n; at += entryBytes {
			s.take((f.base+pos+at)/entryBytes, entryAt(b[at:]), path, pos+at)
		}
		pos += n
	}
	return nil
}

// zero tells what was never written from what is damaged.
func (e entry) zero() bool { return e.physOffset == 0 && e.size == 0 && e.tagsCode == 0 }

func (s *queueScan) unwritten(queueOffset int64) {
	if s.hole < 0 {
		s.hole = queueOffset
	}
}

// take looks at one entry.
func (s *queueScan) take(queueOffset int64, e entry, path string, pos int64) {
	if !e.written() {
		if !e.zero() {
			s.q.markBad(queueOffset)
			s.c.add(Derived, path, pos, fmt.Sprintf("queue offset %d points to %d with a size of %d", queueOffset, e.physOffset, e.size),
				"it is no entry", doRepair)
		}
		s.unwritten(queueOffset)
		return
	}
	if s.hole >= 0 {
		s.c.add(Derived, path, pos, fmt.Sprintf("queue offsets %d to %d are not written, this one, %d, is", s.hole, queueOffset-1, queueOffset),
			"the queue ends before it for whoever reads it", doRepair)
		s.hole = -1
	}
	s.end = queueOffset + 1
	if e.size == blankEntrySize {
		return
	}
	s.entries++
	switch {
	case e.physOffset < s.c.files.logMin():
	case e.physOffset >= s.c.end.phys:
		if s.beyond == 0 {
			s.beyondFirst = queueOffset
		}
		s.beyond++
	default:
		s.inLog++
		s.mixed = s.mixed || s.beyond > 0
	}
}

// reportBeyond reports the entries at the queue's end that point behind the end of the log.
func (s *queueScan) reportBeyond() {
	if s.beyond == 0 || s.mixed {
		return
	}
	s.c.beyond.Add(s.beyond)
	path, pos := s.q.place(s.beyondFirst)
	sev, do := s.c.unlessStopped()
	s.c.add(sev, path, pos, fmt.Sprintf("%d entries from queue offset %d on point behind the end of the log at %d", s.beyond, s.beyondFirst, s.c.end.phys),
		"their records are not in the log", do)
}

// reportOrphans reports the records that no entry points to, but for those whose own head is damaged.
func (c *checker) reportOrphans(q *queueCheck) {
	if q.missing == 0 {
		return
	}
	if q.missing == int64(len(q.orphans)) {
		q.orphans = slices.DeleteFunc(q.orphans, func(o orphan) bool { return c.misfiled[o.physOffset] || q.bad[o.queueOffset] })
		q.missing, q.missingFirst = 0, math.MaxInt64
		for _, o := range q.orphans {
			if o.taken {
				path, pos := q.place(o.queueOffset)
				c.add(Derived, path, pos, fmt.Sprintf("queue offset %d does not point to its record in the log at %d", o.queueOffset, o.physOffset),
					"consumers do not get the message", doRepair)
				continue
			}
			q.missing++
			q.missingFirst = min(q.missingFirst, o.queueOffset)
		}
	}
	if q.missing == 0 {
		return
	}
	sev, do := Derived, doRepair
	if q.missingFirst >= q.end {
		sev, do = c.unlessStopped()
	}
	path, pos := q.place(q.missingFirst)
	c.add(sev, path, pos, fmt.Sprintf("%d records of the log, from queue offset %d on, have no entry", q.missing, q.missingFirst),
		"consumers do not get these messages", do)
}

// place is where the entry of a queue offset stands; of one that no file holds, the file or directory where it should.
func (q *queueCheck) place(queueOffset int64) (path string, pos int64) {
	if queueOffset < math.MaxInt64/entryBytes {
		if f, ok := q.at(queueOffset * entryBytes); ok {
			return q.path(f), queueOffset*entryBytes - f.base
		}
	}
	if n := len(q.files); n > 0 {
		return q.path(q.files[n-1]), q.files[n-1].size
	}
	return q.dir, -1
}

// verify reads the head of the record behind each entry. It runs where the numbers of records and entries differ.
func (s *queueScan) verify() error {
	logs := &logReaders{c: s.c}
	defer logs.close()
	windows := newEntryWindows(1)
	for _, f := range s.q.files {
		for pos := f.base; pos+entryBytes <= f.end() && pos/entryBytes < s.end; pos += entryBytes {
			if err := stopped(s.c.ctx); err != nil {
				return err
			}
			e, at, err := windows.entry(s.q, pos/entryBytes)
			if err != nil || !at.there || e.size == blankEntrySize || e.physOffset < s.c.files.logMin() {
				continue
			}
			if e.physOffset >= s.c.end.phys && !s.mixed {
				continue
			}
			s.compare(logs, pos/entryBytes, e, at)
		}
	}
	return nil
}

// compare reports an entry whose record is not the one of queueOffset. When a record of the entry's size begins where it
// points to, and no entry is where that record says, the head of the record is damaged and not the entry.
func (s *queueScan) compare(logs *logReaders, queueOffset int64, e entry, at entryPlace) {
	m, err := logs.record(e.physOffset)
	key := s.q.key
	var said string
	switch {
	case err != nil && s.c.inStretch(e.physOffset):
		return
	case err != nil:
		s.q.markBad(queueOffset)
		s.c.add(Derived, at.path, at.pos, fmt.Sprintf("queue offset %d points to %d, where no record is: %v", queueOffset, e.physOffset, err),
			"consumers get nothing for it", doRepair)
		return
	case multiDispatched(m, key.topic):
		return
	case string(m.Topic) != key.topic || m.QueueID != key.id:
		said = fmt.Sprintf("topic %q, queue %d, offset %d", m.Topic, m.QueueID, m.QueueOffset)
	case m.QueueOffset != queueOffset:
		said = fmt.Sprintf("queue offset %d", m.QueueOffset)
	default:
		return
	}
	if e.size != m.TotalSizeBytes || s.c.hasEntry(m, e.physOffset) {
		s.q.markBad(queueOffset)
		s.c.add(Derived, at.path, at.pos, fmt.Sprintf("queue offset %d points to the record at %d, which says %s", queueOffset, e.physOffset, said),
			"consumers get a wrong message for it", doRepair)
		return
	}
	s.q.misfiled = true
	s.c.misfile(e.physOffset)
	s.c.add(Damage, logs.open.path, e.physOffset-logs.open.base+codec.PosQueueID, fmt.Sprintf("the record says %s, but it is in queue %s/%d at offset %d",
		said, key.topic, key.id, queueOffset), "its head is damaged; consumers get it as long as the queue is not made anew", doRestore)
}

// hasEntry reports whether the entry at the place that a record names leads to it.
func (c *checker) hasEntry(m *codec.Message, physOffset int64) bool {
	q := c.queues[queueKey{string(m.Topic), m.QueueID}]
	if q == nil || m.QueueOffset < 0 {
		return false
	}
	e, at, err := newEntryWindows(maxAllOrphans).entry(q, m.QueueOffset) // the smallest window
	return err == nil && at.there && e.physOffset == physOffset && e.size == m.TotalSizeBytes
}

// misfile remembers a record that is in another queue than it says.
func (c *checker) misfile(physOffset int64) {
	c.lostMu.Lock()
	defer c.lostMu.Unlock()
	if len(c.misfiled) < maxAllOrphans {
		c.misfiled[physOffset] = true
	}
}

// multiDispatched reports whether a record has an entry in the queue of topic besides its own.
func multiDispatched(m *codec.Message, topic string) bool {
	list, ok := codec.Property(m.Properties, codec.PropInnerMultiDispatch)
	return ok && slices.Contains(strings.Split(string(list), ","), topic)
}

// logReaders reads records at any place of the log, with the file of the last one open.
type logReaders struct {
	c    *checker
	open *logReader
	m    codec.Message
}

func (l *logReaders) close() {
	if l.open != nil {
		l.open.close()
		l.open = nil
	}
}

// record reads the record at physOffset. It is good until the next call.
func (l *logReaders) record(physOffset int64) (*codec.Message, error) {
	if l.open == nil || physOffset < l.open.base || physOffset >= l.open.base+l.open.size {
		l.close()
		for _, f := range l.c.files.log {
			if physOffset >= f.base && physOffset < f.end() {
				r, err := openReader(f.path, 4096)
				if err != nil {
					return nil, err
				}
				l.open = &logReader{fileReader: r, base: f.base}
				break
			}
		}
		if l.open == nil {
			return nil, errors.New("the log has no such place")
		}
	}
	_, err := l.open.record(physOffset-l.open.base, &l.m)
	return &l.m, err
}
