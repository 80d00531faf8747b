package broker

import (
	"context"
	"errors"
	"time"

	"github.com/apogee-mq/apogee/store"
)

// ScrubConfig says whether the commit log is read over and over to find damage before anybody needs the messages.
type ScrubConfig struct {
	// ScrubBytesPerSecond is how fast; 0, the default value, for not at all.
	ScrubBytesPerSecond int64
	// ScrubInterval lies between two passes. The default value is 24 h.
	ScrubInterval time.Duration
}

func defaultScrubConfig() ScrubConfig { return ScrubConfig{ScrubInterval: 24 * time.Hour} }

func (c *ScrubConfig) scrubOptions() store.ScrubOptions {
	return store.ScrubOptions{BytesPerSecond: c.ScrubBytesPerSecond, Interval: c.ScrubInterval}
}

// scrub runs until ctx ends.
func (b *Broker) scrub(ctx context.Context, opts store.ScrubOptions) {
	if err := b.store.Scrub(ctx, opts); !errors.Is(err, context.Canceled) {
		b.log.Error("scrub of the commit log has ended", "err", err)
	}
}
