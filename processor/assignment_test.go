package processor

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

func assignedQueues(n int) (queues []codec.MessageQueue) {
	for i := range n {
		queues = append(queues, codec.MessageQueue{BrokerName: "broker-a", QueueID: int32(i), Topic: "T"})
	}
	return queues
}

func idsOf(queues []codec.MessageQueue) string {
	var ids []string
	for _, q := range queues {
		ids = append(ids, fmt.Sprint(q.QueueID))
	}
	return strings.Join(ids, " ")
}

// TestAllocation has what AllocateMessageQueueAveragely and AllocateMessageQueueAveragelyByCircle of Apache 5.4.0 give.
func TestAllocation(t *testing.T) {
	t.Parallel()
	three := []string{"a", "b", "c"}
	for _, c := range []struct {
		name    string
		queues  int
		members []string
		avg     []string
		circle  []string
	}{
		{"even", 6, three, []string{"0 1", "2 3", "4 5"}, []string{"0 3", "1 4", "2 5"}},
		{"one left", 7, three, []string{"0 1 2", "3 4", "5 6"}, []string{"0 3 6", "1 4", "2 5"}},
		{"two left", 8, three, []string{"0 1 2", "3 4 5", "6 7"}, []string{"0 3 6", "1 4 7", "2 5"}},
		{"fewer than members", 2, three, []string{"0", "1", ""}, []string{"0", "1", ""}},
	} {
		for i, m := range c.members {
			require.Equal(t, c.avg[i], idsOf(allocateAveragely(m, assignedQueues(c.queues), c.members)), "%s: %s", c.name, m)
			require.Equal(t, c.circle[i], idsOf(allocateByCircle(m, assignedQueues(c.queues), c.members)), "%s: %s", c.name, m)
		}
	}
	require.Empty(t, allocateAveragely("nobody", assignedQueues(3), three))
	require.Empty(t, allocateByCircle("nobody", assignedQueues(3), three))
}

func TestAllocationForPop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share, queues, members int
		want                   string // of the second member
	}{
		{0, 3, 4, "-1"}, {-1, 3, 1, "-1"}, {3, 8, 4, "-1"}, {1, 8, 4, "2 3 4 5"}, {2, 8, 4, "2 3 4 5 6 7"}, {1, 2, 4, "1"},
	} {
		a := assignment{queues: assignedQueues(c.queues), mode: codec.MessageRequestMode{PopShareQueueNum: int32(c.share)}}
		for i := range c.members {
			a.members = append(a.members, fmt.Sprint("m", i))
		}
		a.request.ClientID = a.members[min(1, c.members-1)]
		require.Equal(t, c.want, idsOf(sortedQueues(a.forPop(allocateAveragely))), "%+v", c)
	}
}

// TestAssignments has the bodies that Apache's 5.4.0 broker answered to a Java 5.5.0 client.
func TestAssignments(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "messageRequestMode.json")
	open := func() *store.RequestModes {
		modes, err := store.OpenRequestModes(path, store.TableOptions{})
		require.NoError(t, err)
		return modes
	}
	b := newRig(t, func(s *setup) {
		s.opts.RequestModes = open()
		s.opts.Route = func(topic string) ([]codec.MessageQueue, bool) {
			return []codec.MessageQueue{{BrokerName: "broker-a", QueueID: 0, Topic: topic}}, topic != "None"
		}
	})
	b.topicOf("FxPop", 4)
	set := func(topic, group, mode string) *answer {
		return b.request(codec.SetMessageRequestMode, nil, fmt.Sprintf(`{"consumerGroup":%q,"mode":%q,"popShareQueueNum":0,"topic":%q}`, group, mode, topic))
	}
	ask := func(topic, strategy string) string {
		a := b.request(codec.QueryAssignment, nil, fmt.Sprintf(
			`{"clientId":"c1","consumerGroup":"CG_pop","messageModel":"CLUSTERING","strategyName":%q,"topic":%q}`, strategy, topic))
		require.Equal(t, codec.Success, a.Code, a.Remark)
		return string(a.Body)
	}
	require.Equal(t, `{}`, ask("FxPop", "AVG"), "without members nothing can be said")
	b.heartbeat(b.conn, "c1", "CG_pop", "FxPop", "*")
	require.Equal(t, `{"messageQueueAssignments":[{"messageQueue":{"brokerName":"broker-a","queueId":0,"topic":"FxPop"},"mode":"PULL"}]}`, ask("FxPop", "AVG"))
	require.Equal(t, codec.Success, set("FxPop", "CG_pop", "POP").Code)
	require.Equal(t, `{"messageQueueAssignments":[{"messageQueue":{"brokerName":"broker-a","queueId":-1,"topic":"FxPop"},"mode":"POP"}]}`, ask("FxPop", "AVG"))
	require.Equal(t, `{"messageQueueAssignments":[{"messageQueue":{"brokerName":"broker-a","queueId":0,"topic":"%RETRY%CG_pop"},"mode":"PULL"}]}`,
		ask("%RETRY%CG_pop", "AVG_BY_CIRCLE"))
	require.Equal(t, `{}`, ask("FxPop", "MACHINE_ROOM"))
	require.Equal(t, `{}`, ask("None", "AVG"))

	for _, c := range []struct {
		topic, group, mode string
		code               int32
		remark             string
	}{
		{"%RETRY%CG_pop", "CG_pop", "POP", codec.NoPermission, "retry topic is not allowed to set mode"},
		{"None", "CG_pop", "POP", codec.TopicNotExist, "topic[None] not exist"},
		{"FxPop", "", "POP", codec.SubscriptionGroupNotExist, "subscription group does not exist"},
		{"FxPop", "CG_pop", "PUSH", codec.InvalidParameter, `mode is "PUSH", want PULL or POP`},
	} {
		a := set(c.topic, c.group, c.mode)
		require.Equal(t, c.code, a.Code, "%+v", c)
		require.Equal(t, c.remark, a.Remark)
	}
	want := `{"messageRequestModeMap":{"FxPop":{"CG_pop":{"consumerGroup":"CG_pop","mode":"POP","popShareQueueNum":0,"topic":"FxPop"}}}}`
	require.Equal(t, want, string(b.request(codec.GetAllMessageRequestMode, nil, "").Body))
	again, err := open().JSON()
	require.NoError(t, err)
	require.Equal(t, want, string(again))
	require.Equal(t, codec.SystemError, b.request(codec.QueryAssignment, nil, "").Code)
}
