package remoting

// PoolKind names one of a server's pools.
type PoolKind uint8

// The pools of a server. They are apart so that sends do not starve heartbeats.
const (
	PoolSend PoolKind = iota
	PoolPull
	PoolClient
	PoolAdmin

	poolKinds = 4
)

// String returns the pool's name.
func (k PoolKind) String() string {
	switch k {
	case PoolSend:
		return "send"
	case PoolPull:
		return "pull"
	case PoolClient:
		return "client"
	case PoolAdmin:
		return "admin"
	}
	return "unknown"
}

// Pool runs work that must not run on an event loop, with a fixed number of goroutines and a bounded queue.
type Pool struct {
	kind PoolKind
}

// Submit queues the task and reports whether there was room.
func (p *Pool) Submit(task interface{ Run() }) bool { return false }

// Len returns the number of tasks and requests that wait.
func (p *Pool) Len() int { return 0 }
