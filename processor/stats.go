package processor

import (
	"sync/atomic"

	"github.com/apogee-mq/apogee/store"
)

// Stats counts since the start what the broker has put and handed out. Apache: BrokerStats, StoreStatsService.
type Stats struct {
	// Puts and PutBytes are messages and their record bytes stored for clients.
	Puts, PutBytes atomic.Int64
	// PutFailures are messages that the store refused, putTimes how long puts of single messages take.
	PutFailures atomic.Int64
	putTimes    latencies
	// sentBack are those of Puts that went straight to a retry or dead-letter topic when a group sent them back.
	sentBack atomic.Int64
	// Gets and GetBytes are messages and their record bytes sent to consumers.
	_              [64]byte // the two groups are written by different goroutines
	Gets, GetBytes atomic.Int64
	// ReadsFound and ReadsMissed are reads of queues for pulls and pops that found messages, or none. A parked pull that is looked at
	// again reads again. Apache: StoreStatsService.getMessageTimesTotalFound, getMessageTimesTotalMiss.
	ReadsFound, ReadsMissed atomic.Int64
	// getTimes is how long reads for pulls take.
	getTimes latencies
	// Pops and PopsMissed are pops that were answered with messages, or without. Acks are messages acknowledged, PopsRevived ones that
	// were not in time and went to a retry topic.
	Pops, PopsMissed, Acks, PopsRevived atomic.Int64

	// topicCreates and groupCreates are how long it takes to create or change them.
	topicCreates, groupCreates createTimes

	history history
	traffic *traffic
	// system tells the topics that daily counters leave out.
	system func(topic string) bool
}

// put counts messages that were stored for a client.
func (s *Stats) put(topic string, kind MessageKind, messages, recordBytes int64) {
	s.Puts.Add(messages)
	s.PutBytes.Add(recordBytes)
	s.traffic.in(topic, kind, messages, recordBytes)
}

// daily tells what was put and sent since the start as Java counts it by day: without system topics, and without what groups
// sent back. It looks at all topics. Apache: BrokerStats, BrokerStatsManager.incBrokerPutNumsWithoutSystemTopic.
func (s *Stats) daily() (d daily) {
	for topic, c := range s.traffic.topics.All() {
		if !s.system(topic) {
			continue
		}
		d.puts -= c.total().messages
		for group, g := range c.groups.all() {
			if group != string(scheduleConsumer) { // which Gets knows nothing of
				d.gets -= g.out.messages.Load()
			}
		}
	}
	d.puts += s.Puts.Load() - s.sentBack.Load()
	d.gets += s.Gets.Load()
	return d
}

// get counts messages that were sent to a member of a group.
func (s *Stats) get(topic string, group []byte, messages, recordBytes int64) {
	s.Gets.Add(messages)
	s.GetBytes.Add(recordBytes)
	s.traffic.out(topic, group, messages, recordBytes)
}

// scheduleConsumer is the group that delay levels are delivered by, as far as counters go. Apache: MixAll.SCHEDULE_CONSUMER_GROUP.
var scheduleConsumer = []byte("SCHEDULE_CONSUMER")

// CountDelayed counts a message that a delay level delivered: it came out of SCHEDULE_TOPIC_XXXX and into its topic. Apache:
// ScheduleMessageService.PutResultProcess.onSuccess.
func (p *Processor) CountDelayed(topic string, recordBytes int64) {
	p.stats.traffic.out(store.TopicSchedule, scheduleConsumer, 1, recordBytes)
	p.stats.put(topic, KindDelay, 1, recordBytes)
}

// CountTimed counts a message that the timer delivered. Apache: TimerMessageStore.doPut.
func (p *Processor) CountTimed(topic string, recordBytes int64) {
	p.stats.put(topic, kindFinal, 1, recordBytes)
}

// read counts a read of a queue.
func (s *Stats) read(status store.GetStatus) {
	if status == store.Found {
		s.ReadsFound.Add(1)
	} else {
		s.ReadsMissed.Add(1)
	}
}
