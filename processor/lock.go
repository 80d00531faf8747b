package processor

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// LOCK_BATCH_MQ 41, UNLOCK_BATCH_MQ 42: ordered consumers hold the queues they read.
//
// Behavior:
// * A queue goes to who asks first, and for 60 s. Asking again renews it; clients do so every 20 s.
// * The answer lists those of the queues asked for that the client holds now; the code is always 0.
// * A lock outlives its connection: a client that reconnects goes on consuming meanwhile, and order would be lost if another
//   one got the queue. It ends by unlocking, by UNREGISTER_CLIENT, or by time.
//
// Left out: the majority of replicas (lockInStrictMode).
//
// Apache: RebalanceLockManager, AdminBrokerProcessor.lockBatchMQ.

const (
	lockLives = 60 * time.Second
	maxLocks  = 1_000_000
)

// Locks are the queues that ordered consumers hold.
type Locks struct {
	log *slog.Logger

	mu     sync.Mutex // guards all below
	groups map[string]map[codec.MessageQueue]queueLock
	count  int
}

// queueLock says who holds a queue and since when.
type queueLock struct {
	clientID string
	renewed  time.Time
}

func (l queueLock) expired(now time.Time) bool { return now.Sub(l.renewed) > lockLives }

// NewLocks returns an empty table.
func NewLocks(log *slog.Logger) *Locks {
	return &Locks{log: log, groups: make(map[string]map[codec.MessageQueue]queueLock)}
}

// Lock gives a client the queues that are free, its own or expired, and returns those in the order of the request.
func (l *Locks) Lock(group, clientID string, queues []codec.MessageQueue, now time.Time) []codec.MessageQueue {
	held := make([]codec.MessageQueue, 0, len(queues))
	taken, refused, full := 0, 0, false
	holder := ""
	l.mu.Lock()
	for _, q := range queues {
		lock, ok := l.groups[group][q]
		switch {
		case !ok && l.count >= maxLocks:
			full = true
			continue
		case !ok:
			l.count++
			if l.groups[group] == nil {
				l.groups[group] = make(map[codec.MessageQueue]queueLock)
			}
		case lock.clientID != clientID && !lock.expired(now):
			refused++
			holder = lock.clientID
			continue
		}
		if lock.clientID != clientID {
			taken++
		}
		l.groups[group][q] = queueLock{clientID: clientID, renewed: now}
		held = append(held, q)
	}
	l.mu.Unlock()
	if taken > 0 {
		l.log.Info("queues locked", "group", group, "client", clientID, "queues", taken)
	}
	if refused > 0 {
		l.log.Info("queues are locked by another client", "group", group, "client", clientID, "queues", refused, "holder", holder)
	}
	if full {
		l.log.Warn("no room for more queue locks", "group", group, "client", clientID, "locks", maxLocks)
	}
	return held
}

// Unlock frees those of the queues that the client holds.
func (l *Locks) Unlock(group, clientID string, queues []codec.MessageQueue) {
	freed := 0
	l.mu.Lock()
	for _, q := range queues {
		if lock, ok := l.groups[group][q]; ok && lock.clientID == clientID {
			freed++
			l.dropLocked(group, q)
		}
	}
	l.mu.Unlock()
	if freed > 0 {
		l.log.Info("queues unlocked", "group", group, "client", clientID, "queues", freed)
	}
}

func (l *Locks) dropLocked(group string, q codec.MessageQueue) {
	l.count--
	if delete(l.groups[group], q); len(l.groups[group]) == 0 {
		delete(l.groups, group)
	}
}

// Release frees every queue that a client holds in a group.
func (l *Locks) Release(group, clientID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q, lock := range l.groups[group] {
		if lock.clientID == clientID {
			l.dropLocked(group, q)
		}
	}
}

// HeldBy reports whether a member of the group holds an unexpired lock on any queue. Apache: isLockAllExpired.
func (l *Locks) HeldBy(group string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lock := range l.groups[group] {
		if !lock.expired(now) {
			return true
		}
	}
	return false
}

// Sweep forgets the locks that have expired.
func (l *Locks) Sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for group, queues := range l.groups {
		for q, lock := range queues {
			if lock.expired(now) {
				l.dropLocked(group, q)
			}
		}
	}
}

// lockBatch answers LOCK_BATCH_MQ.
func (p *Processor) lockBatch(req *remoting.Request) (*codec.Command, error) {
	body, err := lockRequest(req)
	if err != nil {
		return nil, err
	}
	return jsonResponse(req, codec.LockBatchResponse{
		LockOKMQSet: p.locks.Lock(body.ConsumerGroup, body.ClientID, body.MQSet, p.opts.Now()),
	})
}

// unlockBatch answers UNLOCK_BATCH_MQ.
func (p *Processor) unlockBatch(req *remoting.Request) (*codec.Command, error) {
	body, err := lockRequest(req)
	if err != nil {
		return nil, err
	}
	p.locks.Unlock(body.ConsumerGroup, body.ClientID, body.MQSet)
	return req.Response(codec.Success), nil
}

// lockRequest reads the body of both requests.
func lockRequest(req *remoting.Request) (*codec.LockBatchRequest, error) {
	var body codec.LockBatchRequest
	if err := decodeBody(req, &body); err != nil {
		return nil, err
	}
	if body.ConsumerGroup == "" || body.ClientID == "" {
		return nil, missing("consumerGroup or clientId")
	}
	tooLong := len(body.ConsumerGroup) > maxGroupNameBytes || len(body.ClientID) > maxClientIDBytes
	for i := range body.MQSet {
		tooLong = tooLong || len(body.MQSet[i].Topic) > maxGroupNameBytes || len(body.MQSet[i].BrokerName) > maxGroupNameBytes
	}
	if tooLong {
		return nil, errors.New("a name in the request is too long")
	}
	return &body, nil
}
