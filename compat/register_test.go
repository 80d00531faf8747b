package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func manyTopic(i int) string { return fmt.Sprintf("many-topics-%06d", i) }

// writeTopics gives a broker that has not started yet a table of topics, and of others with one queue.
func writeTopics(t testing.TB, tg *Target, topics, queues int, others ...string) {
	t.Helper()
	table := make(map[string]any, topics)
	add := func(name string, queues int) {
		table[name] = map[string]any{"attributes": map[string]string{}, "order": false, "perm": 6, "readQueueNums": queues, "topicFilterType": "SINGLE_TAG",
			"topicName": name, "topicSysFlag": 0, "writeQueueNums": queues}
	}
	for i := range topics {
		add(manyTopic(i), queues)
	}
	for _, name := range others {
		add(name, 1)
	}
	b, err := json.Marshal(map[string]any{"dataVersion": map[string]int64{"counter": 1, "stateVersion": 0, "timestamp": 1}, "topicConfigTable": table})
	require.NoError(t, err)
	config := filepath.Join(tg.StorePath(), "config")
	require.NoError(t, os.MkdirAll(config, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(config, "topics.json"), b, 0o644))
}

// A broker with more topics than fit into a frame of 16 MiB registers all of them, at Apache's name server too, with 140,000 queues.
func TestManyTopicsAreRegistered(t *testing.T) {
	if kind, err := TargetKind(); err != nil || kind != Apogee {
		t.Skip("Apache's broker registers so many only with enableSplitRegistration")
	}
	const topics = 70_000
	for _, namesrv := range []Kind{Apogee, Apache} {
		t.Run("name server of "+string(namesrv), func(t *testing.T) {
			var tg *Target
			if namesrv == Apache {
				needJava(t)
				tg = newMixed(t, Apogee)
			} else {
				var err error
				tg, err = newTarget(Apogee, t.TempDir())
				require.NoError(t, err)
			}
			writeTopics(t, tg, topics, 2)
			tg.run(t)
			for _, i := range []int{0, 1, topics / 2, topics - 2, topics - 1} {
				r, err := routeOf(tg.Namesrv(), manyTopic(i))
				require.NoError(t, err)
				require.Equal(t, 2, r.QueueDatas[0].WriteQueueNums)
			}
			var all struct{ TopicList []string }
			res, err := callOnce(tg.Namesrv(), codeAllTopicsFromNamesrv, nil, nil)
			require.NoError(t, err)
			require.NoError(t, unmarshal(res.Body, &all))
			known := make(map[string]bool, topics)
			for _, topic := range all.TopicList {
				known[topic] = true
			}
			for i := range topics {
				require.True(t, known[manyTopic(i)], manyTopic(i))
			}
		})
	}
}
