package compat

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestExporter has RocketMQ Exporter, built of its source, look at our servers and at Apache's with the same clients: it has to find all
// series of Apache's with their labels. Of ours it finds more, since it looks for a key that Apache's brokers have had until 5.0.
func TestExporter(t *testing.T) {
	tool := &javaTool{env: "EXPORTER_SOURCE", main: "org.apache.rocketmq.exporter.RocketMQExporterApplication"}
	tool.build(t)
	topic, group := unique("T"), unique("G")
	series := map[Kind]func() (map[string]bool, error){}
	for _, kind := range []Kind{Apogee, Apache} {
		tg, err := newTarget(kind, t.TempDir())
		require.NoError(t, err)
		tg.run(t)
		require.NoError(t, createTopic(tg.Broker(), topic, 4))
		awaitRoute(t, tg, topic)
		in := new(inbox)
		startPush(t, tg, group, topic, in.consume)
		p := newProducer(t, tg)
		sendAll(t, p, topic, numbered("exported", 20))
		in.awaitDistinct(t, time.Minute, numbered("exported", 20))
		free, err := pickPorts()
		require.NoError(t, err)
		settings := []string{"server.port=" + strconv.Itoa(free.namesrv), "grpc.server.port=" + strconv.Itoa(free.broker), "rocketmq.config.namesrvAddr=" + tg.Namesrv(),
			"rocketmq.config.outOfTimeSeconds=600"}
		for _, what := range []string{"TopicOffset", "Producer", "ConsumerOffset", "BrokerStatsTopic", "BrokerStats", "BrokerRuntimeStats"} {
			settings = append(settings, "task.collect"+what+".cron=0/5 * * * * ?")
		}
		tool.start(t, settings...)
		url := "http://" + loopback(free.namesrv) + "/metrics"
		series[kind] = func() (map[string]bool, error) { return exported(url) }
	}
	eventually(t, 5*time.Minute, func() error {
		ours, err := series[Apogee]()
		if err != nil {
			return err
		}
		theirs, err := series[Apache]()
		if err != nil {
			return err
		}
		var missing []string
		for name := range theirs {
			if !ours[name] {
				missing = append(missing, name)
			}
		}
		slices.Sort(missing)
		switch {
		case len(missing) > 0:
			return fmt.Errorf("%d of Apache's %d series are missing in our %d: %q", len(missing), len(theirs), len(ours), missing)
		case len(theirs) < 20 || len(ours) < 60:
			return fmt.Errorf("only %d series of ours so far, %d of Apache's", len(ours), len(theirs))
		}
		t.Logf("%d series of ours, %d of Apache's", len(ours), len(theirs))
		return nil
	})
}

// exported are the series at an address, each with the names of its labels.
func exported(url string) (map[string]bool, error) {
	res, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %v", url, res.Status, err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		name, labels, _ := strings.Cut(line, "{")
		labels, _, _ = strings.Cut(labels, "}")
		var keys []string
		for _, pair := range strings.Split(labels, ",") {
			if key, _, ok := strings.Cut(pair, "="); ok {
				keys = append(keys, key)
			}
		}
		names[name+"{"+strings.Join(keys, ",")+"}"] = true
	}
	return names, nil
}
