package processor

import (
	"fmt"
	"sort"
	"strings"
	"time"

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

// describeTime writes milliseconds since 1970 in the time zone of the broker. Apache: UtilAll.YYYY_MM_DD_HH_MM_SS_SSS.
func describeTime(ms int64) string {
	return time.UnixMilli(ms).Format("2006-01-02#15:04:05") + fmt.Sprintf(":%03d", (ms%1000+1000)%1000)
}

// describeBytes writes a size with a binary unit. Apache: MixAll.humanReadableByteCount.
func describeBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < len("KMGTPE")-1 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTPE"[unit])
}
