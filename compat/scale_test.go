package compat

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	scaleTopics, scaleQueues = 10_000, 10
	scaleConns, scaleGroups  = 1_000, 5_000
	scaleTopicsOfGroup       = 2
	// scaleProducers are connections that do nothing but send heartbeats, in scaleProducerGroups groups.
	scaleProducers, scaleProducerGroups = 9_000, 100
	// maxIdleConnBytes is what one of them may take of the broker's memory, maxFullBrokerKiB what the broker may have.
	maxIdleConnBytes = 8 << 10
	maxFullBrokerKiB = 512 << 10
)

// TestFullBroker has 10,000 connections at a broker with 10,000 topics, 100,000 queues and 5,000 groups: members of groups that are new to the
// broker, all at once, and producers that send nothing but heartbeats. Every answer that tools ask for has to be whole; how long they take is logged.
func TestFullBroker(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("a look at our own bounds")
	}
	needFiles(t, scaleConns+scaleProducers+2_000)
	t.Parallel()
	ports, err := pickPorts()
	require.NoError(t, err)
	tg, err := newTarget(Apogee, t.TempDir(), WithConf("metricsExporterType", "PROM"), WithConf("metricsPromExporterPort", strconv.Itoa(ports.namesrv)),
		WithConf("metricsPromExporterHost", "127.0.0.1"), WithConf("pprofEnable", "true"))
	require.NoError(t, err)
	live := func() int64 { return liveBytes(t, ports.namesrv) }
	writeTopics(t, tg, scaleTopics, scaleQueues)
	tg.run(t)
	clients := make([]*client, scaleConns)
	for i := range clients {
		clients[i] = connect(t, tg.Broker())
	}
	timed := func(what string, f func()) {
		began := time.Now()
		f()
		t.Logf("%-50s %8.3f s", what, time.Since(began).Seconds())
	}
	timed("first heartbeats of 5,000 new groups", func() { beatAll(t, clients) })
	timed("heartbeats that change nothing", func() { beatAll(t, clients) })
	before := live()
	var idle []*quietClient
	timed("9,000 producers", func() { idle = connectProducers(t, tg) })
	timed("their next heartbeats", func() { beatProducers(t, idle) })
	perConn := (live() - before) / scaleProducers
	t.Logf("heap and stacks %d bytes, for each producer %d", before, perConn)
	require.Less(t, perConn, int64(maxIdleConnBytes))
	timed("/metrics", func() {
		all, err := scrape(ports.namesrv)
		require.NoError(t, err)
		sums := make(map[string]float64)
		for _, m := range all {
			sums[m.name] += m.value
		}
		require.GreaterOrEqual(t, sums["apogee_connections"], float64(scaleConns+scaleProducers))
		require.Equal(t, float64(scaleProducers), sums["rocketmq_producer_connections"])
		require.Equal(t, float64(scaleGroups), sums["rocketmq_consumer_connections"])
	})

	c := connect(t, tg.Broker())
	var producers struct{ ConnectionSet []struct{ ClientID string } }
	require.NoError(t, unmarshal(c.ok(t, codeProducerConnections, ext("producerGroup", scaleProducerGroup(42)), nil).Body, &producers))
	require.Len(t, producers.ConnectionSet, scaleProducers/scaleProducerGroups)
	timed("routes of all groups' retry topics", func() {
		namesrv := connect(t, tg.Namesrv())
		for g := range scaleGroups {
			namesrv.ok(t, codeGetRoute, ext("topic", "%RETRY%"+scaleGroup(g)), nil)
		}
	})
	for g := range scaleGroups {
		c.ok(t, codeUpdateConsumerOffset, commitFields(scaleGroup(g), manyTopic(g), 0, 0), nil)
	}
	timed("201, all groups", func() {
		var all struct{ SubscriptionGroupTable map[string]any }
		require.NoError(t, unmarshal(c.ok(t, codeGetAllGroups, nil, nil).Body, &all))
		for g := range scaleGroups {
			_, known := all.SubscriptionGroupTable[scaleGroup(g)]
			require.True(t, known, scaleGroup(g))
		}
	})
	timed("203, members of every 50th group", func() {
		for g := 0; g < scaleGroups; g += 50 {
			body := string(c.ok(t, codeConsumerConnections, ext("consumerGroup", scaleGroup(g)), nil).Body)
			require.Contains(t, body, manyTopic(g), "its subscription")
		}
	})
	timed("dashboard: 1,000 topics, 202 of each", func() {
		for i := range 1_000 {
			body := c.ok(t, codeTopicStats, ext("topic", manyTopic(i)), nil).Body
			require.Equal(t, scaleQueues, strings.Count(string(body), `"maxOffset"`))
		}
	})
	timed("dashboard: 2,000 groups, 208 and 203 of each", func() {
		for g := range 2_000 {
			body := c.ok(t, codeConsumeStats, ext("consumerGroup", scaleGroup(g)), nil).Body
			require.Contains(t, string(body), manyTopic(g))
			body = c.ok(t, codeConsumerConnections, ext("consumerGroup", scaleGroup(g)), nil).Body
			require.Contains(t, string(body), scaleClient(g%scaleConns))
		}
	})
	cli := newAdminCLI(t, tg)
	cli.limit = 3 * time.Minute // one command makes 20,000 requests
	for _, step := range []struct{ line, says string }{
		{"consumerConnection -g " + scaleGroup(4_321), scaleClient(321)},
		{"consumerProgress -g " + scaleGroup(17), manyTopic(17)},
		{"topicList", manyTopic(scaleTopics - 1)},
		{"producer -b {broker}", scaleProducerGroup(99)},
		{"brokerStatus -b {broker}", "putTps"},
		{"clusterList", tg.BrokerName},
		{"topicStatus -t " + manyTopic(77), tg.BrokerName},
		{"brokerConsumeStats -b {broker}", "Diff Total: "},
	} {
		timed("mqadmin "+strings.Fields(step.line)[0], func() {
			out, said, exit := cli.run(t, step.line)
			require.Zero(t, exit, said)
			require.Contains(t, out, step.says, step.line)
		})
	}
	timed("mqadmin consumerProgress of all groups", func() {
		out, said, exit := cli.run(t, "consumerProgress")
		require.Zero(t, exit, said)
		require.GreaterOrEqual(t, strings.Count(out, "\n"), scaleGroups)
	})
	timed("heartbeats of all", func() {
		beatAll(t, clients)
		beatProducers(t, idle)
	})
	t.Logf("anonymous memory %.0f KiB", anonymousKiB(t, tg))
	require.Less(t, anonymousKiB(t, tg), float64(maxFullBrokerKiB))
}

// liveBytes is what heap and stacks of the broker take after collections, by its profile.
func liveBytes(t *testing.T, port int) (sum int64) {
	t.Helper()
	for range 2 { // the first collection leaves what is kept for use again
		resp, err := http.Get("http://" + loopback(port) + "/debug/pprof/heap?gc=1&debug=1")
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		sizes := regexp.MustCompile(`(?m)^# (?:HeapAlloc = |Stack = )(\d+)`).FindAllStringSubmatch(string(text), -1)
		require.Len(t, sizes, 2, "%.500s", text)
		sum = 0
		for _, m := range sizes {
			n, err := strconv.ParseInt(m[1], 10, 64)
			require.NoError(t, err)
			sum += n
		}
	}
	return sum
}

// needFiles skips a test that needs more open files, in this process and in the broker's, than there may be.
func needFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < n { // Go has raised it to the hard limit
		t.Skipf("needs %d open files; ulimit -Hn allows %d", n, limit.Cur)
	}
}

// quietClient is a connection without a goroutine: it reads when it has asked for something.
type quietClient struct {
	conn  net.Conn
	frame []byte // of its heartbeat
}

// connectProducers has producers send their first heartbeats over connections that stay until the test ends.
func connectProducers(t *testing.T, tg *Target) []*quietClient {
	t.Helper()
	clients := make([]*quietClient, scaleProducers)
	for i := range clients {
		conn, err := net.DialTimeout("tcp", tg.Broker(), callTimeout)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		beat := heartbeat{clientID: fmt.Sprintf("127.0.0.1@producer-%05d", i), producerGroup: scaleProducerGroup(i % scaleProducerGroups)}
		p := &packet{Code: codeHeartbeat, Language: "GO", Version: goVersion, Opaque: int32(i), Body: beat.body()}
		clients[i] = &quietClient{conn, p.encode()}
	}
	beatProducers(t, clients)
	return clients
}

func scaleProducerGroup(n int) string { return fmt.Sprintf("many-producers-%02d", n) }

// beatProducers sends a heartbeat on each connection and reads the answers.
func beatProducers(t *testing.T, clients []*quietClient) {
	t.Helper()
	const atOnce = 500
	for some := range slices.Chunk(clients, atOnce) {
		for _, c := range some {
			require.NoError(t, c.conn.SetDeadline(time.Now().Add(3*time.Minute)))
			_, err := c.conn.Write(c.frame)
			require.NoError(t, err)
		}
		for _, c := range some {
			res, err := readPacket(bufio.NewReaderSize(c.conn, 512))
			require.NoError(t, err)
			require.Equal(t, resSuccess, res.Code, res.Remark)
		}
	}
}

func scaleGroup(g int) string  { return fmt.Sprintf("many-groups-%05d", g) }
func scaleClient(i int) string { return fmt.Sprintf("127.0.0.1@many-%04d", i) }

// beatAll sends the heartbeats of all groups, those of one client one after the other.
func beatAll(t *testing.T, clients []*client) {
	t.Helper()
	var beating sync.WaitGroup
	errs := make(chan error, len(clients))
	for i, c := range clients {
		beating.Go(func() {
			for g := i; g < scaleGroups; g += scaleConns {
				beat := heartbeat{clientID: scaleClient(i), consumerGroup: scaleGroup(g)}
				for n := range scaleTopicsOfGroup {
					sub := subscribeAll(manyTopic((g + n) % scaleTopics))
					sub.SubVersion = 1
					beat.subs = append(beat.subs, sub)
				}
				res, err := c.callPacket(&packet{Code: codeHeartbeat, Body: beat.body()}, 3*time.Minute)
				if err == nil && res.Code != 0 {
					err = fmt.Errorf("heartbeat of %s: %d %s", beat.consumerGroup, res.Code, res.Remark)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	beating.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}
