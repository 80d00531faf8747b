package processor

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// sentProps are the properties of a message that decide how it is stored. The values alias the text that was scanned.
type sentProps struct {
	tags, keys, uniqKey []byte
	replyTo             []byte
	// delay is the text of the delay level, nil for none.
	delay []byte
	// wait is false for WAIT=false: the sender does not wait for the disk.
	wait bool
	// halfMessage is TRAN_MSG=true, sharded that there is a __SHARDINGKEY.
	halfMessage, sharded bool
	// lite is the text of __LITE_TOPIC, nil for none; dispatch says that INNER_MULTI_DISPATCH came with the message.
	lite     []byte
	dispatch bool
	// priority is the text of _SYS_MSG_PRIORITY_, nil for none.
	priority []byte
	// timer says that a TIMER_ property asks for a delivery time, timerOut that the time was worked out before.
	timer, timerOut                bool
	delaySeconds, delayMs, deliver []byte // the texts of those properties, nil for none
	// recalls is TIMER_DEL_UNIQKEY, nil for none.
	recalls []byte
	// innerNum marks what only the broker may set.
	innerNum bool
	// untidy says that the text has pairs to be left out: stale ones of the broker's own, or broken ones.
	untidy bool
}

// brokerProps are the properties that a send may not bring along.
var brokerProps = []string{codec.PropPopCK, codec.PropMsgRegion, codec.PropTraceOn, codec.PropCluster}

// scan reads all of it in one pass. Of a key that comes twice the last value counts, as in Java's map.
func (s *sentProps) scan(text []byte) {
	*s = sentProps{wait: true}
	tidyBytes := 0
	for it := codec.NewPropertyIter(text); it.Next(); {
		tidyBytes += len(it.Key) + len(it.Value) + 2
		switch string(it.Key) {
		case codec.PropTags:
			s.tags = it.Value
		case codec.PropKeys:
			s.keys = it.Value
		case codec.PropUniqKey:
			s.uniqKey = it.Value
		case codec.PropWait:
			s.wait = parseJavaBool(it.Value)
		case codec.PropDelay:
			s.delay = it.Value
		case codec.PropTranMsg:
			s.halfMessage = parseJavaBool(it.Value)
		case codec.PropShardingKey:
			s.sharded = true
		case codec.PropLiteTopic:
			s.lite = it.Value
		case codec.PropInnerMultiDispatch:
			s.dispatch = true
		case codec.PropPriority:
			s.priority = it.Value
		case codec.PropReplyToClient:
			s.replyTo = it.Value
		case codec.PropTimerDelayMs:
			s.delayMs, s.timer = it.Value, true
		case codec.PropTimerDelaySeconds:
			s.delaySeconds, s.timer = it.Value, true
		case codec.PropTimerDeliverMs:
			s.deliver, s.timer = it.Value, true
		case codec.PropTimerDelUniqKey:
			s.recalls = it.Value
		case codec.PropTimerOutMs:
			s.timerOut = true
		case codec.PropInnerNum:
			s.innerNum = true
		case codec.PropPopCK, codec.PropMsgRegion, codec.PropTraceOn, codec.PropCluster:
			s.untidy = true
		}
	}
	if len(text) > 0 && (tidyBytes != len(text) || text[len(text)-1] != propEnd) {
		s.untidy = true
	}
}

// propEnd ends a pair of the properties text.
const propEnd = 2

// rewrite writes to dst what is stored of the properties sent: all pairs but the broker's own, then added. What s holds
// afterwards aliases the result. Apache: AbstractSendMessageProcessor.buildMsgContext, SendMessageProcessor.sendMessage.
func (s *sentProps) rewrite(dst, sent, added []byte) []byte {
	const spare = 128 // for a unique key and more, so that the values of s stay where they are
	dst = slices.Grow(dst[:0], len(sent)+1+len(added)+spare)
	dst = append(dst, sent...)
	s.scan(dst)
	if s.untidy {
		dst = codec.AppendPropertiesWithout(dst[:0], sent, brokerProps...)
		s.scan(dst)
	}
	return append(dst, added...)
}

// delayLevel returns the level of DELAY, 0 for none; ok is false for what is no number, on which Java fails.
func (s *sentProps) delayLevel() (level int, ok bool) {
	if s.delay == nil {
		return 0, true
	}
	n, err := strconv.ParseInt(string(s.delay), 10, 32)
	return int(n), err == nil
}

// parseJavaBool is Boolean.parseBoolean: only "true", in any case, is true.
func parseJavaBool(text []byte) bool { return bytes.EqualFold(text, trueText) }

var trueText = []byte("true")
