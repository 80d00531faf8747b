package compat

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestJavaClient runs every scenario of java/clients with each version of the Java client. A single one is
// -run 'TestJavaClient/4.9.8/send-sync'.
func TestJavaClient(t *testing.T) {
	needJava(t)
	tg := onShared(t)
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			start := time.Now()
			results := oncemore(t, tg, version, runJava(t, tg, version, "--match", chosenScenarios()))
			t.Logf("%d scenarios in %v", len(results), time.Since(start).Round(time.Millisecond))
			for _, r := range results {
				t.Run(r.name, func(t *testing.T) {
					require.True(t, r.passed, r.text)
					t.Log(r.text, "ms")
				})
			}
		})
	}
}

// eachJavaPair runs f with producer and consumer of different versions, both ways.
func eachJavaPair(t *testing.T, f func(t *testing.T, producer, consumer string)) {
	for i, producer := range javaVersions {
		consumer := javaVersions[(i+1)%len(javaVersions)]
		t.Run(producer+" to "+consumer, func(t *testing.T) { f(t, producer, consumer) })
	}
}

// TestJavaBrokerRestart kills the broker under a producer and a consumer that stay, later stops it, and each time starts
// it again.
func TestJavaBrokerRestart(t *testing.T) {
	needJava(t)
	tg := onOwn(t)
	eachJavaPair(t, func(t *testing.T, producerVersion, consumerVersion string) {
		topic, group := newTopic(t, tg, 4), newGroup(t, tg)
		consumer := startSteady(t, tg, consumerVersion, "steady-consumer", topic, group)
		producer := startSteady(t, tg, producerVersion, "steady-producer", topic, unique("PG"))
		for _, end := range []func(testing.TB){tg.KillBroker, tg.StopBroker} {
			producer.awaitMoreAcks(t, 300)
			consumer.awaitMoreGot(t, 100)
			end(t)
			producer.awaitError(t)
			tg.StartBroker(t)
		}
		producer.awaitMoreAcks(t, 300)
		finishAll(t, producer, consumer)
	})
}

// TestJavaNamesrvRestart takes the name server away under clients that stay, which do not notice, and starts it again
// empty; new clients then find the broker through it.
func TestJavaNamesrvRestart(t *testing.T) {
	needJava(t)
	tg := onOwn(t, WithConf("registerNameServerPeriod", "10000"))
	eachJavaPair(t, func(t *testing.T, producerVersion, consumerVersion string) {
		topic, group := newTopic(t, tg, 4), newGroup(t, tg)
		consumer := startSteady(t, tg, consumerVersion, "steady-consumer", topic, group)
		producer := startSteady(t, tg, producerVersion, "steady-producer", topic, unique("PG"))
		producer.awaitMoreAcks(t, 200)
		tg.StopNamesrv(t)
		producer.awaitMoreAcks(t, 300)
		consumer.awaitMoreGot(t, 300)
		tg.StartNamesrv(t)
		eventually(t, 60*time.Second, func() error {
			_, err := routeOf(tg.Namesrv(), topic)
			return err
		})
		requireJava(t, tg, consumerVersion, "--scenario", "send-sync,push-concurrent,admin-topic")
		producer.awaitMoreAcks(t, 100)
		finishAll(t, producer, consumer)
		require.Empty(t, producer.errors, "sends that failed")
	})
}

// TestJavaAlone has what needs servers of its own: clients find the name server by HTTP, in the way of rocketmq.namesrv.domain (Apache's
// name server needs a stand-in for that); clients trace; the broker's write permission is taken away at the name server.
func TestJavaAlone(t *testing.T) {
	needJava(t)
	free, err := pickPorts()
	require.NoError(t, err)
	domain := loopback(free.namesrv)
	tg := onOwn(t, WithNamesrvConf("nsaddrPort", strconv.Itoa(free.namesrv)), WithConf("traceTopicEnable", "true"))
	if tg.Kind == Apache {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /rocketmq/nsaddr", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tg.Namesrv()) })
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		domain = server.Listener.Addr().String()
	}
	tg.javaProperties = []string{"rocketmq.namesrv.domain=" + domain}
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			requireJava(t, tg, version, "--scenario", "namesrv-by-http,trace-default,trace-custom")
			requireJava(t, tg, version, "--scenario", "namesrv-write-perm")
		})
	}
}

// mixedLauncher takes the name server of one kind and the broker of another.
type mixedLauncher struct{ namesrvs, brokers launcher }

func (mixedLauncher) server(*Target) (*command, error) {
	return nil, errors.New("servers of two kinds do not run in one process")
}

func (l mixedLauncher) namesrv(t *Target) (*command, error) { return l.namesrvs.namesrv(t) }
func (l mixedLauncher) broker(t *Target) (*command, error)  { return l.brokers.broker(t) }

// startMixed runs a name server of the one kind and a broker of the other.
func startMixed(t *testing.T, broker Kind) *Target {
	t.Helper()
	tg := newMixed(t, broker)
	tg.run(t)
	return tg
}

func newMixed(t *testing.T, broker Kind) *Target {
	t.Helper()
	tg, err := newTarget(broker, t.TempDir())
	require.NoError(t, err)
	other := newApogeeLauncher
	if broker == Apogee {
		other = newApacheLauncher
	}
	namesrvs, err := other()
	require.NoError(t, err)
	tg.launch = mixedLauncher{namesrvs: namesrvs, brokers: tg.launch}
	return tg
}

// TestJavaServers lets our name server serve Apache's broker, and Apache's name server ours. Java clients have to find no
// difference, and a broker that is gone has to leave the route.
func TestJavaServers(t *testing.T) {
	needJava(t)
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	t.Parallel()
	for _, c := range []struct {
		name, version string
		broker        Kind
	}{
		{"apache broker at our name server", javaVersions[0], Apache},
		{"our broker at apache name server", javaVersions[1], Apogee},
	} {
		t.Run(c.name, func(t *testing.T) {
			besideApache(t)
			tg := startMixed(t, c.broker)
			requireJava(t, tg, c.version)
			topic := newTopic(t, tg, 3)
			tg.KillBroker(t)
			eventually(t, 30*time.Second, func() error { return routeGone(tg, topic) })
			tg.StartBroker(t)
			require.Equal(t, 3, awaitRoute(t, tg, topic).QueueDatas[0].ReadQueueNums)
			requireJava(t, tg, c.version, "--scenario", "send-sync,push-concurrent")
			requireJava(t, tg, c.version, "--scenario", "namesrv-write-perm")
		})
	}
}
