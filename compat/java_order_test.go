package compat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// orderlyGroup is a group of steady orderly consumers, some of which are gone.
type orderlyGroup struct {
	tg           *Target
	topic, group string
	scenario     string // of a member
	members      []*steady
}

func (g *orderlyGroup) join(t testing.TB, version string) *steady {
	t.Helper()
	s := startSteady(t, g.tg, version, g.scenario, g.topic, g.group)
	g.members = append(g.members, s)
	return s
}

// all is what the members have taken, in the order of their clock.
func (g *orderlyGroup) all() []taken {
	type moment struct {
		taken
		when int64
	}
	var moments []moment
	for i, s := range g.members {
		s.mu.Lock()
		for _, d := range s.got {
			moments = append(moments, moment{taken{fmt.Sprint(i), d.id, d.at}, d.when})
		}
		s.mu.Unlock()
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return int(a.when - b.when) })
	all := make([]taken, len(moments))
	for i, m := range moments {
		all[i] = m.taken
	}
	return all
}

// awaitAll waits until all that was acknowledged has been taken.
func (g *orderlyGroup) awaitAll(t testing.TB, acked map[string]place) {
	t.Helper()
	eventually(t, steadyLimit, func() error {
		seen := map[string]bool{}
		for _, m := range g.all() {
			seen[m.id] = true
		}
		for id, at := range acked {
			if !seen[id] {
				return fmt.Errorf("%s, acknowledged at %v, has not been taken", id, at)
			}
		}
		return nil
	})
}

// awaitQueues waits until a member takes from so many queues from now on.
func (s *steady) awaitQueues(t testing.TB, n int) {
	t.Helper()
	s.mu.Lock()
	from := len(s.got)
	s.mu.Unlock()
	s.await(t, fmt.Sprint("messages of ", n, " queues"), steadyLimit, func() bool {
		queues := map[int]bool{}
		for _, d := range s.got[from:] {
			queues[d.at.queueID] = true
		}
		return len(queues) >= n
	})
}

// upheavals are what goThrough does with a group, and to whom.
type upheavals struct {
	stays, leaves, dies string // versions of the members
	producer            string // its version
	shared              int    // each of two members takes from so many queues
	takenOver           bool   // a dead member's queues go on while the broker runs
}

// goThrough has keys sent in order, each to its queue, while a member leaves, one is killed, and the broker is killed and stopped. It
// returns what was acknowledged, all of which has been taken.
func (g *orderlyGroup) goThrough(t *testing.T, u upheavals) map[string]place {
	t.Helper()
	stays := g.join(t, u.stays)
	producer := startSteady(t, g.tg, u.producer, "steady-orderly-producer", g.topic, unique("PG"))
	stays.awaitQueues(t, orderQueues)

	leaves := g.join(t, u.leaves)
	both := func() {
		leaves.awaitQueues(t, u.shared)
		stays.awaitQueues(t, u.shared)
	}
	both()
	g.tg.KillBroker(t)
	producer.awaitError(t)
	g.tg.StartBroker(t)
	both()
	leaves.finish(t)
	stays.awaitQueues(t, orderQueues)

	dies := g.join(t, u.dies)
	dies.awaitQueues(t, u.shared)
	dies.kill()
	if u.takenOver {
		stays.awaitQueues(t, orderQueues)
	}
	g.tg.StopBroker(t)
	producer.awaitError(t)
	g.tg.StartBroker(t)
	stays.awaitQueues(t, orderQueues)

	producer.finish(t)
	g.awaitAll(t, producer.acked)
	stays.finish(t)
	require.Empty(t, dies.strange)
	return producer.acked
}

// TestJavaOrder has groups with members of both client versions. One that is killed leaves its locks to the broker, which forgets
// them when it ends.
func TestJavaOrder(t *testing.T) {
	needJava(t)
	eachJavaPair(t, func(t *testing.T, oneVersion, otherVersion string) {
		tg := onOwn(t)
		g := &orderlyGroup{tg: tg, topic: newTopic(t, tg, orderQueues), group: newGroup(t, tg), scenario: "steady-orderly-consumer"}
		acked := g.goThrough(t, upheavals{stays: oneVersion, leaves: otherVersion, dies: oneVersion, producer: otherVersion, shared: orderQueues / 2})
		requireOrder(t, g.all(), acked, 6)
	})
}
