package store

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// batchCheck is one batch consume queue while a store is checked.
type batchCheck struct {
	*queueSpans
	key queueKey

	mu      sync.Mutex // guards what follows
	records int64      // of the log that belong in it

	end int64 // queue offset after the last entry; known when checkBatchQueues is done
}

// queueEnd is the queue offset behind the last entry of a queue of either kind; false when there is no such queue.
func (c *checker) queueEnd(key queueKey) (int64, bool) {
	if q := c.queues[key]; q != nil {
		return q.end, true
	}
	if b := c.batches[key]; b != nil {
		return b.end, true
	}
	return 0, false
}

// queueDamaged reports whether something was found in the files of a queue.
func (c *checker) queueDamaged(key queueKey) bool {
	q := c.files.queues[key]
	if q == nil {
		q = c.files.batches[key]
	}
	return q != nil && (c.found.wrong(q.dir) || slices.ContainsFunc(q.files, func(f fileSpan) bool { return c.found.wrong(q.path(f)) }))
}

// note counts a record that has its entry in this queue.
func (b *batchCheck) note(m *codec.Message) {
	if _, err := innerCount(m); err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records++
}

// checkBatchQueues reads all batch consume queues and the head of each entry's record.
func (c *checker) checkBatchQueues() error {
	list := make([]*batchCheck, 0, len(c.batches))
	for _, b := range c.batches {
		list = append(list, b)
	}
	c.report.Queues += len(list)
	var entries atomic.Int64
	err := c.parallel(len(list), func(_, i int) error {
		s := &batchScan{c: c, q: list[i], logs: &logReaders{c: c}}
		defer s.logs.close()
		err := s.run()
		entries.Add(s.entries)
		return err
	})
	c.report.QueueEntries += entries.Load()
	return err
}

// batchScan reads the entries of one batch queue in their order.
type batchScan struct {
	c    *checker
	q    *batchCheck
	logs *logReaders

	entries, inLog int64
	wrong          int64
	end            int64 // queue offset after the last entry
	ended          bool  // an entry that is not written was seen
	path           string
	pos            int64 // of the place behind the last entry
	beyond         int64 // entries that point behind the end of the log
	beyondPath     string
	beyondPos      int64
}

func (s *batchScan) run() error {
	for i, f := range s.q.files {
		path := s.q.path(f)
		switch {
		case f.size%batchEntryBytes != 0 || f.base%batchEntryBytes != 0:
			s.bad(path, f.size/batchEntryBytes*batchEntryBytes, fmt.Sprintf("%d bytes are no whole number of entries", f.size))
		case i > 0 && s.q.files[i-1].end() != f.base:
			s.bad(path, 0, fmt.Sprintf("it begins at %d, the file before it ends at %d", f.base, s.q.files[i-1].end()))
		}
		if err := s.file(path, f); err != nil {
			return err
		}
	}
	s.q.end = s.end
	sev, do := s.c.unlessStopped()
	if s.beyond > 0 {
		s.c.beyond.Add(s.beyond)
		s.c.add(sev, s.beyondPath, s.beyondPos, fmt.Sprintf("the last %d entries point behind the end of the log at %d", s.beyond, s.c.end.phys),
			"their records are not in the log", do)
	}
	if missing := s.q.records - s.inLog; missing > 0 && s.wrong == 0 {
		if s.path == "" {
			s.path, s.pos = s.q.dir, -1
		}
		s.c.add(sev, s.path, s.pos, fmt.Sprintf("%d records of the log have no entry", missing), "consumers do not get these messages", do)
	}
	return nil
}

func (s *batchScan) bad(path string, pos int64, what string) {
	s.wrong++
	s.c.add(Derived, path, pos, what, "consumers do not get these messages", doRepair)
}

func (s *batchScan) file(path string, f fileSpan) error {
	r, err := openReader(path, 64<<10)
	if err != nil {
		s.bad(path, -1, err.Error())
		return nil
	}
	defer r.close()
	for pos := int64(0); pos+batchEntryBytes <= r.size; pos += batchEntryBytes {
		if data := r.nextData(pos); data >= pos+batchEntryBytes {
			s.ended = true
			pos = data / batchEntryBytes * batchEntryBytes
			if pos+batchEntryBytes > r.size {
				break
			}
		}
		b, err := r.bytes(pos, batchEntryBytes)
		if err != nil || len(b) < batchEntryBytes {
			if err := stopped(s.c.ctx); err != nil {
				return err
			}
			s.bad(path, pos, "entries cannot be read")
			return nil
		}
		e := batchEntryAt(b)
		if !e.written() {
			if !allZero(b) {
				s.bad(path, pos, fmt.Sprintf("an entry of %d messages from queue offset %d on, at %d with a size of %d", e.count, e.queueOffset, e.physOffset, e.size))
			}
			s.ended = true
			continue
		}
		if err := s.take(e, path, pos); err != nil {
			return err
		}
	}
	return nil
}

// take compares an entry with the one before it and with its record.
func (s *batchScan) take(e batchEntry, path string, pos int64) error {
	s.entries++
	if s.ended {
		s.bad(path, pos, "the entries before this one are not written")
		s.ended = false
	}
	if e.queueOffset < s.end {
		s.bad(path, pos, fmt.Sprintf("the entry begins at queue offset %d, the one before it ends at %d", e.queueOffset, s.end))
	}
	s.end, s.path, s.pos = e.end(), path, pos+batchEntryBytes
	switch {
	case e.physOffset < s.c.files.logMin():
		return nil
	case e.physOffset >= s.c.end.phys:
		if s.beyond == 0 {
			s.beyondPath, s.beyondPos = path, pos
		}
		s.beyond++
		return stopped(s.c.ctx)
	}
	if s.beyond > 0 {
		s.bad(s.beyondPath, s.beyondPos, fmt.Sprintf("the entry points behind the end of the log at %d, later ones do not", s.c.end.phys))
		s.beyond = 0
	}
	s.inLog++
	m, err := s.logs.record(e.physOffset)
	if err != nil && s.c.inStretch(e.physOffset) {
		return stopped(s.c.ctx)
	}
	if err != nil {
		s.bad(path, pos, fmt.Sprintf("the entry of queue offset %d points to %d, where no record is: %v", e.queueOffset, e.physOffset, err))
		return stopped(s.c.ctx)
	}
	n, err := innerCount(m)
	tags := tagsCode(nil, false, m.Properties, m.StoreTimestampMs)
	if err != nil || string(m.Topic) != s.q.key.topic || m.QueueID != s.q.key.id || m.QueueOffset != e.queueOffset || int32(e.count) != n ||
		e.size != m.TotalSizeBytes || e.storeMs != m.StoreTimestampMs || e.tagsCode != tags {
		s.bad(path, pos, fmt.Sprintf("the entry says %d messages from queue offset %d on, size %d, tags code %d, stored at %d; the record at %d says %s/%d, %d from %d on, size %d, tags code %d, stored at %d",
			e.count, e.queueOffset, e.size, e.tagsCode, e.storeMs, e.physOffset, m.Topic, m.QueueID, n, m.QueueOffset, m.TotalSizeBytes, tags, m.StoreTimestampMs))
	}
	return stopped(s.c.ctx)
}
