package store

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// readLag is how old a half is when it is read.
	readLag = time.Second
	// readSlice is how many halves one Tick reads at most.
	readSlice = 20_000
)

// rebuild finds out from the log what Tick knew before the last stop.
func (t *Txn) rebuild() error {
	t.floor = t.committedOffset(TopicTransHalf)
	t.opFloor = t.committedOffset(TopicTransOp)
	t.readTo = t.floor
	t.committed = txnStage{half: t.floor, op: t.opFloor}
	halves := t.store.MaxQueueOffset(TopicTransHalf, 0)
	if err := t.readOps(halves); err != nil {
		return err
	}
	t.rebuilt = halves
	first := t.floor
	for first < halves && t.decided[first] == opStored {
		first++
	}
	t.mark = queueMark{queueOffset: halves}
	if first == halves {
		return nil
	}
	physOffset, _, _, ok := t.store.QueueEntry(TopicTransHalf, 0, first)
	if !ok {
		physOffset = t.store.MinPhysOffset()
	}
	if from, ok := t.loadScan(); ok && from <= t.store.Written() {
		t.savedFrom = from
		err := t.findFinals(max(from, physOffset))
		if err == nil {
			return nil
		}
		t.opts.Logger.Warn("committed transactions are looked for in more of the log", "from", from, "error", err)
		return t.findFinals(physOffset)
	}
	// Without our own file the op messages tell: a decision is in the one after it, or the next.
	if n := len(t.ops); n > 1 {
		if p, _, _, ok := t.store.QueueEntry(TopicTransOp, 0, t.ops[n-2].queueOffset); ok {
			physOffset = max(physOffset, p)
		}
	}
	return t.findFinals(physOffset)
}

// committedOffset returns where GroupTrans goes on in queue 0 of a topic, within what the queue holds.
func (t *Txn) committedOffset(topic string) int64 {
	first, end := t.store.MinQueueOffset(topic, 0), t.store.MaxQueueOffset(topic, 0)
	queueOffset, ok := t.offsets.Query([]byte(GroupTrans), []byte(topic), 0)
	if !ok {
		return first
	}
	return max(first, min(queueOffset, end))
}

// readOps reads the op messages from opFloor on; offsets of halves that are not there yet are none.
func (t *Txn) readOps(halves int64) error {
	for end := t.store.MaxQueueOffset(TopicTransOp, 0); t.opFloor+int64(len(t.ops)) < end; {
		queueOffset := t.opFloor + int64(len(t.ops))
		op := opRecord{queueOffset, -1}
		m, err := t.message(TopicTransOp, queueOffset)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
			t.opts.Logger.Error("op message cannot be read, its transactions are asked about again", "offset", queueOffset, "error", err)
		case err != nil:
			return err
		default:
			if tags, _ := codec.Property(m.Properties, codec.PropTags); string(tags) != opTag {
				t.opts.Logger.Error("op message with a tag that is none", "offset", queueOffset, "tags", string(tags))
				break
			}
			op.maxHalf = t.takeOp(m.Body, halves)
		}
		t.ops = append(t.ops, op)
	}
	return nil
}

// takeOp remembers the halves that an op message names and returns the last of them.
func (t *Txn) takeOp(body []byte, halves int64) (maxHalf int64) {
	maxHalf = -1
	for text := range bytes.SplitSeq(body, []byte{','}) {
		queueOffset, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || queueOffset < 0 || queueOffset >= halves {
			continue
		}
		t.rememberLocked(queueOffset, opStored)
		maxHalf = max(maxHalf, queueOffset)
	}
	return maxHalf
}

// message returns what a queue offset of queue 0 of a topic points to.
func (t *Txn) message(topic string, queueOffset int64) (*codec.Message, error) {
	physOffset, _, _, ok := t.store.QueueEntry(topic, 0, queueOffset)
	if !ok {
		return nil, fmt.Errorf("%w: %s offset %d", ErrNotFound, topic, queueOffset)
	}
	record, err := t.store.MessageAt(physOffset)
	if err != nil {
		return nil, err
	}
	m := new(codec.Message)
	if _, err := codec.DecodeMessage(record, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}

// findFinals looks through the log for messages of committed transactions whose op messages may be missing.
func (t *Txn) findFinals(from int64) error {
	s := t.store
	from = max(from, s.MinPhysOffset())
	var m codec.Message
	for end := s.Written(); from < end; {
		seg := s.log.find(from)
		if seg == nil {
			return fmt.Errorf("%w: commit log has no segment for %d", ErrCorrupt, from)
		}
		n, err := readRecord(seg, from-seg.base, min(end-seg.base, seg.size), false, &m)
		if err == nil && isFinal(&m) {
			t.ended[t.keyOf(&m)] = struct{}{}
		}
		seg.release()
		if err != nil && !errors.Is(err, codec.ErrBlank) {
			return fmt.Errorf("commit log at %d: %w", from, err)
		}
		from += n
	}
	return nil
}

// readHalves reads the halves that are old enough and not decided.
func (t *Txn) readHalves(now time.Time, timeOut, interval time.Duration) {
	end := t.readable(now)
	for range readSlice {
		queueOffset, more := t.nextToRead(end)
		if !more {
			break
		}
		h, err := t.halfAt(queueOffset)
		if errors.Is(err, ErrClosed) {
			break
		}
		t.mu.Lock()
		switch {
		case t.decided[queueOffset] != 0:
			t.ahead--
			if err == nil && queueOffset < t.rebuilt {
				t.closeLocked(t.liveOf(h))
				t.ended[h.key] = struct{}{}
			}
		case err != nil && t.store.MinQueueOffset(TopicTransHalf, 0) > queueOffset:
			// Older than the log.
		case err != nil:
			t.opts.Logger.Error("half message cannot be read, passed over", "offset", queueOffset, "error", err)
		case t.doneLocked(h):
			t.decideLocked(queueOffset, h.key)
			t.ahead--
		default:
			t.addLocked(queueOffset, openHalf{physOffset: h.PhysOffset, key: h.key, dueMs: h.dueMs(timeOut, interval), topic: h.RealTopic}, h.isCopy())
		}
		t.readTo = queueOffset + 1
		t.mu.Unlock()
	}
	t.mu.Lock()
	unread := t.store.MaxQueueOffset(TopicTransHalf, 0) - t.readTo - t.ahead
	t.full.Store(int64(len(t.open))+unread >= int64(t.opts.MaxOpen))
	t.mu.Unlock()
}

// readable returns up to where halves are old enough to be read.
func (t *Txn) readable(now time.Time) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := t.mark.queueOffset
	if now.Sub(t.mark.at) >= readLag || now.Before(t.mark.at) {
		t.mark = queueMark{now, t.store.MaxQueueOffset(TopicTransHalf, 0)}
	}
	return end
}

// nextToRead passes over what is known and returns the next half to read; false when there is none or no room.
func (t *Txn) nextToRead(end int64) (queueOffset int64, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.readTo < end; t.readTo++ {
		_, own := t.own[t.readTo]
		delete(t.own, t.readTo)
		if !own && (t.decided[t.readTo] == 0 || t.readTo < t.rebuilt) {
			break
		}
		if t.decided[t.readTo] != 0 {
			t.ahead--
		}
	}
	if gone := t.store.MinQueueOffset(TopicTransHalf, 0); t.readTo < min(gone, end) {
		t.opts.Logger.Error("half messages were deleted before they were decided", "from", t.readTo, "to", gone)
		t.readTo = min(gone, end)
		t.ahead = 0
		for queueOffset := range t.decided {
			if queueOffset >= t.readTo {
				t.ahead++
			}
		}
	}
	return t.readTo, t.readTo < end && len(t.open) < t.opts.MaxOpen
}

// liveOf returns the open half of the transaction of h, -1 for none.
func (t *Txn) liveOf(h *Half) int64 {
	if queueOffset, ok := t.live[h.key]; ok {
		return queueOffset
	}
	return -1
}

func (t *Txn) halfAt(queueOffset int64) (*Half, error) {
	physOffset, _, _, ok := t.store.QueueEntry(TopicTransHalf, 0, queueOffset)
	if !ok {
		return nil, fmt.Errorf("%w: half message %d", ErrNotFound, queueOffset)
	}
	return t.Half(physOffset, true)
}

// doneLocked reports whether a half is part of a decided transaction: its final message is in the log, or an op message
// names the half that it is a copy of. Apache: TransactionalMessageServiceImpl.checkPrepareQueueOffset.
func (t *Txn) doneLocked(h *Half) bool {
	if _, ok := t.ended[h.key]; ok {
		return true
	}
	text, ok := codec.Property(h.Properties, codec.PropTranPreparedQueueOffset)
	if !ok {
		return false
	}
	first, err := strconv.ParseInt(string(text), 10, 64)
	return err == nil && t.decided[first] != 0
}
