package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	codePopLite           = 200070
	codeLiteSubscriptions = 200071
	codeNotifyUnsubscribe = 200073
	codeBrokerLiteInfo    = 200074
	codeParentTopicInfo   = 200075
	codeLiteTopicInfo     = 200076
	codeLiteClientInfo    = 200077
	codeLiteGroupInfo     = 200078
	codeTriggerLite       = 200079

	resLiteQuotaExceeded = 2018

	remarkUnset = "not set any response code"
)

// newIn skips a scenario for Apache's servers of a release that does not know yet what it is about.
func newIn(t *testing.T, release string) {
	t.Helper()
	if kind, err := TargetKind(); err == nil && kind == Apache && strings.Compare(stackVersion(), release) < 0 {
		t.Skipf("new in %s, Apache's servers are %s", release, stackVersion())
	}
}

// liteRun is a parent topic, a group bound to it and a client of that group.
type liteRun struct {
	tg            *Target
	c             *client
	parent, group string
	id            string
}

func newLiteRun(t *testing.T, tg *Target, groupAttributes ...string) *liteRun {
	r := &liteRun{tg: tg, c: connect(t, tg.Broker()), parent: unique("Parent"), group: unique("LG"), id: unique("client")}
	r.c.ok(t, codeCreateTopic, with(topicFields(r.parent, 4), "attributes", "+message.type=LITE"), nil)
	attributes := map[string]string{"+lite.bind.topic": r.parent}
	for i := 0; i+1 < len(groupAttributes); i += 2 {
		attributes["+"+groupAttributes[i]] = groupAttributes[i+1]
	}
	r.c.ok(t, codeCreateGroup, nil, mustJSON(map[string]any{"groupName": r.group, "attributes": attributes}))
	return r
}

// subscribe sends a change of the client's subscriptions.
func (r *liteRun) subscribe(id, action string, offset any, lites ...string) (map[string]string, []byte) {
	change := map[string]any{"action": action, "clientId": id, "group": r.group, "topic": r.parent, "liteTopicSet": lites, "version": nowMs()}
	if offset != nil {
		change["offsetOption"] = offset
	}
	return nil, mustJSON(map[string]any{"subscriptionSet": []any{change}})
}

func (r *liteRun) add(t *testing.T, lites ...string) {
	t.Helper()
	fields, body := r.subscribe(r.id, "PARTIAL_ADD", nil, lites...)
	r.c.ok(t, codeLiteSubscriptions, fields, body)
}

// put sends messages to a lite topic and waits until they are in its queue.
func (r *liteRun) put(t *testing.T, lite string, bodies ...string) {
	t.Helper()
	end := num(t, r.c.ok(t, codeGetMaxOffset, ext("topic", "%LMQ%$"+r.parent+"$"+lite, "queueId", 0), nil), "offset")
	for _, body := range bodies {
		put(t, r.c, r.parent, 0, body, props("TAGS", "A", "__LITE_TOPIC", lite))
	}
	dispatched(t, r.c, "%LMQ%$"+r.parent+"$"+lite, 0, end+int64(len(bodies)))
}

func (r *liteRun) popFields(invisible time.Duration, pollMs int) map[string]string {
	return ext("clientId", r.id, "consumerGroup", r.group, "topic", r.parent, "maxMsgNum", 32, "invisibleTime", invisible.Milliseconds(),
		"pollTime", pollMs, "bornTime", nowMs(), "attemptId", unique("attempt"))
}

// litePopped are messages of one pop, as text, with what is needed to acknowledge them.
type litePopped struct {
	text            []string // lite topic, offset in it, body, times consumed
	acks            []map[string]string
	popMs, orderAll string
}

func (r *liteRun) poppedOf(t *testing.T, p *packet) (got litePopped) {
	t.Helper()
	if p.Code == resPollingTimeout {
		return got
	}
	require.EqualValues(t, resSuccess, p.Code, p.Remark)
	require.Equal(t, "999", p.Ext["reviveQid"])
	all, err := decodeRecords(p.Body)
	require.NoError(t, err)
	got.popMs, got.orderAll = p.Ext["popTime"], p.Ext["orderCountInfo"]
	counts := strings.Split(got.orderAll, ";")
	require.Len(t, counts, len(all), got.orderAll)
	for i, m := range all {
		require.Equal(t, r.parent, m.Topic)
		lite, offset := m.Props["__LITE_TOPIC"], m.Props["INNER_MULTI_QUEUE_OFFSET"]
		require.Equal(t, "%LMQ%$"+r.parent+"$"+lite, m.Props["INNER_MULTI_DISPATCH"])
		count := strings.Fields(counts[i])
		got.text = append(got.text, fmt.Sprint(lite, " ", offset, " ", string(m.Body), " ", count[len(count)-1]))
		receipt := fmt.Sprintf("0 %s %s %s 0 %s 0 %s", got.popMs, p.Ext["invisibleTime"], p.Ext["reviveQid"], r.tg.BrokerName, offset)
		got.acks = append(got.acks, ext("consumerGroup", r.group, "topic", r.parent, "queueId", 0, "extraInfo", receipt, "offset", offset,
			"liteTopic", lite))
	}
	return got
}

func (r *liteRun) pop(t *testing.T, invisible time.Duration) litePopped {
	t.Helper()
	return r.poppedOf(t, r.c.must(t, codePopLite, r.popFields(invisible, 0), nil))
}

// refused makes a call that has to get a code, with a remark that says so.
func (r *liteRun) refused(t *testing.T, want int, remark string, code int, fields map[string]string, body []byte) {
	t.Helper()
	res := r.c.must(t, code, fields, body)
	require.Equal(t, want, res.Code, "request %d: %s", code, res.Remark)
	require.Contains(t, res.Remark, remark, "request %d", code)
}

// popUntil pops until the messages come.
func (r *liteRun) popUntil(t *testing.T, invisible time.Duration, want ...string) (got litePopped) {
	t.Helper()
	eventually(t, popAgain, func() error {
		if got = r.pop(t, invisible); len(got.text) == 0 {
			return fmt.Errorf("nothing came")
		}
		return nil
	})
	require.Equal(t, want, got.text)
	return got
}

func (r *liteRun) ack(t *testing.T, acks ...map[string]string) {
	t.Helper()
	for _, fields := range acks {
		r.c.ok(t, codeAck, fields, nil)
	}
}

func TestLite(t *testing.T) {
	newIn(t, "5.5.0")
	tg := onOwn(t, append(lmqConf(), WithConf("liteEventCheckInterval", "500"))...)

	t.Run("delivers what a client subscribes to, in order", func(t *testing.T) {
		r := newLiteRun(t, tg)
		r.put(t, "early", "e-0")
		r.add(t, "a", "b", "early")
		require.Equal(t, []string{"early 0 e-0 0"}, r.popUntil(t, time.Minute, "early 0 e-0 0").text)
		r.put(t, "a", "a-0", "a-1")
		r.put(t, "other", "o-0")
		got := r.popUntil(t, time.Minute, "a 0 a-0 0", "a 1 a-1 0")
		r.put(t, "a", "a-2")
		require.Empty(t, r.pop(t, time.Minute).text, "blocked by what is in flight")
		r.ack(t, got.acks[1])
		require.Empty(t, r.pop(t, time.Minute).text, "blocked by what is in flight")
		r.ack(t, got.acks[0])
		got = r.popUntil(t, time.Minute, "a 2 a-2 0")
		r.ack(t, got.acks[0], got.acks[0])
		require.EqualValues(t, 3, num(t, r.c.ok(t, codeQueryConsumerOffset, offsetFields(r.group, "%LMQ%$"+r.parent+"$a", 0), nil), "offset"))
		require.Empty(t, r.pop(t, time.Minute).text)
	})

	t.Run("delivers again what is not acknowledged", func(t *testing.T) {
		r := newLiteRun(t, tg)
		r.add(t, "a")
		r.put(t, "a", "x", "y")
		got := r.popUntil(t, 2*time.Second, "a 0 x 0", "a 1 y 0")
		r.ack(t, got.acks[0])
		got = r.popUntil(t, time.Minute, "a 1 y 1")
		later := r.c.ok(t, codeChangeInvisible, with(got.acks[0], "invisibleTime", 500), nil)
		require.Equal(t, got.popMs, later.Ext["popTime"])
		got = r.popUntil(t, time.Minute, "a 1 y 2")
		r.c.ok(t, codeChangeInvisible, with(got.acks[0], "invisibleTime", 500, "suspend", true), nil)
		got = r.popUntil(t, time.Minute, "a 1 y 2")
		r.ack(t, got.acks...)
		require.Empty(t, r.pop(t, time.Minute).text)
	})

	t.Run("an attempt that comes again gets the same", func(t *testing.T) {
		r := newLiteRun(t, tg)
		r.add(t, "a")
		r.put(t, "a", "x")
		first := r.popFields(time.Minute, 0)
		eventually(t, popAgain, func() error {
			if got := r.poppedOf(t, r.c.must(t, codePopLite, first, nil)); len(got.text) == 0 {
				return fmt.Errorf("nothing came")
			}
			return nil
		})
		require.Empty(t, r.pop(t, time.Minute).text)
		r.put(t, "a", "y") // makes the topic ready again
		got := r.poppedOf(t, r.c.must(t, codePopLite, with(first, "bornTime", nowMs()), nil))
		require.Equal(t, []string{"a 0 x 0", "a 1 y 0"}, got.text)
	})

	t.Run("a parked pop wakes up", func(t *testing.T) {
		r := newLiteRun(t, tg)
		r.add(t, "a")
		answer, err := r.c.send(&packet{Code: codePopLite, Ext: r.popFields(time.Minute, 20_000)})
		require.NoError(t, err)
		other := &liteRun{tg: tg, c: connect(t, tg.Broker()), parent: r.parent}
		other.put(t, "a", "wakes")
		res, err := r.c.await(answer, 15*time.Second)
		require.NoError(t, err)
		require.Equal(t, []string{"a 0 wakes 0"}, r.poppedOf(t, res).text)
		began := time.Now()
		r.refused(t, resPollingTimeout, "NO_MESSAGE_IN_QUEUE", codePopLite, r.popFields(time.Minute, 1000), nil)
		require.Less(t, time.Since(began), 10*time.Second)
	})

	t.Run("subscriptions come and go", func(t *testing.T) {
		r := newLiteRun(t, tg)
		fields, body := r.subscribe(r.id, "COMPLETE_ADD", nil, "a", "b")
		r.c.ok(t, codeLiteSubscriptions, fields, body)
		fields, body = r.subscribe(r.id, "PARTIAL_REMOVE", nil, "a")
		r.c.ok(t, codeLiteSubscriptions, fields, body)
		r.put(t, "a", "a-0")
		r.put(t, "b", "b-0")
		r.ack(t, r.popUntil(t, time.Minute, "b 0 b-0 0").acks...)
		require.Empty(t, r.pop(t, time.Minute).text) // Apache's broker makes a topic ready with every ack, and keeps that
		fields, body = r.subscribe(r.id, "COMPLETE_ADD", nil, "c")
		r.c.ok(t, codeLiteSubscriptions, fields, body)
		r.put(t, "b", "b-1")
		r.put(t, "c", "c-0")
		r.ack(t, r.popUntil(t, time.Minute, "c 0 c-0 0").acks...)
		fields, body = r.subscribe(r.id, "COMPLETE_REMOVE", nil)
		r.c.ok(t, codeLiteSubscriptions, fields, body)
		r.put(t, "c", "c-1")
		require.Empty(t, r.pop(t, time.Minute).text)
	})

	t.Run("a subscription may say where to begin", func(t *testing.T) {
		r := newLiteRun(t, tg)
		for _, lite := range []string{"min", "max", "exact"} {
			r.put(t, lite, "0", "1", "2")
		}
		for lite, offset := range map[string]any{"min": map[string]any{"type": "POLICY", "value": 1}, "max": map[string]any{"type": "POLICY", "value": 2},
			"exact": map[string]any{"type": "OFFSET", "value": 2}} {
			fields, body := r.subscribe(r.id, "PARTIAL_ADD", offset, lite)
			r.c.ok(t, codeLiteSubscriptions, fields, body)
		}
		var all []string
		eventually(t, popAgain, func() error {
			all = append(all, r.pop(t, time.Minute).text...)
			if len(all) < 4 {
				return fmt.Errorf("%v came", all)
			}
			return nil
		})
		require.ElementsMatch(t, []string{"min 0 0 0", "min 1 1 0", "min 2 2 0", "exact 2 2 0"}, all)
		r.put(t, "max", "3")
		r.popUntil(t, time.Minute, "max 3 3 0")
	})

	t.Run("a group may take everything", func(t *testing.T) {
		r := newLiteRun(t, tg, "lite.sub.wildcard", "true")
		fields, body := r.subscribe(r.id, "PARTIAL_ADD", nil, "a")
		r.refused(t, resIllegalOperation, "not supported for this group", codeLiteSubscriptions, fields, body)
		fields, body = r.subscribe(r.id, "COMPLETE_ADD", nil)
		r.c.ok(t, codeLiteSubscriptions, fields, body)
		r.put(t, "any", "x")
		r.ack(t, r.popUntil(t, time.Minute, "any 0 x 0").acks...)
	})

	t.Run("a lite topic may belong to one client", func(t *testing.T) {
		r := newLiteRun(t, tg, "lite.sub.model", "Exclusive")
		r.add(t, "a")
		fields, body := r.subscribe(unique("other"), "PARTIAL_ADD", nil, "a")
		connect(t, tg.Broker()).ok(t, codeLiteSubscriptions, fields, body)
		told := receive(t, r.c.pushed)
		require.EqualValues(t, codeNotifyUnsubscribe, told.Code)
		require.Equal(t, map[string]string{"liteTopic": "a", "consumerGroup": r.group, "clientId": r.id}, told.Ext)
		r.put(t, "a", "x")
		require.Empty(t, r.pop(t, time.Minute).text)
	})

	t.Run("pulls and searches by time know lite topics", func(t *testing.T) {
		r := newLiteRun(t, tg)
		r.put(t, "a", "x", "y")
		res := r.c.ok(t, codePullMessage, with(pullFields(r.group, r.parent, 0, 1), "liteTopic", "a"), nil)
		require.Equal(t, []string{"y"}, bodies(pulled(t, res)))
		search := ext("topic", r.parent, "queueId", 0, "timestamp", nowMs()+100_000, "liteTopic", "a")
		require.EqualValues(t, 2, num(t, r.c.ok(t, codeSearchOffset, search, nil), "offset"))
		require.EqualValues(t, 0, num(t, r.c.ok(t, codeSearchOffset, with(search, "liteTopic", "none"), nil), "offset"))
	})
}

func TestLiteRefusals(t *testing.T) {
	newIn(t, "5.5.0")
	tg := onOwn(t, append(lmqConf(), WithConf("maxLiteSubscriptionCount", "3"))...)
	r := newLiteRun(t, tg)
	plain, plainGroup := newTopic(t, tg, 1), newGroup(t, tg)
	pop := r.popFields(time.Minute, 0)
	r.refused(t, resTopicNotExist, "not exist", codePopLite, with(pop, "topic", unique("none")), nil)
	r.refused(t, resInvalidParameter, "message type not match", codePopLite, with(pop, "topic", plain), nil)
	r.refused(t, resInvalidParameter, "bind topic not match", codePopLite, with(pop, "consumerGroup", plainGroup), nil)
	r.refused(t, resInvalidParameter, "greater than 32", codePopLite, with(pop, "maxMsgNum", 33), nil)
	r.refused(t, resPollingTimeout, "timeout too much", codePopLite, with(pop, "bornTime", nowMs()-10_000), nil)
	r.refused(t, resIllegalOperation, "Request body is null.", codeLiteSubscriptions, nil, nil)
	r.refused(t, resIllegalOperation, "is empty.", codeLiteSubscriptions, nil, []byte(`{"subscriptionSet":[]}`))

	r.put(t, "a", "x")
	ack := ext("consumerGroup", r.group, "topic", r.parent, "queueId", 0, "offset", 0, "liteTopic", "a",
		"extraInfo", fmt.Sprintf("0 %d 60000 999 0 %s 0 0", nowMs(), tg.BrokerName))
	r.refused(t, resNoMessage, "ack offset illegal.", codeAck, with(ack, "offset", 7), nil)
	r.refused(t, resInvalidParameter, "ack queue illegal.", codeAck, with(ack, "queueId", 1), nil)
	r.refused(t, resInvalidParameter, "bind topic not match", codeAck, with(ack, "consumerGroup", plainGroup), nil)

	for code, fields := range map[int]map[string]string{
		codeParentTopicInfo: ext("topic", plain), codeLiteTopicInfo: ext("parentTopic", plain, "liteTopic", "a"),
		codeLiteClientInfo: ext("parentTopic", plain, "group", r.group, "clientId", "c", "maxCount", 10),
	} {
		r.refused(t, resInvalidParameter, "type not match.", code, fields, nil)
	}
	r.refused(t, resTopicNotExist, "not exist.", codeParentTopicInfo, ext("topic", unique("none")), nil)
	r.refused(t, resInvalidParameter, "is not a LITE group.", codeLiteGroupInfo, ext("group", plainGroup, "topK", 5), nil)
	r.refused(t, resInvalidParameter, "is not a LITE group.", codeTriggerLite, ext("group", plainGroup), nil)

	odd := newGroup(t, tg)
	for _, bound := range []string{unique("none"), plain, "no name"} { // groups are not held against topics
		r.c.ok(t, codeCreateGroup, nil, mustJSON(map[string]any{"groupName": odd, "attributes": map[string]string{"+lite.bind.topic": bound}}))
		res := r.c.ok(t, codeLiteGroupInfo, ext("group", odd, "topK", 5), nil)
		require.Equal(t, remarkUnset, res.Remark)
		require.Contains(t, string(res.Body), fmt.Sprintf("%q:%q", "parentTopic", bound))
	}

	r.add(t, "a", "b", "c")
	fields, body := r.subscribe(r.id, "PARTIAL_ADD", nil, "d")
	r.refused(t, resLiteQuotaExceeded, "lite subscription quota exceeded 3", codeLiteSubscriptions, fields, body)
}

// TestLiteInfo asks what mqadmin asks.
func TestLiteInfo(t *testing.T) {
	newIn(t, "5.5.0")
	tg := onOwn(t, lmqConf()...)
	r := newLiteRun(t, tg)
	r.put(t, "a", "x", "y", "z")
	r.add(t, "a", "b")
	got := r.popUntil(t, time.Minute, "a 0 x 0", "a 1 y 0", "a 2 z 0")
	r.ack(t, got.acks[0])
	info := func(code int, fields map[string]string) map[string]any {
		var v map[string]any
		require.NoError(t, json.Unmarshal(r.c.ok(t, code, fields, nil).Body, &v))
		return v
	}

	broker := info(codeBrokerLiteInfo, nil)
	require.Equal(t, "default", broker["storeType"])
	require.EqualValues(t, 20000, broker["maxLmqNum"])
	require.EqualValues(t, 1, broker["currentLmqNum"])
	require.EqualValues(t, 2, broker["liteSubscriptionCount"])
	require.EqualValues(t, 1, broker["orderInfoCount"])
	require.EqualValues(t, 1, broker["eventMapSize"])
	require.Equal(t, map[string]any{r.parent: float64(-1)}, broker["topicMeta"])
	require.Equal(t, map[string]any{r.parent: []any{r.group}}, broker["groupMeta"])
	for _, key := range []string{"cqTableSize", "offsetTableSize"} {
		require.Positive(t, broker[key], key)
	}

	require.Equal(t, map[string]any{"topic": r.parent, "ttl": float64(-1), "groups": []any{r.group}, "lmqNum": float64(1), "liteTopicCount": float64(1)},
		info(codeParentTopicInfo, ext("topic", r.parent)))

	topic := info(codeLiteTopicInfo, ext("parentTopic", r.parent, "liteTopic", "a"))
	offset := topic["topicOffset"].(map[string]any)
	require.InDelta(t, nowMs(), offset["lastUpdateTimestamp"], 100_000)
	delete(offset, "lastUpdateTimestamp")
	require.Equal(t, map[string]any{"parentTopic": r.parent, "liteTopic": "a", "shardingToBroker": true,
		"topicOffset": map[string]any{"minOffset": 0.0, "maxOffset": 3.0}, "subscriber": []any{map[string]any{"clientId": r.id, "group": r.group}}}, topic)

	client := info(codeLiteClientInfo, ext("parentTopic", r.parent, "group", r.group, "clientId", r.id, "maxCount", 100))
	require.InDelta(t, nowMs(), client["lastAccessTime"], 100_000)
	require.EqualValues(t, 2, client["liteTopicCount"])
	require.ElementsMatch(t, []any{"%LMQ%$" + r.parent + "$a", "%LMQ%$" + r.parent + "$b"}, client["liteTopicSet"])
	gone := info(codeLiteClientInfo, ext("parentTopic", r.parent, "group", r.group, "clientId", "nobody", "maxCount", 100))
	require.EqualValues(t, -1, gone["liteTopicCount"])
	require.EqualValues(t, -1, gone["lastAccessTime"])

	group := info(codeLiteGroupInfo, ext("group", r.group, "topK", 5))
	require.EqualValues(t, 2, group["totalLagCount"])
	require.EqualValues(t, -1, group["earliestUnconsumedTimestamp"])
	require.Empty(t, group["lagTimestampTopK"])
	require.NotNil(t, group["lagTimestampTopK"])
	most := group["lagCountTopK"].([]any)
	require.Len(t, most, 1)
	require.Equal(t, "a", most[0].(map[string]any)["liteTopic"])
	require.EqualValues(t, 2, most[0].(map[string]any)["lagCount"])

	one := info(codeLiteGroupInfo, ext("group", r.group, "liteTopic", "a", "topK", 5))
	require.EqualValues(t, 2, one["totalLagCount"])
	wrapper := one["liteTopicOffsetWrapper"].(map[string]any)
	require.EqualValues(t, 3, wrapper["brokerOffset"])
	require.EqualValues(t, 1, wrapper["consumerOffset"])
	none := info(codeLiteGroupInfo, ext("group", r.group, "liteTopic", "none", "topK", 5))
	require.EqualValues(t, -1, none["totalLagCount"])

	r.c.ok(t, codeTriggerLite, ext("group", r.group), nil)
	r.c.ok(t, codeTriggerLite, ext("group", r.group, "clientId", r.id), nil)
	require.Empty(t, r.pop(t, time.Minute).text)

	r.c.ok(t, codeDeleteTopicInBroker, ext("topic", r.parent), nil)
	eventually(t, stopTimeout, func() error {
		if n := info(codeBrokerLiteInfo, nil)["currentLmqNum"].(float64); n != 0 {
			return fmt.Errorf("%s light message queues are left", strconv.Itoa(int(n)))
		}
		return nil
	})
}

// TestLiteKill kills the broker with messages of lite topics in flight. Subscriptions and what was in flight are gone with it, as with
// Apache's; once the client has subscribed again each topic goes on behind what was acknowledged.
func TestLiteKill(t *testing.T) {
	newIn(t, "5.5.0")
	tg := onOwn(t, lmqConf()...)
	r := newLiteRun(t, tg)
	r.add(t, "a", "b")
	r.put(t, "a", "a-0", "a-1", "a-2")
	r.ack(t, r.popUntil(t, time.Minute, "a 0 a-0 0", "a 1 a-1 0", "a 2 a-2 0").acks[:2]...)
	r.put(t, "b", "b-0")
	r.popUntil(t, time.Minute, "b 0 b-0 0")
	eventually(t, stopTimeout, func() error {
		b, err := os.ReadFile(filepath.Join(tg.StorePath(), "config", "lmqConsumerOffset.json"))
		if err == nil && !regexp.MustCompile(`\$a@`+r.group+`":\s*\{\s*0:2`).Match(b) {
			err = fmt.Errorf("not saved yet: %s", b)
		}
		return err
	})
	tg.KillBroker(t)
	tg.StartBroker(t)
	r.c = connect(t, tg.Broker())
	r.put(t, "a", "a-3")
	r.add(t, "a", "b")
	var all []string
	eventually(t, popAgain, func() error {
		got := r.pop(t, time.Minute)
		r.ack(t, got.acks...)
		for _, text := range got.text { // whether it was delivered before is forgotten
			all = append(all, strings.Join(strings.Fields(text)[:3], " "))
		}
		if len(all) < 3 {
			return fmt.Errorf("%q came", all)
		}
		return nil
	})
	slices.Sort(all)
	require.Equal(t, []string{"a 2 a-2", "a 3 a-3", "b 0 b-0"}, all)
	require.Empty(t, r.pop(t, time.Minute).text)
}
