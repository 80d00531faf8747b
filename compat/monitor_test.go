package compat

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStartMonitoring has our mqadmin watch a group that is behind by all messages but one.
func TestStartMonitoring(t *testing.T) {
	tg := onOwn(t)
	tool := newAdminCLI(t, tg) // made first: its build may take longer than a client may be silent
	topic, group := newTopic(t, tg, 2), newGroup(t, tg)
	c := connect(t, tg.Broker())
	for q := range 2 {
		for _, body := range numbered("m", 4) {
			put(t, c, topic, q, body, "")
		}
	}
	dispatched(t, c, topic, 0, 4)
	dispatched(t, c, topic, 1, 4)
	c.ok(t, codeHeartbeat, nil, heartbeat{clientID: "127.0.0.1@monitored", consumerGroup: group, subs: []subscription{subscribeAll(topic)}}.body())
	c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, 1), nil)
	cmd := exec.Command(tool.path, "startMonitoring", "-n", tg.Namesrv())
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME=")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasSuffix(lines.Text(), "endRound") {
			break
		}
	}
	require.NotEmpty(t, said)
	require.Regexp(t, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[MONITOR\] =+beginRound$`, said[0])
	require.Regexp(t, ` \[MONITOR\] =+endRound$`, said[len(said)-1])
	require.Contains(t, strings.Join(said, "\n"),
		"[MONITOR] reportUndoneMsgs: UndoneMsgs [consumerGroup="+group+", topic="+topic+", undoneMsgsTotal=7, undoneMsgsSingleMQ=4, undoneMsgsDelayTimeMills=")
}
