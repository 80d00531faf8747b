// Package store keeps messages: one commit log of everything, a consume queue for each topic and queue that points into
// it, an index of message keys, and the tables of topics, groups and offsets. All files have the format of Apache
// RocketMQ (see FORMAT.md), so that either server opens the directory of the other.
package store

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// Message is a message to put. Body and Properties are copied before Put returns. Apache: MessageExtBrokerInner.
type Message struct {
	Topic                     string
	QueueID                   int32
	Flag                      int32
	SysFlag                   int32
	ReconsumeTimes            int32
	BornTimestampMs           int64
	BornHost                  netip.AddrPort
	PreparedTransactionOffset int64
	Body                      []byte
	Properties                []byte
	// TagsCode goes into the queue entry: codec.TagsCode of the tags, or the due time of a delayed message. PutBatch takes
	// it from each entry's properties instead.
	TagsCode int64
	// NowMs is the clock as the caller has read it for several messages, in ms: reading it costs a good part of an append. 0 has the
	// store read it. Store times do not go back, whatever it is.
	NowMs int64
	// Expected, if set, is what Expect and Fetch have told of the queue.
	Expected Expected
}

// PutResult says where a message went. Apache: AppendMessageResult.
type PutResult struct {
	QueueOffset int64
	// PhysOffset is where the record begins, EndOffset the byte after it.
	PhysOffset, EndOffset int64
	StoreTimestampMs      int64
	// Count is 1, or the number of messages in an inner batch.
	Count int32

	record record // of the message that is put; here it need not be cleared for each
}

// BatchPutResult says where the messages of a batch went: consecutive queue offsets from QueueOffset on.
type BatchPutResult struct {
	QueueOffset           int64
	PhysOffset, EndOffset int64
	StoreTimestampMs      int64
	Count                 int
	// PhysOffsets has one entry for each message; the slice is reused by the next PutBatch with the same result.
	PhysOffsets []int64

	record   record
	contents []content
}

// GetStatus is the outcome of a Get. Apache: GetMessageStatus.
type GetStatus uint8

// The outcomes of a Get.
const (
	Found GetStatus = iota
	NoMatchedMessage
	MessageWasRemoving
	OffsetFoundNull
	OffsetOverflowBadly
	OffsetOverflowOne
	OffsetTooSmall
	NoMatchedLogicQueue
	NoMessageInQueue
)

var getStatusNames = [...]string{
	Found:               "FOUND",
	NoMatchedMessage:    "NO_MATCHED_MESSAGE",
	MessageWasRemoving:  "MESSAGE_WAS_REMOVING",
	OffsetFoundNull:     "OFFSET_FOUND_NULL",
	OffsetOverflowBadly: "OFFSET_OVERFLOW_BADLY",
	OffsetOverflowOne:   "OFFSET_OVERFLOW_ONE",
	OffsetTooSmall:      "OFFSET_TOO_SMALL",
	NoMatchedLogicQueue: "NO_MATCHED_LOGIC_QUEUE",
	NoMessageInQueue:    "NO_MESSAGE_IN_QUEUE",
}

// String returns Java's name of the status.
func (s GetStatus) String() string {
	if int(s) < len(getStatusNames) {
		return getStatusNames[s]
	}
	return "UNKNOWN"
}

// GetRequest asks for messages of one queue from QueueOffset on.
type GetRequest struct {
	Topic       string
	QueueID     int32
	QueueOffset int64
	// MaxMsgs is the most messages wanted; 0 counts as 1 as in Java.
	MaxMsgs int
	// MaxBytes is the most bytes wanted, 0 for no limit but the store's own. The first match is returned whole anyway.
	MaxBytes int
	// Filter passes messages by tag code; nil passes all.
	Filter *TagFilter
	// SQL passes messages by their properties, which are read from the log; nil passes all.
	SQL *SQLFilter
	// Bits, if set, is where SQL comes from: the bit maps of units are asked before the properties.
	Bits *FilterData
	// HotOnly makes Get return ErrCold instead of touching pages or files that may not be in memory, or evaluating SQL for long.
	HotOnly bool
}

// GetResult is what a Get found. It is reused: Get overwrites all of it. After a Get without error the caller owes one
// Release, which makes Parts invalid. Apache: GetMessageResult.
type GetResult struct {
	Status          GetStatus
	NextQueueOffset int64
	MinQueueOffset  int64
	MaxQueueOffset  int64
	// Parts are the records as stored, neighbouring ones in one piece; slices of mapped files.
	Parts [][]byte
	// Bytes and Count are the size and number of the records in Parts.
	Bytes, Count int
	// Cold says that the data is older than the hot window.
	Cold bool

	held []*segment
	end  int64 // physical offset after the last part
}

// Arrival tells that entries became visible in a queue, up to and with QueueOffset.
type Arrival struct {
	Topic   string
	QueueID int32
	// FirstQueueOffset and QueueOffset are the first and the last new entry.
	FirstQueueOffset, QueueOffset int64
	// TagsCode is the tag code of all new entries when SameTags is set; otherwise they differ.
	TagsCode int64
	SameTags bool
	// PhysOffset, StoreTimestampMs are those of the last new entry.
	PhysOffset       int64
	StoreTimestampMs int64
}

// Store is an open store directory. All methods may be called from any goroutine. Apache: DefaultMessageStore.
type Store struct {
	opts       Options
	host       storeHost
	log        *commitLog
	queues     *queues
	index      *indexer
	deleted    *deletions
	ends       *queueEnds
	compact    *compactions
	filters    *Filters // nil without
	dispatcher *dispatcher
	flusher    *flusher
	pacer      pacer
	lister     queueLister
	cleaner    *cleaner
	coldPages  coldPages
	lock       *dirLock
	scrubbed   ScrubCounts
	lmqPuts    sync.Pool // of *lmqPut

	warmFrom int64 // physical offset behind which pages were read or written since Open
	closed   atomic.Bool
	readOnly atomic.Bool
	stop     chan struct{}  // closed when appends have stopped
	loops    sync.WaitGroup // all but the dispatcher
	drained  sync.WaitGroup // the dispatcher
	closing  sync.Mutex     // one Close or DeleteTopic at a time
}

// storeHost is Options.StoreHost as records hold it.
type storeHost struct {
	addr netip.AddrPort
	flag int32
}

// Open opens or creates the store in opts.Dir and recovers it. The error is ErrInUse when another process has it open,
// ErrForeign for a directory of another kind, ErrCorrupt for a commit log that cannot be one.
func Open(opts Options) (*Store, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	writable, readOnly := logDirsOf(&opts)
	if err := refuseForeign(opts.Dir, append(writable, readOnly...)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make store directory: %w", err)
	}
	lock, err := takeLock(opts.Dir)
	if err != nil {
		return nil, err
	}
	s := newStore(opts)
	s.lock = lock
	if err := s.recover(); err != nil {
		errs := []error{fmt.Errorf("open store %s: %w", opts.Dir, err)}
		if s.index.index != nil {
			errs = append(errs, s.index.index.Close())
		}
		errs = append(errs, s.log.feeder.close())
		s.unmap()
		return nil, errors.Join(append(errs, lock.release())...)
	}
	s.start()
	return s, nil
}

func newStore(opts Options) *Store {
	s := &Store{opts: opts, stop: make(chan struct{})}
	s.host.addr = netip.AddrPortFrom(opts.StoreHost.Addr().Unmap(), opts.StoreHost.Port())
	if s.host.addr.Addr().Is6() {
		s.host.flag = codec.SysStoreHostV6
	}
	s.lmqPuts.New = func() any { return new(lmqPut) }
	s.log = &commitLog{opts: &s.opts}
	s.log.dirs.writable, s.log.dirs.readOnly = logDirsOf(&s.opts)
	s.log.faults = opts.Faults
	s.log.list.Store(new([]*segment))
	s.queues = newQueues(&s.opts, s.log)
	s.compact = newCompactions(&s.opts, s.log, s.queues)
	s.queues.compactions = s.compact
	s.index = newIndexer(s.log)
	s.deleted = &deletions{}
	s.ends = &queueEnds{}
	s.dispatcher = newDispatcher(s)
	s.flusher = &flusher{s: s, wake: make(chan struct{}, 1), wakeAll: make(chan struct{}, 1)}
	s.cleaner = newCleaner(s)
	s.flusher.waiters.timeout = opts.SyncFlushTimeout
	s.pacer.s, s.pacer.wake = s, make(chan struct{}, 1)
	s.log.feeder.fed, s.log.feeder.smallFlushes = s.pacer.tell, s.flusher.small
	return s
}

// recover brings log, queues and index to agree, in Java's order.
func (s *Store) recover() error {
	stamp, err := abortStamp(s.opts.Dir)
	if err != nil {
		return err
	}
	clean := stamp == 0
	if s.opts.OpenFilters != nil {
		if s.filters, err = s.opts.OpenFilters(); err != nil {
			return err
		}
	}
	if err := s.log.load(s.opts.SegmentBytes, s.opts.Logger); err != nil {
		return err
	}
	check, err := readCheckpoint(s.opts.Dir, s.opts.Faults)
	if err != nil {
		return err
	}
	s.flusher.check, s.flusher.saved = check, check
	if err := s.deleted.load(s.opts.Dir, s.log.minPhys(), s.opts.Faults, s.opts.Logger); err != nil {
		return err
	}
	if err := s.ends.load(s.opts.Dir, s.opts.Faults, s.opts.Logger); err != nil {
		return err
	}
	if err := s.openIndex(!clean, onlyKilled(s.opts.Dir, stamp), check.indexMs); err != nil {
		return err
	}
	if err := writeAbort(s.opts.Dir); err != nil { // from here on files change
		return err
	}
	if err := s.emptyTrash(); err != nil {
		return err
	}
	list, err := readQueueList(s.opts.Dir)
	if err != nil {
		return err
	}
	r := recovery{s: s, clean: clean, check: check, list: list, stamp: stamp, lastAt: -1, redo: make(map[*queue]bool), doubts: make(map[*queue]doubt)}
	if err := r.run(); err != nil {
		return err
	}
	if err := s.compact.open(r.clean, check); err != nil {
		return err
	}
	if err := s.continueAt(&r); err != nil {
		return err
	}
	if err := s.lister.begin(s, &r, r.listed && len(r.redo) == 0); err != nil {
		return err
	}
	if s.filters != nil {
		s.filters.follow(s.log, clean)
	}
	if x := s.index.index; x != nil {
		if err := x.DropFrom(r.end); err != nil {
			return err
		}
		from := max(x.EndPhysOffset(), s.log.minPhys())
		if clean && list.IndexEnd == x.newest() && list.Indexed <= r.end {
			from = max(from, list.Indexed)
		}
		s.index.start(from, r.end)
	}
	return nil
}

// continueAt makes the store ready to grow from where recovery found the end.
func (s *Store) continueAt(r *recovery) error {
	if err := s.flusher.flushRange(max(r.from, s.log.minPhys()), r.end); err != nil {
		return err
	}
	if err := s.log.startAppends(r.end); err != nil {
		return err
	}
	s.log.lastMs.Store(r.lastMs)
	s.flusher.physicMs.Store(r.lastMs)
	s.flusher.before = s.log.mark()
	s.dispatcher.last = r.lastAt
	s.dispatcher.lastAt.Store(r.lastAt)
	s.dispatcher.reached = r.end
	s.dispatcher.done.Store(r.end)
	s.dispatcher.doneMs.Store(r.lastMs)
	s.dispatcher.lastMs = r.lastMs
	s.warmFrom = r.from
	c := &s.flusher.check // what it vouched for may be lost
	c.physicMs, c.logicsMs = min(c.physicMs, r.lastMs), min(c.logicsMs, r.lastMs)
	s.flusher.queuesMs.Store(c.logicsMs)
	if r.clean && len(r.redo) == 0 {
		return nil
	}
	if len(r.redo) == 0 && s.flusher.check == s.flusher.saved && s.queues.countDirty() >= manyDirty { // a flush may take long
		s.flusher.pokeAll() // until they are flushed the next start would do the same again
		return nil
	}
	s.flusher.queues(true)
	return nil
}

func (s *Store) openIndex(abnormal, kept bool, checkpointMs int64) (err error) {
	if !s.opts.IndexEnabled {
		return nil
	}
	s.index.index, err = OpenIndex(IndexOptions{
		TableOptions: TableOptions{Now: s.opts.Now, Faults: s.opts.Faults, Logger: s.opts.Logger},
		Dir:          filepath.Join(s.opts.Dir, "index"),
		Slots:        s.opts.IndexSlots,
		Entries:      s.opts.IndexEntries,
		Kept:         kept,
	}, abnormal, checkpointMs)
	return err
}

// start runs the store's goroutines; Close ends them.
func (s *Store) start() {
	s.cleaner.measure(s.cleaner.rules.Load())
	s.openRings()
	s.loops.Go(func() { s.log.feeder.run(s.stop) })
	s.loops.Go(func() { s.pacer.run(s.stop) })
	s.loops.Go(func() { s.flusher.run(s.stop) })
	s.loops.Go(func() { s.flusher.runQueues(s.stop) })
	if s.index.index != nil && !s.index.live {
		s.loops.Go(func() { s.index.catchUp(s.dispatcher.done.Load, s.stop) })
	}
	if s.opts.CompactionTopic != nil {
		s.loops.Go(func() { s.compact.catchUp(s.stop) })
		s.loops.Go(func() { s.compact.runCompaction(s.stop) })
	}
	s.drained.Go(func() { s.dispatcher.run(s.stop) })
}

// Close stops the store's goroutines, flushes everything and marks the stop as a clean one, unless a flush failed or
// messages could not be made visible: then the next Open recovers. Parts of results that are not released stay valid.
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Load() {
		return nil
	}
	s.log.stopAppends(ErrClosed)
	close(s.stop)
	s.loops.Wait()
	s.drained.Wait()
	s.closed.Store(true)
	s.flusher.log()
	s.flusher.waiters.fail(ErrClosed)
	s.flusher.queues(true)
	s.flusher.ring.close()
	s.pacer.ring.close()
	s.log.feeder.ring.close()
	s.coldPages.close()

	var errs []error
	clean := !s.readOnly.Load() && s.Dispatched() == s.Written()
	if clean {
		errs = append(errs, s.saveQueueList())
	}
	if s.index.index != nil {
		if err := s.index.index.Close(); err != nil {
			errs, clean = append(errs, err), false
		}
	}
	errs = append(errs, s.log.feeder.close())
	s.unmap()
	if clean {
		errs = append(errs, removeAbort(s.opts.Dir))
	} else {
		s.opts.Logger.Warn("store was not closed cleanly, the next start recovers it", "dir", s.opts.Dir)
	}
	return errors.Join(append(errs, s.lock.release())...)
}

// unmap drops the store's references to all files.
func (s *Store) unmap() {
	s.compact.close()
	s.queues.close()
	s.log.close()
}

// turnReadOnly refuses puts from here on: a flush failed, and the kernel may have dropped what was to be written.
func (s *Store) turnReadOnly(cause error) {
	if s.readOnly.Swap(true) {
		return
	}
	s.opts.Logger.Error("flush failed, the store is read-only until it is restarted", "dir", s.opts.Dir, "err", cause)
	err := fmt.Errorf("%w: %w", ErrReadOnly, cause)
	s.log.stopAppends(err)
	s.flusher.waiters.fail(err)
}

// ReadOnly reports whether a failed flush has made the store refuse puts.
func (s *Store) ReadOnly() bool { return s.readOnly.Load() }

// Written returns the physical offset up to which records are in the log.
func (s *Store) Written() int64 { return s.log.written.Load() }

// Flushed returns the physical offset up to which the log is on disk.
func (s *Store) Flushed() int64 { return s.log.flushed.Load() }

// Dispatched returns the physical offset up to which records are visible in their queues.
func (s *Store) Dispatched() int64 { return s.dispatcher.done.Load() }

// AfterFlush calls fn once: with nil when the log is flushed up to physOffset, with ErrFlushTimeout after
// Options.SyncFlushTimeout, with ErrReadOnly after a failed flush, with ErrClosed when the store closes before. In
// FlushSync it has the log flushed at once, together with what others wait for. fn is called from this goroutine or from
// one that has others to answer, and must not block. Apache: CommitLog.handleDiskFlush.
func (s *Store) AfterFlush(physOffset int64, fn func(err error)) {
	if s.flusher.waiters.add(physOffset, s.log.flushed.Load, fn) && s.opts.FlushMode == FlushSync {
		s.flusher.poke()
	}
}

// QueryIndex returns where the messages of a topic with a key lie: at most min(max, 64), in ascending order, with store
// times between beginMs and endMs. Different keys may share a hash, so the caller compares. lastTimeMs and
// lastPhysOffset are those of the newest message in the index. While the index is fed again after a power cut it waits for
// Options.IndexWait and then returns ErrIndexBehind. Apache: IndexService.queryOffset.
func (s *Store) QueryIndex(topic, key string, max int, beginMs, endMs int64) (physOffsets []int64, lastTimeMs, lastPhysOffset int64, err error) {
	if s.closed.Load() {
		return nil, 0, 0, ErrClosed
	}
	if s.index.index == nil {
		return nil, 0, 0, nil
	}
	if err := s.index.await(endMs, s.opts.IndexWait, s.stop); err != nil {
		return nil, 0, 0, err
	}
	r, err := s.index.index.Query(topic, key, max, beginMs, endMs)
	return r.PhysOffsets, r.EndTimestampMs, r.EndPhysOffset, err
}
