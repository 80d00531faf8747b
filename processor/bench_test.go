package processor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// hotRun returns a function that has a handler answer the same request again and again, as an event loop does.
func hotRun(t testing.TB, b *rig, handler remoting.Handler, frame []byte) func() {
	req := b.requestOf(frame, true)
	var out []byte
	return func() {
		if err := codec.ParseFrame(frame, &req.Command); err != nil {
			t.Fatal(err)
		}
		resp, err := handler(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp == nil {
			return
		}
		out = codec.AppendFrame(out[:0], resp)
		if resp.Owner != nil {
			resp.Owner.Release()
			resp.Owner = nil
		}
	}
}

func realClock(s *setup) { s.store.Now, s.opts.Now = time.Now, time.Now }

func sendFrame() []byte {
	props := propText("KEYS", "order-1", "UNIQ_KEY", "C000020240264E0E2F2A676C89050000", "WAIT", "true", "TAGS", "TagA")
	return frameOf(codec.SendMessageV2, sendFields("T", fields{"i": props}), strings.Repeat("b", 128), 0)
}

// leastAllocs returns the allocations of one run in the quietest of some rounds: what allocates allocates in each of them, what a store
// writes once a second does not.
func leastAllocs(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 9 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}

func TestSendDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("pools allocate under the race detector")
	}
	b := newRig(t, realClock)
	b.topicOf("T", 4)
	run := hotRun(t, b, b.send, sendFrame())
	for range 100 {
		run()
	}
	require.Less(t, leastAllocs(2000, run), 0.5)
}

func TestPullFoundDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("pools allocate under the race detector")
	}
	b := newRig(t, realClock)
	b.topicOf("T", 4)
	for range 32 {
		b.put("T", 0, "TagA", strings.Repeat("b", 128))
	}
	require.Equal(t, codec.Success, b.request(codec.PullMessage, pullFields("G", "T", nil), "").Code) // the first read maps the queue
	for _, subscription := range []string{"*", "TagA || TagB"} {
		frame := frameOf(codec.PullMessage, pullFields("G", "T", fields{"subscription": subscription}), "", 0)
		run := hotRun(t, b, b.pull, frame)
		for range 100 {
			run()
		}
		require.Less(t, leastAllocs(2000, run), 0.5, subscription)
	}
}

// TestParkingDoesNotAllocate: neither a pull that waits until its message comes, nor a pop or lite pop that waits in vain.
func TestParkingDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("pools allocate under the race detector")
	}
	t.Run("pull", func(t *testing.T) {
		r := newRig(t, realClock)
		p := newParking(t, r, r.pull, codec.PullMessage, waitFields(fields{"queueOffset": parkingSlot}))
		r.hold.woken.submit = p.submit
		next := int64(-1)
		run := func() {
			next++
			p.park(t, next)
			p.arrive(t)
		}
		run()
		require.Less(t, leastAllocs(500, run), 0.5)
	})
	t.Run("pop", func(t *testing.T) {
		r := newRig(t)
		p := newParking(t, r, r.Processor.pop, codec.PopMessage, r.popFields(fields{"bornTime": parkingSlot}))
		r.popping.hold.woken.submit = p.submit
		run := func() {
			p.park(t, r.clock.Now().UnixMilli())
			r.clock.move(time.Minute)
			r.popping.hold.tick(r.clock.Now())
			<-p.conn.answered
		}
		run()
		require.Less(t, leastAllocs(500, run), 0.5)
	})
	t.Run("lite pop", func(t *testing.T) {
		r := newLiteRig(t)
		r.liteAdd("c", "a")
		p := newParking(t, r, r.popLite, codec.PopLiteMessage, r.litePopFields("c", fields{"bornTime": parkingSlot, "pollTime": "15000"}))
		r.lites.hold.woken.submit = p.submit
		run := func() {
			p.park(t, r.clock.Now().UnixMilli())
			r.clock.move(15 * time.Second)
			r.lites.hold.tick(r.clock.Now())
			<-p.conn.answered
		}
		run()
		require.Less(t, leastAllocs(500, run), 0.5)
	})
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRig(b, realClock, func(s *setup) { s.store.SegmentBytes = 1 << 30 })
			r.topicOf("T", 4)
			props := propText("KEYS", "order-1", "UNIQ_KEY", "C000020240264E0E2F2A676C89050000", "WAIT", "true", "TAGS", "TagA")
			frame := frameOf(codec.SendMessageV2, sendFields("T", fields{"i": props}), strings.Repeat("b", size), 0)
			req := r.requestOf(frame, true)
			var out []byte
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				require.NoError(b, codec.ParseFrame(frame, &req.Command))
				resp, err := r.send(req)
				for err == remoting.ErrHandOver {
					setInline(req, false)
					resp, err = r.send(req)
					setInline(req, true)
				}
				if err != nil {
					b.Fatal(err)
				}
				out = codec.AppendFrame(out[:0], resp)
				resp.Owner.Release()
			}
		})
	}
}

func BenchmarkPullFound(b *testing.B) {
	r := newRig(b, realClock)
	r.topicOf("T", 4)
	for range 32 {
		r.put("T", 0, "TagA", strings.Repeat("b", 1024))
	}
	run := hotRun(b, r, r.pull, frameOf(codec.PullMessage, pullFields("G", "T", nil), "", 0))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/msg")
}

// BenchmarkPullPark parks a pull and has it answered by the message it waits for, whose append and dispatch are in the time.
func BenchmarkPullPark(b *testing.B) {
	r := newRig(b, realClock, func(s *setup) { s.store.SegmentBytes = 1 << 30 })
	parking := newParking(b, r, r.pull, codec.PullMessage, waitFields(fields{"queueOffset": parkingSlot}))
	r.hold.woken.submit = parking.submit
	i := 0
	parking.run(b, func() int64 { i++; return int64(i - 1) })
}

// BenchmarkPopPark parks a pop of one queue and has it answered by the message it waits for, whose append and dispatch are in the time.
// Nothing is acknowledged.
func BenchmarkPopPark(b *testing.B) {
	r := newRig(b, realClock, func(s *setup) { s.store.SegmentBytes = 1 << 30 })
	parking := newParking(b, r, r.Processor.pop, codec.PopMessage,
		r.popFields(fields{"queueId": "0", "invisibleTime": "3000000", "bornTime": parkingSlot}))
	r.popping.hold.woken.submit = parking.submit
	parking.run(b, func() int64 { return time.Now().UnixMilli() })
}

// parkingSlot is a number of a request's header that is another for each request.
const parkingSlot = "7000000000000"

// parking has one request wait for a message again and again. It allocates nothing itself.
type parking struct {
	r       *rig
	handler remoting.Handler
	frame   []byte
	slot    []byte // of frame
	req     *remoting.Request
	conn    *sink
	msg     store.Message
	put     store.PutResult
}

func newParking(t testing.TB, r *rig, handler remoting.Handler, code int32, header fields) *parking {
	r.topicOf("T", 4)
	p := &parking{r: r, handler: handler, frame: frameOf(code, header, "", 0)}
	at := bytes.Index(p.frame, []byte(parkingSlot))
	require.Positive(t, at)
	p.slot = p.frame[at : at+len(parkingSlot)]
	p.conn = &sink{fakeConn: r.conn, answered: make(chan struct{}, 1)}
	p.req = r.requestOf(p.frame, true)
	p.req.Conn = p.conn
	p.msg = store.Message{Topic: "T", BornHost: testHost, Body: []byte("x")}
	return p
}

// submit stands for the pull pool.
func (p *parking) submit(_ remoting.PoolKind, task interface{ Run() }) bool {
	task.Run()
	return true
}

// park sends the request with that number.
func (p *parking) park(t testing.TB, slot int64) {
	for i := len(p.slot) - 1; i >= 0; i, slot = i-1, slot/10 {
		p.slot[i] = byte('0' + slot%10)
	}
	if err := codec.ParseFrame(p.frame, &p.req.Command); err != nil {
		t.Fatal(err)
	}
	if resp, err := p.handler(p.req); resp != nil || err != nil {
		t.Fatal("not parked", resp, err)
	}
}

// arrive stores what it waits for.
func (p *parking) arrive(t testing.TB) {
	if err := p.r.store.PutWait(&p.msg, &p.put); err != nil {
		t.Fatal(err)
	}
	<-p.conn.answered
}

func (p *parking) run(b *testing.B, slot func() int64) {
	for i := range 100 + b.N {
		if i == 100 {
			b.ReportAllocs()
			b.ResetTimer()
		}
		p.park(b, slot())
		p.arrive(b)
	}
}

// sink is a connection that encodes answers and throws them away.
type sink struct {
	*fakeConn
	out      []byte
	answered chan struct{}
}

func (s *sink) Send(c *codec.Command) error {
	s.out = codec.AppendFrame(s.out[:0], c)
	if c.Owner != nil {
		c.Owner.Release()
		c.Owner = nil
	}
	s.answered <- struct{}{}
	return nil
}

// BenchmarkArrivedNobodyWaits is what the dispatcher pays for each arrival while pulls wait for other queues.
func BenchmarkArrivedNobodyWaits(b *testing.B) {
	r := newRig(b)
	r.topicOf("T", 4)
	r.request(codec.PullMessage, waitFields(fields{"queueId": "1"}), "")
	batch := []store.Arrival{{Topic: "T", SameTags: true}}
	b.ReportAllocs()
	for range b.N {
		r.Arrived(batch)
	}
}
