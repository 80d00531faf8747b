package compat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSubscriptionMismatch has two Go consumers of one group subscribe differently. Our broker says so once, naming both, and shows it in
// its metrics for as long as it lasts.
func TestSubscriptionMismatch(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("Apache's broker does not look")
	}
	ports, err := pickPorts()
	require.NoError(t, err)
	tg := onOwn(t, WithConf("metricsExporterType", "PROM"), WithConf("metricsPromExporterPort", strconv.Itoa(ports.namesrv)),
		WithConf("metricsPromExporterHost", "127.0.0.1"))
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	var a, b inbox
	startPushTags(t, tg, group, topic, "A", a.consume)
	second := startPushTags(t, tg, group, topic, "B", b.consume)
	awaitMembers(t, tg, group, 2)
	ids, err := membersOf(tg, group)
	require.NoError(t, err)
	shown := func() (n int, err error) {
		all, err := scrape(ports.namesrv)
		for _, m := range all {
			if m.name == "apogee_subscription_mismatch" && m.labels["consumer_group"] == group {
				n++
			}
		}
		return n, err
	}
	eventually(t, popAgain*2, func() error { // a heartbeat of each comes every 30 s
		if n, err := shown(); err != nil || n != 1 {
			return fmt.Errorf("the metric has %d series: %w", n, err)
		}
		return nil
	})
	text, err := os.ReadFile(tg.broker.logPath)
	require.NoError(t, err)
	var warnings []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "members of one group subscribe differently") {
			warnings = append(warnings, line)
		}
	}
	require.Len(t, warnings, 1)
	for _, word := range append(ids, group) {
		require.Contains(t, warnings[0], word)
	}
	require.NoError(t, second.Shutdown())
	eventually(t, popAgain, func() error {
		if n, err := shown(); err != nil || n != 0 {
			return fmt.Errorf("the metric has %d series: %w", n, err)
		}
		return nil
	})
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
