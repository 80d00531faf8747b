package store

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// BenchmarkSchedule takes a message per op and delivers it: 10,000 a second over four levels of 1 to 4 s. It reports how late
// they are stored in their topic. Run it with -benchtime 60000x or more.
func BenchmarkSchedule(b *testing.B) {
	const perSecond = 10_000
	opts := DefaultOptions(b.TempDir())
	opts.IndexEnabled = false
	d := openDelayStore(b, opts, DelayLevels{1000, 2000, 3000, 4000})
	go func() { // nobody looks at them
		for range d.arrived {
		}
	}()
	d.run(b)
	body := string(make([]byte, 128))
	began := time.Now()
	for i := range b.N {
		if i%100 == 0 {
			<-time.After(time.Until(began.Add(time.Duration(i) * time.Second / perSecond)))
		}
		d.put(b, delayedMessage("Orders", body), 1+rand.IntN(4))
	}
	require.Eventually(b, func() bool { return d.MaxQueueOffset("Orders", 3) == int64(b.N) }, time.Minute, time.Millisecond)
	b.StopTimer()
	d.reportLateness(b)
}

// reportLateness compares when messages were due with when they were stored.
func (d *delayStore) reportLateness(b *testing.B) {
	due := map[int64][]int64{}
	for level := range d.schedule.levels {
		for i := range d.MaxQueueOffset(TopicSchedule, int32(level)) {
			_, _, dueMs, ok := d.QueueEntry(TopicSchedule, int32(level), i)
			require.True(b, ok)
			due[int64(level+1)] = append(due[int64(level+1)], dueMs)
		}
	}
	var late []int64
	for i := range d.MaxQueueOffset("Orders", 3) {
		m := d.message(b, "Orders", 3, i)
		text, _ := codec.Property(m.Properties, codec.PropDelay)
		level, err := strconv.ParseInt(string(text), 10, 64)
		require.NoError(b, err)
		late = append(late, m.StoreTimestampMs-due[level][0])
		due[level] = due[level][1:]
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[0]), "first-ms")
	b.ReportMetric(float64(late[len(late)/2]), "p50-ms")
	b.ReportMetric(float64(late[len(late)*99/100]), "p99-ms")
	b.ReportMetric(float64(late[len(late)-1]), "max-ms")
}
