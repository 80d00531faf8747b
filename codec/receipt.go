package codec

import (
	"bytes"
	"errors"
	"strconv"
)

// ErrReceipt means that a receipt handle is none.
var ErrReceipt = errors.New("codec: bad receipt handle")

// Kinds of a popped topic as receipts and offset infos name them, on the wire, do not change. Apache: ExtraInfoUtil.
const (
	PopNormal  byte = '0'
	PopRetryV1 byte = '1' // %RETRY%group_topic
	PopRetryV2 byte = '2' // %RETRY%group+topic
)

// Receipt says which delivery of which message is meant: property POP_CK, field extraInfo. Text, blank separated:
//
//	startOffset popTime invisibleTime reviveQueue kind broker queue [queueOffset]
//
// Apache: ExtraInfoUtil.buildExtraInfo.
type Receipt struct {
	// StartOffset is the queue offset at which the pop began.
	StartOffset   int64
	PopTimeMs     int64
	InvisibleMs   int64
	ReviveQueueID int32
	// Kind is PopNormal, PopRetryV1 or PopRetryV2.
	Kind byte
	// BrokerName aliases the text it was parsed from.
	BrokerName []byte
	QueueID    int32
	// QueueOffset is the message's, -1 when the text does not say.
	QueueOffset int64
}

// ParseReceipt fills *r from text. As in Java only what an ack needs has to be there: the first six parts; the queue and its
// offset count as -1 when they are missing or no numbers.
func ParseReceipt(text []byte, r *Receipt) error {
	*r = Receipt{QueueID: -1, QueueOffset: -1}
	var part [8][]byte
	n := 0
	for n < len(part) {
		head, rest, more := bytes.Cut(text, receiptSpace)
		part[n], text = head, rest
		n++
		if !more {
			break
		}
	}
	if n < 6 || len(part[4]) != 1 || part[4][0] < PopNormal || part[4][0] > PopRetryV2 || len(part[5]) == 0 {
		return ErrReceipt
	}
	var ok [4]bool
	r.StartOffset, ok[0] = parseInt64(part[0])
	r.PopTimeMs, ok[1] = parseInt64(part[1])
	r.InvisibleMs, ok[2] = parseInt64(part[2])
	r.ReviveQueueID, ok[3] = parseInt32(part[3])
	if ok != [4]bool{true, true, true, true} {
		return ErrReceipt
	}
	r.Kind, r.BrokerName = part[4][0], part[5]
	if id, ok := parseInt32(part[6]); ok {
		r.QueueID = id
	}
	if queueOffset, ok := parseInt64(part[7]); ok {
		r.QueueOffset = queueOffset
	}
	return nil
}

var receiptSpace = []byte{' '}

// AppendReceipt writes the text of r with all its parts.
func AppendReceipt(dst []byte, r *Receipt) []byte {
	for _, n := range [...]int64{r.StartOffset, r.PopTimeMs, r.InvisibleMs, int64(r.ReviveQueueID)} {
		dst = append(strconv.AppendInt(dst, n, 10), ' ')
	}
	dst = append(dst, r.Kind, ' ')
	dst = append(append(dst, r.BrokerName...), ' ')
	dst = append(strconv.AppendInt(dst, int64(r.QueueID), 10), ' ')
	return strconv.AppendInt(dst, r.QueueOffset, 10)
}

// AppendStartOffset adds a queue to the text of PopResponse.StartOffsetInfo.
func AppendStartOffset(dst []byte, kind byte, queueID int32, startOffset int64) []byte {
	return strconv.AppendInt(appendPopQueue(dst, kind, queueID), startOffset, 10)
}

// AppendMsgOffsets adds a queue and its messages to the text of PopResponse.MsgOffsetInfo.
func AppendMsgOffsets(dst []byte, kind byte, queueID int32, queueOffsets []int64) []byte {
	dst = appendPopQueue(dst, kind, queueID)
	for i, queueOffset := range queueOffsets {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, queueOffset, 10)
	}
	return dst
}

// AppendOrderCount adds how often the message at queueOffset was consumed to the text of PopResponse.OrderCountInfo.
func AppendOrderCount(dst []byte, kind byte, queueID int32, queueOffset int64, count int32) []byte {
	if len(dst) > 0 {
		dst = append(dst, ';')
	}
	dst = append(dst, kind, ' ', 'q', 'o')
	dst = append(strconv.AppendInt(dst, int64(queueID), 10), '%')
	dst = append(strconv.AppendInt(dst, queueOffset, 10), ' ')
	return strconv.AppendInt(dst, int64(count), 10)
}

// AppendQueueOrderCount adds the least count of a queue to the text of PopResponse.OrderCountInfo, for older clients.
func AppendQueueOrderCount(dst []byte, kind byte, queueID, count int32) []byte {
	return strconv.AppendInt(appendPopQueue(dst, kind, queueID), int64(count), 10)
}

func appendPopQueue(dst []byte, kind byte, queueID int32) []byte {
	if len(dst) > 0 {
		dst = append(dst, ';')
	}
	dst = append(dst, kind, ' ')
	return append(strconv.AppendInt(dst, int64(queueID), 10), ' ')
}
