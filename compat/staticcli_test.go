package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Our own mqadmin creates a static topic on one of two brokers, moves it to the other and back, and messages keep their order and offsets.
func TestOwnMqadminMovesStaticTopic(t *testing.T) {
	a, b := startPair(t)
	cli := newAdminCLI(t, a)
	topic, group := unique("ST"), unique("G")
	type change struct {
		Before, After string
		Brokers       []string
	}
	run := func(line string) (c change) {
		stdout, stderr, exit := cli.run(t, line)
		require.Zero(t, exit, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &c), stdout)
		require.Equal(t, []string{a.BrokerName, b.BrokerName}, c.Brokers)
		for _, name := range []string{c.Before, c.After} {
			if name != "" {
				t.Cleanup(func() { _ = os.Remove(name) })
			}
		}
		return c
	}
	run("updateStaticTopic -t " + topic + " -qn 2 -o json -b " + a.BrokerName)
	ca, cb := connect(t, a.Broker()), connect(t, b.Broker())
	hb := heartbeat{clientID: unique("c"), consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body()
	ca.ok(t, codeHeartbeat, nil, hb)
	cb.ok(t, codeHeartbeat, nil, hb)
	leader, other := ca, cb
	where := ext("topic", topic, "queueId", 1)
	var sent []string
	fill := func(first int64) {
		for i := range int64(3) {
			body := fmt.Sprint(first + i)
			require.Equal(t, first+i, num(t, leader.ok(t, codeSendMessage, sendFields(topic, 1, ""), []byte(body)), "queueOffset"))
			sent = append(sent, body)
		}
		eventually(t, 20*time.Second, func() error {
			if end := num(t, leader.ok(t, codeGetMaxOffset, where, nil), "offset"); end != first+3 {
				return fmt.Errorf("the queue ends at %d", end)
			}
			return nil
		})
	}
	fill(0)
	var moved change
	for i, to := range []string{b.BrokerName, a.BrokerName} {
		moved = run("remappingStaticTopic -t " + topic + " -o json -b " + to)
		leader, other = other, leader
		require.Equal(t, resNotLeader, other.must(t, codeSendMessage, sendFields(topic, 1, ""), []byte("x")).Code)
		fill(int64(i+1) * 10000)
	}
	var got []string
	for from := int64(0); len(got) < len(sent); {
		var res *packet
		eventually(t, 20*time.Second, func() error { // a client asks again, too, while a broker looks for the other one
			res = leader.must(t, codePullMessage, pullFields(group, topic, 1, from), nil)
			if res.Code != resSuccess && res.Code != resPullRetry {
				return fmt.Errorf("code %d: %s", res.Code, res.Remark)
			}
			return nil
		})
		if res.Code == resSuccess {
			got = append(got, bodies(pulled(t, res))...)
		}
		next := num(t, res, "nextBeginOffset")
		require.Greater(t, next, from)
		from = next
	}
	require.Equal(t, sent, got)

	stdout, stderr, exit := cli.run(t, "topicStatus -t "+topic)
	require.Zero(t, exit, stderr)
	require.Regexp(t, `(?m)^__syslo__global__ +1 +0 +20003 `, stdout)
	require.Equal(t, 2, strings.Count(stdout, "__syslo__"))
	if JavaMissing() == nil && !testing.Short() {
		require.Equal(t, adminColumns(apacheAdmin(t, a, []string{"topicStatus", "-t", topic})), adminColumns(stdout))
	}

	// A file that was used before says what the brokers know already; one that is older is refused unless forced.
	run("updateStaticTopic -t " + topic + " -qn 4 -o json -b " + a.BrokerName)
	_, stderr, exit = cli.run(t, "remappingStaticTopic -t "+topic+" -b "+a.BrokerName+" -mf "+moved.After)
	require.Equal(t, 1, exit)
	require.Contains(t, stderr, "repeat the command with -mf")
	_, stderr, exit = cli.run(t, "updateStaticTopic -t "+topic+" -qn 4 -b NoSuchBroker")
	require.Equal(t, 1, exit)
	require.Contains(t, stderr, "knows no broker NoSuchBroker; it has "+a.BrokerName)
}
