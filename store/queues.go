package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// queueShards keeps a table short that has to grow. There are not more, so that the shards themselves stay in the processor's caches.
const queueShards = 16

// queues holds the consume queues by topic and queue id. Apache: ConsumeQueueStore.
type queues struct {
	opts   *Options
	faults faultFunc
	log    *commitLog
	logMin func() int64 // first physical offset in the log
	cache  fileCache

	simpleRoot string // of simple queues
	// compactions has the compaction logs of queues.
	compactions *compactions

	shards          [queueShards]queueShard
	lmqs            atomic.Int64 // light message queues in the table
	pieces          sync.Pool    // of *[]byte, see piece
	runs, smallRuns sync.Pool    // of *byte, see takeRun
	hotRuns         sync.Pool    // as well
	kept, keptHot   atomic.Int32 // runs that takeRun gave

	grown   atomic.Int64 // counts files that become dirty
	dirtyMu sync.Mutex
	dirty   []*queueFile // files with bytes to flush, each once; guarded by dirtyMu

	// What follows belongs to whoever flushes.
	wholeMs  int64         // when many files were flushed
	eachTook time.Duration // by a file of the last flushes
}

// queueShard is a part of all queues. Lookups, one for each message, take no lock.
type queueShard struct {
	mu    sync.Mutex // held to change or replace table
	table atomic.Pointer[queueTable]
}

// len is the number of queues.
func (sh *queueShard) len() int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.table.Load().len()
}

type queueKey struct {
	topic string
	id    int32
}

func newQueues(opts *Options, log *commitLog) *queues {
	qs := &queues{
		opts:   opts,
		faults: opts.Faults,
		log:    log,
		logMin: log.minPhys,

		simpleRoot: filepath.Join(opts.Dir, simpleKind{}.folder()),
	}
	qs.cache.limit = opts.MaxMappedQueues
	return qs
}

// rootOf is the directory of all queues of a kind.
func (qs *queues) rootOf(kind queueKind) string {
	if kind == queueKind(simpleKind{}) { // asked for each of 100,000 queues
		return qs.simpleRoot
	}
	return filepath.Join(qs.opts.Dir, kind.folder())
}

// shard returns where a queue lies, and its hash.
func (qs *queues) shard(topic string, id int32) (*queueShard, uint64) {
	hash := queueHash(NameOf(topic), id)
	return qs.shardOf(hash), hash
}

func (qs *queues) shardOf(hash uint64) *queueShard { return &qs.shards[hash%queueShards] }

// find returns the queue or nil.
func (qs *queues) find(topic string, id int32) *queue {
	sh, hash := qs.shard(topic, id)
	return sh.table.Load().find(hash, topic, id)
}

// fetch returns the queue that most probably has the hash, and has the processor fetch what an append looks at of it, and of the one after it
// in the topic, to which the same producer will probably send next. The caller compares the key.
func (qs *queues) fetch(hash uint64) *queue {
	q, next := qs.shardOf(hash).table.Load().likely(hash)
	if q != nil {
		prefetchWrite(unsafe.Pointer(q), 1)
	}
	if next != nil {
		prefetchWrite(unsafe.Pointer(next), 1)
	}
	return q
}

// Expected is what is known of a message's queue before it is put. The zero value is nothing.
type Expected struct {
	hash uint64
	q    *queue
}

// Expect has the processor fetch where the queue of a message is looked up, if there is one. Fetch follows, a little later.
func (s *Store) Expect(topic Name, queueID int32) Expected {
	hash := queueHash(topic, queueID)
	s.queues.shardOf(hash).table.Load().expect(hash)
	return Expected{hash: hash}
}

// Fetch has the processor fetch what a put will look at of the queue that Expect was told.
func (s *Store) Fetch(e *Expected) { e.q = s.queues.fetch(e.hash) }

// findBytes is find without a string.
func (qs *queues) findBytes(topic []byte, id int32) *queue {
	return qs.find(aliasText(topic), id) // which find does not keep
}

// findOrCreate returns the queue, a new one without files if there is none.
func (qs *queues) findOrCreate(topic string, id int32) *queue {
	if q := qs.find(topic, id); q != nil {
		return q
	}
	return qs.create(topic, id, qs.kindOf(topic))
}

// create makes a queue without files, unless there is one.
func (qs *queues) create(topic string, id int32, kind queueKind) *queue {
	sh, hash := qs.shard(topic, id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.table.Load()
	if q := t.find(hash, topic, id); q != nil {
		return q
	}
	q := qs.newQueue(queueKey{topic, id}, kind)
	t = t.roomFor(1)
	t.add(hash, q)
	sh.table.Store(t)
	return q
}

// newQueue makes a queue that is about to stand in the table.
func (qs *queues) newQueue(key queueKey, kind queueKind) *queue {
	if IsLMQ(key.topic) {
		qs.lmqs.Add(1)
	}
	q := &queue{all: qs, queueKey: key, kind: kind, arrivedID: key.id, schedule: key.topic == TopicSchedule}
	q.extended = qs.opts.ExtUnits && kind == queueKind(simpleKind{}) && !IsLMQ(key.topic)
	q.minFor.Store(-1)
	q.compaction = qs.compactions.forNewQueue(q)
	q.compacted = q.compaction != nil
	return q
}

// createAll makes many queues without files, those that there are not. A shard has to grow once for all of its own.
func (qs *queues) createAll(keys []queueKey) {
	parts := make(map[*queueShard][]queueKey)
	for _, key := range keys {
		sh, _ := qs.shard(key.topic, key.id)
		parts[sh] = append(parts[sh], key)
	}
	for sh, keys := range parts {
		sh.addAll(qs, keys)
	}
}

func (sh *queueShard) addAll(qs *queues, keys []queueKey) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.table.Load().roomFor(len(keys))
	for _, key := range keys {
		if _, hash := qs.shard(key.topic, key.id); t.find(hash, key.topic, key.id) == nil {
			t.add(hash, qs.newQueue(key, qs.kindOf(key.topic)))
		}
	}
	sh.table.Store(t)
}

// each calls fn for all queues, those of topic if it is not empty. It holds no lock.
func (qs *queues) each(topic string, fn func(*queue)) {
	for i := range qs.shards {
		for _, q := range qs.shards[i].table.Load().all() {
			if topic == "" || q.topic == topic {
				fn(q)
			}
		}
	}
}

// take removes the queues of topic from the table and returns them.
func (qs *queues) take(topic string) []*queue {
	var list []*queue
	remove := func(q *queue) {
		sh, hash := qs.shard(topic, q.id)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		sh.table.Store(sh.table.Load().without(hash, q))
		list = append(list, q)
	}
	if !IsLMQ(topic) {
		qs.each(topic, remove)
		return list
	}
	if q := qs.find(topic, lmqQueueID); q != nil { // there is one, which need not be looked for among all
		remove(q)
		qs.lmqs.Add(-1)
	}
	return list
}

// addDirty takes a file that has got its first byte to flush. Called with the queue locked.
func (qs *queues) addDirty(f *queueFile) {
	qs.grown.Add(1)
	qs.dirtyMu.Lock()
	defer qs.dirtyMu.Unlock()
	qs.dirty = append(qs.dirty, f)
}

const (
	// lazyFlushBytes is the dirty stretch below which a queue file is left for later, as Java's least pages.
	lazyFlushBytes = 2 * 4096
	// lazyFlushMs is for how long, by store time, and manyFlushMs for how long when there are manyDirty files.
	lazyFlushMs = 10_000
	manyFlushMs = 30_000
	// manyDirty files are flushed every manyFlushMs at most, and in one call with the whole file system where that is better. It writes the
	// pages ahead of the log, too, which an append has to make writable again then.
	manyDirty = 128
	// flushEachTook is how long files may be flushed one by one where there are many.
	flushEachTook = 2 * time.Second
)

// queueFlush is one flush of queue files.
type queueFlush struct {
	all    bool // leaves none for later
	nowMs  int64
	ageMs  int64 // of what has to be flushed
	doneMs int64 // a store time that no entry is older than that comes afterwards
}

// due reports whether what is of a time has to be flushed: it is old, or of a clock that was set back.
func (p *queueFlush) due(sinceMs int64) bool {
	age := p.nowMs - sinceMs
	return p.all || age < 0 || age >= p.ageMs
}

// flush writes queue files to disk: all, or those with much or old dirt. It returns the store time in ms of the oldest entry that is still
// not flushed, and notDirty when there is none. One goroutine at a time calls it.
func (qs *queues) flush(all bool, nowMs, doneMs int64, r *ring) (oldestMs int64, err error) {
	qs.dirtyMu.Lock()
	list := qs.dirty
	qs.dirty = nil
	qs.dirtyMu.Unlock()

	p := queueFlush{all: all, nowMs: nowMs, ageMs: lazyFlushMs, doneMs: doneMs}
	if len(list) >= manyDirty {
		p.ageMs = manyFlushMs
	}
	oldestMs = notDirty
	var later, due []*queueFile
	dueMs := notDirty
	for _, f := range list {
		f.q.mu.Lock()
		dirt, since := f.dirtyTo-f.dirtyFrom, f.dirtyMs
		f.q.mu.Unlock()
		switch {
		case dirt == 0:
		case dirt >= lazyFlushBytes || p.due(since):
			due = append(due, f)
			dueMs = min(dueMs, since)
		default:
			later = append(later, f)
			oldestMs = min(oldestMs, since)
		}
	}
	if len(due) >= manyDirty {
		if !p.due(qs.wholeMs) {
			later, due, oldestMs = append(later, due...), nil, min(oldestMs, dueMs)
		} else {
			qs.wholeMs = nowMs
		}
	}
	keptMs, err := qs.flushFiles(due, p, r)
	oldestMs = min(oldestMs, keptMs)
	if err != nil {
		later = append(later, due...)
	}
	qs.dirtyMu.Lock()
	qs.dirty = append(qs.dirty, later...)
	qs.dirtyMu.Unlock()
	return oldestMs, err
}

const notDirty = int64(1<<63 - 1)

// countDirty is the number of files with something to flush.
func (qs *queues) countDirty() int {
	qs.dirtyMu.Lock()
	defer qs.dirtyMu.Unlock()
	return len(qs.dirty)
}

// flushFiles flushes files, with the runs in memory that are due. It returns when the oldest run began that is not in its file.
func (qs *queues) flushFiles(due []*queueFile, p queueFlush, r *ring) (keptMs int64, err error) {
	keptMs = notDirty
	if len(due) == 0 {
		return keptMs, nil
	}
	taken := make([]flushRange, len(due))
	var errs []error
	for i, f := range due {
		var err error
		if taken[i], err = f.takeDirty(p); err != nil {
			errs = append(errs, err)
		}
		keptMs = min(keptMs, taken[i].keptMs)
	}
	if len(errs) > 0 {
		for i := range taken {
			taken[i].done()
		}
		return keptMs, errors.Join(errs...)
	}
	if qs.wholeIsBetter(taken, r) {
		for i := range taken {
			taken[i].done()
		}
		if ok, err := qs.flushFileSystem(); ok || err != nil {
			return keptMs, err
		}
	}
	return keptMs, errors.Join(qs.flushEach(due, taken, r)...)
}

// wholeIsBetter reports whether to flush the whole file system: there are many files, and they are new, whose directories have to be flushed,
// too, or would take too long one by one, or keep a processor.
func (qs *queues) wholeIsBetter(taken []flushRange, r *ring) bool {
	if len(taken) < manyDirty {
		return false
	}
	fresh := 0
	for i := range taken {
		if taken[i].fresh {
			fresh++
		}
	}
	return r == nil || fresh >= manyDirty || time.Duration(len(taken))*qs.eachTook > flushEachTook
}

// flushFileSystem flushes all that the file system of the queues holds; false when there is no such call.
func (qs *queues) flushFileSystem() (ok bool, err error) {
	roots := []string{filepath.Join(qs.opts.Dir, extFolder)}
	for _, kind := range kinds {
		roots = append(roots, qs.rootOf(kind))
	}
	for _, root := range roots {
		if err := qs.faults.check(OpFlush, root); err != nil {
			return false, err
		}
		ok, err = syncFileSystem(root)
		if errors.Is(err, os.ErrNotExist) {
			ok, err = true, nil
		}
		if err != nil {
			return false, wrapFileError(OpFlush, root, err)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func (qs *queues) flushEach(due []*queueFile, taken []flushRange, r *ring) (errs []error) {
	began := time.Now()
	for i, f := range due {
		if err := taken[i].flush(f.dir(), f.base, r); err != nil {
			errs = append(errs, err)
		}
		taken[i].done()
	}
	qs.eachTook += (time.Since(began)/time.Duration(len(due)) - qs.eachTook) / 4
	return errs
}

// flushRange is what takeDirty took from a file.
type flushRange struct {
	m        *segment // with a reference; nil when the file is not mapped
	from, to int64
	fresh    bool
	gone     bool
	faults   faultFunc
	keptMs   int64 // when the run began that goes on and is not in the file, or notDirty
}

// takeDirty marks the file clean, with all entries in it but those of a run that is not due: that of a busy queue is written with its
// block. A flush that fails, now or afterwards, makes the store read-only, so nothing marks it dirty again.
func (f *queueFile) takeDirty(p queueFlush) (r flushRange, err error) {
	q := f.q
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.late.f == f
	if kept && (q.late.found || p.due(q.late.ms)) {
		kept, err = q.flushLateLocked(p.doneMs)
	}
	r = flushRange{from: f.dirtyFrom, to: f.dirtyTo, fresh: f.fresh, gone: q.gone, faults: q.all.faults, keptMs: notDirty}
	if f.m != nil && f.m.acquire() {
		r.m = f.m
	}
	f.dirtyFrom, f.dirtyTo, f.fresh = 0, 0, false
	if kept { // entries that are added to it do not say that the file is dirty
		if q.tail.n > q.late.old {
			r.keptMs = q.late.ms
		}
		q.dirtyLocked(f, q.late.pos-f.base, q.lateEnd()-f.base, q.late.ms)
	}
	return r, err
}

func (r *flushRange) done() {
	if r.m != nil {
		r.m.release()
		r.m = nil
	}
}

func (r *flushRange) flush(dir string, base int64, by *ring) error {
	if r.gone || r.from == r.to {
		return nil
	}
	var err error
	if r.m != nil {
		err = r.m.flushBy(by, r.from, r.to)
	} else if err = syncFileBy(by, filepath.Join(dir, segmentName(base)), r.from, r.to, r.faults); errors.Is(err, os.ErrNotExist) { // the topic was deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	if r.fresh {
		topic := filepath.Dir(dir)
		root := filepath.Dir(topic)
		return errors.Join(syncQueueDir(dir), syncQueueDir(topic), syncDir(root), syncDir(filepath.Dir(root)))
	}
	return nil
}

// fileCache bounds the queue files that are mapped at one time. The hand goes round and takes those nobody looked at
// since it passed.
type fileCache struct {
	limit int

	mu    sync.Mutex // guards what follows; taken with a queue locked
	files []*queueFile
	hand  int
}

// add takes a file that was mapped; the caller has locked its queue. To make room it unmaps another one, unless all are
// locked or in use just now.
func (c *fileCache) add(f *queueFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.files) >= c.limit {
		for range 2 * len(c.files) {
			c.hand = (c.hand + 1) % len(c.files)
			if c.evictLocked(c.files[c.hand], f.q) {
				f.slot = c.hand
				c.files[c.hand] = f
				return
			}
		}
	}
	f.slot = len(c.files)
	c.files = append(c.files, f)
}

// evictLocked unmaps old. It only tries for the lock, since whoever holds it may be waiting for mu.
func (c *fileCache) evictLocked(old *queueFile, mine *queue) bool {
	if old.recent.Swap(false) || old.q == mine || !old.q.mu.TryLock() {
		return false
	}
	defer old.q.mu.Unlock()
	old.m.release()
	old.m = nil
	return true
}

// remove forgets f; the caller has locked its queue and unmaps it.
func (c *fileCache) remove(f *queueFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.files) - 1
	c.files[f.slot] = c.files[last]
	c.files[f.slot].slot = f.slot
	c.files[last] = nil
	c.files = c.files[:last]
}

// close unmaps all files.
func (qs *queues) close() {
	qs.each("", func(q *queue) {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, f := range q.files {
			q.dropLocked(f)
		}
		q.dropExtLocked()
		q.files, q.gone = nil, true
	})
}
