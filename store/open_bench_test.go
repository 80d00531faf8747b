package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// residentBytes is the anonymous memory of this process that is present: what the store costs beside the page cache.
func residentBytes(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("needs /proc")
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "RssAnon: %f kB", &kb); n == 1 {
			return kb * 1024
		}
	}
	b.Fatal("no RssAnon")
	return 0
}

// BenchmarkOpen opens a log of 3 GiB after a clean stop, after a kill whose checkpoint is a second old, and after a kill
// that left nothing but the log.
func BenchmarkOpen(b *testing.B) {
	o := benchOptions(b)
	s := openTestStore(b, o)
	m := benchMessage(1024)
	var r PutResult
	for i := 0; r.PhysOffset < 3<<30; i++ {
		m.QueueID = int32(i & 7)
		require.NoError(b, s.PutWait(m, &r))
	}
	waitDispatched(b, s)
	require.NoError(b, s.Close())
	for _, c := range []struct {
		name    string
		prepare func(dir string)
	}{
		{"clean", func(string) {}},
		{"killed", func(dir string) { require.NoError(b, writeAbort(dir)) }},
		{"log only", func(dir string) {
			require.NoError(b, writeAbort(dir))
			for _, name := range []string{"consumequeue", "index", "checkpoint", ownDir} {
				require.NoError(b, os.RemoveAll(filepath.Join(dir, name)))
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				c.prepare(o.Dir)
				b.StartTimer()
				s, err := Open(o)
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, s.Close())
			}
		})
	}
}

// kill ends a store as a kill does: nothing is flushed or written any more, abort stays.
func kill(s *Store) error {
	s.log.stopAppends(ErrClosed)
	close(s.stop)
	s.loops.Wait()
	s.drained.Wait()
	s.closed.Store(true)
	s.unmap()
	return s.lock.release()
}

// BenchmarkOpenManyQueues opens a store of 100,000 queues, some messages in each, and says what memory it takes then: after a
// clean stop; after kills when 10,000 and all of the queues have got a message since the last list; and when there is no list.
func BenchmarkOpenManyQueues(b *testing.B) {
	const topics, queues, messages = 12500, 8, 3
	o := benchOptions(b)
	o.QueueSegmentEntries = 3000
	s := openTestStore(b, o)
	m := benchMessage(100)
	m.Properties = codec.AppendProperty(nil, codec.PropTags, "TagA")
	var r PutResult
	fill := func(s *Store, topics, messages int) {
		for t := range topics {
			m.Topic = fmt.Sprint("topic-of-many-", t)
			for i := range int32(queues * messages) {
				m.QueueID = i / int32(messages)
				require.NoError(b, s.PutWait(m, &r))
			}
		}
		waitDispatched(b, s)
	}
	began := time.Now()
	fill(s, topics, messages)
	b.Logf("%d queues made and filled in %v", topics*queues, time.Since(began).Round(time.Millisecond))
	require.NoError(b, s.Close())
	o.QueueListBytes = 0 // the one of the clean stop counts
	for _, c := range []struct {
		name    string
		topics  int // that get messages since the list
		prepare func(dir string)
	}{
		{"clean", 0, nil},
		{"killed", topics / 10, func(string) {}},
		{"killed, all have grown", topics, func(string) {}},
		{"killed, no list", 0, func(dir string) { require.NoError(b, writeAbort(dir)) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var most float64
			for range b.N {
				b.StopTimer()
				if c.prepare != nil {
					s, err := Open(o)
					require.NoError(b, err)
					fill(s, c.topics, 1)
					require.NoError(b, kill(s))
					c.prepare(o.Dir)
				}
				runtime.GC()
				b.StartTimer()
				began := time.Now()
				s, err := Open(o)
				require.NoError(b, err)
				b.StopTimer()
				b.Logf("opened in %v, %d MB of log read", time.Since(began).Round(time.Millisecond), (s.Written()-s.warmFrom)>>20)
				most = max(most, residentBytes(b))
				require.NoError(b, s.Close())
			}
			b.ReportMetric(most/(1<<20), "MiB-anon")
		})
	}
}
