package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// The same history gives the same answers under any options: sizes of files, rings and caches, flush mode, kinds of queues, lists
// of queues, units, compactions, stops and crashes in between. Light message queues and a compaction topic are part of it.
func TestSameAnswersUnderAnyOptions(t *testing.T) {
	t.Parallel()
	want := map[uint64][]string{}
	for history := range uint64(3) {
		want[history] = answers(t, history, 0)
	}
	for history := range uint64(3) {
		for options := range uint64(6) {
			t.Run(fmt.Sprintf("history%d/options%d", history, options+1), func(t *testing.T) {
				t.Parallel()
				require.Equal(t, want[history], answers(t, history, options+1))
			})
		}
	}
}

// answers runs a history and returns what a client would see of it.
func answers(t *testing.T, history, options uint64) []string {
	h := newHistory(t, history)
	rnd := rand.New(rand.NewPCG(options, 3))
	h.o.SegmentBytes = 16<<10 + rnd.Int64N(1<<20)
	h.o.QueueSegmentEntries = 10 + rnd.IntN(3000)
	h.o.BatchQueueSegmentEntries = 10 + rnd.IntN(1000)
	h.o.DispatchRing = 16 << rnd.IntN(10)
	h.o.MaxMappedQueues = 16 + rnd.IntN(100)
	h.o.FlushMode = FlushMode(rnd.IntN(2))
	h.o.AllocChunkBytes = 64 << (10 + rnd.IntN(6))
	h.o.TouchAheadBytes = 64 << (10 + rnd.IntN(6))
	h.o.IndexSlots, h.o.IndexEntries = 1+rnd.IntN(1000), 10+rnd.IntN(5000)
	h.randomQueues(rnd)
	h.open()
	for range 6 {
		for range 10 {
			h.run(10)
			for range 3 {
				h.putLMQ()
			}
			h.putKeyed(4)
		}
		caughtUp(t, h.s)
		if rnd.IntN(2) == 0 {
			h.s.compact.compactAll(nil)
		}
		switch rnd.IntN(4) {
		case 0:
			require.NoError(t, h.s.Close())
			h.open()
		case 1:
			h.crash(func(string) {})
			h.open()
		}
	}
	waitDispatched(t, h.s)
	caughtUp(t, h.s)
	list := newestOf(readQueue(t, h.s, compactedTopic, 0, 0))
	for i := range 35 {
		for _, m := range readQueue(t, h.s, fmt.Sprint("%LMQ%", i), 0, 0) {
			list = append(list, fmt.Sprint(i, m.QueueOffset, m.StoreTimestampMs, string(m.Body)))
		}
	}
	for _, topic := range crashTopics {
		for id := range int32(4) {
			s := h.s
			list = append(list, fmt.Sprint(topic, id, max(s.MinQueueOffset(topic, id), 0), s.MaxQueueOffset(topic, id), s.EarliestStoreTime(topic, id)))
			for _, m := range readQueue(t, s, topic, id, 0) {
				_, size, tags, ok := s.QueueEntry(topic, id, m.QueueOffset)
				ms := m.StoreTimestampMs
				list = append(list, fmt.Sprint(m.QueueOffset, size, tags, ok, ms, string(m.Body), string(m.Properties)))
				if topic != crashBatchTopic && topic != "Orders" { // there, as in Java, files decide between messages of one millisecond
					list = append(list, fmt.Sprint(s.QueueOffsetByTime(topic, id, ms), s.QueueOffsetByTimeUpper(topic, id, ms)))
				}
			}
		}
	}
	for _, k := range h.puts {
		got, _, _, err := h.s.QueryIndex(k.topic, k.uniq, 32, 0, 1<<62)
		require.NoError(t, err)
		n := 0 // keys share hashes, so the answer may hold others
		for _, phys := range got {
			raw, err := h.s.MessageAt(phys)
			require.NoError(t, err)
			var m codec.Message
			_, err = codec.DecodeMessage(raw, &m)
			require.NoError(t, err)
			if uniq, _ := codec.Property(m.Properties, codec.PropUniqKey); string(uniq) == k.uniq {
				n++
			}
		}
		list = append(list, fmt.Sprint(k.uniq, n))
	}
	require.NoError(t, h.s.Close())
	return list
}

// randomQueues makes queues of one kind or another, as far as that makes no difference.
func (h *history) randomQueues(rnd *rand.Rand) {
	o := &h.o
	kind := QueueType(1 + rnd.IntN(2))
	o.QueueType = func(topic string) QueueType {
		switch topic {
		case crashBatchTopic:
			return BatchQueue
		case "Orders":
			return kind
		}
		return SimpleQueue
	}
	o.ExtUnits, o.ExtSegmentBytes = rnd.IntN(2) == 0, 1024+rnd.Int64N(10000)
	o.BitMaps = o.ExtUnits && h.filters != nil && rnd.IntN(2) == 0
	o.MultiDispatch = true
	o.QueueListBytes = 1 << rnd.IntN(20)
	o.CompactionTopic = func(topic string) bool { return topic == compactedTopic }
	o.CompactionQueueBytes = int64(5+rnd.IntN(40)) * batchEntryBytes
	o.CompactionLogBytes = 8 << (10 + rnd.IntN(4))
	o.CompactionInterval = 1 << 40
}

// putKeyed puts messages into a compaction topic.
func (h *history) putKeyed(n int) {
	for range n {
		h.count++
		m := keyed(compactedTopic, 0, fmt.Sprint("key", h.rnd.IntN(12)), string(h.text(1+h.rnd.IntN(200))))
		require.NoError(h.t, h.s.PutWait(m, new(PutResult)))
	}
}
