package codec

// TopicRouteData tells a client where a topic lives. Apache: TopicRouteData.
type TopicRouteData struct {
	BrokerDatas               []BrokerData                      `json:"brokerDatas"`
	FilterServerTable         map[string][]string               `json:"filterServerTable"`
	OrderTopicConf            string                            `json:"orderTopicConf,omitempty"`
	QueueDatas                []QueueData                       `json:"queueDatas"`
	TopicQueueMappingByBroker map[string]*TopicQueueMappingInfo `json:"topicQueueMappingByBroker,omitempty"`
}

// QueueData is a topic's queues on one broker name. Apache: QueueData.
type QueueData struct {
	BrokerName     string `json:"brokerName,omitempty"`
	Perm           int32  `json:"perm"`
	ReadQueueNums  int32  `json:"readQueueNums"`
	TopicSysFlag   int32  `json:"topicSysFlag"`
	WriteQueueNums int32  `json:"writeQueueNums"`
}

// QueuesOfTopic are a topic's queues on one broker.
type QueuesOfTopic struct {
	Topic  string
	Queues QueueData
}

// BrokerData is the addresses of one broker name by broker id; 0 is the master. Apache: BrokerData.
type BrokerData struct {
	BrokerAddrs        map[int64]string `json:"brokerAddrs"`
	BrokerName         string           `json:"brokerName,omitempty"`
	Cluster            string           `json:"cluster,omitempty"`
	EnableActingMaster bool             `json:"enableActingMaster"`
	ZoneName           string           `json:"zoneName,omitempty"`
}

// ClusterInfo is the answer of GET_BROKER_CLUSTER_INFO. Apache: ClusterInfo.
type ClusterInfo struct {
	BrokerAddrTable  map[string]BrokerData `json:"brokerAddrTable"`
	ClusterAddrTable map[string][]string   `json:"clusterAddrTable"`
}

// BrokerMemberGroup is the addresses of one broker name in one cluster. Apache: BrokerMemberGroup.
type BrokerMemberGroup struct {
	BrokerAddrs map[int64]string `json:"brokerAddrs"`
	BrokerName  string           `json:"brokerName,omitempty"`
	Cluster     string           `json:"cluster,omitempty"`
}

// BrokerMemberGroupBody is the answer of GET_BROKER_MEMBER_GROUP. Apache: GetBrokerMemberGroupResponseBody.
type BrokerMemberGroupBody struct {
	BrokerMemberGroup *BrokerMemberGroup `json:"brokerMemberGroup,omitempty"`
}
