package compat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// adminCLI is our own command line, called as mqadmin, against the servers of a target.
type adminCLI struct {
	tg   *Target
	path string
	// limit ends a command; 0 is 30 s.
	limit time.Duration
}

func newAdminCLI(t *testing.T, tg *Target) *adminCLI {
	t.Helper()
	bin, err := apogeeBinary()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "mqadmin")
	require.NoError(t, os.Symlink(bin, path))
	return &adminCLI{tg: tg, path: path}
}

// words cuts a command line and puts the target's names in.
func (a *adminCLI) words(line string) []string {
	names := strings.NewReplacer("{ns}", a.tg.Namesrv(), "{broker}", a.tg.Broker(), "{cluster}", a.tg.ClusterName, "{name}", a.tg.BrokerName)
	all := strings.Fields(line)
	for i := range all {
		all[i] = names.Replace(all[i])
	}
	return all
}

// run runs a command line; the exit code is -1 when there was none.
func (a *adminCLI) run(t *testing.T, line string) (stdout, stderr string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(a.limit, 30*time.Second))
	defer cancel()
	cmd := exec.CommandContext(ctx, a.path, a.words(line)...)
	cmd.Env = append(os.Environ(), "NAMESRV_ADDR="+a.tg.Namesrv(), "ROCKETMQ_HOME=")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if exitErr := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exitErr) {
		require.NoError(t, err, line)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

// adminCommands are command lines in the order in which they run, the exit code, and what the command has to say: on stdout when it
// goes well, on stderr when not. compared ones print the same columns as Apache's tool against the same servers.
var adminCommands = []struct {
	line     string
	exit     int
	says     string
	compared bool
}{
	{"updateTopic -c {cluster} -t CliOrders -r 4 -w 4", 0, "create topic to {broker} success.", true},
	{"updateTopic -b {broker} -t CliFifo -o true -a +message.type=FIFO", 0, "set broker orderConf. isOrder=true, orderConf=[{name}:8]", false},
	{"updateTopicPerm -b {broker} -t CliFifo -p 4", 0, "update topic perm from 6 to 4 in {broker} success.", false},
	{"updateOrderConf -t CliFifo -m get", 0, "orderConf=[{name}:8]", true},
	{"topicList", 0, "CliOrders", false},
	{"topicList -c", 0, "{cluster}", false},
	{"topicRoute -t CliOrders", 0, `"readQueueNums":4`, false}, // 5.4 and 5.5 break the lines of an empty map in two ways
	{"topicRoute -t CliOrders -l", 0, "{0={broker}}", true},
	{"topicClusterList -t CliOrders", 0, "{cluster}", true},
	{"checkMsgSendRT -t CliOrders -a 8 -s 16", 0, "Avg RT: ", false},
	{"topicStatus -t CliOrders", 0, "Topic Put TPS: ", true},
	{"clusterList", 0, "{cluster}", true},
	{"clusterList -m", 0, "{name}", true},
	{"statsAll -t CliOrders", 0, "NO_CONSUMER", true},
	{"brokerStatus -b {broker}", 0, "putTps", false},
	{"brokerConsumeStats -b {broker}", 0, "Diff Total: ", true},
	{"getBrokerConfig -b {broker}", 0, "brokerName", false},
	{"updateBrokerConfig -b {broker} -k fileReservedTime -v 71", 0, "update broker config success, {broker}", false},
	{"getNamesrvConfig", 0, "scanNotActiveBrokerInterval", false},
	{"updateKvConfig -s CLI -k key -v value", 0, "create or update kv config to namespace success.", true},
	{"deleteKvConfig -s CLI -k key", 0, "delete kv config from namespace success.", true},
	{"wipeWritePerm -b {name}", 0, "OK, ", false},
	{"addWritePerm -b {name}", 0, "OK, ", false},
	{"cleanUnusedTopic -b {broker}", 0, "success", true},
	{"cleanExpiredCQ -c {cluster}", 0, "success", true},
	{"allocateMQ -t CliOrders -i a,b,c", 0, `"queueId":3`, false},
	{"sendMessage -t CliOrders -p hello -c tagA", 0, "SEND_OK", false},

	{"topicRoute -t NoSuchTopic", 1, "code 17 TOPIC_NOT_EXIST", false},
	{"topicStatus -t NoSuchTopic", 1, "code 17 TOPIC_NOT_EXIST", false},
	{"updateTopic -b {broker} -t bad/name", 1, "INVALID_PARAMETER", false},
	{"updateTopic -b {broker} -t CliOrders -a +no.such=x", 1, "broker {broker} refuses: code ", false},
	{"updateTopic -c NoSuchCluster -t CliOrders", 1, "knows no cluster NoSuchCluster; it has {cluster}", false},
	{"updateTopicPerm -b 127.0.0.1:1 -t CliOrders -p 4", 1, "does not exist or is no master", false},
	{"updateBrokerConfig -b {broker} -k brokerConfigPath -v x", 1, "code 16 NO_PERMISSION", false},
	{"deleteTopic -c {cluster} -t TBW102", 1, "conflict with system topic", false},
	{"brokerStatus -b 127.0.0.1:1", 1, "broker 127.0.0.1:1: cannot connect: connection refused", false},
	{"topicList -n 127.0.0.1:1", 1, "no name server answers at 127.0.0.1:1", false},

	{"updateTopic -t CliOrders", 2, "updateTopic needs -b (brokerAddr) or -c (clusterName)", false},
	{"updateTopic -t CliOrders -b {broker} -c {cluster}", 2, "and only one of them", false},
	{"updateTopic -b {broker} -t CliOrders -r many", 2, `-r (readQueueNums) wants a whole number, not "many"`, false},
	{"updateTopic -b {broker} -t CliOrders -o yes", 2, `-o (order) is true or false, not "yes"`, false},
	{"updateOrderConf -t CliOrders -m set", 2, `-m (method) is get or put or delete, not "set"`, false},
	{"topicRoute", 2, "topicRoute needs -t (topic)", false},
	{"topicRuote -t CliOrders", 2, "did you mean topicRoute?", false},

	{"deleteTopic -c {cluster} -t CliOrders", 0, "delete topic [CliOrders] from NameServer success.", false},
	{"topicRoute -t CliOrders", 1, "code 17 TOPIC_NOT_EXIST", false},
}

// TestAdminCommandLine runs our own mqadmin against the target's servers, ours or Apache's, and beside it Apache's own.
func TestAdminCommandLine(t *testing.T) {
	tg := onOwn(t)
	cli := newAdminCLI(t, tg)
	java := JavaMissing() == nil && !testing.Short()
	for _, c := range adminCommands {
		ran := t.Run(c.line, func(t *testing.T) {
			stdout, stderr, exit := cli.run(t, c.line)
			require.Equal(t, c.exit, exit, "%s%s", stdout, stderr)
			want := strings.Join(cli.words(c.says), " ")
			if c.exit == 0 {
				require.Contains(t, stdout, want)
				require.Empty(t, stderr)
			} else {
				require.Contains(t, stderr, want)
				require.Equal(t, 1, strings.Count(stderr, "\n"), "one sentence: %s", stderr)
			}
			if c.compared && java {
				want, got := adminColumns(apacheAdmin(t, tg, cli.words(c.line))), adminColumns(stdout)
				// A broker samples its counters every 10 seconds, and its timer goes on, perhaps between the two.
				moves := strings.HasPrefix(c.line, "statsAll") || strings.HasPrefix(c.line, "clusterList")
				for tries := 0; tries < 3 && moves && !slices.Equal(want, got); tries++ {
					stdout, _, _ = cli.run(t, c.line)
					want, got = adminColumns(apacheAdmin(t, tg, cli.words(c.line))), adminColumns(stdout)
				}
				require.Equal(t, want, got)
			}
		})
		switch {
		case !ran:
		case strings.HasPrefix(c.line, "updateTopic -c {cluster}"):
			awaitRoute(t, tg, "CliOrders")
		case strings.HasPrefix(c.line, "checkMsgSendRT"):
			for q := range 4 {
				dispatched(t, connect(t, tg.Broker()), "CliOrders", q, 2)
			}
		}
	}
}

// TestAdminJSON asks for JSON and finds in it what the text has.
func TestAdminJSON(t *testing.T) {
	tg := onOwn(t)
	cli := newAdminCLI(t, tg)
	read := func(line string, v any) {
		stdout, stderr, exit := cli.run(t, line)
		require.Zero(t, exit, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), v), stdout)
	}
	var done []struct {
		Addr string
		OK   bool
	}
	read("updateTopic -b {broker} -t CliJSON -r 2 -w 2 --output json", &done)
	require.Equal(t, tg.Broker(), done[0].Addr)
	require.True(t, done[0].OK)
	awaitRoute(t, tg, "CliJSON")
	put(t, connect(t, tg.Broker()), "CliJSON", 1, "body", "")
	dispatched(t, connect(t, tg.Broker()), "CliJSON", 1, 1)

	var brokers []struct {
		ClusterName, BrokerName, Addr string
		BrokerID                      int64
		Active                        bool
	}
	read("clusterList -o json", &brokers)
	require.Equal(t, tg.BrokerName, brokers[0].BrokerName)
	require.Equal(t, tg.Broker(), brokers[0].Addr)
	require.True(t, brokers[0].Active)

	var queues []struct {
		QueueID              int32
		MinOffset, MaxOffset int64
		LastUpdated          *time.Time
	}
	read("topicStatus -t CliJSON -o json", &queues)
	require.Len(t, queues, 2)
	require.Equal(t, int64(1), queues[1].MaxOffset)
	require.Nil(t, queues[0].LastUpdated)
	require.WithinDuration(t, time.Now(), *queues[1].LastUpdated, time.Hour)
}

// apacheAdmin runs a command by Apache's tool and returns what it prints.
func apacheAdmin(t *testing.T, tg *Target, words []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	args := []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Drocketmq.client.logRoot=" + tg.Dir, "-Duser.home=" + tg.Dir,
		"-cp", javaClasspath(t, javaVersions[0]), "org.apache.rocketmq.tools.command.MQAdminStartup"}
	cmd := exec.CommandContext(ctx, "java", append(args, words...)...)
	cmd.Env, cmd.Dir = append(os.Environ(), "NAMESRV_ADDR="+tg.Namesrv(), "ROCKETMQ_HOME="+tg.Dir), tg.Dir
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// adminNumbers are what differs between two runs: rates, times and disk use.
var adminNumbers = regexp.MustCompile(`\d+\.\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}|\(\d+,\d+ms[^)]*\)|^\d{2}:\d{2}:.*\|-.*$`)

// adminColumns are the words of each line without those numbers, the lines below the headings in order.
func adminColumns(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(adminNumbers.ReplaceAllString(line, "N")), " ")
		if line != "" && !strings.Contains(line, "logback") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines[min(1, len(lines)):])
	return lines
}
