package store

import (
	"fmt"
	"maps"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// maxTimerTopics bounds the topics that are counted; it is far above what a broker can hold.
const maxTimerTopics = 1 << 20

// timerMetrics counts the messages of each topic that wait. Apache: TimerMetrics.
type timerMetrics struct {
	file *jsonFile

	mu      sync.Mutex // guards all below
	counts  map[string]*codec.TimerMetric
	version codec.DataVersion
	unknown codec.UnknownFields
	dirty   bool
}

func openTimerMetrics(path string, opts TableOptions) (*timerMetrics, error) {
	m := &timerMetrics{file: newJSONFile(path, opts), counts: make(map[string]*codec.TimerMetric)}
	stored, err := loadJSON[codec.TimerMetrics](m.file)
	if err != nil {
		// Only counts: they begin anew, and the damaged files are overwritten.
		opts.Logger.Error("counts of timer messages cannot be read, they begin at 0", "file", path, "error", err)
		stored = nil
	}
	m.version = codec.DataVersion{TimestampMs: opts.Now().UnixMilli()}
	if stored != nil {
		m.version, m.unknown = stored.DataVersion, stored.Unknown
		for topic, count := range stored.TimingCount {
			m.counts[topic] = &count
		}
	}
	return m, nil
}

// add counts n more messages of a topic.
func (m *timerMetrics) add(topic []byte, n, nowMs int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts[string(topic)]
	if c == nil {
		if len(m.counts) >= maxTimerTopics {
			return
		}
		c = new(codec.TimerMetric)
		m.counts[string(topic)] = c
	}
	c.Count += n
	c.TimestampMs = nowMs
	m.version = m.version.Next(0, nowMs)
	m.dirty = true
}

// remove forgets a topic.
func (m *timerMetrics) remove(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.counts[topic]; ok {
		delete(m.counts, topic)
		m.dirty = true
	}
}

// reset begins all counts anew.
func (m *timerMetrics) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.counts)
	m.dirty = true
}

func (m *timerMetrics) snapshot() codec.TimerMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshotLocked()
}

func (m *timerMetrics) snapshotLocked() codec.TimerMetrics {
	counts := make(map[string]codec.TimerMetric, len(m.counts))
	for topic, c := range maps.All(m.counts) {
		counts[topic] = *c
	}
	return codec.TimerMetrics{DataVersion: m.version, TimingCount: counts, Unknown: m.unknown}
}

// persist writes the file if a count changed.
func (m *timerMetrics) persist() error {
	m.mu.Lock()
	dirty, table := m.dirty, codec.TimerMetrics{}
	if dirty {
		table, m.dirty = m.snapshotLocked(), false
	}
	m.mu.Unlock()
	if !dirty {
		return nil
	}
	text, err := codec.MarshalJSON(&table)
	if err == nil {
		err = m.file.save(text)
	}
	if err != nil {
		m.mu.Lock()
		m.dirty = true
		m.mu.Unlock()
		return fmt.Errorf("persist counts of timer messages: %w", err)
	}
	return nil
}
