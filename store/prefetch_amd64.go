package store

// prefetchWrite asks for the lines of b, to be written, and does not wait for them. What is not in memory stays where it is.
//
//go:noescape
func prefetchWrite(b []byte)
