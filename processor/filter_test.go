package processor

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// heartbeatSQL has a client join a group that subscribes to a topic by an expression.
func (b *rig) heartbeatSQL(group, topic, expression string, version int64) {
	b.t.Helper()
	text := fmt.Sprintf(`{"groupName":%q,"consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",`+
		`"subscriptionDataSet":[{"topic":%q,"subString":%q,"subVersion":%d,"expressionType":"SQL92"}]}`, group, topic, expression, version)
	require.Equal(b.t, codec.Success, b.heartbeatOf(b.conn, "c1", codec.Version, text, "").Code)
}

// putWith stores a message with a property and waits until it is visible.
func (b *rig) putWith(topic, key, value, body string) {
	b.t.Helper()
	m := store.Message{Topic: topic, BornHost: testHost, Body: []byte(body), Properties: codec.AppendProperty(nil, key, value)}
	var r store.PutResult
	require.NoError(b.t, b.store.PutWait(&m, &r))
	b.announced(&r)
}

func withPropertyFilter(s *setup) { s.opts.Settings.PropertyFilter = true }

// sqlPull is the header of a pull that brings an expression along.
func sqlPull(expression string, more fields) fields {
	return pullFields("G", "T", fields{"subscription": expression, "expressionType": "SQL92"}.with(more))
}

func TestPullBySQLOfTheHeartbeat(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	b.topicOf("T", 4)
	for i := range 6 {
		b.putWith("T", "a", strconv.Itoa(i), "body"+strconv.Itoa(i))
	}
	pull := func(version int) *answer {
		return b.request(codec.PullMessage, pullFields("G", "T", fields{"sysFlag": "0", "subVersion": strconv.Itoa(version)}), "")
	}
	b.heartbeatSQL("G", "T", "a >= 2 AND a < 4", 5)
	for _, version := range []int{0, 5} {
		got := pull(version)
		require.Equal(t, codec.Success, got.Code, got.Remark)
		require.Equal(t, []string{"body2", "body3"}, bodiesOf(t, got.Body))
		require.Equal(t, pulled(6, 0, 6), got.Fields)
	}
	require.Equal(t, codec.SubscriptionNotLatest, pull(6).Code)

	body := string(b.request(codec.QueryConsumeQueue, fields{"topic": "T", "queueId": "0", "index": "0", "count": "1", "consumerGroup": "G"}, "").Body)
	require.Contains(t, body, `\"dead\":false`)
	require.Contains(t, body, `\"expression\":\"a >= 2 AND a < 4\"`)

	b.heartbeatSQL("G", "T", "a = 1", 6)
	require.Equal(t, []string{"body1"}, bodiesOf(t, pull(6).Body))
	b.heartbeatSQL("G", "T", "a = 9", 7)
	got := pull(7)
	require.Equal(t, codec.PullRetryImmediately, got.Code)
	require.Equal(t, "NO_MATCHED_MESSAGE", got.Remark)
	require.Equal(t, pulled(6, 0, 6), got.Fields)

	b.heartbeatSQL("G", "T", "a = = 1", 8)
	got = pull(8)
	require.Equal(t, codec.FilterDataNotExist, got.Code)
	require.Equal(t, "The broker's consumer filter data is not exist!Your expression may be wrong!", got.Remark)
	require.Equal(t, fields{}, got.Fields)

	// The subscription is newer than what the expression's data are of.
	b.heartbeatSQL("G", "T", "a = 1", 9)
	b.subscribe("G", "T", "*", func(_ *ConsumerGroup, s *Subscription) { s.Data.ExpressionType, s.Data.SubVersion = "SQL92", 10 })
	got = pull(10)
	require.Equal(t, codec.FilterDataNotLatest, got.Code)
	require.Equal(t, "the consumer's consumer filter data not latest", got.Remark)
	b.set(func(s *Settings) { s.PropertyFilter = false })
	require.Equal(t, codec.FilterDataNotLatest, pull(10).Code, "Java looks at the data first")
	got = pull(9)
	require.Equal(t, codec.SystemError, got.Code)
	require.Equal(t, "The broker does not support consumer to filter message by SQL92", got.Remark)
}

func TestPullBySQLOfTheRequest(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	b.topicOf("T", 4)
	all := []string{"body0", "body1", "body2"}
	for i, body := range all {
		b.putWith("T", "a", strconv.Itoa(i), body)
	}
	for range 2 { // the second time from the cache
		got := b.request(codec.PullMessage, sqlPull("a <> 1", nil), "")
		require.Equal(t, []string{"body0", "body2"}, bodiesOf(t, got.Body))
		got = b.request(codec.PullMessage, sqlPull("a = =", nil), "")
		require.Equal(t, all, bodiesOf(t, got.Body), "a wrong expression passes all")
	}
	got := b.request(codec.PullMessage, sqlPull("a = 1", fields{"expressionType": "OTHER"}), "")
	require.Equal(t, all, bodiesOf(t, got.Body), "an unknown type passes all")
	got = b.request(codec.PullMessage, sqlPull("", nil), "")
	require.Equal(t, codec.SubscriptionParseFailed, got.Code)

	long := "a = 1 OR " + strings.Repeat(" ", maxInlineExpression) + "a = 2"
	frame := frameOf(codec.PullMessage, sqlPull(long, nil), "", 0)
	_, err := b.pull(b.requestOf(frame, true))
	require.ErrorIs(t, err, remoting.ErrHandOver)
	require.Equal(t, all[1:], bodiesOf(t, b.run(frame).Body))
	_, err = b.pull(b.requestOf(frame, true))
	require.NoError(t, err, "compiled by now")
	got = b.request(codec.PullMessage, sqlPull(long+strings.Repeat(" ", store.MaxFilterExpressionBytes), nil), "")
	require.Equal(t, codec.SubscriptionParseFailed, got.Code)
}

// TestHoldBySQL: a parked pull with an expression is woken by the first message that passes, whatever came before.
func TestHoldBySQL(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	b.topicOf("T", 4)
	b.parks(sqlPull("a = 1", fields{"sysFlag": "6"}))
	b.heartbeatSQL("H", "T", "a = 2", 1)
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	b.parks(pullFields("H", "T", fields{"sysFlag": "2"}))
	for range 3 {
		b.putWith("T", "a", "0", "other")
	}
	b.quiet(b.conn)
	require.Equal(t, int64(2), b.ParkedPulls())
	b.putWith("T", "a", "1", "mine")
	got := b.conn.next(t)
	require.Equal(t, []string{"mine"}, bodiesOf(t, got.Body))
	require.Equal(t, pulled(4, 0, 4), got.Fields)
	b.quiet(b.conn)
	require.Equal(t, int64(1), b.ParkedPulls())
	b.putWith("T", "a", "2", "yours")
	require.Equal(t, []string{"yours"}, bodiesOf(t, b.conn.next(t).Body))
	b.requireEmpty()
}

// TestHoldBySQLTellsHowFarItLooked: messages that do not pass move the client on, as Java's scan of parked pulls does.
func TestHoldBySQLTellsHowFarItLooked(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	b.topicOf("T", 4)
	b.parks(sqlPull("a = 1", fields{"sysFlag": "6"}))
	b.putWith("T", "a", "0", "other")
	b.quiet(b.conn)
	b.TickHold(b.clock.move(skippedTime))
	got := b.conn.next(t)
	require.Equal(t, codec.PullRetryImmediately, got.Code)
	require.Equal(t, pulled(1, 0, 1), got.Fields)
	b.requireEmpty()
}

// TestHoldBySQLThatIsSwitchedOff: a pull that waits when the setting changes hears of it.
func TestHoldBySQLThatIsSwitchedOff(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	b.topicOf("T", 4)
	b.parks(sqlPull("a = 1", fields{"sysFlag": "6"}))
	b.set(func(s *Settings) { s.PropertyFilter = false })
	b.putWith("T", "a", "1", "mine")
	require.Equal(t, codec.SystemError, b.conn.next(t).Code)
	b.requireEmpty()
}

func TestCheckClientConfigOfExpressions(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	check := func(expressionType, expression string) *answer {
		return b.request(codec.CheckClientConfig, nil, fmt.Sprintf(`{"subscriptionData":{"expressionType":%q,"subString":%q}}`, expressionType, expression))
	}
	require.Equal(t, codec.Success, check("SQL92", "a > 1 and TAGS is not null").Code)
	require.Equal(t, codec.Success, check("TAG", "a = =").Code)
	for _, bad := range []string{"", "a >", "a = 'x", strings.Repeat("(", 10_000), strings.Repeat("a", 2*store.MaxFilterExpressionBytes)} {
		got := check("SQL92", bad)
		require.Equal(t, codec.SubscriptionParseFailed, got.Code)
		require.NotEmpty(t, got.Remark)
		require.Less(t, len(got.Remark), 200)
	}
	require.Equal(t, codec.SubscriptionParseFailed, check("OTHER", "a").Code)
}

// TestFilterDataDiesWithItsGroup: the data of a group are dead when the last member leaves, and alive again when one comes back.
func TestFilterDataDiesWithItsGroup(t *testing.T) {
	t.Parallel()
	b := newRig(t, withPropertyFilter)
	dead := func() bool { return b.opts.Filters.Get([]byte("G"), []byte("T")).DeadMs != 0 }
	leave := []func(){
		func() { b.clients.UnregisterConsumer(b.conn, "G") },
		func() { b.ConnClosed(b.conn) },
		func() { b.TickClients(b.clock.move(time.Hour)) },
	}
	for _, f := range leave {
		b.heartbeatSQL("G", "T", "a = 1", 1)
		require.False(t, dead())
		f()
		require.True(t, dead())
	}
	b.heartbeatSQL("G", "T", "a = 1", 1)
	b.heartbeatSQL("G", "Other", "a = 1", 1)
	require.True(t, dead(), "no longer subscribed")
}

func TestFilterCachesAreBounded(t *testing.T) {
	t.Parallel()
	var cache filterCache
	h := codec.PullHeader{Topic: []byte("T")}
	for i := range maxCachedFilters + 10 {
		h.Subscription = []byte("tag" + strconv.Itoa(i))
		filter, err := cache.tagsOf(&h)
		require.NoError(t, err)
		require.True(t, filter.Match(codec.TagsCode(h.Subscription)))
		require.LessOrEqual(t, len(cache.tags.filters), maxCachedFilters)
	}
	for i := range 300 {
		expression := []byte(fmt.Sprint("a = ", i, strings.Repeat(" ", 50_000)))
		filter, err := cache.sqlOf(expression, false)
		require.NoError(t, err)
		require.True(t, filter.Match(codec.AppendProperty(nil, "a", strconv.Itoa(i))))
		require.LessOrEqual(t, cache.sql.text, maxCachedText)
	}
}
