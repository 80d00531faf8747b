package broker

import (
	"time"

	"github.com/apogee-mq/apogee/store"
)

// CompactionConfig is how the newest messages of topics with cleanup.policy=COMPACTION are kept apart from the log.
type CompactionConfig struct {
	CompactionEnable                         bool
	CompactionLogBytes, CompactionQueueBytes int64
	CompactionInterval                       time.Duration
	// CompactionKeyBytes bounds the memory for message keys while a queue is compacted.
	CompactionKeyBytes int64
}

func defaultCompactionConfig() CompactionConfig {
	return CompactionConfig{CompactionEnable: true, CompactionLogBytes: 100 << 20, CompactionQueueBytes: 10 << 20,
		CompactionInterval: 15 * time.Minute, CompactionKeyBytes: 100 << 20}
}

// compaction takes over the settings into the store's.
func (c *CompactionConfig) compaction(opts *store.Options) {
	opts.CompactionLogBytes, opts.CompactionQueueBytes = c.CompactionLogBytes, c.CompactionQueueBytes
	opts.CompactionInterval, opts.CompactionKeyBytes = c.CompactionInterval, c.CompactionKeyBytes
}

// compactionTopic tells the store which topics keep only the newest message of each key.
func (b *Broker) compactionTopic(topic string) bool {
	cfg, ok := b.topics.Get(topic)
	return ok && store.KeepsNewest(cfg)
}
