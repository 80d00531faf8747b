package store

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Half is a half message as the log has it. Apache: MessageExt in RMQ_SYS_TRANS_HALF_TOPIC.
type Half struct {
	codec.Message
	// RealTopic and RealQueueID are where the message goes when it is committed; RealQueueID is -1 for none.
	RealTopic   string
	RealQueueID int32
	// Group is its producers' group; HasGroup is false when nobody can be asked.
	Group    string
	HasGroup bool

	key uint64
}

func parseHalf(record []byte) (*Half, error) {
	h := &Half{RealQueueID: -1}
	if _, err := codec.DecodeMessage(record, &h.Message); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for it := codec.NewPropertyIter(h.Properties); it.Next(); {
		switch string(it.Key) {
		case codec.PropRealTopic:
			h.RealTopic = string(it.Value)
		case codec.PropRealQueueID:
			h.RealQueueID = -1
			if n, err := strconv.ParseInt(string(it.Value), 10, 32); err == nil {
				h.RealQueueID = int32(n)
			}
		case codec.PropProducerGroup:
			h.Group, h.HasGroup = string(it.Value), true
		}
	}
	return h, nil
}

// isFinal reports whether a record is the message of a committed transaction.
func isFinal(m *codec.Message) bool { return codec.TransactionType(m.SysFlag) == codec.SysCommit }

// Halve turns m into a half message: RMQ_SYS_TRANS_HALF_TOPIC, queue 0, its topic and queue in REAL_TOPIC and REAL_QID.
// It appends to m.Properties. Apache: TransactionalMessageBridge.parseHalfMessageInner.
func Halve(m *Message, uniqKey []byte) {
	for it := codec.NewPropertyIter(m.Properties); it.Next(); {
		switch string(it.Key) {
		case codec.PropTransactionID, codec.PropRealTopic, codec.PropRealQueueID:
			m.Properties = codec.AppendPropertiesWithout(nil, m.Properties, codec.PropTransactionID, codec.PropRealTopic, codec.PropRealQueueID)
			it = codec.PropertyIter{}
		}
	}
	if len(uniqKey) > 0 {
		m.Properties = codec.AppendPropertyBytes(m.Properties, codec.PropTransactionID, uniqKey)
	}
	m.Properties = codec.AppendProperty(m.Properties, codec.PropRealTopic, m.Topic)
	m.Properties = append(m.Properties, codec.PropRealQueueID+"\x01"...)
	m.Properties = append(strconv.AppendInt(m.Properties, int64(m.QueueID), 10), 2)
	m.Topic, m.QueueID = TopicTransHalf, 0
	m.SysFlag = codec.WithTransactionType(m.SysFlag, codec.SysNotTransaction)
}

// Final returns the message that a commit stores. It keeps TRAN_MSG, and loses REAL_TOPIC and REAL_QID. Apache:
// EndTransactionProcessor.endMessageTransaction.
func (h *Half) Final() (*Message, error) {
	if h.RealTopic == "" || h.RealQueueID < 0 {
		return nil, fmt.Errorf("%w: half message for topic %q, queue %d", ErrIllegal, h.RealTopic, h.RealQueueID)
	}
	m := h.again(h.RealTopic, h.RealQueueID)
	m.SysFlag = codec.WithTransactionType(m.SysFlag, codec.SysCommit)
	m.PreparedTransactionOffset = h.PhysOffset
	m.Properties = codec.AppendPropertiesWithout(make([]byte, 0, len(h.Properties)), h.Properties, codec.PropRealTopic, codec.PropRealQueueID)
	return m, nil
}

// again returns the message to put once more, with the same properties.
func (h *Half) again(topic string, queueID int32) *Message {
	tags, _ := codec.Property(h.Properties, codec.PropTags)
	return &Message{
		Topic: topic, QueueID: queueID, Flag: h.Flag, SysFlag: h.SysFlag, ReconsumeTimes: h.ReconsumeTimes,
		BornTimestampMs: h.BornTimestampMs, BornHost: h.BornHost, Body: h.Body, Properties: h.Properties,
		TagsCode: codec.TagsCode(tags),
	}
}

// Resumed returns the half message to put so that the checks of h begin anew. Apache:
// AdminBrokerProcessor.resumeCheckHalfMessage.
func Resumed(record []byte) (*Message, error) {
	h, err := parseHalf(record)
	if err != nil {
		return nil, err
	}
	return h.copied(0, false), nil
}

// copied returns the copy of a half that its producer is asked about for the nth time. With immune it is one that only
// moves on, so that what lies before it in the queue is done with; that is no check. Apache:
// TransactionalMessageBridge.renewHalfMessageInner, renewImmunityHalfMessageInner.
func (h *Half) copied(checks int, immune bool) *Message {
	m := h.again(TopicTransHalf, 0)
	drop := []string{codec.PropTransactionCheckTimes}
	if immune {
		drop = []string{codec.PropWait}
	}
	props := codec.AppendPropertiesWithout(make([]byte, 0, len(h.Properties)+64), h.Properties, drop...)
	if !immune {
		m.Properties = codec.AppendProperty(props, codec.PropTransactionCheckTimes, strconv.Itoa(checks))
		return m
	}
	if _, ok := codec.Property(props, codec.PropTranPreparedQueueOffset); !ok {
		props = codec.AppendProperty(props, codec.PropTranPreparedQueueOffset, strconv.FormatInt(h.QueueOffset, 10))
	}
	m.Properties = codec.AppendProperty(props, codec.PropWait, "false")
	return m
}

// isCopy reports whether the half was put in the place of an earlier one.
func (h *Half) isCopy() bool {
	_, checked := codec.Property(h.Properties, codec.PropTransactionCheckTimes)
	_, moved := codec.Property(h.Properties, codec.PropTranPreparedQueueOffset)
	return checked || moved
}

// checks returns how often the producer was asked; -1 for a number that is none, as in Java.
func (h *Half) checks() int {
	text, ok := codec.Property(h.Properties, codec.PropTransactionCheckTimes)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

// immunity returns how long after its birth the half is not checked: CHECK_IMMUNITY_TIME_IN_SECONDS, else timeOut.
func (h *Half) immunity(timeOut time.Duration) (rest time.Duration, own bool) {
	text, ok := codec.Property(h.Properties, codec.PropCheckImmunitySeconds)
	if !ok {
		return timeOut, false
	}
	seconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || seconds == -1 {
		return timeOut, true
	}
	return time.Duration(min(max(seconds, 0), math.MaxInt64/int64(time.Second))) * time.Second, true
}

// Late reports whether a producer may no longer decide unasked: the half has an immunity time of its own, and that is
// over. Apache: EndTransactionProcessor.rejectCommitOrRollback.
func (h *Half) Late(now time.Time, timeOut time.Duration) bool {
	text, ok := codec.Property(h.Properties, codec.PropCheckImmunitySeconds)
	if !ok {
		return false
	}
	seconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		seconds = 0
	}
	rest := time.Duration(min(max(seconds, 0), math.MaxInt64/int64(time.Second))) * time.Second
	return now.UnixMilli()-h.BornTimestampMs > max(rest, timeOut).Milliseconds()
}

// TxnCheck is a question to a producer: what became of the transaction?
type TxnCheck struct {
	Group   string
	UniqKey string
	// QueueOffset and PhysOffset are those of the half that the answer has to name.
	QueueOffset, PhysOffset int64
	StoreHost               netip.AddrPort
	// Record is the message as it was sent, its REAL_ properties with it.
	Record []byte
}

// check makes the question about a copy that was put. Apache: AbstractTransactionalMessageCheckListener.sendCheckMessage.
func (h *Half) check(m *Message, put *PutResult) *TxnCheck {
	uniqKey, _ := codec.Property(h.Properties, codec.PropUniqKey)
	c := &TxnCheck{Group: h.Group, UniqKey: string(uniqKey), QueueOffset: put.QueueOffset, PhysOffset: put.PhysOffset, StoreHost: h.StoreHost}
	asked := h.Message
	asked.Topic, asked.QueueID, asked.Magic = []byte(h.RealTopic), h.RealQueueID, codec.MagicFor(len(h.RealTopic))
	asked.QueueOffset, asked.PhysOffset = put.QueueOffset, put.PhysOffset
	props := codec.AppendPropertiesWithout(make([]byte, 0, len(m.Properties)+12), m.Properties, codec.PropWait)
	asked.Properties = codec.AppendProperty(props, codec.PropWait, "false")
	c.Record = codec.AppendMessage(nil, &asked)
	return c
}
