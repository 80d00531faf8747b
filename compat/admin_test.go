package compat

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/require"
)

func TestTopicAdmin(t *testing.T) {
	t.Parallel()
	t.Run("create, change and delete", func(t *testing.T) {
		tg := onShared(t)
		topic := unique("T")
		c := connect(t, tg.Broker())
		c.ok(t, codeCreateTopic, topicFields(topic, 2), nil)
		require.Equal(t, 2, awaitRoute(t, tg, topic).QueueDatas[0].ReadQueueNums)
		c.ok(t, codeCreateTopic, with(topicFields(topic, 5), "perm", 4), nil)
		eventually(t, 10*time.Second, func() error {
			r, err := routeOf(tg.Namesrv(), topic)
			if err == nil && (r.QueueDatas[0].ReadQueueNums != 5 || r.QueueDatas[0].Perm != 4) {
				err = fmt.Errorf("route %+v", r.QueueDatas)
			}
			return err
		})
		put(t, c, topic, 4, "stored without write permission, as by Apache", "")
		c.ok(t, codeDeleteTopicInBroker, ext("topic", topic), nil)
		connect(t, tg.Namesrv()).ok(t, codeDeleteTopicInNamesrv, ext("topic", topic), nil)
		_, err := routeOf(tg.Namesrv(), topic)
		require.ErrorContains(t, err, "code 17")
		c.refused(t, resTopicNotExist, "topic["+topic+"] not exist", codePullMessage, pullFields(unique("G"), topic, 0, 0), nil)
		c.ok(t, codeDeleteTopicInBroker, ext("topic", topic), nil)
	})

	t.Run("a created topic has a route when the answer is there", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		for range 10 {
			topic := unique("T")
			c.ok(t, codeCreateTopic, topicFields(topic, 1), nil)
			_, err := routeOf(tg.Namesrv(), topic)
			require.NoError(t, err)
		}
	})

	t.Run("a deleted topic made again is empty", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "old", "")
		dispatched(t, c, topic, 0, 1)
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 1), nil)
		c.ok(t, codeDeleteTopicInBroker, ext("topic", topic), nil)
		c.ok(t, codeCreateTopic, topicFields(topic, 1), nil)
		require.Equal(t, int64(0), num(t, c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", 0), nil), "offset"))
		c.refused(t, resQueryNotFound, "Not found", codeQueryConsumerOffset, offsetFields(group, topic, 0), nil)
		require.Equal(t, int64(0), put(t, c, topic, 0, "new", ""))
		require.Equal(t, []string{"new"}, bodies(readTopic(t, tg, topic, 1, 1)))
	})

	t.Run("refused names", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		long := strings.Repeat("x", 128)
		c.refused(t, resInvalidParameter, "The specified topic is blank.", codeCreateTopic, topicFields("", 1), nil)
		c.refused(t, resInvalidParameter, "The specified topic: no/slash, contains illegal characters", codeCreateTopic, topicFields("no/slash", 1), nil)
		c.refused(t, resInvalidParameter, "The specified topic: "+long+", is longer than topic max length: 127", codeCreateTopic, topicFields(long, 1), nil)
		c.refused(t, resInvalidParameter, "The topic[SCHEDULE_TOPIC_XXXX] is conflict with system topic.", codeCreateTopic, topicFields("SCHEDULE_TOPIC_XXXX", 1), nil)
		c.refused(t, resInvalidParameter, "", codeDeleteTopicInBroker, ext("topic", ""), nil)
		c.refused(t, resInvalidParameter, "The topic[TBW102] is conflict with system topic.", codeDeleteTopicInBroker, ext("topic", "TBW102"), nil)
	})

	t.Run("all topics", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 3)
		var all struct {
			TopicConfigTable map[string]struct {
				ReadQueueNums, WriteQueueNums, Perm int
				TopicName, TopicFilterType          string
			}
			DataVersion struct{ Counter, Timestamp, StateVersion int64 }
		}
		require.NoError(t, unmarshal(connect(t, tg.Broker()).ok(t, codeGetAllTopicConfig, nil, nil).Body, &all))
		got := all.TopicConfigTable[topic]
		require.Equal(t, topic, got.TopicName)
		require.Equal(t, []int{3, 3, 6}, []int{got.ReadQueueNums, got.WriteQueueNums, got.Perm})
		require.Equal(t, "SINGLE_TAG", got.TopicFilterType)
		require.Positive(t, all.DataVersion.Timestamp)
		for _, name := range []string{createTable, "SCHEDULE_TOPIC_XXXX", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT",
			"BenchmarkTest", "RMQ_SYS_TRANS_HALF_TOPIC", tg.ClusterName, tg.BrokerName, tg.ClusterName + "_REPLY_TOPIC"} {
			require.Contains(t, all.TopicConfigTable, name)
		}
	})

	t.Run("state of a topic", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Broker())
		put(t, c, topic, 1, "x", "")
		last := readTopic(t, tg, topic, 2, 1)[0]
		body := string(c.ok(t, codeTopicStats, ext("topic", topic), nil).Body)
		for _, want := range []string{
			fmt.Sprintf(`{"brokerName":%q,"queueId":0,"topic":%q}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0}`, tg.BrokerName, topic),
			fmt.Sprintf(`{"brokerName":%q,"queueId":1,"topic":%q}:{"lastUpdateTimestamp":%d,"maxOffset":1,"minOffset":0}`, tg.BrokerName, topic, last.StoreMs),
		} {
			require.Contains(t, body, want)
		}
		nowhere := unique("T")
		c.refused(t, resTopicNotExist, "topic["+nowhere+"] not exist", codeTopicStats, ext("topic", nowhere), nil)
	})
}

func TestGroupAdmin(t *testing.T) {
	t.Parallel()
	create := func(group string, more map[string]any) []byte {
		config := map[string]any{"groupName": group, "consumeEnable": true, "retryQueueNums": 1, "retryMaxTimes": 3}
		for k, v := range more {
			config[k] = v
		}
		return mustJSON(config)
	}

	t.Run("create and delete", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		c := connect(t, tg.Broker())
		c.ok(t, codeCreateGroup, nil, create(group, nil))
		require.Contains(t, string(c.ok(t, codeGetAllGroups, nil, nil).Body), `"`+group+`"`)
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 9), nil)
		c.ok(t, codeDeleteGroup, ext("groupName", group, "cleanOffset", true), nil)
		require.NotContains(t, string(c.ok(t, codeGetAllGroups, nil, nil).Body), `"`+group+`"`)
		c.refused(t, resQueryNotFound, "Not found", codeQueryConsumerOffset, offsetFields(group, topic, 0), nil)
		c.ok(t, codeDeleteGroup, ext("groupName", group), nil)
	})

	t.Run("a group that may not consume", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		c := connect(t, tg.Broker())
		c.ok(t, codeCreateGroup, nil, create(group, map[string]any{"consumeEnable": false}))
		res := c.refused(t, resNoPermission, "subscription group no permission, "+group, codePullMessage, pullFields(group, topic, 0, 0), nil)
		require.Equal(t, "2", res.Ext["forbiddenType"])
	})

	t.Run("refused names", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		c.refused(t, resInvalidParameter, "", codeCreateGroup, nil, create("no/slash", nil))
		c.refused(t, resInvalidParameter, "", codeCreateGroup, nil, create(strings.Repeat("x", 256), nil))
	})

	t.Run("progress of a group", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		for _, body := range numbered("m", 5) {
			put(t, c, topic, 0, body, "")
		}
		all := readTopic(t, tg, topic, 1, 5)
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 2), nil)
		want := fmt.Sprintf(`{"brokerName":%q,"queueId":0,"topic":%q}:{"brokerOffset":5,"consumerOffset":2,"lastTimestamp":%d,"pullOffset":2}`,
			tg.BrokerName, topic, all[1].StoreMs)
		for _, fields := range []map[string]string{ext("consumerGroup", group), ext("consumerGroup", group, "topic", topic)} {
			require.Contains(t, string(c.ok(t, codeConsumeStats, fields, nil).Body), want)
		}
	})
}

func TestBrokerAdmin(t *testing.T) {
	t.Parallel()
	t.Run("configuration is answered as properties", func(t *testing.T) {
		tg := onShared(t)
		body := string(connect(t, tg.Broker()).ok(t, codeGetBrokerConfig, nil, nil).Body)
		for _, line := range []string{"brokerName=" + tg.BrokerName, "brokerClusterName=" + tg.ClusterName, "mappedFileSizeCommitLog=16777216", "maxMessageSize=4194304"} {
			require.Contains(t, body, line)
		}
	})

	t.Run("configuration changes while running", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		c.ok(t, codeUpdateBrokerConfig, nil, []byte("defaultQueryMaxNum=33\n"))
		require.Contains(t, string(c.ok(t, codeGetBrokerConfig, nil, nil).Body), "defaultQueryMaxNum=33")
		c.refused(t, resNoPermission, "Can not update config in black list.", codeUpdateBrokerConfig, nil, []byte("brokerConfigPath=elsewhere\n"))
	})

	t.Run("runtime information", func(t *testing.T) {
		tg := onShared(t)
		var table struct{ Table map[string]string }
		require.NoError(t, unmarshal(connect(t, tg.Broker()).ok(t, codeGetBrokerRuntimeInfo, nil, nil).Body, &table))
		for _, key := range []string{"brokerVersionDesc", "bootTimestamp", "putTps", "getFoundTps", "getMissTps", "getTotalTps",
			"getTransferredTps", "msgPutTotalTodayNow", "msgPutTotalTodayMorning", "msgGetTotalTodayNow", "msgGetTotalTodayMorning",
			"sendThreadPoolQueueSize", "pullThreadPoolQueueSize", "commitLogMaxOffset", "commitLogMinOffset", "earliestMessageTimeStamp"} {
			require.Contains(t, table.Table, key)
		}
	})

	t.Run("a code nobody knows", func(t *testing.T) {
		tg := onShared(t)
		for _, addr := range []string{tg.Broker(), tg.VIP(), tg.Namesrv()} {
			c := connect(t, addr)
			for _, code := range []int{codeUnknown, 22, 27, 209} {
				c.refused(t, resNotSupported, fmt.Sprintf(" request type %d not supported", code), code, nil, nil)
			}
		}
	})

	t.Run("administration with the Go client", func(t *testing.T) {
		tg := onShared(t)
		a, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{tg.Namesrv()})))
		require.NoError(t, err)
		t.Cleanup(func() { _ = a.Close() })
		ctx := context.Background()
		topic := unique("T")
		require.NoError(t, a.CreateTopic(ctx, admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(tg.Broker()),
			admin.WithReadQueueNums(3), admin.WithWriteQueueNums(3)))
		awaitRoute(t, tg, topic)
		list, err := a.FetchAllTopicList(ctx)
		require.NoError(t, err)
		require.Contains(t, list.TopicList, topic)
		queues, err := a.FetchPublishMessageQueues(ctx, topic)
		require.NoError(t, err)
		require.Len(t, queues, 3)
		groups, err := a.GetAllSubscriptionGroup(ctx, tg.Broker(), 3*time.Second)
		require.NoError(t, err)
		require.Contains(t, groups.SubscriptionGroupTable, "TOOLS_CONSUMER")
		require.NoError(t, a.DeleteTopic(ctx, admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(tg.Broker()),
			admin.WithNameSrvAddr([]string{tg.Namesrv()})))
		_, err = routeOf(tg.Namesrv(), topic)
		require.ErrorContains(t, err, "code 17")
	})
}

// TestGroupsMustExist has groups made by the administrator only.
func TestGroupsMustExist(t *testing.T) {
	tg := onOwn(t, WithConf("autoCreateSubscriptionGroup", "false"))
	topic, group := newTopic(t, tg, 1), unique("G")
	c := connect(t, tg.Broker())
	sent := c.ok(t, codeSendMessage, sendFields(topic, 0, ""), []byte("x"))
	_, physOffset := parseMessageID(t, sent.Ext["msgId"])
	beat := heartbeat{clientID: "one", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}

	c.ok(t, codeHeartbeat, nil, beat.body())
	c.refused(t, resSystemError, "no consumer for this group", codeConsumerListByGroup, ext("consumerGroup", group), nil)
	c.refused(t, resGroupNotExist, "subscription group ["+group+"] does not exist", codePullMessage, pullFields(group, topic, 0, 0), nil)
	c.refused(t, resGroupNotExist, "subscription group not exist, "+group, codeSendBack, backFields(group, topic, physOffset, 1), nil)
	c.refused(t, resGroupNotExist, "Group "+group+" not exist!", codeUpdateConsumerOffset, commitFields(group, topic, 0, 1), nil)

	c.ok(t, codeCreateGroup, nil, mustJSON(map[string]any{"groupName": group}))
	c.ok(t, codeHeartbeat, nil, beat.body())
	dispatched(t, c, topic, 0, 1)
	require.Len(t, pulled(t, c.ok(t, codePullMessage, pullFields(group, topic, 0, 0), nil)), 1)
	c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 1), nil)
}
