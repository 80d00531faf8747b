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

// TestJavaOrder has keys sent in order, each to its queue, while members join and leave, one is killed, and the broker is killed and
// stopped. A group has members of both client versions.
func TestJavaOrder(t *testing.T) {
	needJava(t)
	eachJavaPair(t, func(t *testing.T, oneVersion, otherVersion string) {
		tg := onOwn(t)
		g := &orderlyGroup{tg: tg, topic: newTopic(t, tg, orderQueues), group: newGroup(t, tg), scenario: "steady-orderly-consumer"}
		stays := g.join(t, oneVersion)
		producer := startSteady(t, tg, otherVersion, "steady-orderly-producer", g.topic, unique("PG"))
		stays.awaitQueues(t, orderQueues)

		leaves := g.join(t, otherVersion)
		leaves.awaitQueues(t, orderQueues/2)
		stays.awaitQueues(t, orderQueues/2)
		tg.KillBroker(t)
		producer.awaitError(t)
		tg.StartBroker(t)
		leaves.awaitQueues(t, orderQueues/2)
		stays.awaitQueues(t, orderQueues/2)
		leaves.finish(t)
		stays.awaitQueues(t, orderQueues)

		// One that is killed leaves its locks to the broker, which forgets them when it ends.
		dies := g.join(t, oneVersion)
		dies.awaitQueues(t, orderQueues/2)
		dies.kill()
		tg.StopBroker(t)
		producer.awaitError(t)
		tg.StartBroker(t)
		stays.awaitQueues(t, orderQueues)

		producer.finish(t)
		g.awaitAll(t, producer.acked)
		stays.finish(t)
		require.Empty(t, dies.strange)
		requireOrder(t, g.all(), producer.acked, 6)
	})
}
