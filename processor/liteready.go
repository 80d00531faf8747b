package processor

import "time"

// Ready lite topics: those of a client in the order they became so, each once, and those of a group that takes all.

// push makes a subscription ready, once.
func (c *liteClient) push(s *liteSub, front bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.ready:
		return
	case c.first == nil:
		c.first, c.last = s, s
	case front:
		s.next, c.first.prev, c.first = c.first, s, s
	default:
		s.prev, c.last.next, c.last = c.last, s, s
	}
	s.ready = true
}

// takeLocked takes a subscription out of the ready ones. The caller holds c.mu.
func (c *liteClient) takeLocked(s *liteSub) {
	if s.prev == nil {
		c.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		c.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.ready = nil, nil, false
}

// drop takes a subscription out of the ready ones and reports whether it was there.
func (c *liteClient) drop(s *liteSub) (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was = s.ready; was {
		c.takeLocked(s)
	}
	return was
}

// take returns the next ready topic of a client, nil when there is none; put gives it back.
func (c *liteClient) take(wild *liteWild) (t *liteTopic, s *liteSub) {
	if wild != nil {
		return wild.take(), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s = c.first; s == nil {
		return nil, nil
	}
	c.takeLocked(s)
	return s.topic, s
}

func (c *liteClient) put(wild *liteWild, t *liteTopic, s *liteSub) {
	if wild != nil {
		wild.push(t)
		return
	}
	c.push(s, true)
}

// hasReady reports whether the client would get a topic.
func (c *liteClient) hasReady(wild *liteWild) bool {
	if wild != nil {
		wild.mu.Lock()
		defer wild.mu.Unlock()
		return len(wild.ready) > 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first != nil
}

func (w *liteWild) push(t *liteTopic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.set[t]; !ok {
		w.set[t] = struct{}{}
		w.ready = append(w.ready, t)
	}
}

func (w *liteWild) take() *liteTopic {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ready) == 0 {
		return nil
	}
	t := w.ready[0]
	w.ready[0] = nil
	if w.ready = w.ready[1:]; len(w.ready) == 0 {
		w.ready = nil
	}
	delete(w.set, t)
	return t
}

// waiting returns a client of the group that waits, in turn. The caller holds lites.mu.
func (w *liteWild) waiting() *liteClient {
	first := int(w.turn.Add(1))
	for i := range w.clients {
		if c := w.clients[(first+i)%len(w.clients)]; c.waits() {
			return c
		}
	}
	return nil
}

// passOn gives the ready topics of clients that have been silent to others of their groups that have not.
func (l *lites) passOn(now time.Time) {
	beforeMs := now.Add(-liteIdle).UnixMilli()
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, c := range l.clients {
		if c.usedMs.Load() > beforeMs || c.waits() {
			continue
		}
		l.passOnLocked(c, now.UnixMilli())
	}
}

func (l *lites) passOnLocked(c *liteClient, nowMs int64) {
	c.mu.Lock()
	var others []*liteSub
	for s := c.first; s != nil; {
		next := s.next
		if g := s.topic.group(c.group); g != nil && g.lively(0, c, nowMs) != nil {
			c.takeLocked(s)
			others = append(others, s)
		}
		s = next
	}
	c.mu.Unlock()
	for _, s := range others {
		l.offerLocked(s.topic, c.group, c)
	}
}
