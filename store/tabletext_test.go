package store

import (
	"fmt"
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
		switch name := names[random.IntN(len(names))]; {
		case step%50 == 49:
			clear(values)
		case random.IntN(3) == 0:
			delete(values, name)
		default:
			cfg := codec.NewTopicConfig(name)
			cfg.ReadQueueNums = random.Int32N(100)
			if random.IntN(2) == 0 {
				cfg.Attributes = map[string]string{"topicConfigTable": "{\n\t\t\n\t}", "b": `"`}
			}
			values[name] = cfg
		}
		want, err := codec.MarshalPrettyJSON(with(values))
		require.NoError(t, err)
		got, err := text.encode(values, with)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "step %d", step)
		require.LessOrEqual(t, len(text.kept), len(values))
	}
}

func BenchmarkTableText(b *testing.B) {
	for _, kept := range []bool{false, true} {
		b.Run(fmt.Sprintf("kept=%v", kept), func(b *testing.B) {
			text := tableText[codec.TopicConfig]{member: "topicConfigTable"}
			values := map[string]*codec.TopicConfig{}
			for i := range 10_000 {
				name := fmt.Sprintf("topic-%05d", i)
				values[name] = codec.NewTopicConfig(name)
			}
			with := func(values map[string]*codec.TopicConfig) any {
				return &codec.TopicConfigTable{TopicConfigTable: values}
			}
			for b.Loop() {
				if !kept {
					text.kept = nil
				}
				_, err := text.encode(values, with)
				require.NoError(b, err)
			}
		})
	}
}
