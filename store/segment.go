package store

// segment is one file of the commit log, mapped for its whole length.
type segment struct{}
