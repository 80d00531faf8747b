package store

import (
	"errors"
	"os"
	"path/filepath"
)

// DeleteTopic removes the queues of a topic and their files. Its records stay in the log until their segments are
// deleted, but nothing leads to them any more, after a recovery neither. Puts to the topic begin again at queue offset 0.
// Apache: ConsumeQueueStore.deleteTopic.
func (s *Store) DeleteTopic(topic string) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	// The mark is on disk before the files go, so that a stop in between leaves either the topic or nothing of it.
	marked := s.Written()
	if err := s.deleted.mark(topic, marked); err != nil {
		return err
	}
	trash, err := s.detach(topic, &marked)
	if err != nil {
		return err
	}
	if err := s.deleted.mark(topic, marked); err != nil { // what was put while the first mark was written
		return err
	}
	if err := os.RemoveAll(trash); err != nil {
		return wrapFileError(OpRemove, trash, err)
	}
	return nil
}

// detach takes the topic's queues out of use and its directory out of the way, under the append lock: the next put to
// the topic finds nothing of them.
func (s *Store) detach(topic string, marked *int64) (trash string, err error) {
	trash = filepath.Join(s.opts.Dir, ownDir, "trash")
	if err := os.MkdirAll(trash, 0o755); err != nil {
		return "", wrapFileError(OpRemove, trash, err)
	}
	trash, err = os.MkdirTemp(trash, "topic")
	if err != nil {
		return "", wrapFileError(OpRemove, trash, err)
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for _, q := range s.queues.take(topic) {
		q.removed = true
		q.mu.Lock()
		for _, f := range q.files {
			q.dropLocked(f)
		}
		q.files, q.gone = nil, true
		q.mu.Unlock()
	}
	*marked = s.Written()
	for _, kind := range kinds {
		dir := filepath.Join(s.queues.rootOf(kind), topic)
		if err := s.queues.faults.check(OpRemove, dir); err != nil {
			return "", err
		}
		if err := os.Rename(dir, filepath.Join(trash, kind.folder())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", wrapFileError(OpRemove, dir, err)
		}
	}
	return trash, nil
}

// emptyTrash removes what a stop in the middle of a deletion left.
func (s *Store) emptyTrash() error {
	dir := filepath.Join(s.opts.Dir, ownDir, "trash")
	if err := os.RemoveAll(dir); err != nil {
		return wrapFileError(OpRemove, dir, err)
	}
	return nil
}
