package broker

import (
	"context"
	"sync"
	"time"
)

// services are the broker's goroutines. Everything that ticks is started in startServices and ends in stop.
type services struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newServices() *services {
	ctx, cancel := context.WithCancel(context.Background())
	return &services{ctx: ctx, cancel: cancel}
}

// run starts f, which has to return when its context ends.
func (s *services) run(f func(ctx context.Context)) { s.wg.Go(func() { f(s.ctx) }) }

// every calls f once a period.
func (s *services) every(period time.Duration, f func()) {
	s.run(func(ctx context.Context) {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				f()
			}
		}
	})
}

// stop ends all and returns when none runs.
func (s *services) stop() {
	s.cancel()
	s.wg.Wait()
}
