package store

import "unsafe"

// prefetch asks for the lines of n bytes at p, and does not wait for them. What is not in memory stays where it is.
//
//go:noescape
func prefetch(p unsafe.Pointer, n uintptr)

// prefetchWrite is prefetch of what will be written.
//
//go:noescape
func prefetchWrite(p unsafe.Pointer, n uintptr)

// prefetchEnd is prefetchWrite of where the staged entries will go, when the next one fills the stage. Somebody may be changing *t: it
// only looks where they would go.
//
//go:noescape
func prefetchEnd(t *lateTail)
