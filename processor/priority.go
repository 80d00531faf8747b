package processor

import (
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// Messages with priorities, _SYS_MSG_PRIORITY_.
//
// Behavior:
// * The priority of a message is the number of its queue, whatever queue and topic the sender named; priorities beyond the last
//   queue go to that one. Property and queue stay in a topic of any message.type.
// * Half messages, delayed ones and those with a sharding key lose the property and keep their queue. What is no number, or less
//   than 0, stays and does nothing.
// * A pop of a whole topic with message.type=PRIORITY that is not ordered reads the queues by their numbers, the highest first
//   (priorityOrderAsc), and of 100 such pops popFromRetryProbabilityForPriority read the retry topic before. The attribute
//   priority.factor of a group says how many of 100 pops do so; the others begin with a random queue.
//
// A message to a static topic keeps its logical queue; Java writes it to the physical queue of that number.
//
// Apache: SendMessageProcessor.sendMessage, PopMessageProcessor.processRequest of release 5.4.0.

const (
	attributePriorityFactor = "priority.factor"
	priorityMessageType     = "PRIORITY"
	// defaultPriorityFactor is the default of priority.factor. Apache: SubscriptionGroupAttributes.
	defaultPriorityFactor = 100
)

// prioritize turns a message with a priority, sent to topic, to the queue of that number, or takes the priority from it.
func (c *sendCall) prioritize(topic *codec.TopicConfig) error {
	priority, err := strconv.ParseInt(string(c.props.priority), 10, 32)
	if err != nil || priority < 0 {
		return nil
	}
	if c.props.kind() != KindNormal {
		c.text = codec.AppendPropertiesWithout(nil, c.text, codec.PropPriority)
		c.props.scan(c.text)
		return nil
	}
	if c.static.detail != nil {
		return nil
	}
	if topic.WriteQueueNums <= 0 {
		return refuse(codec.SystemError, "topic[%s] has no queue to write to", topic.TopicName)
	}
	c.h.QueueID = min(int32(priority), topic.WriteQueueNums-1)
	c.msg.QueueID = c.h.QueueID
	return nil
}

// byPriority says whether the pop that drew this number of 100 reads the queues of its topic by their numbers.
func (c *popCall) byPriority(draw int32) bool {
	if c.h.Order || c.topic.Attributes[attributeMessageType] != priorityMessageType {
		return false
	}
	group, ok := c.pp.p.groups.Find(c.h.Group)
	return ok && int64(draw) < priorityFactor(group)
}

// priorityFactor is the group's attribute; what is no number counts as the default. Apache:
// SubscriptionGroupConfig.getPriorityFactor.
func priorityFactor(group *codec.SubscriptionGroupConfig) int64 {
	factor, err := strconv.ParseInt(group.Attributes[attributePriorityFactor], 10, 64)
	if err != nil {
		return defaultPriorityFactor
	}
	return factor
}
