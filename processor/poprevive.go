package processor

import (
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// What POP delivered and nobody acknowledged in time: it becomes visible again by the group's retry topic, one consumption more
// unless the client changed its invisible time with suspend=true.
//
// Apache: PopReviveService.

const (
	// revivePause is when a message that could not be made visible is tried again.
	revivePause = time.Second
	// reviveLook is how many records of a retry topic are compared with a message that an earlier process may have put there.
	reviveLook = 256
)

// revive makes visible what is due.
func (pp *popping) revive(now time.Time) {
	var due store.PopDue
	for pp.state.NextDue(now, &due) {
		pp.reviveDelivery(&due)
	}
}

func (pp *popping) reviveDelivery(due *store.PopDue) {
	p := pp.p
	_, known := p.topics.Get(store.PopNormalTopic(due.Topic, due.Group))
	if _, group := p.groups.Get(due.Group); !known || !group {
		p.log.Warn("a delivery of a topic or group that is no more is dropped", "topic", due.Topic, "group", due.Group)
		pp.revived(due, due.QueueOffsets)
		return
	}
	done := due.QueueOffsets[:0:0]
	for _, queueOffset := range due.QueueOffsets {
		if err := pp.reviveMessage(due, queueOffset); err != nil {
			p.log.Warn("make a message visible again", "topic", due.Topic, "queue", due.QueueID, "offset", queueOffset, "group", due.Group, "error", err)
			break
		}
		done = append(done, queueOffset)
	}
	pp.revived(due, done)
}

func (pp *popping) revived(due *store.PopDue, queueOffsets []int64) {
	if err := pp.state.Revived(due, queueOffsets, revivePause); err != nil {
		pp.p.log.Warn("note that messages are visible again", "topic", due.Topic, "queue", due.QueueID, "group", due.Group, "error", err)
	}
}

// reviveMessage puts one message into the retry topic. A message that is no more counts as done.
func (pp *popping) reviveMessage(due *store.PopDue, queueOffset int64) error {
	p := pp.p
	physOffset, _, _, ok := p.store.QueueEntry(due.Topic, due.QueueID, queueOffset)
	if !ok {
		return nil
	}
	b, err := p.store.MessageAt(physOffset)
	if err != nil {
		p.log.Info("a message that was popped is no more", "topic", due.Topic, "queue", due.QueueID, "offset", queueOffset, "error", err)
		return nil
	}
	var record codec.Message
	if _, err := codec.DecodeMessage(b, &record); err != nil {
		return err
	}
	topic := due.Topic
	if !isRetryTopic(topic) {
		topic = retryTopicName(due.Topic, due.Group, p.live().retryKind())
	}
	if err := pp.createRetryTopic(topic, due.Group); err != nil {
		return err
	}
	m := store.Message{
		Topic: topic, Flag: record.Flag, SysFlag: record.SysFlag &^ (codec.SysBornHostV6 | codec.SysStoreHostV6),
		ReconsumeTimes: record.ReconsumeTimes + 1, BornTimestampMs: record.BornTimestampMs, BornHost: p.opts.StoreHost, Body: record.Body,
		Properties: record.Properties,
	}
	if due.Suspend {
		m.ReconsumeTimes = record.ReconsumeTimes
	}
	if _, ok := codec.Property(record.Properties, codec.PropFirstPopTime); !ok || record.ReconsumeTimes == 0 {
		m.Properties = codec.AppendPropertiesWithout(make([]byte, 0, len(record.Properties)+48), record.Properties, codec.PropFirstPopTime)
		m.Properties = codec.AppendProperty(m.Properties, codec.PropFirstPopTime, strconv.FormatInt(due.PopTimeMs, 10))
	}
	if due.Recovered && pp.isRevived(&m, due.DueMs) {
		return nil
	}
	var props sentProps
	props.scan(m.Properties)
	m.TagsCode = codec.TagsCode(props.tags)
	var put store.PutResult
	err = p.store.PutWait(&m, &put)
	if due.CountRevival(err); err != nil {
		return err
	}
	p.stats.PopsRevived.Add(1)
	p.stats.put(m.Topic, KindNormal, 1, put.EndOffset-put.PhysOffset)
	return nil
}

func retryTopicName(topic, group string, kind byte) string {
	if kind == codec.PopRetryV2 {
		return store.PopRetryTopicV2(topic, group)
	}
	return store.PopRetryTopicV1(topic, group)
}

// createRetryTopic makes a retry topic with one queue, which the group reads from its beginning.
func (pp *popping) createRetryTopic(topic, group string) error {
	p := pp.p
	if _, ok := p.topics.Get(topic); ok {
		return nil
	}
	if _, err := p.createGroupTopic(topic, 1, 0); err != nil {
		return err
	}
	if _, ok := p.offsets.Query([]byte(group), []byte(topic), 0); ok {
		return nil
	}
	return p.offsets.Commit([]byte(group), []byte(topic), 0, 0)
}

// isRevived looks whether an earlier process put m into its retry topic before it ended, and could not note it any more: the last
// records since it was due are compared.
func (pp *popping) isRevived(m *store.Message, dueMs int64) bool {
	st := pp.p.store
	most, least := st.MaxQueueOffset(m.Topic, 0), st.MinQueueOffset(m.Topic, 0)
	var had codec.Message
	for queueOffset := most - 1; queueOffset >= max(least, most-reviveLook); queueOffset-- {
		physOffset, _, _, ok := st.QueueEntry(m.Topic, 0, queueOffset)
		if !ok {
			return false
		}
		b, err := st.MessageAt(physOffset)
		if err != nil {
			return false
		}
		if _, err = codec.DecodeMessage(b, &had); err != nil || had.StoreTimestampMs < dueMs {
			return false
		}
		if had.ReconsumeTimes == m.ReconsumeTimes && had.BornTimestampMs == m.BornTimestampMs && string(had.Properties) == string(m.Properties) &&
			string(had.Body) == string(m.Body) {
			return true
		}
	}
	return false
}
