package store

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// progressPeriod is how often a long piece of work says how far it is.
const progressPeriod = 2 * time.Second

// progress says in the log how far a long piece of work is, how fast it goes and how long it will take.
type progress struct {
	logger *slog.Logger
	now    func() time.Time
	done   atomic.Int64 // of the current work, in its unit

	mu    sync.Mutex // guards what follows
	work  string
	unit  string
	total int64
	began time.Time
}

// begin starts the next piece of work. MiB as the unit means that done and total are bytes.
func (p *progress) begin(work, unit string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.work, p.unit, p.total, p.began = work, unit, total, p.now()
	p.done.Store(0)
}

// every calls tell once a period until stop is closed.
func (p *progress) every(period time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			p.tell()
		}
	}
}

// tell writes one line.
func (p *progress) tell() {
	p.mu.Lock()
	work, unit, total, took := p.work, p.unit, p.total, p.now().Sub(p.began)
	p.mu.Unlock()
	done := p.done.Load()
	if work == "" || took <= 0 {
		return
	}
	rate := float64(done) / took.Seconds()
	scale := int64(1)
	if unit == unitMiB {
		scale = 1 << 20
	}
	args := []any{"work", work, "done", done / scale, "of", total / scale, "unit", unit, "per-second", int64(rate) / scale}
	if rate > 0 {
		args = append(args, "remaining", time.Duration(float64(max(total-done, 0))/rate*float64(time.Second)).Round(time.Second))
	}
	p.logger.Info("still at it", args...)
}

// unitMiB is the unit of work that is counted in bytes.
const unitMiB = "MiB"
