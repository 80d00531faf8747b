package processor

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// BenchmarkSendManyTopics sends 1 KiB to one topic of 8 queues and, in turn, to each of 1,024 such topics, 32 messages at a time, and has the
// dispatcher follow them; 8,192 messages each are one operation. With many topics what a send looks up is in none of the processor's nearer
// caches: "many/one" is what that costs.
func BenchmarkSendManyTopics(b *testing.B) {
	const topics, queues, window = 1024, 8, 32      // messages
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as a server on one core
	r := newRig(b, realClock, func(s *setup) { s.store.SegmentBytes = 1 << 30 })
	for i := range topics {
		r.topicOf(topicNumbered(i), queues)
	}
	w := newManySends(b, r, window)
	next, times := [2]int{}, [2][]time.Duration{}
	turn := func(of int) time.Duration {
		w.fill(func(slot int) (topic, queue int) {
			n := next[of] + slot
			if of == 0 {
				return 0, n % queues
			}
			return n / queues % topics, n % queues
		})
		next[of] += window
		began := time.Now()
		w.run(b)
		return time.Since(began)
	}
	const round = topics * queues / window // windows: each queue once
	for range 2 * round {
		turn(1)
	}
	r.dispatched() // the queues' files are there
	b.ResetTimer()
	for range b.N {
		for of := range times {
			for range round {
				times[of] = append(times[of], turn(of))
			}
		}
	}
	b.StopTimer()
	median := func(t []time.Duration) float64 {
		slices.Sort(t)
		return float64(t[len(t)/2]) / window
	}
	one, many := median(times[0]), median(times[1])
	b.ReportMetric(one, "one-ns")
	b.ReportMetric(many, "many-ns")
	b.ReportMetric(many/one, "many/one")
}

const manyKey = "C000020240264E0E2F2A676000000000"

func topicNumbered(n int) string { return fmt.Sprintf("bench_topic_%05d", n) }

// manySends is a window of sends as it lies in a connection's buffer.
type manySends struct {
	frames [][]byte
	sent   int
	run    func(b *testing.B)

	topicAt, queueAt, keyAt int // of their last digits
}

func newManySends(b *testing.B, r *rig, window int) *manySends {
	props := propText("UNIQ_KEY", manyKey, "WAIT", "true")
	frame := frameOf(codec.SendMessageV2, sendFields(topicNumbered(99999), fields{"e": "7", "i": props}), strings.Repeat("b", 1024), 0)
	w := &manySends{}
	for at, text := range map[*int]string{&w.topicAt: "topic_99999", &w.queueAt: `"e":"7`, &w.keyAt: "UNIQ_KEY\\u0001" + manyKey} {
		*at = bytes.Index(frame, []byte(text)) + len(text) - 1
		require.GreaterOrEqual(b, *at, len(text))
	}
	block := bytes.Repeat(frame, window)
	for i := range window {
		w.frames = append(w.frames, block[i*len(frame):][:len(frame)])
	}
	req := r.requestOf(w.frames[0], true)
	var out []byte
	w.run = func(b *testing.B) {
		out = out[:0]
		for _, frame := range w.frames {
			if err := codec.ParseFrame(frame, &req.Command); err != nil {
				b.Fatal(err)
			}
			resp, err := r.send(req)
			for err == remoting.ErrHandOver { // no pages ahead yet
				setInline(req, false)
				resp, err = r.send(req)
				setInline(req, true)
			}
			if err != nil {
				b.Fatal(err)
			}
			out = codec.AppendFrame(out, resp)
			resp.Owner.Release()
		}
		runtime.Gosched() // to the dispatcher
	}
	return w
}

// fill gives each frame its topic, queue and key.
func (w *manySends) fill(where func(slot int) (topic, queue int)) {
	for i, frame := range w.frames {
		topic, queue := where(i)
		putDigits(frame, w.topicAt, 5, topic)
		putDigits(frame, w.queueAt, 1, queue)
		putDigits(frame, w.keyAt, 9, w.sent)
		w.sent++
	}
}

// putDigits writes n decimal digits that end at last.
func putDigits(b []byte, last, n, value int) {
	for at := last; at > last-n; at, value = at-1, value/10 {
		b[at] = byte('0' + value%10)
	}
}
