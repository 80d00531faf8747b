package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	scaleTopics, scaleQueues = 10_000, 10
	scaleConns, scaleGroups  = 1_000, 5_000
	scaleTopicsOfGroup       = 2
)

// TestManyLiveGroups has 5,000 groups, known from before, with members that send heartbeats at a broker with 10,000 topics and 100,000
// queues. Every answer that tools ask for has to be whole; how long they take is logged.
func TestManyLiveGroups(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("a look at our own bounds")
	}
	t.Parallel()
	tg, err := newTarget(Apogee, t.TempDir(), WithConf("metricsExporterType", "DISABLE"))
	require.NoError(t, err)
	retries := make([]string, scaleGroups)
	for g := range retries {
		retries[g] = "%RETRY%" + scaleGroup(g)
	}
	writeTopics(t, tg, scaleTopics, scaleQueues, retries...)
	writeGroups(t, tg)
	tg.run(t)
	clients := make([]*client, scaleConns)
	for i := range clients {
		clients[i] = connect(t, tg.Broker())
	}
	timed := func(what string, f func()) {
		began := time.Now()
		f()
		t.Logf("%-50s %8.3f s", what, time.Since(began).Seconds())
	}
	timed("first heartbeats of 5,000 groups", func() { beatAll(t, clients) })
	for range 2 {
		timed("heartbeats that change nothing", func() { beatAll(t, clients) })
	}
	t.Logf("anonymous memory %.0f KiB", anonymousKiB(t, tg))

	c := connect(t, tg.Broker())
	for g := range scaleGroups {
		c.ok(t, codeUpdateConsumerOffset, commitFields(scaleGroup(g), manyTopic(g), 0, 0), nil)
	}
	timed("201, all groups", func() {
		var all struct{ SubscriptionGroupTable map[string]any }
		require.NoError(t, unmarshal(c.ok(t, codeGetAllGroups, nil, nil).Body, &all))
		for g := range scaleGroups {
			_, known := all.SubscriptionGroupTable[scaleGroup(g)]
			require.True(t, known, scaleGroup(g))
		}
	})
	timed("203, members of every 50th group", func() {
		for g := 0; g < scaleGroups; g += 50 {
			body := string(c.ok(t, codeConsumerConnections, ext("consumerGroup", scaleGroup(g)), nil).Body)
			require.Contains(t, body, manyTopic(g), "its subscription")
		}
	})
	cli := newAdminCLI(t, tg)
	for _, step := range []struct{ line, says string }{
		{"consumerConnection -g " + scaleGroup(4_321), scaleClient(321)},
		{"consumerProgress -g " + scaleGroup(17), manyTopic(17)},
		{"topicList", manyTopic(scaleTopics - 1)},
		{"brokerStatus -b {broker}", "putTps"},
		{"clusterList", tg.BrokerName},
		{"topicStatus -t " + manyTopic(77), tg.BrokerName},
		{"brokerConsumeStats -b {broker}", "Diff Total: "},
	} {
		timed("mqadmin "+strings.Fields(step.line)[0], func() {
			out, said, exit := cli.run(t, step.line)
			require.Zero(t, exit, said)
			require.Contains(t, out, step.says, step.line)
		})
	}
	timed("mqadmin consumerProgress of all groups", func() {
		out, said, exit := cli.run(t, "consumerProgress")
		require.Zero(t, exit, said)
		require.GreaterOrEqual(t, strings.Count(out, "\n"), scaleGroups)
	})
	t.Logf("anonymous memory afterwards %.0f KiB", anonymousKiB(t, tg))
}

// writeGroups gives a broker that has not started yet a table of the groups.
func writeGroups(t *testing.T, tg *Target) {
	t.Helper()
	table := make(map[string]any, scaleGroups)
	for g := range scaleGroups {
		table[scaleGroup(g)] = map[string]any{"groupName": scaleGroup(g), "consumeEnable": true, "consumeFromMinEnable": true, "consumeBroadcastEnable": true,
			"retryQueueNums": 1, "retryMaxTimes": 16, "whichBrokerWhenConsumeSlowly": 1, "notifyConsumerIdsChangedEnable": true}
	}
	b := mustJSON(map[string]any{"dataVersion": map[string]int64{"counter": 1, "stateVersion": 0, "timestamp": 1}, "subscriptionGroupTable": table})
	require.NoError(t, os.WriteFile(filepath.Join(tg.StorePath(), "config", "subscriptionGroup.json"), b, 0o644))
}

func scaleGroup(g int) string  { return fmt.Sprintf("many-groups-%05d", g) }
func scaleClient(i int) string { return fmt.Sprintf("127.0.0.1@many-%04d", i) }

// beatAll sends the heartbeats of all groups, those of one client one after the other.
func beatAll(t *testing.T, clients []*client) {
	t.Helper()
	var beating sync.WaitGroup
	errs := make(chan error, len(clients))
	for i, c := range clients {
		beating.Go(func() {
			for g := i; g < scaleGroups; g += scaleConns {
				beat := heartbeat{clientID: scaleClient(i), consumerGroup: scaleGroup(g)}
				for n := range scaleTopicsOfGroup {
					sub := subscribeAll(manyTopic((g + n) % scaleTopics))
					sub.SubVersion = 1
					beat.subs = append(beat.subs, sub)
				}
				res, err := c.callPacket(&packet{Code: codeHeartbeat, Body: beat.body()}, time.Minute)
				if err == nil && res.Code != 0 {
					err = fmt.Errorf("heartbeat of %s: %d %s", beat.consumerGroup, res.Code, res.Remark)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	beating.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}
