package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	jsoniter "github.com/json-iterator/go"
)

// queueList is apogee/queues.json: which queues there were and how long, when all records before End had their entries, and
// these were on disk. It is written now and then and at a clean stop.
//
// After a clean stop the start finds out with it that a queue was lost meanwhile, which the queues themselves cannot
// tell. When somebody else has written since, the log ends elsewhere and the list counts for nothing. After any other stop
// queues are as long as it says, or longer: recovery begins at End. A list that was written while the store ran may have
// entries of records from End on; they are on disk, too.
type queueList struct {
	End int64 `json:"end"`
	// Stamp is what the time of last change of the file abort is set to, in ns, while the list counts: another server that
	// opens the store writes the file anew.
	Stamp int64 `json:"stamp,omitempty"`
	// LastAt is where the last record before End begins.
	LastAt int64                      `json:"lastAt,omitempty"`
	Queues map[string]map[int32]int64 `json:"queues"` // topic, queue id, maximum offset
	// Files are those of the queues.
	Files map[string]map[int32]listedQueue `json:"files,omitempty"`
	// IndexEnd is the index's newest entry, -1 when it has none, Indexed up to where the log was indexed; messages without keys lie between.
	IndexEnd int64 `json:"indexEnd"`
	Indexed  int64 `json:"indexed"`
}

func queueListPath(dir string) string { return filepath.Join(dir, ownDir, "queues.json") }

// readQueueList reads the list; one that cannot be read is as good as none.
func readQueueList(dir string) (queueList, error) {
	var l queueList
	b, err := os.ReadFile(queueListPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, wrapFileError(OpRead, queueListPath(dir), err)
	}
	text, err := sealedText(b)
	if err != nil || l.parse(text) != nil {
		return queueList{}, nil
	}
	return l, nil
}

// parse reads JSON. It knows what it reads, which with 100,000 queues is a matter of some hundred milliseconds.
func (l *queueList) parse(text []byte) error {
	it := jsoniter.ParseBytes(jsoniter.ConfigCompatibleWithStandardLibrary, text)
	it.ReadObjectCB(func(it *jsoniter.Iterator, field string) bool {
		switch field {
		case "end":
			l.End = it.ReadInt64()
		case "stamp":
			l.Stamp = it.ReadInt64()
		case "lastAt":
			l.LastAt = it.ReadInt64()
		case "indexEnd":
			l.IndexEnd = it.ReadInt64()
		case "indexed":
			l.Indexed = it.ReadInt64()
		case "queues":
			l.Queues = readByQueue(it, (*jsoniter.Iterator).ReadInt64)
		case "files":
			l.Files = readByQueue(it, readListed)
		default:
			it.Skip()
		}
		return it.Error == nil
	})
	if it.Error != nil {
		return it.Error
	}
	if it.WhatIsNext() != jsoniter.InvalidValue || !errors.Is(it.Error, io.EOF) {
		return fmt.Errorf("%w: something follows the list of queues", ErrCorrupt)
	}
	return nil
}

// readByQueue reads an object of values by topic and queue id.
func readByQueue[V any](it *jsoniter.Iterator, read func(*jsoniter.Iterator) V) map[string]map[int32]V {
	all := make(map[string]map[int32]V)
	it.ReadObjectCB(func(it *jsoniter.Iterator, topic string) bool {
		ids := make(map[int32]V)
		all[topic] = ids
		return it.ReadObjectCB(func(it *jsoniter.Iterator, text string) bool {
			id, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				it.ReportError("queue id", err.Error())
				return false
			}
			ids[int32(id)] = read(it)
			return it.Error == nil
		})
	})
	return all
}

// readListed reads the numbers of a queue; those that are missing are 0.
func readListed(it *jsoniter.Iterator) (l listedQueue) {
	n := 0
	it.ReadArrayCB(func(it *jsoniter.Iterator) bool {
		if n < len(l) {
			l[n] = it.ReadInt64()
		} else {
			it.Skip()
		}
		n++
		return it.Error == nil
	})
	return l
}

// saveQueueList writes the list of a store that has stopped.
func (s *Store) saveQueueList() error {
	l := s.listQueues()
	if x := s.index; x.index != nil {
		l.IndexEnd, l.Indexed = x.index.newest(), x.from
		if x.live {
			l.Indexed = l.End
		}
	}
	return l.write(s.opts.Dir, s.opts.Faults)
}

// listQueues says how long the queues are. What it lists of records from End on need not be on disk yet.
func (s *Store) listQueues() queueList {
	l := queueList{Stamp: s.lister.stamp, Queues: make(map[string]map[int32]int64), Files: make(map[string]map[int32]listedQueue)}
	l.End, l.LastAt = s.dispatcher.at()
	whole := true // else the next start looks at the directories
	s.queues.each("", func(q *queue) {
		files, n, ok := q.listed()
		whole = whole && ok
		if n == 0 {
			return
		}
		if l.Queues[q.topic] == nil {
			l.Queues[q.topic] = make(map[int32]int64)
		}
		l.Queues[q.topic][q.id] = n
		if files == (listedQueue{}) {
			return
		}
		if l.Files[q.topic] == nil {
			l.Files[q.topic] = make(map[int32]listedQueue)
		}
		l.Files[q.topic][q.id] = files
	})
	if !whole {
		l.Files = nil
	}
	return l
}

func (l *queueList) write(dir string, faults faultFunc) error {
	b, err := sealed(l)
	if err != nil {
		return err
	}
	return writeWhole(queueListPath(dir), b, faults)
}

// missing calls fn for each queue that s does not have in full.
func (l *queueList) missing(s *Store, fn func(q *queue)) {
	for topic, ids := range l.Queues {
		if checkTopic(topic) != nil || s.opts.TopicExists != nil && !s.opts.TopicExists(topic) {
			continue
		}
		for id, n := range ids {
			if q := s.queues.findOrCreate(topic, id); q.max.Load() < n {
				fn(q)
			}
		}
	}
}
