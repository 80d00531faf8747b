package store

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// compactionDoubts is apogee/copying.json: {"<topic>_<queueId>": queueOffset}. The checkpoint vouches for records by their
// store time, and what catchUp copies is older than it says. So before a record is copied that way its queue offset is
// put here, on disk, and from there on every record is read after a stop that is not clean. Once all are on disk it goes.
type compactionDoubts struct {
	path   string
	faults faultFunc

	mu      sync.Mutex // guards what follows, and saving; taken with a compactionLog locked
	from    map[string]int64
	unknown bool // the file could not be read: nothing is vouched for
	changed bool // the file is not what from is
}

// load reads the file.
func (d *compactionDoubts) load(opts *Options) error {
	d.path, d.faults = filepath.Join(opts.Dir, ownDir, "copying.json"), opts.Faults
	d.from = make(map[string]int64)
	b, err := os.ReadFile(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return wrapFileError(OpRead, d.path, err)
	}
	if err := unseal(b, &d.from); err != nil || d.from == nil {
		opts.Logger.Warn("file cannot be read, every record of compaction logs is checked after a kill", "path", d.path, "err", err)
		d.from, d.unknown, d.changed = make(map[string]int64), true, true
	}
	return nil
}

// get returns the queue offset from which on a log's records may not be on disk, maxPhys when all are that the checkpoint
// vouches for.
func (d *compactionDoubts) get(topic string, queueID int32) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.from[compactionPositionKey(topic, queueID)]; ok {
		return at
	}
	if d.unknown {
		return 0
	}
	return maxPhys
}

// note puts a queue offset in. It is on disk after the next save.
func (d *compactionDoubts) note(topic string, queueID int32, queueOffset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := compactionPositionKey(topic, queueID)
	if at, ok := d.from[key]; !ok || at != queueOffset {
		d.from[key], d.changed = queueOffset, true
	}
}

// drop takes a log out.
func (d *compactionDoubts) drop(topic string, queueID int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := compactionPositionKey(topic, queueID)
	if _, ok := d.from[key]; ok {
		delete(d.from, key)
		d.changed = true
	}
}

// keepOnly drops all logs but some, which ends what is unknown.
func (d *compactionDoubts) keepOnly(keys map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.from)
	maps.DeleteFunc(d.from, func(key string, _ int64) bool { return !keys[key] })
	d.changed = d.changed || len(d.from) != before
	d.unknown = false
}

// save writes the file if it has to change, and waits for the disk.
func (d *compactionDoubts) save() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.changed {
		return nil
	}
	b, err := sealed(d.from)
	if err != nil {
		return err
	}
	if err := writeWhole(d.path, b, d.faults); err != nil {
		return err
	}
	d.changed = false
	return nil
}

// doubtLocked has it on disk, before a record is copied, that those from c.next on are not vouched for.
func (c *compactionLog) doubtLocked() error {
	if c.next >= c.noted {
		return nil
	}
	c.all.doubts.note(c.q.topic, c.q.id, c.next)
	if err := c.all.doubts.save(); err != nil {
		return err
	}
	c.noted = c.next
	return nil
}

// vouch ends the doubt about a log that was flushed, unless more came meanwhile.
func (c *compactionLog) vouch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noted == maxPhys || c.listed || c.behind || c.gone {
		return
	}
	c.noted = maxPhys
	c.all.doubts.drop(c.q.topic, c.q.id)
}

// settleDoubts ends the doubts that an opening has looked into. Those about logs that lack records begin where these are:
// what was cut off there may come back with the next power cut.
func (cs *compactions) settleDoubts() error {
	behind := make(map[string]bool)
	for _, c := range cs.behind {
		behind[compactionPositionKey(c.q.topic, c.q.id)] = true
		c.noted = c.next
		cs.doubts.note(c.q.topic, c.q.id, c.next)
	}
	cs.doubts.keepOnly(behind)
	return cs.doubts.save()
}
