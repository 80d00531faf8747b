package compat

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkCreateTopics creates topics one by one on a broker that has none, and on ones that have 1,000 and 10,000; each has a route when its answer is
// there. It prints the mean and the slowest.
func BenchmarkCreateTopics(b *testing.B) {
	for _, before := range []int{0, 1_000, 10_000} {
		b.Run(fmt.Sprintf("beside %d", before), func(b *testing.B) {
			kind, err := TargetKind()
			require.NoError(b, err)
			tg, err := newTarget(kind, b.TempDir())
			require.NoError(b, err)
			if before > 0 {
				writeTopics(b, tg, before, 8)
			}
			tg.run(b)
			broker, namesrv := connect(b, tg.Broker()), connect(b, tg.Namesrv())
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				topic := fmt.Sprintf("one-by-one-%06d", i)
				began := time.Now()
				broker.ok(b, codeCreateTopic, topicFields(topic, 8), nil)
				took = append(took, time.Since(began))
				namesrv.ok(b, codeGetRoute, ext("topic", topic), nil)
			}
			b.ReportMetric(float64(slices.Max(took).Microseconds())/1000, "ms/slowest")
		})
	}
}
