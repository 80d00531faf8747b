package compat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSubscriptionMismatch has two consumers of one group subscribe differently: two Go clients, and one with a Java client of each version.
// Our broker says so once, naming both, and shows it in its metrics for as long as it lasts.
func TestSubscriptionMismatch(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("Apache's broker does not look")
	}
	ports, err := pickPorts()
	require.NoError(t, err)
	tg := onOwn(t, WithConf("metricsExporterType", "PROM"), WithConf("metricsPromExporterPort", strconv.Itoa(ports.namesrv)),
		WithConf("metricsPromExporterHost", "127.0.0.1"))
	topic := newTopic(t, tg, 2)
	awaitShown := func(t *testing.T, group string, want int) {
		eventually(t, steadyLimit, func() error { // a heartbeat of each comes every 30 s
			all, err := scrape(ports.namesrv)
			n := 0
			for _, m := range all {
				if m.name == "apogee_subscription_mismatch" && m.labels["consumer_group"] == group {
					n++
				}
			}
			if err != nil || n != want {
				return fmt.Errorf("the metric has %d series: %w", n, err)
			}
			return nil
		})
	}
	check := func(t *testing.T, second func(group string) (leave func())) {
		group := newGroup(t, tg)
		var got inbox
		startPushTags(t, tg, group, topic, "A", got.consume)
		leave := second(group)
		awaitMembers(t, tg, group, 2)
		ids, err := membersOf(tg, group)
		require.NoError(t, err)
		awaitShown(t, group, 1)
		text, err := os.ReadFile(tg.broker.logPath)
		require.NoError(t, err)
		var warnings []string
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "level=WARN") && strings.Contains(line, "members of one group subscribe differently") && strings.Contains(line, group) {
				warnings = append(warnings, line)
			}
		}
		require.Len(t, warnings, 1)
		for _, id := range ids {
			require.Contains(t, warnings[0], id)
		}
		leave()
		awaitShown(t, group, 0)
	}
	t.Run("go", func(t *testing.T) {
		check(t, func(group string) func() {
			var got inbox
			second := startPushTags(t, tg, group, topic, "B", got.consume)
			return func() { require.NoError(t, second.Shutdown()) }
		})
	})
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			needJava(t)
			check(t, func(group string) func() {
				second := startSteady(t, tg, version, "steady-consumer", topic, group)
				return func() { second.finish(t) }
			})
		})
	}
}

// TestSubscriptionMismatchSeenByAdmin: what members say of themselves reaches Apache's mqadmin consumerStatus, which finds that they subscribe
// differently. It looks at members that began more than two minutes ago, so that these are made by hand.
func TestSubscriptionMismatchSeenByAdmin(t *testing.T) {
	needJava(t)
	tg := onShared(t)
	for _, tt := range []struct {
		tags string // of the second member
		says string
	}{
		{"A", "Same subscription in the same group of consumer"},
		{"B", "WARN: Different subscription in the same group of consumer!!!"},
	} {
		topic, group := newTopic(t, tg, 2), newGroup(t, tg)
		for i, tags := range []string{"A", tt.tags} {
			sub := subscribeAll(topic)
			sub.SubString, sub.TagsSet = tags, []string{tags}
			member := connectAnswering(t, tg.Broker(), func(p *packet) *packet {
				if p.Code != codeConsumerRunningInfo {
					return nil
				}
				return &packet{Code: resSuccess, Language: "JAVA", Version: 493, Body: mustJSON(map[string]any{
					"properties": map[string]string{"PROP_CONSUME_TYPE": "CONSUME_PASSIVELY", "PROP_CONSUMER_START_TIMESTAMP": fmt.Sprint(nowMs() - 600_000),
						"PROP_CONSUMEORDERLY": "false"},
					"subscriptionSet": []subscription{sub}, "mqTable": map[string]any{}, "statusTable": map[string]any{}})}
			})
			id := unique(fmt.Sprintf("member-%d", i))
			member.ok(t, codeHeartbeat, nil, heartbeat{clientID: id, consumerGroup: group, subs: []subscription{sub}}.body())
		}
		out := mqadmin(t, tg, "consumerStatus", "-g", group)
		require.Contains(t, out, tt.says)
		require.Contains(t, out, "member-0")
		require.Contains(t, out, "member-1")
	}
}
