package compat

import (
	"regexp"
	"slices"
	"strings"
)

// textRule replaces what differs from run to run. It applies to the commands that it names, to all when it names none.
type textRule struct {
	commands string
	find     *regexp.Regexp
	with     string
}

// textRules are applied in order. A line that becomes empty is left out.
var textRules = []textRule{
	{"", regexp.MustCompile(`(?m)^\t?at .*$|^\t\.\.\. \d+ (more|common).*$`), ""},
	{"", regexp.MustCompile(`(?m)^.*RMQ_SYS_ROCKSDB_TRANS.*$`), ""}, // a topic that only RocksDB needs
	{"", regexp.MustCompile(`127\.0\.0\.1:\d{4,5}`), "<client>"},
	{"", regexp.MustCompile(`\d{4}-\d{2}-\d{2}[ #]\d{2}:\d{2}:\d{2}([,:]\d{3})?`), "<time>"},
	{"", regexp.MustCompile(`\b1[789]\d{11}\b`), "<ms>"},
	{"", regexp.MustCompile(`\b7F000001[0-9A-F]{24}\b`), "<offset id>"},
	{"", regexp.MustCompile(`\bFD00[0-9A-F]{30,60}\b|\b[0-9A-F]{8}[0-9A-F]{4}4E0E2F2A[0-9A-F]{12}\b|\bC0000202[0-9A-F]{24}\b`), "<unique id>"},
	{"", regexp.MustCompile(`#\d{5,}`), "#<instance>"},
	{"", regexp.MustCompile(`\b\d+ms\b`), "<n>ms"},
	{"", regexp.MustCompile(`Consume TPS: [\d.]+`), "Consume TPS: <n>"},
	{"", regexp.MustCompile(`in name server\[(.*)\] OK, \d+`), "in name server[$1] OK, <n>"},
	{"clusterList brokerStatus", regexp.MustCompile(`V5_\d_0`), "<version>"},
	{"clusterList", regexp.MustCompile(`\d+\.\d+`), "<n>"},
	{"clusterList", regexp.MustCompile(`\d+-\d+\(`), "<n>("},
	{"brokerStatus", regexp.MustCompile(`(timerReadBehind\s*:) \d+`), "$1 <n>"},
	{"getBrokerConfig", regexp.MustCompile(`(?m)^rocketmqHome.*$`), ""}, // of the environment
	{"createUser getUser listUser updateUser deleteUser copyUser createAcl getAcl updateAcl deleteAcl copyAcl",
		regexp.MustCompile(`(?m)(An system error occurred, please try again later\.).*$`), "$1"},
	{"statsAll", regexp.MustCompile(`(?m)^(\S+)([ \t]+CG_live)?([ \t]+(\d+(\.\d+)?|<n>))+`), "$1$2 <n>"},
	{"sendMessage sendMsgStatus", regexp.MustCompile(`<(offset|unique) id>`), "<id>"},
	{"consumerStatus", regexp.MustCompile(`(<running info>)+`), "<running info>"},
	{"topicRoute queryCq", regexp.MustCompile(`(?m),$`), ""},
	{"brokerStatus exportMetrics", regexp.MustCompile(`(?m)^(.*?(Tps|Time|TimeMax|Latency\d+|Capacity|Ratio.*?|runtime|WaitTimeMills|Total|Size|ToFlush|BehindBytes|putMessageTimesTotal|msgGetTotal\w+|commitLogMaxOffset|putMessageAverageSize|remain\w+)\s*: ).*$`), "$1<v>"},
	{"brokerStatus", regexp.MustCompile(`(?m)^.*(commitLog(Dispatched|Flushed|Written)Offset|brokerVersion)\s*:.*$`), ""}, // ours; RocketMQ Exporter wants the version
	{"statsAll", regexp.MustCompile(`(?m)( \d+(\.\d+)?)+\s*(NO_CONSUMER)?$`), " <n> $3"},
	{"consumerProgress", regexp.MustCompile(`(?m)^((CG|PG|%)\S+ .*?)\s+\d+\s+(\d+)$`), "$1 <n> $3"},
	{"consumerStatus", regexp.MustCompile(`(?s)(<running info>)?\n.*`), "<running info>"},
	{"checkMsgSendRT clusterRT", regexp.MustCompile(`(?m)(true|false)\s+\d+\s*$`), "$1 <n>"},
	{"checkMsgSendRT clusterRT", regexp.MustCompile(`Avg RT: [\d.]+`), "Avg RT: <n>"},
	{"sendMessage", regexp.MustCompile(`(?m)^(\S+)\s+\d+\s+SEND_OK`), "$1 <n> SEND_OK"},
	{"getBrokerConfig getNamesrvConfig exportConfigs", regexp.MustCompile(`(?m)^(listenPort|haListenPort|rocketmqHome|brokerIP1|brokerIP2)\s*=.*$`), "$1 = <v>"},
	{"getBrokerConfig", regexp.MustCompile(`(?m)^(commitLogMaxBytes|keepUnconsumedEnable|pprofEnable|scrubBytesPerSecond|scrubIntervalHours|adminAuditEnable|authSecretKeyFile)\s*=.*$`), ""}, // ours
	// By the number of processors.
	{"getBrokerConfig getNamesrvConfig", regexp.MustCompile(`(?m)^(\w+(ThreadPoolNums|Threads|ThreadNum|Concurrency))\s*=.*$`), "$1 = <n>"},
	{"#file", regexp.MustCompile(`"(cpuNum|\w+DiskRatio|messageAverageSize)": ?"[\d.]+"`), `"$1":"<n>"`},
	{"#file", regexp.MustCompile(`"(\w+Tps|\w+OneDay\w+Num|counter|stateVersion|timestamp|exportTime|rocketmqVersion)": ?[^,\n]+`), `"$1":<n>`},
	{"", regexp.MustCompile(`\{\s*\n\s*\}`), "{}"},
	{"", regexp.MustCompile(`\[\s*\n\s*\]`), "[]"},
	{"#file", regexp.MustCompile(`(?m)": `), `":`},
	{"#file", regexp.MustCompile(`(?m),$`), ""},
	{"updateStaticTopic remappingStaticTopic", regexp.MustCompile(`/tmp/\S*Static-<ms>`), "<temp>/Static"},
	{"", regexp.MustCompile(`[ \t]+`), " "},
	{"", regexp.MustCompile(`(?m)^ | $`), ""},
	{"", regexp.MustCompile(`\n{2,}`), "\n"},
}

// javaMap is a HashMap as Java prints it, in whatever order.
var javaMap = regexp.MustCompile(`\{\w+=[^{}]*\}`)

// adminText is the output of a command without what differs between two servers that hold the same.
func adminText(tg *Target, command, text string) string {
	text = strings.NewReplacer(tg.Namesrv(), "<namesrv>", tg.Broker(), "<broker>", tg.VIP(), "<vip>", tg.Dir, "<dir>").Replace(text)
	for _, r := range textRules {
		if r.commands == "" || strings.Contains(" "+r.commands+" ", " "+command+" ") {
			text = r.find.ReplaceAllString(text, r.with)
		}
	}
	text = javaMap.ReplaceAllStringFunc(text, func(m string) string {
		parts := strings.Split(m[1:len(m)-1], ", ")
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	})
	text = strings.Trim(text, "\n")
	if text == "" {
		return ""
	}
	return text + "\n"
}
