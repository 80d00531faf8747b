package processor

import (
	"fmt"
	"sort"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// describeTopic writes a topic as Java's TopicConfig.toString does; a remark of the broker holds it.
func describeTopic(t *codec.TopicConfig) string {
	return fmt.Sprintf("TopicConfig [topicName=%s, readQueueNums=%d, writeQueueNums=%d, perm=%s, topicFilterType=%s, topicSysFlag=%d, order=%t, attributes=%s]",
		t.TopicName, t.ReadQueueNums, t.WriteQueueNums, describePerm(t.Perm), t.TopicFilterType, t.TopicSysFlag, t.Order, describeMap(t.Attributes))
}

// describePerm writes permission bits as RWX with dashes. Apache: PermName.perm2String.
func describePerm(perm int32) string {
	text := []byte("---")
	for i, bit := range []int32{codec.PermRead, codec.PermWrite, codec.PermInherit} {
		if perm&bit != 0 {
			text[i] = "RWX"[i]
		}
	}
	return string(text)
}

func describeMap(m map[string]string) string {
	pairs := make([]string, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return "{" + strings.Join(pairs, ", ") + "}"
}
