package compat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSQLFilterOfAnySize: expressions of 64 KB and ones that nest 10,000 deep, in the three requests that bring expressions.
func TestSQLFilterOfAnySize(t *testing.T) {
	t.Parallel()
	t.Run("heartbeat, check and pull", sqlOfAnySize)
}

func sqlOfAnySize(t *testing.T) {
	tg := onShared(t)
	topic, group := newTopic(t, tg, 1), newGroup(t, tg)
	c := connect(t, tg.Broker())
	put(t, c, topic, 0, "one", props("a", "1"))
	put(t, c, topic, 0, "two", props("a", "2"))
	dispatched(t, c, topic, 0, 2)
	const deep = 10_000
	terms := func(bytes int) string { return strings.Repeat("a = 1 OR ", bytes/9-1) + "a = 1" }
	version := 0
	for _, tc := range []struct {
		name, expression string
		right            bool
	}{
		{"64 KB of terms", terms(64 << 10), true},
		{"64 KB of blanks", "a = 1" + strings.Repeat(" ", 64<<10-5), true},
		{"parentheses", strings.Repeat("(", deep) + "a = 1" + strings.Repeat(")", deep), false},
		{"NOT", strings.Repeat("NOT ", deep) + "a = 1", false},
		{"parentheses that do not end", strings.Repeat("(", deep), false},
		{"signs", strings.Repeat("-", deep) + "a = 1", false},
	} {
		for _, serial := range []byte{codecJSON, codecRocketMQ} {
			version++
			call := func(code int, fields map[string]string, body []byte) *packet {
				res, err := c.callPacket(&packet{Code: code, Codec: serial, Language: "JAVA", Version: goVersion, Ext: fields, Body: body}, callTimeout)
				require.NoError(t, err, tc.name)
				return res
			}
			checked := call(codeCheckClientConfig, nil, checkBody(topic, "SQL92", tc.expression))
			beat := call(codeHeartbeat, nil, heartbeat{clientID: "c1", consumerGroup: group, subs: []subscription{{Topic: topic,
				SubString: tc.expression, SubVersion: int64(version), ExpressionType: "SQL92", TagsSet: []string{}, CodeSet: []int32{}}}}.body())
			require.Equal(t, resSuccess, beat.Code, beat.Remark)
			known := call(codePullMessage, with(pullFields(group, topic, 0, 0), "sysFlag", 0, "subVersion", version, "expressionType", "SQL92"), nil)
			brought := call(codePullMessage, sqlFields(group, topic, tc.expression), nil)
			if tc.right {
				require.Equal(t, resSuccess, checked.Code, "%s: %s", tc.name, checked.Remark)
				require.Equal(t, []string{"one"}, bodies(pulled(t, known)), tc.name)
				require.Equal(t, []string{"one"}, bodies(pulled(t, brought)), tc.name)
				continue
			}
			require.Less(t, len(checked.Remark), 200, tc.name)
			if tg.Kind == Apache && !strings.Contains(tc.expression, "(") { // its stack ends while it filters, and nothing passes
				require.Equal(t, resPullRetry, known.Code, tc.name)
				continue
			}
			require.Equal(t, resSubscriptionParse, checked.Code, "%s: %s", tc.name, checked.Remark)
			require.Equal(t, resFilterDataGone, known.Code, "%s: %s", tc.name, known.Remark)
			require.Equal(t, []string{"one", "two"}, bodies(pulled(t, brought)), "%s: what is wrong passes all", tc.name)
		}
	}
	put(t, c, topic, 0, "three", "") // the server goes on
}
