package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lmqConf switches light message queues on.
func lmqConf() []Option {
	return []Option{WithConf("enableLmq", "true"), WithConf("enableMultiDispatch", "true"), WithConf("flushConsumerOffsetInterval", "500")}
}

// lmqProps are the properties of a message that goes to light message queues too.
func lmqProps(names string) string { return props("TAGS", "L", "INNER_MULTI_DISPATCH", names) }

func TestLMQ(t *testing.T) {
	tg := onOwn(t, lmqConf()...)
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	c := connect(t, tg.Broker())

	t.Run("a message is in each queue it names", func(t *testing.T) {
		x, y := "%LMQ%"+unique("x"), "%LMQ%"+unique("y")
		for i := range 9 {
			names := []string{x + "," + y, x, ""}[i%3]
			properties := ""
			if names != "" {
				properties = lmqProps(names)
			}
			require.EqualValues(t, i/2, put(t, c, topic, i%2, fmt.Sprint("m-", i), properties))
		}
		dispatched(t, c, topic, 1, 4)
		for name, want := range map[string][]string{x: {"m-0", "m-1", "m-3", "m-4", "m-6", "m-7"}, y: {"m-0", "m-3", "m-6"}} {
			dispatched(t, c, name, 0, int64(len(want)))
			all, err := readQueue(c, name, 0)
			require.NoError(t, err)
			require.Equal(t, want, bodies(all))
			for _, r := range all {
				require.Equal(t, topic, r.Topic)
			}
		}
		all, err := readQueue(c, y, 0)
		require.NoError(t, err)
		require.Equal(t, "2,1", all[1].Props["INNER_MULTI_QUEUE_OFFSET"])
		require.Equal(t, x+","+y, all[1].Props["INNER_MULTI_DISPATCH"])
		filtered := c.ok(t, codePullMessage, with(pullFields(unique("G"), x, 0, 0), "subscription", "L"), nil)
		require.Len(t, pulled(t, filtered), 6)
		c.refused(t, resPullRetry, "NO_MATCHED_MESSAGE", codePullMessage, with(pullFields(unique("G"), x, 0, 0), "subscription", "M"), nil)
	})

	t.Run("its topics and groups need no configuration", func(t *testing.T) {
		name, lmqGroup := "%LMQ%"+unique("none"), "%LMQ%"+unique("g")
		c.refused(t, resPullNotFound, "NO_MESSAGE_IN_QUEUE", codePullMessage, pullFields(lmqGroup, name, 0, 0), nil)
		c.refused(t, resPullOffsetMoved, "NO_MESSAGE_IN_QUEUE", codePullMessage, pullFields(lmqGroup, name, 0, 5), nil)
		c.refused(t, resInvalidParameter, "queueId[1] is illegal", codePullMessage, pullFields(lmqGroup, name, 1, 0), nil)
		c.refused(t, resInvalidParameter, "request queueId[1] is illegal", codeSendMessage, sendFields(name, 1, ""), []byte("x"))
		require.EqualValues(t, 0, put(t, c, name, 0, "straight", ""))
		dispatched(t, c, name, 0, 1)
		c.ok(t, codeCreateTopic, topicFields(name, 3), nil)
		cfg := string(c.ok(t, codeGetTopicConfig, ext("topic", name), nil).Body)
		require.Contains(t, cfg, `"readQueueNums":1`)
		require.Contains(t, cfg, `"perm":6`)
		require.Contains(t, string(c.ok(t, codeGetGroupConfig, ext("group", lmqGroup), nil).Body), `"groupName":"`+lmqGroup+`"`)
		require.NotContains(t, string(c.ok(t, codeGetAllTopicConfig, nil, nil).Body), name)
		require.NotContains(t, string(c.ok(t, codeGetAllGroups, nil, nil).Body), lmqGroup)
	})

	t.Run("a parked pull wakes up", func(t *testing.T) {
		name := "%LMQ%" + unique("wait")
		answer, err := c.send(&packet{Code: codePullMessage, Ext: with(pullFields("%LMQ%g", name, 0, 0), "sysFlag", pullSubExpr|pullSuspend, "suspendTimeoutMillis", 30_000)})
		require.NoError(t, err)
		other := connect(t, tg.Broker())
		put(t, other, topic, 0, "wakes", lmqProps(name))
		res, err := c.await(answer, 20*time.Second)
		require.NoError(t, err)
		require.Equal(t, []string{"wakes"}, bodies(pulled(t, res)))
	})

	t.Run("its groups have one offset in a topic", func(t *testing.T) {
		name, lmqGroup := "%LMQ%"+unique("o"), "%LMQ%"+unique("g")
		put(t, c, topic, 0, "m", lmqProps(name))
		c.ok(t, codeUpdateConsumerOffset, commitFields(lmqGroup, name, 0, 17), nil)
		c.ok(t, codeUpdateConsumerOffset, commitFields(lmqGroup, name, 4, 18), nil)
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, name, 0, 7), nil)
		for queueID := range 2 {
			require.EqualValues(t, 18, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(lmqGroup, name, queueID), nil), "offset"))
		}
		eventually(t, stopTimeout, func() error { return savedLMQ(tg, name, lmqGroup, 18) })
		all := string(c.ok(t, codeGetAllConsumerOffset, nil, nil).Body)
		require.Contains(t, all, fmt.Sprintf(`"%s@%s":18`, name, lmqGroup))
		tg.KillBroker(t)
		tg.StartBroker(t)
		c = connect(t, tg.Broker())
		require.EqualValues(t, 18, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(lmqGroup, name, 0), nil), "offset"))
		require.EqualValues(t, 7, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, name, 0), nil), "offset"))
		dispatched(t, c, name, 0, 1)
		put(t, c, topic, 0, "n", lmqProps(name))
		dispatched(t, c, name, 0, 2)
	})
}

// savedLMQ says whether the broker's file holds the offset of a group named like a light message queue.
func savedLMQ(tg *Target, topic, group string, queueOffset int64) error {
	b, err := os.ReadFile(filepath.Join(tg.StorePath(), "config", "lmqConsumerOffset.json"))
	if err != nil {
		return err
	}
	v, err := parseFastjson(b)
	if err != nil {
		return err
	}
	all, _ := v.(map[string]any)
	table, _ := all["lmqOffsetTable"].(map[string]any)
	if got := table[topic+"@"+group]; got != float64(queueOffset) {
		return fmt.Errorf("%s@%s is saved at %v, not %d", topic, group, got, queueOffset)
	}
	return nil
}
