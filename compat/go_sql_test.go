package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/stretchr/testify/require"
)

// Codes with which subscriptions are refused.
const (
	resSubscriptionParse = 23
	resSubscriptionOld   = 25
	resFilterDataGone    = 27
)

const filterSwitchedOff = "The broker does not support consumer to filter message by SQL92"

func startPushSQL(t testing.TB, tg *Target, group, topic, expression string, h handler) rocketmq.PushConsumer {
	t.Helper()
	c := pushConsumer(t, tg, group)
	require.NoError(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.SQL92, Expression: expression}, h))
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Shutdown() })
	return c
}

// sendPriced sends a message for each price, with the tag cheap below 10.
func sendPriced(t testing.TB, p rocketmq.Producer, topic string, prices ...int) {
	t.Helper()
	for _, price := range prices {
		m := message(topic, fmt.Sprint("price ", price))
		m.WithProperty("price", fmt.Sprint(price))
		if price < 10 {
			m.WithTag("cheap")
		}
		_, err := p.SendSync(context.Background(), m)
		require.NoError(t, err)
	}
}

func TestGoPushSQL(t *testing.T) {
	t.Parallel()
	t.Run("a group gets what its expression says, old messages and new ones at once", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		p := newProducer(t, tg)
		sendPriced(t, p, topic, 5, 15, 25, 8)
		var got inbox
		startPushSQL(t, tg, group, topic, "TAGS = 'cheap' AND price > 6 OR price BETWEEN 20 AND 30", got.consume)
		got.awaitBodies(t, 60*time.Second, []string{"price 25", "price 8"})
		sendPriced(t, p, topic, 1, 2, 21, 3)
		got.awaitBodies(t, 20*time.Second, []string{"price 25", "price 8", "price 21"})
		sendPriced(t, p, topic, 99, 7)
		got.awaitBodies(t, 20*time.Second, []string{"price 25", "price 8", "price 21", "price 7"})
		awaitCommitted(t, tg, group, topic, 0, 10)
	})

	t.Run("the expression of a group survives a restart of the broker", func(t *testing.T) {
		tg := onOwn(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		var got inbox
		startPushSQL(t, tg, group, topic, "price > 10", got.consume)
		p := newProducer(t, tg)
		sendPriced(t, p, topic, 5, 15)
		got.awaitBodies(t, 60*time.Second, []string{"price 15"})
		awaitCommitted(t, tg, group, topic, 0, 2)
		tg.StopBroker(t)
		data := readFilterData(t, tg, topic, group)
		require.Equal(t, "price > 10", data.Expression)
		require.Equal(t, "SQL92", data.ExpressionType)
		require.Equal(t, 112, data.BloomFilterData.BitNum)
		require.Len(t, data.BloomFilterData.BitPos, 3)
		tg.StartBroker(t)
		eventually(t, 60*time.Second, func() error {
			_, err := p.SendSync(context.Background(), message(topic, "free"))
			return err
		})
		sendPriced(t, p, topic, 6, 16)
		got.awaitDistinct(t, 90*time.Second, []string{"price 15", "price 16"})
		require.NotContains(t, got.bodies(), "price 6")
		require.NotContains(t, got.bodies(), "free")
	})
}

// filterData is an entry of consumerFilter.json.
type filterData struct {
	BloomFilterData struct {
		BitNum int
		BitPos []int
	}
	Expression, ExpressionType string
}

func readFilterData(t testing.TB, tg *Target, topic, group string) filterData {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tg.StorePath(), "config", "consumerFilter.json"))
	require.NoError(t, err)
	var file struct {
		FilterDataByTopic map[string]struct{ GroupFilterData map[string]filterData }
	}
	require.NoError(t, json.Unmarshal(text, &file))
	data, ok := file.FilterDataByTopic[topic].GroupFilterData[group]
	require.True(t, ok, "%s", text)
	return data
}

// checkBody is what a Java consumer asks about its subscription before it starts.
func checkBody(topic, expressionType, expression string) []byte {
	return mustJSON(map[string]any{"clientId": "c", "group": "G", "subscriptionData": map[string]any{
		"topic": topic, "subString": expression, "expressionType": expressionType, "subVersion": 1, "codeSet": []int{}, "tagsSet": []string{}}})
}

func sqlFields(group, topic, expression string) map[string]string {
	return with(pullFields(group, topic, 0, 0), "subscription", expression, "expressionType", "SQL92")
}

func TestSQLFilter(t *testing.T) {
	t.Parallel()
	t.Run("expressions that come with pulls", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		var all []string
		for i := range 6 {
			all = append(all, fmt.Sprint("m", i))
			put(t, c, topic, 0, all[i], props("a", fmt.Sprint(i), "text", "x"+fmt.Sprint(i)))
		}
		dispatched(t, c, topic, 0, 6)
		for expression, want := range map[string][]string{
			"a > 3":                                {"m4", "m5"},
			"a NOT BETWEEN 1 AND 4":                {"m0", "m5"},
			"text IN ('x1','x2') OR a = 5":         {"m1", "m2", "m5"},
			"none IS NULL AND NOT (a < 5)":         {"m5"},
			"text STARTSWITH 'x' AND a = 2":        {"m2"},
			"none = 1 OR text ENDSWITH '3'":        {"m3"},
			"a = 1 /* comment */ OR a = 2 -- end":  {"m1", "m2"},
			"a = = 1":                              all, // what is wrong passes all
			"a > 1.5 AND a < 3.5 AND text <> 'x3'": {"m2"},
		} {
			res := c.ok(t, codePullMessage, sqlFields(group, topic, expression), nil)
			require.Equal(t, want, bodies(pulled(t, res)), expression)
		}
		for _, expression := range []string{"text > 1", "none = 1", "a", "NULL", "none <> 1"} {
			res := c.refused(t, resPullRetry, "NO_MATCHED_MESSAGE", codePullMessage, sqlFields(group, topic, expression), nil)
			require.Equal(t, int64(6), num(t, res, "nextBeginOffset"), expression)
		}
		c.refused(t, resSubscriptionParse, "parse the consumer's subscription failed", codePullMessage, sqlFields(group, topic, ""), nil)
		unknown := c.ok(t, codePullMessage, with(sqlFields(group, topic, "a = 1"), "expressionType", "XPATH"), nil)
		require.Equal(t, all, bodies(pulled(t, unknown)))
	})

	t.Run("a waiting pull is woken by the message that passes", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c, producer := connect(t, tg.Broker()), connect(t, tg.Broker())
		answer, err := c.send(&packet{Code: codePullMessage, Ext: with(sqlFields(group, topic, "a = 1"), "sysFlag", 6, "suspendTimeoutMillis", 30_000)})
		require.NoError(t, err)
		put(t, producer, topic, 0, "first", props("a", "1"))
		res, err := c.await(answer, 20*time.Second)
		require.NoError(t, err)
		require.Equal(t, resSuccess, res.Code, res.Remark)
		require.Equal(t, []string{"first"}, bodies(pulled(t, res)))
	})

	t.Run("expressions of heartbeats, and what is said of wrong ones", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		put(t, c, topic, 0, "one", props("a", "1"))
		put(t, c, topic, 0, "two", props("a", "2"))
		dispatched(t, c, topic, 0, 2)
		beat := func(expression string, version int) {
			c.ok(t, codeHeartbeat, nil, heartbeat{clientID: "c1", consumerGroup: group, subs: []subscription{{
				Topic: topic, SubString: expression, SubVersion: int64(version), ExpressionType: "SQL92", TagsSet: []string{}, CodeSet: []int32{}}}}.body())
		}
		known := func(version int) map[string]string {
			return with(pullFields(group, topic, 0, 0), "sysFlag", 0, "subVersion", version, "expressionType", "SQL92")
		}
		beat("a = 2", 5)
		require.Equal(t, []string{"two"}, bodies(pulled(t, c.ok(t, codePullMessage, known(5), nil))))
		c.refused(t, resSubscriptionOld, "the consumer's subscription not latest", codePullMessage, known(6), nil)
		beat("a = 1", 6)
		require.Equal(t, []string{"one"}, bodies(pulled(t, c.ok(t, codePullMessage, known(6), nil))))
		beat("a = ", 7)
		c.refused(t, resFilterDataGone, "The broker's consumer filter data is not exist!Your expression may be wrong!", codePullMessage, known(7), nil)

		c.ok(t, codeCheckClientConfig, nil, checkBody(topic, "SQL92", "a = 1"))
		for _, wrong := range []string{"", "a = ", "a > 'x'", "a = 99999999999999999999", strings.Repeat("(", 10_000)} {
			res, err := c.call(codeCheckClientConfig, nil, checkBody(topic, "SQL92", wrong))
			require.NoError(t, err)
			require.Equal(t, resSubscriptionParse, res.Code, "%.50s: %s", wrong, res.Remark)
		}
	})

	t.Run("switched off", func(t *testing.T) {
		tg := onOwn(t, WithConf("enablePropertyFilter", "false"))
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		c := connect(t, tg.Broker())
		c.refused(t, resSystemError, filterSwitchedOff, codePullMessage, sqlFields(group, topic, "a = 1"), nil)
		c.refused(t, resSystemError, filterSwitchedOff, codeCheckClientConfig, nil, checkBody(topic, "SQL92", "a = 1"))
		c.ok(t, codeCheckClientConfig, nil, checkBody(topic, "TAG", "a"))
	})
}

func TestGoPushSQLOfManyQueues(t *testing.T) {
	t.Parallel()
	t.Run("two members of a group share what passes", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 4), newGroup(t, tg)
		p := newProducer(t, tg)
		var both inbox
		for range 2 {
			startPushSQL(t, tg, group, topic, "price > 50", both.consume)
		}
		awaitMembers(t, tg, group, 2)
		var want []string
		for price := range 100 {
			sendPriced(t, p, topic, price)
			if price > 50 {
				want = append(want, fmt.Sprint("price ", price))
			}
		}
		both.awaitDistinct(t, 60*time.Second, want)
		for _, body := range both.bodies() {
			require.True(t, slices.Contains(want, body), body)
		}
	})
}
