package compat

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLiteMQAdmin has Apache's mqadmin 5.5.0 show what there is of lite topics.
func TestLiteMQAdmin(t *testing.T) {
	needJava(t)
	newIn(t, "5.5.0")
	tg := onOwn(t, lmqConf()...)
	r := newLiteRun(t, tg)
	r.put(t, "a", "x", "y", "z")
	r.add(t, "a")
	got := r.popUntil(t, time.Minute, "a 0 x 0", "a 1 y 0", "a 2 z 0")
	r.ack(t, got.acks[0])
	run := func(args ...string) string { return mqadminOf(t, "5.5.0", tg, args...) }

	require.Contains(t, run("getBrokerLiteInfo", "-b", tg.Broker(), "-d"), `Group Meta: {"`+r.parent+`":["`+r.group+`"]}`)
	require.Contains(t, run("getParentTopicInfo", "-p", r.parent), tg.BrokerName)
	require.Contains(t, run("getLiteTopicInfo", "-p", r.parent, "-l", "a", "-s"), r.id)
	require.Contains(t, run("getLiteClientInfo", "-p", r.parent, "-g", r.group, "-c", r.id, "-s"), "a")
	group := run("getLiteGroupInfo", "-p", r.parent, "-g", r.group, "-k", "10")
	require.Regexp(t, `Total Lag Count: +2`, group)
	require.Regexp(t, `1 +a +2 `, group)
	require.Contains(t, run("getLiteGroupInfo", "-p", r.parent, "-g", r.group, "-l", "a"), tg.BrokerName)
	require.Contains(t, run("triggerLiteDispatch", "-p", r.parent, "-g", r.group), "dispatched")
}

// TestLiteJava runs the scenarios of the Java client's calls for lite topics.
func TestLiteJava(t *testing.T) {
	needJava(t)
	newIn(t, "5.5.0")
	requireJava(t, onOwn(t, lmqConf()...), javaVersions[0], "--scenario", "lite-deliver,lite-again")
}
