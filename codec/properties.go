package codec

import (
	"bytes"
	"strings"
)

// Separators of the properties text, on disk, do not change.
const (
	propNameEnd = 1
	propEnd     = 2

	// PropertyEnd ends a pair.
	PropertyEnd byte = propEnd
)

// Property keys the server reads or writes. Apache: MessageConst.
const (
	PropKeys                    = "KEYS"
	PropTags                    = "TAGS"
	PropUniqKey                 = "UNIQ_KEY"
	PropWait                    = "WAIT"
	PropDelay                   = "DELAY"
	PropRetryTopic              = "RETRY_TOPIC"
	PropRealTopic               = "REAL_TOPIC"
	PropRealQueueID             = "REAL_QID"
	PropTranMsg                 = "TRAN_MSG"
	PropProducerGroup           = "PGROUP"
	PropOriginMessageID         = "ORIGIN_MESSAGE_ID"
	PropReconsumeTime           = "RECONSUME_TIME"
	PropMaxReconsumeTimes       = "MAX_RECONSUME_TIMES"
	PropMinOffset               = "MIN_OFFSET"
	PropMaxOffset               = "MAX_OFFSET"
	PropConsumeStartTime        = "CONSUME_START_TIME"
	PropCheckImmunitySeconds    = "CHECK_IMMUNITY_TIME_IN_SECONDS"
	PropTranPreparedQueueOffset = "TRAN_PREPARED_QUEUE_OFFSET"
	PropTransactionCheckTimes   = "TRANSACTION_CHECK_TIMES"
	PropTransactionID           = "__transactionId__"
	PropMsgRegion               = "MSG_REGION"
	PropTraceOn                 = "TRACE_ON"
	PropCluster                 = "CLUSTER"
	PropMsgType                 = "MSG_TYPE"
	PropCorrelationID           = "CORRELATION_ID"
	PropReplyToClient           = "REPLY_TO_CLIENT"
	PropTTL                     = "TTL"
	PropPushReplyTime           = "PUSH_REPLY_TIME"
	PropArriveTime              = "ARRIVE_TIME"
	PropInstanceID              = "INSTANCE_ID"
	PropBuyerID                 = "BUYER_ID"
	PropTransferFlag            = "TRANSFER_FLAG"
	PropCorrectionFlag          = "CORRECTION_FLAG"
	PropMQ2Flag                 = "MQ2_FLAG"
	PropShardingKey             = "__SHARDINGKEY"
	PropLiteTopic               = "__LITE_TOPIC"
	PropPriority                = "_SYS_MSG_PRIORITY_"
	PropInnerNum                = "INNER_NUM"
	PropInnerBase               = "INNER_BASE"
	PropInnerMultiDispatch      = "INNER_MULTI_DISPATCH"
	PropInnerMultiQueueOffset   = "INNER_MULTI_QUEUE_OFFSET"
	PropPopCK                   = "POP_CK"
	PropPopCKOffset             = "POP_CK_OFFSET"
	PropFirstPopTime            = "1ST_POP_TIME"
	PropTimerDelaySeconds       = "TIMER_DELAY_SEC"
	PropTimerDelayMs            = "TIMER_DELAY_MS"
	PropTimerDeliverMs          = "TIMER_DELIVER_MS"
	PropTimerOutMs              = "TIMER_OUT_MS"
	PropTimerEnqueueMs          = "TIMER_ENQUEUE_MS"
	PropTimerDequeueMs          = "TIMER_DEQUEUE_MS"
	PropTimerRollTimes          = "TIMER_ROLL_TIMES"
	PropTimerDelUniqKey         = "TIMER_DEL_UNIQKEY"
	PropTimerDelayLevel         = "TIMER_DELAY_LEVEL"
	PropDLQOriginTopic          = "DLQ_ORIGIN_TOPIC"
	PropDLQOriginMessageID      = "DLQ_ORIGIN_MESSAGE_ID"
	PropRedirect                = "REDIRECT"
	PropForwardQueueID          = "PROPERTY_FORWARD_QUEUE_ID"
	PropTraceContext            = "TRACE_CONTEXT"
	PropBornHost                = "__BORNHOST"
	PropBornTimestamp           = "BORN_TIMESTAMP"
	PropDupInfo                 = "DUP_INFO"
	PropExtendUniqInfo          = "EXTEND_UNIQ_INFO"
	PropCRC32                   = "__CRC32#"
	PropTransientPrefix         = "__RMQ.TRANSIENT."
	PropKeySeparator            = " " // between the keys in PropKeys
)

// PropertyIter walks the pairs of a properties text. As in Java a pair without a name or without a value is passed
// over, and the end of the last pair may be missing. Apache: MessageDecoder.string2messageProperties.
//
//	for it := NewPropertyIter(props); it.Next(); {
type PropertyIter struct {
	Key, Value []byte // alias the text

	rest []byte
}

// NewPropertyIter returns an iterator that stands before the first pair.
func NewPropertyIter(props []byte) PropertyIter { return PropertyIter{rest: props} }

// Next moves to the next pair; false at the end.
func (it *PropertyIter) Next() bool {
	for len(it.rest) > 0 {
		pair := it.rest
		if i := bytes.IndexByte(pair, propEnd); i >= 0 {
			pair, it.rest = pair[:i], pair[i+1:]
		} else {
			it.rest = nil
		}
		i := bytes.IndexByte(pair, propNameEnd)
		if i > 0 && i < len(pair)-1 {
			it.Key, it.Value = pair[:i:i], pair[i+1:]
			return true
		}
	}
	return false
}

// Property returns the value of key in a properties text; of several the last, as a Java map would hold it. The value
// aliases props.
func Property(props []byte, key string) (value []byte, ok bool) {
	if key == "" || strings.ContainsAny(key, "\x01\x02") { // no pair has such a name
		return nil, false
	}
	if len(key) > 32 { // the copy below would allocate
		return lastProperty(props, key)
	}
	name := []byte(key)
	for at := 0; ; {
		i := bytes.Index(props[at:], name)
		if i < 0 {
			return value, ok
		}
		begin, end := at+i, at+i+len(name)
		at = end
		if begin > 0 && props[begin-1] != propEnd || end == len(props) || props[end] != propNameEnd {
			continue
		}
		v := props[end+1:]
		if j := bytes.IndexByte(v, propEnd); j >= 0 {
			v = v[:j]
		}
		if len(v) > 0 {
			value, ok = v, true
		}
	}
}

// lastProperty is Property for any name.
func lastProperty(props []byte, key string) (value []byte, ok bool) {
	for it := NewPropertyIter(props); it.Next(); {
		if string(it.Key) == key {
			value, ok = it.Value, true
		}
	}
	return value, ok
}

// AppendProperty writes one pair. Neither key nor value may hold the bytes 1 and 2; Java's reader drops a pair whose
// value is empty.
func AppendProperty(dst []byte, key, value string) []byte {
	dst = append(dst, key...)
	dst = append(dst, propNameEnd)
	dst = append(dst, value...)
	return append(dst, propEnd)
}

// AppendPropertyBytes is AppendProperty for a value in bytes.
func AppendPropertyBytes(dst []byte, key string, value []byte) []byte {
	dst = append(dst, key...)
	dst = append(dst, propNameEnd)
	dst = append(dst, value...)
	return append(dst, propEnd)
}

// AppendPropertiesWithout writes the pairs of props but those named by keys, and ends each of them. Pairs that
// PropertyIter passes over are left out too.
func AppendPropertiesWithout(dst, props []byte, keys ...string) []byte {
	for it := NewPropertyIter(props); it.Next(); {
		if containsKey(keys, it.Key) {
			continue
		}
		dst = append(dst, it.Key...)
		dst = append(dst, propNameEnd)
		dst = append(dst, it.Value...)
		dst = append(dst, propEnd)
	}
	return dst
}

func containsKey(keys []string, key []byte) bool {
	for _, k := range keys {
		if string(key) == k {
			return true
		}
	}
	return false
}
