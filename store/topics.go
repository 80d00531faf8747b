package store

import (
	"github.com/apogee-mq/apogee/codec"
)

// Names of topics that every broker knows. Apache: TopicValidator.
const (
	TopicAutoCreateKey  = "TBW102"
	TopicSchedule       = "SCHEDULE_TOPIC_XXXX"
	TopicBenchmark      = "BenchmarkTest"
	TopicSelfTest       = "SELF_TEST_TOPIC"
	TopicOffsetMoved    = "OFFSET_MOVED_EVENT"
	TopicTrace          = "RMQ_SYS_TRACE_TOPIC"
	TopicTransHalf      = "RMQ_SYS_TRANS_HALF_TOPIC"
	TopicTransOp        = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
	TopicTransCheckMax  = "TRANS_CHECK_MAX_TIME_TOPIC"
	TopicReplySuffix    = "_REPLY_TOPIC"
	TopicSystemPrefix   = "rmq_sys_"
	RetryTopicPrefix    = "%RETRY%"
	DLQTopicPrefix      = "%DLQ%"
	reviveTopicPrefix   = TopicSystemPrefix + "REVIVE_LOG_"
	syncMemberPrefix    = TopicSystemPrefix + "SYNC_BROKER_MEMBER_"
	topicWheelTimer     = TopicSystemPrefix + "wheel_timer"
	topicRocksDBOffsets = "CHECKPOINT_TOPIC"
)

// TopicsOptions are the settings of the topic table.
type TopicsOptions struct {
	TableOptions
	// Cluster and Broker are names that are topics too.
	Cluster, Broker string
	// AutoCreate is autoCreateTopicEnable; SetAutoCreate changes it later.
	AutoCreate bool
	// DefaultQueueNums is defaultTopicQueueNums, the queues of TBW102.
	DefaultQueueNums int32
	// ClusterTopic and BrokerTopic make the topics of these names readable and writable.
	ClusterTopic, BrokerTopic bool
	// TraceTopic creates TraceTopicName.
	TraceTopic     bool
	TraceTopicName string
	// OnChange, if set, is called after topics were created, changed or deleted, with their new configurations (nil for a
	// deleted one). It is called from the table's goroutine or from the caller that made the change, and must not block.
	OnChange func(changed map[string]*codec.TopicConfig)
}

// Topics is the table of topics, topics.json. Configurations in it are never changed, only replaced: what Get returns
// may be kept and must not be written to. Lookups take no lock. Apache: TopicConfigManager.
//
// Methods that change the table return when the change is on disk, and only then lookups see it; they wait for the
// disk and belong on a pool. Callers at the same time share one write.
type Topics struct{}

// OpenTopics reads the table from path (and path.bak) and adds the system topics that are missing.
func OpenTopics(path string, opts TopicsOptions) (*Topics, error) { return &Topics{}, nil }

// Close writes what is not yet written and ends the table's goroutine.
func (t *Topics) Close() error { return nil }

// Get returns the configuration of a topic.
func (t *Topics) Get(name string) (*codec.TopicConfig, bool) { return nil, false }

// GetBytes is Get for a name that lies in a frame; it does not allocate.
func (t *Topics) GetBytes(name []byte) (*codec.TopicConfig, bool) { return nil, false }

// Len returns the number of topics.
func (t *Topics) Len() int { return 0 }

// All returns every topic in the order of their names.
func (t *Topics) All() []*codec.TopicConfig { return nil }

// DataVersion returns the version of what lookups see.
func (t *Topics) DataVersion() codec.DataVersion { return codec.DataVersion{} }

// Snapshot returns all topics and the version that belongs to them. The map is the caller's.
func (t *Topics) Snapshot() (map[string]*codec.TopicConfig, codec.DataVersion) {
	return nil, codec.DataVersion{}
}

// SetAutoCreate switches autoCreateTopicEnable.
func (t *Topics) SetAutoCreate(on bool) {}

// AutoCreate creates a topic after the example of defaultTopic, as a send to an unknown topic does: nil without an error
// when defaultTopic is unknown or not inherited from. queueNums is the number the client asks for. Apache:
// TopicConfigManager.createTopicInSendMessageMethod.
func (t *Topics) AutoCreate(topic, defaultTopic string, queueNums, sysFlag int32, producer string) (*codec.TopicConfig, error) {
	return nil, nil
}

// CreateIfAbsent creates a topic unless it exists and returns the one in the table; an existing topic whose order flag
// differs takes the new flag. It serves retry and dead-letter topics. Apache:
// TopicConfigManager.createTopicInSendMessageBackMethod.
func (t *Topics) CreateIfAbsent(cfg *codec.TopicConfig) (*codec.TopicConfig, error) { return nil, nil }

// Put creates or replaces a topic. cfg.Attributes holds changes, "+name" to set and "-name" to remove, which are applied
// to the attributes in the table. changed is false when nothing would change. An error that says what is wrong with the
// attributes is an *AttributeError. cfg is not kept. Apache: TopicConfigManager.updateTopicConfig.
func (t *Topics) Put(cfg *codec.TopicConfig) (changed bool, err error) { return false, nil }

// PutAll is Put for several topics in one write; none is changed when one has bad attributes.
func (t *Topics) PutAll(cfgs []*codec.TopicConfig) error { return nil }

// Delete removes a topic; false when there is none.
func (t *Topics) Delete(name string) (bool, error) { return false, nil }

// IsSystem reports whether name is a topic of the broker's own: a well-known one, the cluster's, the broker's, one that
// begins with rmq_sys_. Apache: TopicValidator.isSystemTopic.
func (t *Topics) IsSystem(name string) bool { return false }

// SystemTopics returns the names of the system topics in alphabetical order. Apache: TopicValidator.getSystemTopicSet.
func (t *Topics) SystemTopics() []string { return nil }

// IsSendForbidden reports whether clients may not send to name. Apache: TopicValidator.isNotAllowedSendTopic.
func IsSendForbidden(name []byte) bool { return false }

// ValidateTopic returns an error whose text is Java's remark when name is blank, too long or has characters that are not
// allowed. Apache: TopicValidator.validateTopic.
func ValidateTopic(name string) error { return nil }

// ValidateGroup is ValidateTopic for groups. Apache: TopicValidator.validateGroup.
func ValidateGroup(name string) error { return nil }

// RetryTopic returns the name of a group's retry topic.
func RetryTopic(group string) string { return RetryTopicPrefix + group }

// DLQTopic returns the name of a group's dead-letter topic.
func DLQTopic(group string) string { return DLQTopicPrefix + group }

// AttributeError says what is wrong with a change of attributes; its text is Java's.
type AttributeError struct{ Text string }

// Error returns the text.
func (e *AttributeError) Error() string { return e.Text }
