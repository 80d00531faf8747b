package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// listedQueue is what the queue list says about the files of a queue, so that a start after a clean stop need not look for
// its end: position of the end, physical offset after the last record, position of the first file, bytes of each file,
// number of files. On disk, do not change.
type listedQueue [5]int64

// listed describes the files of q, all zeros when it has none; false when they are not all of one size.
func (q *queue) listed() (listedQueue, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.files) == 0 {
		return listedQueue{}, true
	}
	first := q.files[0]
	for i, f := range q.files {
		if f.size != first.size || f.base != first.base+int64(i)*first.size {
			return listedQueue{}, false
		}
	}
	return listedQueue{q.end, q.maxPhys, first.base, first.size, int64(len(q.files))}, true
}

// possible refuses what no queue of a kind can have.
func (l listedQueue) possible(kind queueKind, topMax int64) bool {
	end, phys, base, size, n := l[0], l[1], l[2], l[3], l[4]
	width := kind.entryBytes()
	return size > 0 && size < 1<<40 && n > 0 && n < 1<<20 && base >= 0 && base < 1<<60 && size%width == 0 && base%width == 0 &&
		end%width == 0 && end > base+(n-1)*size && end <= base+n*size && phys > 0 && topMax > 0
}

// takeListed gives q the files and the end that the list says, if the files are there and the last of them ends so.
func (q *queue) takeListed(l listedQueue, queueMax int64) bool {
	if !l.possible(q.kind, queueMax) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	end, phys, base, size, n := l[0], l[1], l[2], l[3], l[4]
	for i := range n - 1 {
		info, err := os.Lstat(filepath.Join(q.dir(), segmentName(base+i*size)))
		if err != nil || info.Size() != size {
			return false
		}
	}
	last := base + (n-1)*size
	if !q.endsAt(last, size, end, phys, queueMax) {
		return false
	}
	for i := range n {
		f := &queueFile{q: q, base: base + i*size, size: size, allocated: size, first: unknownFirst}
		if i == n-1 {
			f.allocated = min(roundUp(end-last, 4096), size)
			f.cleanBehind = true // a clean stop leaves nothing there
		}
		q.files = append(q.files, f)
	}
	q.end, q.maxPhys = end, phys
	q.max.Store(queueMax)
	q.min.Store(min(q.min.Load(), queueMax))
	q.minFor.Store(-1)
	return true
}

// endsAt reports whether the file at base has the right size, and its entry before end is the one that was last.
func (q *queue) endsAt(base, size, end, phys, queueMax int64) bool {
	path := filepath.Join(q.dir(), segmentName(base))
	if q.all.faults.check(OpRead, path) != nil {
		return false
	}
	width := q.kind.entryBytes()
	b := make([]byte, 2*width)
	got, length, err := readPiece(path, b, end-width-base)
	if err != nil || length != size || got < width || !allZero(b[width:]) {
		return false
	}
	e := q.kind.decode(b, end-width)
	return e.written() && e.end() == queueMax && (e.size == blankEntrySize || e.physOffset+int64(e.size) == phys)
}

// loadListed loads the queues as the list of a clean stop has them; false when the list does not count, because the log does
// not end where it says.
func (r *recovery) loadListed() (bool, error) {
	if len(r.list.Files) == 0 || !r.endsAtList() {
		return false, nil
	}
	var keys []queueKey
	for topic, ids := range r.list.Files {
		for id := range ids {
			if id < 0 || checkTopic(topic) != nil {
				return false, nil
			}
			keys = append(keys, queueKey{topic, id})
		}
	}
	r.s.queues.createAll(keys)
	var mu sync.Mutex
	return true, inParallel(keys, func(key queueKey) error {
		q := r.s.queues.find(key.topic, key.id)
		if q.takeListed(r.list.Files[key.topic][key.id], r.list.Queues[key.topic][key.id]) {
			return nil
		}
		err := q.load(maxPhys, r.s.log.minPhys(), r.s.opts.Logger)
		switch {
		case errors.Is(err, ErrCorrupt):
			mu.Lock()
			defer mu.Unlock()
			r.redo[q] = true
		case err != nil && !errors.Is(err, os.ErrNotExist): // one that is not there is shorter than the list says
			return err
		}
		return nil
	})
}

// endsAtList reports whether the log ends where the list says: a record ends there, or a segment, and none begins.
func (r *recovery) endsAtList() bool {
	end := r.list.End
	segments := r.s.log.all()
	last := segments[len(segments)-1]
	if end <= r.s.log.minPhys() || end > last.end() || end < last.base {
		return false
	}
	return end == last.end() || allZero(last.data[end-last.base:min(end-last.base+blankHeadBytes, last.size)])
}
