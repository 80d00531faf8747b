package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// popRig is the deliveries in flight of a store whose clock the test moves.
type popRig struct {
	t       testing.TB
	store   *Store
	offsets *Offsets
	pop     *Pop
	now     time.Time
}

func newPopRig(t testing.TB, dir string) *popRig {
	t.Helper()
	r := &popRig{t: t, now: time.UnixMilli(1795226000000)}
	opts := DefaultOptions(dir)
	opts.SegmentBytes = 1 << 20
	s, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	r.store = s
	r.offsets, err = OpenOffsets(dir+"/config/consumerOffset.json", OffsetsOptions{})
	require.NoError(t, err)
	r.open()
	return r
}

func (r *popRig) open() {
	r.t.Helper()
	pop, err := OpenPop(r.store, r.offsets, PopOptions{TableOptions: TableOptions{Now: func() time.Time { return r.now }}, Cluster: "C", BrokerName: "b"})
	require.NoError(r.t, err)
	r.pop = pop
}

func (r *popRig) take(queueID int32, from int64, count int) {
	r.t.Helper()
	q := r.pop.Lock([]byte("T"), []byte("G"), queueID)
	defer q.Unlock()
	t := PopTaking{StartOffset: from, Next: from + int64(count), PopTimeMs: r.now.UnixMilli(), InvisibleMs: 10_000}
	for i := range count {
		t.QueueOffsets = append(t.QueueOffsets, from+int64(i))
	}
	require.NoError(r.t, q.Take(&t))
}

func (r *popRig) ack(queueID int32, from, queueOffset int64) error {
	q := r.pop.Lock([]byte("T"), []byte("G"), queueID)
	defer q.Unlock()
	return q.Ack(from, r.now.UnixMilli(), []int64{queueOffset}, false)
}

func (r *popRig) dispatched() {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.store.Dispatched() >= r.store.Written() }, 10*time.Second, 100*time.Microsecond)
}

// due lists what becomes visible again.
func (r *popRig) due() (list []string) {
	var d PopDue
	for r.pop.NextDue(r.now, &d) {
		list = append(list, fmt.Sprint(d.QueueID, d.QueueOffsets))
		require.NoError(r.t, r.pop.Revived(&d, d.QueueOffsets, time.Second))
	}
	return list
}

// TestPopSettlesOnlyWhatIsDone: the committed place of the revive topic stays before the oldest delivery that is pending.
func TestPopSettlesOnlyWhatIsDone(t *testing.T) {
	t.Parallel()
	r := newPopRig(t, t.TempDir())
	r.take(0, 0, 2)
	r.take(1, 0, 1)
	require.NoError(t, r.ack(1, 0, 0))
	require.NoError(t, r.ack(0, 0, 1))
	require.ErrorIs(t, r.ack(1, 0, 0), ErrNotFound)
	settled := func() int64 {
		var at int64
		log := r.pop.Find([]byte("T"), []byte("G")).ReviveQueueID()
		require.Eventually(t, func() bool {
			r.pop.Tick(r.now)
			known := false
			if at, known = r.offsets.Query([]byte(reviveGroup), []byte(r.pop.Topic()), log); !known {
				at = -1
			}
			cursor, ok := r.offsets.Query([]byte("G"), []byte("T"), 0)
			return ok && cursor == 2 && !r.pop.await.pending
		}, 10*time.Second, time.Millisecond)
		return at
	}
	require.Equal(t, int64(-1), settled(), "nothing is settled: the first is pending")
	require.NoError(t, r.ack(0, 0, 0))
	require.Eventually(t, func() bool { return settled() == 4 }, 10*time.Second, time.Millisecond)
	r.dispatched()
	r.open()
	require.Zero(t, r.pop.Checkpoints())
}

// TestPopRecoversAtEveryRecord: whatever records of the revive topic a killed process had written, the next one knows what is in
// flight, and what it does not know acknowledged comes back.
func TestPopRecoversAtEveryRecord(t *testing.T) {
	t.Parallel()
	r := newPopRig(t, t.TempDir())
	steps := []func(){
		func() { r.take(0, 0, 2) },
		func() { require.NoError(t, r.ack(0, 0, 0)) },
		func() { r.take(0, 2, 3) },
		func() { require.NoError(t, r.ack(0, 2, 4)) },
		func() { require.NoError(t, r.ack(0, 0, 1)) },
	}
	want := [][]string{{"0 [0 1]"}, {"0 [1]"}, {"0 [1]", "0 [2 3 4]"}, {"0 [1]", "0 [2 3]"}, {"0 [2 3]"}}
	now := r.now
	for i := range steps {
		steps[i]()
		r.dispatched()
		other := &popRig{t: t, store: r.store, offsets: r.emptyOffsets(), now: now}
		other.open()
		require.Empty(t, other.due(), "after step %d all is invisible", i)
		pending := map[string]bool{}
		for i := range other.pop.shards {
			for _, group := range other.pop.shards[i].groups {
				for _, c := range group.queues[0].checkpoints {
					var offsets []int64
					for m := range int(c.count) {
						if c.acked&(1<<m) == 0 {
							offsets = append(offsets, c.offset(m))
						}
					}
					pending[fmt.Sprint(0, offsets)] = true
				}
			}
		}
		for _, w := range want[i] {
			require.True(t, pending[w], "after step %d: %v, want %s", i, pending, w)
		}
		require.Len(t, pending, len(want[i]))
	}
}

func (r *popRig) emptyOffsets() *Offsets {
	o, err := OpenOffsets(r.t.TempDir()+"/consumerOffset.json", OffsetsOptions{})
	require.NoError(r.t, err)
	return o
}

// TestPopTakesOverJavas has bodies that Apache's 5.4.0 broker wrote: a checkpoint waits for the acks that Java's timer still holds, and
// what the timer brings later is taken in.
func TestPopTakesOverJavas(t *testing.T) {
	t.Parallel()
	r := newPopRig(t, t.TempDir())
	put := func(body, tags string) {
		props := codec.AppendProperty(nil, codec.PropTags, tags)
		props = codec.AppendProperty(props, codec.PropUniqKey, "k")
		m := Message{Topic: ReviveTopic("C"), QueueID: 1, Body: []byte(body), Properties: props, TagsCode: codec.TagsCode([]byte(tags))}
		m.BornHost = r.store.host.addr
		require.NoError(t, r.store.PutWait(&m, new(PutResult)))
	}
	put(`{"bm":0,"bn":"broker-a","c":"CG_pop","d":[0,1],"it":10000,"n":2,"pt":1795225887502,"q":3,"reviveTime":1795225897502,"ro":0,"so":0,"t":"FxPop"}`, "ck")
	r.dispatched()
	r.open()
	require.EqualValues(t, 1, r.pop.Checkpoints())
	reached := time.UnixMilli(1795225897502)
	r.pop.opts.TimerReached = func() time.Time { return reached }
	require.Empty(t, r.due(), "its acks may still be in the timer")
	r.pop.wheelEnd = 1
	put(`{"ao":0,"bn":"broker-a","c":"CG_pop","pt":1795225887502,"q":3,"so":0,"t":"FxPop"}`, "ack")
	put(`{"bm":0,"bn":"broker-a","c":"CG_pop","d":[0],"it":30000,"n":1,"pt":1795225887574,"q":3,"reviveTime":1795225917574,"ro":0,"so":7,"t":"FxPop"}`, "ck")
	r.dispatched()
	r.pop.Tick(r.now)
	require.EqualValues(t, 2, r.pop.Checkpoints())
	r.now = r.now.Add(time.Second)
	reached = r.now
	require.Equal(t, []string{"3 [1]", "3 [7]"}, r.due())
	require.Zero(t, r.pop.Checkpoints())
}

// TestPopAcksOfJavasDeliveries: what clients say of a delivery that Java's timer still holds goes through the timer, with the body and
// the key that Apache's 5.4.0 broker gives it, and counts when the checkpoint comes.
func TestPopAcksOfJavasDeliveries(t *testing.T) {
	t.Parallel()
	r := newPopRig(t, t.TempDir())
	var handed []Message
	wheel := Message{Topic: TopicWheelTimer, Body: []byte("x"), BornHost: r.store.host.addr}
	require.NoError(t, r.store.PutWait(&wheel, new(PutResult)))
	r.dispatched()
	r.open()
	r.pop.opts.Redirect = func(m *Message, dueMs int64) {
		require.EqualValues(t, r.now.UnixMilli()+9_000, dueMs)
		handed = append(handed, *m)
		m.Topic, m.QueueID = TopicWheelTimer, 0
	}
	receipt := PopReceipt{StartOffset: 5, PopTimeMs: r.now.UnixMilli() - 1000, InvisibleMs: 10_000, ReviveQueueID: 2}
	lock := func() *PopQueue { return r.pop.Lock([]byte("T"), []byte("G"), 3) }
	q := lock()
	for _, none := range []PopReceipt{
		{5, r.now.UnixMilli() - 20_000, 10_000, 2}, {5, r.now.UnixMilli(), 10_000, 2}, {5, receipt.PopTimeMs, 10_000, 99}, {5, receipt.PopTimeMs, 10_000, -1},
	} {
		taken, err := q.AckForeign(&none, []int64{5})
		require.NoError(t, err)
		require.False(t, taken, "%+v", none)
	}
	taken, err := q.AckForeign(&receipt, []int64{5})
	require.NoError(t, err)
	require.True(t, taken)
	popTimeMs, err := q.ExtendForeign(&receipt, 6, r.now.UnixMilli(), 30_000)
	require.NoError(t, err)
	require.Equal(t, r.now.UnixMilli(), popTimeMs)
	q.Unlock()
	require.EqualValues(t, 1, r.pop.Checkpoints())
	require.Len(t, handed, 2)
	require.Equal(t, fmt.Sprintf(`{"ao":5,"bn":"b","c":"G","pt":%d,"q":3,"so":5,"t":"T"}`, receipt.PopTimeMs), string(handed[0].Body))
	key, _ := codec.Property(handed[0].Properties, codec.PropUniqKey)
	require.Equal(t, fmt.Sprintf("T@3@5@G@%d@b@ack", receipt.PopTimeMs), string(key))

	foreign := func(body, tags string) {
		props := codec.AppendProperty(codec.AppendProperty(nil, codec.PropTags, tags), codec.PropUniqKey, "k")
		m := Message{Topic: ReviveTopic("C"), QueueID: 2, Body: []byte(body), Properties: props, BornHost: r.store.host.addr}
		require.NoError(t, r.store.PutWait(&m, new(PutResult)))
	}
	r.now = r.now.Add(9 * time.Second)
	foreign(fmt.Sprintf(`{"bm":0,"bn":"b","c":"G","d":[0,1,2],"it":10000,"n":3,"pt":%d,"q":3,"so":5,"t":"T"}`, receipt.PopTimeMs), "ck")
	for _, m := range handed {
		foreign(string(m.Body), "ack")
	}
	r.dispatched()
	r.pop.Tick(r.now)
	r.now = r.now.Add(2 * time.Second)
	require.Equal(t, []string{"3 [7]"}, r.due(), "one is acknowledged and one renewed")
	r.now = r.now.Add(30 * time.Second)
	require.Equal(t, []string{"3 [6]"}, r.due())
}
