package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// checkSlice is how many halves one Tick looks at, at most.
	checkSlice = 5_000
	// checkRetry is how long a half rests after something went wrong with it.
	checkRetry = 5 * time.Second
	// immuneHold is how long a half that is immune may hold back the offsets before a copy of it moves on.
	immuneHold = 10 * time.Minute
	// failureEvery is how often Tick tells of failures.
	failureEvery = 10 * time.Second
)

// TxnSettings are the rules by which Tick asks and gives up. Apache: BrokerConfig.
type TxnSettings struct {
	// TimeOut is how old a half is when its producer is first asked, CheckInterval the time between two questions.
	TimeOut, CheckInterval time.Duration
	// CheckMax is how often it is asked.
	CheckMax int
	// Retention is how old a half becomes.
	Retention time.Duration
	// OpMaxBytes and OpInterval are how long an op message becomes and how long it waits for more.
	OpMaxBytes int
	OpInterval time.Duration
}

// Tick does what time brings: it writes op messages, reads new halves, and for those that are due puts a copy into the
// queue and has ask send the question. One that fails is tried again later and holds nobody else up. Only one goroutine
// may call it, every 100 ms or so. Of errors it returns the first, every 10 s at most. Apache: TransactionalMessageServiceImpl.check.
func (t *Txn) Tick(now time.Time, rules TxnSettings, ask func(*TxnCheck)) (err error) {
	failures := 0
	note := func(e error) {
		if failures++; failures == 1 {
			err = e
		}
	}
	if e := t.writeOps(now, max(rules.OpMaxBytes, 1), rules.OpInterval, false); e != nil {
		note(fmt.Errorf("op message: %w", e))
	}
	t.readHalves(now, rules.TimeOut, rules.CheckInterval)
	for range checkSlice {
		if !t.caughtUp() {
			break
		}
		queueOffset, h, ok := t.nextDue(now.UnixMilli())
		if !ok {
			break
		}
		again, lookErr := t.look(queueOffset, &h, now, &rules, ask)
		if errors.Is(lookErr, ErrClosed) {
			return lookErr
		}
		if lookErr != nil {
			note(fmt.Errorf("half message %d: %w", queueOffset, lookErr))
		}
		if again > 0 {
			t.postpone(queueOffset, now.Add(again))
		}
	}
	t.moveOn(now, false)
	if failures == 0 || now.Sub(t.toldAt) < failureEvery {
		return nil
	}
	t.toldAt = now
	return fmt.Errorf("%d that will be tried again, first: %w", failures, err)
}

// caughtUp reports whether all halves from before the last stop were read.
func (t *Txn) caughtUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.readTo >= t.rebuilt || len(t.open) >= t.opts.MaxOpen
}

// dueMs returns when a half that was just read is to be looked at. A copy was made for a question.
func (h *Half) dueMs(timeOut, interval time.Duration) int64 {
	if h.checks() > 0 {
		return h.StoreTimestampMs + interval.Milliseconds()
	}
	rest, own := h.immunity(timeOut)
	due := min(h.BornTimestampMs, h.StoreTimestampMs) + rest.Milliseconds()
	if own {
		due++ // the immunity ends after that millisecond
	}
	return min(due, h.StoreTimestampMs+max(immuneHold, timeOut).Milliseconds())
}

// nextDue takes the half that has been due for longest.
func (t *Txn) nextDue(nowMs int64) (queueOffset int64, h openHalf, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.due) > 0 && t.due[0].atMs <= nowMs {
		e := t.due.pop()
		if h, ok := t.open[e.queueOffset]; ok && h.dueMs == e.atMs {
			return e.queueOffset, h, true
		}
	}
	return 0, openHalf{}, false
}

func (t *Txn) postpone(queueOffset int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.open[queueOffset]; ok {
		h.dueMs = at.UnixMilli()
		t.open[queueOffset] = h
		t.due.push(dueEntry{h.dueMs, queueOffset})
	}
}

// look does what has to be done about a half that is due, and returns when it is to be looked at again, 0 for never.
func (t *Txn) look(queueOffset int64, known *openHalf, now time.Time, rules *TxnSettings, ask func(*TxnCheck)) (again time.Duration, err error) {
	stripe := &t.stripes[known.key%txnStripes]
	stripe.Lock()
	defer stripe.Unlock()
	if !t.isOpen(queueOffset) {
		return 0, nil
	}
	h, err := t.Half(known.physOffset, true)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		t.mu.Lock()
		t.closeLocked(queueOffset)
		t.mu.Unlock()
		return 0, fmt.Errorf("passed over: %w", err)
	}
	if err != nil {
		return checkRetry, err
	}
	if queueOffset < t.rebuilt {
		// Java asks about halves that are decided but whose op message waits, and forgets that they were.
		if done, err := t.committedBefore(h); done || err != nil {
			return checkRetry, t.decideFound(h, err)
		}
	}
	ageMs := now.UnixMilli() - h.BornTimestampMs
	rest, immune := h.immunity(rules.TimeOut)
	checks := h.checks()
	switch {
	case checks >= rules.CheckMax && checks > 0, ageMs > rules.Retention.Milliseconds():
		err = t.giveUp(queueOffset, h)
	case immune && ageMs <= rest.Milliseconds():
		err = t.replace(queueOffset, h, h.copied(0, true), min(immuneHold, rest-time.Duration(ageMs-1)*time.Millisecond), now, nil)
	default:
		err = t.replace(queueOffset, h, h.copied(checks+1, false), rules.CheckInterval, now, ask)
	}
	if err != nil {
		again = checkRetry
	}
	return again, err
}

// decideFound ends a transaction whose final message was found in the log.
func (t *Txn) decideFound(h *Half, err error) error {
	if err == nil {
		t.mu.Lock()
		t.decideLocked(h.QueueOffset, h.key)
		t.mu.Unlock()
	}
	return err
}

func (t *Txn) isOpen(queueOffset int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.open[queueOffset]
	return ok
}

// replace puts a copy in the place of a half, to be looked at after rest, and asks its producer about it.
func (t *Txn) replace(queueOffset int64, h *Half, m *Message, rest time.Duration, now time.Time, ask func(*TxnCheck)) error {
	var put PutResult
	if err := t.store.PutWait(m, &put); err != nil {
		return fmt.Errorf("put half message again: %w", err)
	}
	t.mu.Lock()
	t.closeLocked(queueOffset)
	t.own[put.QueueOffset] = struct{}{}
	dueMs := now.Add(max(rest, time.Millisecond)).UnixMilli()
	t.addLocked(put.QueueOffset, openHalf{physOffset: put.PhysOffset, key: h.key, dueMs: dueMs, topic: h.RealTopic}, true)
	t.mu.Unlock()
	if ask != nil {
		ask(h.check(m, &put))
	}
	return nil
}

// giveUp moves a half that nobody decided to where people can find it. Apache:
// DefaultTransactionalMessageCheckListener.resolveDiscardMsg.
func (t *Txn) giveUp(queueOffset int64, h *Half) error {
	if t.opts.Topics != nil {
		cfg := codec.NewTopicConfig(TopicTransCheckMax)
		cfg.ReadQueueNums, cfg.WriteQueueNums = 1, 1
		if _, err := t.opts.Topics.CreateIfAbsent(cfg); err != nil {
			return fmt.Errorf("create topic %s: %w", TopicTransCheckMax, err)
		}
	}
	if err := t.store.PutWait(h.again(TopicTransCheckMax, 0), new(PutResult)); err != nil {
		return fmt.Errorf("give half message up: %w", err)
	}
	t.opts.Logger.Error("transaction was asked about too often or is too old, its message is given up", "topic", h.RealTopic,
		"group", h.Group, "checks", h.checks(), "offset", queueOffset, "to", TopicTransCheckMax)
	t.mu.Lock()
	t.closeLocked(queueOffset)
	t.mu.Unlock()
	return nil
}

// dueHeap has the entry that is due first in front. Entries of halves that are closed, or due at another time by now, stay
// until they come to the front.
type dueHeap []dueEntry

type dueEntry struct{ atMs, queueOffset int64 }

func (d *dueHeap) push(e dueEntry) {
	*d = append(*d, e)
	list := *d
	for i := len(list) - 1; i > 0; {
		parent := (i - 1) / 2
		if list[parent].atMs <= list[i].atMs {
			break
		}
		list[parent], list[i] = list[i], list[parent]
		i = parent
	}
}

func (d *dueHeap) pop() dueEntry {
	list := *d
	first, n := list[0], len(list)-1
	list[0] = list[n]
	list = list[:n]
	for i := 0; ; {
		least := 2*i + 1
		if least >= n {
			break
		}
		if right := least + 1; right < n && list[right].atMs < list[least].atMs {
			least = right
		}
		if list[i].atMs <= list[least].atMs {
			break
		}
		list[i], list[least] = list[least], list[i]
		i = least
	}
	*d = list
	return first
}
