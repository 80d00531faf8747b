package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// However a table has changed, its text is the one that the encoder gives for the whole.
func TestTableTextIsThatOfTheWhole(t *testing.T) {
	t.Parallel()
	text := tableText[codec.TopicConfig]{member: "topicConfigTable"}
	values := map[string]*codec.TopicConfig{}
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{`"quoted"`, "line\nbreak", "主题", "a\\b", "%RETRY%G", "<&>", "z", "A", "topicConfigTable"}
	for i := range 40 {
		names = append(names, fmt.Sprintf("T%02d", i))
	}
	version := codec.DataVersion{}
	with := func(values map[string]*codec.TopicConfig) any {
		return &codec.TopicConfigTable{DataVersion: version, TopicConfigTable: values}
	}
	for step := range 300 {
		version.Counter++
		changes := map[string]*codec.TopicConfig{}
		switch name := names[random.IntN(len(names))]; {
		case step%100 == 99: // as after a write that went wrong
			text.reset()
			maps.Copy(changes, values)
		case step%50 == 49:
			for name := range values {
				changes[name] = nil
			}
			clear(values)
		case random.IntN(3) == 0:
			delete(values, name)
			changes[name] = nil
		default:
			cfg := codec.NewTopicConfig(name)
			cfg.ReadQueueNums = random.Int32N(100)
			if random.IntN(2) == 0 {
				cfg.Attributes = map[string]string{"topicConfigTable": "{\n\t\t\n\t}", "b": `"`}
			}
			values[name], changes[name] = cfg, cfg
		}
		want, err := codec.MarshalPrettyJSON(with(values))
		require.NoError(t, err)
		text.change(changes)
		got, err := text.encode(with)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "step %d", step)
		require.Len(t, text.names, len(values))
	}
}

// BenchmarkTableText is one more topic beside others: with their texts kept, and made anew.
func BenchmarkTableText(b *testing.B) {
	for _, beside := range []int{100, 10_000} {
		for _, kept := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/kept=%v", beside, kept), func(b *testing.B) {
				text := tableText[codec.TopicConfig]{member: "topicConfigTable"}
				values := map[string]*codec.TopicConfig{}
				for i := range beside {
					name := fmt.Sprintf("topic-%05d", i)
					values[name] = codec.NewTopicConfig(name)
				}
				text.change(values)
				with := func(values map[string]*codec.TopicConfig) any {
					return &codec.TopicConfigTable{TopicConfigTable: values}
				}
				for b.Loop() {
					if !kept {
						clear(text.texts)
					}
					text.change(map[string]*codec.TopicConfig{"one-more": codec.NewTopicConfig("one-more")})
					_, err := text.encode(with)
					require.NoError(b, err)
				}
			})
		}
	}
}
