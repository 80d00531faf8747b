package processor

import (
	"fmt"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"
)

// latencySample is how many calls go by for each one that is timed: reading the clock twice would be felt at full speed.
const latencySample = 16

// latencies is how long a sample of calls took: a histogram with four steps to each power of two microseconds, up to a minute.
// Apache: StoreStatsService.
type latencies struct {
	calls   atomic.Int64
	maxNs   atomic.Int64
	buckets [104]atomic.Int64
}

// begin returns when a call that is to be timed began, zero for the others.
func (l *latencies) begin() (t time.Time) {
	if l.calls.Add(1)%latencySample == 1 {
		t = time.Now()
	}
	return t
}

// end notes a call whose begin was t.
func (l *latencies) end(t time.Time) {
	if !t.IsZero() {
		l.add(time.Since(t))
	}
}

func (l *latencies) add(d time.Duration) {
	l.buckets[latencyBucket(d)].Add(1)
	for {
		was := l.maxNs.Load()
		if int64(d) <= was || l.maxNs.CompareAndSwap(was, int64(d)) {
			return
		}
	}
}

// latencyBucket counts four buckets to each power of two; the first four hold 0, 1, 2 and 3 microseconds.
func latencyBucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	exp := bits.Len64(us) - 3 // so that us>>exp is 4 to 7
	return min(4*exp+int(us>>exp), len(latencies{}.buckets)-1)
}

// bucketFrom is the least duration of a bucket.
func bucketFrom(i int) time.Duration {
	if i < 4 {
		return time.Duration(i) * time.Microsecond
	}
	exp := i/4 - 1
	return time.Duration(i%4+4) << exp * time.Microsecond
}

// quantile returns the time that a share of q of the calls did not exceed, 0 when none was timed.
func (l *latencies) quantile(q float64) time.Duration {
	var total int64
	for i := range l.buckets {
		total += l.buckets[i].Load()
	}
	var seen int64
	for i := range l.buckets {
		if seen += l.buckets[i].Load(); total > 0 && float64(seen) >= q*float64(total) {
			return min(bucketFrom(i+1), time.Duration(l.maxNs.Load()))
		}
	}
	return 0
}

// javaSteps are the ends of the steps that Java's runtime information shows, the names Java's.
var javaSteps = [...]struct {
	name string
	end  time.Duration
}{
	{"<=0ms", time.Millisecond}, {"0~10ms", 10 * time.Millisecond}, {"10~50ms", 50 * time.Millisecond}, {"50~100ms", 100 * time.Millisecond},
	{"100~200ms", 200 * time.Millisecond}, {"200~500ms", 500 * time.Millisecond}, {"500ms~1s", time.Second}, {"1~2s", 2 * time.Second},
	{"2~3s", 3 * time.Second}, {"3~4s", 4 * time.Second}, {"4~5s", 5 * time.Second}, {"5~10s", 10 * time.Second}, {"10s~", 1 << 62},
}

// distribution shows the timed calls by Java's steps.
func (l *latencies) distribution() string {
	var text strings.Builder
	next := 0
	for _, step := range javaSteps {
		var n int64
		for ; next < len(l.buckets) && bucketFrom(next) < step.end; next++ {
			n += l.buckets[next].Load()
		}
		fmt.Fprintf(&text, "[%s]:%d ", step.name, n)
	}
	return text.String()
}
