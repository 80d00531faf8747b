package admin

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/apogee-mq/apogee/codec"
)

// globalScope is the scope of every static topic. Apache: MixAll.METADATA_SCOPE_GLOBAL.
const globalScope = "__global__"

// Blocks in which the offsets of a queue that moves go on: the new leader begins at a block of its own, at least half a block behind what
// the old leader can still be writing. Apache: TopicQueueMappingUtils.blockSeqRoundUp, 10000 in RemappingStaticTopicSubCommand.
const offsetBlock = 10000

// hosting is what one broker knows of a static topic. Apache: TopicConfigAndQueueMapping.
type hosting struct {
	config *codec.TopicConfig
	detail *codec.TopicQueueMappingDetail
}

// mapping is a static topic by the names of its brokers.
type mapping map[string]*hosting

// leading is one queue of a static topic: the broker that takes what is sent to it, and its stretches, oldest first.
type leading struct {
	broker string
	items  []codec.LogicQueueMappingItem
}

// newHosting is a broker without queues of the topic.
func newHosting(topic, broker string, queues int32, epoch int64) *hosting {
	config := codec.NewTopicConfig(topic)
	config.ReadQueueNums, config.WriteQueueNums = 0, 0
	return &hosting{config, &codec.TopicQueueMappingDetail{Topic: topic, Bname: broker, Epoch: epoch, TotalQueues: queues, Scope: globalScope,
		CurrIDMap: map[int32]int32{}, HostedQueues: map[int32][]codec.LogicQueueMappingItem{}}}
}

// addQueue adds a physical queue and returns its id.
func (h *hosting) addQueue() int32 {
	h.config.ReadQueueNums++
	h.config.WriteQueueNums++
	return h.config.WriteQueueNums - 1
}

// version returns the epoch and the number of queues, on which all brokers have to agree. Apache: checkNameEpochNumConsistence.
func (m mapping) version(topic string) (epoch int64, queues int32, err error) {
	var first *codec.TopicQueueMappingDetail
	for _, broker := range sortedKeys(m) {
		h := m[broker]
		d := h.detail
		if d == nil {
			return 0, 0, fmt.Errorf("broker %s has a topic %s that is not static; choose another name or delete it there", broker, topic)
		}
		switch first = cmp.Or(first, d); {
		case d.Bname != broker:
			err = fmt.Errorf("it is for broker %s", d.Bname)
		case d.Dirty:
			err = errors.New("it is dirty")
		case d.Topic != topic || h.config.TopicName != topic:
			err = fmt.Errorf("it is of topic %s", cmp.Or(d.Topic, h.config.TopicName))
		case d.Scope != first.Scope:
			err = fmt.Errorf("its scope %s is not %s, that of broker %s", d.Scope, first.Scope, first.Bname)
		case d.Epoch != first.Epoch:
			err = fmt.Errorf("its epoch %d is not %d, that of broker %s; an earlier change has not reached all brokers, finish it with -mf (mapFile)",
				d.Epoch, first.Epoch, first.Bname)
		case d.TotalQueues != first.TotalQueues:
			err = fmt.Errorf("its %d queues are not %d, those of broker %s", d.TotalQueues, first.TotalQueues, first.Bname)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("mapping of %s on broker %s: %w", topic, broker, err)
		}
	}
	if first == nil {
		return 0, 0, nil
	}
	return first.Epoch, first.TotalQueues, nil
}

// leaders returns the queues by id, as the broker that leads each has it. Of two that claim to lead, the newer one wins. Apache:
// checkAndBuildMappingItems with replace.
func (m mapping) leaders() (map[int32]leading, error) {
	all := map[int32]leading{}
	brokers := sortedKeys(m)
	slices.SortStableFunc(brokers, func(a, b string) int { return cmp.Compare(m[b].detail.Epoch, m[a].detail.Epoch) })
	for _, broker := range brokers {
		hosted := m[broker].detail.HostedQueues
		for _, id := range sortedKeys(hosted) {
			items := hosted[id]
			if err := checkStretches(items); err != nil {
				return nil, fmt.Errorf("queue %d on broker %s: %w", id, broker, err)
			}
			if _, led := all[id]; !led && items[len(items)-1].Bname == broker {
				all[id] = leading{broker, items}
			}
		}
	}
	return all, nil
}

// checkStretches says what is wrong with the stretches of a queue. Apache: checkLogicQueueMappingItemOffset.
func checkStretches(items []codec.LogicQueueMappingItem) error {
	if len(items) == 0 {
		return errors.New("it has no stretches")
	}
	lastGen, lastOffset := int32(-1), int64(-1)
	for i := len(items) - 1; i >= 0; i-- {
		item := items[i]
		end := item.LogicOffset + max(item.EndOffset-item.StartOffset, 0)
		switch {
		case item.StartOffset < 0 || item.Gen < 0 || item.QueueID < 0:
			return fmt.Errorf("stretch %d has a negative start, generation or queue", i)
		case i < len(items)-1 && item.LogicOffset < 0:
			return fmt.Errorf("stretch %d does not say at which offset it begins, though others follow", i)
		case lastGen != -1 && item.Gen >= lastGen:
			return fmt.Errorf("stretch %d has generation %d, the next one %d", i, item.Gen, lastGen)
		case item.EndOffset != -1 && item.EndOffset < item.StartOffset:
			return fmt.Errorf("stretch %d ends at %d, before it begins at %d", i, item.EndOffset, item.StartOffset)
		case lastOffset != -1 && item.LogicOffset != -1 && (item.LogicOffset >= lastOffset || end >= lastOffset):
			return fmt.Errorf("stretch %d reaches from %d to %d, into the next one, which begins at %d", i, item.LogicOffset, end, lastOffset)
		}
		lastGen, lastOffset = item.Gen, item.LogicOffset
	}
	return nil
}

// check returns the queues of a mapping that can be given to brokers: every queue is led by one of them, and no physical queue is used twice.
// Apache: checkAndBuildMappingItems, checkIfReusePhysicalQueue, checkPhysicalQueueConsistence.
func (m mapping) check(topic string) (map[int32]leading, error) {
	_, total, err := m.version(topic)
	if err != nil {
		return nil, err
	}
	for _, broker := range sortedKeys(m) {
		if c := m[broker].config; c.ReadQueueNums < c.WriteQueueNums {
			return nil, fmt.Errorf("broker %s has %d queues to read and %d to write", broker, c.ReadQueueNums, c.WriteQueueNums)
		}
		for id, items := range m[broker].detail.HostedQueues {
			for _, item := range items {
				if err := m.place(item); err != nil {
					return nil, fmt.Errorf("queue %d of %s on broker %s: %w", id, topic, broker, err)
				}
			}
		}
	}
	queues, err := m.leaders()
	if err != nil {
		return nil, fmt.Errorf("mapping of %s: %w", topic, err)
	}
	if len(queues) != int(total) {
		return nil, fmt.Errorf("topic %s has %d queues, and brokers lead %d of them", topic, total, len(queues))
	}
	type place struct {
		broker string
		queue  int32
	}
	used := map[place]int32{}
	for id := range total {
		q, led := queues[id]
		if !led {
			return nil, fmt.Errorf("no broker leads queue %d of topic %s", id, topic)
		}
		for _, item := range q.items {
			at := place{item.Bname, item.QueueID}
			if other, twice := used[at]; twice {
				return nil, fmt.Errorf("queues %d and %d of topic %s share queue %d of broker %s", other, id, topic, item.QueueID, item.Bname)
			}
			used[at] = id
		}
	}
	return queues, nil
}

// place checks that a stretch lies in a queue that its broker has.
func (m mapping) place(item codec.LogicQueueMappingItem) error {
	on := m[item.Bname]
	switch {
	case on == nil:
		return fmt.Errorf("a stretch lies on broker %s, which has nothing of the topic", item.Bname)
	case item.StartOffset != 0:
		return fmt.Errorf("a stretch begins at %d of the queue on broker %s, not at 0", item.StartOffset, item.Bname)
	case item.QueueID >= on.config.WriteQueueNums:
		return fmt.Errorf("a stretch lies in queue %d of broker %s, which has %d", item.QueueID, item.Bname, on.config.WriteQueueNums)
	}
	return nil
}

// stamp gives all brokers the epoch and the number of queues, and checks what came out.
func (m mapping) stamp(topic string, epoch int64, queues int32) error {
	for _, h := range m {
		h.detail.Epoch, h.detail.TotalQueues = epoch, queues
	}
	_, err := m.check(topic)
	return err
}

// nextEpoch is newer than the last one. Apache: createTopicConfigMapping.
func nextEpoch(last, nowMs int64) int64 { return max(last+1000, nowMs) }

// grow adds queues to a topic until it has so many, on the brokers that lead the fewest. Apache: createTopicConfigMapping.
func (m mapping) grow(topic string, queues int32, targets []string, nowMs int64) error {
	epoch, _, err := m.version(topic)
	if err != nil {
		return err
	}
	had, err := m.check(topic)
	if err != nil {
		return err
	}
	switch have := int32(len(had)); {
	case queues < have:
		return fmt.Errorf("topic %s has %d queues; a static topic cannot have fewer than before", topic, have)
	case queues == have:
		return fmt.Errorf("topic %s has %d queues already", topic, have)
	}
	led := map[string]int32{}
	for _, broker := range targets {
		led[broker] = 0
	}
	for _, q := range had {
		led[q.broker]++
	}
	epoch = nextEpoch(epoch, nowMs)
	tie := rand.Perm(len(led)) // topics of few queues shall not all begin on one broker
	order := sortedKeys(led)
	for id := int32(len(had)); id < queues; id++ {
		best := -1
		for _, i := range tie {
			if best < 0 || led[order[i]] < led[order[best]] {
				best = i
			}
		}
		broker := order[best]
		led[broker]++
		if m[broker] == nil {
			m[broker] = newHosting(topic, broker, queues, epoch)
		}
		h := m[broker]
		h.detail.HostedQueues[id] = []codec.LogicQueueMappingItem{newStretch(0, h.addQueue(), broker, 0)}
	}
	return m.stamp(topic, epoch, queues)
}

func newStretch(gen, queueID int32, broker string, logicOffset int64) codec.LogicQueueMappingItem {
	return codec.LogicQueueMappingItem{Gen: gen, QueueID: queueID, Bname: broker, LogicOffset: logicOffset, EndOffset: -1, TimeOfStart: -1, TimeOfEnd: -1}
}

// move has the targets lead the queues, evenly, with as few moves as that takes. A broker only gains queues or only loses some. It returns
// both kinds of brokers. Apache: TopicQueueMappingUtils.remappingStaticTopic.
func (m mapping) move(topic string, targets []string, nowMs int64) (in, out []string, err error) {
	epoch, total, err := m.version(topic)
	if err != nil {
		return nil, nil, err
	}
	queues, err := m.check(topic)
	if err != nil {
		return nil, nil, err
	}
	epoch = nextEpoch(epoch, nowMs)
	moves := newLeaders(queues, total, targets)
	for _, id := range sortedKeys(moves) {
		to, q := moves[id], queues[id]
		if m[to] == nil {
			m[to] = newHosting(topic, to, total, epoch)
		}
		in, out = append(in, to), append(out, q.broker)
		last := q.items[len(q.items)-1]
		items := append(slices.Clone(q.items), newStretch(last.Gen+1, m[to].addQueue(), to, -1))
		m[to].detail.HostedQueues[id], m[q.broker].detail.HostedQueues[id] = items, slices.Clone(items)
	}
	slices.Sort(in)
	slices.Sort(out)
	return slices.Compact(in), slices.Compact(out), m.stamp(topic, epoch, total)
}

// newLeaders says which queues move and where to.
func newLeaders(queues map[int32]leading, total int32, targets []string) map[int32]string {
	before := map[string]int32{}
	for _, q := range queues {
		before[q.broker]++
	}
	targets = slices.Clone(targets) // those with most queues first: they get what does not divide
	slices.SortFunc(targets, func(a, b string) int { return cmp.Or(cmp.Compare(before[b], before[a]), cmp.Compare(a, b)) })
	room := map[string]int32{}
	for i, broker := range targets {
		room[broker] = total / int32(len(targets))
		if int32(i) < total%int32(len(targets)) {
			room[broker]++
		}
	}
	var homeless []int32
	for id := range total {
		if broker := queues[id].broker; room[broker] > 0 {
			room[broker]--
		} else {
			homeless = append(homeless, id)
		}
	}
	moves := map[int32]string{}
	for _, broker := range sortedKeys(room) {
		for range room[broker] {
			moves[homeless[0]], homeless = broker, homeless[1:]
		}
	}
	return moves
}

// beginOf is where the stretch after one begins whose queue ends at maxOffset.
func beginOf(old codec.LogicQueueMappingItem, maxOffset int64) int64 {
	end := old.LogicOffset + max(maxOffset-old.StartOffset, 0)
	if end%offsetBlock < offsetBlock/2 {
		return (end/offsetBlock + 1) * offsetBlock
	}
	return (end/offsetBlock + 2) * offsetBlock
}

// beginIn is the offset in its queue of a physical one, which is not before nor behind the stretch.
func beginIn(item codec.LogicQueueMappingItem, physical int64) int64 {
	if item.EndOffset >= item.StartOffset {
		physical = min(physical, item.EndOffset)
	}
	return item.LogicOffset + max(physical-item.StartOffset, 0)
}
