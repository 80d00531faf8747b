package processor

import "time"

// PopSettings are what the configuration says about POP. Apache: BrokerConfig.
type PopSettings struct {
	// TimerWheel is what POP is refused without, as in Java.
	TimerWheel bool
	// PopRetryPercent is how many of 100 pops read the retry topic first. RetryTopicV2 names the retry topics that are written,
	// PopReadRetryV1 reads those of the other name too, PopActualRetryTopic answers their messages as they are.
	PopRetryPercent     int32
	RetryTopicV2        bool
	PopReadRetryV1      bool
	PopActualRetryTopic bool
	// PriorityOrderAsc makes pops of a whole topic read the queues with the highest numbers first, the lowest otherwise.
	// PriorityRetryPercent is PopRetryPercent for pops of topics with priorities.
	PriorityOrderAsc     bool
	PriorityRetryPercent int32
	// PopInitByMemory lets a group that begins at the end of a queue begin at its first message while all of them are hot.
	PopInitByMemory bool
	// PopPollingSize bounds the parked pops of a group in a queue, MaxPopPolling all of them, PopPollingMapSize the groups in topics
	// that park, which are forgotten after PopPollingExpire.
	PopPollingSize    int32
	MaxPopPolling     int64
	PopPollingMapSize int32
	PopPollingExpire  time.Duration
	// PopThreshold stops pops of a queue with more than PopInFlightThreshold messages of the group in flight.
	PopThreshold         bool
	PopInFlightThreshold int64
	// NoticeFilter lets notifications filter by tags, of less than NoticeFilterMax messages in a queue.
	NoticeFilter    bool
	NoticeFilterMax int32
	// RequestMode, PULL or POP, and PopShareQueueNum hold for groups of which SET_MESSAGE_REQUEST_MODE said nothing. Without
	// ServerLoadBalancer every client is assigned all queues.
	RequestMode        string
	PopShareQueueNum   int32
	ServerLoadBalancer bool
}

// DefaultPopSettings returns Java's defaults.
func DefaultPopSettings() PopSettings {
	return PopSettings{
		TimerWheel: true, PriorityOrderAsc: true, PopRetryPercent: 20, PopReadRetryV1: true, PopInitByMemory: true, PopPollingSize: 1024, MaxPopPolling: 100_000,
		PopPollingMapSize: 100_000, PopPollingExpire: 10 * time.Minute, PopInFlightThreshold: 10_000,
		NoticeFilter: true, NoticeFilterMax: 64, RequestMode: "PULL", PopShareQueueNum: -1, ServerLoadBalancer: true,
	}
}
