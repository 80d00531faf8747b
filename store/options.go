package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// FlushMode says when a put counts as durable. Apache: FlushDiskType.
type FlushMode uint8

// The two flush modes.
const (
	// FlushAsync flushes in the background, every FlushInterval.
	FlushAsync FlushMode = iota
	// FlushSync also flushes as soon as somebody waits for it (AfterFlush), for all who wait in one go.
	FlushSync
)

// FlushModeOf reads Java's names ASYNC_FLUSH and SYNC_FLUSH.
func FlushModeOf(name string) (FlushMode, error) {
	switch name {
	case "ASYNC_FLUSH":
		return FlushAsync, nil
	case "SYNC_FLUSH":
		return FlushSync, nil
	}
	return 0, fmt.Errorf("flush mode %q is neither ASYNC_FLUSH nor SYNC_FLUSH", name)
}

// Options are the settings of a store. The zero value is not usable, start from DefaultOptions.
type Options struct {
	// Dir is the root of the store, Java's storePathRootDir.
	Dir string
	// CommitLogDir holds the commit log segments. The default value is Dir/commitlog.
	CommitLogDir string
	// MoreLogDirs are further directories of the commit log: new segments take turns over CommitLogDir and these. The default
	// value is nil.
	MoreLogDirs []string
	// ReadOnlyLogDirs are directories with segments that are read and get no new ones beside them. The default value is nil.
	ReadOnlyLogDirs []string
	// SegmentBytes is the length of a new commit log segment; existing ones keep theirs. The default value is 1 GiB.
	SegmentBytes int64
	// QueueSegmentEntries is the number of entries of a new consume queue file. The default value is 300,000.
	QueueSegmentEntries int
	// BatchQueueSegmentEntries is the number of entries of a new file of a batch consume queue. The default value is
	// 300,000.
	BatchQueueSegmentEntries int
	// ExtUnits gives each entry of an ordinary queue a unit in consumequeue_ext. The default value is false.
	ExtUnits bool
	// ExtSegmentBytes is the length of a new file of units. The default value is 48 MiB.
	ExtSegmentBytes int64
	// OpenFilters, if set, opens the expressions that groups have; Open calls it under the directory's lock. The default value is
	// nil.
	OpenFilters func() (*Filters, error)
	// BitMaps gives units the bits of those expressions. The default value is false.
	BitMaps bool
	// MaxMappedQueues bounds the consume queue files that are mapped at one time. The default value is 16,384;
	// Linux allows a process 65,530 mappings in all.
	MaxMappedQueues int

	// FlushMode is how soon the log is flushed for those who wait. The default value is FlushAsync.
	FlushMode FlushMode
	// FlushInterval is the period of the background flush. The default value is 500 ms.
	FlushInterval time.Duration
	// QueueFlushInterval is the period in which queue files and the checkpoint are flushed. The default value is 1 s.
	QueueFlushInterval time.Duration
	// SyncFlushTimeout is how long AfterFlush waits for a flush. The default value is 5 s.
	SyncFlushTimeout time.Duration

	// QueueListBytes is how much the log grows before the queue list is written again, from which a start after a kill goes on;
	// 0 for never but at a clean stop. The default value is 16 MiB.
	QueueListBytes int64
	// QueueListInterval is the least time between two of them, longer where they take long or thousands of files have to be flushed; 0 for
	// none. The default value is 10 s.
	QueueListInterval time.Duration
	// MaxMessageBytes limits a body. The default value is 4 MiB.
	MaxMessageBytes int
	// StoreHost is written into every record as the address of this broker.
	StoreHost netip.AddrPort
	// CheckCRC verifies body checksums while recovering. The default value is true.
	CheckCRC bool
	// AppendPropCRC ends the properties of each record with a checksum of the whole, which recovery then verifies where there is one.
	// The default value is false.
	AppendPropCRC bool
	// ForcePropCRC makes recovery demand that checksum of every record. The default value is false.
	ForcePropCRC bool
	// TopicExists, if set, tells recovery which topics have queues; messages of others get no queue entry. The default
	// value is nil: every topic has.
	TopicExists func(topic string) bool

	// QueueType, if set, tells what the queues of a topic are made of. The default value is nil: all are simple.
	QueueType func(topic string) QueueType
	// CompactionTopic, if set, tells which topics have the cleanup policy COMPACTION; it is asked once for each queue. The
	// default value is nil: none has, as with Java's enableCompaction=false.
	CompactionTopic func(topic string) bool
	// CompactionLogBytes and CompactionQueueBytes are the lengths of a new compaction log's files, of records and of 46-byte
	// entries; Java's relation between them is kept. The default values are 100 MiB and 10 MiB.
	CompactionLogBytes, CompactionQueueBytes int64
	// CompactionInterval is the period of compaction. The default value is 15 min.
	CompactionInterval time.Duration
	// CompactionKeyBytes bounds the memory for message keys while one queue is compacted. The default value is 100 MiB.
	CompactionKeyBytes int64

	// DelayLevels are the rests of delayed messages; recovery computes due times from them. The default value is that of
	// DefaultDelayLevels.
	DelayLevels DelayLevels

	// MultiDispatch gives messages that name light message queues an entry in each of them. The default value is false.
	MultiDispatch bool
	// MaxLMQs bounds the light message queues that clients may make. The default value is 20,000.
	MaxLMQs int

	// HotBytes is how far behind the end of the log data counts as being in memory. The default value is 40 % of RAM.
	HotBytes int64
	// MaxFilterBytes is the stretch of consume queue one Get may scan. The default value is 16,000.
	MaxFilterBytes int
	// MaxHotMessages and MaxHotBytes limit one Get of data in memory. The default values are 32 and 256 KiB.
	MaxHotMessages, MaxHotBytes int
	// MaxColdMessages and MaxColdBytes limit one Get of older data. The default values are 8 and 64 KiB.
	MaxColdMessages, MaxColdBytes int

	// IndexEnabled keeps the index of message keys. The default value is true.
	IndexEnabled bool
	// IndexSlots and IndexEntries size a new index file. The default values are 5,000,000 and 20,000,000.
	IndexSlots, IndexEntries int
	// IndexWait is how long a query by key waits for an index that is behind the log. The default value is 3 s.
	IndexWait time.Duration

	// OnArrival, if set, is called by the dispatcher after the entries of queues became visible, with one arrival for each queue
	// touched by a batch. It must not block, call Close, or keep the arrivals.
	OnArrival func(batch []Arrival)
	// Retention says what of the log is deleted when; Store.SetRetention changes it. The default value is DefaultRetention.
	Retention Retention
	// DiskUsage measures the disk that a path lies on. The default value is DiskOf.
	DiskUsage func(path string) (Disk, error)
	// LiveOffsets, if set, calls each, until it says no, for every queue of every consumer group that has members now. The
	// default value is nil: nobody is known to consume.
	LiveOffsets func(each func(o LiveOffset) (more bool))
	// Now is the clock. The default value is time.Now.
	Now func() time.Time
	// Faults, if set, is asked before each file operation that may fail. The default value is nil.
	Faults func(op FileOp, path string) error
	// Logger takes what happens. The default value discards.
	Logger *slog.Logger

	// AllocChunkBytes is how much of a commit log segment gets disk blocks at a time. The default value is 16 MiB.
	AllocChunkBytes int64
	// TouchAheadBytes is how far ahead of the write position pages are made present. The default value is 32 MiB.
	TouchAheadBytes int64
	// DispatchRing is the number of puts the dispatcher may lag behind before it reads the log again. The default value is
	// 32,768; it is rounded up to a power of two.
	DispatchRing int
}

// FileOp names a file operation for Options.Faults.
type FileOp string

// The file operations that Options.Faults is asked about.
const (
	OpCreate   FileOp = "create"
	OpAllocate FileOp = "allocate"
	OpMap      FileOp = "map"
	OpFlush    FileOp = "flush"
	OpRename   FileOp = "rename"
	OpRemove   FileOp = "remove"
	OpRead     FileOp = "read"
	OpWrite    FileOp = "write"
)

// DefaultOptions returns Java's settings for a store in dir.
func DefaultOptions(dir string) Options {
	return Options{
		Dir:                 dir,
		CommitLogDir:        filepath.Join(dir, "commitlog"),
		SegmentBytes:        1 << 30,
		QueueSegmentEntries: 300000,
		MaxMappedQueues:     16384,

		BatchQueueSegmentEntries: 300000,
		ExtSegmentBytes:          48 << 20,

		FlushInterval:      500 * time.Millisecond,
		QueueFlushInterval: time.Second,
		SyncFlushTimeout:   5 * time.Second,
		QueueListBytes:     16 << 20,
		QueueListInterval:  10 * time.Second,
		MaxMessageBytes:    4 << 20,
		StoreHost:          netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 10911),
		CheckCRC:           true,
		MaxLMQs:            20000,
		HotBytes:           hotBytesOfRAM(),
		MaxFilterBytes:     16000,
		MaxHotMessages:     32,
		MaxHotBytes:        256 << 10,
		MaxColdMessages:    8,
		MaxColdBytes:       64 << 10,
		IndexEnabled:       true,
		IndexSlots:         5000000,
		IndexEntries:       20000000,
		IndexWait:          3 * time.Second,
		Retention:          DefaultRetention(),
		DiskUsage:          DiskOf,
		Now:                time.Now,
		Logger:             slog.New(slog.NewTextHandler(io.Discard, nil)),
		AllocChunkBytes:    16 << 20,
		TouchAheadBytes:    32 << 20,
		DispatchRing:       32768,

		CompactionLogBytes:   100 << 20,
		CompactionQueueBytes: 10 << 20,
		CompactionInterval:   15 * time.Minute,
		CompactionKeyBytes:   100 << 20,
	}
}

// validate fills what is derived and refuses what cannot work.
func (o *Options) validate() error {
	if o.Dir == "" {
		return errors.New("store directory is not set")
	}
	if o.CommitLogDir == "" {
		o.CommitLogDir = filepath.Join(o.Dir, "commitlog")
	}
	if writable, _ := logDirsOf(o); len(writable) == 0 {
		return fmt.Errorf("all directories of the commit log (%s) are read-only: name one more that segments can be written to",
			strings.Join(o.ReadOnlyLogDirs, ", "))
	}
	switch {
	case o.SegmentBytes < 4096 || o.SegmentBytes > 1<<31-1:
		return fmt.Errorf("commit log segment of %d bytes: between 4096 and 2147483647 are possible", o.SegmentBytes)
	case o.QueueSegmentEntries < 1 || o.QueueSegmentEntries > 1<<26:
		return fmt.Errorf("consume queue file of %d entries: between 1 and 67108864 are possible", o.QueueSegmentEntries)
	case o.BatchQueueSegmentEntries < 1 || o.BatchQueueSegmentEntries > 1<<25:
		return fmt.Errorf("batch consume queue file of %d entries: between 1 and 33554432 are possible", o.BatchQueueSegmentEntries)
	case o.ExtUnits && (o.ExtSegmentBytes < 1024 || o.ExtSegmentBytes > 1<<31-1):
		return fmt.Errorf("file of extended queue units of %d bytes: between 1024 and 2147483647 are possible", o.ExtSegmentBytes)
	case o.MaxMessageBytes < 1 || o.MaxMessageBytes > 1<<30:
		return fmt.Errorf("message limit of %d bytes is out of range", o.MaxMessageBytes)
	case o.Now == nil || o.Logger == nil || o.DiskUsage == nil:
		return errors.New("store options without clock, logger or disk usage")
	case !o.StoreHost.IsValid():
		return errors.New("store host is not set")
	case o.FlushInterval <= 0 || o.QueueFlushInterval <= 0 || o.SyncFlushTimeout <= 0:
		return errors.New("flush intervals must be positive")
	}
	if err := o.fitCompaction(); err != nil {
		return err
	}
	if o.DelayLevels == nil {
		levels, err := ParseDelayLevels(DefaultDelayLevels)
		if err != nil {
			return err
		}
		o.DelayLevels = levels
	}
	o.MaxMappedQueues = max(o.MaxMappedQueues, 16)
	o.AllocChunkBytes = max(o.AllocChunkBytes, 64<<10)
	o.TouchAheadBytes = max(o.TouchAheadBytes, 64<<10)
	o.DispatchRing = max(o.DispatchRing, 16)
	return nil
}
