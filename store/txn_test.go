package store

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// txnRig is a store with its transactions, and a clock that the test moves.
type txnRig struct {
	*Txn
	t     *testing.T
	opts  Options
	rules TxnSettings
	clock *atomic.Int64
	asked []*TxnCheck
	limit int
}

func newTxnRig(t *testing.T, change ...func(*txnRig)) *txnRig {
	r := &txnRig{t: t, opts: testOptions(t), clock: new(atomic.Int64)}
	r.opts.Dir, r.opts.CommitLogDir = fastDir(t), ""
	r.clock.Store(1_700_000_000_000)
	r.opts.Now = r.now
	r.rules = TxnSettings{TimeOut: 6 * time.Second, CheckInterval: 30 * time.Second, CheckMax: 15, Retention: 72 * time.Hour,
		OpMaxBytes: 4096, OpInterval: 3 * time.Second}
	for _, f := range change {
		f(r)
	}
	r.start()
	return r
}

func (r *txnRig) now() time.Time { return time.UnixMilli(r.clock.Load()) }

func (r *txnRig) start() {
	s, err := Open(r.opts)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, s.Close()) })
	o, err := OpenOffsets(filepath.Join(r.opts.Dir, "config", "consumerOffset.json"), OffsetsOptions{})
	require.NoError(r.t, err)
	r.Txn, err = OpenTxn(s, o, TxnOptions{TableOptions: TableOptions{Now: r.now}, MaxOpen: r.limit})
	require.NoError(r.t, err)
}

// crash goes on with what a process that is killed now leaves.
func (r *txnRig) crash() {
	to := fastDir(r.t)
	require.NoError(r.t, os.CopyFS(to, txnFiles{os.DirFS(r.opts.Dir)}))
	r.opts.Dir, r.opts.CommitLogDir = to, filepath.Join(to, "commitlog")
	r.start()
}

// txnFiles leaves out temporary files, which come and go.
type txnFiles struct{ fs.FS }

func (f txnFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(f.FS, name)
	var kept []fs.DirEntry
	for _, e := range list {
		if !strings.Contains(e.Name(), ".tmp") {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// half stores a half message as a send does.
func (r *txnRig) half(body string, props ...string) PutResult {
	text := codec.AppendProperty(nil, codec.PropUniqKey, "U-"+body)
	text = codec.AppendProperty(text, codec.PropTranMsg, "true")
	text = codec.AppendProperty(text, codec.PropProducerGroup, "PG")
	for i := 0; i < len(props); i += 2 {
		text = codec.AppendProperty(text, props[i], props[i+1])
	}
	m := &Message{Topic: "Orders", QueueID: 2, Flag: 7, SysFlag: codec.SysPrepared, BornTimestampMs: r.clock.Load(),
		BornHost: netip.MustParseAddrPort("10.0.0.1:5000"), Body: []byte(body), Properties: text}
	Halve(m, []byte("U-"+body))
	var put PutResult
	require.NoError(r.t, r.store.PutWait(m, &put))
	return put
}

// commit ends a transaction as END_TRANSACTION does.
func (r *txnRig) commit(physOffset int64) {
	h, err := r.Half(physOffset, true)
	require.NoError(r.t, err)
	require.NoError(r.t, r.Decide(h, true, func() error { return r.final(h) }))
}

func (r *txnRig) final(h *Half) error {
	m, err := h.Final()
	require.NoError(r.t, err)
	return r.store.PutWait(m, new(PutResult))
}

func (r *txnRig) rollback(physOffset int64) {
	h, err := r.Half(physOffset, true)
	require.NoError(r.t, err)
	require.NoError(r.t, r.Decide(h, true, func() error { return nil }))
}

// pass lets time go by, a tick every half second.
func (r *txnRig) pass(d time.Duration) {
	for end := r.now().Add(d); r.now().Before(end); {
		r.clock.Add(500)
		r.tick()
	}
}

func (r *txnRig) tick() {
	waitDispatched(r.t, r.store)
	require.NoError(r.t, r.Tick(r.now(), r.rules, func(c *TxnCheck) { r.asked = append(r.asked, c) }))
}

// delivered are the bodies in queue 2 of the topic.
func (r *txnRig) delivered() []string {
	return r.queued("Orders", 2)
}

func (r *txnRig) queued(topic string, queueID int32) []string {
	waitDispatched(r.t, r.store)
	var list []string
	for _, m := range readQueue(r.t, r.store, topic, queueID, 0) {
		list = append(list, string(m.Body))
	}
	return list
}

func (r *txnRig) committedAt(topic string) int64 {
	queueOffset, ok := r.offsets.Query([]byte(GroupTrans), []byte(topic), 0)
	if !ok {
		return -1
	}
	return queueOffset
}

func TestTxnCommitAndRollback(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	a, b := r.half("a"), r.half("b")
	r.commit(a.PhysOffset)
	r.rollback(b.PhysOffset)
	r.commit(a.PhysOffset) // again: nothing happens
	r.commit(b.PhysOffset) // too late
	r.pass(4 * time.Second)
	require.Equal(t, []string{"a"}, r.delivered())
	require.Equal(t, []string{"0,1,"}, r.queued(TopicTransOp, 0))
	require.Eventually(t, func() bool { r.tick(); return r.committedAt(TopicTransHalf) == 2 && r.committedAt(TopicTransOp) == 1 }, time.Minute, time.Millisecond)
	r.pass(5 * time.Minute)
	require.Empty(t, r.asked)
	m := readQueue(t, r.store, "Orders", 2, 0)[0]
	require.Equal(t, codec.SysCommit, m.SysFlag)
	require.Equal(t, a.PhysOffset, m.PreparedTransactionOffset)
	require.Equal(t, int32(7), m.Flag)
}

func TestTxnOpMessages(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.rules.OpMaxBytes = 8
	for i := range 6 {
		r.rollback(r.half(fmt.Sprint(i)).PhysOffset)
	}
	r.tick() // a full one at once, the rest waits
	require.Equal(t, []string{"0,1,2,3,"}, r.queued(TopicTransOp, 0))
	r.clock.Add(2999)
	r.tick()
	require.Len(t, r.queued(TopicTransOp, 0), 1)
	r.clock.Add(1)
	r.tick()
	require.Equal(t, []string{"0,1,2,3,", "4,5,"}, r.queued(TopicTransOp, 0))
}

func TestTxnAsksTheProducer(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	a := r.half("a")
	r.clock.Add(2000)
	b := r.half("b")
	r.pass(3500 * time.Millisecond)
	require.Empty(t, r.asked)
	r.pass(500 * time.Millisecond)
	require.Len(t, r.asked, 1, "six seconds after its birth")
	r.pass(2 * time.Second)
	require.Len(t, r.asked, 2)
	c := r.asked[0]
	require.Equal(t, "PG", c.Group)
	require.Equal(t, "U-a", c.UniqKey)
	require.Equal(t, int64(2), c.QueueOffset)
	var m codec.Message
	_, err := codec.DecodeMessage(c.Record, &m)
	require.NoError(t, err)
	require.Equal(t, "Orders", string(m.Topic))
	require.Equal(t, int32(2), m.QueueID)
	require.Equal(t, c.PhysOffset, m.PhysOffset)

	r.commit(c.PhysOffset)
	r.commit(a.PhysOffset) // what the producer was sent first is the same transaction
	require.Equal(t, []string{"a"}, r.delivered())
	r.commit(b.PhysOffset) // not the copy, which is closed with it
	r.pass(2 * time.Minute)
	require.Len(t, r.asked, 2)
	require.Equal(t, []string{"a", "b"}, r.delivered())
	require.Equal(t, 0, r.Open())
	require.Eventually(t, func() bool { r.tick(); return r.committedAt(TopicTransHalf) == 4 }, time.Minute, time.Millisecond)
}

func TestTxnGivesUp(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.rules.CheckMax = 3
	h := r.half("a")
	r.pass(3 * time.Minute)
	require.Len(t, r.asked, 3)
	require.Equal(t, []string{"a"}, r.queued(TopicTransCheckMax, 0))
	times, _ := codec.Property(readQueue(t, r.store, TopicTransCheckMax, 0, 0)[0].Properties, codec.PropTransactionCheckTimes)
	require.Equal(t, "3", string(times))
	require.Equal(t, 0, r.Open())
	r.commit(h.PhysOffset) // late, but not lost
	require.Equal(t, []string{"a"}, r.delivered())
}

// Questions that follow each other faster than halves are read.
func TestTxnAsksOften(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.rules.TimeOut, r.rules.CheckInterval, r.rules.CheckMax = 0, 100*time.Millisecond, 2
	r.half("a")
	r.pass(20 * time.Second)
	require.Len(t, r.asked, 2)
	require.Equal(t, []string{"a"}, r.queued(TopicTransCheckMax, 0))
	require.Equal(t, 0, r.Open())
}

func TestTxnResumed(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.rules.CheckMax = 1
	r.half("a")
	r.pass(2 * time.Minute)
	require.Len(t, r.asked, 1)
	given := readQueue(t, r.store, TopicTransCheckMax, 0, 0)[0]
	record, err := r.store.MessageAt(given.PhysOffset)
	require.NoError(t, err)
	m, err := Resumed(record)
	require.NoError(t, err)
	require.NoError(t, r.store.PutWait(m, new(PutResult)))
	r.pass(3 * time.Second)
	require.Len(t, r.asked, 2)
	r.commit(r.asked[1].PhysOffset)
	require.Equal(t, []string{"a"}, r.delivered())
}

func TestTxnRetention(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.rules.Retention = time.Minute
	r.half("a")
	r.pass(2 * time.Minute)
	require.Len(t, r.asked, 2)
	require.Equal(t, []string{"a"}, r.queued(TopicTransCheckMax, 0))
}

func TestTxnImmunity(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	h := r.half("a", codec.PropCheckImmunitySeconds, "1500")
	r.pass(601 * time.Second)
	require.Empty(t, r.asked)
	all := readQueue(t, r.store, TopicTransHalf, 0, 0)
	require.Len(t, all, 2, "it moved on, so that the offsets can")
	moved := all[1]
	first, _ := codec.Property(moved.Properties, codec.PropTranPreparedQueueOffset)
	require.Equal(t, "0", string(first))
	_, counted := codec.Property(moved.Properties, codec.PropTransactionCheckTimes)
	require.False(t, counted)
	r.pass(899 * time.Second)
	require.Empty(t, r.asked)
	r.pass(2 * time.Second)
	require.Len(t, r.asked, 1)

	half, err := r.Half(h.PhysOffset, true)
	require.NoError(t, err)
	require.True(t, half.Late(r.now(), r.rules.TimeOut))
	require.False(t, half.Late(time.UnixMilli(half.BornTimestampMs).Add(1500*time.Second), r.rules.TimeOut))
	r.commit(r.asked[0].PhysOffset)
	require.Equal(t, []string{"a"}, r.delivered())
}

func TestTxnBadHalfDelaysNobody(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	var put PutResult
	require.NoError(t, r.store.PutWait(&Message{Topic: TopicTransHalf, BornTimestampMs: r.clock.Load(), BornHost: r.store.host.addr, Body: []byte("bare")}, &put))
	r.half("b", codec.PropTransactionCheckTimes, "many", codec.PropCheckImmunitySeconds, "soon")
	r.half("c", codec.PropTranPreparedQueueOffset, "-99")
	bare, err := r.Half(put.PhysOffset, true)
	require.NoError(t, err)
	require.False(t, bare.HasGroup)
	_, err = bare.Final()
	require.ErrorIs(t, err, ErrIllegal)
	r.pass(8 * time.Second)
	require.Len(t, r.asked, 3)
	for _, c := range r.asked[1:] {
		r.commit(c.PhysOffset)
	}
	require.ElementsMatch(t, []string{"b", "c"}, r.delivered())
}

func TestTxnNoHalf(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	var put PutResult
	require.NoError(t, r.store.PutWait(testMessage("T", 0, "plain"), &put))
	for _, physOffset := range []int64{put.PhysOffset, put.PhysOffset + 1, put.EndOffset, -1, 1 << 60} {
		_, err := r.Half(physOffset, true)
		require.ErrorIs(t, err, ErrNotFound, "%d", physOffset)
	}
}

func TestTxnFull(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t, func(r *txnRig) { r.limit = 3 })
	puts := []PutResult{r.half("a"), r.half("b"), r.half("c"), r.half("d")}
	r.pass(3 * time.Second)
	require.True(t, r.Full())
	require.Equal(t, 3, r.Open())
	r.rollback(puts[0].PhysOffset)
	r.rollback(puts[3].PhysOffset)
	r.pass(3 * time.Second)
	require.Equal(t, 2, r.Open())
	require.False(t, r.Full())
}

// A failed put leaves a transaction open, and it can be ended later.
func TestTxnFailedCommit(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	a := r.half("a")
	h, err := r.Half(a.PhysOffset, true)
	require.NoError(t, err)
	require.ErrorIs(t, r.Decide(h, true, func() error { return ErrNoSpace }), ErrNoSpace)
	r.pass(8 * time.Second)
	require.Len(t, r.asked, 1)
	r.commit(a.PhysOffset)
	require.Equal(t, []string{"a"}, r.delivered())
}

// After each step of a transaction the process is killed. Whatever had happened by then, the message is delivered once:
// whoever is asked commits.
func TestTxnKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	var a PutResult
	steps := []struct {
		name string
		do   func(r *txnRig)
	}{
		{"half stored", func(r *txnRig) { a = r.half("a") }},
		{"another one open", func(r *txnRig) { r.half("b", codec.PropCheckImmunitySeconds, "60") }},
		{"copy stored", func(r *txnRig) { r.pass(8 * time.Second) }},
		{"final message stored", func(r *txnRig) {
			h, err := r.Half(r.asked[0].PhysOffset, true)
			require.NoError(r.t, err)
			require.NoError(r.t, r.final(h))
		}},
		{"decided", func(r *txnRig) { r.rollback(r.asked[0].PhysOffset) }},
		{"op message stored", func(r *txnRig) { require.NoError(r.t, r.writeOps(r.now(), 1, 0, true)) }},
		{"offsets moved", func(r *txnRig) { r.Txn.moveOn(r.now(), true) }},
		{"offsets saved", func(r *txnRig) { require.NoError(r.t, r.offsets.Persist()) }},
	}
	for last := range steps {
		for _, ownFile := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, own file %t", steps[last].name, ownFile), func(t *testing.T) {
				r := newTxnRig(t)
				for _, step := range steps[:last+1] {
					step.do(r)
				}
				if !ownFile {
					require.NoError(t, os.RemoveAll(r.path))
				}
				r.asked = nil
				r.crash()
				r.commit(a.PhysOffset) // a producer that did not hear tries again
				for range 3 {
					r.pass(70 * time.Second)
					for _, c := range r.asked {
						r.commit(c.PhysOffset)
					}
					r.crash()
				}
				want := []string{"a", "b"}[:min(last+1, 2)]
				require.ElementsMatch(t, want, r.delivered())
				require.Equal(t, 0, r.Open())
			})
		}
	}
}

// The same without a producer that tries again: only the broker's questions end transactions.
func TestTxnKilledThenAsked(t *testing.T) {
	t.Parallel()
	for _, copied := range []bool{false, true} {
		t.Run(fmt.Sprintf("copied %t", copied), func(t *testing.T) {
			t.Parallel()
			r := newTxnRig(t)
			a := r.half("a")
			at := a.PhysOffset
			if copied {
				r.pass(8 * time.Second)
				at = r.asked[0].PhysOffset
			}
			r.asked = nil
			r.commit(at)
			r.crash()
			r.pass(2 * time.Minute)
			require.Empty(t, r.asked)
			require.Equal(t, []string{"a"}, r.delivered())
			require.NotEmpty(t, r.queued(TopicTransOp, 0), "a Java broker has to see that it is decided")
		})
	}
}

// Java puts a copy of a half that is decided when its op message waits, and moves the offset over the half.
func TestTxnDecidedBeforeItsCopy(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	a := r.half("a")
	r.commit(a.PhysOffset)
	h, err := r.Half(a.PhysOffset, true)
	require.NoError(t, err)
	r.clock.Add(5000)
	require.NoError(t, r.store.PutWait(h.copied(1, false), new(PutResult)))
	require.NoError(t, r.Txn.Close())
	waitDispatched(t, r.store)
	require.NoError(t, r.offsets.Commit([]byte(GroupTrans), []byte(TopicTransHalf), 0, 1))
	require.NoError(t, r.offsets.Commit([]byte(GroupTrans), []byte(TopicTransOp), 0, 1))
	require.NoError(t, r.offsets.Persist())
	r.crash()
	r.pass(time.Minute)
	require.Empty(t, r.asked)
	require.Equal(t, []string{"0,", "1,"}, r.queued(TopicTransOp, 0))
}

func TestTxnCleanStop(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	r.commit(r.half("a").PhysOffset)
	r.half("b")
	require.NoError(t, r.Txn.Close())
	require.NoError(t, r.offsets.Persist())
	require.Equal(t, []string{"0,"}, r.queued(TopicTransOp, 0))
	r.crash()
	r.pass(8 * time.Second)
	require.Len(t, r.asked, 1)
	require.Equal(t, "U-b", r.asked[0].UniqKey)
}

// withoutProps is a properties text as a map, without the named ones.
func withoutProps(props []byte, names ...string) map[string]string {
	m := make(map[string]string)
	for it := codec.NewPropertyIter(props); it.Next(); {
		m[string(it.Key)] = string(it.Value)
	}
	for _, name := range names {
		delete(m, name)
	}
	return m
}

// apacheRecord is what Apache's store has at a place.
func apacheRecord(t *testing.T, s *Store, physOffset int64) *codec.Message {
	t.Helper()
	record, err := s.MessageAt(physOffset)
	require.NoError(t, err)
	m := new(codec.Message)
	_, err = codec.DecodeMessage(record, m)
	require.NoError(t, err)
	return m
}

// sameAsApache compares what a put would store with a record of Apache's: all but places, times and the order of
// properties.
func sameAsApache(t *testing.T, want *codec.Message, got *Message) {
	t.Helper()
	require.Equal(t, string(want.Topic), got.Topic)
	require.Equal(t, want.QueueID, got.QueueID)
	require.Equal(t, want.Flag, got.Flag)
	require.Equal(t, want.SysFlag, got.SysFlag)
	require.Equal(t, want.ReconsumeTimes, got.ReconsumeTimes)
	require.Equal(t, want.BornTimestampMs, got.BornTimestampMs)
	require.Equal(t, want.BornHost, got.BornHost)
	require.Equal(t, want.PreparedTransactionOffset, got.PreparedTransactionOffset)
	require.Equal(t, string(want.Body), string(got.Body))
	require.Equal(t, withoutProps(want.Properties), withoutProps(got.Properties))
	require.Equal(t, int(want.TotalSizeBytes), codec.MessageSize(len(got.Body), len(got.Topic), len(got.Properties), got.SysFlag))
}

// askedByApache is the body of a recorded CHECK_TRANSACTION_STATE, about the copy at 25689 of the half at 23841.
const askedByApache = "AAABeNqjIKcEWLrAAAAAAwAAAAAAAAAAAAAABAAAAAAAAGRZAAAAAAAAAaH7y0nOfwAAAQAA4hoAAAGh+8tKSn8AAAIAAFGvAAAAAAAAAAAAAAAAAAAACXR4" +
	"IGNvbW1pdARGeFR4ARBNU0dfUkVHSU9OAURlZmF1bHRSZWdpb24CVU5JUV9LRVkBQzAwMDAyMDIwQ0I3NEUwRTJGMkE2NzYzNjFDQzAwMDACQ0xVU1RFUgFGaXh0dXJl" +
	"Q2x1c3RlcgJQR1JPVVABUEdfdHgCX190cmFuc2FjdGlvbklkX18BQzAwMDAyMDIwQ0I3NEUwRTJGMkE2NzYzNjFDQzAwMDACVEFHUwFUYWdUeAJUUkFOX01TRwF0cnVl" +
	"AktFWVMBdHgtY29tbWl0AldBSVQBZmFsc2UCVFJBQ0VfT04BdHJ1ZQJUUkFOU0FDVElPTl9DSEVDS19USU1FUwExAlJFQUxfVE9QSUMBRnhUeAJSRUFMX1FJRAEzAg=="

func openApacheTxn(t *testing.T, forgetOffsets bool) *txnRig {
	return newTxnRig(t, func(r *txnRig) {
		r.opts.Dir = unpackFixture(t, fixtureClean, "")
		r.opts.CommitLogDir = filepath.Join(r.opts.Dir, "commitlog")
		r.opts.StoreHost = netip.MustParseAddrPort("127.0.0.2:20911")
		r.clock.Store(1795226800000)
		if forgetOffsets {
			for _, name := range []string{"consumerOffset.json", "consumerOffset.json.bak"} {
				require.NoError(t, os.Remove(filepath.Join(r.opts.Dir, "config", name)))
			}
		}
	})
}

func TestTxnMessagesAreApaches(t *testing.T) {
	t.Parallel()
	r := openApacheTxn(t, false)
	const halfAt, finalAt, copyAt, opAt = 23841, 24583, 25689, 26084
	want := apacheRecord(t, r.store, halfAt)
	sent := &Message{Topic: "FxTx", QueueID: 3, SysFlag: codec.SysPrepared, BornTimestampMs: want.BornTimestampMs, BornHost: want.BornHost,
		Body: want.Body, Properties: codec.AppendPropertiesWithout(nil, want.Properties, "__transactionId__", "REAL_TOPIC", "REAL_QID")}
	Halve(sent, []byte("C00002020CB74E0E2F2A676361CC0000"))
	sameAsApache(t, want, sent)

	h, err := r.Half(halfAt, true)
	require.NoError(t, err)
	final, err := h.Final()
	require.NoError(t, err)
	sameAsApache(t, apacheRecord(t, r.store, finalAt), final)

	again := h.copied(1, false)
	sameAsApache(t, apacheRecord(t, r.store, copyAt), again)

	op := apacheRecord(t, r.store, opAt)
	require.Equal(t, "0,1,4,", string(op.Body))
	sameAsApache(t, op, r.opMessage(op.Body, time.UnixMilli(op.BornTimestampMs)))

	record, err := base64.StdEncoding.DecodeString(askedByApache)
	require.NoError(t, err)
	var wantAsked, gotAsked codec.Message
	_, err = codec.DecodeMessage(record, &wantAsked)
	require.NoError(t, err)
	c := h.check(again, &PutResult{QueueOffset: 4, PhysOffset: copyAt})
	_, err = codec.DecodeMessage(c.Record, &gotAsked)
	require.NoError(t, err)
	require.Equal(t, withoutProps(wantAsked.Properties), withoutProps(gotAsked.Properties))
	wantAsked.Properties, gotAsked.Properties = nil, nil
	require.Equal(t, wantAsked, gotAsked)
	require.Equal(t, "C00002020CB74E0E2F2A676361CC0000", c.UniqKey)
	require.Equal(t, "7F000002000051AF0000000000006459", string(codec.AppendOffsetMsgID(nil, c.StoreHost, c.PhysOffset)))
}

// All transactions in Apache's store are decided; nobody is asked about one.
func TestTxnTakesApachesStoreOver(t *testing.T) {
	t.Parallel()
	for _, forget := range []bool{false, true} {
		t.Run(fmt.Sprintf("offsets lost %t", forget), func(t *testing.T) {
			t.Parallel()
			r := openApacheTxn(t, forget)
			r.pass(time.Minute)
			require.Empty(t, r.asked)
			require.Equal(t, 0, r.Open())
			ops := int64(4)
			if forget {
				ops++ // that the last half but one was replaced is not written anywhere, so an op message says now that it is done
			}
			require.Eventually(t, func() bool {
				r.tick()
				return r.committedAt(TopicTransHalf) == 11 && r.committedAt(TopicTransOp) == ops
			},
				time.Minute, time.Millisecond)
			r.half("ours")
			r.pass(8 * time.Second)
			require.Len(t, r.asked, 1)
		})
	}
}

// Open transactions are counted by topic in Apache's file; a start counts them anew, whatever the file says.
func TestTxnCounts(t *testing.T) {
	t.Parallel()
	r := newTxnRig(t)
	count := func() int64 { return r.OpenByTopic()["Orders"].Count }
	a, _ := r.half("a"), r.half("b")
	require.Eventually(t, func() bool { r.pass(time.Second); return count() == 2 }, time.Minute, time.Millisecond)
	r.pass(40 * time.Second)
	require.EqualValues(t, 2, count(), "a copy takes the place of the half")
	r.rollback(a.PhysOffset)
	require.EqualValues(t, 1, count())
	r.pass(4 * time.Second) // the op message is written
	require.NoError(t, r.PersistCounts())
	path := filepath.Join(r.opts.Dir, "config", "transactionMetrics")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Regexp(t, `^\{"dataVersion":\{"counter":\d+,"stateVersion":0,"timestamp":\d+\},"transactionCount":\{"Orders":\{"count":1,"timeStamp":\d+\}\}\}$`, string(text))

	require.NoError(t, os.WriteFile(path, []byte(`{"transactionCount":{"Orders":{"count":99}}}`), 0o644))
	r.crash()
	require.Eventually(t, func() bool { r.pass(time.Second); return count() == 1 }, time.Minute, time.Millisecond)
	r.RemoveTopic("Orders")
	require.NotContains(t, r.OpenByTopic(), "Orders")
}
