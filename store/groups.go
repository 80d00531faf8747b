package store

import "github.com/apogee-mq/apogee/codec"

// GroupsOptions are the settings of the group table.
type GroupsOptions struct {
	TableOptions
	// AutoCreate is autoCreateSubscriptionGroup; SetAutoCreate changes it later.
	AutoCreate bool
}

// Groups is the table of consumer groups, subscriptionGroup.json. Configurations in it are never changed, only replaced.
// Lookups take no lock. Apache: SubscriptionGroupManager.
type Groups struct{}

// OpenGroups reads the table from path (and path.bak) and adds the system groups that are missing.
func OpenGroups(path string, opts GroupsOptions) (*Groups, error) { return &Groups{}, nil }

// Close writes what is not yet written and ends the table's goroutine.
func (g *Groups) Close() error { return nil }

// Get returns the configuration of a group that exists.
func (g *Groups) Get(name string) (*codec.SubscriptionGroupConfig, bool) { return nil, false }

// GetBytes is Get for a name that lies in a frame; it does not allocate.
func (g *Groups) GetBytes(name []byte) (*codec.SubscriptionGroupConfig, bool) { return nil, false }

// Find is Get that creates the group when groups may create themselves and the name is valid. It does not wait for the
// disk: a group that was created is written soon after. It does not allocate for a group that exists. Apache:
// SubscriptionGroupManager.findSubscriptionGroupConfig.
func (g *Groups) Find(name []byte) (*codec.SubscriptionGroupConfig, bool) { return nil, false }

// Len returns the number of groups.
func (g *Groups) Len() int { return 0 }

// All returns every group in the order of their names.
func (g *Groups) All() []*codec.SubscriptionGroupConfig { return nil }

// DataVersion returns the version of what lookups see.
func (g *Groups) DataVersion() codec.DataVersion { return codec.DataVersion{} }

// Snapshot returns all groups, what is forbidden to them, and the version that belongs to both. It is the caller's.
func (g *Groups) Snapshot() codec.SubscriptionGroupTable { return codec.SubscriptionGroupTable{} }

// SetAutoCreate switches autoCreateSubscriptionGroup.
func (g *Groups) SetAutoCreate(on bool) {}

// Put creates or replaces a group and returns when it is on disk. Attributes as in Topics.Put; Java knows none for
// groups. cfg is not kept. Apache: SubscriptionGroupManager.updateSubscriptionGroupConfig.
func (g *Groups) Put(cfg *codec.SubscriptionGroupConfig) (changed bool, err error) { return false, nil }

// PutAll is Put for several groups in one write.
func (g *Groups) PutAll(cfgs []*codec.SubscriptionGroupConfig) error { return nil }

// Delete removes a group and what is forbidden to it, and returns when that is on disk; false when there is none.
func (g *Groups) Delete(name string) (bool, error) { return false, nil }

// Bits of the forbidden table. Apache: PermName of UPDATE_AND_GET_GROUP_FORBIDDEN.
const ForbiddenRead int32 = 1 << 2

// Forbidden returns the bits forbidden to a group on a topic, 0 for none; it does not allocate.
func (g *Groups) Forbidden(group, topic []byte) int32 { return 0 }

// SetForbidden replaces the bits forbidden to a group on a topic and returns when that is on disk.
func (g *Groups) SetForbidden(group, topic string, bits int32) error { return nil }

// IsSystemGroup reports whether a group is one of the broker's own. Apache: MixAll.isSysConsumerGroup and
// isPredefinedGroup.
func IsSystemGroup(name string) bool { return false }
