package processor

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// GET_ALL_CONSUMER_OFFSET 43, GET_ALL_DELAY_OFFSET 45, GET_CONSUME_STATS 208, QUERY_CONSUME_TIME_SPAN 303,
// QUERY_CORRECTION_OFFSET 308, CLONE_GROUP_OFFSET 314, GET_BROKER_CONSUME_STATS 317, QUERY_TOPICS_BY_CONSUMER 343.
//
// Behavior:
// * 208 and 317 leave out topics that a group with members does not subscribe to, and topics that do not exist. An offset that
//   was never stored counts as 0.
// * 308 answers, for each queue, the lowest offset of all groups that is still in the queue.
//
// Other than Java 308 does not delete the offsets of filterGroups, and 314
// without a topic copies those of all topics.
//
// Apache: AdminBrokerProcessor, ConsumerOffsetManager.

// allOffsets answers GET_ALL_CONSUMER_OFFSET.
func (p *Processor) allOffsets(req *remoting.Request) (*codec.Command, error) {
	return jsonResponse(req, p.offsets.Snapshot())
}

// allDelayOffsets answers GET_ALL_DELAY_OFFSET.
func (p *Processor) allDelayOffsets(req *remoting.Request) (*codec.Command, error) {
	return jsonResponse(req, p.schedule.Snapshot())
}

// consumeStats answers GET_CONSUME_STATS.
func (p *Processor) consumeStats(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetConsumeStatsHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	stats := codec.ConsumeStats{OffsetTable: make(map[codec.MessageQueue]codec.OffsetWrapper)}
	for _, topic := range p.statsTopics(&h) {
		if cfg, ok := p.topics.Get(topic); ok {
			p.addStats(&stats, h.ConsumerGroup, cfg, cfg.ReadQueueNums)
		}
	}
	return jsonResponse(req, stats)
}

// statsTopics returns the topics that a request for statistics is about: those it lists, or one, or all of the group's.
func (p *Processor) statsTopics(h *codec.GetConsumeStatsHeader) []string {
	if h.TopicList != "" {
		listed := strings.Split(h.TopicList, ";")
		return slices.DeleteFunc(listed, func(topic string) bool { return strings.TrimSpace(topic) == "" })
	}
	topics := []string{h.Topic}
	if strings.TrimSpace(h.Topic) == "" {
		topics = p.offsets.TopicsOf(h.ConsumerGroup)
	}
	return slices.DeleteFunc(topics, func(topic string) bool { return p.unsubscribed(h.ConsumerGroup, topic) })
}

// unsubscribed reports whether a group has members, and none of them wants the topic.
func (p *Processor) unsubscribed(groupName, topic string) bool {
	group := p.clients.ConsumerGroup([]byte(groupName))
	return group != nil && len(group.subscriptions) > 0 && group.subscriptions[topic] == nil
}

// addStats adds the offsets of a group in a topic's queues.
func (p *Processor) addStats(stats *codec.ConsumeStats, group string, topic *codec.TopicConfig, queues int32) {
	data, _ := p.stats.traffic.data("GROUP_GET_NUMS", topic.TopicName+"@"+group, "")
	stats.ConsumeTPS += data.StatsMinute.TPS
	for queueID := range queues {
		w := codec.OffsetWrapper{BrokerOffset: max(p.store.MaxQueueOffset(topic.TopicName, queueID), 0)}
		if queueOffset, ok := p.offsets.Query([]byte(group), []byte(topic.TopicName), queueID); ok {
			w.ConsumerOffset = max(queueOffset, 0)
		}
		w.PullOffset = w.ConsumerOffset
		if queueOffset, ok := p.offsets.QueryPull([]byte(group), []byte(topic.TopicName), queueID); ok {
			w.PullOffset = max(queueOffset, w.ConsumerOffset)
		}
		if w.ConsumerOffset > 0 {
			w.LastTimestampMs = max(p.store.StoreTimeAt(topic.TopicName, queueID, w.ConsumerOffset-1), 0)
		}
		stats.OffsetTable[p.queueOf(topic.TopicName, queueID)] = w
	}
}

// brokerConsumeStats answers GET_BROKER_CONSUME_STATS.
func (p *Processor) brokerConsumeStats(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetConsumeStatsInBrokerHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	list := codec.ConsumeStatsList{BrokerAddr: p.brokerAddr(), ConsumeStatsList: []map[string][]codec.ConsumeStats{}}
	topics := p.topicsByGroup()
	for _, group := range p.groups.All() {
		ofGroup := []codec.ConsumeStats{}
		for _, topic := range topics[group.GroupName] {
			cfg, ok := p.topics.Get(topic)
			if !ok || h.Order && !cfg.Order || p.unsubscribed(group.GroupName, topic) {
				continue
			}
			stats := codec.ConsumeStats{OffsetTable: make(map[codec.MessageQueue]codec.OffsetWrapper)}
			p.addStats(&stats, group.GroupName, cfg, cfg.WriteQueueNums)
			for q, w := range stats.OffsetTable {
				list.TotalDiff += w.BrokerOffset - w.ConsumerOffset
				list.TotalInflightDiff += w.PullOffset - w.ConsumerOffset
				w.PullOffset = 0 // as Java leaves it here
				stats.OffsetTable[q] = w
			}
			ofGroup = append(ofGroup, stats)
		}
		list.ConsumeStatsList = append(list.ConsumeStatsList, map[string][]codec.ConsumeStats{group.GroupName: ofGroup})
	}
	return jsonResponse(req, list)
}

// topicsByGroup returns the topics that each group has offsets of, in alphabetical order.
func (p *Processor) topicsByGroup() map[string][]string {
	topics := make(map[string][]string)
	for _, key := range sortedKeys(p.offsets.Snapshot().OffsetTable) {
		if topic, group, ok := strings.Cut(key, "@"); ok {
			topics[group] = append(topics[group], topic)
		}
	}
	return topics
}

// consumeTimeSpan answers QUERY_CONSUME_TIME_SPAN.
func (p *Processor) consumeTimeSpan(req *remoting.Request) (*codec.Command, error) {
	var h codec.QueryConsumeTimeSpanHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	cfg, ok := p.topics.Get(h.Topic)
	if !ok {
		return nil, refuse(codec.TopicNotExist, "topic[%s] not exist", h.Topic)
	}
	body := codec.QueryConsumeTimeSpanBody{ConsumeTimeSpanSet: []codec.QueueTimeSpan{}}
	for queueID := range cfg.WriteQueueNums {
		body.ConsumeTimeSpanSet = append(body.ConsumeTimeSpanSet, p.timeSpan(h.Group, h.Topic, queueID))
	}
	return jsonResponse(req, body)
}

// timeSpan tells the times of a queue's first, last and last consumed message.
func (p *Processor) timeSpan(group, topic string, queueID int32) codec.QueueTimeSpan {
	end := p.store.MaxQueueOffset(topic, queueID)
	span := codec.QueueTimeSpan{
		MessageQueue: p.queueOf(topic, queueID), MinTimestampMs: p.store.EarliestStoreTime(topic, queueID),
		MaxTimestampMs: p.store.StoreTimeAt(topic, queueID, end-1),
	}
	consumed, ok := p.offsets.Query([]byte(group), []byte(topic), queueID)
	if !ok {
		consumed = -1
	}
	span.ConsumeTimestampMs = span.MinTimestampMs
	if consumed > 0 {
		span.ConsumeTimestampMs = p.store.StoreTimeAt(topic, queueID, consumed-1)
	}
	if consumed < end {
		span.DelayTimeMs = p.opts.Now().UnixMilli() - p.store.StoreTimeAt(topic, queueID, consumed)
	}
	span.MinTimestampStr, span.MaxTimestampStr = describeTime(span.MinTimestampMs), describeTime(span.MaxTimestampMs)
	span.ConsumeTimestampStr = describeTime(span.ConsumeTimestampMs)
	return span
}

// correctionOffsets answers QUERY_CORRECTION_OFFSET.
func (p *Processor) correctionOffsets(req *remoting.Request) (*codec.Command, error) {
	var h codec.QueryCorrectionOffsetHeader
	if err := decodeHeader(req, &h, "topic", "compareGroup"); err != nil {
		return nil, err
	}
	filtered := strings.Split(h.FilterGroups, ",")
	lowest := make(map[int32]int64)
	for _, group := range p.offsets.GroupsOf(h.Topic) {
		if slices.Contains(filtered, group) {
			continue
		}
		for queueID, queueOffset := range p.offsets.OfGroup(group, h.Topic) {
			if queueOffset < p.store.MinQueueOffset(h.Topic, queueID) {
				continue
			}
			if known, ok := lowest[queueID]; !ok || queueOffset < known {
				lowest[queueID] = queueOffset
			}
		}
	}
	for queueID, queueOffset := range p.offsets.OfGroup(h.CompareGroup, h.Topic) {
		if known, ok := lowest[queueID]; ok && known > queueOffset {
			lowest[queueID] = math.MaxInt64
		}
	}
	return jsonResponse(req, codec.QueryCorrectionOffsetBody{CorrectionOffsets: lowest})
}

// cloneOffsets answers CLONE_GROUP_OFFSET.
func (p *Processor) cloneOffsets(req *remoting.Request) (*codec.Command, error) {
	var h codec.CloneGroupOffsetHeader
	if err := decodeHeader(req, &h, "srcGroup", "destGroup"); err != nil {
		return nil, err
	}
	topics := []string{h.Topic}
	if strings.TrimSpace(h.Topic) == "" {
		topics = p.offsets.TopicsOf(h.SrcGroup)
	}
	for _, topic := range topics {
		if _, ok := p.topics.Get(topic); !ok || !h.Offline && p.unsubscribed(h.SrcGroup, topic) {
			p.log.Warn("offsets are not copied: no such topic, or not subscribed to", "topic", topic, "group", h.SrcGroup)
			continue
		}
		if err := p.offsets.Clone(h.SrcGroup, h.DestGroup, topic); err != nil {
			return nil, fmt.Errorf("copy offsets of topic %s: %w", topic, err)
		}
	}
	return req.Response(codec.Success), nil
}

// topicsOfGroup answers QUERY_TOPICS_BY_CONSUMER.
func (p *Processor) topicsOfGroup(req *remoting.Request) (*codec.Command, error) {
	group, ok := req.Field("group")
	if !ok {
		return nil, missing("group")
	}
	topics := p.offsets.TopicsOf(string(group))
	if topics == nil {
		topics = []string{}
	}
	return jsonResponse(req, codec.TopicList{BrokerAddr: p.brokerAddr(), TopicList: topics})
}
