package processor

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// TestPopCrashes pops, acknowledges and renews messages, in order in one topic and not in another, lets time pass, and ends the process
// at any point: by a kill, also in the middle of a request, or by a power cut. No message is lost, none comes that was acknowledged or
// is invisible, and nothing is stuck in the end.
func TestPopCrashes(t *testing.T) {
	t.Parallel()
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &popHistory{T: t, rnd: rand.New(rand.NewPCG(seed, 29)), dir: t.TempDir(), messages: map[string]*popHistoryMessage{}, nowMs: 1795226366000}
			h.open()
			h.b.topicOf(popPlain, 2)
			h.b.topicOf(popInOrder, 1)
			h.b.groupOf("G")
			h.run()
		})
	}
}

const (
	popPlain   = "T"
	popInOrder = "InOrder"
)

// popHistory drives POP over a store.
type popHistory struct {
	*testing.T
	rnd   *rand.Rand
	dir   string
	nowMs int64
	b     *rig

	messages map[string]*popHistoryMessage
	held     []popped // receipts that clients have
	count    int
	// before and after are the ends of the log around the last request, asked are the messages that it spoke of.
	before, after int64
	asked         []string
}

// popHistoryMessage is what clients know of a message.
type popHistoryMessage struct {
	topic       string
	end         int64 // of its record
	queueOffset int64
	untilMs     int64 // to when it is invisible
	acked       bool
	unsure      bool  // a crash took the answer to an ack
	at          int64 // the end of the log when clients last heard of it
}

func (h *popHistory) open() {
	h.b = newRigIn(h.T, h.dir, func(s *setup) {
		s.store.SegmentBytes, s.store.FlushMode, s.store.FlushInterval = popCrashSegment, store.FlushSync, time.Hour // flushed only when the test waits
		s.store.QueueSegmentEntries, s.store.IndexSlots, s.store.IndexEntries = 3000, 64, 256
	})
	h.b.clock.now = time.UnixMilli(h.nowMs)
}

func (h *popHistory) run() {
	for range 250 {
		switch h.rnd.IntN(12) {
		case 0, 1:
			h.put()
		case 2, 3, 4:
			h.pop(popPlain)
		case 5, 6:
			h.pop(popInOrder)
		case 7, 8:
			h.ack()
		case 9:
			h.renew()
		case 10:
			h.pass(h.rnd.Int64N(4000))
		case 11:
			switch h.rnd.IntN(6) {
			case 0:
				h.kill(false)
			case 1:
				h.kill(true)
			case 2:
				h.cutPower()
			case 3:
				require.NoError(h, h.b.offsets.Persist())
				require.NoError(h, h.b.popping.state.PersistOrders())
			default:
				h.flush()
			}
		}
	}
	h.finish()
}

func (h *popHistory) flush() {
	done := make(chan error, 1)
	h.b.store.AfterFlush(h.b.store.Written(), func(err error) { done <- err })
	require.NoError(h, <-done)
}

// request makes a request that speaks of messages, and notes where the log ended around it.
func (h *popHistory) request(asked []string, code int32, head fields, body string) *answer {
	h.asked, h.before = asked, h.b.store.Written()
	a := h.b.request(code, head, body)
	h.after = h.b.store.Written()
	return a
}

func (h *popHistory) put() {
	topic, queues := popPlain, 2
	if h.rnd.IntN(3) == 0 {
		topic, queues = popInOrder, 1
	}
	for range 1 + h.rnd.IntN(5) {
		h.count++
		body := fmt.Sprintf("m%d", h.count)
		r := h.b.putUnseen(topic, int32(h.rnd.IntN(queues)), "A", body)
		h.messages[body] = &popHistoryMessage{topic: topic, end: r.EndOffset, at: r.EndOffset, queueOffset: r.QueueOffset}
	}
	h.asked, h.before, h.after = nil, h.b.store.Written(), h.b.store.Written()
}

func (h *popHistory) pop(topic string) {
	h.b.dispatched()
	invisibleMs := 2000 + h.rnd.Int64N(15_000)
	more := fields{"topic": topic, "pollTime": "0", "invisibleTime": strconv.FormatInt(invisibleMs, 10), "maxMsgNums": strconv.Itoa(1 + h.rnd.IntN(8))}
	if topic == popInOrder {
		more = more.with(fields{"order": "true", "queueId": "0"})
	}
	a := h.request(nil, codec.PopMessage, h.b.popFields(more), "")
	if a.Code == codec.PollingTimeout {
		return
	}
	require.Equal(h, codec.Success, a.Code, a.Remark)
	for _, p := range h.b.poppedOf(a) {
		m := h.messages[p.body]
		require.NotNil(h, m, "%s was lost before", p.body)
		require.False(h, m.acked && (topic == popPlain || h.inOrderUpTo(p.queueOffset)), "%s came although it was acknowledged", p.body)
		require.GreaterOrEqual(h, h.nowMs, m.untilMs, "%s came early", p.body)
		m.untilMs, m.at, m.acked = h.nowMs+invisibleMs, h.after, false
		p.topic = topic
		h.held, h.asked = append(h.held, p), append(h.asked, p.body)
	}
}

// inOrderUpTo reports whether all ordered messages up to an offset are acknowledged. Otherwise the first that is not begins its queue
// anew, and what is behind it comes again, whatever became of it.
func (h *popHistory) inOrderUpTo(queueOffset int64) bool {
	for _, m := range h.messages {
		if m.topic == popInOrder && m.queueOffset <= queueOffset && !m.acked {
			return false
		}
	}
	return true
}

// take takes a receipt that clients have, as a rule a late one.
func (h *popHistory) take() (p popped, ok bool) {
	for len(h.held) > 0 {
		i := h.rnd.IntN(len(h.held))
		p = h.held[i]
		h.held = append(h.held[:i], h.held[i+1:]...)
		if m := h.messages[p.body]; m != nil && !m.acked && h.nowMs < m.untilMs && m.untilMs == receiptEnd(h.T, p) {
			return p, true
		}
	}
	return p, false
}

// receiptEnd is when the time of a receipt is over; one of an ordered pop keeps its pop time.
func receiptEnd(t testing.TB, p popped) int64 {
	r := mustReceipt(t, p.receipt)
	return r.PopTimeMs + r.InvisibleMs
}

func (h *popHistory) ack() {
	p, ok := h.take()
	if !ok {
		return
	}
	m := h.messages[p.body]
	var a *answer
	if r := mustReceipt(h.T, p.receipt); h.rnd.IntN(3) == 0 && r.QueueOffset-r.StartOffset < 64 {
		bits := make([]byte, 8)
		bits[(r.QueueOffset-r.StartOffset)/8] |= 1 << ((r.QueueOffset - r.StartOffset) % 8)
		body, err := json.Marshal(map[string]any{"brokerName": "broker-a", "acks": []any{map[string]any{
			"c": "G", "t": m.topic, "r": strings.Fields(p.receipt)[4], "so": r.StartOffset, "q": r.QueueID, "rq": r.ReviveQueueID,
			"pt": r.PopTimeMs, "it": r.InvisibleMs, "b": base64.StdEncoding.EncodeToString(bits)}}})
		require.NoError(h, err)
		a = h.request([]string{p.body}, codec.BatchAckMessage, nil, string(body))
	} else {
		a = h.request([]string{p.body}, codec.AckMessage, h.ackFields(p), "")
	}
	require.Equal(h, codec.Success, a.Code, a.Remark)
	m.acked, m.at = true, h.after
	if p.topic == popInOrder { // it comes again with an earlier one that is not acknowledged
		m.untilMs = 0
	}
}

// ackFields is the header of an ack for a message of either topic.
func (h *popHistory) ackFields(p popped) fields {
	f := p.ackFields(nil)
	if p.topic == popInOrder {
		f["topic"] = popInOrder
	}
	return f
}

func (h *popHistory) renew() {
	p, ok := h.take()
	if !ok {
		return
	}
	m, invisibleMs := h.messages[p.body], 1000+h.rnd.Int64N(20_000)
	a := h.request([]string{p.body}, codec.ChangeMessageInvisibleTime, h.ackFields(p).with(fields{"invisibleTime": strconv.FormatInt(invisibleMs, 10)}), "")
	require.Equal(h, codec.Success, a.Code, a.Remark)
	m.untilMs, m.at = h.nowMs+invisibleMs, h.after
	part := strings.Fields(p.receipt)
	if p.topic != popInOrder {
		part[0] = part[7]
	}
	part[1], part[2] = a.Fields["popTime"], a.Fields["invisibleTime"]
	p.receipt = strings.Join(part, " ")
	h.held = append(h.held, p)
}

// pass lets time pass; the messages that become visible again are noted.
func (h *popHistory) pass(ms int64) {
	h.asked, h.before = nil, h.b.store.Written()
	h.nowMs += ms
	h.b.tickPop(time.Duration(ms) * time.Millisecond)
	h.after = h.b.store.Written()
}

// kill goes on with a copy of the files, as they are in the page cache; halfway makes it one of a moment within the last request, which
// then was not answered.
func (h *popHistory) kill(halfway bool) {
	pos := h.b.store.Written()
	if halfway && h.after == pos && h.before < pos {
		ends := recordEnds(h.T, h.dir, h.before, pos)
		pos = ends[h.rnd.IntN(len(ends))]
		for _, body := range h.asked {
			m := h.messages[body]
			m.untilMs, m.unsure = min(m.untilMs, h.nowMs), m.unsure || m.acked
			m.acked = false
		}
	}
	h.reopen(pos, pos < h.b.store.Written())
}

// cutPower goes on with a copy of the store whose log ends where it is known to be on disk. Clients are unsure of what happened since.
func (h *popHistory) cutPower() {
	flushed := h.b.store.Flushed()
	for body, m := range h.messages {
		switch {
		case m.end > flushed:
			delete(h.messages, body)
		case m.at > flushed || m.topic == popInOrder: // the journal of ordered pops need not be on disk
			m.untilMs, m.unsure, m.acked = 0, m.unsure || m.acked, false
		}
	}
	h.reopen(flushed, true)
}

// reopen goes on with a copy of the store whose log ends at pos.
func (h *popHistory) reopen(pos int64, cut bool) {
	dir := h.TempDir()
	require.NoError(h, os.CopyFS(dir, os.DirFS(h.dir)))
	_ = os.Remove(filepath.Join(dir, "lock"))
	if cut {
		cutLog(h.T, dir, pos)
		require.NoError(h, os.RemoveAll(filepath.Join(dir, "consumequeue"))) // is made anew
	}
	h.b.close()
	h.dir = dir
	h.open()
}

// recordEnds are the places between from and end where a record ends, from among them, as far as they are in its segment. Within a record
// nothing is cut: its checksum does not cover the properties.
func recordEnds(t testing.TB, dir string, from, end int64) []int64 {
	t.Helper()
	ends, base := []int64{from}, from&^(popCrashSegment-1)
	b, err := os.ReadFile(filepath.Join(dir, "commitlog", fmt.Sprintf("%020d", base)))
	require.NoError(t, err)
	for pos := from; ; {
		size := int64(binary.BigEndian.Uint32(b[pos-base:]))
		if pos += size; size == 0 || pos >= min(end, base+popCrashSegment-64) {
			return ends
		}
		ends = append(ends, pos)
	}
}

// popCrashSegment is the size of the log's segments, a power of two.
const popCrashSegment = 1 << 16

// cutLog clears the log from a position on.
func cutLog(t testing.TB, dir string, pos int64) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "commitlog"))
	require.NoError(t, err)
	for _, e := range entries {
		base, err := strconv.ParseInt(e.Name(), 10, 64)
		require.NoError(t, err)
		path := filepath.Join(dir, "commitlog", e.Name())
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if from := max(pos-base, 0); from < int64(len(b)) {
			clear(b[from:])
			require.NoError(t, os.WriteFile(path, b, 0o644))
		}
	}
}

// finish pops until everything is done, and looks whether anything is missing or stuck.
func (h *popHistory) finish() {
	for range 60 {
		h.pass(5000)
		for range 4 {
			h.pop(popPlain)
			h.pop(popInOrder)
			for n := len(h.held); n > 0; n-- {
				h.ack()
			}
		}
	}
	for body, m := range h.messages {
		require.True(h, m.acked || m.unsure, "%s of %s was lost", body, m.topic)
	}
	require.Zero(h, h.b.popping.state.Checkpoints(), "deliveries in flight")
	h.flush()
	h.pass(1000)
	h.pass(1000)
	for _, q := range h.b.popping.state.ReviveQueues(time.UnixMilli(h.nowMs)) {
		require.Equal(h, store.PopReviveQueue{ID: q.ID}, q)
	}
}
