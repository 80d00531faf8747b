package compat

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJavaPopOrder has keys sent in order by the one client version, each to its queue, and popped in order with the calls of the 5.x client,
// while members come and leave, one is killed with what it has, and the broker is killed and stopped.
func TestJavaPopOrder(t *testing.T) {
	needJava(t)
	tg := onOwn(t)
	g := &orderlyGroup{tg: tg, topic: newTopic(t, tg, orderQueues), group: newGroup(t, tg), scenario: "steady-pop-orderly"}
	popper := javaVersions[0]
	stays := g.join(t, popper)
	producer := startSteady(t, tg, javaVersions[1], "steady-orderly-producer", g.topic, unique("PG"))
	stays.awaitQueues(t, orderQueues)

	leaves := g.join(t, popper)
	leaves.awaitQueues(t, orderQueues)
	stays.awaitQueues(t, orderQueues)
	tg.KillBroker(t)
	producer.awaitError(t)
	tg.StartBroker(t)
	leaves.awaitQueues(t, orderQueues)
	stays.awaitQueues(t, orderQueues)
	leaves.finish(t)
	stays.awaitQueues(t, orderQueues)

	dies := g.join(t, popper)
	dies.awaitQueues(t, orderQueues)
	dies.kill() // its queues go on when what it had is visible again
	stays.awaitQueues(t, orderQueues)
	tg.StopBroker(t)
	producer.awaitError(t)
	tg.StartBroker(t)
	stays.awaitQueues(t, orderQueues)

	producer.finish(t)
	g.awaitAll(t, producer.acked)
	stays.finish(t)
	require.Empty(t, dies.strange)
	requireTakenInOrder(t, g.all(), producer.acked)
}
