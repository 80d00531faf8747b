package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/apogee-mq/apogee/codec"
)

// TopicsOptions are the settings of the topic table.
type TopicsOptions struct {
	TableOptions
	// Cluster and Broker are names that are topics too.
	Cluster, Broker string
	// AutoCreate is autoCreateTopicEnable; SetAutoCreate changes it later.
	AutoCreate bool
	// DefaultQueueNums is defaultTopicQueueNums, the queues of TBW102.
	DefaultQueueNums int32
	// ClusterTopic and BrokerTopic make the topics of these names readable and writable.
	ClusterTopic, BrokerTopic bool
	// TraceTopic creates TraceTopicName.
	TraceTopic     bool
	TraceTopicName string
	// LMQ makes every light message queue a topic without configuration.
	LMQ bool
	// OnChange, if set, is called after topics were created, changed or deleted, with their new configurations (nil for a
	// deleted one), from the table's goroutine. It must not block and must not change the table.
	OnChange func(changed map[string]*codec.TopicConfig)
}

// Topics is the table of topics, topics.json. Configurations in it are never changed, only replaced: what Get returns
// may be kept and must not be written to. Lookups take no lock. Apache: TopicConfigManager.
//
// Methods that change the table return when the change is on disk, and only then lookups see it; they wait for the
// disk and belong on a pool. Callers at the same time share one write.
type Topics struct {
	opts       TopicsOptions
	table      *confTable[codec.TopicConfig]
	unknown    codec.UnknownFields
	system     map[string]bool // names, never changed after OpenTopics
	autoCreate atomic.Bool
	lmq        *implicit[codec.TopicConfig] // nil without light message queues
}

// OpenTopics reads the table from path (and path.bak) and adds the system topics that are missing.
func OpenTopics(path string, opts TopicsOptions) (*Topics, error) {
	opts.fill()
	file := newJSONFile(path, opts.TableOptions)
	stored, err := loadJSON[codec.TopicConfigTable](file)
	if err != nil {
		return nil, err
	}
	t := &Topics{opts: opts, system: opts.systemNames(), lmq: newLMQTopics(opts.LMQ)}
	t.autoCreate.Store(opts.AutoCreate)
	values, version, missing := opts.merge(stored)
	if stored != nil {
		t.unknown = stored.Unknown
	}
	t.table = newConfTable(file, values, version)
	t.table.text.member, t.table.whole = "topicConfigTable", t.whole
	t.table.onChange = opts.OnChange
	t.table.start(missing > 0)
	return t, nil
}

// merge puts what is stored, nil for nothing, over the system topics and tells how many of those are new.
func (o *TopicsOptions) merge(stored *codec.TopicConfigTable) (values map[string]*codec.TopicConfig, version codec.DataVersion, missing int) {
	values = make(map[string]*codec.TopicConfig)
	for _, cfg := range o.systemTopics() {
		values[cfg.TopicName] = cfg
	}
	missing = len(values)
	if stored == nil {
		return values, codec.DataVersion{TimestampMs: o.Now().UnixMilli()}, missing
	}
	for name, cfg := range stored.TopicConfigTable {
		if cfg == nil || checkName(name) != nil {
			o.Logger.Warn("topic in table has no configuration or no possible name, left out", "topic", name)
			continue
		}
		if values[name] != nil {
			missing--
		}
		cfg.TopicName, cfg.Attributes = name, sharedIfNone(cfg.Attributes)
		values[name] = cfg
	}
	return values, stored.DataVersion, missing
}

func (t *Topics) whole(values map[string]*codec.TopicConfig, version codec.DataVersion) any {
	return &codec.TopicConfigTable{DataVersion: version, TopicConfigTable: values, Unknown: t.unknown}
}

// Close writes what is not yet written and ends the table's goroutine.
func (t *Topics) Close() error { return t.table.close() }

// Get returns the configuration of a topic.
func (t *Topics) Get(name string) (*codec.TopicConfig, bool) {
	cfg := t.table.get(name)
	if cfg == nil {
		cfg = implicitFor(t.lmq, name)
	}
	return cfg, cfg != nil
}

// GetBytes is Get for a name that lies in a frame; it does not allocate.
func (t *Topics) GetBytes(name []byte) (*codec.TopicConfig, bool) {
	return t.GetNamed(NameOfBytes(name))
}

// GetNamed is Get for a name whose hash is known.
func (t *Topics) GetNamed(name Name) (*codec.TopicConfig, bool) {
	cfg := t.table.names.Get(name)
	if cfg == nil {
		cfg = implicitFor(t.lmq, name.bytes())
	}
	return cfg, cfg != nil
}

// Expect and Fetch are those of Names, for GetNamed.
func (t *Topics) Expect(name Name) { t.table.names.Expect(name) }

// Fetch follows Expect.
func (t *Topics) Fetch(name Name) {
	t.table.names.Fetch(name, unsafe.Offsetof(codec.TopicConfig{}.Unknown))
}

// Len returns the number of topics.
func (t *Topics) Len() int { return t.table.names.Len() }

// All returns every topic in the order of their names.
func (t *Topics) All() []*codec.TopicConfig { return t.table.sorted() }

// DataVersion returns the version of what lookups see.
func (t *Topics) DataVersion() codec.DataVersion { return *t.table.version.Load() }

// Snapshot returns all topics and the version that belongs to them. The map is the caller's.
func (t *Topics) Snapshot() (map[string]*codec.TopicConfig, codec.DataVersion) {
	return t.table.snapshot()
}

// Touch makes the table count as changed: name servers look at its version to see whether there is anything new, also about static
// topics, which stand in a table of their own.
func (t *Topics) Touch() {
	t.table.mu.Lock()
	t.table.bumpLocked(1)
	t.table.dirty = true
	t.table.poke()
	t.table.mu.Unlock()
}

// SetAutoCreate switches autoCreateTopicEnable.
func (t *Topics) SetAutoCreate(on bool) { t.autoCreate.Store(on) }

// AutoCreate creates a topic after the example of defaultTopic, as a send to an unknown topic does: nil without an error
// when defaultTopic is unknown or not inherited from. queueNums is the number the client asks for. Apache:
// TopicConfigManager.createTopicInSendMessageMethod.
func (t *Topics) AutoCreate(topic, defaultTopic string, queueNums, sysFlag int32, producer string) (*codec.TopicConfig, error) {
	if err := ValidateTopic(topic); err != nil {
		return nil, err
	}
	t.table.mu.Lock()
	if cfg, b := t.table.latestLocked(topic); cfg != nil {
		t.table.mu.Unlock()
		return cfg, waitFor(b)
	}
	example, _ := t.table.latestLocked(defaultTopic)
	if example != nil && defaultTopic == TopicAutoCreateKey && !t.autoCreate.Load() {
		example = t.disinheritLocked(example)
	}
	if example == nil || example.Perm&codec.PermInherit == 0 {
		t.table.mu.Unlock()
		t.opts.Logger.Warn("topic was not created: its default topic is unknown or not inherited from",
			"topic", topic, "default", defaultTopic, "client", producer)
		return nil, nil
	}
	cfg := codec.NewTopicConfig(topic)
	cfg.ReadQueueNums = max(0, min(queueNums, example.WriteQueueNums))
	cfg.WriteQueueNums = cfg.ReadQueueNums
	cfg.Perm = example.Perm &^ codec.PermInherit
	cfg.TopicSysFlag = sysFlag
	cfg.TopicFilterType = example.TopicFilterType
	cfg, err := t.createAndUnlock(cfg)
	if err == nil {
		t.opts.Logger.Info("topic created by a send", "topic", topic, "default", defaultTopic, "queues", cfg.WriteQueueNums,
			"client", producer)
	}
	return cfg, err
}

// disinheritLocked takes the inherit bit from TBW102, which stays in the table after auto-creation was switched off.
func (t *Topics) disinheritLocked(example *codec.TopicConfig) *codec.TopicConfig {
	if example.Perm&codec.PermInherit == 0 {
		return example
	}
	cfg := cloneTopic(example)
	cfg.Perm = codec.PermRead | codec.PermWrite
	t.table.stageLocked(cfg.TopicName, cfg)
	return cfg
}

// createAndUnlock adds a topic that is not there and waits for the disk without the lock it was called with.
func (t *Topics) createAndUnlock(cfg *codec.TopicConfig) (*codec.TopicConfig, error) {
	if err := t.table.roomLocked(); err != nil {
		t.table.mu.Unlock()
		return nil, err
	}
	b := t.table.stageLocked(cfg.TopicName, cfg)
	t.table.mu.Unlock()
	if err := b.wait(); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", cfg.TopicName, err)
	}
	return cfg, nil
}

// waitFor waits for the batch a value comes with; nil means that it is published.
func waitFor[V any](b *batch[V]) error {
	if b == nil {
		return nil
	}
	return b.wait()
}

// CreateIfAbsent creates a topic unless it exists and returns the one in the table; an existing topic whose order flag
// differs takes the new flag. It serves retry and dead-letter topics. Apache:
// TopicConfigManager.createTopicInSendMessageBackMethod.
func (t *Topics) CreateIfAbsent(cfg *codec.TopicConfig) (*codec.TopicConfig, error) {
	t.table.mu.Lock()
	now, b, err := t.ensureLocked(cfg)
	t.table.mu.Unlock()
	if err == nil {
		err = waitFor(b)
	}
	if err != nil {
		return nil, fmt.Errorf("create topic %s: %w", cfg.TopicName, err)
	}
	if b != nil {
		t.opts.Logger.Info("topic created", "topic", cfg.TopicName, "queues", now.WriteQueueNums, "order", now.Order)
	}
	return now, nil
}

// CreateAllIfAbsent is CreateIfAbsent for several topics in one write. One that cannot be created does not keep the others from it.
func (t *Topics) CreateAllIfAbsent(cfgs []*codec.TopicConfig) error {
	var errs []error
	batches := make(map[*batch[codec.TopicConfig]]bool) // at most the one being written and the next
	t.table.mu.Lock()
	for _, cfg := range cfgs {
		_, b, err := t.ensureLocked(cfg)
		if err != nil {
			errs = append(errs, fmt.Errorf("create topic %s: %w", cfg.TopicName, err))
		}
		batches[b] = true
	}
	t.table.mu.Unlock()
	for b := range batches {
		if err := waitFor(b); err != nil {
			errs = append(errs, fmt.Errorf("create topics: %w", err))
		}
	}
	t.opts.Logger.Info("topics created", "topics", len(cfgs), "errors", len(errs))
	return errors.Join(errs...)
}

// ensureLocked stages a topic that is missing or whose order flag differs. It returns the topic as it is or will be, and the batch that
// brings it, nil when it is published.
func (t *Topics) ensureLocked(cfg *codec.TopicConfig) (*codec.TopicConfig, *batch[codec.TopicConfig], error) {
	if err := checkName(cfg.TopicName); err != nil {
		return nil, nil, err
	}
	now, b := t.table.latestLocked(cfg.TopicName)
	switch {
	case now == nil:
		if err := t.table.roomLocked(); err != nil {
			return nil, nil, err
		}
		now = cloneTopic(cfg)
	case now.Order == cfg.Order:
		return now, b, nil
	default:
		now = cloneTopic(now)
		now.Order = cfg.Order
	}
	return now, t.table.stageLocked(now.TopicName, now), nil
}

// Put creates or replaces a topic. cfg.Attributes holds changes, "+name" to set and "-name" to remove, which are applied
// to the attributes in the table. changed is false when nothing would change. An error that says what is wrong with the
// attributes is an *AttributeError. cfg is not kept. Apache: TopicConfigManager.updateTopicConfig.
func (t *Topics) Put(cfg *codec.TopicConfig) (changed bool, err error) {
	return t.PutAll([]*codec.TopicConfig{cfg})
}

// PutAll is Put for several topics in one write; none is changed when one has bad attributes.
func (t *Topics) PutAll(cfgs []*codec.TopicConfig) (changed bool, err error) {
	t.table.mu.Lock()
	news := make([]*codec.TopicConfig, 0, len(cfgs))
	var last *batch[codec.TopicConfig]
	for _, cfg := range cfgs {
		if t.lmq != nil && IsLMQ(cfg.TopicName) { // it is what it is
			continue
		}
		old, b := t.table.latestLocked(cfg.TopicName)
		next, err := t.mergeLocked(old, cfg)
		if err != nil {
			t.table.mu.Unlock()
			return false, err
		}
		if old != nil && equalTopics(old, next) {
			if b != nil && last == nil {
				last = b
			}
			continue
		}
		news = append(news, next)
	}
	for _, next := range news {
		last = t.table.stageLocked(next.TopicName, next)
	}
	t.table.mu.Unlock()
	if err := waitFor(last); err != nil {
		return false, fmt.Errorf("put %d topics: %w", len(news), err)
	}
	for _, next := range news {
		t.opts.Logger.Info("topic set", "topic", next.TopicName, "read", next.ReadQueueNums, "write", next.WriteQueueNums,
			"perm", next.Perm, "order", next.Order, "attributes", next.Attributes)
	}
	return len(news) > 0, nil
}

// mergeLocked returns what the table shall hold after a Put of cfg over old.
func (t *Topics) mergeLocked(old, cfg *codec.TopicConfig) (*codec.TopicConfig, error) {
	if err := checkName(cfg.TopicName); err != nil {
		return nil, err
	}
	next := cloneTopic(cfg)
	var err error
	if old == nil {
		if err := t.table.roomLocked(); err != nil {
			return nil, err
		}
		next.Attributes, err = alterAttributes(topicAttributes, true, nil, cfg.Attributes)
	} else {
		next.Unknown = old.Unknown
		next.Attributes, err = alterAttributes(topicAttributes, false, old.Attributes, cfg.Attributes)
	}
	next.Attributes = sharedIfNone(next.Attributes)
	return next, err
}

// MarkOrdered sets the order flag of those named topics that exist, as a name server's answer to a registration asks.
// Apache: TopicConfigManager.updateOrderTopicConfig.
func (t *Topics) MarkOrdered(names []string) error {
	var last *batch[codec.TopicConfig]
	t.table.mu.Lock()
	for _, name := range names {
		if old, _ := t.table.latestLocked(name); old != nil && !old.Order {
			cfg := cloneTopic(old)
			cfg.Order = true
			last = t.table.stageLocked(name, cfg)
		}
	}
	t.table.mu.Unlock()
	return waitFor(last)
}

// Delete removes a topic; false when there is none.
func (t *Topics) Delete(name string) (bool, error) {
	t.table.mu.Lock()
	old, b := t.table.latestLocked(name)
	if old != nil {
		b = t.table.stageLocked(name, nil)
	}
	t.table.mu.Unlock()
	if err := waitFor(b); err != nil {
		return false, fmt.Errorf("delete topic %s: %w", name, err)
	}
	if old != nil {
		t.opts.Logger.Info("topic deleted", "topic", name)
	}
	return old != nil, nil
}

func cloneTopic(cfg *codec.TopicConfig) *codec.TopicConfig {
	c := *cfg
	c.Attributes = sharedIfNone(maps.Clone(cfg.Attributes))
	return &c
}

// noAttributes are those of all topics that have none: each send looks at how many its topic has, and among many topics each would
// have a line of memory of its own.
var noAttributes = make(map[string]string)

func sharedIfNone(attributes map[string]string) map[string]string {
	if len(attributes) == 0 {
		return noAttributes
	}
	return attributes
}

func equalTopics(a, b *codec.TopicConfig) bool {
	return a.TopicName == b.TopicName && a.Order == b.Order && a.Perm == b.Perm && a.ReadQueueNums == b.ReadQueueNums &&
		a.WriteQueueNums == b.WriteQueueNums && a.TopicFilterType == b.TopicFilterType && a.TopicSysFlag == b.TopicSysFlag &&
		maps.Equal(a.Attributes, b.Attributes)
}

// IsSystem reports whether name is a topic of the broker's own: a well-known one, the cluster's, the broker's, one that
// begins with rmq_sys_. Apache: TopicValidator.isSystemTopic.
func (t *Topics) IsSystem(name string) bool {
	return t.system[name] || strings.HasPrefix(name, TopicSystemPrefix)
}

// SystemTopics returns the names of the system topics in alphabetical order. Apache: TopicValidator.getSystemTopicSet.
func (t *Topics) SystemTopics() []string { return slices.Sorted(maps.Keys(t.system)) }
