package store

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func benchOptions(b *testing.B) Options {
	o := DefaultOptions(b.TempDir())
	return o
}

func benchMessage(bodyBytes int) *Message {
	m := testMessage("BenchTopic", 0, strings.Repeat("x", bodyBytes))
	m.Properties = codec.AppendProperty(nil, codec.PropUniqKey, "C000020267114E0E2F2A675FA9160000")
	m.Properties = codec.AppendProperty(m.Properties, codec.PropTags, "TagA")
	m.Properties = codec.AppendProperty(m.Properties, "CLUSTER", "DefaultCluster")
	m.Properties = codec.AppendProperty(m.Properties, "MSG_REGION", "DefaultRegion")
	m.Properties = codec.AppendProperty(m.Properties, "TRACE_ON", "true")
	m.Properties = codec.AppendProperty(m.Properties, "WAIT", "true")
	return m
}

// reportCPU adds the processor time of all goroutines and of the kernel, which is what a server with one core feels.
func reportCPU(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkAppendAll(b *testing.B) {
	for _, index := range []bool{false, true} {
		for _, size := range []int{128, 1024} {
			b.Run(fmt.Sprintf("%dB/index=%v", size, index), func(b *testing.B) {
				o := benchOptions(b)
				o.IndexEnabled = index
				s := openTestStore(b, o)
				m := benchMessage(size)
				var r PutResult
				b.ReportAllocs()
				b.SetBytes(int64(size))
				b.ResetTimer()
				done := reportCPU(b)
				for i := range b.N {
					m.QueueID = int32(i & 7)
					if err := s.PutWait(m, &r); err != nil {
						b.Fatal(err)
					}
				}
				waitDispatched(b, s)
				b.StopTimer()
				done()
			})
		}
	}
}

func BenchmarkAppendBatch32(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			s := openTestStore(b, benchOptions(b))
			one := benchMessage(size)
			m := *one
			m.Properties, m.Body = nil, nil
			for range 32 {
				m.Body = codec.AppendBatchEntry(m.Body, 0, one.Body, one.Properties)
			}
			var r BatchPutResult
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.ResetTimer()
			done := reportCPU(b)
			for i := 0; i < b.N; i += 32 {
				if err := s.PutBatchWait(&m, &r); err != nil {
					b.Fatal(err)
				}
			}
			waitDispatched(b, s)
			b.StopTimer()
			done()
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			s := openTestStore(b, benchOptions(b))
			m := benchMessage(size)
			var p PutResult
			const n = 100000
			for i := range n {
				m.QueueID = int32(i & 7)
				require.NoError(b, s.PutWait(m, &p))
			}
			waitDispatched(b, s)
			var r GetResult
			q := GetRequest{Topic: m.Topic, MaxMsgs: 32, HotOnly: true, Filter: NewTagFilter([]int32{int32(m.TagsCode)})}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += r.Count {
				if err := s.Get(&q, &r); err != nil || r.Status != Found {
					b.Fatal(err, r.Status, q, r)
				}
				r.Release()
				if q.QueueOffset = r.NextQueueOffset; q.QueueOffset >= r.MaxQueueOffset {
					q.QueueOffset = 0
				}
			}
		})
	}
}
