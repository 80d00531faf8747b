package compat

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
)

var (
	anAddress = regexp.MustCompile(`/?\d+\.\d+\.\d+\.\d+(:\d+)?`)
	aNumber   = regexp.MustCompile(`-?\d+`)
)

// compare says what is different between an answer and the recorded one, apart from ids, offsets, times and addresses.
func (r *replay) compare(q *question, then, now *packet) []string {
	var diffs []string
	if then.Code != now.Code {
		return []string{fmt.Sprintf("code %d (%s), then %d (%s)", now.Code, now.Remark, then.Code, then.Remark)}
	}
	if a, b := remarkOf(then), remarkOf(now); a != b && !jvmSpeaks.MatchString(then.Remark) {
		diffs = append(diffs, fmt.Sprintf("remark %q, then %q", b, a))
	}
	if d := differentKeys(then.Ext, now.Ext); d != "" {
		diffs = append(diffs, "fields "+d)
	}
	for _, name := range sameFields {
		if a, has := then.Ext[name]; has && a != now.Ext[name] {
			diffs = append(diffs, fmt.Sprintf("%s=%s, then %s", name, now.Ext[name], a))
		}
	}
	if q.bodyless {
		return diffs
	}
	if q.asked.Code == codeGetBrokerRuntimeInfo {
		return append(diffs, compareRuntime(then.Body, now.Body)...)
	}
	return append(diffs, r.compareBody(then.Body, now.Body)...)
}

// Fields of responses whose value depends on nothing but the conversation.
var sameFields = []string{"MSG_REGION", "TRACE_ON", "topicSysFlag", "groupSysFlag", "suggestWhichBrokerId", "forbiddenType",
	"IS_SUPPORT_HEART_BEAT_V2", "IS_SUB_CHANGE", "value", "changed"}

// remarkOf is the first line of a remark, without addresses and numbers.
func remarkOf(p *packet) string {
	line, _, _ := strings.Cut(p.Remark, "\n")
	if line == "not set any response code" {
		return ""
	}
	return strings.TrimSpace(aNumber.ReplaceAllString(anAddress.ReplaceAllString(line, "<address>"), "<n>"))
}

// jvmSpeaks finds the text of an exception, which nobody has to repeat.
var jvmSpeaks = regexp.MustCompile(`^(java|com|org)\.[\w.]*Exception|^Cannot invoke`)

// differentKeys names fields that only one of two has; an absent and an empty table are the same.
func differentKeys(then, now map[string]string) string {
	var list []string
	for k := range then {
		if _, ok := now[k]; !ok {
			list = append(list, "-"+k)
		}
	}
	for k := range now {
		if _, ok := then[k]; !ok {
			list = append(list, "+"+k)
		}
	}
	sort.Strings(list)
	return strings.Join(list, " ")
}

func (r *replay) compareBody(then, now []byte) []string {
	switch {
	case len(then) == 0 && len(now) == 0:
		return nil
	case len(then) == 0 || len(now) == 0:
		return []string{fmt.Sprintf("body of %d bytes, then %d: %.200q", len(now), len(then), now)}
	case then[0] == '{' || then[0] == '[':
		return r.compareJSON(then, now)
	case bytes.Contains(then[:min(len(then), 200)], []byte("=")) && bytes.IndexByte(then, 0) < 0:
		return compareProperties(then, now)
	default:
		return compareRecords(then, now)
	}
}

func compareRecords(then, now []byte) []string {
	a, err := decodeRecords(then)
	if err != nil {
		return []string{fmt.Sprintf("recorded body: %v", err)}
	}
	b, err := decodeRecords(now)
	if err != nil {
		return []string{fmt.Sprintf("body: %v", err)}
	}
	byChance := func(m record) bool { return m.Props["KEYS"] == "neg" } // sent to queue -1
	a, b = slices.DeleteFunc(a, byChance), slices.DeleteFunc(b, byChance)
	if len(a) > 0 && strings.HasPrefix(a[0].Topic, "%RETRY%") { // what is sent back at the same time comes in any order
		byBody := func(x, y record) int { return bytes.Compare(x.Body, y.Body) }
		slices.SortFunc(a, byBody)
		slices.SortFunc(b, byBody)
	}
	if len(a) != len(b) {
		return []string{fmt.Sprintf("%d messages %q, then %d %q", len(b), bodies(b), len(a), bodies(a))}
	}
	var diffs []string
	for i := range a {
		if d := compareRecord(&a[i], &b[i]); d != "" {
			diffs = append(diffs, fmt.Sprintf("message %d: %s", i, d))
		}
	}
	return diffs
}

// Properties that are made anew, or hold an id or a time.
var madeAnew = []string{"UNIQ_KEY", "ORIGIN_MESSAGE_ID", "PUSH_REPLY_TIME"}

func compareRecord(a, b *record) string {
	switch {
	case a.Magic != b.Magic:
		return fmt.Sprintf("magic %#x, then %#x", b.Magic, a.Magic)
	case a.Topic != b.Topic:
		return fmt.Sprintf("topic %s, then %s", b.Topic, a.Topic)
	case a.QueueID != b.QueueID:
		return fmt.Sprintf("queue %d, then %d", b.QueueID, a.QueueID)
	case a.SysFlag != b.SysFlag:
		return fmt.Sprintf("sys flag %d, then %d", b.SysFlag, a.SysFlag)
	case a.ReconsumeTimes != b.ReconsumeTimes:
		return fmt.Sprintf("reconsume times %d, then %d", b.ReconsumeTimes, a.ReconsumeTimes)
	case !bytes.Equal(a.Body, b.Body):
		return fmt.Sprintf("body %.100q, then %.100q", b.Body, a.Body)
	}
	if d := differentKeys(a.Props, b.Props); d != "" {
		return "properties " + d
	}
	for k, v := range a.Props {
		if !slices.Contains(madeAnew, k) && b.Props[k] != v {
			return fmt.Sprintf("property %s=%q, then %q", k, b.Props[k], v)
		}
	}
	return ""
}

// compareRuntime compares a broker's runtime information: its keys.
func compareRuntime(then, now []byte) []string {
	var a, b struct{ Table map[string]string }
	for body, table := range map[*[]byte]any{&then: &a, &now: &b} {
		if err := unmarshal(*body, table); err != nil {
			return []string{err.Error()}
		}
	}
	var missing []string
	for k := range a.Table {
		if _, ok := b.Table[k]; !ok && !runtimeOfState.MatchString(k) {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	sort.Strings(missing)
	return []string{"missing: " + strings.Join(missing, " ")}
}

// Keys of runtime information that depend on what the broker has done, or where its store is.
var runtimeOfState = regexp.MustCompile(`^(timer|scheduleMessageOffset_|commitLogDiskRatio_)`)

// compareProperties compares a configuration: each key that Apache prints should be there, values may differ.
func compareProperties(then, now []byte) []string {
	a, b := propertyKeys(then), propertyKeys(now)
	var missing []string
	for k := range a {
		if !b[k] {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	sort.Strings(missing)
	return []string{fmt.Sprintf("%d keys of %d are missing: %s", len(missing), len(a), strings.Join(missing, " "))}
}

func propertyKeys(b []byte) map[string]bool {
	keys := map[string]bool{}
	for _, line := range strings.Split(string(b), "\n") {
		if k, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			keys[strings.TrimSpace(k)] = true
		}
	}
	return keys
}

func (r *replay) compareJSON(then, now []byte) []string {
	a, err := parseFastjson(then)
	if err != nil {
		return []string{fmt.Sprintf("recorded body: %v", err)}
	}
	b, err := parseFastjson(bytes.ReplaceAll(now, []byte(r.tg.Broker()), []byte(recordedBroker)))
	if err != nil {
		return []string{fmt.Sprintf("body: %v in %.300q", err, now)}
	}
	if bytes.Contains(then, []byte(`{0:`)) && bytes.Contains(now, []byte(`{"0":`)) {
		return []string{"keys are quoted"}
	}
	return compareValue("", a, b)
}

// Tables whose keys are topics, groups and the like: only entries that both have are compared.
var tables = []string{"topicConfigTable", "subscriptionGroupTable", "offsetTable", "table", "forbiddenTable", "topicQueueMappingDetailMap",
	"topicQueueMappingInfoMap", "brokerAddrTable", "clusterAddrTable"}

// Values that depend on the time, the place, or what happened before.
var anyValue = []string{"dataVersion", "lastUpdateTimestamp", "maxOffset", "minOffset", "brokerOffset", "consumerOffset", "pullOffset",
	"lastTimestamp", "topicPutTps", "consumeTps", "counter", "timestamp", "stateVersion", "clientAddr"}

func compareValue(path string, a, b any) []string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	switch a := a.(type) {
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %.100v, then an object", path, b)}
		}
		return compareObject(path, slices.Contains(tables, name), a, m)
	case []any:
		list, ok := b.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %.100v, then a list", path, b)}
		}
		return compareList(path, name, a, list)
	default:
		if slices.Contains(anyValue, name) || strings.HasPrefix(path, ".offsetTable.{") {
			if fmt.Sprintf("%T", a) != fmt.Sprintf("%T", b) {
				return []string{fmt.Sprintf("%s is %T, then %T", path, b, a)}
			}
			return nil
		}
		if a != b {
			return []string{fmt.Sprintf("%s is %.100v, then %.100v", path, b, a)}
		}
		return nil
	}
}

func compareObject(path string, table bool, a, b map[string]any) []string {
	var diffs []string
	both := 0
	for k, v := range a {
		w, ok := b[k]
		switch {
		case ok:
			both++
			diffs = append(diffs, compareValue(path+"."+k, v, w)...)
		case !table:
			diffs = append(diffs, path+"."+k+" is missing")
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok && !table {
			diffs = append(diffs, path+"."+k+" is new")
		}
	}
	if table && len(a) > 0 && both == 0 {
		diffs = append(diffs, path+" has nothing of what it had then")
	}
	sort.Strings(diffs)
	return diffs
}

// compareList compares lists as sets; a list of topics has at least one of those it had.
func compareList(path, name string, a, b []any) []string {
	texts := func(list []any) []string {
		var all []string
		for _, v := range list {
			all = append(all, keyText(v))
		}
		sort.Strings(all)
		return all
	}
	x, y := texts(a), texts(b)
	if name == "topicList" {
		if len(x) > 0 && !slices.ContainsFunc(x, func(s string) bool { return slices.Contains(y, s) }) {
			return []string{path + " has nothing of what it had then"}
		}
		return nil
	}
	if len(a) == len(b) && len(a) == 1 {
		return compareValue(path, a[0], b[0])
	}
	if !slices.Equal(x, y) {
		return []string{fmt.Sprintf("%s is %.200v, then %.200v", path, y, x)}
	}
	return nil
}
