package compat

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClients(t *testing.T) {
	t.Parallel()
	t.Run("a group has the members that send heartbeats", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		a, b := connect(t, tg.Broker()), connect(t, tg.Broker())
		beat := heartbeat{clientID: "client-a", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}
		a.refused(t, resSystemError, "no consumer for this group, "+group, codeConsumerListByGroup, ext("consumerGroup", group), nil)
		res := a.ok(t, codeHeartbeat, nil, beat.body())
		require.Equal(t, "true", res.Ext["IS_SUPPORT_HEART_BEAT_V2"])
		require.Equal(t, "true", res.Ext["IS_SUB_CHANGE"])
		beat.clientID = "client-b"
		b.ok(t, codeHeartbeat, nil, beat.body())
		ids, err := membersOf(tg, group)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"client-a", "client-b"}, ids)
		a.ok(t, codeUnregisterClient, ext("clientID", "client-a", "consumerGroup", group), nil)
		awaitMembers(t, tg, group, 1)
		b.close()
		awaitMembers(t, tg, group, 0)
	})

	t.Run("a heartbeat makes the retry topic", func(t *testing.T) {
		tg := onShared(t)
		group := unique("G")
		connect(t, tg.Broker()).ok(t, codeHeartbeat, nil, heartbeat{clientID: "one", consumerGroup: group}.body())
		r := awaitRoute(t, tg, "%RETRY%"+group)
		require.Equal(t, 1, r.QueueDatas[0].WriteQueueNums)
		require.Equal(t, 6, r.QueueDatas[0].Perm)
	})

	t.Run("members are told when one comes or goes", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		a, b := connect(t, tg.Broker()), connect(t, tg.Broker())
		beat := heartbeat{clientID: "a", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}
		a.ok(t, codeHeartbeat, nil, beat.body())
		awaitPush(t, a, codeNotifyConsumers) // of its own coming
		drain(a)
		beat.clientID = "b"
		b.ok(t, codeHeartbeat, nil, beat.body())
		joined := awaitPush(t, a, codeNotifyConsumers)
		require.Equal(t, group, joined.Ext["consumerGroup"])
		require.Equal(t, flagOneway, joined.Flag)
		drain(a)
		b.close()
		require.Equal(t, group, awaitPush(t, a, codeNotifyConsumers).Ext["consumerGroup"])
	})

	t.Run("a broadcast group is not told", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		a, b := connect(t, tg.Broker()), connect(t, tg.Broker())
		beat := heartbeat{clientID: "a", consumerGroup: group, model: "BROADCASTING", subs: []subscription{subscribeAll(topic)}}
		a.ok(t, codeHeartbeat, nil, beat.body())
		beat.clientID = "b"
		b.ok(t, codeHeartbeat, nil, beat.body())
		awaitMembers(t, tg, group, 2)
		// Whatever the broker would have sent comes before the answer to a later request.
		a.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", 0), nil)
		require.Empty(t, a.pushed)
	})

	t.Run("connections of a consumer group", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		c := connect(t, tg.Broker())
		c.refused(t, resConsumerOffline, "the consumer group["+group+"] not online", codeConsumerConnections, ext("consumerGroup", group), nil)
		c.ok(t, codeHeartbeat, nil, heartbeat{clientID: "one", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
		var list struct {
			ConnectionSet []struct {
				ClientID, ClientAddr, Language string
				Version                        int
			}
			ConsumeFromWhere, ConsumeType, MessageModel string
			SubscriptionTable                           map[string]subscription
		}
		require.NoError(t, unmarshal(c.ok(t, codeConsumerConnections, ext("consumerGroup", group), nil).Body, &list))
		require.Len(t, list.ConnectionSet, 1)
		require.Equal(t, "one", list.ConnectionSet[0].ClientID)
		require.Equal(t, c.conn.LocalAddr().String(), list.ConnectionSet[0].ClientAddr)
		require.Equal(t, "GO", list.ConnectionSet[0].Language)
		require.Equal(t, goVersion, list.ConnectionSet[0].Version)
		require.Equal(t, "CONSUME_FROM_FIRST_OFFSET", list.ConsumeFromWhere)
		require.Equal(t, "CONSUME_PASSIVELY", list.ConsumeType)
		require.Equal(t, "CLUSTERING", list.MessageModel)
		require.Equal(t, "*", list.SubscriptionTable[topic].SubString)
	})

	t.Run("connections of a producer group", func(t *testing.T) {
		tg := onShared(t)
		group := unique("PG")
		c := connect(t, tg.Broker())
		fields := ext("producerGroup", group)
		c.refused(t, resSystemError, "the producer group["+group+"] not exist", codeProducerConnections, fields, nil)
		c.ok(t, codeHeartbeat, nil, heartbeat{clientID: "one", producerGroup: group}.body())
		require.Contains(t, string(c.ok(t, codeProducerConnections, fields, nil).Body), `"clientId":"one"`)
		c.ok(t, codeUnregisterClient, ext("clientID", "one", "producerGroup", group), nil)
		c.refused(t, resSystemError, "the producer group["+group+"] not exist", codeProducerConnections, fields, nil)
	})

	t.Run("a new connection of a client replaces the old one", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		beat := heartbeat{clientID: "same", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}
		old := connect(t, tg.Broker())
		old.ok(t, codeHeartbeat, nil, beat.body())
		connect(t, tg.Broker()).ok(t, codeHeartbeat, nil, beat.body())
		old.close()
		awaitMembers(t, tg, group, 1)
	})

	t.Run("the subscription of the last heartbeat is the group's", func(t *testing.T) {
		tg := onShared(t)
		first, second, group := newTopic(t, tg, 1), newTopic(t, tg, 1), unique("G")
		c := connect(t, tg.Broker())
		beat := heartbeat{clientID: "one", consumerGroup: group, subs: []subscription{subscribeAll(first)}}
		c.ok(t, codeHeartbeat, nil, beat.body())
		beat.subs = []subscription{subscribeAll(second)}
		c.ok(t, codeHeartbeat, nil, beat.body())
		body := string(c.ok(t, codeConsumerConnections, ext("consumerGroup", group), nil).Body)
		require.Contains(t, body, second)
		require.NotContains(t, body, first)
	})

	t.Run("check of a client's configuration", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		check := func(expressionType, expression string) []byte {
			sub := subscribeAll(topic)
			sub.ExpressionType, sub.SubString = expressionType, expression
			return mustJSON(map[string]any{"clientId": "one", "group": unique("G"), "subscriptionData": sub})
		}
		c := connect(t, tg.Broker())
		c.ok(t, codeCheckClientConfig, nil, check("TAG", "A || B"))
	})
}

// drain forgets what the server has sent by itself so far.
func drain(c *client) {
	for {
		select {
		case <-c.pushed:
		default:
			return
		}
	}
}

func TestAskClient(t *testing.T) {
	t.Parallel()
	t.Run("running information is the client's answer", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		info := `{"properties":{"PROP_CLIENT_VERSION":"mine"},"mqTable":{{"brokerName":"b","queueId":1,"topic":"t"}:{"droped":false}}}`
		asked := make(chan *packet, 1)
		member := connectAnswering(t, tg.Broker(), func(p *packet) *packet {
			asked <- p
			return &packet{Code: resSuccess, Language: "JAVA", Version: 493, Body: []byte(info)}
		})
		member.ok(t, codeHeartbeat, nil, heartbeat{clientID: "one", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
		c := connect(t, tg.Broker())
		res := c.ok(t, codeConsumerRunningInfo, ext("consumerGroup", group, "clientId", "one", "jstackEnable", false), nil)
		require.Equal(t, info, string(res.Body))
		p := receive(t, asked)
		require.Equal(t, codeConsumerRunningInfo, p.Code)
		require.Equal(t, group, p.Ext["consumerGroup"])
		require.Equal(t, "one", p.Ext["clientId"])
		c.refused(t, resSystemError, "The Consumer <"+group+"> <two> not online", codeConsumerRunningInfo, ext("consumerGroup", group, "clientId", "two"), nil)
	})

	t.Run("state of the members of a group", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		mq := fmt.Sprintf(`{"brokerName":%q,"queueId":0,"topic":%q}`, tg.BrokerName, topic)
		member := connectAnswering(t, tg.Broker(), func(p *packet) *packet {
			if p.Code != codeConsumerStatusOfClient || p.Ext["group"] != group || p.Ext["topic"] != topic {
				return &packet{Code: resSystemError, Language: "JAVA", Version: 493}
			}
			return &packet{Code: resSuccess, Language: "JAVA", Version: 493, Body: []byte(`{"consumerTable":{},"messageQueueTable":{` + mq + `:42}}`)}
		})
		member.ok(t, codeHeartbeat, nil, heartbeat{clientID: "one", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
		res := connect(t, tg.Broker()).ok(t, codeConsumerStatus, ext("group", group, "topic", topic, "clientAddr", ""), nil)
		v, err := parseFastjson(res.Body)
		require.NoError(t, err)
		table := v.(map[string]any)["consumerTable"].(map[string]any)
		require.Equal(t, map[string]any{"{brokerName=" + tg.BrokerName + " queueId=0 topic=" + topic + "}": 42.0}, table["one"])
	})

	t.Run("running information of the Go client", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		var got inbox
		startPush(t, tg, group, topic, got.consume)
		awaitMembers(t, tg, group, 1)
		ids, err := membersOf(tg, group)
		require.NoError(t, err)
		res := connect(t, tg.Broker()).ok(t, codeConsumerRunningInfo, ext("consumerGroup", group, "clientId", ids[0], "jstackEnable", false), nil)
		require.Contains(t, string(res.Body), "PROP_CONSUME_TYPE")
		require.Contains(t, string(res.Body), topic)
	})

	t.Run("a client is made to consume one message", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		sent := c.ok(t, codeSendMessage, sendFields(topic, 0, ""), []byte("once more"))
		var got inbox
		startPush(t, tg, group, topic, got.consume)
		got.awaitBodies(t, 30*time.Second, []string{"once more"})
		ids, err := membersOf(tg, group)
		require.NoError(t, err)
		fields := ext("consumerGroup", group, "clientId", ids[0], "msgId", sent.Ext["msgId"], "brokerName", tg.BrokerName, "topic", topic)
		res := c.ok(t, codeConsumeDirectly, fields, nil)
		require.Contains(t, string(res.Body), `"consumeResult"`)
		got.awaitBodies(t, 10*time.Second, []string{"once more", "once more"})
		c.refused(t, resSystemError, "The Consumer <"+group+"> <nobody> not online", codeConsumeDirectly, with(fields, "clientId", "nobody"), nil)
	})

	t.Run("a client that does not answer costs 207, and nobody else waits", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), unique("G")
		member := connect(t, tg.Broker())
		member.ok(t, codeHeartbeat, nil, heartbeat{clientID: "mute", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
		c := connect(t, tg.Broker())
		answer, err := c.send(&packet{Code: codeConsumerRunningInfo, Ext: ext("consumerGroup", group, "clientId", "mute", "jstackEnable", false)})
		require.NoError(t, err)
		put(t, c, topic, 0, "meanwhile", "")
		res, err := c.await(answer, 25*time.Second)
		require.NoError(t, err)
		require.Equal(t, 207, res.Code, res.Remark)
	})
}
