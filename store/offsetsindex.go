package store

import "slices"

// offsetIndex finds the offsets of a group, or of a topic, in a shard without a look at the others. Each knows its places in the two
// lists, so that it leaves them in no time however long they are.
type offsetIndex struct {
	byGroup, byTopic map[string][]*groupOffsets
}

// addLocked puts offsets into the shard; key is topic, separator, group.
func (s *offsetShard) addLocked(key string, g *groupOffsets) {
	if old := s.groups[key]; old != nil {
		s.removeLocked(key, old)
	}
	s.groups[key] = g
	g.inGroup, g.inTopic = len(s.byGroup[g.group]), len(s.byTopic[g.topic])
	s.byGroup[g.group] = append(s.byGroup[g.group], g)
	s.byTopic[g.topic] = append(s.byTopic[g.topic], g)
}

// removeLocked takes offsets out of the shard.
func (s *offsetShard) removeLocked(key string, g *groupOffsets) {
	delete(s.groups, key)
	leave(s.byGroup, g.group, g.inGroup, func(other *groupOffsets) { other.inGroup = g.inGroup })
	leave(s.byTopic, g.topic, g.inTopic, func(other *groupOffsets) { other.inTopic = g.inTopic })
}

// leave takes the element at a place out of a list; the last one, which takes its place, is told.
func leave(lists map[string][]*groupOffsets, name string, at int, moved func(*groupOffsets)) {
	list := lists[name]
	last := len(list) - 1
	if last == 0 {
		delete(lists, name)
		return
	}
	list[at] = list[last]
	moved(list[at])
	list[last] = nil
	lists[name] = list[:last]
}

// TopicsOf returns the topics that a group has committed offsets of, in alphabetical order. Apache:
// ConsumerOffsetManager.whichTopicByConsumer.
func (o *Offsets) TopicsOf(group string) []string {
	var topics []string
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		for _, g := range s.byGroup[group] {
			if g.any() {
				topics = append(topics, g.topic)
			}
		}
		s.mu.Unlock()
	}
	slices.Sort(topics)
	return topics
}

// GroupsOf returns the groups that have committed offsets of a topic, in alphabetical order. Apache:
// ConsumerOffsetManager.whichGroupByTopic.
func (o *Offsets) GroupsOf(topic string) []string {
	var groups []string
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		for _, g := range s.byTopic[topic] {
			if isGroup(g.group) && g.any() {
				groups = append(groups, g.group)
			}
		}
		s.mu.Unlock()
	}
	slices.Sort(groups)
	return groups
}
