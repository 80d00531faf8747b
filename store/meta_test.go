package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// The same history gives the same answers under any options: sizes of files, rings and caches, flush mode, stops and
// crashes in between.
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
	h.open()
	for range 6 {
		h.run(100)
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
	var list []string
	for _, topic := range crashTopics {
		for id := range int32(4) {
			s := h.s
			list = append(list, fmt.Sprint(topic, id, s.MinQueueOffset(topic, id), s.MaxQueueOffset(topic, id), s.EarliestStoreTime(topic, id)))
			for _, m := range readQueue(t, s, topic, id, 0) {
				_, size, tags, ok := s.QueueEntry(topic, id, m.QueueOffset)
				ms := m.StoreTimestampMs
				list = append(list, fmt.Sprint(m.QueueOffset, size, tags, ok, ms, string(m.Body), string(m.Properties)))
				if topic != crashBatchTopic { // there, as in Java, files decide between messages of one millisecond
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
