package compat

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// adminTool is Apache's mqadmin in a process that runs one command after the other.
type adminTool struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// startMqadmin starts the tool of the newest Java client's release for the servers of tg. It ends with the test.
func startMqadmin(t testing.TB, tg *Target) *adminTool {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Drocketmq.namesrv.addr="+tg.Namesrv(), "-Duser.home="+tg.Dir, "-Drocketmq.client.rebalance.waitInterval=1000",
		"-cp", javaClasspath(t, javaVersions[0]), "org.apogee.compat.Mqadmin", tg.Namesrv())
	cmd.Env = append(os.Environ(), "NAMESRV_ADDR=", "ROCKETMQ_HOME="+tg.Dir)
	cmd.Dir, cmd.SysProcAttr = tg.Dir, childAttr()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return &adminTool{in: in, out: bufio.NewReader(out)}
}

// run runs one command and returns what it printed.
func (a *adminTool) run(args ...string) (string, error) {
	if _, err := io.WriteString(a.in, strings.Join(args, "\t")+"\n"); err != nil {
		return "", fmt.Errorf("tell mqadmin: %w", err)
	}
	head, err := a.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("hear from mqadmin: %w", err)
	}
	var size, millis int
	if _, err := fmt.Sscanf(head, "OUTPUT %d %d", &size, &millis); err != nil {
		return "", fmt.Errorf("hear from mqadmin %q: %w", head, err)
	}
	text := make([]byte, size)
	_, err = io.ReadFull(a.out, text)
	return string(text), err
}

// adminScript is what TestMqadmin runs, with what Apache's servers answer. A line that begins with "> " is a command, the lines up to
// the next one are its output as adminText leaves it.
const adminScript = "testdata/mqadmin/script.txt"

// TestMqadmin runs the commands of adminScript by Apache's mqadmin against servers that hold what stageAdmin puts there. With
// APOGEE_TARGET=apache the script has to be what they answer; MQADMIN_RECORD=1 then writes it anew.
func TestMqadmin(t *testing.T) {
	needJava(t)
	record := os.Getenv("MQADMIN_RECORD") != ""
	tg := onOwn(t, WithConf("recallMessageEnable", "true"))
	require.False(t, record && tg.Kind != Apache, "only Apache's answers are recorded")
	tool := startMqadmin(t, tg)
	stageAdmin(t, tg, tool)
	answers := runScript(t, tg, tool.run, func(step adminStep) string {
		if tg.Kind == Apogee {
			return differs(step)
		}
		return ""
	})
	if record {
		require.NoError(t, os.WriteFile(adminScript, []byte(strings.Join(answers, "")), 0o644))
	}
}

// runScript runs adminScript and holds the answers against it, each as a test of its own. It returns the script with the answers
// it got.
func runScript(t *testing.T, tg *Target, run func(args ...string) (string, error), skip func(adminStep) string) (answers []string) {
	t.Helper()
	for _, step := range readScript(t) {
		var text string
		var err error
		words, got := expandAdmin(tg, step.words), ""
		want := sortedLines(adminText(tg, step.words[0], step.output))
		end := time.Now().Add(60 * time.Second)
		for tries := 0; tries == 0 || settles[words[0]] && sortedLines(got) != want && time.Now().Before(end); tries++ {
			if words[0] == "#file" {
				var b []byte
				b, err = os.ReadFile(words[1])
				text = string(b)
			} else {
				text, err = run(words...)
			}
			require.NoError(t, err, step.line)
			got = adminText(tg, step.words[0], text)
			if words[0] == "getBrokerConfig" {
				got = withoutOwnKeys(want, got)
			}
		}
		answers = append(answers, "> "+step.line+"\n"+got)
		t.Run(step.line, func(t *testing.T) {
			require.NotContains(t, got, "TIMEOUT")
			if why := skip(step); why != "" {
				t.Skip(why)
			}
			require.Equal(t, want, sortedLines(got))
		})
	}
	return answers
}

// TestOwnMqadmin runs the same script with our command line as far as it has the commands, the rest with Apache's. Errors have words
// of their own and are not compared.
func TestOwnMqadmin(t *testing.T) {
	needJava(t)
	bin, err := apogeeBinary()
	require.NoError(t, err)
	tg := onOwn(t, WithConf("recallMessageEnable", "true"))
	tool := startMqadmin(t, tg)
	stageAdmin(t, tg, tool)
	ours := map[string]bool{}
	runScript(t, tg, func(args ...string) (string, error) {
		text, err := ownMqadmin(t, bin, tg.Dir, args...)
		if ours[args[0]] = !strings.Contains(text, "there is no command"); !ours[args[0]] {
			return tool.run(args...)
		}
		return text, err
	}, func(step adminStep) string {
		switch why := cmp.Or(ownWords[step.words[0]], ownWords[step.line], differs(step)); {
		case why != "":
			return why
		case strings.Contains(step.output, "Exception"):
			return "an error"
		case step.words[0][0] != '#' && !ours[step.words[0]]:
			return "Apache's tool, for the state that later commands find"
		}
		return ""
	})
}

// ownMqadmin runs one command of ours.
func ownMqadmin(t *testing.T, bin, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"admin"}, args...)...)
	cmd.Dir, cmd.SysProcAttr = dir, childAttr()
	cmd.Env = append(os.Environ(), "NAMESRV_ADDR=", "ROCKETMQ_HOME="+dir)
	text, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil // what it says tells
	}
	return string(text), err
}

// notAsApache are commands, and single lines of the script, whose answers differ from Apache's, with the reason.
var notAsApache = map[string]string{
	"updateColdDataFlowCtrGroupConfig": "flow control of cold reads is not served",
	"removeColdDataFlowCtrGroupConfig": "flow control of cold reads is not served",
	"getColdDataFlowCtrInfo":           "flow control of cold reads is not served",
	"setCommitLogReadAheadMode":        "read-ahead is the server's own",
	"checkRocksdbCqWriteProgress":      "there is no RocksDB",
	"listAcl":                          "Apache's answer is an internal error",
	"updateBrokerConfig -n {ns} -b {broker} -k fileReservedTime -v abc": "a value of the wrong type is refused",
	"updateNamesrvConfig -n {ns} -k scanNotActiveBrokerInterval -v abc": "a value of the wrong type is refused",
	"statsAll -n {ns} -a": "Apache counts once a minute, and then shows the group",
}

// withoutOwnKeys leaves out keys that Apache does not show.
func withoutOwnKeys(want, got string) string {
	var kept []string
	for line := range strings.Lines(got) {
		if key, _, ok := strings.Cut(line, " ="); !ok || strings.HasPrefix(want, key+" =") || strings.Contains(want, "\n"+key+" =") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// settles are commands that look at what clients report now and then; they are asked again for a while.
var settles = map[string]bool{"consumerProgress": true, "brokerConsumeStats": true, "consumerConnection": true}

// ownWords are commands of ours that say the same otherwise than Apache's.
var ownWords = map[string]string{
	"allocateMQ":                    "JSON members in another order",
	"topicStatus -n {ns} -t Static": "the logical queues of static topics are not shown",
	"consumeMessage":                "texts of its own around the messages",
	"exportPopRecord":               "a line of its own",
	"exportMetadataInRocksDB":       "an error",
	"updateSubGroupList":            "Apache's prints its usage after its success",
	"updateTopicList -n {ns} -c {cluster} -f {dir}/nothing.json":                                                "an error",
	"queryMsgByOffset -n {ns} -t Orders -b {name} -i 1 -o 99":                                                   "an error where Apache's prints nothing",
	"queryMsgByUniqueKey -n {ns} -t Orders -i 0A000001000118B4AAC2000000000003 -g CG_live -d 127.0.0.1@CG_live": "asks no running info before",
}

func differs(step adminStep) string {
	return cmp.Or(notAsApache[step.line], notAsApache[step.words[0]])
}

// adminStep is one command of the script.
type adminStep struct {
	line   string
	words  []string
	output string
}

func readScript(t *testing.T) (steps []adminStep) {
	t.Helper()
	text, err := os.ReadFile(adminScript)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "> "); ok {
			command = strings.TrimSpace(command)
			steps = append(steps, adminStep{line: command, words: strings.Fields(command)})
			continue
		}
		require.NotEmpty(t, steps)
		steps[len(steps)-1].output += line
	}
	return steps
}

// expandAdmin puts a target's names in; an underscore doubled is a blank.
func expandAdmin(tg *Target, words []string) []string {
	names := strings.NewReplacer("{ns}", tg.Namesrv(), "{broker}", tg.Broker(), "{cluster}", tg.ClusterName, "{name}", tg.BrokerName,
		"{dir}", tg.Dir, "__", " ")
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = names.Replace(w)
	}
	return out
}

func sortedLines(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// stageAdmin lays down what the commands look at: topics with messages, a producer and a consumer that stay, and lists in files.
func stageAdmin(t *testing.T, tg *Target, tool *adminTool) {
	t.Helper()
	var topics, groups []map[string]any
	for _, n := range []string{"1", "2"} {
		topics = append(topics, map[string]any{"topicName": "Listed" + n, "readQueueNums": 2, "writeQueueNums": 2, "perm": 6})
		groups = append(groups, map[string]any{"groupName": "CG_listed" + n, "retryMaxTimes": 3})
	}
	require.NoError(t, os.WriteFile(filepath.Join(tg.Dir, "topics.json"), mustJSON(topics), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(tg.Dir, "groups.json"), mustJSON(groups), 0o644))
	c := connect(t, tg.Broker())
	for _, topic := range []string{"Orders", "Empty", "Produced"} {
		require.NoError(t, createTopic(tg.Broker(), topic, 4))
		awaitRoute(t, tg, topic)
	}
	for i := range 12 {
		n := strconv.Itoa(i)
		put(t, c, "Orders", i%4, "order "+n, props("UNIQ_KEY", fmt.Sprintf("0A000001000118B4AAC2%012X", i), "KEYS", "K"+n+" all",
			"TAGS", "Tag"+strconv.Itoa(i%2), "own", "v"+n))
	}
	for q := range 4 {
		dispatched(t, c, "Orders", q, 3)
	}
	for _, words := range [][]string{{"#produce", "PG_live", "Produced"}, {"#consume", "CG_live", "Orders", "12"}} {
		text, err := tool.run(words...)
		require.NoError(t, err)
		require.Empty(t, text)
	}
	// The client commits the offset of its retry topic once the first pull of it has come back, after 15 seconds; it is there from
	// now on.
	c.ok(t, codeUpdateConsumerOffset, commitFields("CG_live", "%RETRY%CG_live", 0, 0), nil)
	eventually(t, 30*time.Second, func() error {
		for q := range 4 {
			res, err := c.call(codeQueryConsumerOffset, offsetFields("CG_live", "Orders", q), nil)
			if err != nil {
				return err
			}
			if res.Ext["offset"] != "3" {
				return fmt.Errorf("committed of queue %d: %s", q, res.Ext["offset"])
			}
		}
		res, err := c.call(codeProducerConnections, ext("producerGroup", "PG_live"), nil)
		if err == nil && res.Code != resSuccess {
			err = fmt.Errorf("producer: %s", res.Remark)
		}
		return err
	})
}
