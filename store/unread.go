package store

import (
	"fmt"
	"time"
)

const (
	// riskAhead is how long before it may be deleted a message that was not consumed is warned about.
	riskAhead = time.Hour
	// riskPeriod is how often is looked for such messages while nothing has changed.
	riskPeriod = time.Minute
	// riskRatio is how far below ForciblyRatio a disk is when segments are soon deleted before they expire.
	riskRatio = 0.05
	// maxUnreadLines bounds the groups and topics that one deletion names in the log.
	maxUnreadLines = 20
)

// LiveOffset is how far a group that has members now has consumed a queue.
type LiveOffset struct {
	Group, Topic string
	QueueID      int32
	// QueueOffset is the first message that the group has not consumed.
	QueueOffset int64
}

// risk is what the cleaner knows of messages that are soon deleted.
type risk struct {
	upTo int64 // physical offset
	at   time.Time
}

// unreadOf is what a group has not consumed of a topic.
type unreadOf struct{ group, topic string }

// unread counts by group and topic the messages that live groups have not consumed and that lie before physOffset.
func (c *cleaner) unread(physOffset int64) (total int64, by map[unreadOf]int64) {
	c.eachUnread(physOffset, func(o *LiveOffset, messages int64) bool {
		if by == nil {
			by = make(map[unreadOf]int64)
		}
		by[unreadOf{o.Group, o.Topic}] += messages
		total += messages
		return true
	})
	return total, by
}

// eachUnread calls fn, until it says no, for each queue of which a live group has not consumed messages before physOffset.
func (c *cleaner) eachUnread(physOffset int64, fn func(o *LiveOffset, messages int64) (more bool)) {
	if c.s.opts.LiveOffsets == nil {
		return
	}
	logMin := c.s.log.minPhys()
	c.s.opts.LiveOffsets(func(o LiveOffset) bool {
		q := c.s.queues.find(o.Topic, o.QueueID)
		if q == nil {
			return true
		}
		if n := q.unread(o.QueueOffset, physOffset, logMin); n > 0 {
			return fn(&o, n)
		}
		return true
	})
}

// unread counts the entries from queueOffset on whose records lie before physOffset, in a log that begins at logMin.
func (q *queue) unread(queueOffset, physOffset, logMin int64) int64 {
	if queueOffset >= q.max.Load() { // nearly all
		return 0
	}
	from := max(queueOffset, q.minOffset(logMin))
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := q.max.Load()
	if from >= limit || q.gone {
		return 0
	}
	if q.maxPhys > 0 && q.maxPhys <= physOffset {
		return limit - from
	}
	if e, err := q.entryLocked(from); err != nil || e.physOffset >= physOffset {
		return 0
	}
	end, err := q.searchLocked(from, physOffset)
	if err != nil {
		q.all.opts.Logger.Error("unconsumed messages of a queue are unknown", "topic", q.topic, "queue", q.id, "err", err)
		return 0
	}
	return end - from
}

// holdsUnread reports whether a live group has not consumed a message of the log up to the end of head.
func (c *cleaner) holdsUnread(head *segment) bool {
	holds := false
	c.eachUnread(head.end(), func(*LiveOffset, int64) bool {
		holds = true
		return false
	})
	return holds
}

// tellUnread warns of what live groups lose by the deletion of head, before it.
func (c *cleaner) tellUnread(head *segment) {
	total, by := c.unread(head.end())
	if total == 0 {
		return
	}
	c.counts.unreadDeleted.Add(total)
	lines := 0
	for of, n := range by {
		if lines++; lines > maxUnreadLines {
			break
		}
		c.s.opts.Logger.Warn("messages are deleted which a live group has not consumed", "group", of.group, "topic", of.topic,
			"messages", n, "path", head.path)
	}
	if more := len(by) - maxUnreadLines; more > 0 {
		c.s.opts.Logger.Warn(fmt.Sprintf("messages of %d more groups and topics are deleted", more), "messages", total, "path", head.path)
	}
}

// lookAhead counts the messages that live groups have not consumed and that may be deleted within the hour, and warns when
// there are the first.
func (c *cleaner) lookAhead(r *Retention, now time.Time) {
	if c.s.opts.LiveOffsets == nil {
		return
	}
	upTo := c.goesSoon(r, now)
	if upTo == c.risk.upTo && now.Sub(c.risk.at) < riskPeriod {
		return
	}
	c.risk = risk{upTo, now}
	total, by := c.unread(upTo)
	if before := c.counts.unreadAtRisk.Swap(total); before > 0 || total == 0 {
		return
	}
	for of, n := range by {
		c.s.opts.Logger.Warn("messages may be deleted within the hour which a live group has not consumed", "group", of.group,
			"topic", of.topic, "messages", n, "all", total, "kept", r.KeepUnread)
		return
	}
}

// goesSoon is where the log may begin within the hour.
func (c *cleaner) goesSoon(r *Retention, now time.Time) int64 {
	list := c.s.log.all()
	if len(list) == 0 {
		return 0
	}
	logRatio, queueRatio := c.measured()
	most := max(logRatio, queueRatio)
	anyHour := r.timeUp(now) || r.timeUp(now.Add(riskAhead)) || most > r.MaxUsedRatio
	end, upTo := list[len(list)-1].end(), list[0].base
	for i, seg := range list[:len(list)-1] {
		switch {
		case anyHour && seg.expired(r.ReservedTime, now.Add(riskAhead)):
		case r.MaxLogBytes > 0 && end-seg.base > r.MaxLogBytes-r.MaxLogBytes/10:
		case i < r.BatchMax && r.CleanForcibly && most > r.ForciblyRatio-riskRatio:
		default:
			return upTo
		}
		upTo = seg.end()
	}
	return upTo
}
