package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/remoting"
)

// testPool runs tasks on goroutines; held back they gather until released.
type testPool struct {
	mu      sync.Mutex
	full    bool
	tasks   int // submitted ever
	running int
	idle    sync.Cond // of mu: running is 0
}

func newTestPool() *testPool {
	p := new(testPool)
	p.idle.L = &p.mu
	return p
}

func (p *testPool) submit(_ remoting.PoolKind, task interface{ Run() }) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return false
	}
	p.tasks++
	p.running++
	go func() {
		task.Run()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.running--; p.running == 0 {
			p.idle.Broadcast()
		}
	}()
	return true
}

// wait waits for the tasks under way. Others may be submitted meanwhile, by the dispatcher for instance, which a WaitGroup does not allow.
func (p *testPool) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.running > 0 {
		p.idle.Wait()
	}
}

func (p *testPool) setFull(full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = full
}
