package auth

import (
	"bytes"

	"github.com/apogee-mq/apogee/codec"
)

// errContext is Java's answer to a request whose resources cannot be read.
var errContext = refuse("parse authorization context error.")

// sendNeeds: to write to a retry topic is to consume in its group.
func sendNeeds(c *codec.Command, field string, a asker) error {
	topic, ok := c.Field(field)
	if !ok {
		topic = []byte{}
	}
	if isRetry(topic) {
		return a.ask(KindGroup, groupOf(topic), ActionSub)
	}
	return a.ask(KindTopic, topic, ActionPub)
}

func routeNeeds(c *codec.Command, actions Actions, a asker) error {
	topic, ok := c.Field("topic")
	if !ok {
		topic = []byte{}
	}
	if isRetry(topic) {
		return a.ask(KindGroup, groupOf(topic), subGet)
	}
	return a.ask(KindTopic, topic, actions)
}

// pullNeeds: a retry topic is read with the right of its own group. Java believes that the group that reads is that one.
func pullNeeds(c *codec.Command, actions Actions, a asker) error {
	topic, _ := c.Field("topic")
	group, _ := c.Field("consumerGroup")
	topic, group = notNil(topic), groupOf(notNil(group))
	switch {
	case !isRetry(topic):
		if err := a.ask(KindTopic, topic, actions); err != nil {
			return err
		}
	case !bytes.Equal(groupOf(topic), group):
		if err := a.ask(KindGroup, groupOf(topic), actions); err != nil {
			return err
		}
	}
	return a.ask(KindGroup, group, actions)
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// decode reads a body; the handler of the request reads the same bytes in the same way afterwards.
func decode[T any](c *codec.Command) (*T, error) {
	v := new(T)
	if err := codec.UnmarshalJSON(c.Body, v); err != nil {
		return nil, errContext
	}
	return v, nil
}

func heartbeatNeeds(c *codec.Command, actions Actions, a asker) error {
	data, err := decode[codec.HeartbeatData](c)
	if err != nil {
		return err
	}
	for i := range data.ConsumerDataSet {
		group := &data.ConsumerDataSet[i]
		if err := a.ask(KindGroup, groupOf([]byte(group.GroupName)), actions); err != nil {
			return err
		}
		for j := range group.SubscriptionDataSet {
			topic := []byte(group.SubscriptionDataSet[j].Topic)
			if isRetry(topic) && string(groupOf(topic)) == string(groupOf([]byte(group.GroupName))) {
				continue
			}
			if err := askTopicOrGroup(KindTopic, topic, actions, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func lockNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.LockBatchRequest](c)
	if err != nil {
		return err
	}
	if err := a.ask(KindGroup, groupOf([]byte(body.ConsumerGroup)), actions); err != nil {
		return err
	}
	last := ""
	for i := range body.MQSet {
		topic := body.MQSet[i].Topic
		if topic == last || isRetry([]byte(topic)) {
			continue
		}
		last = topic
		if err := a.ask(KindTopic, []byte(topic), actions); err != nil {
			return err
		}
	}
	return nil
}

// ackNeeds: what was popped from a group's retry topic is acknowledged with the right of the group, and of the topic that
// the retry topic belongs to.
func ackNeeds(c *codec.Command, actions Actions, a asker) error {
	group, ok := c.Field("consumerGroup")
	if ok {
		if err := a.ask(KindGroup, group, actions); err != nil {
			return err
		}
	}
	topic, ok := c.Field("topic")
	if !ok {
		return nil
	}
	return askPopped(group, topic, actions, a)
}

// askPopped asks for the topic that a message was popped from. POP has retry topics of its own, %RETRY%group_topic and
// %RETRY%group+topic, which Java takes for those of groups of these names.
func askPopped(group, topic []byte, actions Actions, a asker) error {
	if rest, ok := bytes.CutPrefix(groupOf(topic), group); ok && len(group) > 0 && isRetry(topic) {
		if len(rest) == 0 {
			return nil
		}
		if rest[0] == '_' || rest[0] == '+' {
			return a.ask(KindTopic, rest[1:], actions)
		}
	}
	return askTopicOrGroup(KindTopic, topic, actions, a)
}

func batchAckNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := codec.DecodeBatchAck(c.Body)
	if err != nil {
		return errContext
	}
	for i := range body.Acks {
		ack := &body.Acks[i]
		if err := a.ask(KindGroup, groupOf([]byte(ack.Group)), actions); err != nil {
			return err
		}
		if err := askPopped([]byte(ack.Group), []byte(ack.Topic), actions, a); err != nil {
			return err
		}
	}
	return nil
}

func liteNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.LiteSubscriptionBody](c)
	if err != nil {
		return err
	}
	for i := range body.Subscriptions {
		change := &body.Subscriptions[i]
		if err := a.ask(KindGroup, []byte(change.Group), actions); err != nil {
			return err
		}
		if err := a.ask(KindTopic, []byte(change.Topic), actions); err != nil {
			return err
		}
	}
	return nil
}

func assignmentNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.QueryAssignmentRequest](c)
	if err != nil {
		return err
	}
	if err := a.ask(KindGroup, groupOf([]byte(body.ConsumerGroup)), actions); err != nil || isRetry([]byte(body.Topic)) {
		return err
	}
	return a.ask(KindTopic, []byte(body.Topic), actions)
}

func topicListNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.CreateTopicListBody](c)
	if err != nil {
		return err
	}
	for _, topic := range body.TopicConfigList {
		if topic == nil {
			return errContext
		}
		if err := askTopicOrGroup(KindTopic, []byte(topic.TopicName), actions, a); err != nil {
			return err
		}
	}
	return nil
}

func groupNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.SubscriptionGroupConfig](c)
	if err != nil {
		return err
	}
	return a.ask(KindGroup, groupOf([]byte(body.GroupName)), actions)
}

func groupListNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.SubscriptionGroupList](c)
	if err != nil {
		return err
	}
	for _, group := range body.GroupConfigList {
		if group == nil {
			return errContext
		}
		if err := a.ask(KindGroup, groupOf([]byte(group.GroupName)), actions); err != nil {
			return err
		}
	}
	return nil
}

func requestModeNeeds(c *codec.Command, actions Actions, a asker) error {
	body, err := decode[codec.MessageRequestMode](c)
	if err != nil {
		return err
	}
	return a.ask(KindGroup, groupOf([]byte(body.ConsumerGroup)), actions)
}
