package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// dispatchBatch is how many records become visible before those who wait for them are told.
	dispatchBatch = 256
	// dispatchRetry is how long the dispatcher waits after a queue file could not grow.
	dispatchRetry = 100 * time.Millisecond
	// aheadOfQueue and aheadOfRun are how many items ahead the lines of a queue and of its run are fetched.
	aheadOfQueue = 8
	aheadOfRun   = 4
	// homeItems is how much of the ring is used while the dispatcher keeps up, so that it stays in the processor's caches: whoever puts an item
	// in looks every homeSteps, from there on, whether the ring is empty, and begins again at its first place then.
	homeItems = 512
	homeSteps = 16
	// notedKeys is how many keys wait for their slots in the index.
	notedKeys = 16
)

// dispatchItem is what an append knows of its record, so that the dispatcher need not parse it again.
type dispatchItem struct {
	q           *queue
	topic       string // the queue's, which the dispatcher need not look up in the queue
	from        int64  // physical offset up to which the log was written before; a filler may lie between
	physOffset  int64
	queueOffset int64
	tagsCode    int64
	storeMs     int64
	size        int32
	propsLen    int32
	sysFlag     int32
	count       int32 // messages
	lmqs        bool  // it may go to light message queues too
}

// dispatcher makes records visible: it writes queue and index entries behind the appends, moves the dispatched
// watermark, and tells Options.OnArrival. Appends hand it items through a ring, under the append lock. When the ring is
// full they leave it out, and the dispatcher finds the record in the log: an item whose from is not where the dispatcher
// stands, or the end of the log behind an empty ring, says that something lies between. Apache: ReputMessageService.
type dispatcher struct {
	s       *Store
	log     *commitLog
	queues  *queues
	index   *indexer
	deleted *deletions
	opts    *Options

	stuck  atomic.Pointer[error] // why dispatching makes no progress
	asleep atomic.Bool
	wake   chan struct{} // holds one token
	ring   []dispatchItem

	// What appends write and what the dispatcher writes lie in lines of the processor's caches of their own.
	_        [64]byte
	head     atomic.Uint64 // items put in; moved under the append lock
	home     atomic.Uint64 // the item that lies in the first place of the ring; moved under the append lock, while the ring is empty
	seenTail uint64        // tail as the last look at it was; guarded by the append lock
	_        [64]byte
	tail     atomic.Uint64 // items taken out
	done     atomic.Int64  // the dispatched watermark
	lastAt   atomic.Int64  // where the last record before it begins; stored before done is
	doneMs   atomic.Int64  // store time of the last record before it

	// What follows belongs to run.
	arrivals []Arrival // of the batch
	arrived  []*queue  // theirs; a queue knows its place
	lastMs   int64
	reached  int64    // up to here records were delivered: done, but for those whose keys the index has no room for
	last     int64    // where the last record before it begins
	seg      *segment // of the last record whose properties were read
	bits     []byte   // of the record's bit map
}

func newDispatcher(s *Store) *dispatcher {
	n := 1
	for n < s.opts.DispatchRing {
		n *= 2
	}
	return &dispatcher{
		s:       s,
		log:     s.log,
		queues:  s.queues,
		index:   s.index,
		deleted: s.deleted,
		opts:    &s.opts,
		ring:    make([]dispatchItem, n),
		wake:    make(chan struct{}, 1),
	}
}

// room returns where the item of one record goes, nil when the ring is full; under the append lock, before the record is published.
// What is there is of an old record. pushed follows.
func (d *dispatcher) room() *dispatchItem {
	head := d.head.Load()
	if at := head - d.home.Load(); at >= homeItems && at%homeSteps == 0 && d.tail.Load() == head {
		d.home.Store(head)
	}
	if head-d.seenTail >= uint64(len(d.ring)) {
		if d.seenTail = d.tail.Load(); head-d.seenTail >= uint64(len(d.ring)) {
			return nil
		}
	}
	return d.place(head, d.home.Load())
}

// place is where the n-th item lies. home has to be read after the head that is beyond it.
func (d *dispatcher) place(n, home uint64) *dispatchItem {
	return &d.ring[(n-home)&uint64(len(d.ring)-1)]
}

// pushed lets the dispatcher have the item that room gave a place.
func (d *dispatcher) pushed() { d.head.Store(d.head.Load() + 1) }

// expect asks for the lines of the next item, which are in the cache of whoever read an old one there.
func (d *dispatcher) expect() {
	it := d.place(d.head.Load(), d.home.Load())
	prefetchWrite(unsafe.Pointer(it), unsafe.Sizeof(*it))
}

// published is called after each append became visible in written.
func (d *dispatcher) published() {
	if d.asleep.Load() && d.asleep.CompareAndSwap(true, false) {
		d.wake <- struct{}{} // whoever turns asleep off owns the one token
	}
}

// run dispatches until stop is closed and then what is left.
func (d *dispatcher) run(stop <-chan struct{}) {
	var retry <-chan time.Time
	for {
		if retry == nil {
			stuck := d.stuck.Load() != nil
			if err := d.drain(); err != nil {
				if !stuck {
					d.opts.Logger.Error("messages cannot be made visible, tried again until they can", "phys", d.done.Load(), "err", err)
				}
				retry = time.After(dispatchRetry)
			}
		}
		if retry == nil {
			d.asleep.Store(true)
			if d.log.written.Load() != d.done.Load() && d.asleep.CompareAndSwap(true, false) {
				continue
			}
		}
		select {
		case <-d.wake:
		case <-retry:
			retry = nil
		case <-stop:
			// The log has stopped growing.
			if err := d.drain(); err != nil {
				d.opts.Logger.Error("messages are not visible yet, the next start makes them so", "phys", d.done.Load(), "err", err)
			}
			return
		}
	}
}

// drain dispatches all that is written.
func (d *dispatcher) drain() error {
	for {
		written := d.log.written.Load()
		if d.done.Load() >= written {
			return nil
		}
		err := d.batch(written)
		d.announce()
		if err != nil {
			stuck := fmt.Errorf("%w: %w", ErrStuck, err) // not err, which would then be made on the heap in every round
			d.stuck.Store(&stuck)
			return stuck
		}
		if d.stuck.Load() != nil {
			d.stuck.Store(nil)
			d.opts.Logger.Info("messages become visible again", "phys", d.done.Load())
		}
	}
}

// batch dispatches some records that end at or before written.
func (d *dispatcher) batch(written int64) (err error) {
	d.index.mu.Lock()
	defer d.index.mu.Unlock()
	at, tail, head := d.reached, d.tail.Load(), d.head.Load()
	home := d.home.Load()
	for range dispatchBatch {
		if tail == head {
			// What was written then was in the ring before head was read, or is not coming.
			at, err = d.parse(at, written)
			break
		}
		d.lookAhead(tail, head, home)
		it := d.place(tail, home)
		end := it.physOffset + int64(it.size)
		if end > written {
			at, err = d.parse(at, min(it.from, written))
			break
		}
		if it.from > at {
			if at, err = d.parse(at, it.from); err != nil {
				break
			}
		}
		if end > at {
			if err = d.deliver(it, nil); err != nil {
				break
			}
			at, d.last = end, it.physOffset
		}
		tail++
	}
	if failed := d.index.putNoted(0); err == nil {
		err = failed
	}
	d.reached = at
	last := d.last
	if at = d.index.indexed(at); at < d.reached {
		last = -1
	}
	d.lastAt.Store(last)
	d.done.Store(at)
	d.doneMs.Store(d.lastMs)
	d.tail.Store(tail)
	return err
}

// lookAhead has the processor fetch what the items behind the next ones need: among many queues each of them would wait for its own.
func (d *dispatcher) lookAhead(tail, head, home uint64) {
	if tail+aheadOfQueue < head {
		q := d.place(tail+aheadOfQueue, home).q
		prefetchWrite(unsafe.Pointer(&q.mu), unsafe.Sizeof(*q)-unsafe.Offsetof(q.mu))
	}
	if tail+aheadOfRun < head {
		it := d.place(tail+aheadOfRun, home)
		prefetchEnd(&it.q.tail)
		if seg, end := d.seg, it.physOffset+int64(it.size); seg != nil && it.physOffset >= seg.base && end <= seg.end() {
			prefetch(unsafe.Pointer(&seg.data[end-1-seg.base-int64(it.propsLen)]), uintptr(it.propsLen))
		}
	}
}

// parse dispatches the records in [from, to) by reading them, and returns how far it came.
func (d *dispatcher) parse(from, to int64) (at int64, err error) {
	var m codec.Message
	for from < to {
		seg := d.log.find(from)
		if seg == nil {
			return from, fmt.Errorf("%w: commit log has no segment for %d", ErrCorrupt, from)
		}
		n, err := readRecord(seg, from-seg.base, min(to-seg.base, seg.size), false, &m)
		switch {
		case errors.Is(err, codec.ErrBlank):
			err = nil
		case err != nil:
			err = fmt.Errorf("%w: commit log %s at %d: %w", ErrCorrupt, seg.path, from-seg.base, err)
		case !d.deleted.covers(m.Topic, m.PhysOffset):
			q := d.queues.findBytes(m.Topic, m.QueueID)
			if q == nil {
				q = d.queues.findOrCreate(string(m.Topic), m.QueueID)
			}
			it := itemOf(&m, q, d.opts.Logger)
			it.lmqs = d.opts.MultiDispatch
			err = d.deliver(&it, m.Properties)
		case d.opts.MultiDispatch:
			err = d.deliverOrphan(&m)
		}
		seg.release()
		if err != nil {
			return from, err
		}
		if m.PhysOffset == from { // no filler
			d.last = from
		}
		from += n
	}
	return from, nil
}

// at returns the dispatched watermark and where the last record before it begins, -1 when that is not known.
func (d *dispatcher) at() (physOffset, lastAt int64) {
	for {
		physOffset = d.done.Load()
		if lastAt = d.lastAt.Load(); lastAt < physOffset { // else of a batch that is about to be done
			return physOffset, lastAt
		}
	}
}

func itemOf(m *codec.Message, q *queue, logger *slog.Logger) dispatchItem {
	it := dispatchItem{
		q:           q,
		topic:       q.topic,
		physOffset:  m.PhysOffset,
		queueOffset: m.QueueOffset,
		storeMs:     m.StoreTimestampMs,
		size:        m.TotalSizeBytes,
		propsLen:    int32(len(m.Properties)),
		sysFlag:     m.SysFlag,
		count:       countIn(q, m, logger),
	}
	it.tagsCode = tagsCode(nil, false, m.Properties, m.StoreTimestampMs)
	return it
}

// deliver writes the entries of one record. props may be nil, then they are looked up if they are needed.
func (d *dispatcher) deliver(it *dispatchItem, props []byte) (err error) {
	if err := d.index.putNoted(notedKeys); err != nil {
		return err
	}
	q := it.q
	if (d.index.live || q.schedule) && props == nil && it.propsLen > 0 {
		props = d.propsOf(it)
	}
	if queued(it.sysFlag) && it.count > 0 {
		tags := it.tagsCode
		if q.schedule {
			if due, ok := d.opts.DelayLevels.TagsCode(props, it.storeMs); ok {
				tags = due
			}
		}
		e := entry{physOffset: it.physOffset, size: it.size, count: it.count, tagsCode: tags, queueOffset: it.queueOffset, storeMs: it.storeMs}
		if q.extended {
			err = q.putExtended(e, d.bitMapOf(it, props))
		} else {
			err = q.put(e)
		}
		if err != nil {
			return err
		}
		if q.compacted {
			if err := q.compaction.follow(e); err != nil {
				return err
			}
		}
		d.touch(it, tags)
		if it.lmqs {
			if props == nil && it.propsLen > 0 {
				props = d.propsOf(it)
			}
			if err := d.deliverLMQs(lmqsOf(it.topic, props), it, tags); err != nil {
				return err
			}
		}
	}
	d.lastMs = max(d.lastMs, it.storeMs)
	if d.index.live {
		d.index.note(it.topic, props, it.sysFlag, it.physOffset, it.storeMs)
	}
	return nil
}

// bitMapOf returns the bit map for the unit of a record, nil for none. It lasts until the next one. props may be nil.
func (d *dispatcher) bitMapOf(it *dispatchItem, props []byte) []byte {
	filters := d.s.filters
	if !d.opts.BitMaps || !filters.wantsBits(it.q.topic) {
		return nil
	}
	if props == nil && it.propsLen > 0 {
		props = d.propsOf(it)
	}
	bits := filters.bitMap(d.bits[:0], it.q.topic, props, it.storeMs)
	if bits != nil {
		d.bits = bits
	}
	return bits
}

// propsOf returns the properties of a record. It holds no reference: a segment is deleted only when it is dispatched, and
// unmapped only when the dispatcher has ended.
func (d *dispatcher) propsOf(it *dispatchItem) []byte {
	end := it.physOffset + int64(it.size)
	if d.seg == nil || it.physOffset < d.seg.base || end > d.seg.end() {
		if d.seg = d.log.find(it.physOffset); d.seg == nil {
			return nil
		}
		d.seg.release()
	}
	return d.seg.data[end-int64(it.propsLen)-d.seg.base : end-d.seg.base]
}

// touch notes the new entry for the batch's announcement.
func (d *dispatcher) touch(it *dispatchItem, tags int64) {
	if d.opts.OnArrival == nil {
		return
	}
	q := it.q
	if at := int(q.arrived); at >= len(d.arrived) || d.arrived[at] != q {
		q.arrived = int32(len(d.arrived))
		d.arrived = append(d.arrived, q)
		d.arrivals = append(d.arrivals, Arrival{Topic: it.topic, QueueID: q.arrivedID, FirstQueueOffset: it.queueOffset, TagsCode: tags, SameTags: true})
	}
	a := &d.arrivals[q.arrived]
	a.SameTags = a.SameTags && a.TagsCode == tags
	a.QueueOffset, a.PhysOffset, a.StoreTimestampMs = it.queueOffset+int64(it.count)-1, it.physOffset, it.storeMs
}

// announce calls OnArrival for the queues of the batch.
func (d *dispatcher) announce() {
	if len(d.arrivals) == 0 {
		return
	}
	d.opts.OnArrival(d.arrivals)
	clear(d.arrivals)
	clear(d.arrived)
	d.arrivals, d.arrived = d.arrivals[:0], d.arrived[:0]
	if cap(d.arrivals) > 4*dispatchBatch { // of records that were parsed
		d.arrivals, d.arrived = nil, nil
	}
}
