package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mqadmin runs a command of Apache's tools against the target's name server.
func mqadmin(t *testing.T, tg *Target, args ...string) string {
	t.Helper()
	return mqadminOf(t, stackVersion(), tg, args...)
}

// mqadminOf is mqadmin of a release.
func mqadminOf(t *testing.T, version string, tg *Target, args ...string) string {
	t.Helper()
	lib, err := stackJarsOf(version)
	require.NoError(t, err)
	home := t.TempDir()
	if tg.as != nil {
		tg.as.writeTools(t, home)
	}
	cmd := exec.Command("java", append([]string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-Duser.home=" + home, "-Djava.io.tmpdir=" + home,
		"-cp", filepath.Join(lib, "*"), "org.apache.rocketmq.tools.command.MQAdminStartup"}, append(args, "-n", tg.Namesrv())...)...)
	cmd.Dir = home // some commands write files
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+home, "NAMESRV_ADDR=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var said strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, " |-") { // what the logging says of itself
			said.WriteString(line)
		}
	}
	return said.String()
}

// startPair runs two brokers, both at the name server of the first.
func startPair(t *testing.T) (a, b *Target) {
	t.Helper()
	a = onOwn(t)
	b = Start(t, WithNames(a.ClusterName, "compat-b"), WithNamesrv(a.Namesrv()))
	eventually(t, readyTimeout, func() error {
		in, err := brokerRegistered(a.Namesrv(), b.BrokerName)
		if err == nil && !in {
			err = fmt.Errorf("%s is not registered", b.BrokerName)
		}
		return err
	})
	return a, b
}

// mapping is the body of UPDATE_AND_CREATE_STATIC_TOPIC.
func mapping(topic, broker string, epoch int64, queues map[int][]map[string]any) []byte {
	hosted := make(map[string]any, len(queues))
	for id, items := range queues {
		hosted[fmt.Sprint(id)] = items
	}
	return mustJSON(map[string]any{"topic": topic, "bname": broker, "epoch": epoch, "scope": "__global__", "totalQueues": len(queues),
		"dirty": false, "currIdMap": map[string]int{}, "hostedQueues": hosted})
}

func stretch(gen, queueID int, broker string, logicOffset, endOffset int64) map[string]any {
	return map[string]any{"gen": gen, "queueId": queueID, "bname": broker, "logicOffset": logicOffset, "startOffset": 0,
		"endOffset": endOffset, "timeOfStart": -1, "timeOfEnd": -1}
}

func createStatic(topic string) map[string]string {
	return ext("topic", topic, "defaultTopic", createTable, "readQueueNums", 4, "writeQueueNums", 4, "perm", 6,
		"topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false, "force", false)
}

// A queue of two stretches: offsets 0 to 2 lie on broker b, what follows begins at 100 on broker a, which leads.
func TestStaticTopicOverTwoBrokers(t *testing.T) {
	a, b := startPair(t)
	topic, group := unique("ST"), unique("G")
	ca, cb := connect(t, a.Broker()), connect(t, b.Broker())
	ca.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("c"), consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
	cb.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("c"), consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())

	first := map[int][]map[string]any{7: {stretch(0, 2, "compat-b", 0, -1)}}
	cb.ok(t, codeCreateStaticTopic, createStatic(topic), mapping(topic, "compat-b", 1, first))
	for i := range 3 {
		res := cb.ok(t, codeSendMessage, sendFields(topic, 7, ""), []byte(fmt.Sprint("old ", i)))
		require.Equal(t, "7", res.Ext["queueId"])
		require.EqualValues(t, i, num(t, res, "queueOffset"))
	}
	moved := map[int][]map[string]any{7: {stretch(0, 2, "compat-b", 0, 3), stretch(1, 1, "compat-a", 100, -1)}}
	ca.ok(t, codeCreateStaticTopic, createStatic(topic), mapping(topic, "compat-a", 2, moved))
	cb.ok(t, codeCreateStaticTopic, createStatic(topic), mapping(topic, "compat-b", 2, moved))
	cb.refused(t, resNotLeader, topic+"-7 does not exit in request process of current broker compat-b", codeSendMessage,
		sendFields(topic, 7, ""), []byte("x"))
	for i := range 2 {
		require.EqualValues(t, 100+i, num(t, ca.ok(t, codeSendMessage, sendFields(topic, 7, ""), []byte(fmt.Sprint("new ", i))), "queueOffset"))
	}
	where := ext("topic", topic, "queueId", 7)
	eventually(t, 20*time.Second, func() error { // the queue's end moves once the message is visible
		if end := num(t, ca.ok(t, codeGetMaxOffset, where, nil), "offset"); end != 102 {
			return fmt.Errorf("the queue ends at %d", end)
		}
		return nil
	})
	require.EqualValues(t, 0, num(t, ca.ok(t, codeGetMinOffset, where, nil), "offset"))

	var got []string
	from := int64(0)
	for len(got) < 5 {
		res := ca.must(t, codePullMessage, pullFields(group, topic, 7, from), nil)
		require.Contains(t, []int{resSuccess, resPullRetry}, res.Code, res.Remark)
		if res.Code == resSuccess {
			got = append(got, bodies(pulled(t, res))...)
		}
		next := num(t, res, "nextBeginOffset")
		require.Greater(t, next, from)
		from = next
	}
	require.Equal(t, []string{"old 0", "old 1", "old 2", "new 0", "new 1"}, got)
	require.EqualValues(t, 102, from)

	commit := ext("consumerGroup", group, "topic", topic, "queueId", 7, "commitOffset", 2)
	query := ext("consumerGroup", group, "topic", topic, "queueId", 7)
	ca.ok(t, codeUpdateConsumerOffset, commit, nil)
	require.EqualValues(t, 2, num(t, ca.ok(t, codeQueryConsumerOffset, query, nil), "offset"))
	onB := ext("consumerGroup", group, "topic", topic, "queueId", 2, "lo", false)
	require.EqualValues(t, 2, num(t, cb.ok(t, codeQueryConsumerOffset, onB, nil), "offset"), "kept where the stretch lies")
	ca.ok(t, codeUpdateConsumerOffset, with(commit, "commitOffset", 101), nil)
	require.EqualValues(t, 101, num(t, ca.ok(t, codeQueryConsumerOffset, query, nil), "offset"))

	older := mapping(topic, "compat-a", 1, first)
	ca.refused(t, resSystemError, "Can't accept data with small epoch 1 < 2", codeCreateStaticTopic, createStatic(topic), older)
}
