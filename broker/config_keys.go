package broker

import (
	"fmt"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting/web"
)

// keyTable is used by reading, by the runtime update request and by printing. Older spellings share a field.
var keyTable = withNetKeys(auth.AddKeys(codec.SettingKeys[Config]{
	"brokerClusterName": codec.TextKey(func(c *Config) *string { return &c.ClusterName }),
	"brokerName":        codec.TextKey(func(c *Config) *string { return &c.Name }),
	"brokerId":          codec.NumberKey(func(c *Config) *int64 { return &c.ID }, 0, 1<<62),
	"brokerIP1":         codec.TextKey(func(c *Config) *string { return &c.IP1 }),
	"brokerIP2":         codec.TextKey(func(c *Config) *string { return &c.IP2 }),
	"bindAddress":       codec.TextKey(func(c *Config) *string { return &c.BindAddress }),
	"listenPort":        codec.NumberKey(func(c *Config) *int { return &c.ListenPort }, 3, 65535),
	"haListenPort":      codec.NumberKey(func(c *Config) *int { return &c.HAListenPort }, 0, 65535),
	"brokerRole":        codec.OneOfKey(func(c *Config) *string { return &c.Role }, "ASYNC_MASTER", "SYNC_MASTER", "SLAVE"),
	"brokerPermission":  codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Permission }, 0, 15)),
	"regionId":          codec.TextKey(func(c *Config) *string { return &c.RegionID }),
	"logLevel":          codec.LiveKey(codec.OneOfKey(func(c *Config) *string { return &c.LogLevel }, "", "debug", "info", "warn", "error")),
	"namesrvAddr":       codec.TextKey(func(c *Config) *string { return &c.NamesrvAddrs }),

	"registerNameServerPeriod":        millis(func(c *Config) *time.Duration { return &c.RegisterPeriod }),
	"forceRegister":                   codec.BoolKey(func(c *Config) *bool { return &c.ForceRegister }),
	"compressedRegister":              codec.BoolKey(func(c *Config) *bool { return &c.RegisterCompressed }),
	"brokerFastFailureEnable":         codec.BoolKey(func(c *Config) *bool { return &c.FastFailure }),
	"waitTimeMillsInSendQueue":        millis(func(c *Config) *time.Duration { return &c.SendWait }),
	"waitTimeMillsInPullQueue":        millis(func(c *Config) *time.Duration { return &c.PullWait }),
	"waitTimeMillsInHeartbeatQueue":   millis(func(c *Config) *time.Duration { return &c.HeartbeatWait }),
	"waitTimeMillsInAdminBrokerQueue": millis(func(c *Config) *time.Duration { return &c.AdminWait }),
	"serverChannelMaxIdleTimeSeconds": codec.DurationKey(func(c *Config) *time.Duration { return &c.MaxIdle }, time.Second, 0),

	"defaultTopicQueueNums":              codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.DefaultTopicQueueNums }, 1, 65536)),
	"autoCreateTopicEnable":              codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.AutoCreateTopic })),
	"autoCreateSubscriptionGroup":        codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.AutoCreateGroup })),
	"clusterTopicEnable":                 codec.BoolKey(func(c *Config) *bool { return &c.ClusterTopic }),
	"brokerTopicEnable":                  codec.BoolKey(func(c *Config) *bool { return &c.BrokerTopic }),
	"traceTopicEnable":                   codec.BoolKey(func(c *Config) *bool { return &c.TraceTopic }),
	"msgTraceTopicName":                  codec.TextKey(func(c *Config) *string { return &c.TraceTopicName }),
	"traceOn":                            codec.BoolKey(func(c *Config) *bool { return &c.TraceOn }),
	"longPollingEnable":                  codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.LongPolling })),
	"shortPollingTimeMills":              codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.ShortPollingTime })),
	"litePullMessageEnable":              codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.LitePull })),
	"notifyConsumerIdsChangedEnable":     codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.NotifyConsumerIDs })),
	"storeReplyMessageEnable":            codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.StoreReply })),
	"rejectPullConsumerEnable":           codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.RejectPullConsumer })),
	"useServerSideResetOffset":           codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.ServerSideReset })),
	"enableBroadcastOffsetStore":         codec.BoolKey(func(c *Config) *bool { return &c.BroadcastOffsetStore }),
	"validateSystemTopicWhenUpdateTopic": codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.ValidateSystemTopic })),
	"startAcceptSendRequestTimeStamp":    instant(func(c *Config) *time.Time { return &c.StartAcceptSend }),
	"rejectTransactionMessage":           codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.RejectTransactions })),
	"transactionTimeOut":                 codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.TransactionTimeOut })),
	"transactionCheckInterval":           codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.TransactionCheckInterval })),
	"transactionCheckMax":                codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.TransactionCheckMax }, 0, 1<<31-1)),
	"transactionOpMsgMaxSize":            codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.TransactionOpMaxBytes }, 1, 1<<20)),
	"transactionOpBatchInterval":         codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.TransactionOpInterval })),
	"timerWheelEnable":                   codec.BoolKey(func(c *Config) *bool { return &c.Pop.TimerWheel }),
	"popFromRetryProbability":            codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Pop.PopRetryPercent }, 0, 100)),
	"popFromRetryProbabilityForPriority": codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Pop.PriorityRetryPercent }, 0, 100)),
	"priorityOrderAsc":                   codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.PriorityOrderAsc })),
	"enableRetryTopicV2":                 codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.RetryTopicV2 })),
	"retrieveMessageFromPopRetryTopicV1": codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.PopReadRetryV1 })),
	"popResponseReturnActualRetryTopic":  codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.PopActualRetryTopic })),
	"initPopOffsetByCheckMsgInMem":       codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.PopInitByMemory })),
	"popPollingSize":                     codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Pop.PopPollingSize }, 0, 1<<30)),
	"maxPopPollingSize":                  codec.LiveKey(codec.NumberKey(func(c *Config) *int64 { return &c.Pop.MaxPopPolling }, 0, 1<<30)),
	"popPollingMapSize":                  codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Pop.PopPollingMapSize }, 1, 1<<30)),
	"popPollingMapExpireTimeSeconds":     codec.DurationKey(func(c *Config) *time.Duration { return &c.Pop.PopPollingExpire }, time.Second, 0),
	"enablePopMessageThreshold":          codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.PopThreshold })),
	"popInflightMessageThreshold":        codec.LiveKey(codec.NumberKey(func(c *Config) *int64 { return &c.Pop.PopInFlightThreshold }, 0, 1<<62)),
	"useMessageFilterForNotification":    codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.NoticeFilter })),
	"maxMessageFilterNumForNotification": codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Pop.NoticeFilterMax }, 0, 4096)),
	"reviveQueueNum":                     codec.NumberKey(func(c *Config) *int32 { return &c.ReviveQueueNum }, 1, 1024),
	"defaultMessageRequestMode":          codec.LiveKey(codec.OneOfKey(func(c *Config) *string { return &c.Pop.RequestMode }, "PULL", "POP")),
	"defaultPopShareQueueNum":            codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Pop.PopShareQueueNum }, -1, 1<<30)),
	"serverLoadBalancerEnable":           codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Pop.ServerLoadBalancer })),
	"liteTtlCheckInterval":               codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.Lite.LiteTTLCheck })),
	"minLiteTTl":                         codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.Lite.MinLiteTTL })),
	"liteSubscriptionCheckInterval":      codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.Lite.LiteSubscriptionCheck })),
	"liteSubscriptionCheckTimeoutMills":  codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.Lite.LiteSubscriptionTimeout })),
	"liteEventCheckInterval":             codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.Lite.LiteEventCheck })),
	"maxLiteSubscriptionCount":           codec.LiveKey(codec.NumberKey(func(c *Config) *int64 { return &c.Lite.MaxLiteSubscriptions }, 0, 10_000_000)),
	"liteLagLatencyCollectEnable":        codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Lite.LiteLagCollect })),
	"liteLagCountMetricsEnable":          codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Lite.LiteLagCountMetrics })),
	"liteLagLatencyMetricsEnable":        codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Lite.LiteLagLatencyMetrics })),
	"liteLagLatencyTopK":                 codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.Lite.LiteLagTopK }, 0, 10_000)),
	"channelExpiredTimeout":              millis(func(c *Config) *time.Duration { return &c.ChannelExpired }),
	"flushConsumerOffsetInterval":        millis(func(c *Config) *time.Duration { return &c.FlushOffsetsInterval }),
	"flushDelayOffsetInterval":           millis(func(c *Config) *time.Duration { return &c.FlushDelayOffsetsInterval }),

	"mapperFileSizeBatchConsumeQueue":   codec.NumberKey(func(c *Config) *int64 { return &c.BatchQueueSegmentBytes }, 46, 1<<31-1),
	"timerPrecisionMs":                  codec.DurationKey(func(c *Config) *time.Duration { return &c.TimerPrecision }, time.Millisecond, time.Millisecond),
	"timerRollWindowSlot":               codec.NumberKey(func(c *Config) *int32 { return &c.TimerRollSlots }, -1<<31, 1<<31-1),
	"timerMaxDelaySec":                  codec.LiveKey(codec.DurationKey(func(c *Config) *time.Duration { return &c.TimerMaxDelay }, time.Second, 0)),
	"mappedFileSizeTimerLog":            codec.NumberKey(func(c *Config) *int64 { return &c.TimerLogFileBytes }, 1000, 1<<31-1),
	"timerFlushIntervalMs":              codec.DurationKey(func(c *Config) *time.Duration { return &c.TimerFlushInterval }, time.Millisecond, time.Millisecond),
	"timerCongestNumEachSlot":           codec.LiveKey(codec.NumberKey(func(c *Config) *int64 { return &c.TimerSlotMax }, 0, 1<<31-1)),
	"timerEnableCheckMetrics":           codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.TimerCheckMetrics })),
	"timerCheckMetricsWhen":             hours(func(c *Config) *string { return &c.TimerCheckWhen }),
	"timerMetricSmallThreshold":         codec.LiveKey(codec.NumberKey(func(c *Config) *int64 { return &c.TimerCheckBelow }, -1<<31, 1<<31-1)),
	"timerStopEnqueue":                  codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.TimerStopEnqueue })),
	"timerStopDequeue":                  codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.TimerStopDequeue })),
	"recallMessageEnable":               codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.Recall })),
	"allowRecallWhenBrokerNotWriteable": codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.RecallUnwritable })),
	"appendTopicForTimerDeleteKey":      codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.RecallByTopic })),

	"storePathRootDir":           codec.TextKey(func(c *Config) *string { return &c.StoreRoot }),
	"storePathCommitLog":         codec.TextKey(func(c *Config) *string { return &c.CommitLogDir }),
	"mappedFileSizeCommitLog":    codec.NumberKey(func(c *Config) *int64 { return &c.SegmentBytes }, 4096, 1<<31-1),
	"mapedFileSizeCommitLog":     codec.NumberKey(func(c *Config) *int64 { return &c.SegmentBytes }, 4096, 1<<31-1),
	"mappedFileSizeConsumeQueue": codec.NumberKey(func(c *Config) *int64 { return &c.QueueSegmentBytes }, 20, 1<<31-1),
	"mapedFileSizeConsumeQueue":  codec.NumberKey(func(c *Config) *int64 { return &c.QueueSegmentBytes }, 20, 1<<31-1),
	"flushDiskType":              codec.OneOfKey(func(c *Config) *string { return &c.FlushDiskType }, "ASYNC_FLUSH", "SYNC_FLUSH"),
	"flushIntervalCommitLog":     millis(func(c *Config) *time.Duration { return &c.FlushInterval }),
	"flushIntervalConsumeQueue":  millis(func(c *Config) *time.Duration { return &c.FlushQueueInterval }),
	"syncFlushTimeout":           millis(func(c *Config) *time.Duration { return &c.SyncFlushTimeout }),
	"maxMessageSize":             codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.MaxMessageBytes }, 1, 1<<31-1)),
	"maxFilterMessageSize":       codec.NumberKey(func(c *Config) *int32 { return &c.MaxFilterBytes }, 20, 1<<31-1),
	"messageIndexEnable":         codec.BoolKey(func(c *Config) *bool { return &c.IndexEnable }),
	"maxHashSlotNum":             codec.NumberKey(func(c *Config) *int32 { return &c.IndexSlots }, 1, 1<<28),
	"maxIndexNum":                codec.NumberKey(func(c *Config) *int32 { return &c.IndexEntries }, 2, 1<<26),
	"defaultQueryMaxNum":         codec.LiveKey(codec.NumberKey(func(c *Config) *int32 { return &c.QueryMaxNum }, 1, 64)),
	"messageDelayLevel":          codec.TextKey(func(c *Config) *string { return &c.MessageDelayLevel }),
	"checkCRCOnRecover":          codec.BoolKey(func(c *Config) *bool { return &c.CheckCRCOnRecover }),

	"fileReservedTime":             codec.LiveKey(codec.DurationKey(func(c *Config) *time.Duration { return &c.FileReservedTime }, time.Hour, 0)),
	"deleteWhen":                   hours(func(c *Config) *string { return &c.DeleteWhen }),
	"cleanResourceInterval":        codec.DurationKey(func(c *Config) *time.Duration { return &c.CleanInterval }, time.Millisecond, time.Second),
	"deleteCommitLogFilesInterval": codec.LiveKey(millis(func(c *Config) *time.Duration { return &c.DeleteInterval })),
	"deleteFileBatchMax":           codec.LiveKey(codec.NumberKey(func(c *Config) *int { return &c.DeleteBatchMax }, 1, 1<<20)),
	"diskMaxUsedSpaceRatio":        percent(func(c *Config) *int { return &c.DiskMaxUsedRatio }),
	"diskSpaceCleanForciblyRatio":  percent(func(c *Config) *int { return &c.DiskCleanRatio }),
	"diskSpaceWarningLevelRatio":   percent(func(c *Config) *int { return &c.DiskWarningRatio }),
	"cleanFileForciblyEnable":      codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.CleanForcibly })),
	"commitLogMaxBytes":            codec.LiveKey(codec.NumberKey(func(c *Config) *int64 { return &c.CommitLogMaxBytes }, 0, 1<<62)),
	"scrubBytesPerSecond":          codec.NumberKey(func(c *Config) *int64 { return &c.ScrubBytesPerSecond }, 0, 1<<40),
	"scrubIntervalHours":           codec.DurationKey(func(c *Config) *time.Duration { return &c.ScrubInterval }, time.Hour, time.Hour),
	"keepUnconsumedEnable":         codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.KeepUnconsumedEnable })),

	"enableCompaction":           codec.BoolKey(func(c *Config) *bool { return &c.CompactionEnable }),
	"compactionMappedFileSize":   codec.NumberKey(func(c *Config) *int64 { return &c.CompactionLogBytes }, 0, 1<<30),
	"compactionCqMappedFileSize": codec.NumberKey(func(c *Config) *int64 { return &c.CompactionQueueBytes }, 92, (1<<31-1)/5),
	"compactionScheduleInternal": millis(func(c *Config) *time.Duration { return &c.CompactionInterval }),
	"maxOffsetMapSize":           codec.NumberKey(func(c *Config) *int64 { return &c.CompactionKeyBytes }, 0, 1<<31-1),

	"maxTransferBytesOnMessageInMemory":    codec.NumberKey(func(c *Config) *int32 { return &c.HotTransferBytes }, 1, 1<<31-1),
	"maxTransferCountOnMessageInMemory":    codec.NumberKey(func(c *Config) *int32 { return &c.HotTransferCount }, 1, 1<<31-1),
	"maxTransferBytesOnMessageInDisk":      codec.NumberKey(func(c *Config) *int32 { return &c.ColdTransferBytes }, 1, 1<<31-1),
	"maxTransferCountOnMessageInDisk":      codec.NumberKey(func(c *Config) *int32 { return &c.ColdTransferCount }, 1, 1<<31-1),
	"accessMessageInMemoryMaxRatio":        codec.NumberKey(func(c *Config) *int32 { return &c.InMemoryMaxRatio }, 1, 100),
	"maxConsumeQueueScan":                  codec.NumberKey(func(c *Config) *int32 { return &c.MaxConsumeQueueScan }, 1, 1<<31-1),
	"enableMixedMessageType":               codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.MixedMessageType })),
	"storeType":                            codec.TextKey(func(c *Config) *string { return &c.StoreType }),
	"enableDLegerCommitLog":                codec.BoolKey(func(c *Config) *bool { return &c.DLedgerCommitLog }),
	"enableControllerMode":                 codec.BoolKey(func(c *Config) *bool { return &c.ControllerMode }),
	"aclEnable":                            codec.BoolKey(func(c *Config) *bool { return &c.Auth.ACL }),
	"rocketmqHome":                         codec.TextKey(func(c *Config) *string { return &c.Auth.Home }),
	"enablePropertyFilter":                 codec.LiveKey(codec.BoolKey(func(c *Config) *bool { return &c.PropertyFilter })),
	"metricsExporterType":                  codec.OneOfKey(func(c *Config) *string { return &c.HTTP.Exporter }, web.ExporterNone, web.ExporterProm, web.ExporterOTLP, web.ExporterLog),
	"metricsPromExporterHost":              codec.TextKey(func(c *Config) *string { return &c.HTTP.Host }),
	"metricsPromExporterPort":              codec.NumberKey(func(c *Config) *int { return &c.HTTP.Port }, 0, 65535),
	"metricsGrpcExporterTarget":            codec.TextKey(func(c *Config) *string { return &c.HTTP.Push.Target }),
	"metricsGrpcExporterHeader":            codec.SecretKey(func(c *Config) *string { return &c.HTTP.Push.Headers }),
	"metricGrpcExporterTimeOutInMills":     codec.DurationKey(func(c *Config) *time.Duration { return &c.HTTP.Push.Timeout }, time.Millisecond, time.Millisecond),
	"metricGrpcExporterIntervalInMills":    codec.DurationKey(func(c *Config) *time.Duration { return &c.HTTP.Push.Interval }, time.Millisecond, time.Millisecond),
	"metricLoggingExporterIntervalInMills": codec.DurationKey(func(c *Config) *time.Duration { return &c.HTTP.Push.LogInterval }, time.Millisecond, time.Millisecond),
	"metricsExportBatchMaxDataPoints":      codec.NumberKey(func(c *Config) *int { return &c.HTTP.Push.BatchPoints }, 1, 1<<20),
	"metricsInDelta":                       codec.BoolKey(func(c *Config) *bool { return &c.HTTP.Push.Delta }),
	"metricsLabel":                         codec.TextKey(func(c *Config) *string { return &c.HTTP.Labels }),
	"pprofEnable":                          codec.BoolKey(func(c *Config) *bool { return &c.HTTP.Pprof }),
	"enabledAppendPropCRC":                 codec.BoolKey(func(c *Config) *bool { return &c.AppendPropCRC }),
	"forceVerifyPropCRC":                   codec.BoolKey(func(c *Config) *bool { return &c.ForcePropCRC }),
	"enableLmq":                            codec.BoolKey(func(c *Config) *bool { return &c.LMQ }),
	"enableMultiDispatch":                  codec.BoolKey(func(c *Config) *bool { return &c.MultiDispatch }),
	"maxLmqConsumeQueueNum":                codec.NumberKey(func(c *Config) *int32 { return &c.MaxLMQs }, 1, 1<<31-1),
	"enableConsumeQueueExt":                codec.BoolKey(func(c *Config) *bool { return &c.ConsumeQueueExt }),
	"mappedFileSizeConsumeQueueExt":        codec.NumberKey(func(c *Config) *int64 { return &c.ExtSegmentBytes }, 1024, 1<<31-1),
	"enableCalcFilterBitMap":               codec.BoolKey(func(c *Config) *bool { return &c.CalcFilterBitMap }),
	"expectConsumerNumUseFilter":           codec.NumberKey(func(c *Config) *int { return &c.FilterConsumers }, 1, 4096),
	"maxErrorRateOfBloomFilter":            codec.NumberKey(func(c *Config) *int { return &c.FilterErrorPercent }, 1, 99),
	"filterDataCleanTimeSpan":              millis(func(c *Config) *time.Duration { return &c.FilterDataCleanTime }),

	"readOnlyCommitLogStorePaths": codec.TextKey(func(c *Config) *string { return &c.ReadOnlyLogDirs }),
	"configManagerVersion":        codec.TextKey(func(c *Config) *string { return &c.ConfigManager }),
	"rocksdbCQDoubleWriteEnable":  codec.BoolKey(func(c *Config) *bool { return &c.QueuesTwice }),
	"timerRocksDBEnable":          codec.BoolKey(func(c *Config) *bool { return &c.TimerRocksDB }),
	"transRocksDBEnable":          codec.BoolKey(func(c *Config) *bool { return &c.TransactionRocksDB }),
}, func(c *Config) *auth.Config { return &c.Auth }))

// millis is a time in milliseconds, which may be 0.
func millis(field func(*Config) *time.Duration) codec.SettingKey[Config] {
	return codec.DurationKey(field, time.Millisecond, 0)
}

// instant is a moment in milliseconds since 1970; 0 is none.
func instant(field func(*Config) *time.Time) codec.SettingKey[Config] {
	return codec.SettingKey[Config]{
		Set: func(c *Config, v string) error {
			ms, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return fmt.Errorf("want milliseconds since 1970")
			}
			if *field(c) = time.UnixMilli(ms); ms == 0 {
				*field(c) = time.Time{}
			}
			return nil
		},
		Get: func(c *Config) string {
			if field(c).IsZero() {
				return "0"
			}
			return strconv.FormatInt(field(c).UnixMilli(), 10)
		},
	}
}
