package store

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// queueEnds remembers where queues ended whose files were deleted because none of their messages is left, in
// apogee/ends.json: {"topic":{"queueId":offset}}. They go on there; Java begins them again at 0. What the files of a queue say
// counts for more.
type queueEnds struct {
	path   string
	faults faultFunc

	mu   sync.Mutex // guards ends
	ends map[string]map[int32]int64
}

// load reads the file. One that cannot be read is as good as none, which is what Java has.
func (e *queueEnds) load(dir string, faults faultFunc, logger *slog.Logger) error {
	e.path, e.faults = filepath.Join(dir, ownDir, "ends.json"), faults
	e.ends = make(map[string]map[int32]int64)
	good, err := readSealed(e.path, &e.ends, logger)
	if err != nil {
		return err
	}
	if !good || e.ends == nil {
		e.ends = make(map[string]map[int32]int64)
	}
	return nil
}

// apply gives queues without files their ends, and forgets those of all others. Recovery calls it when it has found the files.
func (e *queueEnds) apply(s *Store) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for topic, ids := range e.ends {
		if checkTopic(topic) != nil || s.opts.TopicExists != nil && !s.opts.TopicExists(topic) {
			delete(e.ends, topic)
			continue
		}
		for id, end := range ids {
			if id < 0 || end <= 0 {
				delete(ids, id)
			} else if q := s.queues.findOrCreate(topic, id); len(q.files) > 0 {
				delete(ids, id)
			} else {
				q.max.Store(end)
				q.min.Store(end)
			}
		}
	}
}

// has reports whether the queue's files were deleted.
func (e *queueEnds) has(topic string, id int32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.ends[topic][id]
	return ok
}

// add notes ends and waits for the disk.
func (e *queueEnds) add(list []*queue) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, q := range list {
		if e.ends[q.topic] == nil {
			e.ends[q.topic] = make(map[int32]int64)
		}
		e.ends[q.topic][q.id] = q.max.Load()
	}
	return e.saveLocked()
}

// forget drops the ends of topics that are deleted: their queues begin again at 0.
func (e *queueEnds) forget(topics []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := len(e.ends)
	for _, topic := range topics {
		delete(e.ends, topic)
	}
	if len(e.ends) == before {
		return nil
	}
	return e.saveLocked()
}

func (e *queueEnds) saveLocked() error {
	b, err := sealed(e.ends)
	if err != nil {
		return err
	}
	return writeWhole(e.path, b, e.faults)
}

// DeleteExpiredQueues deletes the files of the queues of which the log has no message any more, of topics that may be
// cleaned, and returns how many queues that were. Their offsets go on. Apache: ConsumeQueueStore.cleanExpired.
func (s *Store) DeleteExpiredQueues(may func(topic string) bool) (int, error) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Load() {
		return 0, ErrClosed
	}
	logMin := s.log.minPhys()
	var list []*queue
	s.queues.each("", func(q *queue) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.expiredLocked(logMin) && may(q.topic) {
			list = append(list, q)
		}
	})
	if len(list) == 0 {
		return 0, nil
	}
	if err := s.ends.add(list); err != nil { // before the files go
		return 0, err
	}
	trash, err := s.makeTrash()
	if err != nil {
		return 0, err
	}
	n := 0
	for i, q := range list {
		gone, err := s.detachExpired(q, logMin, filepath.Join(trash, strconv.Itoa(i)))
		if err != nil {
			return n, err
		}
		if gone {
			n++
		}
	}
	if err := os.RemoveAll(trash); err != nil {
		return n, wrapFileError(OpRemove, trash, err)
	}
	return n, nil
}

// expiredLocked reports whether the queue has files, and no entry whose record is in a log that begins at logMin.
func (q *queue) expiredLocked(logMin int64) bool {
	return !q.gone && len(q.files) > 0 && q.maxPhys > 0 && q.maxPhys <= logMin
}

// detachExpired takes the files from a queue that is still without messages; under the append lock, so that none is on its way.
func (s *Store) detachExpired(q *queue, logMin int64, trash string) (bool, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.expiredLocked(logMin) || q.next != q.max.Load() {
		return false, nil
	}
	if err := q.all.faults.check(OpRemove, q.dir()); err != nil {
		return false, err
	}
	if err := os.Rename(q.dir(), trash); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, wrapFileError(OpRemove, q.dir(), err)
	}
	for _, f := range q.files {
		q.dropLocked(f)
	}
	q.files, q.end = nil, 0
	if err := q.clearExtLocked(); err != nil {
		return false, err
	}
	q.min.Store(q.max.Load())
	// The topic's directory goes with its last queue.
	_ = os.Remove(filepath.Dir(q.dir()))
	return true, nil
}
