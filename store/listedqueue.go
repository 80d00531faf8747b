package store

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// listedQueue is what the queue list says about the files of a queue, so that a start after a clean stop need not look for
// its end: position of the end, physical offset after the last record, position of the first file, bytes of each file,
// number of files. On disk, do not change.
type listedQueue [5]int64

// listed describes the files of q, all zeros when it has none, and its maximum offset; false when they are not all of one
// size.
func (q *queue) listed() (l listedQueue, queueMax int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queueMax = q.max.Load()
	if len(q.files) == 0 || q.gone {
		return listedQueue{}, queueMax, !q.gone
	}
	first := q.files[0]
	for i, f := range q.files {
		if f.size != first.size || f.base != first.base+int64(i)*first.size {
			return listedQueue{}, queueMax, false
		}
	}
	return listedQueue{q.end, q.maxPhys, first.base, first.size, int64(len(q.files))}, queueMax, true
}

// possible refuses what no queue of a kind can have.
func (l listedQueue) possible(kind queueKind, topMax int64) bool {
	end, phys, base, size, n := l[0], l[1], l[2], l[3], l[4]
	width := kind.entryBytes()
	return size > 0 && size < 1<<40 && n > 0 && n < 1<<20 && base >= 0 && base < 1<<60 && size%width == 0 && base%width == 0 &&
		end%width == 0 && end > base+(n-1)*size && end <= base+n*size && phys > 0 && topMax > 0
}

// takeListed gives q the files and the end that the list says, if the files are there and the last of them ends so. With
// hard the queue may have got entries since, and what lies behind the end is not known to be zero.
func (q *queue) takeListed(l listedQueue, queueMax int64, hard bool) bool {
	if !l.possible(q.kind, queueMax) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	end, phys, base, size, n := l[0], l[1], l[2], l[3], l[4]
	for i := range n - 1 {
		info, err := os.Lstat(q.filePath(base + i*size))
		if err != nil || info.Size() != size {
			return false
		}
	}
	last := base + (n-1)*size
	ok, empty := q.endsAt(last, size, end, phys, queueMax)
	if !ok || !hard && !empty {
		return false
	}
	for i := range n {
		f := &queueFile{q: q, base: base + i*size, size: size, allocated: size, first: unknownFirst}
		if i == n-1 {
			f.allocated = min(roundUp(end-last, 4096), size)
			f.cleanBehind = empty
		}
		q.files = append(q.files, f)
	}
	if hard {
		q.findLaterLocked()
	}
	q.end, q.maxPhys = end, phys
	q.max.Store(queueMax)
	q.min.Store(min(q.min.Load(), queueMax))
	q.minFor.Store(-1)
	return true
}

// findLaterLocked adds the files that follow the listed ones.
func (q *queue) findLaterLocked() {
	for {
		last := q.files[len(q.files)-1]
		next := &queueFile{q: q, base: last.base + last.size, first: unknownFirst}
		info, err := os.Lstat(q.filePath(next.base))
		if err != nil || info.Size() != last.size {
			return
		}
		next.size = last.size
		q.files = append(q.files, next)
	}
}

// endsAt reports whether the file at base has the right size, and its entry before end is the one that was last; and
// whether nothing lies behind it.
func (q *queue) endsAt(base, size, end, phys, queueMax int64) (ok, empty bool) {
	path := q.filePath(base)
	if q.all.faults.check(OpRead, path) != nil {
		return false, false
	}
	width := q.kind.entryBytes()
	from := end - width - base
	piece := q.all.piece() // with 100,000 queues, a buffer for each would be more than all that stays
	defer q.all.pieces.Put(piece)
	b := (*piece)[:min(roundUp(from+width, 4096), size)-from]
	got, length, more, err := readTail(path, b, from)
	if err != nil || length != size || got < width {
		return false, false
	}
	e := q.kind.decode(b, end-width)
	ok = e.written() && e.end() == queueMax && (e.size == blankEntrySize || e.physOffset+int64(e.size) == phys)
	return ok, !more && allZero(b[width:])
}

// loadListed loads the queues as the list of a clean stop has them; false when the list does not count, because the log does
// not end where it says.
func (r *recovery) loadListed() (bool, error) {
	if len(r.list.Files) == 0 || !r.endsAtList() {
		return false, nil
	}
	keys, ok := r.list.keys()
	if !ok {
		return false, nil
	}
	r.listed = true
	return true, r.takeList(keys, maxPhys)
}

// loadMarked loads the queues as the last list has them after a stop that was not clean, up to its End, where the scan then
// begins; false when the list does not count: another server had the store since, or the log is not what it was.
func (r *recovery) loadMarked() (bool, error) {
	l := &r.list
	if r.stamp == 0 || l.Stamp != r.stamp || len(l.Files) == 0 || !r.recordEndsAtList() || r.checkpointStart() > l.End {
		return false, nil
	}
	keys, ok := l.keys()
	if !ok {
		return false, nil
	}
	r.from, r.lastAt, r.listed = l.End, l.LastAt, true
	if err := r.takeList(keys, l.End); err != nil || onlyKilled(r.s.opts.Dir, r.stamp) {
		return true, err
	}
	return true, r.dropUnlisted()
}

// dropUnlisted removes what is on disk of queues that the list does not have. They were made after it, so the scan makes them again
// as far as the log has them. An entry that a power cut left of a record that it took would seem right once the log has grown up to
// there.
func (r *recovery) dropUnlisted() error {
	for _, kind := range kinds {
		root := r.s.queues.rootOf(kind)
		topics, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrapFileError(OpRead, root, err)
		}
		var dropped atomic.Int64
		err = inParallel(topics, func(topic os.DirEntry) error {
			if !topic.IsDir() || checkTopic(topic.Name()) != nil {
				return nil
			}
			n, err := r.dropUnlistedOf(kind, topic.Name())
			dropped.Add(n)
			return err
		})
		if n := dropped.Load(); n > 0 {
			r.s.opts.Logger.Info("queues are newer than the list, they are made anew from the log", "dir", root, "queues", n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) dropUnlistedOf(kind queueKind, topic string) (dropped int64, err error) {
	dir := filepath.Join(r.s.queues.rootOf(kind), topic)
	ids, err := os.ReadDir(dir)
	if err != nil {
		return 0, wrapFileError(OpRead, dir, err)
	}
	for _, d := range ids {
		id, ok := queueIDOf(d)
		if !ok {
			continue
		}
		q := r.s.queues.find(topic, id)
		if q != nil && q.kind == kind {
			continue
		}
		dirs := []string{filepath.Join(dir, d.Name())}
		if q == nil { // else the units are those of the queue that there is
			dirs = append(dirs, filepath.Join(r.s.opts.Dir, extFolder, topic, d.Name()))
		}
		for _, path := range dirs {
			if err := os.RemoveAll(path); err != nil {
				return dropped, wrapFileError(OpRemove, path, err)
			}
		}
		dropped++
	}
	return dropped, nil
}

// queueIDOf reads the queue id that a directory below a topic's is named by.
func queueIDOf(d os.DirEntry) (id int32, ok bool) {
	n, err := strconv.ParseInt(d.Name(), 10, 32)
	return int32(n), err == nil && n >= 0 && d.IsDir() && strconv.Itoa(int(n)) == d.Name()
}

// keys are the queues that have files; false when the list cannot be right.
func (l *queueList) keys() (keys []queueKey, ok bool) {
	for topic, ids := range l.Files {
		for id := range ids {
			if id < 0 || checkTopic(topic) != nil {
				return nil, false
			}
			keys = append(keys, queueKey{topic, id})
		}
	}
	return keys, true
}

// takeList gives queues the files that they have in the list, without entries of records from trimPhys on.
func (r *recovery) takeList(keys []queueKey, trimPhys int64) error {
	r.progress.begin("opening queues", "queues", int64(len(keys)))
	r.s.queues.createAll(keys)
	var mu sync.Mutex
	return inParallel(keys, func(key queueKey) error {
		defer r.progress.done.Add(1)
		q := r.s.queues.find(key.topic, key.id)
		redo, err := r.takeOne(q, r.list.Files[key.topic][key.id], r.list.Queues[key.topic][key.id], trimPhys)
		if redo {
			mu.Lock()
			defer mu.Unlock()
			r.redo[q] = true
		}
		return err
	})
}

// takeOne loads one queue of the list; redo says that it is less than it was.
func (r *recovery) takeOne(q *queue, l listedQueue, queueMax, trimPhys int64) (redo bool, err error) {
	marked := trimPhys != maxPhys
	recreated := marked && r.s.deleted.covers([]byte(q.topic), trimPhys-1) // after the list, or about then
	if !recreated && q.takeListed(l, queueMax, marked) {
		if marked && l[1] > trimPhys {
			q.mu.Lock()
			defer q.mu.Unlock()
			return false, q.findEndLocked(trimPhys)
		}
		return false, nil
	}
	err = q.load(trimPhys, r.s.log.minPhys(), r.s.opts.Logger)
	switch {
	case errors.Is(err, ErrCorrupt):
		return true, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return false, err
	}
	if !marked || recreated || l[1] > trimPhys || q.end >= l[0] { // a clean start compares later
		return false, nil
	}
	return !r.s.ends.has(q.topic, q.id) && (r.s.opts.TopicExists == nil || r.s.opts.TopicExists(q.topic)), nil
}

// recordEndsAtList reports whether the last record before the list's end is there, whole; its store time is the last one then.
func (r *recovery) recordEndsAtList() bool {
	l := &r.list
	if l.LastAt < r.s.log.minPhys() || l.End <= l.LastAt {
		return false
	}
	seg := r.s.log.find(l.LastAt)
	if seg == nil {
		return false
	}
	defer seg.release()
	var m codec.Message
	n, err := readRecord(seg, l.LastAt-seg.base, seg.size, r.s.opts.CheckCRC, &m)
	if err != nil || l.LastAt+n != l.End && l.End != seg.end() {
		return false
	}
	r.lastMs = m.StoreTimestampMs
	return true
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
