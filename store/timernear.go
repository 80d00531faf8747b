package store

import (
	"cmp"
	"errors"
	"slices"
)

// nearTimer is a message that is due soon.
type nearTimer struct {
	dueMs      int64
	pos        int64 // in the timer log; of two that are due at once the first was sent first
	physOffset int64
	writeMs    int64
	size       int32
	magic      int32
}

func (a *nearTimer) compare(b *nearTimer) int {
	return cmp.Or(cmp.Compare(a.dueMs, b.dueMs), cmp.Compare(a.pos, b.pos))
}

func (a *nearTimer) less(b *nearTimer) bool { return a.compare(b) < 0 }

// nearHeap has the first one to be delivered in front.
type nearHeap []nearTimer

func (h *nearHeap) push(n nearTimer) {
	*h = append(*h, n)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].less(&s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *nearHeap) pop() {
	s := *h
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && s[down+1].less(&s[down]) {
			down++
		}
		if !s[down].less(&s[i]) {
			break
		}
		s[i], s[down] = s[down], s[i]
		i = down
	}
	*h = s
	if cap(s) > 4096 && last < cap(s)/8 { // what one full second needed is not kept
		*h = slices.Clone(s)
	}
}

// nearSlot is a slot that is in memory.
type nearSlot struct {
	ms int64
	// recalled are the keys of messages that were taken back. Releases of Java wrote them in two ways, see recalledBy.
	// The value is where the message that did so lies.
	recalled map[timerKey]int64
	// partial says that only records up to with mark were read; the others are read when those are delivered.
	partial bool
	mark    nearTimer
	// delivered says that something of the slot was delivered.
	delivered bool
}

// slotOf returns the slot of a message in memory.
func (t *Timer) slotOf(n *nearTimer) int64 { return t.wheel.floor(n.dueMs - 1) }

// nearSlot returns a loaded slot, which is begun if it had no records.
func (t *Timer) nearSlot(slotMs int64) *nearSlot {
	i, ok := slices.BinarySearchFunc(t.loaded, slotMs, func(s *nearSlot, ms int64) int { return cmp.Compare(s.ms, ms) })
	if !ok {
		t.loaded = slices.Insert(t.loaded, i, &nearSlot{ms: slotMs})
	}
	return t.loaded[i]
}

// load reads the slots that come within two slots' time, as far as there is room, and goes on with one that was read in
// part.
func (t *Timer) load() error {
	if n := len(t.loaded); n > 0 && t.loaded[n-1].partial {
		if len(t.near) > 0 {
			return nil
		}
		return t.fill(t.loaded[n-1])
	}
	horizon := t.writeMs + 3*t.precision
	for t.loadedMs < horizon && len(t.near) < t.opts.maxNear {
		slotMs, ok, err := t.wheel.next(t.loadedMs, min(horizon, t.loadedMs+t.span))
		if err != nil {
			return err
		}
		if !ok {
			t.loadedMs = min(horizon, t.loadedMs+t.span)
			continue
		}
		if len(t.near) > 0 && int64(len(t.near))+t.wheel.num(slotMs) > int64(t.opts.maxNear) {
			return nil
		}
		s := t.nearSlot(slotMs)
		if err := t.fill(s); err != nil {
			return err
		}
		t.loadedMs = slotMs + t.precision
		if s.partial {
			return nil
		}
	}
	return nil
}

// fill reads the records of a slot behind its mark. When the chain is damaged, what it should hold is looked for in the
// queue.
func (t *Timer) fill(s *nearSlot) error {
	found, again := t.spare[:0], s.partial
	s.partial = false
	take := func(n nearTimer) {
		if again && n.compare(&s.mark) <= 0 {
			return
		}
		if found = append(found, n); len(found) >= 2*t.opts.maxNear {
			found, s.partial = t.firstOf(found), true
		}
	}
	err := t.eachOf(s, take)
	if errors.Is(err, ErrCorrupt) {
		t.opts.Logger.Error("timer log is damaged, the messages of this second are looked for in their queue", "slot", s.ms, "error", err)
		known := make(map[int64]struct{}, len(found))
		for i := range found {
			known[found[i].physOffset] = struct{}{}
		}
		err = t.rescue(s, known, take)
	}
	if err != nil {
		s.partial = again
		return err
	}
	if len(found) > t.opts.maxNear {
		found, s.partial = t.firstOf(found), true
	}
	if s.partial {
		s.mark = slices.MaxFunc(found, func(a, b nearTimer) int { return a.compare(&b) })
	}
	for _, n := range found {
		t.near.push(n)
	}
	if t.spare = found; cap(found) > 1<<16 {
		t.spare = nil
	}
	return nil
}

// firstOf returns those that come first, as many as may be in memory.
func (t *Timer) firstOf(found []nearTimer) []nearTimer {
	slices.SortFunc(found, func(a, b nearTimer) int { return a.compare(&b) })
	return found[:t.opts.maxNear]
}

// eachOf calls take with the messages of a slot and notes what was taken back.
func (t *Timer) eachOf(s *nearSlot, take func(nearTimer)) error {
	slot, err := t.wheel.at(s.ms)
	if err != nil {
		return err
	}
	for pos := slot.last; pos >= 0; {
		r, err := t.log.read(pos)
		if err != nil {
			return err
		}
		if t.wheel.floor(r.atMs()) != s.ms {
			return t.log.damaged(pos, "record of another time")
		}
		if r.deletes() {
			err = t.recall(s, r.physOffset)
		} else {
			var n nearTimer
			n, err = t.nearOf(pos, &r)
			take(n)
		}
		if err != nil {
			return err
		}
		pos = r.prevPos
	}
	return nil
}

// nearOf returns what is to be done with a record. One to be rolled may go at any time of its slot.
func (t *Timer) nearOf(pos int64, r *timerRecord) (nearTimer, error) {
	n := nearTimer{dueMs: r.atMs() + 1, pos: pos, physOffset: r.physOffset, writeMs: r.writeMs, size: r.size, magic: r.magic}
	if r.rolls() || r.atMs()%t.precision != 0 {
		return n, nil
	}
	err := t.withMessage(r.physOffset, func(m *timerMessage) error {
		if m.outMs/t.precision == r.atMs()/t.precision {
			n.dueMs = m.dueMs(t.precision)
		}
		return nil
	})
	return n, ignoreMissing(err)
}

// recall notes what a message takes back.
func (t *Timer) recall(s *nearSlot, physOffset int64) error {
	err := t.withMessage(physOffset, func(m *timerMessage) error {
		if len(m.deleteKey) > 0 {
			if s.recalled == nil {
				s.recalled = make(map[timerKey]int64)
			}
			s.recalled[t.key(m.deleteKey)] = physOffset
		}
		return nil
	})
	return ignoreMissing(err)
}

// recalledBy reports whether a message was taken back: by its unique key alone, or after its topic and a plus sign.
func (t *Timer) recalledBy(s *nearSlot, m *timerMessage) bool {
	if len(s.recalled) == 0 || len(m.uniqKey) == 0 {
		return false
	}
	if _, ok := s.recalled[t.key(m.uniqKey)]; ok {
		return true
	}
	t.text = append(append(append(t.text[:0], m.realTopic...), '+'), m.uniqKey...)
	_, ok := s.recalled[t.key(t.text)]
	return ok
}

// withMessage calls fn with the message whose record begins at physOffset; it is valid during the call only.
func (t *Timer) withMessage(physOffset int64, fn func(m *timerMessage) error) error {
	if t.store.closed.Load() {
		return ErrClosed
	}
	seg, record, err := t.store.log.recordAt(physOffset)
	if err != nil {
		return err
	}
	defer seg.release()
	if err := t.message.parse(record); err != nil {
		return err
	}
	return fn(&t.message)
}

// ignoreMissing makes nil of an error that says that a message is not there or none of the timer's: its delivery finds
// that out.
func ignoreMissing(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrIllegal) {
		return nil
	}
	return err
}
