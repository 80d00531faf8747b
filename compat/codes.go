package compat

// Request codes the suite sends or is sent.
const (
	codeSendMessage            = 10
	codePullMessage            = 11
	codeQueryMessage           = 12
	codeQueryConsumerOffset    = 14
	codeUpdateConsumerOffset   = 15
	codeCreateTopic            = 17
	codeGetAllTopicConfig      = 21
	codeGetAllConsumerOffset   = 43
	codeGetAllDelayOffset      = 45
	codeUpdateBrokerConfig     = 25
	codeGetBrokerConfig        = 26
	codeGetBrokerRuntimeInfo   = 28
	codeSearchOffset           = 29
	codeGetMaxOffset           = 30
	codeGetMinOffset           = 31
	codeGetEarliestStoreTime   = 32
	codeViewMessageByID        = 33
	codeHeartbeat              = 34
	codeUnregisterClient       = 35
	codeSendBack               = 36
	codeEndTransaction         = 37
	codeConsumerListByGroup    = 38
	codeCheckTransaction       = 39
	codeNotifyConsumers        = 40
	codeLockBatch              = 41
	codeUnlockBatch            = 42
	codeCheckClientConfig      = 46
	codePutKV                  = 100
	codeGetKV                  = 101
	codeDeleteKV               = 102
	codeRegisterBroker         = 103
	codeGetRoute               = 105
	codeGetBrokerClusterInfo   = 106
	codeCreateGroup            = 200
	codeGetAllGroups           = 201
	codeTopicStats             = 202
	codeConsumerConnections    = 203
	codeProducerConnections    = 204
	codeWipeWritePerm          = 205
	codeAllTopicsFromNamesrv   = 206
	codeDeleteGroup            = 207
	codeConsumeStats           = 208
	codeDeleteTopicInBroker    = 215
	codeDeleteTopicInNamesrv   = 216
	codeKVList                 = 219
	codeResetConsumer          = 220
	codeConsumerStatusOfClient = 221
	codeConsumerStatus         = 223
	codeResetOffset            = 222
	codeTopicsByCluster        = 224
	codeConsumerRunningInfo    = 307
	codeConsumeDirectly        = 309
	codeSendMessageV2          = 310
	codeUpdateNamesrvConfig    = 318
	codeGetNamesrvConfig       = 319
	codeSendBatch              = 320
	codeQueryConsumeQueue      = 321
	codeQueryDataVersion       = 322
	codeResumeCheck            = 323
	codeSendReply              = 324
	codeSendReplyV2            = 325
	codePushReply              = 326
	codeAddWritePerm           = 327
	codeGetTopicConfig         = 351
	codeGetGroupConfig         = 352
	codeLitePull               = 361
	codeCreateStaticTopic      = 513
	codePop                    = 200050
	codeAck                    = 200051
	codeUnknown                = 99999
)

// Response codes the suite expects.
const (
	resSuccess          = 0
	resSystemError      = 1
	resSystemBusy       = 2
	resNotSupported     = 3
	resMessageIllegal   = 13
	resNoPermission     = 16
	resTopicNotExist    = 17
	resPullNotFound     = 19
	resPullRetry        = 20
	resPullOffsetMoved  = 21
	resQueryNotFound    = 22
	resSubscriptionGone = 24
	resGroupNotExist    = 26
	resInvalidParameter = 29
	resConsumerOffline  = 206
	resPollingTimeout   = 210
	resNotLeader        = 501
)
