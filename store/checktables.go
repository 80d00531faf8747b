package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// tableKinds are the types of the JSON files in config; others only have to be JSON.
func tableKind(name string) any {
	switch name {
	case "topics.json":
		return new(codec.TopicConfigTable)
	case "subscriptionGroup.json":
		return new(codec.SubscriptionGroupTable)
	case "consumerOffset.json":
		return new(offsetFile)
	case "delayOffset.json":
		return new(codec.DelayOffsetTable)
	case "consumerFilter.json":
		return new(filterFile)
	}
	return new(any)
}

// readTable reads a file of config; found is false when it is missing or has no bytes.
func readTable(path, name string) (value any, found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, fmt.Errorf("read table: %w", err)
	}
	value = tableKind(name)
	if err := codec.UnmarshalJSON(text, value); err != nil {
		return nil, true, err
	}
	return value, true, nil
}

// readTables parses all tables and their backups, and keeps those that others are compared with.
func (c *checker) readTables() {
	for _, path := range c.files.tables {
		name := filepath.Base(path)
		value, found, err := readTable(path, name)
		bak, bakFound, bakErr := readTable(path+bakSuffix, name)
		switch {
		case err != nil && bakFound && bakErr == nil:
			c.add(Derived, path, jsonErrorPos(err), err.Error(), "its backup is good and is used by the next start", doRepair)
			value = bak
		case err != nil:
			c.add(Damage, path, jsonErrorPos(err), err.Error(), "there is no good backup, and the server does not start", doSettings)
		case !found && bakFound && bakErr == nil:
			c.add(Note, path, -1, "the file is missing or empty, its backup is there", "the stop came between two steps of writing it", doNextRun)
			value = bak
		case bakErr != nil && found:
			c.add(Note, path+bakSuffix, jsonErrorPos(bakErr), bakErr.Error(), "it is only the backup of a good file", "")
		case bakErr != nil:
			c.add(Damage, path+bakSuffix, jsonErrorPos(bakErr), bakErr.Error(), "there is nothing else, and the server does not start", doSettings)
		}
		c.keepTable(value)
	}
	c.readOwn()
}

func (c *checker) keepTable(value any) {
	switch t := value.(type) {
	case *codec.TopicConfigTable:
		c.topics = t.TopicConfigTable
		if c.topics == nil {
			c.topics = make(map[string]*codec.TopicConfig)
		}
	case *offsetFile:
		c.offsets = t.OffsetTable
	case *codec.DelayOffsetTable:
		c.delays = t.OffsetTable
	}
}

// jsonErrorPos is where a JSON error says it is, 0 when it does not.
func jsonErrorPos(err error) int64 {
	text := err.Error()
	if i := strings.Index(text, "error found in #"); i >= 0 {
		var n int64
		if _, err := fmt.Sscanf(text[i:], "error found in #%d byte", &n); err == nil {
			return n
		}
	}
	var pos int64
	if i := strings.Index(text, "decode JSON at "); i >= 0 {
		if _, err := fmt.Sscanf(text[i:], "decode JSON at %d", &pos); err == nil {
			return pos
		}
	}
	return 0
}

// readOwn parses the files of apogee/. Each is as good as missing when it cannot be read.
func (c *checker) readOwn() {
	dir := filepath.Join(c.opts.Dir, ownDir)
	entries, _ := listDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() || !strings.HasSuffix(path, ".json") {
			continue
		}
		text, err := os.ReadFile(path)
		if err == nil {
			switch e.Name() {
			case "queues.json":
				err = unseal(text, &c.list)
			case "deleted.json":
				err = unseal(text, &c.marks)
			case "ends.json":
				err = unseal(text, new(map[string]map[int32]int64))
			default:
				err = unseal(text, new(any))
			}
		}
		if err != nil {
			c.add(Derived, path, jsonErrorPos(err), err.Error(), "the next start does without it and reads more of the log", doRepair)
		}
	}
}

func (c *checker) readCheckpoint() {
	path := filepath.Join(c.opts.Dir, "checkpoint")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if len(c.files.log) > 0 {
			c.add(Note, path, -1, "there is no checkpoint", "after a stop that is not clean the whole log is read", doNextRun)
		}
		return
	case err != nil:
		c.add(Derived, path, -1, err.Error(), "the server does not start", doRepair)
		return
	case len(b) < checkpointBytes:
		c.add(Derived, path, int64(len(b)), fmt.Sprintf("%d bytes, there should be %d", len(b), checkpointBytes), "it was cut off", doRepair)
	}
	if len(b) >= 40 {
		c.check, c.hasTime = checkpointAt(b), true
		if !allZero(b[40:]) {
			c.add(Note, path, 40, "there is something behind the five numbers", "nobody reads it", "")
		}
	}
}

// checkTables compares checkpoint, offsets and our own list with what the log and the queues hold.
func (c *checker) checkTables() error {
	c.report.Tables = len(c.files.tables)
	if len(c.files.log) > 0 {
		c.checkCheckpoint()
		c.checkQueueList()
		c.checkLateIndex()
	}
	c.checkOffsets()
	return nil
}

func (c *checker) checkCheckpoint() {
	path := filepath.Join(c.opts.Dir, "checkpoint")
	for i, n := range []int64{c.check.physicMs, c.check.logicsMs, c.check.indexMs, c.check.masterFlushedOffset, c.check.confirmPhysOffset} {
		name := [...]string{"log time", "queue time", "index time", "master flushed offset", "confirmed offset"}[i]
		switch {
		case n < 0:
			c.add(Derived, path, int64(8*i), fmt.Sprintf("%s %d", name, n), "it is no number that was ever written", doRepair)
		case i < 3 && n > c.end.lastMs && !c.opts.Live && c.end.lastMs > 0:
			c.add(Derived, path, int64(8*i), fmt.Sprintf("%s %d is later than the log's last message, %d", name, n, c.end.lastMs),
				"the next recovery would trust what it must not", doRepair)
		case i == 4 && n > c.end.phys && !c.opts.Live:
			c.add(Derived, path, int64(8*i), fmt.Sprintf("%s %d is behind the end of the log, %d", name, n, c.end.phys),
				"a replica would be told of what is not there", doRepair)
		}
	}
}

// checkQueueList compares apogee/queues.json, which counts when the log still ends where it says.
func (c *checker) checkQueueList() {
	if !c.clean || c.list.End != c.end.phys {
		return
	}
	path := queueListPath(c.opts.Dir)
	for topic, ids := range c.list.Queues {
		for id, n := range ids {
			if has, _ := c.queueEnd(queueKey{topic, id}); has < n && c.topicKnown(topic) {
				c.add(Derived, path, -1, fmt.Sprintf("topic %s, queue %d had %d entries when the server stopped, it has %d", topic, id, n, has),
					"the queue was damaged since", doRepair)
			}
		}
	}
}

// checkLateIndex reports messages whose keys are outside of what the index covers.
func (c *checker) checkLateIndex() {
	if n := len(c.covered); n > 0 {
		to := c.covered[n-1].to
		if to >= c.end.phys {
			sev, do := c.unlessStopped()
			c.add(sev, c.files.index[len(c.files.index)-1].path, 24, fmt.Sprintf("the index goes up to %d, behind the end of the log at %d", to, c.end.phys),
				"its records are not in the log", do)
		}
	}
	l := &c.late
	if l.after > 0 {
		sev, do := c.unlessStopped()
		c.add(sev, c.files.index[len(c.files.index)-1].path, -1, fmt.Sprintf("%d messages with keys, from %d on, are not in the index", l.after, l.firstAfter),
			"they are not found by key", do)
	}
	if l.before > 0 {
		c.add(Derived, c.files.index[0].path, -1, fmt.Sprintf("%d messages with keys lie before the index begins", l.before),
			"they are not found by key: an index file is missing", doRepair)
	}
}

// checkOffsets looks for offsets behind the end of their queue: messages put there would be passed over.
func (c *checker) checkOffsets() {
	config := filepath.Join(c.opts.Dir, "config")
	const means = "the next messages of the queue are passed over"
	for _, key := range slices.Sorted(maps.Keys(c.offsets)) {
		topic, group, _ := strings.Cut(key, string(groupSeparator))
		for id, n := range c.offsets[key] {
			if end, ok := c.queueEnd(queueKey{topic, id}); ok && n > end && !c.queueDamaged(queueKey{topic, id}) {
				c.add(Derived, filepath.Join(config, "consumerOffset.json"), 0, fmt.Sprintf("group %s is at %d of topic %s, queue %d, which ends at %d", group, n, topic, id, end),
					means, "reset the group's offset")
			}
		}
	}
	for level, n := range c.delays {
		if end, ok := c.queueEnd(queueKey{TopicSchedule, level - 1}); ok && n > end && !c.queueDamaged(queueKey{TopicSchedule, level - 1}) {
			c.add(Derived, filepath.Join(config, "delayOffset.json"), 0, fmt.Sprintf("delay level %d is at %d of a queue that ends at %d", level, n, end),
				"delayed messages are never delivered", "remove the level from the file")
		}
	}
}
