package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// recovery finds the end of the log and makes the queues agree with it. Apache: CommitLog.recoverNormally and
// recoverAbnormally.
//
// After a clean stop queues are complete, and the log ends behind the record of their newest entry, give or take records
// that have no entry. After any other stop nothing written after the checkpoint is trusted: queues are cut back to the
// segment that begins before it, and the log is read from there, every record checked. FORMAT.md has the argument.
type recovery struct {
	s     *Store
	clean bool
	check checkpoint
	list  queueList
	stamp int64 // of the file abort, 0 when there was none
	// listed says that the queues were taken from the list.
	listed bool

	from    int64 // physical offset at which the scan begins
	end     int64 // after the last record
	lastMs  int64 // its store time
	lastAt  int64 // where it begins, -1 when that is not known
	records int64
	damaged int // stretches of log that could not be read
	redo    map[*queue]bool
	doubts  map[*queue]doubt
	late    []*queue // with entries that are not written
	lost    int64    // records that damage passed over may have held

	progress progress
}

// run recovers; s.log holds the segments.
func (r *recovery) run() error {
	s := r.s
	if len(s.log.all()) == 0 {
		return r.startEmpty()
	}
	r.progress.logger, r.progress.now = s.opts.Logger, s.opts.Now
	stop := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() { r.progress.every(progressPeriod, stop) })
	defer telling.Wait()
	defer close(stop)
	if err := r.findStart(); err != nil {
		return err
	}
	s.ends.apply(s)
	s.opts.Logger.Info("recovering commit log", "clean", r.clean, "from", r.from, "dirs", s.log.dirs.all())
	if err := r.scan(r.from, func(m *codec.Message) error { return r.redispatch(m, false) }); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if r.clean && r.list.End == r.end {
		r.list.missing(s, func(q *queue) {
			s.opts.Logger.Warn("queue is not complete, it is made anew from the log", "topic", q.topic, "queue", q.id)
			r.redo[q] = true
		})
	}
	if err := r.rebuild(); err != nil {
		return err
	}
	if err := r.cut(); err != nil {
		return err
	}
	s.opts.Logger.Info("commit log recovered", "end", r.end, "records", r.records, "damaged", r.damaged)
	return nil
}

// findStart loads the queues and decides where the scan begins.
func (r *recovery) findStart() error {
	if !r.clean {
		listed, err := r.loadMarked()
		if err != nil {
			return err
		}
		if !listed {
			r.from = r.checkpointStart()
			err = r.loadQueues(r.from)
		}
		if err != nil {
			return err
		}
	} else if err := r.loadClean(); err != nil {
		return err
	} else if r.from = r.queuesEnd(); r.from < 0 {
		r.clean = false
		r.from = r.checkpointStart()
		if err := r.trimQueues(r.from); err != nil {
			return err
		}
	}
	entries := false
	r.s.queues.each("", func(q *queue) { entries = entries || q.max.Load() > 0 })
	if !entries { // they were removed, or all their messages are in the first segment
		r.from = r.s.log.minPhys()
	}
	return nil
}

// loadClean loads the queues of a store that was stopped cleanly: from its list, or one directory after the other.
func (r *recovery) loadClean() error {
	listed, err := r.loadListed()
	if listed || err != nil {
		return err
	}
	return r.loadQueues(maxPhys)
}

const maxPhys = int64(1<<63 - 1)

// startEmpty removes queues that point into a log which is not there, as Java does.
func (r *recovery) startEmpty() error {
	for _, kind := range kinds {
		root := r.s.queues.rootOf(kind)
		if hasEntries(root) {
			r.s.opts.Logger.Warn("no commit log, its queues are removed", "dir", root)
		}
		if err := os.RemoveAll(root); err != nil {
			return wrapFileError(OpRemove, root, err)
		}
	}
	root := filepath.Join(r.s.opts.Dir, extFolder)
	if err := os.RemoveAll(root); err != nil {
		return wrapFileError(OpRemove, root, err)
	}
	return nil
}

// checkpointStart is the base of the newest segment whose first message is older than the checkpoint.
func (r *recovery) checkpointStart() int64 {
	list := r.s.log.all()
	var m codec.Message
	for i := len(list) - 1; i > 0; i-- {
		_, err := readRecord(list[i], 0, list[i].size, r.s.opts.CheckCRC, &m)
		if err == nil && m.StoreTimestampMs > 0 && m.StoreTimestampMs <= r.check.trustedMs() {
			return list[i].base
		}
	}
	return list[0].base
}

// queuesEnd is the physical offset behind the newest queue entry, -1 when its record is not where it says.
func (r *recovery) queuesEnd() int64 {
	end := int64(-1)
	var newest *queue
	r.s.queues.each("", func(q *queue) {
		if q.maxPhys > end {
			end, newest = q.maxPhys, q
		}
	})
	if newest == nil || end <= 0 {
		return -1
	}
	e, err := newest.entryLocked(newest.max.Load() - 1)
	if err != nil {
		return -1
	}
	seg := r.s.log.find(e.physOffset)
	if seg == nil {
		return -1
	}
	defer seg.release()
	var m codec.Message
	n, err := readRecord(seg, e.physOffset-seg.base, seg.size, r.s.opts.CheckCRC, &m)
	if err != nil || n != int64(e.size) {
		return -1
	}
	r.lastMs, r.lastAt = m.StoreTimestampMs, e.physOffset
	return end
}

// loadQueues finds all queue directories and loads them, some at a time. A damaged queue is made anew from the log.
func (r *recovery) loadQueues(trimPhys int64) error {
	for _, kind := range kinds {
		if err := r.loadKind(kind, trimPhys); err != nil {
			return err
		}
	}
	return nil
}

// loadKind loads the queues in the directory of one kind.
func (r *recovery) loadKind(kind queueKind, trimPhys int64) error {
	root := r.s.queues.rootOf(kind)
	topics, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrapFileError(OpRead, root, err)
	}
	r.progress.begin("opening queues", "topics", int64(len(topics)))
	work := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range min(8, 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for topic := range work {
				redo, err := r.loadTopic(kind, topic, trimPhys)
				r.progress.done.Add(1)
				mu.Lock()
				failed = errors.Join(failed, err)
				for _, q := range redo {
					r.redo[q] = true
				}
				mu.Unlock()
			}
		})
	}
	for _, t := range topics {
		if t.IsDir() && checkTopic(t.Name()) == nil {
			work <- t.Name()
		}
	}
	close(work)
	wg.Wait()
	return failed
}

func (r *recovery) loadTopic(kind queueKind, topic string, trimPhys int64) (redo []*queue, err error) {
	dir := filepath.Join(r.s.queues.rootOf(kind), topic)
	ids, err := os.ReadDir(dir)
	if err != nil {
		return nil, wrapFileError(OpRead, dir, err)
	}
	misplaced := r.misplaced(kind, topic)
	for _, d := range ids {
		id, ok := queueIDOf(d)
		if !ok {
			continue
		}
		if misplaced {
			redo = append(redo, r.s.queues.findOrCreate(topic, id))
			continue
		}
		q := r.s.queues.create(topic, id, kind)
		err = q.load(trimPhys, r.s.log.minPhys(), r.s.opts.Logger)
		if errors.Is(err, ErrCorrupt) {
			r.s.opts.Logger.Warn("damaged queue is made anew from the log", "topic", topic, "queue", id, "err", err)
			redo, err = append(redo, q), nil
		}
		if err != nil {
			return redo, err
		}
	}
	if misplaced {
		r.s.opts.Logger.Warn("queues are not of the type their topic has, they are made anew from the log", "topic", topic, "dir", dir)
		if err := os.RemoveAll(dir); err != nil {
			return redo, wrapFileError(OpRemove, dir, err)
		}
	}
	return redo, nil
}

// misplaced reports whether the queues of a topic are of another kind than that of the directory they lie in. Java does
// not start then.
func (r *recovery) misplaced(kind queueKind, topic string) bool {
	if r.s.opts.QueueType == nil {
		return false
	}
	switch r.s.opts.QueueType(topic) {
	case SimpleQueue:
		return kind != queueKind(simpleKind{})
	case BatchQueue:
		return kind != queueKind(batchKind{})
	}
	return false
}

func (r *recovery) trimQueues(trimPhys int64) (err error) {
	r.s.queues.each("", func(q *queue) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !r.redo[q] && q.maxPhys > trimPhys {
			err = errors.Join(err, q.findEndLocked(trimPhys))
		}
	})
	return err
}

// scan reads the records from physOffset on and sets end behind the last good one. It passes over damage when the
// checkpoint says that what follows was flushed: then it is no torn tail.
func (r *recovery) scan(physOffset int64, each func(m *codec.Message) error) error {
	list := r.s.log.all()
	i := 0
	for i < len(list)-1 && list[i].end() <= physOffset {
		i++
	}
	r.end = physOffset
	var m codec.Message
	pos := physOffset - list[i].base
	r.progress.begin("reading the commit log", unitMiB, list[len(list)-1].end()-physOffset)
	var ahead scanAhead
	defer ahead.end()
	if r.s.opts.CheckCRC {
		first, at := i, pos
		ahead.ended.Go(func() { ahead.run(list, first, at) })
	}
	for {
		seg := list[i]
		check := r.s.opts.CheckCRC
		n, err := readRecord(seg, pos, seg.size, check && seg.base+pos >= ahead.checked.Load(), &m)
		if err == nil {
			err = r.s.opts.checkPropCRC(&m)
		}
		switch {
		case err == nil:
			if err := each(&m); err != nil {
				return err
			}
			r.lastAt = seg.base + pos
			pos += n
			r.end, r.lastMs = seg.base+pos, max(r.lastMs, m.StoreTimestampMs)
			r.records++
			r.progress.done.Store(r.end - physOffset)
			continue
		case errors.Is(err, codec.ErrBlank) && i+1 < len(list):
			i, pos = i+1, 0
			r.end = list[i].base
			continue
		case errors.Is(err, codec.ErrBlank):
			r.end = seg.end()
			return nil
		}
		j, at := r.passDamage(list, i, pos, err)
		if j < 0 {
			return nil
		}
		i, pos = j, at
	}
}

// passDamage looks for the next record behind a place where none is. It returns -1 when the log ends there.
func (r *recovery) passDamage(list []*segment, i int, pos int64, cause error) (j int, at int64) {
	seg := list[i]
	if r.lastMs >= r.check.physicMs {
		return -1, 0
	}
	for j, from := i, pos; j < len(list); j, from = j+1, -1 {
		n, found := r.s.log.resync(list[j], from, list[j].size)
		at := from + n
		if !found {
			continue
		}
		var m codec.Message
		if _, err := readRecord(list[j], at, list[j].size, true, &m); err != nil || m.StoreTimestampMs > r.check.physicMs {
			return -1, 0
		}
		r.damaged++
		r.lost += (list[j].base + at - seg.base - pos) / minRecordBytes
		r.s.opts.Logger.Error("commit log is damaged, what lies there is lost",
			"path", seg.path, "pos", pos, "until", list[j].base+at, "err", cause)
		return j, at
	}
	return -1, 0
}

// resync finds the first whole record of seg that begins behind pos and before limit. It returns how far it is away, or
// the distance to limit.
func (l *commitLog) resync(seg *segment, pos, limit int64) (n int64, found bool) {
	magic := binary.BigEndian.AppendUint32(nil, codec.MagicV1)[:3] // both versions begin so
	var m codec.Message
	for at := pos + 1; at+codec.PosBodyCRC < limit; {
		skip := bytes.Index(seg.data[at+codec.PosMagic:limit], magic)
		if skip < 0 {
			break
		}
		at += int64(skip)
		if _, err := readRecord(seg, at, limit, true, &m); err == nil {
			return at - pos, true
		}
		at++
	}
	return limit - pos, false
}

// nextSegment is where the segment behind a gap at physOffset begins, at most limit.
func (l *commitLog) nextSegment(physOffset, limit int64) int64 {
	for _, seg := range l.all() {
		if seg.base > physOffset {
			return min(seg.base, limit)
		}
	}
	return limit
}

// queueOf returns the queue a record belongs in, nil for one without an entry.
func (r *recovery) queueOf(m *codec.Message) *queue {
	if !queued(m.SysFlag) || m.QueueID < 0 || m.QueueOffset < 0 {
		return nil
	}
	if r.s.deleted.covers(m.Topic, m.PhysOffset) {
		return nil
	}
	q := r.s.queues.findBytes(m.Topic, m.QueueID)
	if q != nil {
		return q
	}
	if err := checkTopic(m.Topic); err != nil {
		r.s.opts.Logger.Warn("record without a possible topic, it gets no entry", "phys", m.PhysOffset, "err", err)
		return nil
	}
	topic := string(m.Topic)
	if r.s.opts.TopicExists != nil && !r.s.opts.TopicExists(topic) {
		return nil
	}
	return r.s.queues.findOrCreate(topic, m.QueueID)
}

// rebuild makes the queues in redo anew, reading the whole log.
func (r *recovery) rebuild() error {
	if len(r.redo) == 0 {
		return nil
	}
	for q := range r.redo {
		if err := q.clear(); err != nil {
			return err
		}
	}
	r.s.opts.Logger.Info("making queues anew from the log", "queues", len(r.redo))
	end, lastMs := r.end, r.lastMs
	r.lastMs = 0
	err := r.scan(r.s.log.minPhys(), func(m *codec.Message) error { return r.redispatch(m, true) })
	r.end, r.lastMs = max(end, r.end), max(lastMs, r.lastMs)
	if err != nil {
		return err
	}
	return r.settle()
}

// cut removes what lies behind the end: segments, and queue entries whose record is not there.
func (r *recovery) cut() error {
	if err := r.trimQueues(r.end); err != nil {
		return err
	}
	var list []*queue
	r.s.queues.each("", func(q *queue) {
		q.next = q.max.Load()
		list = append(list, q)
	})
	failed := inParallel(list, func(q *queue) error { return q.cut(!r.clean) })
	return errors.Join(failed, r.s.log.deleteAfter(r.end+1))
}
