package compat

import "testing"

// TestJavaPopOrder has members pop in order with the calls of the 5.x client, all from all queues. What one has that is killed goes on when
// it is visible again.
func TestJavaPopOrder(t *testing.T) {
	needJava(t)
	tg := onOwn(t)
	g := &orderlyGroup{tg: tg, topic: newTopic(t, tg, orderQueues), group: newGroup(t, tg), scenario: "steady-pop-orderly"}
	popper := javaVersions[0]
	acked := g.goThrough(t, upheavals{stays: popper, leaves: popper, dies: popper, producer: javaVersions[1], shared: orderQueues, takenOver: true})
	requireTakenInOrder(t, g.all(), acked)
}
