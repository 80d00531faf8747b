package compat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wrongNames are names that no topic or group has or may have.
var wrongNames = map[string]string{
	"unknown":           "NoSuchName-1",
	"empty":             "",
	"blanks":            "   ",
	"with a slash":      "a/b",
	"a folder up":       "../../etc/passwd",
	"with a zero":       "a\x00b",
	"with a line break": "a\nb",
	"with a quote":      `a"b`,
	"not ASCII":         "主题",
	"not UTF-8":         "a\xff\xfeb",
	"a dollar":          "a$b*",
	"too long":          strings.Repeat("n", 300),
	"far too long":      strings.Repeat("n", 40_000),
	"a retry topic":     "%RETRY%",
	"a light queue":     "%LMQ%",
}

// wrongNameRequests are the requests of administration that name a topic or a group.
var wrongNameRequests = []struct {
	what   string
	code   int
	fields func(name string) map[string]string
	body   func(name string) []byte
}{
	{"topic statistics", codeTopicStats, func(n string) map[string]string { return ext("topic", n) }, nil},
	{"topic configuration", codeGetTopicConfig, func(n string) map[string]string { return ext("topic", n) }, nil},
	{"groups of a topic", 300, func(n string) map[string]string { return ext("topic", n) }, nil},
	{"a queue's entries", codeQueryConsumeQueue, func(n string) map[string]string {
		return ext("topic", n, "queueId", 0, "index", 0, "count", 10, "consumerGroup", "G")
	}, nil},
	{"messages by key", codeQueryMessage, func(n string) map[string]string {
		return ext("topic", n, "key", "k", "maxNum", 10, "beginTimestamp", 0, "endTimestamp", nowMs())
	}, nil},
	{"time span", 303, func(n string) map[string]string { return ext("topic", n, "group", "G") }, nil},
	{"group configuration", codeGetGroupConfig, func(n string) map[string]string { return ext("group", n) }, nil},
	{"members", codeConsumerConnections, func(n string) map[string]string { return ext("consumerGroup", n) }, nil},
	{"producers", codeProducerConnections, func(n string) map[string]string { return ext("producerGroup", n) }, nil},
	{"member list", codeConsumerListByGroup, func(n string) map[string]string { return ext("consumerGroup", n) }, nil},
	{"lag of a group", codeConsumeStats, func(n string) map[string]string { return ext("consumerGroup", n, "topic", "") }, nil},
	{"lag of a topic", codeConsumeStats, func(n string) map[string]string { return ext("consumerGroup", "G", "topic", n) }, nil},
	{"topics of a group", 343, func(n string) map[string]string { return ext("group", n) }, nil},
	{"subscription", 345, func(n string) map[string]string { return ext("group", n, "topic", probeTopic) }, nil},
	{"reset of a group", codeResetOffset, func(n string) map[string]string {
		return ext("topic", probeTopic, "group", n, "timestamp", 0, "isForce", true)
	}, nil},
	{"reset of a topic", codeResetOffset, func(n string) map[string]string {
		return ext("topic", n, "group", "G", "timestamp", 0, "isForce", true)
	}, nil},
	{"offsets at members", codeConsumerStatus, func(n string) map[string]string { return ext("topic", probeTopic, "group", n, "clientAddr", "") }, nil},
	{"copy of offsets", 314, func(n string) map[string]string {
		return ext("srcGroup", n, "destGroup", "NoSuchGroup-2", "topic", probeTopic, "offline", false)
	}, nil},
	{"members' running info", codeConsumerRunningInfo, func(n string) map[string]string {
		return ext("consumerGroup", n, "clientId", "nobody", "jstackEnable", false)
	}, nil},
	{"new topic", codeCreateTopic, func(n string) map[string]string { return topicFields(n, 1) }, nil},
	{"new group", codeCreateGroup, nil, func(n string) []byte { return mustJSON(map[string]any{"groupName": n}) }},
	{"deletion of a topic", codeDeleteTopicInBroker, func(n string) map[string]string { return ext("topic", n) }, nil},
	{"deletion of a group", codeDeleteGroup, func(n string) map[string]string { return ext("groupName", n, "cleanOffset", true) }, nil},
}

// Requests of administration with names of all wrong kinds are answered, on a connection that goes on, and no table has any of the names
// afterwards.
func TestWrongNames(t *testing.T) {
	tg := onShared(t)
	c := connect(t, tg.Broker())
	for _, r := range wrongNameRequests {
		for kind, name := range wrongNames {
			if creates := r.code == codeCreateTopic || r.code == codeCreateGroup; creates && kind == "unknown" {
				continue
			}
			var fields map[string]string
			var body []byte
			if r.fields != nil {
				fields = r.fields(name)
			}
			if r.body != nil {
				body = r.body(name)
			}
			res := c.must(t, r.code, fields, body)
			t.Logf("%-22s %-18s %d %.120s", r.what, kind, res.Code, res.Remark)
		}
	}
	for _, table := range []int{codeGetAllTopicConfig, codeGetAllGroups, codeGetAllConsumerOffset} {
		text := string(c.ok(t, table, nil, nil).Body)
		for kind, name := range wrongNames {
			if len(strings.TrimSpace(name)) > 1 && !strings.HasPrefix(name, "%") {
				require.NotContains(t, text, strings.Trim(string(mustJSON(name)), `"`), kind)
			}
		}
	}
}
