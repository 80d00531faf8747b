package codec

// HARuntimeInfo is the answer of GET_BROKER_HA_STATUS. Apache: HARuntimeInfo.
type HARuntimeInfo struct {
	HAClientRuntimeInfo      HAClientRuntimeInfo `json:"haClientRuntimeInfo"`
	HAConnectionInfo         []HAConnectionInfo  `json:"haConnectionInfo"`
	InSyncSlaveNums          int32               `json:"inSyncSlaveNums"`
	Master                   bool                `json:"master"`
	MasterCommitLogMaxOffset int64               `json:"masterCommitLogMaxOffset"`
}

// HAClientRuntimeInfo is a slave's side of replication; all zero on a master. Apache: HARuntimeInfo.HAClientRuntimeInfo.
type HAClientRuntimeInfo struct {
	LastReadTimestampMs     int64  `json:"lastReadTimestamp"`
	LastWriteTimestampMs    int64  `json:"lastWriteTimestamp"`
	MasterAddr              string `json:"masterAddr,omitempty"`
	MasterFlushOffset       int64  `json:"masterFlushOffset"`
	MaxOffset               int64  `json:"maxOffset"`
	TransferredByteInSecond int64  `json:"transferredByteInSecond"`
}

// HAConnectionInfo is one slave of a master. Apache: HARuntimeInfo.HAConnectionRuntimeInfo.
type HAConnectionInfo struct {
	Addr                    string `json:"addr,omitempty"`
	Diff                    int64  `json:"diff"`
	InSync                  bool   `json:"inSync"`
	SlaveAckOffset          int64  `json:"slaveAckOffset"`
	TransferFromWhere       int64  `json:"transferFromWhere"`
	TransferredByteInSecond int64  `json:"transferredByteInSecond"`
}
