package processor

import (
	"strings"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// How often a flow is looked at for the statistics over a minute, an hour and a day, and how many looks are kept. Apache:
// StatsItemSet, StatsItem.
const (
	minuteLook, minuteLooks = 10 * time.Second, 7
	hourLook, hourLooks     = 10 * time.Minute, 7
	dayLook, dayLooks       = time.Hour, 25
)

// spans keeps what a flow had counted at some times past. The zero value has seen nothing and takes no memory.
type spans struct {
	minute, hour, day []look // oldest first
}

type look struct {
	at time.Time
	counted
}

// spansClock says which of the spans are due. The zero value says all are.
type spansClock struct {
	mu                sync.Mutex // guards what follows and the spans of all flows
	nextHour, nextDay time.Time
	puts, gets        spans // of the whole broker
}

// note adds what a flow has counted to the spans that are due.
func (s *spans) note(now time.Time, n counted, hour, day bool) {
	if n == (counted{}) && s.minute == nil {
		return
	}
	s.minute = appendLook(s.minute, now, n, minuteLook, minuteLooks)
	if hour {
		s.hour = appendLook(s.hour, now, n, hourLook, hourLooks)
	}
	if day {
		s.day = appendLook(s.day, now, n, dayLook, dayLooks)
	}
}

// appendLook keeps the last looks. Before the first one there was nothing, a period ago.
func appendLook(looks []look, now time.Time, n counted, period time.Duration, most int) []look {
	if len(looks) == 0 {
		looks = append(looks, look{at: now.Add(-period)})
	}
	if len(looks) == most {
		looks = append(looks[:0], looks[1:]...)
	}
	return append(looks, look{at: now, counted: n})
}

// item is the statistics over some looks of what of tells. Apache: StatsItem.computeStatsData.
func item(looks []look, of func(counted) int64) (i codec.BrokerStatsItem) {
	if len(looks) < 2 {
		return i
	}
	first, last := looks[0], looks[len(looks)-1]
	i.Sum = of(last.counted) - of(first.counted)
	if ms := last.at.Sub(first.at).Milliseconds(); ms > 0 {
		i.TPS = float64(i.Sum) * 1000 / float64(ms)
	}
	if calls := last.calls - first.calls; calls > 0 {
		i.AvgPT = float64(i.Sum) / float64(calls)
	}
	return i
}

func (s *spans) data(of func(counted) int64) codec.BrokerStatsData {
	return codec.BrokerStatsData{StatsMinute: item(s.minute, of), StatsHour: item(s.hour, of), StatsDay: item(s.day, of)}
}

// look looks at every flow, and reports whether ten minutes have gone by. Call it every 10 s.
func (t *traffic) look(now time.Time, puts, gets counted) (tenMinutes bool) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	hour, day := !now.Before(t.clock.nextHour), !now.Before(t.clock.nextDay)
	if hour {
		t.clock.nextHour = now.Add(hourLook)
	}
	if day {
		t.clock.nextDay = now.Add(dayLook)
	}
	t.clock.puts.note(now, puts, hour, day)
	t.clock.gets.note(now, gets, hour, day)
	for _, c := range t.topics.All() {
		c.spans.note(now, c.total(), hour, day)
		for _, g := range c.groups.all() {
			g.outSpans.note(now, g.out.now(), hour, day)
			g.backSpans.note(now, g.back.now(), hour, day)
		}
	}
	return hour
}

func messagesOf(c counted) int64 { return c.messages }
func bytesOf(c counted) int64    { return c.bytes }

// data returns the statistics of one of Java's items; ok is false for one that was never counted.
func (t *traffic) data(name, key, cluster string) (data codec.BrokerStatsData, ok bool) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	s, of := t.find(name, key, cluster)
	if s == nil || len(s.minute) == 0 {
		return data, false
	}
	return s.data(of), true
}

// find returns the spans of one of Java's items, nil for none, and what it counts. The key of a group is topic@group. Apache:
// BrokerStatsManager.buildStatsKey.
func (t *traffic) find(name, key, cluster string) (*spans, func(counted) int64) {
	of := messagesOf
	if strings.HasSuffix(name, "_SIZE") {
		of = bytesOf
	}
	topic, group, ofGroup := strings.Cut(key, "@")
	c := t.topics.Get(store.NameOf(topic))
	switch {
	case name == "BROKER_PUT_NUMS" && key == cluster:
		return &t.clock.puts, of
	case name == "BROKER_GET_NUMS" && key == cluster:
		return &t.clock.gets, of
	case c == nil:
		return nil, nil
	case name == "TOPIC_PUT_NUMS" || name == "TOPIC_PUT_SIZE":
		return &c.spans, of
	}
	g := c.groups.get(group)
	switch {
	case !ofGroup || g == nil:
		return nil, nil
	case name == "GROUP_GET_NUMS" || name == "GROUP_GET_SIZE":
		return &g.outSpans, of
	case name == "SNDBCK_PUT_NUMS":
		return &g.backSpans, of
	}
	return nil, nil
}
