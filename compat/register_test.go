package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A broker with more topics than fit into a frame of 16 MiB registers all of them, at Apache's name server too.
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
			table := make(map[string]any, topics)
			for i := range topics {
				name := fmt.Sprintf("many-topics-%06d", i)
				table[name] = map[string]any{"attributes": map[string]string{}, "order": false, "perm": 6, "readQueueNums": 1, "topicFilterType": "SINGLE_TAG",
					"topicName": name, "topicSysFlag": 0, "writeQueueNums": 1}
			}
			b, err := json.Marshal(map[string]any{"dataVersion": map[string]int64{"counter": 1, "stateVersion": 0, "timestamp": 1}, "topicConfigTable": table})
			require.NoError(t, err)
			config := filepath.Join(tg.StorePath(), "config")
			require.NoError(t, os.MkdirAll(config, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(config, "topics.json"), b, 0o644))
			tg.run(t)
			for _, i := range []int{0, 1, topics / 2, topics - 2, topics - 1} {
				_, err := routeOf(tg.Namesrv(), fmt.Sprintf("many-topics-%06d", i))
				require.NoError(t, err)
			}
		})
	}
}
