package store

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/apogee-mq/apogee/codec"
)

// record is a message on its way into the log: checked and, but for what is only known under the append lock, encoded.
type record struct {
	head    [codec.MaxMessageHeadBytes]byte // all before the body
	headLen int
	timeAt  int // of the store timestamp
	sysFlag int32
	v2      bool
	topic   string
	count   int32 // messages: more than one in an inner batch
	lmqs    bool  // it goes to light message queues too
	crcLen  int   // propCRCBytes with a checksum in the properties, else 0
	content

	// late are properties behind those of content which are known only under the append lock, lateLen bytes of them.
	late    [maxInnerPropsBytes]byte
	lateLen int
}

// content is what the messages of one batch do not have in common.
type content struct {
	flag     int32
	bodyCRC  uint32
	size     int // of the whole record
	body     []byte
	props    []byte
	tagsCode int64
}

// encode fills what comes before the content.
func (r *record) encode(m *Message, host *storeHost) {
	sysFlag := m.SysFlag&^(codec.SysBornHostV6|codec.SysStoreHostV6) | host.flag
	if a := m.BornHost.Addr(); a.Is6() && !a.Is4In6() {
		sysFlag |= codec.SysBornHostV6
	}
	r.sysFlag, r.topic, r.count, r.lmqs, r.lateLen = sysFlag, m.Topic, 1, false, 0
	r.v2 = len(m.Topic) > codec.MaxTopicV1Bytes
	r.timeAt = codec.PosStoreTimestamp(sysFlag)
	r.headLen = codec.PutMessageHead(&r.head, &codec.MessageHead{
		QueueID:                   m.QueueID,
		SysFlag:                   sysFlag,
		BornTimestampMs:           m.BornTimestampMs,
		BornHost:                  &m.BornHost,
		StoreHost:                 &host.addr,
		ReconsumeTimes:            m.ReconsumeTimes,
		PreparedTransactionOffset: m.PreparedTransactionOffset,
	})
	binary.BigEndian.PutUint32(r.head[codec.PosMagic:], codec.MagicFor(len(m.Topic)))
	// The size is written last, see finish: a record without it is none.
	binary.BigEndian.PutUint32(r.head[codec.PosTotalSize:], 0)
}

// fill does the work for the content of one message that needs no lock: the checksum above all.
func (r *record) fill(flag int32, body, props []byte, tagsCode int64) {
	r.flag, r.body, r.props, r.tagsCode = flag, body, props, tagsCode
	r.bodyCRC = codec.BodyCRC(body)
	r.size = codec.MessageSize(len(body), len(r.topic), len(props), r.sysFlag) + r.crcLen
}

// forget drops the caller's bytes.
func (r *record) forget() { r.topic, r.body, r.props = "", nil, nil }

// place writes the record to dst, all but its size.
func (r *record) place(dst []byte, queueOffset, physOffset, storeMs int64) {
	binary.BigEndian.PutUint32(r.head[codec.PosBodyCRC:], r.bodyCRC)
	binary.BigEndian.PutUint32(r.head[codec.PosFlag:], uint32(r.flag))
	binary.BigEndian.PutUint32(r.head[r.headLen-4:], uint32(len(r.body)))
	binary.BigEndian.PutUint64(r.head[codec.PosQueueOffset:], uint64(queueOffset))
	binary.BigEndian.PutUint64(r.head[codec.PosPhysOffset:], uint64(physOffset))
	binary.BigEndian.PutUint64(r.head[r.timeAt:], uint64(storeMs))
	n := copy(dst, r.head[:r.headLen])
	n += copy(dst[n:], r.body)
	if r.v2 {
		dst[n] = byte(len(r.topic) >> 8)
		n++
	}
	dst[n] = byte(len(r.topic))
	n++
	n += copy(dst[n:], r.topic)
	binary.BigEndian.PutUint16(dst[n:], uint16(r.propsLen()))
	n += 2
	n += copy(dst[n:], r.props)
	copy(dst[n:], r.late[:r.lateLen])
	if r.crcLen > 0 {
		putPropCRC(dst)
	}
}

// propsLen is the length of all properties.
func (r *record) propsLen() int { return len(r.props) + r.lateLen + r.crcLen }

// finish writes the size, with which the bytes of place become a record: a process that is killed in the middle of an
// append leaves none.
func finish(dst []byte, size int) {
	binary.BigEndian.PutUint32(dst[codec.PosTotalSize:], uint32(size))
}

// Put appends a message. It does not wait for a disk: ErrWouldBlock says that the pages behind the log's end are not
// ready, and PutWait waits for them. It does not allocate.
func (s *Store) Put(m *Message, r *PutResult) error {
	err := s.put(m, r)
	r.record.forget()
	return err
}

func (s *Store) put(m *Message, r *PutResult) error {
	if err := s.checkPut(m, len(m.Body), len(m.Properties)); err != nil {
		return err
	}
	props, done, err := s.putMulti(m, r)
	if done {
		return err
	}
	q := m.Expected.q // what of it is in no cache comes while the record is prepared
	if q == nil {
		q = s.queues.fetch(queueHash(NameOf(m.Topic), m.QueueID))
	}
	rec := &r.record
	props = s.encode(rec, m, props)
	inner := m.SysFlag&codec.SysInnerBatch != 0
	if inner {
		n, err := countInner(m)
		if err != nil {
			return err
		}
		rec.count, props = n, tidyInner(props)
	}
	rec.fill(m.Flag, m.Body, props, m.TagsCode)
	room := rec.size
	if inner {
		room += maxInnerPropsBytes
	}
	if err := s.checkRecord(rec, room); err != nil {
		return err
	}
	if q == nil || q.id != m.QueueID || q.topic != m.Topic {
		if q, err = s.queueFor(m); err != nil {
			return err
		}
	}
	if inner && !q.isBatch() {
		return fmt.Errorf("%w: inner batch for topic %s, whose queue.type is not BatchCQ", ErrIllegal, m.Topic)
	}
	switch err := s.appendOne(q, rec, s.nowMs(m), r); err {
	case nil:
		s.dispatcher.published()
		return nil
	case errGone:
		m.Expected = Expected{}
		return s.put(m, r) // its topic was deleted since; there is a new queue
	default:
		return err
	}
}

// nowMs is the time at which a message is stored.
func (s *Store) nowMs(m *Message) int64 {
	if m.NowMs != 0 {
		return m.NowMs
	}
	return s.opts.Now().UnixMilli()
}

// appendOne takes the append lock for one record; errGone says that its queue is none any more. nowMs is the clock, read before the
// lock was taken: what is stored never goes back.
func (s *Store) appendOne(q *queue, rec *record, nowMs int64, r *PutResult) error {
	l := s.log
	l.mu.Lock()
	if q.removed {
		l.mu.Unlock()
		return errGone
	}
	if rec.sysFlag&codec.SysInnerBatch != 0 {
		rec.wrap(q.next)
	}
	from := l.cur.base + l.pos
	seg, err := l.reserve(int64(rec.size))
	if err != nil {
		l.mu.Unlock()
		return err
	}
	now := max(nowMs, l.lastMs.Load())
	dst := seg.data[l.pos : l.pos+int64(rec.size)]
	s.appendLocked(q, rec, dst, from, seg.base+l.pos, now, r)
	finish(dst, rec.size)
	l.advance(int64(rec.size), now)
	size := min(int64(rec.size), expectBytes)
	ahead := seg.data[min(l.pos+size, seg.size):min(l.pos+2*size, seg.size)]
	l.mu.Unlock()
	// The processor fetches the lines of the record after the next meanwhile, which is probably about as long as this one. Another thread
	// made the pages, and waiting for their lines was a good part of an append.
	prefetchWrite(unsafe.Pointer(unsafe.SliceData(ahead)), uintptr(len(ahead)))
	s.dispatcher.expect()
	return nil
}

// appendLocked gives one record its offsets, writes it and tells the dispatcher. The caller holds the append lock.
func (s *Store) appendLocked(q *queue, rec *record, dst []byte, from, physOffset, now int64, r *PutResult) {
	queueOffset := int64(0)
	switch codec.TransactionType(rec.sysFlag) {
	case codec.SysPrepared, codec.SysRollback: // no queue entry, hence no offset
	default:
		queueOffset = q.next
		q.next += int64(rec.count)
	}
	rec.place(dst, queueOffset, physOffset, now)
	if it := s.dispatcher.room(); it != nil {
		it.q, it.topic, it.from, it.physOffset, it.queueOffset = q, q.topic, from, physOffset, queueOffset
		it.tagsCode, it.storeMs = rec.tagsCode, now
		it.size, it.propsLen, it.sysFlag, it.count = int32(rec.size), int32(rec.propsLen()), rec.sysFlag, rec.count
		it.lmqs = rec.lmqs
		s.dispatcher.pushed()
	}
	r.QueueOffset, r.PhysOffset, r.EndOffset, r.StoreTimestampMs = queueOffset, physOffset, physOffset+int64(rec.size), now
	r.Count = rec.count
}

// PutBatch appends the messages of the batch body m.Body, contiguous in one segment. Each carries its own flag,
// properties and tags; m.Properties must be empty. Errors as Put; nothing is stored with an error. Apache:
// CommitLog.asyncPutMessages.
func (s *Store) PutBatch(m *Message, r *BatchPutResult) error {
	if err := s.checkPut(m, len(m.Body), 0); err != nil {
		return err
	}
	if len(m.Properties) > 0 || codec.TransactionType(m.SysFlag) != codec.SysNotTransaction || len(m.Topic) > codec.MaxTopicV1Bytes ||
		m.SysFlag&codec.SysInnerBatch != 0 {
		return fmt.Errorf("%w: batch with properties, transaction, a long topic or inner batches", ErrIllegal)
	}
	defer r.forget()
	total, err := s.encodeBatch(m, r)
	if err != nil {
		return err
	}
	q, err := s.queueFor(m)
	if err != nil {
		return err
	}
	ms := s.nowMs(m)
	l := s.log
	l.mu.Lock()
	if q.removed {
		l.mu.Unlock()
		return s.PutBatch(m, r)
	}
	from := l.cur.base + l.pos
	seg, err := l.reserve(int64(total))
	if err != nil {
		l.mu.Unlock()
		return err
	}
	s.placeBatchLocked(q, seg, from, max(ms, l.lastMs.Load()), total, r)
	l.mu.Unlock()
	s.dispatcher.published()
	return nil
}

// encodeBatch reads the entries of the batch body and returns the size of their records together.
func (s *Store) encodeBatch(m *Message, r *BatchPutResult) (total int, err error) {
	s.encode(&r.record, m, nil)
	r.contents = r.contents[:0]
	it := codec.NewBatchIter(m.Body)
	for it.Next() {
		props := it.Properties
		if s.opts.MultiDispatch {
			props = withoutLMQOffsets(props)
		}
		if r.record.crcLen > 0 {
			props = withoutPropCRC(props)
		}
		r.record.fill(it.Flag, it.Body, props, tagsCode(nil, false, props, 0))
		r.contents = append(r.contents, r.record.content)
		total += r.record.size
		if err := s.checkRecord(&r.record, total); err != nil {
			return 0, err
		}
	}
	if err := it.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrIllegal, err)
	}
	if len(r.contents) == 0 {
		return 0, fmt.Errorf("%w: batch without messages", ErrIllegal)
	}
	return total, nil
}

// placeBatchLocked writes the records of r behind each other. The first one's size is written last, so that a killed
// process leaves all of them or none.
func (s *Store) placeBatchLocked(q *queue, seg *segment, from, now int64, total int, r *BatchPutResult) {
	l := s.log
	r.PhysOffsets = r.PhysOffsets[:0]
	at := l.pos
	var one PutResult
	for i := range r.contents {
		rec := &r.record
		rec.content = r.contents[i]
		dst := seg.data[at : at+int64(rec.size)]
		s.appendLocked(q, rec, dst, from, seg.base+at, now, &one)
		if i == 0 {
			r.QueueOffset, r.PhysOffset = one.QueueOffset, one.PhysOffset
		} else {
			finish(dst, rec.size)
		}
		r.PhysOffsets = append(r.PhysOffsets, one.PhysOffset)
		at += int64(rec.size)
		from = seg.base + at
	}
	finish(seg.data[l.pos:], r.contents[0].size)
	r.EndOffset, r.StoreTimestampMs, r.Count = one.EndOffset, now, len(r.contents)
	l.advance(int64(total), now)
}

// forget drops the caller's bytes, and room that only a very large batch needed.
func (r *BatchPutResult) forget() {
	r.record.forget()
	clear(r.contents)
	if cap(r.contents) > 1024 {
		r.contents = nil
	}
}

// PutWait is Put that waits until the log has room.
func (s *Store) PutWait(m *Message, r *PutResult) error {
	for moved := (<-chan struct{})(nil); ; moved = s.log.feeder.waitChan() {
		err := s.Put(m, r)
		if err != ErrWouldBlock {
			return err
		}
		s.waitRoom(moved)
	}
}

// PutBatchWait is PutBatch that waits until the log has room.
func (s *Store) PutBatchWait(m *Message, r *BatchPutResult) error {
	for moved := (<-chan struct{})(nil); ; moved = s.log.feeder.waitChan() {
		err := s.PutBatch(m, r)
		if err != ErrWouldBlock {
			return err
		}
		s.waitRoom(moved)
	}
}

// waitRoom waits for a channel that was taken before there was no room; nil is none.
func (s *Store) waitRoom(moved <-chan struct{}) {
	if moved == nil {
		return
	}
	select {
	case <-moved:
	case <-s.stop:
	}
}

// checkPut refuses what cannot be stored.
func (s *Store) checkPut(m *Message, bodyLen, propsLen int) error {
	switch {
	case bodyLen > s.opts.MaxMessageBytes:
		return fmt.Errorf("%w: body of %d bytes, at most %d are possible", ErrMessageTooLarge, bodyLen, s.opts.MaxMessageBytes)
	case propsLen > codec.MaxPropertiesBytes:
		return fmt.Errorf("%w: properties of %d bytes, at most %d are possible", ErrMessageTooLarge, propsLen, codec.MaxPropertiesBytes)
	case m.QueueID < 0:
		return fmt.Errorf("%w: queue %d", ErrIllegal, m.QueueID)
	}
	if err := s.dispatcher.stuck.Load(); err != nil {
		return *err
	}
	if s.cleaner.full.Load() {
		return errDiskFull
	}
	return nil
}

// checkSize refuses a record that no segment has room for.
func (s *Store) checkSize(size int) error {
	if int64(size)+blankHeadBytes > s.opts.SegmentBytes {
		return fmt.Errorf("%w: record of %d bytes, a segment has %d", ErrMessageTooLarge, size, s.opts.SegmentBytes)
	}
	return nil
}

// queueFor finds the queue of a message, and makes it when the topic's name can be one.
func (s *Store) queueFor(m *Message) (*queue, error) {
	if q := s.queues.find(m.Topic, m.QueueID); q != nil {
		return q, nil
	}
	return s.newQueueFor(m)
}

func (s *Store) newQueueFor(m *Message) (*queue, error) {
	if err := checkTopic(m.Topic); err != nil {
		return nil, err
	}
	if s.opts.MultiDispatch && IsLMQ(m.Topic) && s.lmqsFull() {
		return nil, fmt.Errorf("%w: %d", ErrTooManyLMQs, s.opts.MaxLMQs)
	}
	return s.queues.findOrCreate(m.Topic, m.QueueID), nil
}
