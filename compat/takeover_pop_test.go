package compat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTakeOverPop hands a store with deliveries in flight from Apache's broker to ours, and from ours to Apache's. What clients say of a
// delivery of the other counts: what is acknowledged does not come again, what was renewed stays invisible for as long, the rest comes
// once, when its time is over.
func TestTakeOverPop(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	needJava(t)
	t.Parallel()
	for _, end := range []struct {
		name string
		with func(*Target, testing.TB)
	}{
		{"after a clean stop", (*Target).StopBroker},
		{"after a kill", (*Target).KillBroker},
	} {
		t.Run(end.name, func(t *testing.T) {
			tg := onOwn(t, WithConf("mappedFileSizeCommitLog", "1048576"), WithConf("flushConsumerOffsetInterval", "500"),
				WithConf("popFromRetryProbability", "50"))
			besideApache(t)
			ours := tg.launch
			apache, err := newApacheLauncher()
			require.NoError(t, err)
			end.with(tg, t)
			tg.launch = apache
			tg.StartBroker(t)
			r := &popRun{tg, connect(t, tg.Broker()), newTopic(t, tg, 2), newGroup(t, tg)}
			for round, next := range []launcher{ours, apache} {
				name := fmt.Sprint("round-", round)
				f := newFlight(t, r, name)
				end.with(tg, t)
				tg.launch = next
				tg.StartBroker(t)
				r.c = connect(t, tg.Broker())
				f.check(t)
			}
		})
	}
}

const (
	flightTime    = 40 * time.Second // long enough for Apache's broker to start within
	flightRenewed = 70 * time.Second
)

// flight is what one broker delivered and another goes on with.
type flight struct {
	*popRun
	list          []popped
	renewed, done []popped
}

// newFlight pops twelve messages and says something of some.
func newFlight(t *testing.T, r *popRun, name string) *flight {
	t.Helper()
	f := &flight{popRun: r}
	var all []string
	for i := range 12 {
		all = append(all, fmt.Sprintf("%s-%02d", name, i))
	}
	r.put(t, 2, all...)
	f.list = r.popUntil(t, len(all), flightTime, popAgain)
	require.Equal(t, all, poppedBodies(f.list))
	slices.SortFunc(f.list, func(a, b popped) int { return strings.Compare(string(a.Body), string(b.Body)) })
	f.done = append(f.done, f.list[:2]...)
	r.ack(t, f.done...)
	f.renewed = append(f.renewed, f.renew(t, f.list[2]))
	for queue := range 2 { // Apache's broker delivers again what a kill takes from this file
		next := f.list[10+queue].QueueOffset + 1
		eventually(t, stopTimeout, func() error { return saved(r.tg, r.topic, r.group, int(f.list[10+queue].QueueID), next) })
	}
	return f
}

// renew makes a message invisible for longer and returns it with its new receipt.
func (f *flight) renew(t *testing.T, m popped) popped {
	t.Helper()
	res := f.c.ok(t, codeChangeInvisible, with(m.ackFields(), "invisibleTime", flightRenewed.Milliseconds()), nil)
	m.receipt = fmt.Sprintf("%s %s %s %s 0 %s %s %s", m.part(7), res.Ext["popTime"], res.Ext["invisibleTime"], res.Ext["reviveQid"], f.tg.BrokerName,
		m.part(6), m.part(7))
	return m
}

// check says more of the delivery to the next broker, and waits for what has to come again.
func (f *flight) check(t *testing.T) {
	t.Helper()
	require.Empty(t, f.pop(t, popFields(f.group, f.topic, flightTime)), "all are invisible or done")
	f.ack(t, f.list[3], f.list[4], f.list[3]) // the second ack of a message changes nothing
	f.c.ok(t, codeBatchAck, nil, batchAckBody(f.tg.BrokerName, f.topic, f.list[5], f.list[7]))
	f.renewed = append(f.renewed, f.renew(t, f.list[6]))
	f.ack(t, f.renewed[0])
	var came []popped
	eventually(t, flightTime+popAgain, func() error {
		came = append(came, f.pop(t, popFields(f.group, f.topic, 5*time.Minute))...)
		if len(came) < 4 {
			return fmt.Errorf("%d of 4 messages came again", len(came))
		}
		return nil
	})
	var want []string
	for _, m := range f.list[8:] {
		want = append(want, string(m.Body))
	}
	require.Equal(t, want, poppedBodies(came))
	for _, m := range came {
		require.GreaterOrEqual(t, popTimeOf(m), popTimeOf(f.list[0])+flightTime.Milliseconds(), "%s came early", m.Body)
		require.EqualValues(t, 1, m.ReconsumeTimes)
	}
	f.ack(t, came...)
	late := f.popUntil(t, 1, 5*time.Minute, flightRenewed+popAgain)
	require.Equal(t, string(f.list[6].Body), string(late[0].Body))
	require.GreaterOrEqual(t, popTimeOf(late[0]), popTimeOf(f.renewed[1])+flightRenewed.Milliseconds(), "it was renewed")
	f.ack(t, late...)
	require.Empty(t, f.pop(t, popFields(f.group, f.topic, time.Minute)))
}
