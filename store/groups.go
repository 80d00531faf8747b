package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// systemGroups are the groups that a broker creates at its start. Apache: SubscriptionGroupManager.init.
var systemGroups = []string{
	"TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL",
	"CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER", "CID_RMQ_SYS_TRANS",
}

// predefinedGroups are names that Java's clients and tools use beside them. Apache: MixAll.
var predefinedGroups = []string{
	"DEFAULT_CONSUMER", "DEFAULT_PRODUCER", "SCHEDULE_CONSUMER", "__MONITOR_CONSUMER", "CLIENT_INNER_PRODUCER",
	"SELF_TEST_P_GROUP",
}

const systemGroupPrefix = "CID_RMQ_SYS_"

// ForbiddenRead is the bit in the forbidden table that keeps a group from reading a topic. Apache: PermName.
const ForbiddenRead int32 = 1 << 2

// GroupsOptions are the settings of the group table.
type GroupsOptions struct {
	TableOptions
	// AutoCreate is autoCreateSubscriptionGroup; SetAutoCreate changes it later.
	AutoCreate bool
	// LMQ makes every group exist that is named like a light message queue.
	LMQ bool
}

// Groups is the table of consumer groups, subscriptionGroup.json. Configurations in it are never changed, only replaced.
// Lookups take no lock. Apache: SubscriptionGroupManager.
type Groups struct {
	opts       GroupsOptions
	table      *confTable[codec.SubscriptionGroupConfig]
	unknown    codec.UnknownFields
	autoCreate atomic.Bool
	lmq        *implicit[codec.SubscriptionGroupConfig] // nil without light message queues
	// forbidden is group to topic to bits; replaced under table.mu, never changed.
	forbidden atomic.Pointer[map[string]map[string]int32]
}

// OpenGroups reads the table from path (and path.bak) and adds the system groups that are missing.
func OpenGroups(path string, opts GroupsOptions) (*Groups, error) {
	opts.fill()
	file := newJSONFile(path, opts.TableOptions)
	stored, err := loadJSON[codec.SubscriptionGroupTable](file)
	if err != nil {
		return nil, err
	}
	g := &Groups{opts: opts, lmq: newLMQGroups(opts.LMQ)}
	g.autoCreate.Store(opts.AutoCreate)
	values, version, missing := opts.merge(stored)
	forbidden := map[string]map[string]int32{}
	if stored != nil {
		g.unknown = stored.Unknown
		if stored.ForbiddenTable != nil {
			forbidden = stored.ForbiddenTable
		}
	}
	g.forbidden.Store(&forbidden)
	g.table = newConfTable(file, values, version)
	g.table.text.member, g.table.whole = "subscriptionGroupTable", g.whole
	g.table.start(missing > 0)
	return g, nil
}

// merge puts what is stored, nil for nothing, over the system groups and tells how many of those are new.
func (o *GroupsOptions) merge(stored *codec.SubscriptionGroupTable) (values map[string]*codec.SubscriptionGroupConfig, version codec.DataVersion, missing int) {
	values = make(map[string]*codec.SubscriptionGroupConfig)
	for _, name := range systemGroups {
		values[name] = newGroup(name)
	}
	missing = len(values)
	if stored == nil {
		return values, codec.DataVersion{TimestampMs: o.Now().UnixMilli()}, missing
	}
	for name, cfg := range stored.SubscriptionGroupTable {
		if cfg == nil || checkName(name) != nil {
			o.Logger.Warn("group in table has no configuration or no possible name, left out", "group", name)
			continue
		}
		if values[name] != nil {
			missing--
		}
		cfg.GroupName = name
		values[name] = cfg
	}
	return values, stored.DataVersion, missing
}

func (g *Groups) whole(values map[string]*codec.SubscriptionGroupConfig, version codec.DataVersion) any {
	return &codec.SubscriptionGroupTable{DataVersion: version, ForbiddenTable: *g.forbidden.Load(), SubscriptionGroupTable: values, Unknown: g.unknown}
}

// Close writes what is not yet written and ends the table's goroutine.
func (g *Groups) Close() error { return g.table.close() }

// Get returns the configuration of a group that exists.
func (g *Groups) Get(name string) (*codec.SubscriptionGroupConfig, bool) {
	cfg := g.table.get(name)
	if cfg == nil {
		cfg = implicitFor(g.lmq, name)
	}
	return cfg, cfg != nil
}

// GetBytes is Get for a name that lies in a frame; it does not allocate.
func (g *Groups) GetBytes(name []byte) (*codec.SubscriptionGroupConfig, bool) {
	cfg := g.table.getBytes(name)
	if cfg == nil {
		cfg = implicitFor(g.lmq, name)
	}
	return cfg, cfg != nil
}

// Find is Get that creates the group when groups may create themselves and the name is valid. It does not wait for the
// disk: a group that was created is written soon after. It does not allocate for a group that exists. Apache:
// SubscriptionGroupManager.findSubscriptionGroupConfig.
func (g *Groups) Find(name []byte) (*codec.SubscriptionGroupConfig, bool) {
	if cfg, ok := g.GetBytes(name); ok {
		return cfg, true
	}
	return g.create(string(name))
}

func (g *Groups) create(name string) (*codec.SubscriptionGroupConfig, bool) {
	if !g.autoCreate.Load() && !strings.HasPrefix(name, systemGroupPrefix) || ValidateGroup(name) != nil {
		return nil, false
	}
	g.table.mu.Lock()
	defer g.table.mu.Unlock()
	if cfg := g.table.get(name); cfg != nil {
		return cfg, true
	}
	if g.table.closed || g.table.roomLocked() != nil {
		return nil, false
	}
	cfg := newGroup(name)
	g.table.putNowLocked(name, cfg)
	g.opts.Logger.Info("group created", "group", name)
	return cfg, true
}

// Len returns the number of groups.
func (g *Groups) Len() int { return g.table.names.Len() }

// All returns every group in the order of their names.
func (g *Groups) All() []*codec.SubscriptionGroupConfig { return g.table.sorted() }

// DataVersion returns the version of what lookups see.
func (g *Groups) DataVersion() codec.DataVersion { return *g.table.version.Load() }

// Snapshot returns all groups, what is forbidden to them, and the version that belongs to both. Its maps may be read but
// not changed.
func (g *Groups) Snapshot() codec.SubscriptionGroupTable {
	g.table.mu.Lock()
	defer g.table.mu.Unlock()
	return codec.SubscriptionGroupTable{
		DataVersion: *g.table.version.Load(), ForbiddenTable: *g.forbidden.Load(), SubscriptionGroupTable: g.table.copyLocked(),
	}
}

// SetAutoCreate switches autoCreateSubscriptionGroup.
func (g *Groups) SetAutoCreate(on bool) { g.autoCreate.Store(on) }

// Put creates or replaces a group and returns when it is on disk. Attributes as in Topics.Put. cfg is not kept. Apache: SubscriptionGroupManager.updateSubscriptionGroupConfig.
func (g *Groups) Put(cfg *codec.SubscriptionGroupConfig) error {
	return g.PutAll([]*codec.SubscriptionGroupConfig{cfg})
}

// PutAll is Put for several groups in one write; none is changed when one has bad attributes.
func (g *Groups) PutAll(cfgs []*codec.SubscriptionGroupConfig) error {
	if len(cfgs) == 0 {
		return nil
	}
	g.table.mu.Lock()
	news := make([]*codec.SubscriptionGroupConfig, 0, len(cfgs))
	for _, cfg := range cfgs {
		if g.lmq != nil && IsLMQ(cfg.GroupName) { // it is what it is
			continue
		}
		next, err := g.mergeLocked(cfg)
		if err != nil {
			g.table.mu.Unlock()
			return err
		}
		news = append(news, next)
	}
	var b *batch[codec.SubscriptionGroupConfig]
	for _, next := range news {
		b = g.table.stageLocked(next.GroupName, next)
	}
	g.table.mu.Unlock()
	if err := waitFor(b); err != nil {
		return fmt.Errorf("put %d groups: %w", len(news), err)
	}
	for _, next := range news {
		g.opts.Logger.Info("group set", "group", next.GroupName, "retries", next.RetryMaxTimes, "consume", next.ConsumeEnable)
	}
	return nil
}

func (g *Groups) mergeLocked(cfg *codec.SubscriptionGroupConfig) (*codec.SubscriptionGroupConfig, error) {
	if err := checkName(cfg.GroupName); err != nil {
		return nil, err
	}
	next := *cfg
	old, _ := g.table.latestLocked(cfg.GroupName)
	var err error
	if old == nil {
		if err := g.table.roomLocked(); err != nil {
			return nil, err
		}
		next.Attributes, err = alterAttributes(groupAttributes, true, nil, cfg.Attributes)
		return &next, err
	}
	next.Unknown = old.Unknown
	next.Attributes, err = alterAttributes(groupAttributes, false, old.Attributes, cfg.Attributes)
	return &next, err
}

// Delete removes a group and what is forbidden to it, and returns when that is on disk; false when there is none.
func (g *Groups) Delete(name string) (bool, error) {
	g.table.mu.Lock()
	g.forbidLocked(name, nil)
	old, b := g.table.latestLocked(name)
	if old != nil {
		b = g.table.stageLocked(name, nil)
	}
	g.table.mu.Unlock()
	if err := waitFor(b); err != nil {
		return false, fmt.Errorf("delete group %s: %w", name, err)
	}
	if old != nil {
		g.opts.Logger.Info("group deleted", "group", name)
	}
	return old != nil, nil
}

// Forbidden returns the bits forbidden to a group on a topic, 0 for none; it does not allocate.
func (g *Groups) Forbidden(group, topic []byte) int32 {
	forbidden := *g.forbidden.Load()
	if len(forbidden) == 0 {
		return 0
	}
	return max(0, forbidden[string(group)][string(topic)])
}

// SetForbidden replaces the bits forbidden to a group on a topic, at once, and returns when that is on disk. Apache:
// SubscriptionGroupManager.updateForbidden, which for no bits forgets the group's other topics too and writes nothing.
func (g *Groups) SetForbidden(group, topic string, bits int32) error {
	if err := errors.Join(checkName(group), checkName(topic)); err != nil {
		return err
	}
	g.table.mu.Lock()
	topics := maps.Clone((*g.forbidden.Load())[group])
	if topics == nil {
		topics = make(map[string]int32)
	}
	if bits > 0 {
		topics[topic] = bits
	} else {
		delete(topics, topic)
	}
	if len(*g.forbidden.Load()) >= maxTableNames || len(topics) >= maxTableNames {
		g.table.mu.Unlock()
		return fmt.Errorf("%w: forbid %s to %s", ErrTableFull, topic, group)
	}
	g.forbidLocked(group, topics)
	b := g.table.batchLocked()
	g.table.mu.Unlock()
	if err := b.wait(); err != nil {
		return fmt.Errorf("forbid %s to %s: %w", topic, group, err)
	}
	return nil
}

// forbidLocked replaces what is forbidden to a group.
func (g *Groups) forbidLocked(group string, topics map[string]int32) {
	old := *g.forbidden.Load()
	if _, ok := old[group]; !ok && len(topics) == 0 {
		return
	}
	next := maps.Clone(old)
	if len(topics) == 0 {
		delete(next, group)
	} else {
		next[group] = topics
	}
	g.forbidden.Store(&next)
	g.table.bumpLocked(1)
	g.table.dirty = true
	g.table.poke()
}

func newGroup(name string) *codec.SubscriptionGroupConfig {
	cfg := codec.NewSubscriptionGroupConfig(name)
	cfg.Attributes = map[string]string{}
	return cfg
}

// IsSystemGroup reports whether a name belongs to the broker or to Java's clients and tools. Apache:
// MixAll.isSysConsumerGroup and isPredefinedGroup.
func IsSystemGroup(name string) bool {
	return strings.HasPrefix(name, systemGroupPrefix) || slices.Contains(systemGroups, name) ||
		slices.Contains(predefinedGroups, name)
}
