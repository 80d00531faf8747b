package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// notifyBatch is how many groups one run of the notifier serves before it queues itself again, so that others get their turn.
const notifyBatch = 64

// notifier tells the members of groups that somebody came or went, NOTIFY_CONSUMER_IDS_CHANGED 40, one-way. It runs on the
// client pool. A group that changes while it waits is told once. Apache: DefaultConsumerIdsChangeListener.
type notifier struct {
	p *Processor

	mu      sync.Mutex // guards all below
	queue   []string
	waiting map[string]bool // the groups in queue
	running bool
}

func newNotifier(p *Processor) *notifier { return &notifier{p: p, waiting: make(map[string]bool)} }

// add queues a group. Clients calls it, never under its lock.
func (n *notifier) add(group string) {
	n.mu.Lock()
	if !n.waiting[group] {
		n.waiting[group] = true
		n.queue = append(n.queue, group)
	}
	n.mu.Unlock()
	n.kick()
}

// kick submits the notifier unless it runs or has nothing to do. When the pool has no room the next change or tick tries again.
func (n *notifier) kick() {
	n.mu.Lock()
	start := len(n.queue) > 0 && !n.running
	n.running = n.running || start
	n.mu.Unlock()
	if start && !n.p.opts.Submit(remoting.PoolClient, n) {
		n.mu.Lock()
		n.running = false
		n.mu.Unlock()
	}
}

// Run tells the members of some queued groups.
func (n *notifier) Run() {
	var conns []remoting.Conn
	for range notifyBatch {
		group, ok := n.next()
		if !ok {
			break
		}
		if n.p.mayNotify(group) {
			conns = n.p.clients.memberConns(conns[:0], group)
			n.p.notifyMembers(group, conns)
		}
	}
	n.mu.Lock()
	n.running = false
	n.mu.Unlock()
	n.kick()
}

func (n *notifier) next() (group string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 {
		n.queue = nil
		return "", false
	}
	group, n.queue = n.queue[0], n.queue[1:]
	delete(n.waiting, group)
	return group, true
}

// mayNotify reports whether the broker and the group want pushes. The members of a broadcasting group do not share queues.
func (p *Processor) mayNotify(group string) bool {
	if !p.live().NotifyConsumerIDs {
		return false
	}
	if g := p.clients.ConsumerGroup([]byte(group)); g != nil && g.Model == codec.Broadcasting {
		return false
	}
	cfg, ok := p.groups.Get(group)
	return !ok || cfg.NotifyConsumerIDsChangedEnable
}

func (p *Processor) notifyMembers(group string, conns []remoting.Conn) {
	push := &codec.Command{
		Code: codec.NotifyConsumerIDsChanged, Version: codec.Version, Flag: codec.FlagOneway,
		Header: &codec.NotifyConsumerIDsChangedHeader{ConsumerGroup: group},
	}
	for _, conn := range conns {
		if err := conn.Send(push); err != nil {
			p.log.Debug("push to a member is lost", "group", group, "addr", conn.RemoteAddr(), "error", err)
		}
	}
}
