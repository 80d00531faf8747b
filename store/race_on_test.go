//go:build race

package store

// raceOn says that the race detector runs, under which a sync.Pool loses things on purpose.
const raceOn = true
