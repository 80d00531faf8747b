package admin

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func traceCommands() []spec {
	return []spec{
		{name: "queryMsgTraceById", alias: "QueryMsgTraceById", short: "Show who has sent and consumed a traced message", run: queryMsgTraceByID,
			options: []option{text("i", "msgId", "ID", "unique key of the message").must(),
				text("t", "traceTopic", "TOPIC", "topic of the traces (default RMQ_SYS_TRACE_TOPIC)").completed(completeTopics),
				long("b", "beginTimestamp", "MS", "traced at or after"), long("e", "endTimestamp", "MS", "traced at or before"),
				number("c", "maxNum", "N", "at most so many traces (default 64)")}},
	}
}

// span is one record of a trace message.
type span struct {
	kind, group, host, msgID string
	atMs, costMs             int64
	ok                       bool
}

// Fields of a trace record are separated by 1, records by 2. Apache: TraceConstants, TraceDataEncoder.
const (
	traceField  = "\x01"
	traceRecord = "\x02"
)

// readSpans reads the records of a trace message that are of kinds Pub and SubAfter; records that cannot be read are left out, as
// by Apache's tool.
func readSpans(body string, bornMs int64, host string) []span {
	var all []span
	for rec := range strings.SplitSeq(body, traceRecord) {
		f := strings.Split(rec, traceField)
		switch {
		case f[0] == "Pub" && len(f) >= 12:
			sp := span{kind: "Pub", atMs: integer(f[1]), group: f[3], msgID: f[5], costMs: integer(f[10]), ok: true, host: host}
			if len(f) >= 14 {
				sp.ok = f[13] == "true"
			}
			all = append(all, sp)
		case f[0] == "SubAfter" && len(f) >= 6:
			sp := span{kind: "Sub", msgID: f[2], costMs: integer(f[3]), ok: f[4] == "true", atMs: bornMs, host: host}
			if len(f) >= 9 {
				sp.atMs, sp.group = integer(f[7]), f[8]
			}
			all = append(all, sp)
		}
	}
	return all
}

// queryMsgTraceByID shows the traces of a message. Apache: QueryMsgTraceByIdSubCommand.
func queryMsgTraceByID(s *session) error {
	id, topic := s.text("msgId"), s.textOr("traceTopic", "RMQ_SYS_TRACE_TOPIC")
	found, err := s.query(topic, topic, id, indexKeys, "", s.number("maxNum", 64), s.number("beginTimestamp", 0), s.number("endTimestamp", math.MaxInt64))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("topic %s has no trace of message %s", topic, id)
	}
	var sent, consumed []span
	for _, m := range found {
		host, _, _ := strings.Cut(m.BornHost.String(), ":")
		for _, sp := range readSpans(string(m.body), m.BornTimestampMs, host) {
			switch {
			case sp.msgID != id:
			case sp.kind == "Pub":
				sent = append(sent, sp)
			default:
				consumed = append(consumed, sp)
			}
		}
	}
	s.list()
	for _, sp := range sent {
		s.showSpans("#ProducerGroup", "#SendTime", []span{sp})
	}
	byGroup := map[string][]span{}
	for _, sp := range consumed {
		byGroup[sp.group] = append(byGroup[sp.group], sp)
	}
	for _, group := range sortedKeys(byGroup) {
		s.showSpans("#ConsumerGroup", "#ConsumerTime", byGroup[group])
	}
	return nil
}

func (s *session) showSpans(group, at string, spans []span) {
	t := s.table("%-10s %-20s %-20s %-20s %-10s %-10s", column{"#Type", "type"}, column{group, "group"}, column{"#ClientHost", "clientHost"},
		column{at, "time"}, column{"#CostTimes", "costMs"}, column{"#Status", "status"})
	for _, sp := range spans {
		status := "success"
		if !sp.ok {
			status = "failed"
		}
		t.row(sp.kind, sp.group, sp.host, shown{jsonTime(sp.atMs), timeSec(sp.atMs)}, shown{sp.costMs, strconv.FormatInt(sp.costMs, 10) + "ms"}, status)
	}
	s.say("\n")
}
