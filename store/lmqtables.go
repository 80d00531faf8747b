package store

import (
	"strings"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// maxImplicit bounds the configurations that are kept of names which need none.
const maxImplicit = 65_536

// implicit makes the configurations of light message queues and of groups named like one: they exist whenever they are asked for,
// and are in no table. What was made is kept for the next time. Apache: LmqTopicConfigManager, LmqSubscriptionGroupManager.
type implicit[V any] struct {
	make func(name string) *V

	mu    sync.RWMutex // guards named
	named map[string]*V
}

// implicitFor returns the configuration for a name, nil when it is not one of a light message queue or t is nil.
func implicitFor[V any, T string | []byte](t *implicit[V], name T) *V {
	if t == nil || !IsLMQ(name) {
		return nil
	}
	t.mu.RLock()
	cfg := t.named[string(name)]
	t.mu.RUnlock()
	if cfg != nil {
		return cfg
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.named == nil || len(t.named) >= maxImplicit {
		t.named = make(map[string]*V)
	}
	cfg = t.make(string(name))
	t.named[string(name)] = cfg
	return cfg
}

func newLMQTopics(on bool) *implicit[codec.TopicConfig] {
	if !on {
		return nil
	}
	return &implicit[codec.TopicConfig]{make: func(name string) *codec.TopicConfig {
		cfg := newPlainTopic(name, 1)
		cfg.Attributes = map[string]string{}
		return cfg
	}}
}

func newLMQGroups(on bool) *implicit[codec.SubscriptionGroupConfig] {
	if !on {
		return nil
	}
	return &implicit[codec.SubscriptionGroupConfig]{make: newGroup}
}

// OpenLMQOffsets reads the table of offsets of a broker with light message queues: lmqConsumerOffset.json at path, which holds the
// offsets of all groups, and for a start the table at plainPath when there is none. A group named like a light message queue has one
// offset in a topic, whatever the queue. Apache: LmqConsumerOffsetManager.
func OpenLMQOffsets(path, plainPath string, opts OffsetsOptions) (*Offsets, error) {
	o := newOffsets(path, opts)
	o.lmq = true
	stored, err := loadJSON[offsetFile](o.file)
	if err == nil && stored == nil {
		stored, err = loadJSON[offsetFile](newJSONFile(plainPath, o.opts.TableOptions))
	}
	if err != nil {
		return nil, err
	}
	if stored != nil {
		o.fill(stored)
	}
	return o, nil
}

// queueOf is the queue under which a group's offset is kept.
func (o *Offsets) queueOf(group []byte, queueID int32) int32 {
	if o.lmq && IsLMQ(group) {
		return lmqQueueID
	}
	return queueID
}

// fillLMQ takes the offsets of groups that are named like light message queues.
func (o *Offsets) fillLMQ(offsets map[string]int64) {
	for key, queueOffset := range offsets {
		topic, group, _ := strings.Cut(key, string(groupSeparator))
		g := &groupOffsets{topic: topic, group: group, queues: map[int32]queueOffsets{lmqQueueID: {queueOffset, noOffset, noOffset}}}
		o.shard([]byte(group), []byte(topic)).addLocked(topic+string(groupSeparator)+group, g)
		o.entries.Add(1)
	}
}
