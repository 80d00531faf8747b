// Package store keeps messages: one commit log of everything, a consume queue for each topic and queue that points into
// it, an index of message keys, and the tables of topics, groups and offsets. All files have the format of Apache
// RocketMQ (see FORMAT.md), so that either server opens the directory of the other.
package store

import (
	"net/netip"
)

// Message is a message to put. Body and Properties are copied before Put returns. Apache: MessageExtBrokerInner.
type Message struct {
	Topic                     string
	QueueID                   int32
	Flag                      int32
	SysFlag                   int32
	ReconsumeTimes            int32
	BornTimestampMs           int64
	BornHost                  netip.AddrPort
	PreparedTransactionOffset int64
	Body                      []byte
	Properties                []byte
	// TagsCode goes into the queue entry: codec.TagsCode of the tags, or the due time of a delayed message. PutBatch takes
	// it from each entry's properties instead.
	TagsCode int64
}

// PutResult says where a message went. Apache: AppendMessageResult.
type PutResult struct {
	QueueOffset int64
	// PhysOffset is where the record begins, EndOffset the byte after it.
	PhysOffset, EndOffset int64
	StoreTimestampMs      int64
}

// BatchPutResult says where the messages of a batch went: consecutive queue offsets from QueueOffset on.
type BatchPutResult struct {
	QueueOffset           int64
	PhysOffset, EndOffset int64
	StoreTimestampMs      int64
	Count                 int
	// PhysOffsets has one entry for each message; the slice is reused by the next PutBatch with the same result.
	PhysOffsets []int64
}

// GetStatus is the outcome of a Get. Apache: GetMessageStatus.
type GetStatus uint8

// The outcomes of a Get.
const (
	Found GetStatus = iota
	NoMatchedMessage
	MessageWasRemoving
	OffsetFoundNull
	OffsetOverflowBadly
	OffsetOverflowOne
	OffsetTooSmall
	NoMatchedLogicQueue
	NoMessageInQueue
)

var getStatusNames = [...]string{
	Found:               "FOUND",
	NoMatchedMessage:    "NO_MATCHED_MESSAGE",
	MessageWasRemoving:  "MESSAGE_WAS_REMOVING",
	OffsetFoundNull:     "OFFSET_FOUND_NULL",
	OffsetOverflowBadly: "OFFSET_OVERFLOW_BADLY",
	OffsetOverflowOne:   "OFFSET_OVERFLOW_ONE",
	OffsetTooSmall:      "OFFSET_TOO_SMALL",
	NoMatchedLogicQueue: "NO_MATCHED_LOGIC_QUEUE",
	NoMessageInQueue:    "NO_MESSAGE_IN_QUEUE",
}

// String returns Java's name of the status.
func (s GetStatus) String() string {
	if int(s) < len(getStatusNames) {
		return getStatusNames[s]
	}
	return "UNKNOWN"
}

// GetRequest asks for messages of one queue from QueueOffset on.
type GetRequest struct {
	Topic       string
	QueueID     int32
	QueueOffset int64
	// MaxMsgs is the most messages wanted; 0 counts as 1 as in Java.
	MaxMsgs int
	// MaxBytes is the most bytes wanted, 0 for no limit but the store's own. The first match is returned whole anyway.
	MaxBytes int
	// Filter passes messages by tag code; nil passes all.
	Filter *TagFilter
	// HotOnly makes Get return ErrCold instead of touching pages or files that may not be in memory.
	HotOnly bool
}

// GetResult is what a Get found. It is reused: Get overwrites all of it. After a Get without error the caller owes one
// Release, which makes Parts invalid. Apache: GetMessageResult.
type GetResult struct {
	Status          GetStatus
	NextQueueOffset int64
	MinQueueOffset  int64
	MaxQueueOffset  int64
	// Parts are the records as stored, neighbouring ones in one piece; slices of mapped files.
	Parts [][]byte
	// Bytes and Count are the size and number of the records in Parts.
	Bytes, Count int
	// Cold says that the data is older than the hot window.
	Cold bool

	held []*segment
}

// Arrival tells that entries became visible in a queue, up to and with QueueOffset.
type Arrival struct {
	Topic   string
	QueueID int32
	// FirstQueueOffset and QueueOffset are the first and the last new entry.
	FirstQueueOffset, QueueOffset int64
	// TagsCode is the tag code of all new entries when SameTags is set; otherwise they differ.
	TagsCode int64
	SameTags bool
	// PhysOffset, StoreTimestampMs are those of the last new entry.
	PhysOffset       int64
	StoreTimestampMs int64
}

// Store is an open store directory. All methods may be called from any goroutine.
type Store struct {
	opts Options
}

// Open opens or creates the store in opts.Dir and recovers it.
func Open(opts Options) (*Store, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return nil, ErrClosed
}

// Close stops the store's goroutines, flushes everything and marks the stop as a clean one.
func (s *Store) Close() error { return ErrClosed }

// Put appends a message. It does not wait for a disk: ErrWouldBlock says that the pages behind the log's end are not
// ready, and PutWait waits for them. It does not allocate.
func (s *Store) Put(m *Message, r *PutResult) error { return ErrClosed }

// PutWait is Put that waits for the next segment.
func (s *Store) PutWait(m *Message, r *PutResult) error { return ErrClosed }

// PutBatch appends the messages of the batch body m.Body, contiguous in one segment. Errors as Put.
func (s *Store) PutBatch(m *Message, r *BatchPutResult) error { return ErrClosed }

// PutBatchWait is PutBatch that waits for the next segment.
func (s *Store) PutBatchWait(m *Message, r *BatchPutResult) error { return ErrClosed }

// Written returns the physical offset up to which records are in the log.
func (s *Store) Written() int64 { return 0 }

// Flushed returns the physical offset up to which the log is on disk.
func (s *Store) Flushed() int64 { return 0 }

// Dispatched returns the physical offset up to which queue and index entries exist.
func (s *Store) Dispatched() int64 { return 0 }

// AfterFlush calls fn once: with nil when the log is flushed up to physOffset, with ErrFlushTimeout after
// Options.SyncFlushTimeout, with ErrReadOnly after a failed flush, with ErrClosed when the store closes before. It calls
// from the flusher's goroutine, or at once when physOffset is flushed already; fn must not block.
func (s *Store) AfterFlush(physOffset int64, fn func(err error)) { fn(ErrClosed) }

// Get reads messages of a queue. The error is ErrCold (HotOnly), ErrClosed, or ErrCorrupt; what Java reports as a status
// is in r.Status.
func (s *Store) Get(q *GetRequest, r *GetResult) error { return ErrClosed }

// Release gives back the segments that Parts lie in. Apache: GetMessageResult.release.
func (r *GetResult) Release() {}

// MinQueueOffset returns the first offset of a queue whose message is still in the log, 0 for an unknown queue.
func (s *Store) MinQueueOffset(topic string, queueID int32) int64 { return 0 }

// MaxQueueOffset returns the offset after the last entry of a queue, 0 for an unknown queue.
func (s *Store) MaxQueueOffset(topic string, queueID int32) int64 { return 0 }

// QueueOffsetByTime returns the first offset whose store time is at or after timestampMs (boundary LOWER).
func (s *Store) QueueOffsetByTime(topic string, queueID int32, timestampMs int64) int64 { return 0 }

// QueueOffsetByTimeUpper returns the last offset whose store time is at or before timestampMs (boundary UPPER).
func (s *Store) QueueOffsetByTimeUpper(topic string, queueID int32, timestampMs int64) int64 {
	return 0
}

// EarliestStoreTime returns the store time in ms of a queue's first message, -1 when there is none.
func (s *Store) EarliestStoreTime(topic string, queueID int32) int64 { return -1 }

// StoreTimeAt returns the store time in ms of the message at queueOffset, -1 when there is none.
func (s *Store) StoreTimeAt(topic string, queueID int32, queueOffset int64) int64 { return -1 }

// MessageAt returns a copy of the record that begins at physOffset. ErrNotFound when none does.
func (s *Store) MessageAt(physOffset int64) ([]byte, error) { return nil, ErrClosed }

// QueueEntry returns what a queue holds at queueOffset.
func (s *Store) QueueEntry(topic string, queueID int32, queueOffset int64) (physOffset int64, size int32, tagsCode int64, ok bool) {
	return 0, 0, 0, false
}

// InMemory reports whether physOffset lies in the hot window behind the end of the log.
func (s *Store) InMemory(physOffset int64) bool { return false }

// MinPhysOffset returns the first physical offset in the log.
func (s *Store) MinPhysOffset() int64 { return 0 }

// MaxPhysOffset returns the physical offset after the last record, the same as Written.
func (s *Store) MaxPhysOffset() int64 { return 0 }

// DeleteTopic removes the queues of a topic and their files. Puts to it begin again at queue offset 0.
func (s *Store) DeleteTopic(topic string) error { return ErrClosed }
