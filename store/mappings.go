package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/apogee-mq/apogee/codec"
)

// Mappings is the table of static topics, topicQueueMapping.json: which physical queues, here and on other brokers, the queues of
// a static topic are made of. What is in it is never changed, only replaced; lookups take no lock. Apache:
// TopicQueueMappingManager.
type Mappings struct {
	table   *confTable[codec.TopicQueueMappingDetail]
	broker  string
	unknown codec.UnknownFields
}

// MappingsOptions are the settings of the table of static topics.
type MappingsOptions struct {
	TableOptions
	// Broker is the name of this broker.
	Broker string
	// OnChange, if set, is called after static topics were changed, from the table's goroutine. It must not block and must not
	// change the table.
	OnChange func()
}

// OpenMappings reads the table from path (and path.bak).
func OpenMappings(path string, opts MappingsOptions) (*Mappings, error) {
	opts.fill()
	file := newJSONFile(path, opts.TableOptions)
	stored, err := loadJSON[codec.TopicQueueMappingTable](file)
	if err != nil {
		return nil, err
	}
	m := &Mappings{broker: opts.Broker}
	values, version := make(map[string]*codec.TopicQueueMappingDetail), codec.DataVersion{TimestampMs: opts.Now().UnixMilli()}
	if stored != nil {
		version, m.unknown = stored.DataVersion, stored.Unknown
		for name, d := range stored.TopicQueueMappingInfoMap {
			if d == nil || checkName(name) != nil || checkItems(d) != nil {
				opts.Logger.Warn("static topic in table has no possible queues, left out", "topic", name)
				continue
			}
			values[name] = d
		}
	}
	m.table = newConfTable(file, values, version)
	m.table.text.member = "topicQueueMappingInfoMap"
	m.table.whole = func(values map[string]*codec.TopicQueueMappingDetail, version codec.DataVersion) any {
		return &codec.TopicQueueMappingTable{DataVersion: version, TopicQueueMappingInfoMap: values, Unknown: m.unknown}
	}
	if opts.OnChange != nil {
		m.table.onChange = func(map[string]*codec.TopicQueueMappingDetail) { opts.OnChange() }
	}
	m.table.start(false)
	return m, nil
}

// Close writes what is not yet written and ends the table's goroutine.
func (m *Mappings) Close() error { return m.table.close() }

// Len returns the number of static topics.
func (m *Mappings) Len() int { return m.table.names.Len() }

// Get returns the queues of a static topic, nil for any other topic.
func (m *Mappings) Get(topic []byte) *codec.TopicQueueMappingDetail { return m.table.getBytes(topic) }

// Snapshot returns all static topics and the version that belongs to them. The map is the caller's.
func (m *Mappings) Snapshot() (map[string]*codec.TopicQueueMappingDetail, codec.DataVersion) {
	return m.table.snapshot()
}

// Delete forgets a static topic and returns when that is on disk.
func (m *Mappings) Delete(topic string) error {
	m.table.mu.Lock()
	d, b := m.table.latestLocked(topic)
	if d != nil {
		b = m.table.stageLocked(topic, nil)
	}
	m.table.mu.Unlock()
	return waitFor(b)
}

// Put takes the queues of a static topic as of an epoch and returns when they are on disk. It is refused when it is older than
// what is known, or contradicts it. Apache: TopicQueueMappingManager.updateTopicQueueMapping.
func (m *Mappings) Put(d *codec.TopicQueueMappingDetail) error {
	return m.put(d, func(old, next *codec.TopicQueueMappingDetail) error {
		switch {
		case next.Epoch < old.Epoch:
			return refusedMapping(fmt.Sprintf("Can't accept data with small epoch %d < %d", next.Epoch, old.Epoch))
		case next.Scope != old.Scope:
			return refusedMapping(fmt.Sprintf("Can't accept data with unmatched scope %s != %s", next.Scope, old.Scope))
		}
		for globalID, items := range old.HostedQueues {
			news, ok := next.HostedQueues[globalID]
			switch {
			case !ok && next.Epoch == old.Epoch:
				return refusedMapping("Cannot accept equal epoch with null data")
			case !ok:
				next.HostedQueues[globalID] = items
			default:
				if err := checkSuccessor(items, news, next.Epoch == old.Epoch); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// PutForced is Put without the comparison; queues that are not mentioned stay.
func (m *Mappings) PutForced(d *codec.TopicQueueMappingDetail) error {
	return m.put(d, func(old, next *codec.TopicQueueMappingDetail) error {
		for globalID, items := range old.HostedQueues {
			if _, ok := next.HostedQueues[globalID]; !ok {
				next.HostedQueues[globalID] = items
			}
		}
		return nil
	})
}

// Drop takes queues out of a static topic and returns when that is on disk. It is refused when the topic is not any more as it was
// seen.
func (m *Mappings) Drop(seen *codec.TopicQueueMappingDetail, globalIDs []int32) error {
	next := *seen
	next.HostedQueues = maps.Clone(seen.HostedQueues)
	for _, globalID := range globalIDs {
		delete(next.HostedQueues, globalID)
	}
	m.table.mu.Lock()
	if latest, _ := m.table.latestLocked(seen.Topic); latest != seen {
		m.table.mu.Unlock()
		return refusedMapping("it was changed meanwhile")
	}
	b := m.table.stageLocked(seen.Topic, &next)
	m.table.mu.Unlock()
	return b.wait()
}

func (m *Mappings) put(d *codec.TopicQueueMappingDetail, over func(old, next *codec.TopicQueueMappingDetail) error) error {
	next := *d
	next.HostedQueues = make(map[int32][]codec.LogicQueueMappingItem, len(d.HostedQueues))
	for globalID, items := range d.HostedQueues {
		next.HostedQueues[globalID] = slices.Clone(items)
	}
	if next.Bname != m.broker {
		return fmt.Errorf("the mapping of topic %s is for broker %s, this is broker %s", next.Topic, next.Bname, m.broker)
	}
	if err := checkItems(&next); err != nil {
		return err
	}
	m.table.mu.Lock()
	old, _ := m.table.latestLocked(next.Topic)
	var err error
	if old != nil {
		err = over(old, &next)
	} else {
		err = m.table.roomLocked()
	}
	if err != nil {
		m.table.mu.Unlock()
		return err
	}
	b := m.table.stageLocked(next.Topic, &next)
	m.table.mu.Unlock()
	return b.wait()
}

// refusedMapping is why a mapping is refused, in Java's words.
type refusedMapping string

func (r refusedMapping) Error() string { return string(r) }

// maxMappedQueues bounds the queues of a static topic and the stretches of one of them.
const maxMappedQueues = 65_536

// checkItems refuses stretches that do not follow each other. Apache: TopicQueueMappingUtils.checkLogicQueueMappingItemOffset.
func checkItems(d *codec.TopicQueueMappingDetail) error {
	if len(d.HostedQueues) > maxMappedQueues {
		return fmt.Errorf("%d queues of topic %s, at most %d are possible", len(d.HostedQueues), d.Topic, maxMappedQueues)
	}
	for _, items := range d.HostedQueues {
		lastGen, lastOffset := int32(-1), int64(-1)
		for i := len(items) - 1; i >= 0; i-- {
			item := &items[i]
			switch {
			case item.StartOffset < 0 || item.Gen < 0 || item.QueueID < 0:
				return refusedMapping("The field is illegal, should not be negative")
			case i < len(items)-1 && item.LogicOffset < 0:
				return refusedMapping("The non-latest item has negative logic offset")
			case lastGen != -1 && item.Gen >= lastGen:
				return refusedMapping("The gen does not increase monotonically")
			case item.EndOffset != -1 && item.EndOffset < item.StartOffset:
				return refusedMapping("The endOffset is smaller than the start offset")
			case lastOffset != -1 && item.LogicOffset != -1 && item.LogicOffset >= lastOffset:
				return refusedMapping("The base logic offset does not increase monotonically")
			case lastOffset != -1 && item.LogicOffset != -1 && endOfItem(item) >= lastOffset:
				return refusedMapping("The max logic offset does not increase monotonically")
			}
			lastGen, lastOffset = item.Gen, item.LogicOffset
		}
	}
	return nil
}

// endOfItem is the queue offset behind a stretch, its beginning while it is not decided where it ends.
func endOfItem(item *codec.LogicQueueMappingItem) int64 {
	if item.EndOffset >= item.StartOffset {
		return item.LogicOffset + item.EndOffset - item.StartOffset
	}
	return item.LogicOffset
}

// checkSuccessor refuses stretches that give what is known a new meaning. Apache:
// TopicQueueMappingUtils.makeSureLogicQueueMappingItemImmutable.
func checkSuccessor(old, next []codec.LogicQueueMappingItem, sameEpoch bool) error {
	if len(old) == 0 {
		return nil
	}
	if len(next) == 0 {
		return refusedMapping("The new item list is null or empty")
	}
	for i := range old {
		for j := range next {
			a, b := &old[i], &next[j]
			if a.Gen == b.Gen && (a.Bname != b.Bname || a.QueueID != b.QueueID || a.StartOffset != b.StartOffset ||
				a.LogicOffset != -1 && a.LogicOffset != b.LogicOffset) {
				return fmt.Errorf("generation %d of a queue cannot change what it stands for", a.Gen)
			}
		}
	}
	a, b := &old[len(old)-1], &next[len(next)-1]
	if sameEpoch && (a.Gen != b.Gen || a.Bname != b.Bname || a.QueueID != b.QueueID || a.StartOffset != b.StartOffset) {
		return refusedMapping("The new leader is different but epoch equal")
	}
	return nil
}

// MappingInfo is what name servers are told of a static topic: the queues whose newest stretch is here. Apache:
// TopicQueueMappingDetail.cloneAsMappingInfo.
func MappingInfo(d *codec.TopicQueueMappingDetail) *codec.TopicQueueMappingInfo {
	info := &codec.TopicQueueMappingInfo{Topic: d.Topic, Scope: "__global__", TotalQueues: d.TotalQueues, Bname: d.Bname, Epoch: d.Epoch,
		CurrIDMap: make(map[int32]int32)}
	for globalID, items := range d.HostedQueues {
		if n := len(items); n > 0 && items[n-1].Bname == d.Bname {
			info.CurrIDMap[globalID] = items[n-1].QueueID
		}
	}
	return info
}
