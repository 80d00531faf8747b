package codec

// EndTransactionHeader is the custom header of END_TRANSACTION. Apache: EndTransactionRequestHeader.
type EndTransactionHeader struct {
	Topic                string `field:"topic"`
	ProducerGroup        string `field:"producerGroup"`
	TranStateTableOffset int64  `field:"tranStateTableOffset"` // queue offset of the half message
	CommitLogOffset      int64  `field:"commitLogOffset"`      // physical offset of the half message
	CommitOrRollback     int32  `field:"commitOrRollback"`     // SysCommit, SysRollback, or 0 for not known yet
	FromTransactionCheck bool   `field:"fromTransactionCheck"` // the answer to a CHECK_TRANSACTION_STATE
	MsgID                string `field:"msgId"`
	TransactionID        string `field:"transactionId"`
}

// CheckTransactionStateHeader is the custom header of CHECK_TRANSACTION_STATE. Apache: CheckTransactionStateRequestHeader.
type CheckTransactionStateHeader struct {
	Topic                string `field:"topic"`
	TranStateTableOffset int64  `field:"tranStateTableOffset"`
	CommitLogOffset      int64  `field:"commitLogOffset"`
	MsgID                string `field:"msgId"`         // unique key
	TransactionID        string `field:"transactionId"` // unique key
	OffsetMsgID          string `field:"offsetMsgId"`
	BrokerName           string `field:"bname"`
}

// ResumeCheckHalfMessageHeader is the custom header of RESUME_CHECK_HALF_MESSAGE. Apache: ResumeCheckHalfMessageRequestHeader.
type ResumeCheckHalfMessageHeader struct {
	Topic string `field:"topic"`
	MsgID string `field:"msgId"` // offset message id
}
