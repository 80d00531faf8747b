//go:build !amd64

package store

// prefetchWrite asks for the lines of b where the processor can be told which.
func prefetchWrite([]byte) {}
