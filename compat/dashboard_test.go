package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

// dashboard is RocketMQ Dashboard at one target, with what its requests name.
type dashboard struct {
	kind   Kind
	url    string
	token  string
	traced string // the id of the message that the dashboard has sent and traced
	client *http.Client
	names  *strings.Replacer
}

// TestDashboard has RocketMQ Dashboard, built of its source, ask our servers and Apache's what all its pages ask, and compares the
// answers: whether they succeed, and whether ours have the members of Apache's.
func TestDashboard(t *testing.T) {
	tool := &javaTool{env: "DASHBOARD_SOURCE", main: "org.apache.rocketmq.dashboard.App", lombok: true}
	tool.build(t)
	topic, group, sender := unique("T"), unique("G"), unique("PG")
	ours, theirs := startDashboard(t, tool, Apogee, topic, group, sender), startDashboard(t, tool, Apache, topic, group, sender)
	text, err := os.ReadFile(filepath.Join("testdata", "dashboard", "requests.txt"))
	require.NoError(t, err)
	asked := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		asked++
		var got, want dashboardAnswer
		compare := func() error {
			got, want = ours.ask(t, line), theirs.ask(t, line)
			return got.differs(want)
		}
		err := compare()
		if strings.HasPrefix(line, "GET ") && err != nil { // lags, connections and samples become what they will be
			err = poll(30*time.Second, compare)
		}
		if err != nil {
			t.Errorf("%s\n%v\nours:     %.900s\nApache's: %.900s", line, err, got.body, want.body)
		}
	}
	t.Logf("%d requests", asked)
}

// startDashboard prepares a target and runs the dashboard at it.
func startDashboard(t *testing.T, tool *javaTool, kind Kind, topic, group, sender string) *dashboard {
	t.Helper()
	tg, err := newTarget(kind, t.TempDir(), WithConf("traceTopicEnable", "true"),
		WithConf("authenticationMetadataProvider", "org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider"),
		WithConf("authorizationMetadataProvider", "org.apache.rocketmq.auth.authorization.provider.LocalAuthorizationMetadataProvider"))
	require.NoError(t, err)
	if kind == Apogee { // Apache's has it from the environment, and shows it
		require.NoError(t, tg.SetConf("rocketmqHome", t.TempDir()))
	}
	tg.run(t)
	require.NoError(t, createTopic(tg.Broker(), topic, 4))
	require.NoError(t, createTopic(tg.Broker(), "%DLQ%"+group, 1))
	awaitRoute(t, tg, topic)
	awaitRoute(t, tg, "%DLQ%"+group)
	in := new(inbox)
	startPush(t, tg, group, topic, in.consume)
	p := newProducer(t, tg, producer.WithGroupName(sender))
	send := func(topic string, i int) string {
		m := message(topic, fmt.Sprintf("dashboard-%03d", i))
		m.WithKeys([]string{fmt.Sprintf("KEY-%d", i)}).WithTag("TagA").WithProperty("RETRY_TOPIC", topic)
		sent, err := p.SendSync(context.Background(), m)
		require.NoError(t, err)
		return sent.MsgID
	}
	var msgID string
	for i := range 12 {
		msgID = send(topic, i)
	}
	deadID := send("%DLQ%"+group, 99)
	in.awaitDistinct(t, time.Minute, numbered("dashboard", 12))
	members, err := membersOf(tg, group)
	require.NoError(t, err)
	require.Len(t, members, 1)

	free, err := pickPorts()
	require.NoError(t, err)
	tool.start(t, "server.port="+strconv.Itoa(free.namesrv), "rocketmq.config.namesrvAddrs[0]="+tg.Namesrv(),
		"rocketmq.config.dataPath="+t.TempDir(), "rocketmq.config.isVIPChannel=false")
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	now := time.Now()
	d := &dashboard{kind: kind, url: "http://" + loopback(free.namesrv), client: &http.Client{Jar: jar, Timeout: 2 * time.Minute,
		Transport: &http.Transport{DisableKeepAlives: true}}} // the dashboard closes idle connections when it likes
	d.names = strings.NewReplacer("{topic}", topic, "{group}", group, "{producer}", sender, "{client}", members[0], "{msgId}", msgID, "{deadId}", deadID,
		"{broker}", tg.Broker(), "{brokerName}", tg.BrokerName, "{cluster}", tg.ClusterName, "{namesrv}", tg.Namesrv(),
		"{hourAgo}", strconv.FormatInt(now.Add(-time.Hour).UnixMilli(), 10), "{hourAhead}", strconv.FormatInt(now.Add(time.Hour).UnixMilli(), 10))
	eventually(t, 3*time.Minute, d.login)
	return d
}

// login fetches the token that requests which change something have to bear.
func (d *dashboard) login() error {
	res, err := d.client.Get(d.url + "/rocketmq-dashboard/csrf-token")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var token struct{ Data struct{ Token string } }
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil {
		return err
	}
	if d.token = token.Data.Token; d.token == "" {
		return errors.New("the dashboard gave no token")
	}
	return nil
}

// dashboardAnswer is what a request came back with.
type dashboardAnswer struct {
	code, status int    // of HTTP, and the dashboard's: 0 for success
	kind         string // the media type
	members      []string
	body         string
}

func (d *dashboard) ask(t *testing.T, line string) dashboardAnswer {
	t.Helper()
	method, rest, _ := strings.Cut(strings.ReplaceAll(d.names.Replace(line), "{traced}", d.traced), " ")
	path, body, _ := strings.Cut(rest, " ")
	req, err := http.NewRequest(method, d.url+strings.ReplaceAll(path, "%", "%25"), strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-XSRF-TOKEN", d.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.client.Do(req)
	require.NoError(t, err, line)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	a := dashboardAnswer{code: res.StatusCode, kind: res.Header.Get("Content-Type"), body: string(text)}
	var result struct {
		Status int
		Data   any
	}
	if json.NewDecoder(bytes.NewReader(text)).Decode(&result) == nil {
		a.status = result.Status
		if sent, ok := result.Data.(map[string]any); ok && strings.Contains(body, `"traceEnabled":true`) {
			d.traced, _ = sent["msgId"].(string)
		}
		set := map[string]bool{}
		membersIn("", result.Data, set)
		for m := range set {
			a.members = append(a.members, m)
		}
		slices.Sort(a.members)
	}
	return a
}

// membersIn collects the paths of a JSON value's members. What stands under addresses, client ids and the like is told apart by where it
// stands, not by its name.
func membersIn(path string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if strings.ContainsAny(name, ":@=%/") || strings.Contains(name, "RMQ_SYS_") {
				name = "*"
			}
			membersIn(path+"."+name, value, into)
		}
	case []any:
		for _, value := range v {
			membersIn(path+"[]", value, into)
		}
	default:
		into[path] = true
	}
}

// differs says in what an answer is another than Apache's; nil when they are alike. Ours may have more members: keys of our own, samples
// that the other dashboard has not taken yet.
func (a dashboardAnswer) differs(want dashboardAnswer) error {
	if a.code != want.code || a.status != want.status || a.kind != want.kind {
		return fmt.Errorf("HTTP %d, status %d, %s; Apache's: %d, %d, %s", a.code, a.status, a.kind, want.code, want.status, want.kind)
	}
	var missing []string
	for _, m := range want.members {
		if !slices.Contains(a.members, m) {
			missing = append(missing, m)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("without %q", missing)
	}
	return nil
}
