package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// opTag is the tag of an op message that says that halves are done with. Apache: TransactionalMessageUtil.REMOVE_TAG.
const opTag = "d"

// pendingOp is a decided half whose op message is still to be put.
type pendingOp struct {
	queueOffset int64
	logFrom     int64 // its final message, if it has one, lies behind this
	since       time.Time
}

// opRecord is a stored op message; maxHalf is the last half it speaks of, -1 for none.
type opRecord struct{ queueOffset, maxHalf int64 }

// txnStage is how far everything was when the log ended at written.
type txnStage struct {
	half, op int64
	scanFrom int64 // decisions before it have their op messages
	written  int64
}

func opTextBytes(queueOffset int64) int {
	n := 2
	for queueOffset >= 10 {
		queueOffset /= 10
		n++
	}
	return n
}

// writeOps puts op messages: full ones, and what has waited for interval; all of it with everything. Those that cannot be
// put stay for the next time. Apache: TransactionalMessageServiceImpl.batchSendOpMessage.
func (t *Txn) writeOps(now time.Time, maxBytes int, interval time.Duration, everything bool) error {
	for {
		t.mu.Lock()
		if len(t.pending) == 0 || !everything && t.pendingBytes < maxBytes && now.Sub(t.pending[0].since) < interval {
			t.mu.Unlock()
			return nil
		}
		var body []byte
		n := 0
		for n < len(t.pending) && (n == 0 || len(body) < maxBytes) {
			body = append(strconv.AppendInt(body, t.pending[n].queueOffset, 10), ',')
			n++
		}
		t.mu.Unlock()
		var put PutResult
		if err := t.store.PutWait(t.opMessage(body, now), &put); err != nil {
			return err
		}
		t.opsStored(n, len(body), put.QueueOffset)
	}
}

// opMessage makes an op message. Apache: TransactionalMessageBridge.makeOpMessageInner.
func (t *Txn) opMessage(body []byte, now time.Time) *Message {
	props := codec.AppendProperty(nil, codec.PropTags, opTag)
	return &Message{
		Topic: TopicTransOp, Body: body, BornTimestampMs: now.UnixMilli(), BornHost: t.store.host.addr,
		Properties: codec.AppendProperty(props, codec.PropWait, "true"), TagsCode: codec.TagsCode([]byte(opTag)),
	}
}

// opsStored notes that the first n pending ops are in the log.
func (t *Txn) opsStored(n, bytes int, queueOffset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	op := opRecord{queueOffset, -1}
	for _, p := range t.pending[:n] {
		op.maxHalf = max(op.maxHalf, p.queueOffset)
		t.rememberLocked(p.queueOffset, opStored)
	}
	t.ops = append(t.ops, op)
	t.pending = t.pending[n:]
	t.pendingBytes -= bytes
}

// moveOn moves the consume offsets over what is done with and flushed. With force it does not look at flushes.
func (t *Txn) moveOn(now time.Time, force bool) {
	t.mu.Lock()
	t.advanceLocked()
	s, ready := t.stage, txnStage{}
	if s == nil || force {
		s = t.stageLocked()
	}
	t.stage = s
	moved := force || t.store.Flushed() >= s.written
	if moved {
		ready, t.stage = *s, nil
	}
	before := t.committed
	active := len(t.open)+len(t.pending)+len(t.begun) > 0 || t.readTo < t.store.MaxQueueOffset(TopicTransHalf, 0)
	save := moved && ready.scanFrom > t.savedFrom && (force || active && now.Sub(t.savedAt) >= 3*time.Second)
	if moved {
		t.committed = ready
	}
	if save {
		t.savedFrom, t.savedAt = ready.scanFrom, now
	}
	t.mu.Unlock()
	if moved && ready.half != before.half {
		t.commit(TopicTransHalf, ready.half)
	}
	if moved && ready.op != before.op {
		t.commit(TopicTransOp, ready.op)
	}
	if save {
		t.saveScan(ready.scanFrom)
	}
}

func (t *Txn) commit(topic string, queueOffset int64) {
	if err := t.offsets.Commit([]byte(GroupTrans), []byte(topic), 0, queueOffset); err != nil {
		t.opts.Logger.Error("commit offset of transactions", "topic", topic, "offset", queueOffset, "error", err)
	}
}

// advanceLocked moves the floors.
func (t *Txn) advanceLocked() {
	for ; t.floor < t.readTo; t.floor++ {
		_, open := t.open[t.floor]
		_, begun := t.begun[t.floor]
		if open || begun || t.decided[t.floor] == opPending {
			break
		}
	}
	for len(t.ops) > 0 && t.ops[0].maxHalf < t.floor {
		t.opFloor = t.ops[0].queueOffset + 1
		t.ops = t.ops[1:]
	}
}

func (t *Txn) stageLocked() *txnStage {
	s := &txnStage{half: t.floor, op: t.opFloor, written: t.store.Written()}
	s.scanFrom = s.written
	for _, from := range t.begun {
		s.scanFrom = min(s.scanFrom, from)
	}
	for i := range t.pending {
		s.scanFrom = min(s.scanFrom, t.pending[i].logFrom)
	}
	return s
}

// txnFile is apogee/txn.json.
type txnFile struct {
	ScanFrom int64 `json:"scanFrom"`
}

func (t *Txn) saveScan(from int64) {
	b, err := sealed(txnFile{ScanFrom: from})
	if err == nil {
		err = writeWhole(t.path, b, t.store.opts.Faults)
	}
	if err != nil { // an older one only makes the next start look through more of the log
		t.opts.Logger.Warn("save where decided transactions end", "file", t.path, "error", err)
	}
}

// loadScan returns what saveScan wrote; a file that cannot be read is as good as none.
func (t *Txn) loadScan() (from int64, ok bool) {
	var f txnFile
	good, err := readSealed(t.path, &f, t.opts.Logger)
	if err != nil {
		t.opts.Logger.Warn("read where decided transactions end", "file", t.path, "error", err)
	}
	if !good || f.ScanFrom < 0 {
		return 0, false
	}
	return f.ScanFrom, true
}

// Close writes the op messages of everything decided and moves the offsets. Nobody may decide any more.
func (t *Txn) Close() error {
	now := t.opts.Now()
	if err := t.writeOps(now, math.MaxInt, 0, true); err != nil && !errors.Is(err, ErrClosed) {
		return fmt.Errorf("write what transactions were decided: %w", err)
	}
	t.moveOn(now, true)
	return t.PersistCounts()
}
