package admin

import (
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// timeMs is a time as Apache's tables show it, to the millisecond; 0 is nothing. Apache: UtilAll.timeMillisToHumanString2.
func timeMs(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return strings.Replace(time.UnixMilli(ms).Format("2006-01-02 15:04:05.000"), ".", ",", 1)
}

// timeSec is timeMs to the second. Apache: UtilAll.formatDate.
func timeSec(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05") }

// jsonTime is a time for programs, null for none.
func jsonTime(ms int64) any {
	if ms <= 0 {
		return nil
	}
	return time.UnixMilli(ms).Format("2006-01-02T15:04:05.000Z07:00")
}

// javaDouble is a number as Java's Double.toString writes it.
func javaDouble(v float64) string {
	b, err := codec.MarshalJSON(v)
	if err != nil {
		return "NaN"
	}
	return string(b)
}
