package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Table returns every request code that the broker answers, for its main port. Inline handlers run on the event loop and hand
// over to the pool what would wait for a disk.
func (p *Processor) Table() []remoting.Entry {
	return append(p.VIPTable(),
		remoting.Entry{Code: codec.PullMessage, Pool: remoting.PoolPull, Inline: true, Handler: p.pull},
		remoting.Entry{Code: codec.LitePullMessage, Pool: remoting.PoolPull, Inline: true, Handler: p.pull},
		remoting.Entry{Code: codec.PopMessage, Pool: remoting.PoolPull, Inline: true, Handler: p.pop},
		remoting.Entry{Code: codec.PopLiteMessage, Pool: remoting.PoolPull, Inline: true, Handler: p.popLite},
		remoting.Entry{Code: codec.PeekMessage, Pool: remoting.PoolPull, Handler: p.peek},
		remoting.Entry{Code: codec.Notification, Pool: remoting.PoolPull, Handler: p.notification},
		remoting.Entry{Code: codec.PollingInfo, Pool: remoting.PoolPull, Handler: p.pollingInfo},
	)
}

// VIPTable returns the codes of the VIP port: all but the ones that read messages by queue.
func (p *Processor) VIPTable() []remoting.Entry {
	return append(append(p.popTable(), p.liteTable()...), []remoting.Entry{
		{Code: codec.SendMessage, Pool: remoting.PoolSend, Inline: true, Handler: p.send},
		{Code: codec.SendMessageV2, Pool: remoting.PoolSend, Inline: true, Handler: p.send},
		{Code: codec.SendBatchMessage, Pool: remoting.PoolSend, Inline: true, Handler: p.send},
		{Code: codec.ConsumerSendMsgBack, Pool: remoting.PoolSend, Handler: p.sendBack},
		{Code: codec.EndTransaction, Pool: remoting.PoolSend, Inline: true, Handler: p.endTransaction},
		{Code: codec.RecallMessage, Pool: remoting.PoolSend, Inline: true, Handler: p.recall},
		{Code: codec.ResumeCheckHalfMessage, Pool: remoting.PoolAdmin, Handler: p.resumeCheck},
		{Code: codec.SendReplyMessage, Pool: remoting.PoolAdmin, Handler: p.reply},
		{Code: codec.SendReplyMessageV2, Pool: remoting.PoolAdmin, Handler: p.reply},

		{Code: codec.HeartBeat, Pool: remoting.PoolClient, Inline: true, Handler: p.heartbeat},
		{Code: codec.UnregisterClient, Pool: remoting.PoolClient, Inline: true, Handler: p.unregisterClient},
		{Code: codec.CheckClientConfig, Pool: remoting.PoolClient, Handler: p.checkClientConfig},
		{Code: codec.GetConsumerListByGroup, Pool: remoting.PoolClient, Inline: true, Handler: p.consumerList},
		{Code: codec.QueryConsumerOffset, Pool: remoting.PoolClient, Inline: true, Handler: p.queryOffset},
		{Code: codec.UpdateConsumerOffset, Pool: remoting.PoolClient, Inline: true, Handler: p.updateOffset},
		{Code: codec.LockBatchMQ, Pool: remoting.PoolClient, Handler: p.lockBatch},
		{Code: codec.UnlockBatchMQ, Pool: remoting.PoolClient, Handler: p.unlockBatch},

		{Code: codec.SearchOffsetByTimestamp, Pool: remoting.PoolAdmin, Handler: p.searchOffset},
		{Code: codec.GetMaxOffset, Pool: remoting.PoolAdmin, Handler: p.maxOffset},
		{Code: codec.GetMinOffset, Pool: remoting.PoolAdmin, Handler: p.minOffset},
		{Code: codec.GetEarliestMsgStoreTime, Pool: remoting.PoolAdmin, Handler: p.earliestStoreTime},
		{Code: codec.QueryMessage, Pool: remoting.PoolAdmin, Handler: p.queryMessage},
		{Code: codec.ViewMessageByID, Pool: remoting.PoolAdmin, Handler: p.viewMessage},

		{Code: codec.UpdateAndCreateTopic, Pool: remoting.PoolAdmin, Handler: p.timed(&p.stats.topicCreates, p.createTopic)},
		{Code: codec.UpdateAndCreateTopicList, Pool: remoting.PoolAdmin, Handler: p.timed(&p.stats.topicCreates, p.createTopics)},
		{Code: codec.UpdateAndCreateStaticTopic, Pool: remoting.PoolAdmin, Handler: p.createStaticTopic},
		{Code: codec.DeleteTopicInBroker, Pool: remoting.PoolAdmin, Handler: p.deleteTopic},
		{Code: codec.GetTopicConfig, Pool: remoting.PoolAdmin, Handler: p.topicConfig},
		{Code: codec.GetAllTopicConfig, Pool: remoting.PoolAdmin, Handler: p.allTopics},
		{Code: codec.GetTopicStatsInfo, Pool: remoting.PoolAdmin, Handler: p.topicStats},
		{Code: codec.QueryTopicConsumeByWho, Pool: remoting.PoolAdmin, Handler: p.groupsOfTopic},
		{Code: codec.GetSystemTopicListFromBroker, Pool: remoting.PoolAdmin, Handler: p.systemTopics},

		{Code: codec.UpdateAndCreateSubscriptionGroup, Pool: remoting.PoolAdmin, Handler: p.timed(&p.stats.groupCreates, p.createGroup)},
		{Code: codec.UpdateAndCreateSubscriptionGroupList, Pool: remoting.PoolAdmin, Handler: p.timed(&p.stats.groupCreates, p.createGroups)},
		{Code: codec.DeleteSubscriptionGroup, Pool: remoting.PoolAdmin, Handler: p.deleteGroup},
		{Code: codec.GetSubscriptionGroupConfig, Pool: remoting.PoolAdmin, Handler: p.groupConfig},
		{Code: codec.GetAllSubscriptionGroupConfig, Pool: remoting.PoolAdmin, Handler: p.allGroups},
		{Code: codec.UpdateAndGetGroupForbidden, Pool: remoting.PoolAdmin, Handler: p.groupForbidden},

		{Code: codec.GetConsumerConnectionList, Pool: remoting.PoolAdmin, Handler: p.consumerConnections},
		{Code: codec.GetProducerConnectionList, Pool: remoting.PoolAdmin, Handler: p.producerConnections},
		{Code: codec.GetAllProducerInfo, Pool: remoting.PoolAdmin, Handler: p.allProducers},
		{Code: codec.QuerySubscriptionByConsumer, Pool: remoting.PoolAdmin, Handler: p.subscriptionOf},
		{Code: codec.GetConsumerRunningInfo, Pool: remoting.PoolAdmin, Handler: p.runningInfo},
		{Code: codec.ConsumeMessageDirectly, Pool: remoting.PoolAdmin, Handler: p.consumeDirectly},
		{Code: codec.InvokeBrokerToGetConsumerStatus, Pool: remoting.PoolAdmin, Handler: p.consumerStatus},

		{Code: codec.InvokeBrokerToResetOffset, Pool: remoting.PoolAdmin, Handler: p.resetOffset},
		{Code: codec.GetConsumeStats, Pool: remoting.PoolAdmin, Handler: p.consumeStats},
		{Code: codec.GetBrokerConsumeStats, Pool: remoting.PoolAdmin, Handler: p.brokerConsumeStats},
		{Code: codec.QueryConsumeTimeSpan, Pool: remoting.PoolAdmin, Handler: p.consumeTimeSpan},
		{Code: codec.QueryCorrectionOffset, Pool: remoting.PoolAdmin, Handler: p.correctionOffsets},
		{Code: codec.CloneGroupOffset, Pool: remoting.PoolAdmin, Handler: p.cloneOffsets},
		{Code: codec.QueryTopicsByConsumer, Pool: remoting.PoolAdmin, Handler: p.topicsOfGroup},
		{Code: codec.GetAllConsumerOffset, Pool: remoting.PoolAdmin, Handler: p.allOffsets},
		{Code: codec.GetAllDelayOffset, Pool: remoting.PoolAdmin, Handler: p.allDelayOffsets},
		{Code: codec.GetTimerCheckPoint, Pool: remoting.PoolAdmin, Handler: p.timerCheckpoint},
		{Code: codec.GetTimerMetrics, Pool: remoting.PoolAdmin, Handler: p.timerMetrics},

		{Code: codec.UpdateBrokerConfig, Pool: remoting.PoolAdmin, Handler: p.updateConfig},
		{Code: codec.GetBrokerConfig, Pool: remoting.PoolAdmin, Handler: p.config},
		{Code: codec.GetBrokerRuntimeInfo, Pool: remoting.PoolAdmin, Handler: p.runtimeInfo},
		{Code: codec.ViewBrokerStatsData, Pool: remoting.PoolAdmin, Handler: p.viewStats},
		{Code: codec.CleanExpiredConsumeQueue, Pool: remoting.PoolAdmin, Handler: p.cleanQueues},
		{Code: codec.CleanUnusedTopic, Pool: remoting.PoolAdmin, Handler: p.cleanTopics},
		{Code: codec.DeleteExpiredCommitLog, Pool: remoting.PoolAdmin, Handler: p.cleanLog},
		{Code: codec.QueryConsumeQueue, Pool: remoting.PoolAdmin, Handler: p.consumeQueue},
		{Code: codec.GetBrokerHAStatus, Pool: remoting.PoolAdmin, Handler: p.haStatus},
		{Code: codec.ResetMasterFlushOffset, Pool: remoting.PoolAdmin, Handler: p.nothingToDo},
		{Code: codec.GetBrokerEpochCache, Pool: remoting.PoolAdmin, Handler: p.epochCache},
		{Code: codec.PopRollback, Pool: remoting.PoolAdmin, Handler: p.nothingToDo},
	}...)
}

// popTable returns the codes of POP and of assignment by the broker that do not read messages.
func (p *Processor) popTable() []remoting.Entry {
	return []remoting.Entry{
		{Code: codec.AckMessage, Pool: remoting.PoolClient, Inline: true, Handler: p.ack},
		{Code: codec.BatchAckMessage, Pool: remoting.PoolClient, Handler: p.batchAck},
		{Code: codec.ChangeMessageInvisibleTime, Pool: remoting.PoolClient, Inline: true, Handler: p.changeInvisible},
		{Code: codec.QueryAssignment, Pool: remoting.PoolAdmin, Handler: p.queryAssignment},
		{Code: codec.SetMessageRequestMode, Pool: remoting.PoolAdmin, Handler: p.setRequestMode},
		{Code: codec.GetAllMessageRequestMode, Pool: remoting.PoolAdmin, Handler: p.allRequestModes},
	}
}

// liteTable returns the codes of lite topics that do not read messages.
func (p *Processor) liteTable() []remoting.Entry {
	return []remoting.Entry{
		{Code: codec.LiteSubscriptionCtl, Pool: remoting.PoolClient, Handler: p.liteSubscriptions},
		{Code: codec.GetBrokerLiteInfo, Pool: remoting.PoolAdmin, Handler: p.brokerLiteInfo},
		{Code: codec.GetParentTopicInfo, Pool: remoting.PoolAdmin, Handler: p.parentTopicInfo},
		{Code: codec.GetLiteTopicInfo, Pool: remoting.PoolAdmin, Handler: p.liteTopicInfo},
		{Code: codec.GetLiteClientInfo, Pool: remoting.PoolAdmin, Handler: p.liteClientInfo},
		{Code: codec.GetLiteGroupInfo, Pool: remoting.PoolAdmin, Handler: p.liteGroupInfo},
		{Code: codec.TriggerLiteDispatch, Pool: remoting.PoolAdmin, Handler: p.triggerLite},
	}
}
