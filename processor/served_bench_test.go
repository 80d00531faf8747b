package processor

import (
	"encoding/binary"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/apogee-mq/apogee/codec"
)

// BenchmarkServedSend has one connection with 32 sends under way, and in turn as many requests that are only echoed by the same
// event loop. CPU is the whole process's, client, dispatcher and flusher included; "echo/send" is how much of a send the bare
// server and its client are: 1 would be a broker for nothing.
func BenchmarkServedSend(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(strconv.Itoa(size)+"B", func(b *testing.B) {
			s := newServed(b, func(set *setup) { set.store.SegmentBytes = 1 << 30 })
			s.topicOf("T", 4)
			body := strings.Repeat("x", size)
			send := frameOf(codec.SendMessageV2, sendFields("T", fields{"i": propText("UNIQ_KEY", strings.Repeat("U", 32), "WAIT", "true")}), body, 0)
			besideEcho(b, s, "send", 1, frameOf(codeEcho, nil, body, 0), send)
		})
	}
}

// BenchmarkServedBacklog pulls 32 messages of 1 KiB a request, with 32 requests under way, beside echoes of one such body.
func BenchmarkServedBacklog(b *testing.B) {
	s := newServed(b, func(set *setup) { set.store.SegmentBytes = 64 << 20 })
	s.topicOf("T", 4)
	body := strings.Repeat("x", 1024)
	for range 32 {
		s.put("T", 0, "", body)
	}
	pull := frameOf(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": "0", "maxMsgNums": "32"}), "", 0)
	besideEcho(b, s, "pulled", 32, frameOf(codeEcho, nil, body, 0), pull)
}

// besideEcho has b.N messages served, messages at a request, in windows of 32 requests, in turn with windows of echoes.
func besideEcho(b *testing.B, s *served, what string, messages int, echo, request []byte) {
	c := s.dial(0)
	require.NoError(b, c.conn.SetDeadline(time.Time{}))
	const window, piece = 32, 64 // requests, windows
	var echoed, served []time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += piece * window * messages {
		n := min(piece, max(1, (b.N-done)/(window*messages)))
		served = append(served, c.windows(n, window, request)/time.Duration(n*window*messages))
		b.StopTimer()
		echoed = append(echoed, c.windows(n, window, echo)/time.Duration(n*window))
		b.StartTimer()
	}
	b.StopTimer()
	slices.Sort(echoed)
	slices.Sort(served)
	bare, ours := float64(echoed[len(echoed)/2]), float64(served[len(served)/2])
	b.ReportMetric(bare, "echo-cpu-ns")
	b.ReportMetric(ours, what+"-cpu-ns")
	b.ReportMetric(bare/ours, "echo/"+what)
}

// windows writes n windows of one frame, each when the one before is answered, and returns the CPU time that it took the process.
func (c *wireClient) windows(n, window int, frame []byte) time.Duration {
	burst := slices.Repeat(frame, window)
	before := processCPU(c.t)
	for range n {
		_, err := c.conn.Write(burst)
		require.NoError(c.t, err)
		for range window {
			head, err := c.in.Peek(4)
			require.NoError(c.t, err)
			_, err = c.in.Discard(4 + int(binary.BigEndian.Uint32(head)))
			require.NoError(c.t, err)
		}
	}
	return processCPU(c.t) - before
}

// processCPU is the CPU time that the process has had.
func processCPU(t testing.TB) time.Duration {
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkServedPullLatency sends 5,000 messages a second to a consumer that waits for them in long polls, and reports the time
// from the begin of a send to the arrival of its message.
func BenchmarkServedPullLatency(b *testing.B) {
	s := newServed(b, func(set *setup) { set.store.SegmentBytes = 1 << 30 })
	s.topicOf("T", 1)
	consumer, producer := s.dial(0), s.dial(0)
	require.NoError(b, consumer.conn.SetDeadline(time.Time{}))
	require.NoError(b, producer.conn.SetDeadline(time.Time{}))
	began := make([]time.Time, b.N)
	go func() { _, _ = io.Copy(io.Discard, producer.in) }()
	go func() {
		frame, tick := sendFrame(), time.NewTicker(200*time.Microsecond)
		defer tick.Stop()
		for i := range began {
			<-tick.C
			began[i] = time.Now()
			if _, err := producer.conn.Write(frame); err != nil {
				return
			}
		}
	}()
	took := make([]time.Duration, 0, b.N)
	for len(took) < b.N {
		consumer.send(frameOf(codec.PullMessage, waitFields(fields{"queueOffset": strconv.Itoa(len(took))}), "", 0))
		got := consumer.next()
		now := time.Now()
		for range bodiesOf(b, got.Body) {
			took = append(took, now.Sub(began[len(took)]))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
