package compat

import (
	"encoding/json"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// coldBytes is the backlog of a round of BenchmarkColdReads; COLD_BYTES says otherwise.
const coldBytes = 2 << 30

// coldRounds is how often sends are measured alone and beside consumers, in turn.
const coldRounds = 5

// BenchmarkColdReads prints the latency of sends at 5,000 a second, alone and while eight consumers pull a backlog whose pages are not
// in memory, in turn, medians of the rounds, and what these consumers got.
func BenchmarkColdReads(b *testing.B) {
	for _, kind := range []Kind{Apogee, Apache} {
		if kind == Apache && JavaMissing() != nil {
			b.Log("Apache's server needs java and mvn")
			continue
		}
		b.Run(string(kind), func(b *testing.B) { measureColdReads(b, kind) })
	}
}

func measureColdReads(b *testing.B, kind Kind) {
	tg, err := newTarget(kind, b.TempDir(), ForSpeed())
	require.NoError(b, err)
	defer func() { require.NoError(b, tg.Close()) }()
	require.NoError(b, tg.start())
	run := &benchRun{TB: b, target: tg, topic: unique("Cold"), group: unique("CG")}
	require.NoError(b, createTopic(tg.Broker(), run.topic, benchQueues))
	size := coldBytes
	if n, err := strconv.Atoi(os.Getenv("COLD_BYTES")); err == nil && n > 0 {
		size = n
	}
	run.load(coldRounds*size/1200, 1024, "")
	tg.StopBroker(b)
	require.NoError(b, eachSynced(tg.StorePath(), dropPages))
	fillMemory(b)
	tg.StartBroker(b)

	const length = 4 * time.Second
	run.sendsAt5000(b, 2*length) // the JVM compiles
	var from [benchConns]int64
	var alone, beside, pulled, rate []float64
	for range coldRounds {
		alone = append(alone, run.sendsAt5000(b, length))
		type got struct{ messages, bytes int64 }
		read := make(chan got, 1)
		go func() {
			messages, bytes := run.pullOn(&from, time.Now().Add(length))
			read <- got{messages, bytes}
		}()
		beside = append(beside, run.sendsAt5000(b, length))
		r := <-read
		pulled, rate = append(pulled, float64(r.messages)), append(rate, float64(r.bytes)/1e6/length.Seconds())
	}
	b.Logf("p99 alone %.0f us, beside %.0f us; pulled %.0f MB/s", alone, beside, rate)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(alone), "alone-p99-us")
	b.ReportMetric(median(beside), "beside-p99-us")
	b.ReportMetric(median(beside)/median(alone), "beside/alone")
	b.ReportMetric(median(pulled), "pulled")
	b.ReportMetric(median(rate), "pulled-MB/s")
}

// sendsAt5000 returns the 99th percentile of the latency of sends, in microseconds.
func (b *benchRun) sendsAt5000(tb testing.TB, length time.Duration) float64 {
	out, err := benchCommand(b.target, []string{"produce", "--rate", "5000", "--connections", "4", "--warmup", "0", "--verify=false",
		"--duration", length.String()})
	require.NoError(tb, err)
	var got struct{ Latency []struct{ P99Us float64 } }
	require.NoError(tb, json.Unmarshal(out, &got))
	require.Len(tb, got.Latency, 1)
	return got.Latency[0].P99Us
}

// pullOn pulls each queue of the topic, a request at a time, from an offset on until the time is over or the queue ends. It leaves in from
// where it has come to. It leaves the core to others who need it: those who measure sends may share it.
func (b *benchRun) pullOn(from *[benchConns]int64, until time.Time) (messages, bytes int64) {
	maker := newFrameMaker(codePullMessage, without(pullFields(b.group, b.topic, 0, 0), "queueId", "queueOffset"))
	var count, size atomic.Int64
	b.each(benchConns, func(i int, p *pipe) error {
		if err := runLast(); err != nil {
			return err
		}
		var a reply
		for time.Now().Before(until) {
			p.out = maker.append(p.out[:0], firstOpaque, nil, field{name: "queueId", n: int64(i)}, field{name: "queueOffset", n: from[i]})
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
			if err := p.read(&a); err != nil {
				return err
			}
			if a.code != resSuccess {
				return nil
			}
			from[i] = a.number("nextBeginOffset")
			size.Add(int64(len(a.body)))
			if err := records(a.body, func([]byte) { count.Add(1) }); err != nil {
				return err
			}
		}
		return nil
	})
	return count.Load(), size.Load()
}
