package compat

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func backFields(group, topic string, physOffset int64, delayLevel int) map[string]string {
	return ext("group", group, "offset", physOffset, "delayLevel", delayLevel, "originTopic", topic, "originMsgId", "x",
		"unitMode", false, "maxReconsumeTimes", 3)
}

// firstOf waits for the first record of queue 0 of a topic.
func firstOf(t testing.TB, c *client, topic string, limit time.Duration) record {
	t.Helper()
	var all []record
	eventually(t, limit, func() (err error) {
		if all, err = readQueue(c, topic, 0); err == nil && len(all) == 0 {
			err = errors.New("nothing in " + topic)
		}
		return err
	})
	return all[0]
}

func TestSendBack(t *testing.T) {
	t.Parallel()
	// sent stores a message and returns its physical offset.
	sent := func(t *testing.T, c *client, topic, body string) int64 {
		_, physOffset := parseMessageID(t, c.ok(t, codeSendMessage, sendFields(topic, 0, ""), []byte(body)).Ext["msgId"])
		return physOffset
	}

	t.Run("level 1 comes back after a second", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		physOffset := sent(t, c, topic, "again")
		before := nowMs()
		c.ok(t, codeSendBack, backFields(group, topic, physOffset, 1), nil)
		back := firstOf(t, c, "%RETRY%"+group, 20*time.Second)
		require.Equal(t, "again", string(back.Body))
		require.Equal(t, int32(1), back.ReconsumeTimes)
		require.Equal(t, topic, back.Props["RETRY_TOPIC"])
		require.GreaterOrEqual(t, back.StoreMs, before+1000-50)
	})

	t.Run("level 0 is level 3 the first time: ten seconds", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		physOffset := sent(t, c, topic, "later")
		before := nowMs()
		c.ok(t, codeSendBack, backFields(group, topic, physOffset, 0), nil)
		back := firstOf(t, c, "%RETRY%"+group, 40*time.Second)
		require.Equal(t, "later", string(back.Body))
		require.GreaterOrEqual(t, back.StoreMs, before+10_000-50)
		require.Less(t, back.StoreMs, before+15_000)
	})

	t.Run("a negative level, or too many tries, is the dead letter queue", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		physOffset := sent(t, c, topic, "dead")
		for name, fields := range map[string]map[string]string{
			"negative level": {"delayLevel": "-1"},
			"no tries left":  {"maxReconsumeTimes": "0"},
		} {
			group := newGroup(t, tg)
			fields = with(fields)
			for k, v := range backFields(group, topic, physOffset, 1) {
				if _, set := fields[k]; !set {
					fields[k] = v
				}
			}
			c.ok(t, codeSendBack, fields, nil)
			dead := firstOf(t, c, "%DLQ%"+group, 20*time.Second)
			require.Equal(t, "dead", string(dead.Body), name)
			require.Equal(t, topic, dead.Props["RETRY_TOPIC"], name)
		}
	})

	t.Run("a client that sends to the retry topic itself", func(t *testing.T) {
		tg := onShared(t)
		group := newGroup(t, tg)
		c := connect(t, tg.Broker())
		fields := sendFields("%RETRY%"+group, 0, props("RETRY_TOPIC", "origin"))
		c.ok(t, codeSendMessage, with(fields, "reconsumeTimes", 1, "maxReconsumeTimes", 2), []byte("once more"))
		require.Equal(t, "once more", string(firstOf(t, c, "%RETRY%"+group, 20*time.Second).Body))
		c.ok(t, codeSendMessage, with(fields, "reconsumeTimes", 3, "maxReconsumeTimes", 2), []byte("enough"))
		require.Equal(t, "enough", string(firstOf(t, c, "%DLQ%"+group, 20*time.Second).Body))
	})

	t.Run("refused", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		c.refused(t, resSystemError, "look message by offset failed, 999999999", codeSendBack, backFields(group, topic, 999999999, 1), nil)
	})
}
