package processor

import (
	"time"

	"github.com/apogee-mq/apogee/store"
)

// LiteLag is how far a group is behind in all lite topics of a parent. Apache: LiteConsumerLagCalculator.
type LiteLag struct {
	Group, Parent string
	// Lag are messages without a committed offset, Latency the age of the oldest.
	Lag     int64
	Latency time.Duration
}

// EachLiteLag calls yield with the lag of every group in all lite topics of a parent. It walks over all offsets; the ages are looked up
// with ages only.
func (p *Processor) EachLiteLag(ages bool, yield func(LiteLag)) {
	type key struct{ group, parent string }
	type end struct {
		key
		name      string
		committed int64
	}
	var ends []end
	p.offsets.EachLite("", func(group, name string, committed int64) {
		if parent, _, ok := store.SplitLiteQueue(name); ok {
			ends = append(ends, end{key{group, parent}, name, committed})
		}
	})
	nowMs := p.opts.Now().UnixMilli()
	lags := make(map[key]*LiteLag)
	for _, e := range ends {
		n := p.store.MaxQueueOffset(e.name, 0) - e.committed
		if n <= 0 {
			continue
		}
		lag := lags[e.key]
		if lag == nil {
			lag = &LiteLag{Group: e.group, Parent: e.parent}
			lags[e.key] = lag
		}
		lag.Lag += n
		if ages {
			if at := p.store.StoreTimeAt(e.name, 0, e.committed); at > 0 {
				lag.Latency = max(lag.Latency, time.Duration(max(nowMs-at, 0))*time.Millisecond)
			}
		}
	}
	for _, lag := range lags {
		yield(*lag)
	}
}
