package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/apogee-mq/apogee/codec"
)

// compactionFile is a file of records and the file of the entries that point into it; both have the same name. The
// fields are guarded by the lock of whoever owns the row. Apache: CompactionLog.TopicPartitionLog.
//
// Records lie back to back, so entries do too: each begins where the one before ends. When no more fits, the entries end
// with endOfEntries and the records with a filler. What compaction made ends with zeros instead, as Java's does.
type compactionFile struct {
	base, logBytes, queueBytes int64

	end         int64 // behind the last record
	entries     int
	first, last int64 // queue offsets of the first and the last entry, while there are entries

	log, queue *segment // nil while they are not mapped
	checked    bool     // the entries were looked at since the store was opened

	dirtyLog, dirtyQueue byteRange
	dirtyMs              int64 // store time of the first record that is not flushed
	fresh                bool  // its names may not be on disk yet
}

// byteRange is a stretch of a file, empty when both ends are the same.
type byteRange struct{ from, to int64 }

func (r *byteRange) add(from, to int64) {
	if r.from == r.to {
		*r = byteRange{from, to}
		return
	}
	r.from, r.to = min(r.from, from), max(r.to, to)
}

func (r byteRange) size() int64 { return r.to - r.from }

// endOfEntries stands behind the last entry of a file that is full. Apache: SparseConsumeQueue.putEndPositionInfo.
var endOfEntries = batchEntry{physOffset: -1, compacted: notCompacted}

// compactionRow is a row of files in two folders. Apache: CompactionLog.TopicPartitionLog.
type compactionRow struct {
	logDir, queueDir     string
	logBytes, queueBytes int64 // of the first file; others are as long as the one before
	faults               faultFunc
	files                []*compactionFile // ascending
}

// errNoRoom says that a record is too long for the files it would go to.
var errNoRoom = errors.New("record is longer than a file of the compaction log")

// append copies a record to the end, with its new place in it, and adds its entry; e.physOffset is set here. The last
// file must be mapped.
func (r *compactionRow) append(rec []byte, e batchEntry) error {
	f, err := r.room(int64(len(rec)))
	if err != nil {
		return err
	}
	at, entryAt := f.end, int64(f.entries)*batchEntryBytes
	if err := f.log.extend(at+int64(len(rec))+blankHeadBytes, min(max(f.log.allocated, 64<<10), 4<<20)); err != nil {
		return err
	}
	if err := f.queue.extend(entryAt+2*batchEntryBytes, min(max(f.queue.allocated, 4<<10), 256<<10)); err != nil {
		return err
	}
	e.physOffset = f.base + at
	dst := f.log.data[at : at+int64(len(rec))]
	copy(dst, rec)
	binary.BigEndian.PutUint64(dst[codec.PosPhysOffset:], uint64(e.physOffset))
	putBatchEntry(f.queue.data[entryAt:], e)
	if f.dirtyLog.size() == 0 {
		f.dirtyMs = e.storeMs
	}
	f.dirtyLog.add(at, at+int64(len(rec)))
	f.dirtyQueue.add(entryAt, entryAt+batchEntryBytes)
	if f.entries == 0 {
		f.first = e.queueOffset
	}
	f.last = e.queueOffset
	f.end += int64(len(rec))
	f.entries++
	return nil
}

// room returns the file for a record of n bytes. One that is full is ended and the next one made, as Java does.
func (r *compactionRow) room(n int64) (*compactionFile, error) {
	var last *compactionFile
	base, logBytes, queueBytes := int64(0), r.logBytes, r.queueBytes
	if len(r.files) > 0 {
		last = r.files[len(r.files)-1]
		base, logBytes, queueBytes = last.base+last.logBytes, last.logBytes, last.queueBytes
		if int64(last.entries+1)*batchEntryBytes < queueBytes && n+blankHeadBytes <= logBytes-last.end {
			return last, nil
		}
	}
	if n+blankHeadBytes > logBytes {
		return nil, fmt.Errorf("%w: %d bytes, %d are possible", errNoRoom, n, logBytes-blankHeadBytes)
	}
	f, err := r.create(base, logBytes, queueBytes)
	if err != nil {
		return nil, err
	}
	if last != nil {
		if err := last.finish(); err != nil {
			return nil, errors.Join(err, f.log.remove(), f.queue.remove())
		}
	}
	r.files = append(r.files, f)
	return f, nil
}

func (r *compactionRow) create(base, logBytes, queueBytes int64) (*compactionFile, error) {
	for _, dir := range []string{r.logDir, r.queueDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, wrapFileError(OpCreate, dir, err)
		}
	}
	queue, err := createSegment(r.queueDir, base, queueBytes, r.faults)
	if err != nil {
		return nil, err
	}
	log, err := createSegment(r.logDir, base, logBytes, r.faults)
	if err != nil {
		return nil, errors.Join(err, queue.remove())
	}
	return &compactionFile{base: base, logBytes: logBytes, queueBytes: queueBytes, log: log, queue: queue, checked: true, fresh: true}, nil
}

// finish marks the ends of a file that gets no more records. One that was finished before gets the same bytes again.
func (f *compactionFile) finish() error {
	at := int64(f.entries) * batchEntryBytes
	if f.end+blankHeadBytes > f.logBytes || at+batchEntryBytes > f.queueBytes {
		return nil
	}
	if err := errors.Join(f.log.extend(f.end+blankHeadBytes, 4<<10), f.queue.extend(at+batchEntryBytes, 4<<10)); err != nil {
		return err
	}
	copy(f.log.data[f.end:], codec.AppendBlank(nil, int(f.logBytes-f.end))[:blankHeadBytes])
	f.dirtyLog.add(f.end, f.end+blankHeadBytes)
	putBatchEntry(f.queue.data[at:], endOfEntries)
	f.dirtyQueue.add(at, at+batchEntryBytes)
	return nil
}

// open maps a file's two halves if they are not mapped.
func (f *compactionFile) open(logDir, queueDir string, faults faultFunc) error {
	if f.log != nil {
		return nil
	}
	log, err := openSegment(filepath.Join(logDir, segmentName(f.base)), f.base, faults)
	if err != nil {
		return err
	}
	queue, err := openSegment(filepath.Join(queueDir, segmentName(f.base)), f.base, faults)
	if err != nil {
		log.release()
		return err
	}
	if log.size != f.logBytes || queue.size != f.queueBytes {
		log.release()
		queue.release()
		return fmt.Errorf("%w: compaction files %s and %s changed their size", ErrCorrupt, log.path, queue.path)
	}
	log.startAt(f.end)
	queue.startAt(int64(f.entries) * batchEntryBytes)
	f.log, f.queue = log, queue
	return nil
}

// unmap drops the references to the halves.
func (f *compactionFile) unmap() {
	if f.log != nil {
		f.log.release()
		f.queue.release()
		f.log, f.queue = nil, nil
	}
}

// entry returns the i-th entry of a mapped file.
func (f *compactionFile) entry(i int) batchEntry {
	return batchEntryAt(f.queue.data[i*batchEntryBytes:])
}

// record returns the bytes of e's record if it lies where e says, else nil. log is the file of records that e is about.
func (e batchEntry) record(log *segment) []byte {
	pos := e.physOffset - log.base
	if pos < 0 || e.size < minRecordBytes || pos > log.size-int64(e.size) {
		return nil
	}
	b := log.data[pos : pos+int64(e.size)]
	magic := binary.BigEndian.Uint32(b[codec.PosMagic:])
	if binary.BigEndian.Uint32(b) != uint32(e.size) || magic != codec.MagicV1 && magic != codec.MagicV2 ||
		int64(binary.BigEndian.Uint64(b[codec.PosQueueOffset:])) != e.queueOffset ||
		int64(binary.BigEndian.Uint64(b[codec.PosPhysOffset:])) != e.physOffset {
		return nil
	}
	return b
}

// compactionFlush is what takeDirty took from a file.
type compactionFlush struct {
	log, queue           *segment // with references
	dirtyLog, dirtyQueue byteRange
	fresh                bool
}

// takeDirty marks a mapped file clean. A flush that fails afterwards makes the store read-only, so nothing marks it dirty
// again.
func (f *compactionFile) takeDirty() compactionFlush {
	x := compactionFlush{f.log, f.queue, f.dirtyLog, f.dirtyQueue, f.fresh}
	x.log.acquire()
	x.queue.acquire()
	f.dirtyLog, f.dirtyQueue, f.fresh = byteRange{}, byteRange{}, false
	return x
}

// run writes to disk what was dirty and gives the references back.
func (x *compactionFlush) run(row *compactionRow) error {
	defer x.log.release()
	defer x.queue.release()
	err := errors.Join(x.log.flush(x.dirtyLog.from, x.dirtyLog.to), x.queue.flush(x.dirtyQueue.from, x.dirtyQueue.to))
	if err == nil && x.fresh {
		err = row.sync()
	}
	return err
}

// sync makes the names in both folders durable, and those of the folders.
func (r *compactionRow) sync() error {
	var errs []error
	for _, dir := range []string{r.logDir, r.queueDir} {
		if err := r.faults.check(OpFlush, dir); err != nil {
			return err
		}
		topic := filepath.Dir(dir)
		errs = append(errs, syncQueueDir(dir), syncQueueDir(topic), syncDir(filepath.Dir(topic)))
	}
	return errors.Join(errs...)
}
