package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRestart stops the broker as an operator does: nothing is lost, everything goes on where it was.
func TestRestart(t *testing.T) {
	tg := onOwn(t)
	topic, group := newTopic(t, tg, 3), newGroup(t, tg)
	c := connect(t, tg.Broker())
	for q := range 3 {
		for _, body := range numbered(fmt.Sprint("q", q), 5) {
			put(t, c, topic, q, body, props("KEYS", body))
		}
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, q, int64(q+1)), nil)
	}
	c.ok(t, codeCreateGroup, nil, mustJSON(map[string]any{"groupName": group, "retryMaxTimes": 7}))
	before := readTopic(t, tg, topic, 3, 15)

	tg.StopBroker(t)
	eventually(t, 20*time.Second, func() error { return routeGone(tg, topic) })
	tg.StartBroker(t)

	require.Equal(t, before, readTopic(t, tg, topic, 3, 15))
	require.Equal(t, 3, awaitRoute(t, tg, topic).QueueDatas[0].ReadQueueNums)
	c = connect(t, tg.Broker())
	for q := range 3 {
		require.Equal(t, int64(q+1), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, q), nil), "offset"))
		require.Equal(t, int64(5), put(t, c, topic, q, "after", ""))
	}
	require.Contains(t, string(c.ok(t, codeGetAllGroups, nil, nil).Body), `"retryMaxTimes":7`)
	queryFound(t, c, queryFields(topic, "q1-003"), 1)
}

// TestBrokerRestartWithClients restarts the broker under clients that stay: they go on by themselves.
func TestBrokerRestartWithClients(t *testing.T) {
	tg := onOwn(t)
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	var got inbox
	startPush(t, tg, group, topic, got.consume)
	p := newProducer(t, tg)
	before := numbered("before", 10)
	sendAll(t, p, topic, before)
	got.awaitBodies(t, 30*time.Second, before)

	tg.StopBroker(t)
	_, err := p.SendSync(context.Background(), message(topic, "nobody there"))
	require.Error(t, err)
	tg.StartBroker(t)

	after := numbered("after", 10)
	for _, body := range after {
		eventually(t, 60*time.Second, func() error {
			_, err := p.SendSync(context.Background(), message(topic, body))
			return err
		})
	}
	got.awaitDistinct(t, 90*time.Second, after)
	awaitMembers(t, tg, group, 1)
}

// TestNamesrvRestart takes the name server away: clients that know their broker go on, and after its return the broker comes back to
// it. Ours knows the routes also before that, and when it was killed.
func TestNamesrvRestart(t *testing.T) {
	tg := onOwn(t, WithConf("registerNameServerPeriod", "10000"))
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	var got inbox
	startPush(t, tg, group, topic, got.consume)
	p := newProducer(t, tg)
	sendAll(t, p, topic, []string{"before"})
	got.awaitBodies(t, 30*time.Second, []string{"before"})

	tg.StopNamesrv(t)
	without := numbered("without", 10)
	sendAll(t, p, topic, without)
	got.awaitDistinct(t, 30*time.Second, without)

	tg.StartNamesrv(t)
	require.NoError(t, poll(60*time.Second, func() error {
		_, err := routeOf(tg.Namesrv(), topic)
		return err
	}))
	other := newTopic(t, tg, 1)
	sendAll(t, newProducer(t, tg), other, []string{"new client"})
	after := numbered("after", 10)
	sendAll(t, p, topic, after)
	got.awaitDistinct(t, 30*time.Second, after)

	file := filepath.Join(tg.Dir, "apogee", fmt.Sprintf("routes-%d.json", tg.ports.namesrv))
	if tg.Kind == Apogee {
		eventually(t, 60*time.Second, func() error {
			if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), other) {
				return fmt.Errorf("%s is not in %s yet: %v", other, file, err)
			}
			return nil
		})
	}
	require.NoError(t, tg.broker.cmd.Process.Signal(syscall.SIGSTOP))
	tg.namesrv.kill()
	tg.StartNamesrv(t)
	r, err := routeOf(tg.Namesrv(), other)
	if tg.Kind == Apache {
		require.Error(t, err)
	} else {
		require.NoError(t, err)
		require.Equal(t, tg.Broker(), r.BrokerDatas[0].BrokerAddrs["0"])
	}
	require.NoError(t, tg.broker.cmd.Process.Signal(syscall.SIGCONT))
	awaitRoute(t, tg, other)
	again := numbered("again", 10)
	sendAll(t, newProducer(t, tg), topic, again)
	got.awaitDistinct(t, 60*time.Second, again)
}

// TestBrokerWaitsForNamesrv starts the broker while no name server is there.
func TestBrokerWaitsForNamesrv(t *testing.T) {
	tg := onOwn(t, WithConf("registerNameServerPeriod", "10000"))
	topic := newTopic(t, tg, 1)
	tg.StopBroker(t)
	tg.StopNamesrv(t)
	require.NoError(t, tg.launchBroker())
	c := awaitListening(t, tg.Broker())
	require.Equal(t, int64(0), put(t, c, topic, 0, "without a name server", ""))
	tg.StartNamesrv(t)
	require.NoError(t, poll(60*time.Second, func() error {
		_, err := routeOf(tg.Namesrv(), topic)
		return err
	}))
}

// awaitListening connects as soon as someone listens.
func awaitListening(t testing.TB, addr string) *client {
	t.Helper()
	var c *client
	eventually(t, readyTimeout, func() (err error) {
		c, err = dial(addr)
		return err
	})
	t.Cleanup(c.close)
	return c
}

// TestTwoNameServers has a broker register with two: each alone is enough for the clients.
func TestTwoNameServers(t *testing.T) {
	second := onOwn(t, WithoutBroker())
	tg := Start(t, WithNamesrv(second.Namesrv()), WithConf("registerNameServerPeriod", "10000"))
	topic := newTopic(t, tg, 2)
	for _, ns := range []*Target{tg, second} {
		require.Equal(t, tg.Broker(), awaitRoute(t, ns, topic).BrokerDatas[0].BrokerAddrs["0"])
	}
	second.StopNamesrv(t)
	later := newTopic(t, tg, 1)
	sendAll(t, newProducer(t, tg), later, []string{"one is enough"})
	second.StartNamesrv(t)
	require.NoError(t, poll(60*time.Second, func() error {
		_, err := routeOf(second.Namesrv(), later)
		return err
	}))
	tg.StopBroker(t)
	for _, ns := range []*Target{tg, second} {
		eventually(t, 20*time.Second, func() error { return routeGone(ns, topic) })
	}
}
