package store

// prefetchWrite asks for the lines of b, to be written, and does not wait for them. What is not in memory stays where it is.
//
//go:noescape
func prefetchWrite(b []byte)

// prefetchEnd asks for the n bytes behind the last of *b. Somebody may be changing *b: it only looks where they were.
//
//go:noescape
func prefetchEnd(b *[]byte, n int)
