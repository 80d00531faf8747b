//go:build !amd64

package store

import "unsafe"

// Elsewhere the processor is not told what is going to be needed.

func prefetch(unsafe.Pointer, uintptr) {}

func prefetchWrite(unsafe.Pointer, uintptr) {}

func prefetchEnd(*lateTail) {}
