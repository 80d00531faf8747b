package store

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls fn for each entry of list from some goroutines, and returns all errors.
func inParallel[T any](list []T, fn func(T) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var failed []error
	var wg sync.WaitGroup
	for range min(8, 2*runtime.GOMAXPROCS(0), len(list)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				if err := fn(list[i]); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
