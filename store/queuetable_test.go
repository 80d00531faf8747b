package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table answers as a map does, whatever the hashes are.
func TestQueueTable(t *testing.T) {
	t.Parallel()
	for _, spread := range []uint64{1, 3, 1 << 40} { // different hashes
		rnd := rand.New(rand.NewPCG(spread, 1))
		var table *queueTable
		want := make(map[queueKey]*queue)
		hashOf := func(key queueKey) uint64 { return uint64(key.id) % spread * queueShards }
		for range 2000 {
			key := queueKey{fmt.Sprint("topic", rnd.IntN(3)), int32(rnd.IntN(40))}
			q := table.find(hashOf(key), key.topic, key.id)
			require.Same(t, want[key], q)
			likely, _ := table.likely(hashOf(key))
			require.False(t, likely == noQueue || q != nil && likely == nil)
			switch {
			case q == nil:
				q = &queue{queueKey: key}
				table = table.roomFor(1 + rnd.IntN(9))
				table.add(hashOf(key), q)
				want[key] = q
			case rnd.IntN(2) == 0:
				table = table.without(hashOf(key), q)
				delete(want, key)
				require.Same(t, table, table.without(hashOf(key), q), "it is gone")
			}
			require.Equal(t, len(want), table.len())
		}
		n := 0
		for hash, q := range table.all() {
			require.Same(t, want[q.queueKey], q)
			require.Equal(t, hashOf(q.queueKey), hash)
			n++
		}
		require.Equal(t, len(want), n)
	}
}

// A table of queues that come and go keeps the size that the queues need, and is seldom made anew.
func TestQueueTableKeepsItsSize(t *testing.T) {
	t.Parallel()
	const most = 10_000
	var table *queueTable
	var there []*queue // oldest first
	made, n := 0, 0
	hashOf := func(q *queue) uint64 { return uint64(q.id) * 0x9E3779B97F4A7C15 }
	changed := func(next *queueTable) {
		if next != table {
			table = next
			made++
		}
	}
	add := func() {
		n++
		q := &queue{queueKey: queueKey{"topic", int32(n)}}
		changed(table.roomFor(1))
		table.add(hashOf(q), q)
		there = append(there, q)
	}
	remove := func() {
		changed(table.without(hashOf(there[0]), there[0]))
		there = there[1:]
	}
	for range most {
		add()
	}
	require.Less(t, made, 20)
	for range 3 * most {
		remove()
		add()
	}
	require.Equal(t, most, table.len())
	require.Less(t, made, 40)
	require.LessOrEqual(t, len(table.slots), 4*most)
	for len(there) > 0 {
		remove()
	}
	require.Less(t, made, 60)
	require.Less(t, len(table.slots), 20)
}

// The queues of a topic are found next to each other.
func TestQueuesOfATopicAreNeighbors(t *testing.T) {
	t.Parallel()
	topic := NameOf("topic")
	qs := make([]*queue, 20)
	tables := make(map[uint64]*queueTable)
	for id := range qs {
		hash := queueHash(topic, int32(id))
		qs[id] = &queue{queueKey: queueKey{"topic", int32(id)}}
		shard := tables[hash%queueShards].roomFor(ringSlots)
		shard.add(hash, qs[id])
		tables[hash%queueShards] = shard
	}
	for id, want := range qs {
		hash := queueHash(topic, int32(id))
		q, next := tables[hash%queueShards].likely(hash)
		require.Same(t, want, q)
		if after := id/ringSlots*ringSlots + (id+1)%ringSlots; next != nil && after < len(qs) {
			require.Same(t, qs[after], next)
		}
	}
}

// Look-ups take no lock while queues come and go.
func TestQueueTableIsReadWhileItChanges(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, testOptions(t))
	kept := s.queues.findOrCreate("kept", 3)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if s.queues.find("kept", 3) != kept {
					t.Error("a queue is not found any more")
					return
				}
				e := s.Expect(NameOf("gone"), 1)
				s.Fetch(&e)
			}
		})
	}
	for i := range 40 {
		for id := range int32(16) {
			s.queues.findOrCreate(fmt.Sprint("gone", i%7), id)
			s.queues.findOrCreate("gone", id)
		}
		require.Len(t, s.queues.take("gone"), 16)
		s.queues.take(fmt.Sprint("gone", i%5))
	}
	close(stop)
	readers.Wait()
}
