package store

import (
	"errors"
	"fmt"
)

// Errors of the store. Test with errors.Is; most come wrapped with the place they were noticed at.
var (
	// ErrNoSpace says that disk blocks could not be allocated for what was to be written. Nothing was written.
	ErrNoSpace = errors.New("no disk space for the store")
	// ErrReadOnly says that the store takes no more messages because a flush failed; what is stored can be read.
	ErrReadOnly = errors.New("store is read-only after a failed flush")
	// ErrClosed says that the store is closed or closing.
	ErrClosed = errors.New("store is closed")
	// ErrMessageTooLarge says that a body, the properties or a whole record exceed their limit.
	ErrMessageTooLarge = errors.New("message too large")
	// ErrIllegal says that a message cannot be stored as it is: no topic, topic too long, negative queue, broken batch body.
	ErrIllegal = errors.New("illegal message")
	// ErrCorrupt says that bytes on disk are not what they should be. The wrapping error names file and position.
	ErrCorrupt = errors.New("corrupt data")
	// ErrWouldBlock says that the pages behind the write position are not ready yet; PutWait waits for them.
	ErrWouldBlock = errors.New("segment not ready")
	// ErrCold says that a hot-only read would have to touch pages that may not be in memory.
	ErrCold = errors.New("read would touch cold data")
	// ErrFlushTimeout says that a message is stored but was not flushed within Options.SyncFlushTimeout.
	ErrFlushTimeout = errors.New("flush timed out")
	// ErrStuck says that queue or index files cannot grow, so that stored messages are not visible yet. Puts are refused
	// until they are.
	ErrStuck = errors.New("queues are behind the commit log")
	// ErrNotFound says that there is no message at a physical offset.
	ErrNotFound = errors.New("no message at this offset")
	// ErrIndexBehind says that the key index does not have all messages yet that a query asks for.
	ErrIndexBehind = errors.New("key index is still being built from the commit log")
	// ErrInUse says that another process holds the store directory.
	ErrInUse = errors.New("store directory is in use by another process")
	// ErrForeign says that the directory belongs to a kind of store this one does not read (RocksDB queues, DLedger log).
	ErrForeign = errors.New("store directory of another kind")
)

// errDiskFull refuses puts while a disk is above its warning watermark.
var errDiskFull = fmt.Errorf("%w: disk is above its warning watermark", ErrNoSpace)
