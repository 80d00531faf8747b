package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/remoting"
)

// wakeBatch is the number of requests that one task of the pull pool runs.
const wakeBatch = 64

// woken are requests that were taken out of a table of parked ones, to be run once more on the pull pool, all that are woken
// meanwhile in one go.
type woken[T any] struct {
	submit func(kind remoting.PoolKind, task interface{ Run() }) bool
	again  func(T)

	mu        sync.Mutex // guards what follows; no other lock is taken inside
	list      []T
	scheduled bool // a task is going to take list
}

// add hands one request over.
func (w *woken[T]) add(r T) {
	w.mu.Lock()
	w.list = append(w.list, r)
	w.mu.Unlock()
	w.schedule()
}

// schedule submits a task for the list unless there is one. When the pool has no room the next tick tries again.
func (w *woken[T]) schedule() {
	w.mu.Lock()
	submit := len(w.list) > 0 && !w.scheduled
	w.scheduled = w.scheduled || submit
	w.mu.Unlock()
	if submit && !w.submit(remoting.PoolPull, w) {
		w.mu.Lock()
		w.scheduled = false
		w.mu.Unlock()
	}
}

// Run runs some of the list, on the pull pool, after having called for help with the rest.
func (w *woken[T]) Run() {
	var batch [wakeBatch]T
	w.mu.Lock()
	n := copy(batch[:], w.list)
	rest := copy(w.list, w.list[n:])
	clear(w.list[rest:])
	w.list = w.list[:rest]
	w.scheduled = false
	w.mu.Unlock()
	w.schedule()
	for _, r := range batch[:n] {
		w.again(r)
	}
}

// drain runs all of the list on the caller's goroutine.
func (w *woken[T]) drain() {
	w.mu.Lock()
	list := w.list
	w.list = nil
	w.mu.Unlock()
	for _, r := range list {
		w.again(r)
	}
}
