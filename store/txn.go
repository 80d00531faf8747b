package store

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// GroupTrans is the group whose consume offsets say which half messages and which op messages are done with. Apache:
// MixAll.CID_SYS_RMQ_TRANS.
const GroupTrans = "CID_RMQ_SYS_TRANS"

const (
	// txnStripes is how many locks share the transactions among them.
	txnStripes = 64
	// txnRemembered is how many decided halves are known after their op message was stored.
	txnRemembered = 100_000
	// txnMaxOpen is the default bound of the halves in memory.
	txnMaxOpen = 1_000_000
)

// TxnOptions are the settings of a Txn.
type TxnOptions struct {
	TableOptions
	// Topics is where the topic of halves that were given up is created.
	Topics *Topics
	// MaxOpen bounds the open halves in memory; beyond it Full reports true. The default value is 1,000,000.
	MaxOpen int
}

// Txn knows the transactions that are not decided. Apache: TransactionalMessageServiceImpl.
//
// A half message rests in RMQ_SYS_TRANS_HALF_TOPIC. What becomes of it is known by its offset in that queue:
//
//	decided   committed or rolled back; a message in RMQ_SYS_TRANS_OP_HALF_TOPIC says so, or is about to
//	replaced  a later half is a copy of it, made to ask its producer once more
//	given up  asked too often or too old: it went to TRANS_CHECK_MAX_TIME_TOPIC
//	open      none of these
//
// The consume offsets of GroupTrans say below which offset no half is open, and which op messages speak of halves above
// it only. Everything else is in memory, and Open reads it from the two queues. Halves are read when they are a second
// old: most are decided by then and need no reading.
//
// A commit goes: final message put, op message put, offsets moved, each after the other is in the log. A stop between
// the first two leaves an open half with a final message; Open finds that by looking through the end of the log, from
// where apogee/txn.json says that all decisions before it have their op messages. Offsets move only over what is flushed.
type Txn struct {
	store   *Store
	offsets *Offsets
	opts    TxnOptions
	path    string
	counts  *topicCounts // of open ones
	seed    maphash.Seed // of the keys
	full    atomic.Bool

	// stripes let one goroutine at a time decide or copy a transaction; by key. They come before mu.
	stripes [txnStripes]sync.Mutex

	mu      sync.Mutex          // guards all below
	open    map[int64]openHalf  // by queue offset
	live    map[uint64]int64    // key of a transaction to the queue offset of its open half
	own     map[int64]struct{}  // copies that were put and are not read yet: nothing is new about them
	ended   map[uint64]struct{} // keys of decided transactions
	due     dueHeap
	decided map[int64]opState
	order   []endedHalf     // what is in decided, oldest first
	begun   map[int64]int64 // half being decided to where the log ended before
	pending []pendingOp
	// pendingBytes is the length of the op text of pending.
	pendingBytes int
	ops          []opRecord // stored ones that speak of halves at or above floor
	// readTo is the half up to which the queue was read, floor the first that is not done with.
	readTo, floor int64
	opFloor       int64
	// rebuilt is the length of the half queue when Open read it. Below it the decided halves are read too: what they are
	// copies of is not open either.
	rebuilt   int64
	ahead     int64 // decided halves at or above readTo
	mark      queueMark
	stage     *txnStage
	committed txnStage
	savedFrom int64
	savedAt   time.Time
	toldAt    time.Time // belongs to Tick
}

// openHalf is what is known of an open half.
type openHalf struct {
	physOffset int64
	key        uint64
	dueMs      int64 // when it is to be looked at
	topic      string
}

// endedHalf is a decided half; its key is 0 when only its op message is known.
type endedHalf struct {
	queueOffset int64
	key         uint64
}

// opState says whether the op message of a decided half is in the log.
type opState uint8

const (
	opPending opState = iota + 1
	opStored
)

// queueMark is the length of the half queue at some time.
type queueMark struct {
	at          time.Time
	queueOffset int64
}

// OpenTxn reads which transactions are open from the half and op queues of s and the consume offsets in o.
func OpenTxn(s *Store, o *Offsets, opts TxnOptions) (*Txn, error) {
	opts.fill()
	if opts.MaxOpen <= 0 {
		opts.MaxOpen = txnMaxOpen
	}
	t := &Txn{
		store: s, offsets: o, opts: opts, path: filepath.Join(s.opts.Dir, ownDir, "txn.json"),
		seed: maphash.MakeSeed(), open: make(map[int64]openHalf), live: make(map[uint64]int64), own: make(map[int64]struct{}), ended: make(map[uint64]struct{}),
		decided: make(map[int64]opState), begun: make(map[int64]int64),
	}
	t.counts = openTransactionMetrics(filepath.Join(s.opts.Dir, "config", "transactionMetrics"), opts.TableOptions)
	if err := t.rebuild(); err != nil {
		return nil, fmt.Errorf("read open transactions: %w", err)
	}
	return t, nil
}

// Full reports whether there are so many open transactions that no more should begin.
func (t *Txn) Full() bool { return t.full.Load() }

// Open returns the number of open halves that were read.
func (t *Txn) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// OpenByTopic returns how many open halves were read of each topic, and when that last changed.
func (t *Txn) OpenByTopic() map[string]codec.TopicCount {
	counts, _ := t.counts.snapshot()
	return counts
}

// RemoveTopic forgets the count of a topic that is deleted.
func (t *Txn) RemoveTopic(topic string) { t.counts.remove(topic) }

// PersistCounts writes config/transactionMetrics if a count changed. Apache: TransactionMetricsFlushService.
func (t *Txn) PersistCounts() error { return t.counts.persist() }

// Half returns the half message whose record begins at physOffset. ErrNotFound when there is no record, or one that is no
// half; ErrWouldBlock without wait when reading it may have to wait for a disk.
func (t *Txn) Half(physOffset int64, wait bool) (*Half, error) {
	if !wait && (physOffset < t.store.warmFrom || !t.store.InMemory(physOffset)) {
		return nil, ErrWouldBlock
	}
	record, err := t.store.MessageAt(physOffset)
	if err != nil {
		return nil, err
	}
	h, err := parseHalf(record)
	if err != nil {
		return nil, err
	}
	if string(h.Topic) != TopicTransHalf {
		return nil, fmt.Errorf("%w: no half message at %d", ErrNotFound, physOffset)
	}
	h.key = t.keyOf(&h.Message)
	return h, nil
}

// Decide ends the transaction of h: it calls put, which stores the final message of a commit or does nothing for a
// rollback, and then has an op message written by Tick. A transaction that is known to be decided stays as it is, and put
// is not called. An error is put's, then the transaction stays open, or ErrWouldBlock without wait when somebody else is
// at the same transaction or the index has to be asked.
func (t *Txn) Decide(h *Half, wait bool, put func() error) error {
	stripe := &t.stripes[h.key%txnStripes]
	if wait {
		stripe.Lock()
	} else if !stripe.TryLock() {
		return ErrWouldBlock
	}
	defer stripe.Unlock()
	known, forgotten := t.begin(h)
	if known {
		return nil
	}
	var err error
	if forgotten {
		// It was given up, or decided before what is remembered, or not at all.
		if !wait {
			err = ErrWouldBlock
		} else if known, err = t.committedBefore(h); known && err == nil {
			put = func() error { return nil }
		}
	}
	if err == nil {
		err = put()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.begun, h.QueueOffset)
	if err != nil {
		return err
	}
	if other, ok := t.live[h.key]; ok && other != h.QueueOffset {
		t.decideLocked(other, h.key)
	}
	t.decideLocked(h.QueueOffset, h.key)
	return nil
}

// begin reports whether the transaction of h is known to be decided; if not it notes that it is being decided. forgotten
// says that it may have been decided before what is known.
func (t *Txn) begin(h *Half) (known, forgotten bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known = t.decided[h.QueueOffset]
	if _, ok := t.ended[h.key]; ok || known {
		return true, false
	}
	t.begun[h.QueueOffset] = t.store.Written()
	_, open := t.open[h.QueueOffset]
	_, copied := t.live[h.key]
	return false, h.QueueOffset < t.rebuilt || h.QueueOffset < t.readTo && !open && !copied
}

// decideLocked notes that a half is decided and that an op message has to say so.
func (t *Txn) decideLocked(queueOffset int64, key uint64) {
	if _, ok := t.decided[queueOffset]; ok {
		return
	}
	t.closeLocked(queueOffset)
	t.rememberLocked(queueOffset, opPending)
	t.order[len(t.order)-1].key = key
	t.ended[key] = struct{}{}
	from, ok := t.begun[queueOffset]
	if !ok {
		from = t.store.Written()
	}
	op := pendingOp{queueOffset: queueOffset, logFrom: from, since: t.opts.Now()}
	t.pending = append(t.pending, op)
	t.pendingBytes += opTextBytes(queueOffset)
}

// closeLocked forgets an open half.
func (t *Txn) closeLocked(queueOffset int64) {
	h, ok := t.open[queueOffset]
	if !ok {
		return
	}
	delete(t.open, queueOffset)
	t.counts.add([]byte(h.topic), -1, t.opts.Now().UnixMilli())
	if t.live[h.key] == queueOffset {
		delete(t.live, h.key)
	}
}

// rememberLocked notes a decided half and forgets the oldest ones that need not be known.
func (t *Txn) rememberLocked(queueOffset int64, state opState) {
	if _, ok := t.decided[queueOffset]; !ok {
		t.order = append(t.order, endedHalf{queueOffset: queueOffset})
		if queueOffset >= t.readTo {
			t.ahead++
		}
	}
	t.decided[queueOffset] = state
	for len(t.order) > txnRemembered {
		oldest := t.order[0]
		if oldest.queueOffset >= t.readTo || t.decided[oldest.queueOffset] != opStored {
			break
		}
		delete(t.decided, oldest.queueOffset)
		delete(t.ended, oldest.key)
		t.order = t.order[1:]
	}
}

// addLocked notes an open half. What it is a copy of is open no more.
func (t *Txn) addLocked(queueOffset int64, h openHalf, isCopy bool) {
	if other, ok := t.live[h.key]; ok && other != queueOffset && isCopy {
		t.closeLocked(other)
	}
	if _, known := t.open[queueOffset]; !known {
		t.counts.add([]byte(h.topic), 1, t.opts.Now().UnixMilli())
	}
	t.open[queueOffset] = h
	t.live[h.key] = queueOffset
	t.due.push(dueEntry{h.dueMs, queueOffset})
}

// keyOf tells transactions apart: a half, its copies and its final message have the same key.
func (t *Txn) keyOf(m *codec.Message) uint64 {
	topic := m.Topic
	var uniqKey, group []byte
	for it := codec.NewPropertyIter(m.Properties); it.Next(); {
		switch string(it.Key) {
		case codec.PropRealTopic:
			topic = it.Value
		case codec.PropUniqKey:
			uniqKey = it.Value
		case codec.PropProducerGroup:
			group = it.Value
		}
	}
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, part := range [...][]byte{uniqKey, group, topic} {
		h.Write(part)
		h.WriteByte(0)
	}
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(m.BornTimestampMs))
	binary.BigEndian.PutUint32(b[8:], m.BodyCRC)
	h.Write(b[:])
	return h.Sum64()
}

// committedBefore asks the index whether the final message of h is in the log.
func (t *Txn) committedBefore(h *Half) (bool, error) {
	uniqKey, ok := codec.Property(h.Properties, codec.PropUniqKey)
	if !ok {
		return false, nil
	}
	// The final message of a copy may be older than the copy; clocks of clients may go wrong by an hour.
	fromMs := min(h.BornTimestampMs, h.StoreTimestampMs) - time.Hour.Milliseconds()
	for _, topic := range []string{h.RealTopic, TopicSchedule, TopicWheelTimer} {
		places, _, _, err := t.store.QueryIndex(topic, string(uniqKey), 64, fromMs, never)
		if err != nil {
			return false, err
		}
		for _, physOffset := range places {
			record, err := t.store.MessageAt(physOffset)
			if err != nil {
				continue // older than the log, or damaged: it cannot be known
			}
			var m codec.Message
			if _, err := codec.DecodeMessage(record, &m); err == nil && isFinal(&m) && t.keyOf(&m) == h.key {
				return true, nil
			}
		}
	}
	return false, nil
}
