package store

// IndexOptions are the settings of the key index.
type IndexOptions struct {
	TableOptions
	// Dir holds the index files.
	Dir string
	// Slots and Entries size a new file. The default values are 5,000,000 and 20,000,000.
	Slots, Entries int
}

// Index finds messages by key: files of Java's IndexFile format, oldest first. Put has one caller at a time, everything
// else may be called from any goroutine. Apache: IndexService.
type Index struct{}

// IndexResult is what Query found.
type IndexResult struct {
	// PhysOffsets are in ascending order.
	PhysOffsets []int64
	// EndTimestampMs and EndPhysOffset are those of the newest entry in the index.
	EndTimestampMs, EndPhysOffset int64
}

// OpenIndex opens the files in opts.Dir. After an abnormal exit those with entries newer than checkpointMs, the
// checkpoint's index time, are not trusted and removed. A file that cannot be an index is left alone and named in a
// warning.
func OpenIndex(opts IndexOptions, abnormal bool, checkpointMs int64) (*Index, error) {
	return &Index{}, nil
}

// Close flushes and unmaps all files.
func (x *Index) Close() error { return nil }

// Put indexes one message under its unique key (if any) and each blank-separated key. A message before EndPhysOffset
// is in the index already and ignored. It does not allocate except for a new file. After an error, ErrNoSpace among
// them, the message is not or only partly in the index.
func (x *Index) Put(topic string, uniqKey, keys []byte, physOffset, storeTimestampMs int64) error {
	return nil
}

// Query returns at most min(max, 64) messages of a topic with a key and a store time, in whole seconds, between beginMs
// and endMs. Different keys may have the same hash: the caller compares. Apache: IndexService.queryOffset.
func (x *Index) Query(topic, key string, max int, beginMs, endMs int64) (IndexResult, error) {
	return IndexResult{}, nil
}

// EndPhysOffset returns the physical offset of the newest message in the index, 0 for an empty one. Recovery dispatches
// from there on at the latest.
func (x *Index) EndPhysOffset() int64 { return 0 }

// Flush writes files that became full since the last Flush to disk and returns the store time in ms of the newest
// message in full files, for the checkpoint; 0 when there is none.
func (x *Index) Flush() (checkpointMs int64, err error) { return 0, nil }

// DeleteBelow removes files whose messages all lie before physOffset, never the newest. Apache:
// IndexService.deleteExpiredFile.
func (x *Index) DeleteBelow(physOffset int64) error { return nil }
