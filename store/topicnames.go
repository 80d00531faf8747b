package store

import (
	"fmt"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// Names of topics that every broker knows, and prefixes. Apache: TopicValidator, MixAll.
const (
	TopicAutoCreateKey = "TBW102"
	TopicSchedule      = "SCHEDULE_TOPIC_XXXX"
	TopicBenchmark     = "BenchmarkTest"
	TopicSelfTest      = "SELF_TEST_TOPIC"
	TopicOffsetMoved   = "OFFSET_MOVED_EVENT"
	TopicTrace         = "RMQ_SYS_TRACE_TOPIC"
	TopicTransHalf     = "RMQ_SYS_TRANS_HALF_TOPIC"
	TopicTransOp       = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
	TopicTransCheckMax = "TRANS_CHECK_MAX_TIME_TOPIC"
	TopicCheckpoint    = "CHECKPOINT_TOPIC"
	TopicWheelTimer    = "rmq_sys_wheel_timer"
	TopicSystemPrefix  = "rmq_sys_"
	TopicReplySuffix   = "_REPLY_TOPIC"
	RetryTopicPrefix   = "%RETRY%"
	DLQTopicPrefix     = "%DLQ%"

	revivePrefix     = TopicSystemPrefix + "REVIVE_LOG_"
	syncMemberPrefix = TopicSystemPrefix + "SYNC_BROKER_MEMBER_"
)

const (
	scheduleQueues  = 18
	reviveQueues    = 8
	benchmarkQueues = 1024

	maxTopicLen    = 127
	maxGroupLen    = 120
	maxRetryTopLen = 255
)

// systemTopics are the topics that a broker creates at its start. Apache: TopicConfigManager.init.
func (o *TopicsOptions) systemTopics() []*codec.TopicConfig {
	const rw = codec.PermRead | codec.PermWrite
	topic := func(name string, queues, perm int32) *codec.TopicConfig {
		cfg := codec.NewTopicConfig(name)
		cfg.ReadQueueNums, cfg.WriteQueueNums, cfg.Perm = queues, queues, perm
		cfg.Attributes = map[string]string{}
		return cfg
	}
	inherited := func(on bool) int32 {
		if on {
			return codec.PermInherit | rw
		}
		return codec.PermInherit
	}
	list := []*codec.TopicConfig{
		topic(TopicSelfTest, 1, rw),
		topic(TopicBenchmark, benchmarkQueues, rw),
		topic(TopicOffsetMoved, 1, rw),
		topic(TopicSchedule, scheduleQueues, rw),
		topic(TopicTransHalf, 1, rw),
		topic(TopicTransOp, 1, rw),
		topic(TopicWheelTimer, 1, rw),
	}
	if o.AutoCreate {
		list = append(list, topic(TopicAutoCreateKey, o.DefaultQueueNums, inherited(true)))
	}
	if o.Cluster != "" {
		list = append(list,
			topic(o.Cluster, codec.NewTopicConfig("").ReadQueueNums, inherited(o.ClusterTopic)),
			topic(o.Cluster+TopicReplySuffix, 1, rw),
			topic(revivePrefix+o.Cluster, reviveQueues, rw))
	}
	if o.Broker != "" {
		list = append(list,
			topic(o.Broker, 1, inherited(o.BrokerTopic)),
			topic(syncMemberPrefix+o.Broker, 1, codec.PermInherit))
	}
	if o.TraceTopic {
		list = append(list, topic(o.TraceTopicName, 1, rw))
	}
	return list
}

// systemNames are the well-known system topics and those created at the start.
func (o *TopicsOptions) systemNames() map[string]bool {
	names := map[string]bool{
		TopicAutoCreateKey: true, TopicSchedule: true, TopicBenchmark: true, TopicTransHalf: true, TopicTrace: true,
		TopicTransOp: true, TopicTransCheckMax: true, TopicSelfTest: true, TopicOffsetMoved: true, TopicCheckpoint: true,
	}
	for _, cfg := range o.systemTopics() {
		names[cfg.TopicName] = true
	}
	return names
}

// IsSendForbidden reports whether clients may not send to name. Apache: TopicValidator.isNotAllowedSendTopic.
func IsSendForbidden(name []byte) bool {
	switch string(name) {
	case TopicSchedule, TopicTransHalf, TopicTransOp, TopicTransCheckMax, TopicSelfTest, TopicOffsetMoved:
		return true
	}
	return false
}

// RetryTopic returns the name of a group's retry topic.
func RetryTopic(group string) string { return RetryTopicPrefix + group }

// DLQTopic returns the name of a group's dead-letter topic.
func DLQTopic(group string) string { return DLQTopicPrefix + group }

// NewRetryTopic returns the configuration of a group's retry topic, for CreateIfAbsent.
func NewRetryTopic(group string, queues int32, order bool) *codec.TopicConfig {
	cfg := newPlainTopic(RetryTopic(group), queues)
	cfg.Order = order
	return cfg
}

// NewDLQTopic returns the configuration of a group's dead-letter topic, for CreateIfAbsent.
func NewDLQTopic(group string) *codec.TopicConfig { return newPlainTopic(DLQTopic(group), 1) }

func newPlainTopic(name string, queues int32) *codec.TopicConfig {
	cfg := codec.NewTopicConfig(name)
	cfg.ReadQueueNums, cfg.WriteQueueNums = queues, queues
	return cfg
}

// invalidName is Java's remark about a name.
type invalidName string

func (e invalidName) Error() string { return string(e) }

func invalidNamef(format string, args ...any) error { return invalidName(fmt.Sprintf(format, args...)) }

// legalName reports whether name has nothing but what topics and groups may have: %|a-zA-Z0-9_-
func legalName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '%', c == '|', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// ValidateTopic returns an error whose text is Java's remark when name is blank, too long or has characters that are not
// allowed. Apache: TopicValidator.validateTopic.
func ValidateTopic(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalidName("The specified topic is blank.")
	case !legalName(name):
		return invalidNamef("The specified topic: %s, contains illegal characters, allowing only ^[%%|a-zA-Z0-9_-]+$", name)
	case strings.HasPrefix(name, RetryTopicPrefix) || strings.HasPrefix(name, DLQTopicPrefix):
		if len(name) > maxRetryTopLen {
			return invalidNamef("The specified topic is DLQ or Retry topic: %s, and it's longer than topic max length: %d", name, maxRetryTopLen)
		}
	case len(name) > maxTopicLen:
		return invalidNamef("The specified topic: %s, is longer than topic max length: %d", name, maxTopicLen)
	}
	return nil
}

// ValidateGroup is ValidateTopic for groups. Apache: TopicValidator.validateGroup.
func ValidateGroup(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalidName("The specified group is blank.")
	case !legalName(name):
		return invalidNamef("The specified group: %s, contains illegal characters, allowing only ^[%%|a-zA-Z0-9_-]+$", name)
	case len(name) > maxGroupLen:
		return invalidNamef("The specified group: %s, is longer than group max length: %d", name, maxGroupLen)
	}
	return nil
}
