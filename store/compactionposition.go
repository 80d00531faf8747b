package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// compactionPositions is compaction/position-checkpoint: the queue offset up to which each queue was compacted, under
// topic_queueId. A wrong one costs work and no message. Apache: CompactionPositionMgr.
type compactionPositions struct {
	file *jsonFile

	mu    sync.Mutex // guards table, and saving
	table compactionPositionTable
}

// compactionPositionTable is the file's content.
type compactionPositionTable struct {
	Empty          bool             `json:"empty"`
	QueueOffsetMap map[string]int64 `json:"queueOffsetMap"`
}

func compactionPositionKey(topic string, queueID int32) string {
	return fmt.Sprintf("%s_%d", topic, queueID)
}

// load reads the file. One that cannot be read is as good as none: everything is then compacted once more.
func (p *compactionPositions) load(root string, opts *Options) {
	p.file = newJSONFile(filepath.Join(root, "position-checkpoint"), TableOptions{Now: opts.Now, Faults: opts.Faults, Logger: opts.Logger})
	p.table = compactionPositionTable{QueueOffsetMap: make(map[string]int64)}
	stored, err := loadJSON[compactionPositionTable](p.file)
	if err != nil {
		opts.Logger.Warn("positions of compaction are lost, every compaction log is compacted anew", "err", err)
	}
	if stored != nil && stored.QueueOffsetMap != nil {
		p.table.QueueOffsetMap = stored.QueueOffsetMap
	}
}

// get returns the position of a queue, -1 for none.
func (p *compactionPositions) get(topic string, queueID int32) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.table.QueueOffsetMap[compactionPositionKey(topic, queueID)]; ok {
		return at
	}
	return -1
}

// set moves the position of a queue and waits for the disk.
func (p *compactionPositions) set(topic string, queueID int32, queueOffset int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.QueueOffsetMap[compactionPositionKey(topic, queueID)] = queueOffset
	return p.saveLocked()
}

// bound drops a position that is not below limit: it is that of a deleted topic with the same name, which Java leaves
// behind. The file keeps it until the next set.
func (p *compactionPositions) bound(topic string, queueID int32, limit int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key := compactionPositionKey(topic, queueID); p.table.QueueOffsetMap[key] >= limit {
		delete(p.table.QueueOffsetMap, key)
	}
}

// forget drops the positions of topics.
func (p *compactionPositions) forget(topics []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.table.QueueOffsetMap)
	for key := range p.table.QueueOffsetMap {
		if i := strings.LastIndexByte(key, '_'); i >= 0 && slices.Contains(topics, key[:i]) {
			delete(p.table.QueueOffsetMap, key)
		}
	}
	if len(p.table.QueueOffsetMap) == before {
		return nil
	}
	return p.saveLocked()
}

func (p *compactionPositions) saveLocked() error {
	p.table.Empty = len(p.table.QueueOffsetMap) == 0
	text, err := codec.MarshalPrettyJSON(&p.table)
	if err != nil {
		return err
	}
	return p.file.save(text)
}
