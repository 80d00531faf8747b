package codec

// PutKVConfigHeader is the custom header of PUT_KV_CONFIG. Apache: PutKVConfigRequestHeader.
type PutKVConfigHeader struct {
	Namespace string `field:"namespace"`
	Key       string `field:"key"`
	Value     string `field:"value"`
}

// GetKVConfigHeader is the custom header of GET_KV_CONFIG. Apache: GetKVConfigRequestHeader.
type GetKVConfigHeader struct {
	Namespace string `field:"namespace"`
	Key       string `field:"key"`
}

// GetKVConfigResponse is the custom header of the answer to GET_KV_CONFIG. Apache: GetKVConfigResponseHeader.
type GetKVConfigResponse struct {
	Value string `field:"value"`
}

// DeleteKVConfigHeader is the custom header of DELETE_KV_CONFIG. Apache: DeleteKVConfigRequestHeader.
type DeleteKVConfigHeader struct {
	Namespace string `field:"namespace"`
	Key       string `field:"key"`
}

// GetKVListByNamespaceHeader is the custom header of GET_KVLIST_BY_NAMESPACE. Apache: GetKVListByNamespaceRequestHeader.
type GetKVListByNamespaceHeader struct {
	Namespace string `field:"namespace"`
}

// RegisterBrokerHeader is the custom header of REGISTER_BROKER. Apache: RegisterBrokerRequestHeader.
type RegisterBrokerHeader struct {
	BrokerName         string `field:"brokerName"`
	BrokerAddr         string `field:"brokerAddr"`
	ClusterName        string `field:"clusterName"`
	HAServerAddr       string `field:"haServerAddr"`
	BrokerID           int64  `field:"brokerId"`
	HeartbeatTimeoutMs *int64 `field:"heartbeatTimeoutMillis"` // nil means 120000 on the name server
	EnableActingMaster *bool  `field:"enableActingMaster"`     // nil means old broker
	Compressed         bool   `field:"compressed"`             // body is zlib-deflated custom layout, see DecodeRegisterBrokerBody
	BodyCRC32          int32  `field:"bodyCrc32,lenient"`      // CRC32 of body (already compressed if compressed); 0 = unchecked
	// AdvertisedAddrs is Apogee's own, "name=host:port;…": what clients are given that came through the name server's listener of
	// that name. nil means the same as all others.
	AdvertisedAddrs *string `field:"advertisedAddrs"`
}

// RegisterBrokerResponse is the custom header of the answer to REGISTER_BROKER. Apache: RegisterBrokerResponseHeader.
type RegisterBrokerResponse struct {
	HAServerAddr string `field:"haServerAddr"`
	MasterAddr   string `field:"masterAddr"`
}

// UnregisterBrokerHeader is the custom header of UNREGISTER_BROKER. Apache: UnRegisterBrokerRequestHeader.
type UnregisterBrokerHeader struct {
	BrokerName  string `field:"brokerName"`
	BrokerAddr  string `field:"brokerAddr"`
	ClusterName string `field:"clusterName"`
	BrokerID    int64  `field:"brokerId"`
}

// QueryDataVersionHeader is the custom header of QUERY_DATA_VERSION. Apache: QueryDataVersionRequestHeader.
type QueryDataVersionHeader struct {
	BrokerName  string `field:"brokerName"`
	BrokerAddr  string `field:"brokerAddr"`
	ClusterName string `field:"clusterName"`
	BrokerID    int64  `field:"brokerId"`
}

// QueryDataVersionResponse is the custom header of the answer to QUERY_DATA_VERSION. Apache: QueryDataVersionResponseHeader.
type QueryDataVersionResponse struct {
	Changed bool `field:"changed"`
}

// BrokerHeartbeatHeader is the custom header of BROKER_HEARTBEAT. Apache: BrokerHeartbeatRequestHeader.
type BrokerHeartbeatHeader struct {
	ClusterName        string `field:"clusterName"`
	BrokerAddr         string `field:"brokerAddr"`
	BrokerName         string `field:"brokerName"`
	BrokerID           *int64 `field:"brokerId"`
	Epoch              *int32 `field:"epoch"`
	MaxOffset          *int64 `field:"maxOffset"`
	ConfirmOffset      *int64 `field:"confirmOffset"`
	HeartbeatTimeoutMs *int64 `field:"heartbeatTimeoutMills"`
	ElectionPriority   *int32 `field:"electionPriority"`
}

// GetRouteInfoHeader is the custom header of GET_ROUTEINFO_BY_TOPIC. Apache: GetRouteInfoRequestHeader.
type GetRouteInfoHeader struct {
	Topic                  string `field:"topic"`
	AcceptStandardJSONOnly bool   `field:"acceptStandardJsonOnly"` // quoted map keys; a sender of version 401 or later gets them anyway
}

// WipeWritePermOfBrokerHeader is the custom header of WIPE_WRITE_PERM_OF_BROKER. Apache: WipeWritePermOfBrokerRequestHeader.
type WipeWritePermOfBrokerHeader struct {
	BrokerName string `field:"brokerName"`
}

// WipeWritePermOfBrokerResponse is the custom header of the answer to WIPE_WRITE_PERM_OF_BROKER. Apache: WipeWritePermOfBrokerResponseHeader.
type WipeWritePermOfBrokerResponse struct {
	WipeTopicCount int32 `field:"wipeTopicCount"`
}

// AddWritePermOfBrokerHeader is the custom header of ADD_WRITE_PERM_OF_BROKER. Apache: AddWritePermOfBrokerRequestHeader.
type AddWritePermOfBrokerHeader struct {
	BrokerName string `field:"brokerName"`
}

// AddWritePermOfBrokerResponse is the custom header of the answer to ADD_WRITE_PERM_OF_BROKER. Apache: AddWritePermOfBrokerResponseHeader.
type AddWritePermOfBrokerResponse struct {
	AddTopicCount int32 `field:"addTopicCount"`
}

// DeleteTopicFromNamesrvHeader is the custom header of DELETE_TOPIC_IN_NAMESRV. Apache: DeleteTopicFromNamesrvRequestHeader.
type DeleteTopicFromNamesrvHeader struct {
	Topic       string `field:"topic"`
	ClusterName string `field:"clusterName"`
}

// RegisterTopicHeader is the custom header of REGISTER_TOPIC_IN_NAMESRV. Apache: RegisterTopicRequestHeader.
type RegisterTopicHeader struct {
	Topic string `field:"topic"`
}

// GetTopicsByClusterHeader is the custom header of GET_TOPICS_BY_CLUSTER. Apache: GetTopicsByClusterRequestHeader.
type GetTopicsByClusterHeader struct {
	Cluster string `field:"cluster"`
}

// GetBrokerMemberGroupHeader is the custom header of GET_BROKER_MEMBER_GROUP. Apache: GetBrokerMemberGroupRequestHeader.
type GetBrokerMemberGroupHeader struct {
	ClusterName string `field:"clusterName"`
	BrokerName  string `field:"brokerName"`
}

// AddBrokerHeader is the custom header of ADD_BROKER. Apache: AddBrokerRequestHeader.
type AddBrokerHeader struct {
	ConfigPath string `field:"configPath"`
}

// RemoveBrokerHeader is the custom header of REMOVE_BROKER. Apache: RemoveBrokerRequestHeader.
type RemoveBrokerHeader struct {
	BrokerName        string `field:"brokerName"`
	BrokerClusterName string `field:"brokerClusterName"`
	BrokerID          int64  `field:"brokerId"`
}

// NotifyMinBrokerIDChangeHeader is the custom header of NOTIFY_MIN_BROKER_ID_CHANGE. Apache: NotifyMinBrokerIdChangeRequestHeader.
type NotifyMinBrokerIDChangeHeader struct {
	MinBrokerID       *int64 `field:"minBrokerId"`
	BrokerName        string `field:"brokerName"`
	MinBrokerAddr     string `field:"minBrokerAddr"`
	OfflineBrokerAddr string `field:"offlineBrokerAddr"`
	HABrokerAddr      string `field:"haBrokerAddr"`
}
