package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// DeleteTopic removes the queues of a topic and their files. Its records stay in the log until their segments are
// deleted, but nothing leads to them any more, after a recovery neither. Puts to the topic begin again at queue offset 0.
// Apache: ConsumeQueueStore.deleteTopic.
func (s *Store) DeleteTopic(topic string) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	return s.deleteTopics([]string{topic})
}

// DeleteUnusedTopics deletes the topics that have queues but are not used, and returns their names. Apache:
// DefaultMessageStore.cleanUnusedTopic.
func (s *Store) DeleteUnusedTopics(used func(topic string) bool) ([]string, error) {
	seen := make(map[string]bool)
	var unused []string
	s.queues.each("", func(q *queue) {
		if !seen[q.topic] {
			seen[q.topic] = true
			if !used(q.topic) {
				unused = append(unused, q.topic)
			}
		}
	})
	if len(unused) == 0 {
		return nil, nil
	}
	slices.Sort(unused)
	return unused, s.deleteTopics(unused)
}

func (s *Store) deleteTopics(topics []string) error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	// The marks are on disk before the files go, so that a stop in between leaves either a topic or nothing of it.
	marks := make(map[string]int64, len(topics))
	written := s.Written()
	for _, topic := range topics {
		marks[topic] = written
	}
	if err := s.deleted.mark(marks); err != nil {
		return err
	}
	if err := s.ends.forget(topics); err != nil {
		return err
	}
	trash, err := s.makeTrash()
	if err != nil {
		return err
	}
	for i, topic := range topics {
		if marks[topic], err = s.detach(topic, filepath.Join(trash, strconv.Itoa(i))); err != nil {
			return err
		}
	}
	if err := s.compact.positions.forget(topics); err != nil {
		return err
	}
	if err := s.deleted.mark(marks); err != nil { // what was put while the first marks were written
		return err
	}
	if err := os.RemoveAll(trash); err != nil {
		return wrapFileError(OpRemove, trash, err)
	}
	return nil
}

// makeTrash makes a directory for what is on its way out.
func (s *Store) makeTrash() (string, error) {
	trash := filepath.Join(s.opts.Dir, ownDir, "trash")
	if err := os.MkdirAll(trash, 0o755); err != nil {
		return "", wrapFileError(OpRemove, trash, err)
	}
	dir, err := os.MkdirTemp(trash, "topic")
	if err != nil {
		return "", wrapFileError(OpRemove, trash, err)
	}
	return dir, nil
}

// detach takes the topic's queues out of use and moves its directory into trash, under the append lock: the next put to
// the topic finds nothing of them. It returns where the log ended then.
func (s *Store) detach(topic, trash string) (marked int64, err error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	taken := s.queues.take(topic)
	for _, q := range taken {
		q.removed = true
		q.mu.Lock()
		for _, f := range q.files {
			q.dropLocked(f)
		}
		q.dropExtLocked()
		q.files, q.gone = nil, true
		q.mu.Unlock()
	}
	marked = s.Written()
	for _, folder := range [...]string{simpleKind{}.folder(), batchKind{}.folder(), extFolder} {
		dir := filepath.Join(s.opts.Dir, folder, topic)
		if err := s.queues.faults.check(OpRemove, dir); err != nil {
			return marked, err
		}
		if err := os.Rename(dir, trash+"."+folder); err != nil && !errors.Is(err, os.ErrNotExist) {
			return marked, wrapFileError(OpRemove, dir, err)
		}
	}
	return marked, s.compact.detach(topic, taken, trash)
}

// emptyTrash removes what a stop in the middle of a deletion left.
func (s *Store) emptyTrash() error {
	dir := filepath.Join(s.opts.Dir, ownDir, "trash")
	if err := os.RemoveAll(dir); err != nil {
		return wrapFileError(OpRemove, dir, err)
	}
	return nil
}
