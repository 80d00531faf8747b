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

// TestStaticTopicKeepsOrder has Apache's mqadmin make a static topic on two brokers and move it to the one and the other, under a producer and
// a consumer of ordered messages, which do not notice: nothing is lost, and each logical queue keeps its order. Each broker is killed once as the one that has the older messages, and once as the one that leads.
func TestStaticTopicKeepsOrder(t *testing.T) {
	needJava(t)
	a, b := startPair(t)
	g := &orderlyGroup{tg: a, topic: unique("ST"), group: newGroup(t, a), scenario: "steady-orderly-consumer"}
	moveStatic(t, a, "updateStaticTopic", "-t", g.topic, "-qn", fmt.Sprint(orderQueues), "-b", a.BrokerName+","+b.BrokerName)
	version := javaVersions[0]
	stays := g.join(t, version)
	producer := startSteady(t, a, version, "steady-orderly-producer", g.topic, unique("PG"))
	stays.awaitQueues(t, orderQueues)
	from, to := a, b
	for range 2 {
		remap(t, a, g.topic, to)
		producer.awaitMoreAcks(t, 100)
		from.KillBroker(t)
		producer.awaitMoreAcks(t, 100)
		from.StartBroker(t)
		stays.awaitQueues(t, orderQueues)
		to.KillBroker(t)
		producer.awaitError(t)
		to.StartBroker(t)
		producer.awaitMoreAcks(t, 100)
		stays.awaitQueues(t, orderQueues)
		from, to = to, from
	}
	producer.finish(t)
	g.awaitAll(t, producer.acked)
	stays.finish(t)
	o := newOrder()
	o.gaps = true // a stretch begins at a round number
	o.requireAll(t, g.all(), producer.acked)
}

// remap has Apache's mqadmin move a static topic.
func remap(t *testing.T, tg *Target, topic string, to *Target) {
	t.Helper()
	moveStatic(t, tg, "remappingStaticTopic", "-t", topic, "-b", to.BrokerName)
}

// moveStatic runs a command of Apache's mqadmin for static topics until it has worked. It says nothing with its exit code, and fails when
// a broker is slow.
func moveStatic(t *testing.T, tg *Target, args ...string) {
	t.Helper()
	eventually(t, steadyLimit, func() error {
		out := mqadmin(t, tg, args...)
		if !strings.Contains(out, ".after") {
			return fmt.Errorf("%s has not worked: %s", args[0], out)
		}
		return nil
	})
}

// hosted are the queues of a static topic in a broker's table, with the brokers of their stretches.
func hosted(tg *Target, topic string) (map[string][]string, error) {
	res, err := callOnce(tg.Broker(), codeGetTopicConfig, ext("topic", topic, "lo", true, "bname", tg.BrokerName), nil)
	if err != nil || res.Code != resSuccess {
		return nil, fmt.Errorf("table of %s: %v, %v", tg.BrokerName, res, err)
	}
	v, err := parseFastjson(res.Body)
	if err != nil {
		return nil, err
	}
	queues := map[string][]string{}
	detail, _ := v.(map[string]any)["mappingDetail"].(map[string]any)
	all, _ := detail["hostedQueues"].(map[string]any)
	for id, list := range all {
		for _, item := range list.([]any) {
			queues[id] = append(queues[id], item.(map[string]any)["bname"].(string))
		}
	}
	return queues, nil
}

// TestStaticTopicLeavesTables moves a static topic over three brokers. At the hour of deletion a stretch that never had a message leaves the
// table of the broker that leads, and the queues leave that of the first broker, which two others have led since. What is there
// stays readable. The servers look every five minutes, hence only with APOGEE_LONG=1; TestMappingsAreCleanedBetweenBrokers of package broker
// has the rules in seconds.
func TestStaticTopicLeavesTables(t *testing.T) {
	if os.Getenv("APOGEE_LONG") == "" {
		t.Skip("waits for the five minutes of a round: APOGEE_LONG=1")
	}
	needJava(t)
	hours := WithConf("deleteWhen", "00;01;02;03;04;05;06;07;08;09;10;11;12;13;14;15;16;17;18;19;20;21;22;23")
	a := onOwn(t, hours)
	brokers := []*Target{a}
	for _, name := range []string{"compat-b", "compat-c"} {
		b := Start(t, hours, WithNames(a.ClusterName, name), WithNamesrv(a.Namesrv()))
		brokers = append(brokers, b)
		eventually(t, readyTimeout, func() error {
			in, err := brokerRegistered(a.Namesrv(), name)
			if err == nil && !in {
				err = fmt.Errorf("%s is not registered", name)
			}
			return err
		})
	}
	topic := unique("ST")
	moveStatic(t, a, "updateStaticTopic", "-t", topic, "-qn", "2", "-b", a.BrokerName)
	put(t, connect(t, a.Broker()), topic, 0, "first", "")
	for _, to := range brokers[1:] {
		remap(t, a, topic, to)
	}
	c := brokers[2]
	tables := func(want ...string) func() error {
		return func() error {
			for i, tg := range brokers {
				queues, err := hosted(tg, topic)
				if err != nil {
					return err
				}
				if text, _ := json.Marshal(queues); string(text) != want[i] {
					return fmt.Errorf("%s has %s", tg.BrokerName, text)
				}
			}
			return nil
		}
	}
	whole := `{"0":["compat-a","compat-b","compat-c"],"1":["compat-a","compat-b","compat-c"]}`
	eventually(t, stopTimeout, tables(`{"0":["compat-a","compat-b"],"1":["compat-a","compat-b"]}`, whole, whole))
	eventually(t, 15*time.Minute, tables(`{}`, whole, `{"0":["compat-a","compat-b","compat-c"],"1":["compat-c"]}`))
	lead := connect(t, c.Broker())
	put(t, lead, topic, 0, "last", "")
	group := newGroup(t, c)
	var got []string
	eventually(t, stopTimeout, func() error {
		got = got[:0]
		for from := int64(0); len(got) < 2; {
			res := lead.must(t, codePullMessage, pullFields(group, topic, 0, from), nil)
			next := num(t, res, "nextBeginOffset")
			if next <= from {
				return fmt.Errorf("%q came, code %d at %d: %s", got, res.Code, from, res.Remark)
			}
			if from = next; res.Code == resSuccess {
				got = append(got, bodies(pulled(t, res))...)
			}
		}
		return nil
	})
	require.Equal(t, []string{"first", "last"}, got)
}
