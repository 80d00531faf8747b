//go:build !amd64

package store

// prefetchWrite asks for the lines of b where the processor can be told which.
func prefetchWrite([]byte) {}

// prefetchEnd asks for the n bytes behind the last of *b where the processor can be told which.
func prefetchEnd(*[]byte, int) {}
