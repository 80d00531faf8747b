package processor

import (
	"bytes"
	"fmt"
	"strconv"
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
	r := newRig(b, realClock)
	r.topicOf("T", 4)
	conn := &sink{fakeConn: r.conn, answered: make(chan struct{}, 1)}
	r.hold.p.opts.Submit = func(_ remoting.PoolKind, task interface{ Run() }) bool { task.Run(); return true }
	const digits = "0000000000"
	frame := frameOf(codec.PullMessage, waitFields(fields{"queueOffset": digits}), "", 0)
	at := bytes.Index(frame, []byte(digits))
	require.Positive(b, at)
	req := r.requestOf(frame, true)
	req.Conn = conn
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		copy(frame[at:], fmt.Sprintf("%010d", i))
		if err := codec.ParseFrame(frame, &req.Command); err != nil {
			b.Fatal(err)
		}
		if resp, err := r.pull(req); resp != nil || err != nil {
			b.Fatal("not parked", resp, err)
		}
		r.putUnseen("T", 0, "", "x")
		<-conn.answered
	}
}

// BenchmarkPopPark parks a pop of one queue and has it answered by the message it waits for, whose append and dispatch are in the time.
// Nothing is acknowledged.
func BenchmarkPopPark(b *testing.B) {
	r := newRig(b, realClock, func(s *setup) { s.store.SegmentBytes = 1 << 30 })
	r.topicOf("T", 4)
	conn := &sink{fakeConn: r.conn, answered: make(chan struct{}, 1)}
	r.popping.hold.woken.submit = func(_ remoting.PoolKind, task interface{ Run() }) bool { task.Run(); return true }
	const begin = "0000000000000"
	frame := frameOf(codec.PopMessage, r.popFields(fields{"queueId": "0", "invisibleTime": "300000", "bornTime": begin}), "", 0)
	at := bytes.Index(frame, []byte(begin))
	require.Positive(b, at)
	req := r.requestOf(frame, true)
	req.Conn = conn
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		strconv.AppendInt(frame[at:at], r.clock.Now().UnixMilli(), 10)
		if err := codec.ParseFrame(frame, &req.Command); err != nil {
			b.Fatal(err)
		}
		if resp, err := r.Processor.pop(req); resp != nil || err != nil {
			b.Fatal("not parked", resp, err)
		}
		r.putUnseen("T", 0, "", "x")
		<-conn.answered
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
	a := store.Arrival{Topic: "T", SameTags: true}
	b.ReportAllocs()
	for range b.N {
		r.Arrived(a)
	}
}
