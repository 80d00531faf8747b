package compat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const codeCreateGroupList = 225

// What Apache's broker 5.4.0 answers to 352 for the groups of TestGroupSettings, NAME standing for the group.
const (
	exponentialGroup = `{"attributes":{},"brokerId":3,"consumeBroadcastEnable":false,"consumeEnable":true,"consumeFromMinEnable":false,` +
		`"consumeMessageOrderly":true,"consumeTimeoutMinute":7,"groupName":"NAME","groupRetryPolicy":{"exponentialRetryPolicy":` +
		`{"initial":1000,"max":60000,"multiplier":3},"type":"EXPONENTIAL"},"groupSysFlag":1,"notifyConsumerIdsChangedEnable":false,` +
		`"retryMaxTimes":5,"retryQueueNums":2,"subscriptionDataSet":[{"expression":"a > 1","expressionType":"SQL92","topic":"T","version":0}],"whichBrokerWhenConsumeSlowly":2}`
	customizedGroup = `{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,` +
		`"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"NAME","groupRetryPolicy":{"customizedRetryPolicy":` +
		`{"next":[1000,2000,30000]},"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,` +
		`"retryMaxTimes":-1,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}`
	plainGroup = `{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,` +
		`"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"NAME","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,` +
		`"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}`
)

// Every setting of a group comes back as Apache writes it, from 352 and 201, also after a kill.
func TestGroupSettings(t *testing.T) {
	tg := onOwn(t)
	groups := make(map[string]string)
	for _, form := range []string{exponentialGroup, customizedGroup, plainGroup} {
		name := unique("G")
		groups[name] = strings.Replace(form, "NAME", name, 1)
	}
	c := connect(t, tg.Broker())
	list := make([]string, 0, len(groups))
	for name, config := range groups {
		c.ok(t, codeCreateGroup, nil, []byte(config))
		require.Equal(t, config, string(c.ok(t, codeGetGroupConfig, ext("group", name), nil).Body))
		other := strings.Replace(config, name, name+"-list", 1)
		list = append(list, other)
	}
	c.ok(t, codeCreateGroupList, nil, []byte(`{"groupConfigList":[`+strings.Join(list, ",")+`]}`))
	check := func() {
		c := connect(t, tg.Broker())
		all := string(c.ok(t, codeGetAllGroups, nil, nil).Body)
		for name, config := range groups {
			for _, name := range []string{name, name + "-list"} {
				config := strings.Replace(config, `"groupName":"`+strings.TrimSuffix(name, "-list"), `"groupName":"`+name, 1)
				require.Equal(t, config, string(c.ok(t, codeGetGroupConfig, ext("group", name), nil).Body))
				require.Contains(t, all, config)
			}
		}
	}
	check()
	tg.KillBroker(t)
	tg.StartBroker(t)
	check()
}

// A group knows no attributes, and what is wrong with a group changes nothing.
func TestGroupSettingsRefused(t *testing.T) {
	tg := onShared(t)
	c := connect(t, tg.Broker())
	name := unique("G")
	put := func(more string) []byte { return []byte(`{"groupName":"` + name + `"` + more + `}`) }
	refused := func(remark, attributes string) {
		t.Helper() // Apache puts the exception's name before the remark, and the place after it
		res := c.must(t, codeCreateGroup, nil, put(`,"attributes":{`+attributes+`}`))
		require.Equal(t, resSystemError, res.Code, res.Remark)
		require.Contains(t, res.Remark, remark)
	}
	refused("unsupported key: x", `"+x":"1"`)
	refused("only add attribute is supported while creating topic. key: x", `"-x":""`)
	c.ok(t, codeCreateGroup, nil, put(`,"retryMaxTimes":4`))
	refused("unsupported key: x", `"+x":"1"`)
	refused("attempt to delete a nonexistent key: x", `"-x":""`)
	require.Contains(t, string(c.ok(t, codeGetGroupConfig, ext("group", name), nil).Body), `"retryMaxTimes":4`)
}

func TestTopicAttributes(t *testing.T) {
	t.Parallel()
	config := func(t *testing.T, c *client, topic string) string {
		return string(c.ok(t, codeGetTopicConfig, ext("topic", topic), nil).Body)
	}
	change := func(topic, attributes string) map[string]string {
		return with(topicFields(topic, 2), "attributes", attributes)
	}
	t.Run("what is set is kept", func(t *testing.T) {
		tg := onOwn(t)
		c := connect(t, tg.Broker())
		topic := unique("T")
		c.ok(t, codeCreateTopic, change(topic, "+message.type=FIFO,+queue.type=SimpleCQ,+cleanup.policy=DELETE,+reserve.time=-1"), nil)
		has := config(t, c, topic)
		for _, attribute := range []string{`"message.type":"FIFO"`, `"queue.type":"SimpleCQ"`, `"cleanup.policy":"DELETE"`, `"reserve.time":"-1"`} {
			require.Contains(t, has, attribute)
		}
		c.ok(t, codeCreateTopic, change(topic, "+message.type=DELAY,-reserve.time"), nil)
		require.NotContains(t, config(t, c, topic), "reserve.time")
		c.ok(t, codeCreateTopic, topicFields(topic, 3), nil)
		want := config(t, c, topic)
		require.Contains(t, want, `"message.type":"DELAY"`)
		require.Contains(t, want, `"readQueueNums":3`)
		tg.KillBroker(t)
		tg.StartBroker(t)
		require.Equal(t, want, config(t, connect(t, tg.Broker()), topic))
		require.Contains(t, string(connect(t, tg.Broker()).ok(t, codeGetAllTopicConfig, nil, nil).Body), `"message.type":"DELAY"`)
	})

	t.Run("refused", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		old := unique("T")
		c.ok(t, codeCreateTopic, change(old, "+message.type=NORMAL,+queue.type=SimpleCQ,+cleanup.policy=DELETE"), nil)
		before := config(t, c, old)
		for _, tc := range []struct{ topic, attributes, remark string }{
			{old, "+queue.type=BatchCQ", "attempt to update an unchangeable attribute. key: queue.type"},
			{old, "+cleanup.policy=COMPACTION", "attempt to update an unchangeable attribute. key: cleanup.policy"},
			{old, "-cleanup.policy", "attempt to update an unchangeable attribute. key: cleanup.policy"},
			{old, "-reserve.time", "attempt to delete a nonexistent key: reserve.time"},
			{old, "-nothing", "attempt to delete a nonexistent key: nothing"},
			{old, "+nothing=1", "unsupported key: nothing"},
			{old, "+message.type=STRANGE", "value is not in set: ["},
			{old, "+message.type=normal", "value is not in set: ["},
			{old, "+reserve.time=-2", "value is not in range(-1, 9223372036854775807)"},
			{old, "+reserve.time=soon", `For input string: "soon"`},
			{old, "message.type=FIFO", "add/alter attribute format is wrong: message.type"},
			{old, "message.type", "delete attribute format is wrong: message.type"},
			{old, "+message.type=FIFO,+message.type=DELAY", "key duplication: +message.type"},
			{old, "+message.type=FIFO,-message.type", "alter duplication key. key: message.type"},
			{old, "+mess+age=1", "kv string format wrong."},
			{old, "+=1", "kv string format wrong."},
			{"new", "-message.type", "only add attribute is supported while creating topic. key: message.type"},
			{"new", "+nothing=1", "unsupported key: nothing"},
			{"new", "+queue.type=Other", "value is not in set: ["},
			{"new", "+cleanup.policy=compaction", "value is not in set: ["},
		} {
			topic := tc.topic
			if topic == "new" {
				topic = unique("T")
			}
			c.refused(t, resSystemError, tc.remark, codeCreateTopic, change(topic, tc.attributes), nil)
			if tc.topic == "new" {
				c.refused(t, resTopicNotExist, "", codeGetTopicConfig, ext("topic", topic), nil)
			}
		}
		c.refused(t, resInvalidParameter, "MIXED message type is not supported.", codeCreateTopic, change(old, "+message.type=MIXED"), nil)
		require.Equal(t, before, config(t, c, old))
	})

	// The broker leaves it to Apache's proxy to compare a message with its topic's type.
	t.Run("the broker takes messages of another type", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Broker())
		for _, kind := range []string{"NORMAL", "FIFO", "DELAY", "TRANSACTION"} {
			topic := unique("T")
			c.ok(t, codeCreateTopic, change(topic, "+message.type="+kind), nil)
			c.ok(t, codeSendMessage, sendFields(topic, 0, ""), []byte("normal"))
			c.ok(t, codeSendMessage, sendFields(topic, 0, props("DELAY", "1")), []byte("delayed"))
			c.ok(t, codeSendMessage, sendFields(topic, 0, props("__SHARDINGKEY", "k")), []byte("ordered"))
			sendHalf(t, c, topic, unique("PG"), "half")
		}
	})
}
