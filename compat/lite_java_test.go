package compat

import (
	"fmt"
	"regexp"
	"testing"
	"time"
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
	// A command gives up after five seconds, which is little while other tests start their JVMs.
	shows := func(want string, args ...string) {
		eventually(t, 2*time.Minute, func() error {
			if out := mqadminOf(t, "5.5.0", tg, args...); !regexp.MustCompile(want).MatchString(out) {
				return fmt.Errorf("%s shows no %s:\n%s", args[0], want, out)
			}
			return nil
		})
	}

	broker, id := regexp.QuoteMeta(tg.BrokerName), regexp.QuoteMeta(r.id)
	shows(regexp.QuoteMeta(`Group Meta: {"`+r.parent+`":["`+r.group+`"]}`), "getBrokerLiteInfo", "-b", tg.Broker(), "-d")
	shows(broker, "getParentTopicInfo", "-p", r.parent)
	shows(id, "getLiteTopicInfo", "-p", r.parent, "-l", "a", "-s")
	shows("a", "getLiteClientInfo", "-p", r.parent, "-g", r.group, "-c", r.id, "-s")
	shows(`(?s)Total Lag Count: +2.*1 +a +2 `, "getLiteGroupInfo", "-p", r.parent, "-g", r.group, "-k", "10")
	shows(broker, "getLiteGroupInfo", "-p", r.parent, "-g", r.group, "-l", "a")
	shows("dispatched", "triggerLiteDispatch", "-p", r.parent, "-g", r.group)
}

// TestLiteJava runs the scenarios of the Java client's calls for lite topics.
func TestLiteJava(t *testing.T) {
	needJava(t)
	newIn(t, "5.5.0")
	requireJava(t, onOwn(t, lmqConf()...), javaVersions[0], "--scenario", "lite-deliver,lite-again")
}
