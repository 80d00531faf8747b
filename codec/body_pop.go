package codec

import (
	"encoding/base64"
	"fmt"
	"strconv"
)

// Tags of the records in the revive topic, on disk, do not change. Apache: PopAckConstants.
const (
	PopTagCheckpoint = "ck"
	PopTagAck        = "ack"
	PopTagBatchAck   = "bAck"
)

// PopCheckpoint is the body of a checkpoint: which messages of a queue were popped together. Apache: PopCheckPoint.
type PopCheckpoint struct {
	// Acked has a bit for each message that is acknowledged.
	Acked      int32  `json:"bm"`
	BrokerName string `json:"bn"`
	Group      string `json:"c"`
	// Diffs are the distances of the messages' queue offsets to StartOffset; without them they follow each other.
	Diffs       []int32 `json:"d"`
	InvisibleMs int64   `json:"it"`
	Count       int32   `json:"n"`
	PopTimeMs   int64   `json:"pt"`
	QueueID     int32   `json:"q"`
	// ReviveOffset is where Java notes the record's own queue offset; 0 in the body.
	ReviveOffset int64  `json:"ro"`
	StartOffset  int64  `json:"so"`
	Topic        string `json:"t"`
	// RePutTimes counts how often Java wrote the checkpoint again, as text.
	RePutTimes string `json:"rp"`
	// Suspend says that the delivery does not count as a consumption. Java has it from 5.5.0 on; it is left out when false.
	Suspend bool `json:"sp"`
}

// PopAck is the body of an ack or batch ack record. Apache: AckMsg, BatchAckMsg.
type PopAck struct {
	// QueueOffset is the message's, -1 in a batch ack.
	QueueOffset int64 `json:"ao"`
	// QueueOffsets are the messages' of a batch ack.
	QueueOffsets []int64 `json:"aol"`
	BrokerName   string  `json:"bn"`
	Group        string  `json:"c"`
	PopTimeMs    int64   `json:"pt"`
	QueueID      int32   `json:"q"`
	StartOffset  int64   `json:"so"`
	Topic        string  `json:"t"`
}

// AppendPopCheckpoint writes a checkpoint as Java's broker does.
func AppendPopCheckpoint(dst []byte, c *PopCheckpoint) []byte {
	dst = appendKeyInt(append(dst, '{'), "bm", int64(c.Acked))
	dst = appendKeyText(append(dst, ','), "bn", c.BrokerName)
	dst = appendKeyText(append(dst, ','), "c", c.Group)
	dst = append(dst, `,"d":[`...)
	for i, diff := range c.Diffs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(diff), 10)
	}
	dst = appendKeyInt(append(dst, "],"...), "it", c.InvisibleMs)
	dst = appendKeyInt(append(dst, ','), "n", int64(c.Count))
	dst = appendKeyInt(append(dst, ','), "pt", c.PopTimeMs)
	dst = appendKeyInt(append(dst, ','), "q", int64(c.QueueID))
	dst = appendKeyInt(append(dst, ','), "reviveTime", c.PopTimeMs+c.InvisibleMs)
	dst = appendKeyInt(append(dst, ','), "ro", c.ReviveOffset)
	if c.RePutTimes != "" {
		dst = appendKeyText(append(dst, ','), "rp", c.RePutTimes)
	}
	dst = appendKeyInt(append(dst, ','), "so", c.StartOffset)
	if c.Suspend {
		dst = append(dst, `,"sp":true`...)
	}
	return append(appendKeyText(append(dst, ','), "t", c.Topic), '}')
}

// AppendPopAck writes an ack as Java's broker does, a batch ack when it has QueueOffsets.
func AppendPopAck(dst []byte, a *PopAck) []byte {
	dst = appendKeyInt(append(dst, '{'), "ao", a.QueueOffset)
	if len(a.QueueOffsets) > 0 {
		dst = append(dst, `,"aol":[`...)
		for i, queueOffset := range a.QueueOffsets {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, queueOffset, 10)
		}
		dst = append(dst, ']')
	}
	dst = appendKeyText(append(dst, ','), "bn", a.BrokerName)
	dst = appendKeyText(append(dst, ','), "c", a.Group)
	dst = appendKeyInt(append(dst, ','), "pt", a.PopTimeMs)
	dst = appendKeyInt(append(dst, ','), "q", int64(a.QueueID))
	dst = appendKeyInt(append(dst, ','), "so", a.StartOffset)
	return append(appendKeyText(append(dst, ','), "t", a.Topic), '}')
}

func appendKeyInt(dst []byte, key string, n int64) []byte {
	dst = append(append(append(dst, '"'), key...), '"', ':')
	return strconv.AppendInt(dst, n, 10)
}

// appendKeyText escapes what JSON must; names of topics, groups and brokers hold none of it.
func appendKeyText(dst []byte, key, text string) []byte {
	dst = append(append(append(dst, '"'), key...), '"', ':', '"')
	for i := range len(text) {
		switch b := text[i]; {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < 0x20:
			dst = fmt.Appendf(dst, "\\u%04x", b)
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}

// BatchAck is what a client acknowledges of one pop. Apache: BatchAck.
type BatchAck struct {
	Group string `json:"c"`
	Topic string `json:"t"`
	// Retry is the kind of the topic, PopNormal and so on.
	Retry         string `json:"r"`
	StartOffset   int64  `json:"so"`
	QueueID       int32  `json:"q"`
	ReviveQueueID int32  `json:"rq"`
	PopTimeMs     int64  `json:"pt"`
	InvisibleMs   int64  `json:"it"`
	// BitSet has bit i set for the message at StartOffset+i, bit 0 of the first byte first.
	BitSet []byte `json:"-"`
}

// BatchAckBody is the body of BATCH_ACK_MESSAGE. Apache: BatchAckMessageRequestBody.
type BatchAckBody struct {
	BrokerName string
	Acks       []BatchAck
}

// wireBatchAck takes the short names that Java writes, and the long ones that it reads too.
type wireBatchAck struct {
	BatchAck
	Bits              RawJSON `json:"b"`
	LongGroup         string  `json:"consumerGroup"`
	LongTopic         string  `json:"topic"`
	LongRetry         string  `json:"retry"`
	LongStartOffset   int64   `json:"startOffset"`
	LongQueueID       int32   `json:"queueId"`
	LongReviveQueueID int32   `json:"reviveQueueId"`
	LongPopTimeMs     int64   `json:"popTime"`
	LongInvisibleMs   int64   `json:"invisibleTime"`
	LongBits          RawJSON `json:"bitSet"`
}

// DecodeBatchAck reads the body of BATCH_ACK_MESSAGE.
func DecodeBatchAck(b []byte) (*BatchAckBody, error) {
	var wire struct {
		BrokerName string         `json:"brokerName"`
		Acks       []wireBatchAck `json:"acks"`
	}
	if err := UnmarshalJSON(b, &wire); err != nil {
		return nil, fmt.Errorf("batch ack: %w", err)
	}
	body := &BatchAckBody{BrokerName: wire.BrokerName, Acks: make([]BatchAck, 0, len(wire.Acks))}
	for i := range wire.Acks {
		w := &wire.Acks[i]
		a := w.BatchAck
		a.Group, a.Topic, a.Retry = either(a.Group, w.LongGroup), either(a.Topic, w.LongTopic), either(a.Retry, w.LongRetry)
		a.StartOffset, a.PopTimeMs = either(a.StartOffset, w.LongStartOffset), either(a.PopTimeMs, w.LongPopTimeMs)
		a.QueueID, a.ReviveQueueID = either(a.QueueID, w.LongQueueID), either(a.ReviveQueueID, w.LongReviveQueueID)
		a.InvisibleMs = either(a.InvisibleMs, w.LongInvisibleMs)
		bits := w.Bits
		if len(bits) == 0 {
			bits = w.LongBits
		}
		var text string
		if len(bits) > 0 {
			if err := UnmarshalJSON(bits, &text); err != nil {
				return nil, fmt.Errorf("batch ack: bit set: %w", err)
			}
		}
		var err error
		if a.BitSet, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("batch ack: bit set: %w", err)
		}
		body.Acks = append(body.Acks, a)
	}
	return body, nil
}

func either[T comparable](a, b T) T {
	var none T
	if a == none {
		return b
	}
	return a
}
