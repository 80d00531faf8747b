package processor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// CONSUMER_SEND_MSG_BACK 36: a consumer could not handle a message and wants it again later.
//
// Behavior:
// * The message is read by its physical offset, so the request must come to the broker that stored it.
// * It goes to the group's %RETRY% topic by way of a delay level, 3 + times consumed unless the request names one, or at
//   once to the group's %DLQ% topic when it was tried too often or the level is negative. Both topics are created.
// * The group is created when groups may create themselves; one without retry queues loses the message, answered 0.
// * From V3_4_9 on the request's maxReconsumeTimes wins over the group's retryMaxTimes.
// * The answer does not wait for the disk.
//
// Apache: AbstractSendMessageProcessor.consumerSendMsgBack.

// sendBack answers CONSUMER_SEND_MSG_BACK. It reads the log and may create topics, so it runs on a pool.
func (p *Processor) sendBack(req *remoting.Request) (*codec.Command, error) {
	var h codec.ConsumerSendMsgBackHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	for _, field := range [...]string{"offset", "group", "delayLevel"} {
		if _, ok := req.Field(field); !ok {
			return nil, missing(field)
		}
	}
	live := p.live()
	group, ok := p.groups.Find([]byte(h.Group))
	if !ok {
		return nil, groupUnknown(h.Group)
	}
	if live.Permission&codec.PermWrite == 0 {
		return nil, refuse(codec.NoPermission, "the broker[%s] sending message is forbidden", live.BrokerIP)
	}
	if group.RetryQueueNums <= 0 {
		return req.Response(codec.Success), nil
	}
	topic, err := p.retryTopic(&h, group)
	if err != nil {
		return nil, err
	}
	record, err := p.recordToRetry(h.PhysOffset)
	if err != nil {
		return nil, err
	}
	most := group.RetryMaxTimes
	if h.MaxReconsumeTimes != nil && req.Version >= v349 {
		most = *h.MaxReconsumeTimes
	}
	queueID, level := p.opts.Random(group.RetryQueueNums), int(h.DelayLevel)
	switch {
	case record.ReconsumeTimes >= most || level < 0:
		if topic, err = p.createGroupTopic(store.DLQTopic(h.Group), 1, 0); err != nil {
			return nil, err
		}
		queueID, level = 0, 0
		p.log.Info("message goes to the dead letters", "topic", topic.TopicName, "group", h.Group, "origin_topic", h.OriginTopic,
			"consumed_times", record.ReconsumeTimes, "offset", h.PhysOffset)
	case level == 0:
		level = 3 + int(record.ReconsumeTimes)
	}
	if err := p.putRetry(record, topic.TopicName, queueID, level); err != nil {
		return nil, err
	}
	p.stats.traffic.back(firstTopic(record), h.Group)
	if topic.TopicName == store.DLQTopic(h.Group) {
		p.stats.traffic.dead(firstTopic(record), h.Group)
	}
	return req.Response(codec.Success), nil
}

// retryTopic returns the group's retry topic, created if need be.
func (p *Processor) retryTopic(h *codec.ConsumerSendMsgBackHeader, group *codec.SubscriptionGroupConfig) (*codec.TopicConfig, error) {
	var sysFlag int32
	if h.UnitMode {
		sysFlag = codec.TopicUnitSub
	}
	topic, err := p.createGroupTopic(store.RetryTopic(h.Group), group.RetryQueueNums, sysFlag)
	if err != nil {
		return nil, err
	}
	if topic.Perm&codec.PermWrite == 0 {
		return nil, refuse(codec.NoPermission, "the topic[%s] sending message is forbidden", topic.TopicName)
	}
	return topic, nil
}

// firstTopic is the topic that a message was sent to, however often it was consumed since.
func firstTopic(record *codec.Message) string {
	if topic, ok := codec.Property(record.Properties, codec.PropRetryTopic); ok {
		return string(topic)
	}
	return string(record.Topic)
}

func (p *Processor) recordToRetry(physOffset int64) (*codec.Message, error) {
	b, err := p.store.MessageAt(physOffset)
	var m codec.Message
	if err == nil {
		_, err = codec.DecodeMessage(b, &m)
	}
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			p.log.Warn("read message to be consumed again", "offset", physOffset, "error", err)
		}
		return nil, refuse(codec.SystemError, "look message by offset failed, %d", physOffset)
	}
	return &m, nil
}

// putRetry stores a copy of record in the retry or dead-letter topic, by way of the delay level if it is above 0.
func (p *Processor) putRetry(record *codec.Message, topic string, queueID int32, level int) error {
	m := store.Message{
		Topic: topic, QueueID: queueID, Flag: record.Flag, SysFlag: record.SysFlag &^ (codec.SysBornHostV6 | codec.SysStoreHostV6),
		ReconsumeTimes: record.ReconsumeTimes + 1, BornTimestampMs: record.BornTimestampMs, BornHost: record.BornHost, Body: record.Body,
	}
	m.Properties = retryProps(record, level)
	var props sentProps
	props.scan(m.Properties)
	m.TagsCode = codec.TagsCode(props.tags)
	err := p.checkRetry(&m)
	if err == nil {
		_, err = p.delay(&m, &props, level)
	}
	if err != nil {
		return err
	}
	var put store.PutResult
	if err := p.store.PutWait(&m, &put); err != nil {
		if status := putStatus(err); status != "UNKNOWN_ERROR" {
			return refuse(codec.SystemError, "%s", status)
		}
		p.log.Error("put message to be consumed again", "topic", topic, "queue", queueID, "error", err)
		return refuse(codec.SystemError, "UNKNOWN_ERROR")
	}
	p.stats.put(m.Topic, KindDelay, 1, put.EndOffset-put.PhysOffset)
	if !p.topics.IsSystem(m.Topic) {
		p.stats.sentBack.Add(1)
	}
	return nil
}

// checkRetry refuses what Java's hooks before a put refuse.
func (p *Processor) checkRetry(m *store.Message) error {
	tooLong := len(m.Topic) > codec.MaxTopicV1Bytes && !strings.HasPrefix(m.Topic, store.RetryTopicPrefix)
	if tooLong || len(m.Properties) > codec.MaxPropertiesBytes {
		return refuse(codec.SystemError, "%s", putStatus(fmt.Errorf("%w: topic or properties", store.ErrIllegal)))
	}
	return nil
}

// retryProps returns the properties of record with its first topic and message id noted and the level replaced.
func retryProps(record *codec.Message, level int) []byte {
	drop := []string{codec.PropWait, codec.PropDelay}
	origin, known := codec.Property(record.Properties, codec.PropOriginMessageID)
	if known = known && strings.TrimSpace(string(origin)) != ""; !known {
		drop = append(drop, codec.PropOriginMessageID)
	}
	text := codec.AppendPropertiesWithout(make([]byte, 0, len(record.Properties)+256), record.Properties, drop...)
	if _, ok := codec.Property(text, codec.PropRetryTopic); !ok {
		text = codec.AppendPropertyBytes(text, codec.PropRetryTopic, record.Topic)
	}
	text = codec.AppendProperty(text, codec.PropWait, "false")
	text = codec.AppendProperty(text, codec.PropDelay, strconv.Itoa(level))
	if !known {
		id := codec.AppendOffsetMsgID(nil, record.StoreHost, record.PhysOffset)
		text = codec.AppendPropertyBytes(text, codec.PropOriginMessageID, id)
	}
	return text
}
