package store

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// expectBytes bounds how much is fetched for the next record: what the first level of the cache has room for beside other things.
const expectBytes = 2048

// blankHeadBytes is what a filler record takes at least; an append leaves room for one. On disk, do not change.
const blankHeadBytes = 8

// commitLog is the log of all messages: a row of segments, and the place behind the last record where the next one
// goes. Apache: CommitLog.
//
//	 segment 0            segment 1 (cur)                                 segment 2 (next)
//	+-------------+-----++--------------+---------+-------+-----------+ +---------+-------+-----------+
//	| records     |blank|| records      | present | ready | no blocks | | present | ready | no blocks |
//	+-------------+-----++--------------+---------+-------+-----------+ +---------+-------+-----------+
//	                              written         feeder moves present and ready on, ahead of written
//
// One goroutine at a time appends, under mu. It never waits for a disk: it writes only below cur.ready, which the feeder
// keeps ahead of it (feeder.go), and finds the pages there up to cur.present. Readers look below written.
type commitLog struct {
	segments
	opts *Options

	// The append lock and written have lines of the processor's caches of their own: others read written all the time, and what lies
	// around the two.
	_    [64]byte
	mu   sync.Mutex // the append lock, guards cur, pos and deny
	cur  *segment
	pos  int64 // in cur
	deny error // why nothing is appended any more: ErrReadOnly, ErrClosed

	_       [64]byte
	written atomic.Int64 // physical offset after the last record
	lastMs  atomic.Int64 // store time of the last record; stored under mu, before written
	_       [64]byte

	flushed atomic.Int64
	feeder  feeder
}

// startAppends makes the log ready to be appended to at physOffset, the end of its records.
func (l *commitLog) startAppends(physOffset int64) error {
	list := l.all()
	if n := len(list); n > 0 && physOffset < list[n-1].end() {
		l.cur = list[n-1]
	} else {
		seg, err := l.create(physOffset, 0)
		if err != nil {
			return err
		}
		l.add(seg)
		l.cur = seg
	}
	l.pos = physOffset - l.cur.base
	if err := l.cur.zeroFrom(l.pos); err != nil {
		return err
	}
	if err := l.cur.flush(0, l.pos); err != nil { // what was recovered counts as flushed from here on
		return err
	}
	l.cur.startAt(l.pos)
	l.written.Store(physOffset)
	l.flushed.Store(physOffset)
	l.feeder.init(l)
	if err := l.feeder.feed(); err != nil { // what is stored can be read; the feeder tries again
		l.opts.Logger.Error("commit log cannot grow", "err", err)
	}
	return nil
}

// reserve finds room for n bytes in one segment, closing the current one with a filler record when they do not fit. The
// caller holds mu and moves pos on when it has written them.
func (l *commitLog) reserve(n int64) (*segment, error) {
	if l.deny != nil {
		return nil, l.deny
	}
	if l.pos+n+blankHeadBytes > l.cur.size {
		next := l.feeder.next.Load()
		if next == nil || next.ready.Load() < n || l.cur.ready.Load() < l.pos+blankHeadBytes {
			return nil, l.feeder.notReady(n)
		}
		codec.AppendBlank(l.cur.data[l.pos:l.pos], int(l.cur.size-l.pos))
		l.add(next)
		l.cur, l.pos = next, 0
		l.feeder.next.Store(nil)
	}
	if l.cur.ready.Load() < l.pos+n {
		return nil, l.feeder.notReady(n)
	}
	return l.cur, nil
}

// advance publishes n bytes that were written at pos. The caller holds mu.
func (l *commitLog) advance(n, storeTimestampMs int64) {
	l.pos += n
	end := l.cur.base + l.pos
	if storeTimestampMs != l.lastMs.Load() { // an atomic store is dear
		l.lastMs.Store(storeTimestampMs)
	}
	l.written.Store(end)
	l.feeder.passed(end)
}

// mark returns the end of the log.
func (l *commitLog) mark() mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return mark{l.cur.base + l.pos, l.lastMs.Load()}
}

// stopAppends refuses further appends. The first reason stays unless the log is closed after it.
func (l *commitLog) stopAppends(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deny == nil || reason == ErrClosed {
		l.deny = reason
	}
}

// bytesAt returns n bytes from physOffset on, all below written and in one segment, with a reference on that segment;
// nil when there are none.
func (l *commitLog) bytesAt(physOffset, n int64) (*segment, []byte) {
	if n <= 0 || physOffset < 0 || physOffset > l.written.Load()-n {
		return nil, nil
	}
	seg := l.find(physOffset)
	if seg == nil {
		return nil, nil
	}
	pos := physOffset - seg.base
	if pos+n > seg.size {
		seg.release()
		return nil, nil
	}
	return seg, seg.data[pos : pos+n : pos+n]
}

// storeTimeAt returns the store time in ms of the record at physOffset, -1 when there is none. Apache:
// CommitLog.pickupStoreTimestamp.
func (l *commitLog) storeTimeAt(physOffset, size int64) int64 {
	seg, b := l.bytesAt(physOffset, size)
	if seg == nil {
		return -1
	}
	defer seg.release()
	if len(b) < codec.PosBornHost {
		return -1
	}
	at := codec.PosStoreTimestamp(int32(binary.BigEndian.Uint32(b[codec.PosSysFlag:])))
	if len(b) < at+8 {
		return -1
	}
	return int64(binary.BigEndian.Uint64(b[at:]))
}

// recordAt returns the record at physOffset with a reference on its segment. ErrNotFound when no record begins there.
func (l *commitLog) recordAt(physOffset int64) (*segment, []byte, error) {
	seg, head := l.bytesAt(physOffset, codec.PosSysFlag)
	if seg == nil {
		return nil, nil, fmt.Errorf("read message at %d: %w", physOffset, ErrNotFound)
	}
	defer seg.release()
	size := int64(int32(binary.BigEndian.Uint32(head)))
	magic := binary.BigEndian.Uint32(head[codec.PosMagic:])
	at := int64(binary.BigEndian.Uint64(head[codec.PosPhysOffset:]))
	if magic != codec.MagicV1 && magic != codec.MagicV2 || at != physOffset {
		return nil, nil, fmt.Errorf("read message at %d: %w", physOffset, ErrNotFound)
	}
	held, b := l.bytesAt(physOffset, size)
	if held == nil {
		return nil, nil, fmt.Errorf("%w: commit log %s at %d: record of %d bytes", ErrCorrupt, seg.path, physOffset-seg.base, size)
	}
	return held, b, nil
}
