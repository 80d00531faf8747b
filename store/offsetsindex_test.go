package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The lists of topics and groups agree with the table, whatever came and went.
func TestOffsetIndexAgreesWithTheTable(t *testing.T) {
	t.Parallel()
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	o := openTestOffsets(t, "", OffsetsOptions{})
	type pair struct{ group, topic string }
	have := map[pair]bool{}
	name := func(prefix string) string { return fmt.Sprint(prefix, r.IntN(12)) }
	check := func(o *Offsets) {
		topics, groups := map[string][]string{}, map[string][]string{}
		for p := range have {
			topics[p.group], groups[p.topic] = append(topics[p.group], p.topic), append(groups[p.topic], p.group)
		}
		for i := range 12 {
			group, topic := fmt.Sprint("G", i), fmt.Sprint("T", i)
			slices.Sort(topics[group])
			slices.Sort(groups[topic])
			require.Equal(t, topics[group], o.TopicsOf(group))
			require.Equal(t, groups[topic], o.GroupsOf(topic))
		}
	}
	for i := range 3000 {
		p := pair{name("G"), name("T")}
		switch r.IntN(20) {
		case 0:
			o.DeleteGroup(p.group)
			for other := range have {
				if other.group == p.group {
					delete(have, other)
				}
			}
		case 1:
			o.DeleteTopic(p.topic)
			for other := range have {
				if other.topic == p.topic {
					delete(have, other)
				}
			}
		case 2, 3, 4:
			o.Forget(p.group, p.topic)
			delete(have, p)
		default:
			commit(t, o, p.group, p.topic, 0, int64(i))
			have[p] = true
		}
		if i%50 == 0 {
			check(o)
		}
	}
	require.NoError(t, o.Persist())
	check(openTestOffsets(t, o.file.path, OffsetsOptions{}))
	for group := range 12 {
		o.DeleteGroup(fmt.Sprint("G", group))
	}
	for i := range o.shards {
		require.Empty(t, o.shards[i].byGroup)
		require.Empty(t, o.shards[i].byTopic)
	}
}

func BenchmarkOffsetsTopicsOf(b *testing.B) {
	o := openTestOffsets(b, "", OffsetsOptions{})
	for g := range 5000 {
		for topic := range 20 {
			commit(b, o, fmt.Sprint("Group", g), fmt.Sprint("Topic", (g+topic*500)%10000), 0, 1)
		}
	}
	for b.Loop() {
		o.TopicsOf("Group1")
	}
}
