package broker

import (
	"context"
	"math"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// RetentionConfig are the settings of what is deleted when. Ratios are percents. Apache: MessageStoreConfig.
type RetentionConfig struct {
	FileReservedTime     time.Duration
	DeleteWhen           string
	CleanInterval        time.Duration
	DeleteInterval       time.Duration
	DeleteBatchMax       int
	DiskMaxUsedRatio     int
	DiskCleanRatio       int
	DiskWarningRatio     int
	CleanForcibly        bool
	CommitLogMaxBytes    int64
	KeepUnconsumedEnable bool
}

func defaultRetentionConfig() RetentionConfig {
	return RetentionConfig{
		FileReservedTime: 72 * time.Hour, DeleteWhen: "04", CleanInterval: 10 * time.Second, DeleteInterval: 100 * time.Millisecond,
		DeleteBatchMax: 10, DiskMaxUsedRatio: 75, DiskCleanRatio: 85, DiskWarningRatio: 90, CleanForcibly: true,
	}
}

// rules are the settings as the store takes them.
func (c *RetentionConfig) rules() store.Retention {
	hours, _ := store.ParseDeleteWhen(c.DeleteWhen) // checked when it was set
	return store.Retention{
		ReservedTime: c.FileReservedTime, DeleteWhen: hours, MaxUsedRatio: float64(c.DiskMaxUsedRatio) / 100,
		ForciblyRatio: float64(c.DiskCleanRatio) / 100, WarningRatio: float64(c.DiskWarningRatio) / 100, CleanForcibly: c.CleanForcibly,
		BatchMax: c.DeleteBatchMax, Pause: c.DeleteInterval, MaxLogBytes: c.CommitLogMaxBytes, KeepUnread: c.KeepUnconsumedEnable,
	}
}

// mappingsPeriod is how often the stretches of static topics are looked through. Apache: TopicQueueMappingCleanService.
const mappingsPeriod = 5 * time.Minute

// cleanMappings takes stretches that hold nothing any more out of static topics until ctx ends.
func (b *Broker) cleanMappings(ctx context.Context) {
	tick := time.NewTicker(mappingsPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.processor.CleanMappings(ctx, now)
		}
	}
}

// percent is a share of a disk. Java takes any number and keeps what it makes of it within bounds; so does the store.
func percent(field func(*Config) *int) codec.SettingKey[Config] {
	return codec.LiveKey(codec.NumberKey(field, math.MinInt32, math.MaxInt32))
}

// hours are hours of the day, separated by ";".
func hours(field func(*Config) *string) codec.SettingKey[Config] {
	key := codec.TextKey(field)
	key.Set = func(c *Config, v string) error {
		_, err := store.ParseDeleteWhen(v)
		if err == nil {
			*field(c) = v
		}
		return err
	}
	return codec.LiveKey(key)
}
