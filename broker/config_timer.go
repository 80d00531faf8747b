package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/apogee-mq/apogee/store"
)

// TimerConfig are the settings of timer messages and their recall. Apache: MessageStoreConfig, BrokerConfig.
type TimerConfig struct {
	TimerPrecision                     time.Duration
	TimerRollSlots                     int32
	TimerMaxDelay                      time.Duration
	TimerLogFileBytes                  int64
	TimerFlushInterval                 time.Duration
	TimerSlotMax                       int64
	TimerStopEnqueue, TimerStopDequeue bool
	Recall, RecallUnwritable           bool
	RecallByTopic                      bool
	// TimerCheckMetrics says that the counts are compared with the wheel in the hours of TimerCheckWhen, those of topics with fewer
	// than TimerCheckBelow messages.
	TimerCheckMetrics bool
	TimerCheckWhen    string
	TimerCheckBelow   int64
}

func defaultTimerConfig() TimerConfig {
	return TimerConfig{
		TimerPrecision: time.Second, TimerRollSlots: 2 * 24 * 3600, TimerMaxDelay: 72 * time.Hour,
		TimerLogFileBytes: 100 << 20, TimerFlushInterval: time.Second, TimerSlotMax: 1<<31 - 1, RecallUnwritable: true,
		TimerCheckMetrics: true, TimerCheckWhen: "05", TimerCheckBelow: 1_000_000,
	}
}

// openTimer opens what keeps timer messages, unless timerWheelEnable=false.
func (b *Broker) openTimer(cfg Config) (err error) {
	if !cfg.Pop.TimerWheel {
		return nil
	}
	b.timer, err = store.OpenTimer(b.store, store.TimerOptions{
		TableOptions: b.tableOptions(), Precision: cfg.TimerPrecision, RollSlots: int64(cfg.TimerRollSlots), LogFileBytes: cfg.TimerLogFileBytes,
		OnDeliver: b.timerDelivered,
	})
	if err == nil {
		b.timer.Pause(cfg.TimerStopEnqueue, cfg.TimerStopDequeue)
	}
	return err
}

// timerDelivered and levelDelivered count what the store delivers by itself.
func (b *Broker) timerDelivered(topic string, recordBytes int64) {
	if p := b.told.Load(); p != nil {
		p.CountTimed(topic, recordBytes)
	}
}

func (b *Broker) levelDelivered(topic string, recordBytes int64) {
	if p := b.told.Load(); p != nil {
		p.CountDelayed(topic, recordBytes)
	}
}

// startTimer runs the timer; Close ends it.
func (b *Broker) startTimer(cfg Config) {
	if b.timer == nil {
		return
	}
	b.services.run(func(ctx context.Context) {
		if err := b.timer.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.log.Error("delivery of timer messages has ended", "err", err)
		}
	})
	b.services.every(cfg.TimerFlushInterval, b.logged("flush the timer", b.timer.Flush))
	b.services.run(b.checkTimer)
}

const (
	// timerCheckPeriod is how often the hour of timerCheckMetricsWhen is looked for, timerCheckRest how long it is then over.
	timerCheckPeriod = 5 * time.Minute
	timerCheckRest   = 70 * time.Minute
)

// checkTimer makes the counts of timer messages right until ctx ends: all of them after a stop that was not a clean one, and at night
// as timerEnableCheckMetrics asks for. Apache: TimerMessageStore.start, which does the latter.
func (b *Broker) checkTimer(ctx context.Context) {
	cfg := b.config.timer()
	if cfg.TimerCheckMetrics && b.timer.MetricsUnsure() {
		b.timerChecked(b.timer.RecountMetrics(ctx))
	}
	last := time.Now()
	tick := time.NewTicker(timerCheckPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			cfg := b.config.timer()
			if cfg.checksTimer(now, last) {
				last = now
				b.timerChecked(b.timer.ReviseMetrics(ctx, cfg.TimerCheckBelow))
			}
		}
	}
}

// checksTimer reports whether it is time for the nightly check.
func (c *TimerConfig) checksTimer(now, last time.Time) bool {
	hours, _ := store.ParseDeleteWhen(c.TimerCheckWhen) // checked when it was set
	return c.TimerCheckMetrics && now.Sub(last) > timerCheckRest && slices.Contains(hours, now.Hour())
}

func (b *Broker) timerChecked(revised int, err error) {
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		b.log.Error("counts of waiting timer messages were not checked", "err", err)
	case revised > 0:
		b.log.Warn("counts of waiting timer messages were wrong and are right now", "topics", revised)
	}
}

// redirect makes a message one that the timer delivers at dueMs. Without a timer, and so without POP, it stays as it is.
func (b *Broker) redirect(m *store.Message, dueMs int64) {
	if b.timer != nil {
		b.timer.Redirect(m, b.timer.SlotMs(dueMs))
	}
}

// timerReached tells up to when the timer has delivered.
func (b *Broker) timerReached() time.Time {
	if b.timer == nil {
		return time.Now()
	}
	status := b.timer.Status()
	if status.OffsetBehind > 0 {
		return time.Time{}
	}
	return time.Now().Add(-status.ReadBehind)
}
