package codec

import jsoniter "github.com/json-iterator/go"

// UnknownFields are the members of a JSON object that this server has no field for, in the order they were read. They
// are written back after the known ones, so that a file of a later Java broker loses nothing here.
type UnknownFields []UnknownField

// UnknownField is one member of a JSON object as it stood in the text.
type UnknownField struct {
	Name  string
	Value jsoniter.RawMessage
}

// DataVersion says how new a table is: two tables are the same when all three fields are. Apache: DataVersion.
type DataVersion struct {
	Counter      int64 `json:"counter"`
	StateVersion int64 `json:"stateVersion"`
	TimestampMs  int64 `json:"timestamp"`
}

// Next returns the version after a change at nowMs, milliseconds since 1970, under the state version of the broker.
func (v DataVersion) Next(stateVersion, nowMs int64) DataVersion {
	return DataVersion{Counter: v.Counter + 1, StateVersion: stateVersion, TimestampMs: nowMs}
}

// Permission bits of a topic. Apache: PermName.
const (
	PermInherit  int32 = 1
	PermWrite    int32 = 2
	PermRead     int32 = 4
	PermPriority int32 = 8
)

// Topic filter types. Apache: TopicFilterType.
const (
	FilterSingleTag = "SINGLE_TAG"
	FilterMultiTag  = "MULTI_TAG"
)

// TopicConfig is a topic as topics.json and the administration bodies hold it. Apache: TopicConfig.
type TopicConfig struct {
	Attributes      map[string]string `json:"attributes"`
	Order           bool              `json:"order"`
	Perm            int32             `json:"perm"`
	ReadQueueNums   int32             `json:"readQueueNums"`
	TopicFilterType string            `json:"topicFilterType"`
	TopicName       string            `json:"topicName,omitempty"`
	TopicSysFlag    int32             `json:"topicSysFlag"`
	WriteQueueNums  int32             `json:"writeQueueNums"`

	Unknown UnknownFields `json:"-"`
}

// NewTopicConfig returns a topic with Java's defaults: 16 queues, readable and writable, one tag a message.
func NewTopicConfig(name string) *TopicConfig {
	c := &TopicConfig{TopicName: name}
	c.setDefaults()
	return c
}

func (c *TopicConfig) setDefaults() {
	c.Perm = PermRead | PermWrite
	c.ReadQueueNums = 16
	c.WriteQueueNums = 16
	c.TopicFilterType = FilterSingleTag
}

// TopicConfigTable is topics.json and a part of the bodies that carry all topics. Apache: TopicConfigSerializeWrapper.
type TopicConfigTable struct {
	DataVersion      DataVersion             `json:"dataVersion"`
	TopicConfigTable map[string]*TopicConfig `json:"topicConfigTable"`

	Unknown UnknownFields `json:"-"`
}

// TopicConfigAndMapping is the answer of GET_ALL_TOPIC_CONFIG and the heart of a registration. Apache:
// TopicConfigAndMappingSerializeWrapper.
type TopicConfigAndMapping struct {
	DataVersion                DataVersion                         `json:"dataVersion"`
	MappingDataVersion         DataVersion                         `json:"mappingDataVersion"`
	TopicConfigTable           map[string]*TopicConfig             `json:"topicConfigTable"`
	TopicQueueMappingDetailMap map[string]*TopicQueueMappingDetail `json:"topicQueueMappingDetailMap"`
	TopicQueueMappingInfoMap   map[string]*TopicQueueMappingInfo   `json:"topicQueueMappingInfoMap"`
}

// TopicQueueMappingInfo says which physical queues of a broker stand for which queues of a static topic. Apache:
// TopicQueueMappingInfo.
type TopicQueueMappingInfo struct {
	Bname       string          `json:"bname,omitempty"`
	CurrIDMap   map[int32]int32 `json:"currIdMap"`
	Dirty       bool            `json:"dirty"`
	Epoch       int64           `json:"epoch"`
	Scope       string          `json:"scope,omitempty"`
	Topic       string          `json:"topic,omitempty"`
	TotalQueues int32           `json:"totalQueues"`
}

// TopicQueueMappingDetail is TopicQueueMappingInfo with the history of each queue. Apache: TopicQueueMappingDetail.
type TopicQueueMappingDetail struct {
	Bname        string                            `json:"bname,omitempty"`
	CurrIDMap    map[int32]int32                   `json:"currIdMap"`
	Dirty        bool                              `json:"dirty"`
	Epoch        int64                             `json:"epoch"`
	HostedQueues map[int32][]LogicQueueMappingItem `json:"hostedQueues"`
	Scope        string                            `json:"scope,omitempty"`
	Topic        string                            `json:"topic,omitempty"`
	TotalQueues  int32                             `json:"totalQueues"`
}

// TopicQueueMappingTable is topicQueueMapping.json. Apache: TopicQueueMappingSerializeWrapper.
type TopicQueueMappingTable struct {
	DataVersion              DataVersion                         `json:"dataVersion"`
	TopicQueueMappingInfoMap map[string]*TopicQueueMappingDetail `json:"topicQueueMappingInfoMap"`

	Unknown UnknownFields `json:"-"`
}

// LogicQueueMappingItem is one stretch of a static topic's queue. Apache: LogicQueueMappingItem.
type LogicQueueMappingItem struct {
	Bname       string `json:"bname,omitempty"`
	EndOffset   int64  `json:"endOffset"`
	Gen         int32  `json:"gen"`
	LogicOffset int64  `json:"logicOffset"`
	QueueID     int32  `json:"queueId"`
	StartOffset int64  `json:"startOffset"`
	TimeOfEnd   int64  `json:"timeOfEnd"`
	TimeOfStart int64  `json:"timeOfStart"`
}

// CreateTopicListBody creates several topics in one request. Apache: CreateTopicListRequestBody.
type CreateTopicListBody struct {
	TopicConfigList []*TopicConfig `json:"topicConfigList"`
}

// TopicList answers every question for topic names. Apache: TopicList.
type TopicList struct {
	BrokerAddr string   `json:"brokerAddr,omitempty"`
	TopicList  []string `json:"topicList"`
}

// TopicStatsTable is the answer of GET_TOPIC_STATS_INFO. Apache: TopicStatsTable.
type TopicStatsTable struct {
	OffsetTable map[MessageQueue]TopicOffset `json:"offsetTable"`
	TopicPutTPS float64                      `json:"topicPutTps"`
}

// TopicOffset is the range of one queue. Apache: TopicOffset.
type TopicOffset struct {
	LastUpdateTimestampMs int64 `json:"lastUpdateTimestamp"`
	MaxOffset             int64 `json:"maxOffset"`
	MinOffset             int64 `json:"minOffset"`
}

// KVTable is a table of strings. Apache: KVTable.
type KVTable struct {
	Table map[string]string `json:"table"`
}

// MessageQueue names one queue of a topic on one broker. Apache: MessageQueue.
type MessageQueue struct {
	BrokerName string `json:"brokerName,omitempty"`
	QueueID    int32  `json:"queueId"`
	Topic      string `json:"topic,omitempty"`
}
