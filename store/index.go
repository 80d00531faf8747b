package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// maxQueryResults is Java's maxMsgsNumBatch.
	maxQueryResults = 64
	// indexNameLen is the length of yyyyMMddHHmmssSSS.
	indexNameLen = 17
	// indexRetryTime is how long the disk is not asked again after it refused a file or blocks.
	indexRetryTime = time.Second
	// keySeparator stands between the keys of a message.
	keySeparator = ' '
)

// TagKeyPrefix makes a key of a message's tags, as Java 5.4.0 indexes them. On disk, do not change. Apache:
// MessageConst.INDEX_TAG_TYPE.
const TagKeyPrefix = "T#"

// IndexOptions are the settings of the key index.
type IndexOptions struct {
	TableOptions
	// Dir holds the index files.
	Dir string
	// Slots and Entries size a new file, maxHashSlotNum and maxIndexNum. The default values are 5,000,000 and 20,000,000.
	Slots, Entries int
	// Kept says that the process was killed and the files have all that it wrote: none of them is lost then.
	Kept bool
}

// Index finds messages by key: files of Java's IndexFile format, oldest first. Put has one caller at a time, everything
// else may be called from any goroutine. Apache: IndexService.
type Index struct {
	opts IndexOptions

	mu     sync.Mutex   // guards files
	files  []*indexFile // replaced and never changed; each holds a reference for being in the list
	closed bool

	flushing sync.Mutex // one Flush at a time

	// What follows belongs to the caller of Put.
	last       *indexFile
	resumePhys int64 // the newest message at the start: some of its keys may be in the index
	refused    error // why the disk gave no file or no blocks, until retryAt
	retryAt    time.Time
	tagKey     []byte // scratch
	// noted are keys whose slots are on their way from memory, oldest first: each lies anywhere in 20 MB.
	noted []notedKey
}

// notedKey is a key that is not in a file yet.
type notedKey struct {
	hash                 int32
	physOffset, storedMs int64
}

// IndexResult is what Query found. Apache: QueryOffsetResult.
type IndexResult struct {
	// PhysOffsets are in ascending order, each once.
	PhysOffsets []int64
	// EndTimestampMs and EndPhysOffset are those of the newest entry in the index.
	EndTimestampMs, EndPhysOffset int64
}

// OpenIndex opens the files in opts.Dir. After an abnormal exit those with entries newer than checkpointMs, the
// checkpoint's index time, and those that are not full are not trusted and removed, unless opts.Kept. A file that cannot be an index is left alone and named in a
// warning.
func OpenIndex(opts IndexOptions, abnormal bool, checkpointMs int64) (*Index, error) {
	opts.fill()
	if opts.Slots <= 0 {
		opts.Slots = 5_000_000
	}
	if opts.Entries <= 0 {
		opts.Entries = 20_000_000
	}
	x := &Index{opts: opts, resumePhys: -1}
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make index directory: %w", err)
	}
	entries, err := os.ReadDir(opts.Dir) // sorted by name, which is by time
	if err != nil {
		return nil, fmt.Errorf("list index: %w", err)
	}
	trust := indexTrust{abnormal: abnormal, kept: opts.Kept, checkpointMs: checkpointMs}
	for _, e := range entries {
		if err := x.load(e, &trust); err != nil {
			x.release()
			return nil, err
		}
	}
	if n := len(x.files); n > 0 {
		x.last = x.files[n-1]
		if h := x.last.header; h.next > 1 {
			x.resumePhys = h.endPhys
		}
	}
	return x, nil
}

// indexTrust tells which files were on disk when the process ended.
type indexTrust struct {
	abnormal     bool
	kept         bool
	checkpointMs int64
	lost         bool // a file was not: those after it go too, the index has no holes
}

// keeps must be asked in the order of the files. The checkpoint speaks of files that are full; the begin of one that is
// not may bear the same millisecond.
func (t *indexTrust) keeps(f *indexFile) bool {
	flushed := f.full() && f.header.endMs <= t.checkpointMs
	t.lost = t.lost || t.abnormal && !flushed && !(t.kept && f.settle())
	return !t.lost
}

// load opens one file of the directory. The error is one of the disk: damage is a warning.
func (x *Index) load(e os.DirEntry, trust *indexTrust) error {
	path := filepath.Join(x.opts.Dir, e.Name())
	if e.IsDir() || !isIndexName(e.Name()) {
		x.opts.Logger.Warn("not an index file, left alone", "path", path)
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return fmt.Errorf("open index file: %w", err)
	}
	if info.Size() == 0 {
		x.opts.Logger.Warn("empty index file removed", "path", path)
		return os.Remove(path)
	}
	f, err := openIndexFile(path, int64(x.opts.Slots), int64(x.opts.Entries), x.opts.Faults)
	switch {
	case errors.Is(err, ErrCorrupt):
		x.opts.Logger.Warn("index file left alone", "error", err)
		return nil
	case err != nil:
		return err
	case !trust.keeps(f):
		x.opts.Logger.Info("index file is newer than the checkpoint, removed to be built again", "path", path)
		return f.remove()
	}
	f.synced = f.full()
	x.files = append(x.files, f)
	return nil
}

func isIndexName(name string) bool {
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return false
		}
	}
	return len(name) == indexNameLen
}

// Close flushes and unmaps all files. Put must have come to its end and be called no more.
func (x *Index) Close() error {
	x.flushing.Lock()
	defer x.flushing.Unlock()
	var errs []error
	for _, f := range x.list() {
		errs = append(errs, f.flush())
	}
	x.release()
	return errors.Join(errs...)
}

func (x *Index) release() {
	x.mu.Lock()
	files := x.files
	x.files, x.closed = nil, true
	x.mu.Unlock()
	for _, f := range files {
		f.seg.release()
	}
}

func (x *Index) list() []*indexFile {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.files
}

// Put indexes one message under its unique key (if any), each blank-separated key, and its tags (if any). A message
// before EndPhysOffset is in the index already and ignored. It does not allocate except for a new file. After an error,
// ErrNoSpace among them, the message is not or only partly in the index. Apache: IndexService.buildIndex.
func (x *Index) Put(topic string, uniqKey, keys, tags []byte, physOffset, storeTimestampMs int64) error {
	x.note(topic, uniqKey, keys, tags, physOffset, storeTimestampMs)
	err := x.putNoted(0)
	x.noted = x.noted[:0]
	return err
}

// note takes the keys of a message, for putNoted.
func (x *Index) note(topic string, uniqKey, keys, tags []byte, physOffset, storeTimestampMs int64) {
	if x.last != nil && physOffset < x.last.header.endPhys {
		return
	}
	if len(uniqKey) > 0 {
		x.noteKey(topic, uniqKey, physOffset, storeTimestampMs)
	}
	for len(keys) > 0 {
		key := keys
		if i := bytes.IndexByte(keys, keySeparator); i >= 0 {
			key, keys = keys[:i], keys[i+1:]
		} else {
			keys = nil
		}
		if len(key) == 0 {
			continue
		}
		x.noteKey(topic, key, physOffset, storeTimestampMs)
	}
	if len(tags) > 0 {
		x.tagKey = append(append(x.tagKey[:0], TagKeyPrefix...), tags...)
		x.noteKey(topic, x.tagKey, physOffset, storeTimestampMs)
	}
}

func (x *Index) noteKey(topic string, key []byte, physOffset, storeTimestampMs int64) {
	hash := codec.IndexKeyHash(topic, key)
	x.noted = append(x.noted, notedKey{hash, physOffset, storeTimestampMs})
	if x.last != nil {
		x.last.expect(hash)
	}
}

// putNoted puts the keys that were noted, all but the newest few. After an error those that are not in the index are still noted.
func (x *Index) putNoted(but int) error {
	n := len(x.noted) - but
	for i := range n {
		if err := x.put(x.noted[i]); err != nil {
			x.noted = append(x.noted[:0], x.noted[i:]...)
			return err
		}
	}
	if n > 0 {
		x.noted = append(x.noted[:0], x.noted[n:]...)
		if len(x.noted) == 0 && cap(x.noted) > 1024 { // of a message with very many keys
			x.noted = nil
		}
	}
	return nil
}

func (x *Index) put(k notedKey) error {
	if k.physOffset == x.resumePhys && x.last.has(k.hash, k.physOffset) {
		return nil
	}
	if err := x.resting(); err != nil {
		return err
	}
	if x.last == nil || x.last.full() {
		if err := x.grow(); err != nil {
			return x.rest(err)
		}
	}
	if err := x.last.put(k.hash, k.physOffset, k.storedMs); err != nil {
		return x.rest(err)
	}
	return nil
}

// rest keeps the index from asking the disk again for every message after it refused.
func (x *Index) rest(err error) error {
	x.refused, x.retryAt = err, x.opts.Now().Add(indexRetryTime)
	return err
}

func (x *Index) resting() error {
	if x.refused == nil {
		return nil
	}
	if x.opts.Now().Before(x.retryAt) {
		return x.refused
	}
	x.refused = nil
	return nil
}

// grow adds a file.
func (x *Index) grow() error {
	var before indexHeader
	if x.last != nil {
		before = x.last.head()
	}
	path := x.nextPath(x.opts.Now())
	f, err := createIndexFile(path, int64(x.opts.Slots), int64(x.opts.Entries), before, x.opts.Faults)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files = append(slices.Clip(x.files), f)
	x.last = f
	return nil
}

// nextPath names a new file by the local time, later than the newest name even when the clock was set back.
func (x *Index) nextPath(now time.Time) string {
	name := indexName(now)
	if x.last != nil {
		newest := filepath.Base(x.last.seg.path)
		if name <= newest {
			if at, err := time.ParseInLocation("20060102150405.000", newest[:14]+"."+newest[14:], time.Local); err == nil {
				name = indexName(at.Add(time.Millisecond))
			}
		}
	}
	return filepath.Join(x.opts.Dir, name)
}

// indexName is the name of a file created at t, on disk, do not change. Apache: UtilAll.timeMillisToHumanString.
func indexName(t time.Time) string {
	t = t.Local()
	return fmt.Sprintf("%s%03d", t.Format("20060102150405"), t.Nanosecond()/int(time.Millisecond))
}

// Query returns at most min(max, 64) messages of a topic with a key and a store time, in whole seconds, between beginMs
// and endMs. For those with certain tags the key is TagKeyPrefix and the tags. Different keys may have the same hash: the caller compares. Apache: IndexService.queryOffset.
func (x *Index) Query(topic, key string, max int, beginMs, endMs int64) (IndexResult, error) {
	var r IndexResult
	limit := min(max, maxQueryResults)
	hash := codec.IndexKeyHash(topic, []byte(key))
	files, err := x.acquire()
	if err != nil {
		return r, err
	}
	defer releaseIndexFiles(files)
	for i := len(files) - 1; i >= 0; i-- {
		h := files[i].head()
		if i == len(files)-1 {
			r.EndTimestampMs, r.EndPhysOffset = h.endMs, h.endPhys
		}
		if h.overlaps(beginMs, endMs) {
			r.PhysOffsets = files[i].find(r.PhysOffsets, hash, limit, beginMs, endMs)
		}
		if h.beginMs < beginMs || len(r.PhysOffsets) >= limit {
			break
		}
	}
	slices.Sort(r.PhysOffsets)
	r.PhysOffsets = slices.Compact(r.PhysOffsets)
	return r, nil
}

// acquire takes a reference on each file; a file that is being deleted is left out.
func (x *Index) acquire() ([]*indexFile, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, ErrClosed
	}
	files := make([]*indexFile, 0, len(x.files))
	for _, f := range x.files {
		if f.seg.acquire() {
			files = append(files, f)
		}
	}
	return files, nil
}

func releaseIndexFiles(files []*indexFile) {
	for _, f := range files {
		f.seg.release()
	}
}

// EndPhysOffset returns the physical offset of the newest message in the index, 0 for an empty one. Recovery dispatches
// from there on at the latest.
func (x *Index) EndPhysOffset() int64 {
	files := x.list()
	if len(files) == 0 {
		return 0
	}
	return files[len(files)-1].head().endPhys
}

// newest is EndPhysOffset, but -1 for an index without entries: the first message of a log lies at 0.
func (x *Index) newest() int64 {
	files := x.list()
	for i := len(files) - 1; i >= 0; i-- {
		if h := files[i].head(); h.next > 1 {
			return h.endPhys
		}
	}
	return -1
}

// EndTimestampMs returns the store time of the newest message in the index, 0 for an empty one.
func (x *Index) EndTimestampMs() int64 {
	files := x.list()
	if len(files) == 0 {
		return 0
	}
	return files[len(files)-1].head().endMs
}

// Flush writes files that became full since the last Flush to disk and returns the store time in ms of the newest
// message in full files, for the checkpoint; 0 when there is none. Apache: IndexService.flush.
func (x *Index) Flush() (checkpointMs int64, err error) {
	x.flushing.Lock()
	defer x.flushing.Unlock()
	files, err := x.acquire()
	if err != nil {
		return 0, err
	}
	defer releaseIndexFiles(files)
	for _, f := range files {
		h := f.head()
		if int64(h.next) < f.capacity {
			break
		}
		if !f.synced {
			if err := f.flush(); err != nil {
				return checkpointMs, fmt.Errorf("flush index: %w", err)
			}
			f.synced = true
		}
		checkpointMs = h.endMs
	}
	return checkpointMs, nil
}

// DropFrom removes files that hold a message at or after physOffset, where the log ends now: their entries would point to
// what is written there next, and keep it out of the index. What they held of older messages has to be put again, from
// EndPhysOffset on. It must not be called while Put runs.
func (x *Index) DropFrom(physOffset int64) error {
	x.mu.Lock()
	files := x.files
	n := len(files)
	for n > 0 && files[n-1].header.next > 1 && files[n-1].header.endPhys >= physOffset {
		n--
	}
	x.files = slices.Clone(files[:n])
	x.last, x.resumePhys = nil, -1
	if n > 0 {
		x.last = files[n-1]
		x.resumePhys = x.last.header.endPhys
	}
	x.mu.Unlock()
	var errs []error
	for _, f := range files[n:] {
		x.opts.Logger.Warn("index file goes beyond the log, removed to be built again", "path", f.seg.path, "logEnd", physOffset)
		errs = append(errs, f.remove())
	}
	return errors.Join(errs...)
}

// DeleteBelow removes files whose messages all lie before physOffset, never the newest, and returns how many. Apache:
// IndexService.deleteExpiredFile.
func (x *Index) DeleteBelow(physOffset int64) (int, error) {
	x.mu.Lock()
	files := x.files
	n := 0
	for n < len(files)-1 && files[n].head().endPhys < physOffset {
		n++
	}
	x.files = slices.Clone(files[n:])
	x.mu.Unlock()
	var errs []error
	for _, f := range files[:n] {
		errs = append(errs, f.remove())
	}
	return n, errors.Join(errs...)
}
