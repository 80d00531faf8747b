package compat

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
	"github.com/stretchr/testify/require"
)

// Most scenarios wait for a server's clock, not for a core.
const scenariosAtOnce = "8"

func TestMain(m *testing.M) {
	if os.Getenv(bareEnv) != "" {
		fmt.Fprintln(os.Stderr, serveBare())
		os.Exit(1)
	}
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", scenariosAtOnce)
	}
	rlog.SetLogger(silentLog{})
	if err := JavaMissing(); err != nil {
		if os.Getenv("CI") == "true" {
			fmt.Fprintln(os.Stderr, "compat: Java parts must run here:", err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, "compat: Java parts are skipped:", err)
	}
	code := m.Run()
	logs, err := closeShared()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat: the shared target did not end cleanly:", err)
		code = 1
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, logs)
	}
	removeBuilt()
	os.Exit(code)
}

// silentLog drops what the Go client logs.
type silentLog struct{}

func (silentLog) Debug(string, map[string]any)   {}
func (silentLog) Info(string, map[string]any)    {}
func (silentLog) Warning(string, map[string]any) {}
func (silentLog) Error(string, map[string]any)   {}
func (silentLog) Fatal(string, map[string]any)   {}
func (silentLog) Level(string)                   {}
func (silentLog) OutputPath(string) error        { return nil }

// needTarget skips a scenario when its target is Apache's server and Java is not there.
func needTarget(t *testing.T) Kind {
	t.Helper()
	kind, err := TargetKind()
	require.NoError(t, err)
	if kind == Apache && JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	return kind
}

// onShared is for scenarios that share one target: they run beside each other, once all others have ended.
func onShared(t *testing.T) *Target {
	t.Helper()
	needTarget(t)
	t.Parallel()
	return Shared(t)
}

// onOwn gives a scenario a target of its own. Apache's servers run one pair at a time.
func onOwn(t *testing.T, opts ...Option) *Target {
	t.Helper()
	if needTarget(t) == Apogee {
		t.Parallel()
	}
	return Start(t, opts...)
}

// apacheTurns is how many scenarios may run a server of Apache beside ours at once: each is a JVM of its own.
var apacheTurns = make(chan struct{}, 2)

// besideApache waits for a turn, which lasts until the test ends.
func besideApache(t *testing.T) {
	t.Helper()
	apacheTurns <- struct{}{}
	t.Cleanup(func() { <-apacheTurns })
}

var nameCount atomic.Int64

// startedMs keeps names of two runs apart.
var startedMs = time.Now().UnixMilli()

// unique is a name that no other scenario has.
func unique(prefix string) string {
	return fmt.Sprintf("%s_%d_%d", prefix, startedMs, nameCount.Add(1))
}

// connect opens a connection that ends with the test.
func connect(t testing.TB, addr string) *client { return connectAnswering(t, addr, nil) }

func connectAnswering(t testing.TB, addr string, answer func(*packet) *packet) *client {
	t.Helper()
	c, err := dialAnswering(addr, answer)
	require.NoError(t, err)
	t.Cleanup(c.close)
	return c
}

// must makes a call that has to be answered, with whatever code.
func (c *client) must(t testing.TB, code int, ext map[string]string, body []byte) *packet {
	t.Helper()
	res, err := c.call(code, ext, body)
	require.NoError(t, err)
	return res
}

// ok makes a call that has to succeed.
func (c *client) ok(t testing.TB, code int, ext map[string]string, body []byte) *packet {
	t.Helper()
	res := c.must(t, code, ext, body)
	require.Equal(t, resSuccess, res.Code, "request %d: %s", code, res.Remark)
	return res
}

// refused makes a call that has to get a code, with a remark that begins so.
func (c *client) refused(t testing.TB, want int, remark string, code int, ext map[string]string, body []byte) *packet {
	t.Helper()
	res := c.must(t, code, ext, body)
	require.Equal(t, want, res.Code, "request %d: %s", code, res.Remark)
	require.True(t, strings.HasPrefix(res.Remark, remark), "request %d: remark %q should begin with %q", code, res.Remark, remark)
	return res
}

// newTopic creates a topic and waits for its route.
func newTopic(t testing.TB, tg *Target, queues int) string {
	t.Helper()
	topic := unique("T")
	require.NoError(t, createTopic(tg.Broker(), topic, queues))
	awaitRoute(t, tg, topic)
	return topic
}

func awaitRoute(t testing.TB, tg *Target, topic string) *route {
	t.Helper()
	var r *route
	require.NoError(t, poll(20*time.Second, func() (err error) {
		r, err = routeOf(tg.Namesrv(), topic)
		return err
	}))
	return r
}

// newGroup makes a consumer group known, with its retry topic in the route: the Go client looks for that only when it
// starts and every 30 seconds.
func newGroup(t testing.TB, tg *Target) string {
	t.Helper()
	group := unique("G")
	c := connect(t, tg.Broker())
	id := unique("warm")
	c.ok(t, codeHeartbeat, nil, heartbeat{clientID: id, consumerGroup: group}.body())
	c.ok(t, codeUnregisterClient, ext("clientID", id, "consumerGroup", group), nil)
	awaitRoute(t, tg, "%RETRY%"+group)
	return group
}

// put sends one message and returns its queue offset.
func put(t testing.TB, c *client, topic string, queueID int, body, properties string) int64 {
	t.Helper()
	res := c.ok(t, codeSendMessage, sendFields(topic, queueID, properties), []byte(body))
	return num(t, res, "queueOffset")
}

// num is a field of a response that has to be a number.
func num(t testing.TB, p *packet, field string) int64 {
	t.Helper()
	var n int64
	_, err := fmt.Sscanf(p.Ext[field], "%d", &n)
	require.NoError(t, err, "field %s of %v", field, p.Ext)
	return n
}

// pulled are the records of a pull that has to find some.
func pulled(t testing.TB, res *packet) []record {
	t.Helper()
	require.Equal(t, resSuccess, res.Code, res.Remark)
	all, err := decodeRecords(res.Body)
	require.NoError(t, err)
	return all
}

// bodies are the bodies of records, in order.
func bodies(all []record) []string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = string(r.Body)
	}
	return texts
}

// eventually polls until f says nil.
func eventually(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	require.NoError(t, poll(limit, f))
}
