package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// handOver runs one store on our broker, on Apache's and on ours again: work is called on each, and end stops each but the last.
func handOver(t *testing.T, tg *Target, end func(*Target, testing.TB), work func(round int)) {
	t.Helper()
	besideApache(t)
	ours := tg.launch
	apache, err := newApacheLauncher()
	require.NoError(t, err)
	work(0)
	for round, next := range []launcher{apache, ours} {
		end(tg, t)
		tg.launch = next
		tg.StartBroker(t)
		work(round + 1)
	}
}

// eachEnd runs a scenario of two servers with clean stops and with kills between them.
func eachEnd(t *testing.T, run func(t *testing.T, end func(*Target, testing.TB))) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	if JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	t.Parallel()
	t.Run("after a clean stop", func(t *testing.T) { run(t, (*Target).StopBroker) })
	t.Run("after a kill", func(t *testing.T) { run(t, (*Target).KillBroker) })
}

// TestTakeOverOfWhatIsLeft hands over a store whose head was deleted: segments, queue files and index files. Offsets go on, what is
// left is served and found by key, what is gone stays gone.
func TestTakeOverOfWhatIsLeft(t *testing.T) {
	eachEnd(t, func(t *testing.T, end func(*Target, testing.TB)) {
		tg := onOwn(t, append(retentionConf(), WithConf("mappedFileSizeConsumeQueue", "10000"), WithConf("maxIndexNum", "1000"),
			WithConf("maxHashSlotNum", "500"), WithConf("messageIndexSafe", "true"))...)
		s := leftovers{tg: tg, topic: newTopic(t, tg, 1), quiet: newTopic(t, tg, 1)}
		c := connect(t, tg.Broker())
		for _, body := range numbered("quiet", 5) {
			put(t, c, s.quiet, 0, body, "")
		}
		handOver(t, tg, end, func(round int) {
			s.check(t)
			s.write(t, 2400)
			if round == 0 {
				s.deleteHead(t)
			}
			s.check(t)
		})
	})
}

// leftovers is what is handed over.
type leftovers struct {
	tg           *Target
	topic, quiet string
	gone         int // messages deleted
	left         []record
}

// heads are the first files of the queue and of the index.
func (s *leftovers) heads(t *testing.T) (names [2]string) {
	t.Helper()
	for i, dir := range []string{filepath.Join("consumequeue", s.topic, "0"), "index"} {
		entries, err := os.ReadDir(filepath.Join(s.tg.StorePath(), dir))
		require.NoError(t, err)
		require.NotEmpty(t, entries)
		names[i] = entries[0].Name()
	}
	return names
}

func (s *leftovers) write(t *testing.T, n int) {
	t.Helper()
	c := connect(t, s.tg.Broker())
	pad := strings.Repeat("p", 1000)
	before := s.gone + len(s.left)
	for i := range n {
		require.EqualValues(t, before+i, put(t, c, s.topic, 0, fmt.Sprintf("%d %s", i, pad), props("KEYS", fmt.Sprintf("key-%d", before+i))))
	}
	dispatched(t, c, s.topic, 0, int64(before+n))
	all, err := readQueue(c, s.topic, 0)
	require.NoError(t, err)
	require.Len(t, all, len(s.left)+n)
	s.left = all
}

func (s *leftovers) deleteHead(t *testing.T) {
	t.Helper()
	last := s.left[len(s.left)-1].PhysOffset / retentionSegment * retentionSegment
	require.GreaterOrEqual(t, last, int64(2*retentionSegment))
	before := s.heads(t)
	expireBefore(t, s.tg, last)
	s.gone = int(deleteExpired(t, s.tg, connect(t, s.tg.Broker()), s.topic, last))
	s.left = s.left[s.gone:]
	eventually(t, retentionLimit, func() error {
		if now := s.heads(t); now[0] == before[0] || now[1] == before[1] {
			return fmt.Errorf("queue and index begin with %v", now)
		}
		return nil
	})
}

func (s *leftovers) check(t *testing.T) {
	t.Helper()
	if len(s.left) == 0 {
		return
	}
	c := connect(t, s.tg.Broker())
	now, err := readQueue(c, s.topic, 0)
	require.NoError(t, err)
	require.Equal(t, s.left, now)
	at := ext("topic", s.topic, "queueId", 0)
	require.EqualValues(t, s.gone, num(t, c.ok(t, codeGetMinOffset, at, nil), "offset"))
	require.EqualValues(t, s.gone+len(s.left), num(t, c.ok(t, codeGetMaxOffset, at, nil), "offset"))
	for _, i := range []int{0, len(now) / 2, len(now) - 1} {
		require.Equal(t, now[i:i+1], queryFound(t, c, queryFields(s.topic, "key-"+strconv.Itoa(s.gone+i)), 1))
	}
	if s.gone > 0 {
		c.refused(t, resQueryNotFound, "", codeQueryMessage, queryFields(s.topic, "key-0"), nil)
		c.refused(t, resPullOffsetMoved, "OFFSET_TOO_SMALL", codePullMessage, pullFields(unique("G"), s.topic, 0, 0), nil)
		require.EqualValues(t, 5, num(t, c.ok(t, codeGetMaxOffset, ext("topic", s.quiet, "queueId", 0), nil), "offset"))
	}
}

// TestTakeOverOfCompaction hands over compaction topics whose records are copied, in part compacted, and go on.
func TestTakeOverOfCompaction(t *testing.T) {
	eachEnd(t, func(t *testing.T, end func(*Target, testing.TB)) {
		tg := onOwn(t, compactionConf("2000"))
		topic := newCompactionTopic(t, tg, 2)
		newest := [2]map[string]string{{}, {}}
		var first [2]int64
		handOver(t, tg, end, func(round int) {
			c := connect(t, tg.Broker())
			for id := range newest {
				if round > 0 {
					all, err := readQueue(c, topic, id)
					require.NoError(t, err)
					require.Equal(t, newest[id], newestBodies(all))
				}
				putKeyed(t, c, topic, id, 500, 7+round, fmt.Sprint("round ", round), newest[id])
				all := awaitCompacted(t, c, topic, id, first[id]+1)
				require.Equal(t, newest[id], newestBodies(all))
				first[id] = all[0].QueueOffset
				require.EqualValues(t, 500*(round+1), num(t, c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", id), nil), "offset"))
			}
		})
	})
}
