package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// ErrOffsetReset says that a commit was not taken because a reset offset waits for the group to pull.
var ErrOffsetReset = errors.New("offset has been previously reset")

// ErrTableFull says that a table is at its bound; nothing was changed.
var ErrTableFull = errors.New("table is full")

const (
	offsetShards = 64
	// noOffset stands for an offset that is not there; clients do commit -1.
	noOffset = math.MinInt64
	// offsetVersionStep is how many commits move the data version. Apache: consumerOffsetUpdateVersionStep.
	offsetVersionStep = 500
	// groupSeparator stands between topic and group in the file's keys.
	groupSeparator = '@'
	// broadcastSuffix makes the group under which Java keeps the offsets of broadcasting clients. Such a group is no group
	// where groups or topics are listed. Apache: BroadcastOffsetManager.
	broadcastSuffix = "@broadcast"
)

// OffsetsOptions are the settings of the offset table.
type OffsetsOptions struct {
	TableOptions
	// MaxOffsets bounds the number of queues of groups that are kept. The default value is 4,000,000.
	MaxOffsets int
}

// Offsets is the table of what groups have consumed, consumerOffset.json. It has no goroutine: whoever owns it calls
// Persist from time to time. Apache: ConsumerOffsetManager.
type Offsets struct {
	opts    OffsetsOptions
	file    *jsonFile
	unknown codec.UnknownFields
	lmq     bool // groups named like light message queues have one offset a topic
	seed    maphash.Seed
	shards  [offsetShards]offsetShard

	entries atomic.Int64 // queues in all shards
	resets  atomic.Int64 // pending ones in all shards
	commits atomic.Int64
	dirty   atomic.Bool
	version atomic.Pointer[codec.DataVersion]

	persisting sync.Mutex // one Persist at a time
}

// offsetShard holds the groups whose key hashes to it.
type offsetShard struct {
	mu     sync.Mutex
	key    []byte // scratch, so that a lookup need not build a string
	groups map[string]*groupOffsets
	offsetIndex
	_ [8]byte // a cache line a shard
}

// groupOffsets are the offsets of a group in one topic.
type groupOffsets struct {
	topic, group string
	queues       map[int32]queueOffsets
	// inGroup and inTopic are the places in the lists of the index.
	inGroup, inTopic int
}

// queueOffsets are a group's offsets in one queue, each noOffset when it is not there.
type queueOffsets struct{ committed, pulled, reset int64 }

var noOffsets = queueOffsets{noOffset, noOffset, noOffset}

// offsetFile is consumerOffset.json. groupTopicMap can be told from the offsets; Java writes it and ignores it.
type offsetFile struct {
	DataVersion   codec.DataVersion          `json:"dataVersion"`
	GroupTopicMap map[string][]string        `json:"groupTopicMap"`
	LMQOffsets    map[string]int64           `json:"lmqOffsetTable,omitempty"`
	OffsetTable   map[string]map[int32]int64 `json:"offsetTable"`

	Unknown codec.UnknownFields `json:"-"`
}

// OpenOffsets reads the table from path (and path.bak).
func OpenOffsets(path string, opts OffsetsOptions) (*Offsets, error) {
	o := newOffsets(path, opts)
	stored, err := loadJSON[offsetFile](o.file)
	if err != nil {
		return nil, err
	}
	if stored != nil {
		o.fill(stored)
	}
	return o, nil
}

func newOffsets(path string, opts OffsetsOptions) *Offsets {
	opts.fill()
	if opts.MaxOffsets <= 0 {
		opts.MaxOffsets = 4_000_000
	}
	o := &Offsets{opts: opts, file: newJSONFile(path, opts.TableOptions), seed: maphash.MakeSeed()}
	for i := range o.shards {
		o.shards[i].groups = make(map[string]*groupOffsets)
		o.shards[i].offsetIndex = offsetIndex{make(map[string][]*groupOffsets), make(map[string][]*groupOffsets)}
	}
	o.version.Store(&codec.DataVersion{TimestampMs: opts.Now().UnixMilli()})
	return o
}

func (o *Offsets) fill(stored *offsetFile) {
	o.unknown = stored.Unknown
	o.version.Store(&stored.DataVersion)
	for key, queues := range stored.OffsetTable {
		topic, group, _ := strings.Cut(key, string(groupSeparator))
		g := &groupOffsets{topic: topic, group: group, queues: make(map[int32]queueOffsets, len(queues))}
		for queueID, queueOffset := range queues {
			g.queues[queueID] = queueOffsets{queueOffset, noOffset, noOffset}
		}
		// A key without a separator comes back with one; Java knows no such key.
		o.shard([]byte(group), []byte(topic)).addLocked(topic+string(groupSeparator)+group, g)
		o.entries.Add(int64(len(queues)))
	}
	o.fillLMQ(stored.LMQOffsets)
}

// Persist writes the table if it changed since the last Persist.
func (o *Offsets) Persist() error {
	o.persisting.Lock()
	defer o.persisting.Unlock()
	if !o.dirty.Swap(false) {
		return nil
	}
	text, err := codec.MarshalPrettyJSON(o.fileContent())
	if err == nil {
		err = o.file.save(text)
	}
	if err != nil {
		o.dirty.Store(true)
		return fmt.Errorf("persist offsets: %w", err)
	}
	return nil
}

func (o *Offsets) fileContent() *offsetFile {
	snapshot := o.Snapshot()
	f := &offsetFile{
		DataVersion: snapshot.DataVersion, OffsetTable: snapshot.OffsetTable, LMQOffsets: snapshot.LMQOffsets, Unknown: o.unknown,
		GroupTopicMap: make(map[string][]string),
	}
	for key := range f.OffsetTable {
		if topic, group, ok := strings.Cut(key, string(groupSeparator)); ok && isGroup(group) {
			f.GroupTopicMap[group] = append(f.GroupTopicMap[group], topic)
		}
	}
	for _, topics := range f.GroupTopicMap {
		slices.Sort(topics)
	}
	return f
}

// Close is Persist.
func (o *Offsets) Close() error { return o.Persist() }

func (o *Offsets) shard(group, topic []byte) *offsetShard {
	hash := maphash.Bytes(o.seed, group)*31 + maphash.Bytes(o.seed, topic)
	return &o.shards[hash%offsetShards]
}

// findLocked returns a group's offsets in a topic or nil, without building a string.
func (s *offsetShard) findLocked(group, topic []byte) *groupOffsets {
	s.key = append(append(append(s.key[:0], topic...), groupSeparator), group...)
	return s.groups[string(s.key)]
}

// update changes a queue's offsets by change, which gets noOffsets for a new queue. It allocates only for a new queue.
func (o *Offsets) update(group, topic []byte, queueID int32, change func(q queueOffsets, value int64) queueOffsets, value int64) error {
	queueID = o.queueOf(group, queueID)
	s := o.shard(group, topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.findLocked(group, topic)
	q, known := noOffsets, false
	if g != nil {
		if has, ok := g.queues[queueID]; ok {
			q, known = has, true
		}
	}
	if !known && o.entries.Load() >= int64(o.opts.MaxOffsets) {
		return fmt.Errorf("%w: %d offsets", ErrTableFull, o.opts.MaxOffsets)
	}
	if g == nil {
		g = &groupOffsets{topic: string(topic), group: string(group), queues: make(map[int32]queueOffsets)}
		s.addLocked(string(s.key), g)
	}
	g.queues[queueID] = change(q, value)
	if !known {
		o.entries.Add(1)
	}
	return nil
}

// lookup returns a queue's offsets, noOffsets for an unknown one.
func (o *Offsets) lookup(group, topic []byte, queueID int32) queueOffsets {
	queueID = o.queueOf(group, queueID)
	s := o.shard(group, topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.findLocked(group, topic); g != nil {
		if q, ok := g.queues[queueID]; ok {
			return q
		}
	}
	return noOffsets
}

// changed notes that the file is behind.
func (o *Offsets) changed() {
	if !o.dirty.Load() {
		o.dirty.Store(true)
	}
}

func (o *Offsets) bump() {
	for {
		old := o.version.Load()
		next := old.Next(0, o.opts.Now().UnixMilli())
		if o.version.CompareAndSwap(old, &next) {
			return
		}
	}
}

// Commit stores an offset, also one lower than before. It allocates only for the first offset of a group in a queue. The
// error is ErrOffsetReset or ErrTableFull.
func (o *Offsets) Commit(group, topic []byte, queueID int32, queueOffset int64) error {
	queueID = o.queueOf(group, queueID)
	s := o.shard(group, topic)
	s.mu.Lock()
	if g := s.findLocked(group, topic); g != nil {
		if q, ok := g.queues[queueID]; ok {
			if q.reset != noOffset {
				s.mu.Unlock()
				return ErrOffsetReset
			}
			q.committed = queueOffset
			g.queues[queueID] = q
			s.mu.Unlock()
			o.noteCommit()
			return nil
		}
	}
	s.mu.Unlock()
	if err := o.update(group, topic, queueID, setCommitted, queueOffset); err != nil {
		return err
	}
	o.noteCommit()
	return nil
}

func (o *Offsets) noteCommit() {
	o.changed()
	if o.commits.Add(1)%offsetVersionStep == 0 {
		o.bump()
	}
}

func setCommitted(q queueOffsets, queueOffset int64) queueOffsets {
	q.committed = queueOffset
	return q
}

func setPulled(q queueOffsets, queueOffset int64) queueOffsets {
	q.pulled = queueOffset
	return q
}

// Query returns the pending reset of a queue, or else what was committed.
func (o *Offsets) Query(group, topic []byte, queueID int32) (queueOffset int64, ok bool) {
	q := o.lookup(group, topic, queueID)
	if q.reset != noOffset {
		return q.reset, true
	}
	return q.committed, q.committed != noOffset
}

// CommitPull notes where a group last pulled; it is not persisted, and not kept when the table is full.
func (o *Offsets) CommitPull(group, topic []byte, queueID int32, queueOffset int64) {
	// Being full shows at the next Commit, which has somebody to tell.
	_ = o.update(group, topic, queueID, setPulled, queueOffset)
}

// QueryPull returns where a group last pulled, or else what Query returns.
func (o *Offsets) QueryPull(group, topic []byte, queueID int32) (queueOffset int64, ok bool) {
	if q := o.lookup(group, topic, queueID); q.pulled != noOffset {
		return q.pulled, true
	}
	return o.Query(group, topic, queueID)
}

// SetReset makes queueOffset the committed offset and the answer of the queue's next pull; until then Commit refuses.
// Apache: ConsumerOffsetManager.assignResetOffset.
func (o *Offsets) SetReset(group, topic string, queueID int32, queueOffset int64) error {
	if group == "" || topic == "" || queueID < 0 || queueOffset < 0 {
		return fmt.Errorf("%w: reset %s of %q to %d in queue %d", ErrIllegal, topic, group, queueOffset, queueID)
	}
	err := o.update([]byte(group), []byte(topic), queueID, func(q queueOffsets, value int64) queueOffsets {
		if q.reset == noOffset {
			o.resets.Add(1)
		}
		q.reset, q.committed = value, value
		return q
	}, queueOffset)
	if err == nil {
		o.changed()
	}
	return err
}

// HasReset reports whether a reset waits.
func (o *Offsets) HasReset(group, topic []byte, queueID int32) bool {
	return o.resets.Load() > 0 && o.lookup(group, topic, queueID).reset != noOffset
}

// TakeReset returns and removes the reset that waits. It costs next to nothing while none does.
func (o *Offsets) TakeReset(group, topic []byte, queueID int32) (queueOffset int64, ok bool) {
	if o.resets.Load() == 0 {
		return 0, false
	}
	queueID = o.queueOf(group, queueID)
	s := o.shard(group, topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.findLocked(group, topic)
	if g == nil {
		return 0, false
	}
	q, known := g.queues[queueID]
	if !known || q.reset == noOffset {
		return 0, false
	}
	queueOffset, q.reset = q.reset, noOffset
	g.queues[queueID] = q
	o.resets.Add(-1)
	return queueOffset, true
}

// OfGroup returns the committed offsets of a group in a topic by queue, nil when it has none. The map is the caller's.
func (o *Offsets) OfGroup(group, topic string) map[int32]int64 {
	s := o.shard([]byte(group), []byte(topic))
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.findLocked([]byte(group), []byte(topic)); g != nil {
		return g.committed()
	}
	return nil
}

// committed returns the committed offsets, nil when there are none.
func (g *groupOffsets) committed() map[int32]int64 {
	var offsets map[int32]int64
	for queueID, q := range g.queues {
		if q.committed == noOffset {
			continue
		}
		if offsets == nil {
			offsets = make(map[int32]int64, len(g.queues))
		}
		offsets[queueID] = q.committed
	}
	return offsets
}

func isGroup(name string) bool { return strings.IndexByte(name, groupSeparator) < 0 }

// any reports whether something is committed.
func (g *groupOffsets) any() bool {
	for _, q := range g.queues {
		if q.committed != noOffset {
			return true
		}
	}
	return false
}

// each calls fn for every group's offsets in a topic, under the shard's lock. fn returns false to have them deleted.
func (o *Offsets) each(fn func(g *groupOffsets) (keep bool)) {
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		for key, g := range s.groups {
			if fn(g) {
				continue
			}
			s.removeLocked(key, g)
			o.entries.Add(-int64(len(g.queues)))
			for _, q := range g.queues {
				if q.reset != noOffset {
					o.resets.Add(-1)
				}
			}
			o.changed()
		}
		s.mu.Unlock()
	}
}

// Clone gives dst the committed offsets of src in a topic in place of its own. Apache:
// ConsumerOffsetManager.cloneOffset.
func (o *Offsets) Clone(src, dst, topic string) error {
	offsets := o.OfGroup(src, topic)
	if offsets == nil {
		return nil
	}
	o.delete(func(g *groupOffsets) bool { return g.group == dst && g.topic == topic })
	for queueID, queueOffset := range offsets {
		if err := o.Commit([]byte(dst), []byte(topic), queueID, queueOffset); err != nil {
			return err
		}
	}
	return nil
}

// DeleteGroup forgets all offsets of a group, pending resets too. Apache: ConsumerOffsetManager.removeOffset.
func (o *Offsets) DeleteGroup(group string) {
	o.delete(func(g *groupOffsets) bool { return strings.TrimSuffix(g.group, broadcastSuffix) == group })
}

// DeleteTopic forgets all offsets of a topic, pending resets too. Apache: ConsumerOffsetManager.cleanOffsetByTopic.
func (o *Offsets) DeleteTopic(topic string) {
	o.delete(func(g *groupOffsets) bool { return g.topic == topic })
}

func (o *Offsets) delete(match func(g *groupOffsets) bool) {
	o.each(func(g *groupOffsets) bool { return !match(g) })
}

// Snapshot returns the whole table as GET_ALL_CONSUMER_OFFSET answers it. It is the caller's.
func (o *Offsets) Snapshot() codec.ConsumerOffsetTable {
	table := codec.ConsumerOffsetTable{DataVersion: o.DataVersion(), OffsetTable: make(map[string]map[int32]int64)}
	if o.lmq {
		table.LMQOffsets = make(map[string]int64)
	}
	o.each(func(g *groupOffsets) bool {
		offsets := g.committed()
		switch lmq := o.lmq && IsLMQ(g.group); {
		case offsets == nil:
		case lmq:
			table.LMQOffsets[g.topic+string(groupSeparator)+g.group] = offsets[lmqQueueID]
		default:
			table.OffsetTable[g.topic+string(groupSeparator)+g.group] = offsets
		}
		return true
	})
	return table
}

// DataVersion returns the version of the table; it moves with every 500th commit.
func (o *Offsets) DataVersion() codec.DataVersion { return *o.version.Load() }
