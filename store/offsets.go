package store

import (
	"errors"

	"github.com/apogee-mq/apogee/codec"
)

// ErrOffsetReset says that a commit was not taken because a reset offset waits for the group to pull.
var ErrOffsetReset = errors.New("offset has been previously reset")

// ErrTableFull says that a table is at its bound; nothing was changed.
var ErrTableFull = errors.New("table is full")

// OffsetsOptions are the settings of the offset table.
type OffsetsOptions struct {
	TableOptions
	// MaxOffsets bounds the number of offsets kept. The default value is 4,000,000.
	MaxOffsets int
}

// Offsets is the table of what groups have consumed, consumerOffset.json. It has no goroutine: whoever owns it calls
// Persist from time to time. Apache: ConsumerOffsetManager.
type Offsets struct{}

// OpenOffsets reads the table from path (and path.bak).
func OpenOffsets(path string, opts OffsetsOptions) (*Offsets, error) { return &Offsets{}, nil }

// Persist writes the table if it changed since the last Persist.
func (o *Offsets) Persist() error { return nil }

// Close is Persist.
func (o *Offsets) Close() error { return o.Persist() }

// Commit stores an offset, also one lower than before. It allocates only for the first offset of a group in a queue. The
// error is ErrOffsetReset or ErrTableFull.
func (o *Offsets) Commit(group, topic []byte, queueID int32, queueOffset int64) error { return nil }

// Query returns the pending reset of a queue, or else what was committed.
func (o *Offsets) Query(group, topic []byte, queueID int32) (queueOffset int64, ok bool) {
	return 0, false
}

// CommitPull notes where a group last pulled; it is not persisted.
func (o *Offsets) CommitPull(group, topic []byte, queueID int32, queueOffset int64) {}

// QueryPull returns where a group last pulled, or else what Query returns.
func (o *Offsets) QueryPull(group, topic []byte, queueID int32) (queueOffset int64, ok bool) {
	return 0, false
}

// SetReset makes queueOffset the committed offset and the answer of the queue's next pull; until then Commit refuses.
// Apache: ConsumerOffsetManager.assignResetOffset.
func (o *Offsets) SetReset(group, topic string, queueID int32, queueOffset int64) error { return nil }

// HasReset reports whether a reset waits.
func (o *Offsets) HasReset(group, topic []byte, queueID int32) bool { return false }

// TakeReset returns and removes the reset that waits. It costs next to nothing while none does.
func (o *Offsets) TakeReset(group, topic []byte, queueID int32) (queueOffset int64, ok bool) {
	return 0, false
}

// OfGroup returns the committed offsets of a group in a topic by queue, nil when it has none. The map is the caller's.
func (o *Offsets) OfGroup(group, topic string) map[int32]int64 { return nil }

// TopicsOf returns the topics that a group has offsets of, in alphabetical order.
func (o *Offsets) TopicsOf(group string) []string { return nil }

// GroupsOf returns the groups that have offsets of a topic, in alphabetical order.
func (o *Offsets) GroupsOf(topic string) []string { return nil }

// Clone gives dst the offsets of src in a topic. Apache: ConsumerOffsetManager.cloneOffset.
func (o *Offsets) Clone(src, dst, topic string) error { return nil }

// DeleteGroup forgets all offsets of a group.
func (o *Offsets) DeleteGroup(group string) {}

// DeleteTopic forgets all offsets of a topic.
func (o *Offsets) DeleteTopic(topic string) {}

// Snapshot returns the whole table. It is the caller's.
func (o *Offsets) Snapshot() codec.ConsumerOffsetTable { return codec.ConsumerOffsetTable{} }

// DataVersion returns the version of the table; it moves with every 500th commit.
func (o *Offsets) DataVersion() codec.DataVersion { return codec.DataVersion{} }
