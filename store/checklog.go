package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// logEnd is where the records of the whole log end.
type logEnd struct {
	phys   int64
	file   fileSpan
	pos    int64 // in file
	cause  error // what is wrong with what stands there; nil for nothing
	lastMs int64 // store time of the last record
}

// checkLog reads all files of the log, several at a time, and compares each record with its queue entry and its keys.
func (c *checker) checkLog() error {
	files := c.files.log
	c.walks = make([]logWalk, len(files))
	workers := make([]*entryWindows, c.opts.Workers)
	err := c.parallel(len(files), func(worker, i int) error {
		if workers[worker] == nil {
			workers[worker] = newEntryWindows(len(c.queues))
		}
		return c.checkLogFile(i, workers[worker])
	})
	if err != nil {
		return err
	}
	for i := 1; i < len(files); i++ {
		prev, f := files[i-1], files[i]
		switch {
		case prev.end() < f.base:
			c.add(Damage, prev.path, prev.size, fmt.Sprintf("the file ends here, the next one begins %d bytes later", f.base-prev.end()),
				"what lay between is lost", doRestore)
		case prev.end() > f.base:
			c.add(Damage, prev.path, f.base-prev.base, "the next file begins here, before this one ends",
				"one of the two is no file of this log, and the store does not open", "move the wrong one away")
		}
	}
	c.findLogEnd()
	return nil
}

func (c *checker) checkLogFile(i int, windows *entryWindows) error {
	f := c.files.log[i]
	r, err := openLogFile(f.path, f.base, !c.opts.Fast)
	if err != nil {
		if c.opts.Live && errors.Is(err, os.ErrNotExist) {
			return nil
		}
		c.add(Damage, f.path, -1, err.Error(), "its messages cannot be read", doRestore)
		c.walks[i].cause = err
		return nil
	}
	defer r.close()
	var done func()
	r.took, done = c.meter.unit(c.ctx, f.size)
	defer done()
	s := &logFileCheck{c: c, file: f, windows: windows, cursor: newIndexCursor(c, f)}
	defer s.cursor.close()
	w, err := r.walk(c.ctx, 0, f.size, s)
	if err != nil {
		return err
	}
	c.walks[i] = w
	s.cursor.rest(f.base+w.pos, f.end(), w.kind == logFull)
	return nil
}

// logFileCheck is what checkLog does with the records of one file.
type logFileCheck struct {
	c       *checker
	file    fileSpan
	windows *entryWindows
	cursor  *indexCursor
	topic   string // of the last record
}

// damage reports a stretch without records; the entries that point into it are no findings of their own.
func (s *logFileCheck) damage(pos, until int64, cause error) error {
	s.c.damagedLog.Add(1)
	s.c.noteStretch(span{s.file.base + pos, s.file.base + until - 1})
	s.c.add(Damage, s.file.path, pos, fmt.Sprintf("%d bytes hold no whole record: %v", until-pos, cause),
		"the messages there are lost; those before and behind are served", doRestore)
	s.cursor.skip(s.file.base + until)
	return nil
}

func (s *logFileCheck) record(pos int64, m *codec.Message) error {
	if string(m.Topic) != s.topic {
		s.topic = string(m.Topic)
	}
	if err := checkPropCRC(m); err != nil {
		s.c.add(Damage, s.file.path, pos, err.Error(), "a part of the message that its body's checksum does not cover has changed, or was copied from another message", doRestore)
	}
	if err := s.checkEntry(pos, m); err != nil {
		return err
	}
	return s.cursor.match(s.topic, m)
}

// checkEntry compares a record with its queue entry. Where the queue does not agree, checkQueues says so; here it is
// counted.
func (s *logFileCheck) checkEntry(pos int64, m *codec.Message) error {
	c := s.c
	if !queued(m.SysFlag) || m.PhysOffset < c.marks[s.topic] {
		return nil
	}
	if m.QueueID < 0 || m.QueueOffset < 0 || checkTopic(s.topic) != nil {
		c.add(Damage, s.file.path, pos, fmt.Sprintf("record of topic %q, queue %d, offset %d", s.topic, m.QueueID, m.QueueOffset),
			"there cannot be such a queue, so nobody gets the message", doRestore)
		return nil
	}
	q := c.queues[queueKey{s.topic, m.QueueID}]
	if q == nil {
		switch b := c.batches[queueKey{s.topic, m.QueueID}]; {
		case b != nil:
			b.note(m)
		case m.SysFlag&codec.SysInnerBatch == 0: // an inner batch has no place in other queues
			c.noteLost(s, pos, m)
		}
		return nil
	}
	e, at, err := s.windows.entry(q, m.QueueOffset)
	if err != nil {
		return stopped(c.ctx) // what cannot be read is reported by checkQueues
	}
	switch {
	case at.there && e.size != blankEntrySize && e.physOffset == m.PhysOffset:
		q.matched.Add(1)
		s.compareEntry(q, e, at, m)
	case at.there && e.size != blankEntrySize && e.physOffset > m.PhysOffset:
		// The topic was deleted and made again, or the entry is wrong, which verify finds out.
	default:
		c.addOrphan(q, orphan{m.PhysOffset, m.QueueOffset, at.there})
	}
	return nil
}

// compareEntry compares what the entry says of its record.
func (s *logFileCheck) compareEntry(q *queueCheck, e entry, at entryPlace, m *codec.Message) {
	if e.size != m.TotalSizeBytes {
		s.c.add(Derived, at.path, at.pos, fmt.Sprintf("queue offset %d says its record has %d bytes, it has %d", m.QueueOffset, e.size, m.TotalSizeBytes),
			"consumers get the message cut off, or not at all", doRepair)
	}
	want := tagsCode(nil, false, m.Properties, m.StoreTimestampMs)
	rest := e.tagsCode - m.StoreTimestampMs // of a delayed message: whole seconds, whatever the levels were
	if e.tagsCode == want || q.schedule && rest >= 0 && rest <= mostRestMs && rest%1000 == 0 || e.tagsCode <= maxExtAddress && s.c.hasExt {
		return
	}
	s.c.add(Derived, at.path, at.pos, fmt.Sprintf("queue offset %d has tags code %d, its record at %d has %d", m.QueueOffset, e.tagsCode, m.PhysOffset, want),
		"consumers that choose by tag may not get the message, a delayed one may come at a wrong time", doRepair)
}

const (
	// mostRestMs is the longest rest of a delayed message that is believed.
	mostRestMs = 10 * 365 * 24 * 3600 * 1000
	// maxExtAddress is the greatest tags code that is an address in consumequeue_ext. On disk, do not change. Apache:
	// ConsumeQueueExt.MAX_ADDR.
	maxExtAddress = -1<<31 - 1
)

// noteStretch remembers a stretch of the log that is damaged: entries that point into it are no damage of their queue.
func (c *checker) noteStretch(s span) {
	c.lostMu.Lock()
	defer c.lostMu.Unlock()
	if len(c.stretches) < maxOrphans*maxOrphans {
		c.stretches = append(c.stretches, s)
	}
}

// inStretch reports whether physOffset lies where the log is damaged. It is asked when the log is read.
func (c *checker) inStretch(physOffset int64) bool {
	return slices.ContainsFunc(c.stretches, func(s span) bool { return physOffset >= s.from && physOffset <= s.to })
}

// lostQueue is a queue whose records are in the log but which has no directory.
type lostQueue struct {
	path    string
	pos     int64
	records int64
}

// noteLost counts a record whose queue is not there at all; of deleted topics that is as it should be.
func (c *checker) noteLost(s *logFileCheck, pos int64, m *codec.Message) {
	if !c.topicKnown(s.topic) || strings.HasPrefix(s.topic, "%LMQ%") { // Java gives what is sent to one directly no queue
		return
	}
	c.lostMu.Lock()
	defer c.lostMu.Unlock()
	key := queueKey{s.topic, m.QueueID}
	l := c.lost[key]
	if l == nil {
		if len(c.lost) >= maxLostQueues {
			return
		}
		l = &lostQueue{path: s.file.path, pos: pos}
		c.lost[key] = l
	}
	if s.file.path < l.path {
		l.path, l.pos = s.file.path, pos
	}
	l.records++
}

// maxLostQueues bounds how many queues without a directory are told of: names in damaged records may be any.
const maxLostQueues = 100_000

// findLogEnd tells the end of the log from what the walks say of its files, and reports files whose records break off
// before the log does.
func (c *checker) findLogEnd() {
	files := c.files.log
	if len(files) == 0 {
		return
	}
	last := 0
	for i, w := range c.walks {
		c.report.Records += w.records
		c.end.lastMs = max(c.end.lastMs, w.lastMs)
		if w.records > 0 {
			last = i
		}
	}
	for i := range last {
		if w, f := c.walks[i], files[i]; w.kind != logFull {
			c.damagedLog.Add(1)
			cause := "nothing was written there"
			if w.cause != nil {
				cause = w.cause.Error()
			}
			c.add(Damage, f.path, w.pos, fmt.Sprintf("the records end here (%s), but the log goes on in the next file", cause),
				"messages that lay behind are lost", doRestore)
		}
	}
	if c.walks[last].kind == logFull && last+1 < len(files) {
		last++
	}
	w, f := c.walks[last], files[last]
	c.end.file, c.end.pos, c.end.phys, c.end.cause = f, w.pos, f.base+w.pos, w.cause
	if w.kind == logFull {
		c.end.pos, c.end.phys = f.size, f.end()
	}
	for _, f := range files[min(last+2, len(files)):] {
		c.add(Note, f.path, -1, "a file behind the end of the log", "it holds no message", doNextRun)
	}
}

// judgeLogEnd says whether the log lost its end. It does when the checkpoint, a queue or the index knows of messages behind
// it; otherwise what stands there was being written when the server was stopped.
func (c *checker) judgeLogEnd() error {
	e := c.end
	if len(c.files.log) == 0 {
		return nil
	}
	cause := "nothing is written there"
	if e.cause != nil {
		cause = e.cause.Error()
	}
	beyond := c.beyond.Load()
	switch {
	case c.hasTime && c.check.physicMs > e.lastMs && (c.clean || e.cause != nil) && !c.opts.Live:
		c.add(Damage, e.file.path, e.pos, fmt.Sprintf("the log ends here (%s), at store time %d; the checkpoint knows messages until %d",
			cause, e.lastMs, c.check.physicMs), "messages that were on disk are lost", doRestore)
	case c.clean && beyond > 0:
		c.add(Damage, e.file.path, e.pos, fmt.Sprintf("the log ends here (%s); %d queue entries point behind it", cause, beyond),
			"messages that were in queues are lost", doRestore)
	case e.cause != nil:
		c.add(Note, e.file.path, e.pos, fmt.Sprintf("the log ends here, what follows is no whole record: %v", e.cause),
			"it was being written when the server was stopped, or is left from an earlier log", doNextRun)
	}
	return nil
}
