package namesrv

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// The topics of brokers.

// takeTopicsLocked takes over a broker's topics: all of them when they changed, else those that are missing. It reports
// whether they are all that the tables have of that broker.
func (r *routes) takeTopicsLocked(reg *registration, m *member, table *codec.TopicConfigAndMapping, changed bool, now time.Time) bool {
	if r.settings.Load().DeleteTopicWithBrokerRegistration && len(table.TopicQueueMappingInfoMap) == 0 {
		r.dropTopicsLocked(reg.name, func(topic string) bool { return table.TopicConfigTable[topic] == nil })
	}
	readOnly := reg.id != masterID && m.actingMaster
	r.registeredLocked(reg.name, table, now)
	for name, config := range table.TopicConfigTable {
		if config.TopicName != "" {
			name = config.TopicName
		}
		queue := codec.QueueData{BrokerName: reg.name, Perm: config.Perm, ReadQueueNums: config.ReadQueueNums,
			TopicSysFlag: config.TopicSysFlag, WriteQueueNums: config.WriteQueueNums}
		if readOnly {
			queue.Perm &^= codec.PermWrite
		}
		r.putQueueLocked(name, queue, changed)
	}
	if changed {
		for topic, info := range table.TopicQueueMappingInfoMap {
			if r.mappings[topic] == nil {
				r.mappings[topic] = make(map[string]*codec.TopicQueueMappingInfo)
			}
			r.mappings[topic][info.Bname] = info
			r.answers.forget(topic)
		}
	}
	known := 0
	for _, queues := range r.topics {
		if _, ok := find(queues, reg.name); ok {
			known++
		}
	}
	return len(table.TopicConfigTable) >= known
}

// putQueueLocked sets a topic's queues on one broker; those it has already only with replace.
func (r *routes) putQueueLocked(topic string, queue codec.QueueData, replace bool) {
	queues := r.topics[topic]
	at, ok := find(queues, queue.BrokerName)
	switch {
	case !ok:
		r.topics[topic] = slices.Insert(queues, at, queue)
	case replace && queues[at] != queue:
		queues[at] = queue
	default:
		return
	}
	r.answers.forget(topic)
}

// dropTopicsLocked takes the broker out of those of its topics that gone names.
func (r *routes) dropTopicsLocked(broker string, gone func(topic string) bool) {
	for topic, queues := range r.topics {
		if at, ok := find(queues, broker); ok && gone(topic) {
			r.removeQueueLocked(topic, queues, at)
		}
	}
}

func (r *routes) removeQueueLocked(topic string, queues []codec.QueueData, at int) {
	if queues = slices.Delete(queues, at, at+1); len(queues) == 0 {
		delete(r.topics, topic)
	} else {
		r.topics[topic] = queues
	}
	r.answers.forget(topic)
}

// changePerm changes the permission of every topic of a broker name and returns how many there are.
func (r *routes) changePerm(broker string, change func(perm int32) int32) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.permLocked(broker, change)
}

func (r *routes) permLocked(broker string, change func(perm int32) int32) (count int32) {
	for _, queues := range r.topics {
		if at, ok := find(queues, broker); ok {
			queues[at].Perm = change(queues[at].Perm)
			count++
		}
	}
	r.answers.reset()
	return count
}

// deleteTopic takes a topic out, of one cluster or with "" of all.
func (r *routes) deleteTopic(topic, cluster string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, queue := range slices.Clone(r.topics[topic]) {
		if cluster != "" && !r.clusters[cluster][queue.BrokerName] {
			continue
		}
		if at, ok := find(r.topics[topic], queue.BrokerName); ok {
			r.removeQueueLocked(topic, r.topics[topic], at)
		}
		r.incompleteLocked(queue.BrokerName)
	}
}

// registerTopic puts a topic on brokers from outside. As in Java it ends at the first broker that is not known, and a new
// topic then stays out as a whole.
func (r *routes) registerTopic(topic string, queues []codec.QueueData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := len(queues)
	for i, queue := range queues {
		if r.brokers[queue.BrokerName] == nil {
			known = i
			break
		}
	}
	if known < len(queues) && r.topics[topic] == nil {
		return
	}
	for _, queue := range queues[:known] {
		r.putQueueLocked(topic, queue, true)
	}
}

// find returns where a broker's queues are, or would be, in a topic's list.
func find(queues []codec.QueueData, broker string) (int, bool) {
	return slices.BinarySearchFunc(queues, broker, func(q codec.QueueData, name string) int { return cmp.Compare(q.BrokerName, name) })
}

// topicsWhere returns the names of the topics that match, in order.
func (r *routes) topicsWhere(match func(queues []codec.QueueData) bool) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.topics))
	for topic, queues := range r.topics {
		if match(queues) {
			names = append(names, topic)
		}
	}
	slices.Sort(names)
	return names
}

// topicsOfCluster returns the names of the topics that have a broker in a cluster, in order.
func (r *routes) topicsOfCluster(cluster string) []string {
	r.mu.RLock()
	names := maps.Clone(r.clusters[cluster])
	r.mu.RUnlock()
	return r.topicsWhere(func(queues []codec.QueueData) bool {
		return slices.ContainsFunc(queues, func(q codec.QueueData) bool { return names[q.BrokerName] })
	})
}
