package broker

import (
	"context"
	"errors"
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
}

func defaultTimerConfig() TimerConfig {
	return TimerConfig{
		TimerPrecision: time.Second, TimerRollSlots: 2 * 24 * 3600, TimerMaxDelay: 72 * time.Hour,
		TimerLogFileBytes: 100 << 20, TimerFlushInterval: time.Second, TimerSlotMax: 1<<31 - 1, RecallUnwritable: true,
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
