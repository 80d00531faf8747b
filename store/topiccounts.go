package store

import (
	"fmt"
	"maps"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// maxCountedTopics bounds the topics that are counted; it is far above what a broker can hold.
const maxCountedTopics = 1 << 20

// topicCounts counts messages of each topic and keeps the counts in a file of its own. Apache: TimerMetrics, TransactionMetrics.
type topicCounts struct {
	file *jsonFile
	// body gives what the file holds.
	body func(counts map[string]codec.TopicCount, version codec.DataVersion) any

	mu      sync.Mutex // guards all below
	counts  map[string]*codec.TopicCount
	version codec.DataVersion
	dirty   bool
	// since are the changes since follow, of topics that are still counted; nil when nobody follows. gone were removed.
	since map[string]int64
	gone  map[string]bool
}

func newTopicCounts(file *jsonFile) *topicCounts {
	return &topicCounts{file: file, counts: make(map[string]*codec.TopicCount), version: codec.DataVersion{TimestampMs: file.opts.Now().UnixMilli()}}
}

// openTimerMetrics reads config/timermetrics.
func openTimerMetrics(path string, opts TableOptions) (*topicCounts, error) {
	c := newTopicCounts(newJSONFile(path, opts))
	stored := loadCounts[codec.TimerMetrics](c)
	var unknown codec.UnknownFields
	if stored != nil {
		c.version, unknown = stored.DataVersion, stored.Unknown
		for topic, count := range stored.TimingCount {
			c.counts[topic] = &count
		}
	}
	c.body = func(counts map[string]codec.TopicCount, version codec.DataVersion) any {
		return &codec.TimerMetrics{DataVersion: version, TimingCount: counts, Unknown: unknown}
	}
	return c, nil
}

// openTransactionMetrics reads config/transactionMetrics, of which only the version counts: open transactions are counted anew
// when they are read.
func openTransactionMetrics(path string, opts TableOptions) *topicCounts {
	c := newTopicCounts(newJSONFile(path, opts))
	var unknown codec.UnknownFields
	if stored := loadCounts[codec.TransactionMetrics](c); stored != nil {
		c.version, unknown = stored.DataVersion, stored.Unknown
		c.dirty = len(stored.TransactionCount) > 0
	}
	c.body = func(counts map[string]codec.TopicCount, version codec.DataVersion) any {
		return &codec.TransactionMetrics{DataVersion: version, TransactionCount: counts, Unknown: unknown}
	}
	return c
}

// loadCounts reads a file, which is overwritten when it cannot be read: the counts then begin anew.
func loadCounts[T any](c *topicCounts) *T {
	stored, err := loadJSON[T](c.file)
	if err != nil {
		c.file.opts.Logger.Error("counts by topic cannot be read, they begin at 0", "file", c.file.path, "error", err)
		return nil
	}
	return stored
}

// add counts n more messages of a topic.
func (c *topicCounts) add(topic []byte, n, nowMs int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.counts[string(topic)]
	if count == nil {
		if len(c.counts) >= maxCountedTopics {
			return
		}
		count = new(codec.TopicCount)
		c.counts[string(topic)] = count
	}
	count.Count += n
	if c.since != nil {
		c.since[string(topic)] += n
	}
	count.TimestampMs = nowMs
	c.version = c.version.Next(0, nowMs)
	c.dirty = true
}

// remove forgets a topic.
func (c *topicCounts) remove(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since != nil {
		delete(c.since, topic)
		c.gone[topic] = true
	}
	if _, ok := c.counts[topic]; ok {
		delete(c.counts, topic)
		c.dirty = true
	}
}

// reset begins all counts anew.
func (c *topicCounts) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.counts)
	c.dirty = true
}

// follow begins to note changes, until unfollow.
func (c *topicCounts) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.gone = make(map[string]int64), make(map[string]bool)
}

func (c *topicCounts) unfollow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.gone = nil, nil
}

// revise puts what was counted as of follow in the place of the counts, and adds what changed since. Topics that were removed
// meanwhile are passed over. It returns what the wrong counts were and are.
func (c *topicCounts) revise(actual map[string]int64, nowMs int64) (wrong map[string][2]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wrong = make(map[string][2]int64)
	for topic, n := range actual {
		n += c.since[topic]
		count := c.counts[topic]
		if c.gone[topic] || count == nil && (n == 0 || len(c.counts) >= maxCountedTopics) || count != nil && count.Count == n {
			continue
		}
		if count == nil {
			count = new(codec.TopicCount)
			c.counts[topic] = count
		}
		wrong[topic] = [2]int64{count.Count, n}
		count.Count, count.TimestampMs = n, nowMs
	}
	if len(wrong) > 0 {
		c.version = c.version.Next(0, nowMs)
		c.dirty = true
	}
	return wrong
}

// snapshot returns the counts and their version.
func (c *topicCounts) snapshot() (map[string]codec.TopicCount, codec.DataVersion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.copyLocked(), c.version
}

func (c *topicCounts) copyLocked() map[string]codec.TopicCount {
	counts := make(map[string]codec.TopicCount, len(c.counts))
	for topic, count := range maps.All(c.counts) {
		counts[topic] = *count
	}
	return counts
}

// persist writes the file if a count changed.
func (c *topicCounts) persist() error {
	c.mu.Lock()
	if !c.dirty {
		c.mu.Unlock()
		return nil
	}
	c.dirty = false
	body := c.body(c.copyLocked(), c.version)
	c.mu.Unlock()
	text, err := codec.MarshalJSON(body)
	if err == nil {
		err = c.file.save(text)
	}
	if err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
		return fmt.Errorf("persist counts by topic: %w", err)
	}
	return nil
}
