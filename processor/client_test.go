package processor

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// heartbeatOf sends a heartbeat with the given entries of consumers and producers on a connection.
func (b *rig) heartbeatOf(conn remoting.Conn, clientID string, version int32, consumers, producers string, more ...string) *answer {
	b.t.Helper()
	body := fmt.Sprintf(`{"clientID":%q,"consumerDataSet":[%s],"producerDataSet":[%s]%s}`, clientID, consumers, producers, strings.Join(more, ""))
	frame := codec.AppendFrame(nil, &codec.Command{Code: codec.HeartBeat, Version: version, Body: []byte(body)})
	for _, inline := range []bool{true, false} {
		req := b.requestOf(frame, inline)
		req.Conn = conn
		resp, err := b.Processor.heartbeat(req)
		if err != remoting.ErrHandOver {
			return b.finish(req, resp, err)
		}
	}
	return nil
}

// heartbeat has a client join a group that subscribes to a topic.
func (b *rig) heartbeat(conn remoting.Conn, clientID, group, topic, expression string, more ...string) *answer {
	b.t.Helper()
	return b.heartbeatOf(conn, clientID, codec.Version, consumerText(group, topic, expression, b.clock.Now()), "", more...)
}

func consumerText(group, topic, expression string, version time.Time) string {
	return fmt.Sprintf(`{"groupName":%q,"consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",`+
		`"subscriptionDataSet":[{"topic":%q,"subString":%q,"subVersion":%d,"expressionType":"TAG"}]}`, group, topic, expression, version.UnixMilli())
}

// pushed waits for a push of that code.
func (b *rig) pushed(conn *fakeConn, code int32) *answer {
	b.t.Helper()
	got := conn.next(b.t)
	require.Equal(b.t, code, got.Code)
	return got
}

// quiet checks that nothing is pushed once all tasks have run.
func (b *rig) quiet(conns ...*fakeConn) {
	b.t.Helper()
	b.pool.wait()
	for _, conn := range conns {
		conn.none(b.t)
	}
}

func TestHeartbeatsAsRecorded(t *testing.T) {
	t.Parallel()
	all := readRecordings(t).Requests
	b := newRig(t)
	for _, r := range of(all, "", codec.HeartBeat, codec.UnregisterClient) {
		requireAsRecorded(t, r, b.run(r.Request))
	}
	b = newRig(t)
	for _, scenario := range []string{"go-client/pull", "go-client/push-order"} {
		for _, r := range of(all, scenario, codec.HeartBeat, codec.GetConsumerListByGroup, codec.LockBatchMQ, codec.UnlockBatchMQ) {
			requireAsRecorded(t, r, b.run(r.Request))
		}
	}
	group := b.clients.ConsumerGroup([]byte("CG_gopull"))
	require.Equal(t, codec.ConsumeActively, group.Type)
	require.Nil(t, group.Subscription([]byte("FxGo")).Filter)
}

func TestHeartbeatCreatesGroupAndRetryTopic(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	got := b.heartbeatOf(b.conn, "c1", codec.Version, consumerText("G", "T", "A || B", b.clock.Now()), `{"groupName":"PG"}`)
	require.Equal(t, &answer{Fields: fields{"IS_SUPPORT_HEART_BEAT_V2": "true", "IS_SUB_CHANGE": "true"}}, got)
	_, ok := b.groups.Get("G")
	require.True(t, ok)
	retry, ok := b.topics.Get("%RETRY%G")
	require.True(t, ok)
	require.Equal(t, int32(1), retry.ReadQueueNums)
	require.False(t, retry.Order)
	sub := b.clients.ConsumerGroup([]byte("G")).Subscription([]byte("T"))
	require.True(t, sub.Filter.Match(codec.TagsCode([]byte("A"))), "hashes that the client left out")
	require.False(t, sub.Filter.Match(codec.TagsCode([]byte("C"))))
	require.Equal(t, remoting.Conn(b.conn), b.clients.ProducerConn("c1"))

	b.topicOf("O", 1, func(c *codec.TopicConfig) { c.Order = true })
	b.heartbeat(b.conn, "c1", "G", "O", "*")
	retry, _ = b.topics.Get("%RETRY%G")
	require.True(t, retry.Order, "an order topic is subscribed to")
}

func TestHeartbeatOfForbiddenGroups(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.group.AutoCreate = false })
	require.Equal(t, codec.Success, b.heartbeat(b.conn, "c1", "G", "T", "*").Code)
	require.Nil(t, b.clients.ConsumerGroup([]byte("G")), "the group may not be created")
	b.groupOf("G")
	b.set(func(s *Settings) { s.RejectPullConsumer = true })
	pull := strings.Replace(consumerText("G", "T", "*", b.clock.Now()), "CONSUME_PASSIVELY", "CONSUME_ACTIVELY", 1)
	require.Equal(t, codec.Success, b.heartbeatOf(b.conn, "c1", codec.Version, pull, "").Code)
	require.Nil(t, b.clients.ConsumerGroup([]byte("G")), "pull consumers are rejected")
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	require.NotNil(t, b.clients.ConsumerGroup([]byte("G")))
}

func TestHeartbeatRefuses(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	for _, body := range []string{"", "{", "null", "[]", `{"clientID":""}`, `{"clientID":5,"consumerDataSet":{}}`,
		`{"clientID":"c","producerDataSet":[{"groupName":""}]}`, `{"clientID":"c","producerDataSet":[{"groupName":"` + strings.Repeat("g", 256) + `"}]}`,
		`{"clientID":"` + strings.Repeat("c", 2000) + `","producerDataSet":[{"groupName":"g"}]}`} {
		require.Equal(t, codec.SystemError, b.request(codec.HeartBeat, nil, body).Code, "%.60s", body)
	}
	require.Equal(t, codec.Success, b.request(codec.HeartBeat, nil, `{"clientID":"c"}`).Code)
}

func TestMembersAreTold(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	other := newFakeConn("127.0.0.1:60803")
	want := parseAnswerFrame(t, of(readRecordings(t).Pushes, "", codec.NotifyConsumerIDsChanged)[0].Request)
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	push := b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	require.Equal(t, fields{"consumerGroup": "G"}, push.Fields)
	require.Equal(t, keysOf(want.Fields), keysOf(push.Fields))
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	b.quiet(b.conn)

	b.heartbeat(other, "c2", "G", "T", "*")
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	b.pushed(other, codec.NotifyConsumerIDsChanged)
	b.clock.move(time.Second)
	b.heartbeat(other, "c2", "G", "T", "A")
	b.quiet(b.conn, other) // a newer expression for the same topic is no change
	require.NotNil(t, b.clients.ConsumerGroup([]byte("G")).Subscription([]byte("T")).Filter)
	b.heartbeat(other, "c2", "G", "U", "*")
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	b.pushed(other, codec.NotifyConsumerIDsChanged)
	require.Nil(t, b.clients.ConsumerGroup([]byte("G")).Subscription([]byte("T")))

	b.ConnClosed(other)
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	b.quiet(b.conn, other)
	body, err := b.clients.IDList([]byte("G"))
	require.NoError(t, err)
	require.Equal(t, `{"consumerIdList":["c1"]}`, string(body))
	require.Equal(t, codec.Success, b.request(codec.UnregisterClient, fields{"clientID": "c1", "consumerGroup": "G"}, "").Code)
	require.Nil(t, b.clients.ConsumerGroup([]byte("G")))
	b.quiet(b.conn)
}

func TestMembersAreNotTold(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *rig){
		"broker": func(b *rig) { b.set(func(s *Settings) { s.NotifyConsumerIDs = false }) },
		"group": func(b *rig) {
			b.groupOf("G", func(c *codec.SubscriptionGroupConfig) { c.NotifyConsumerIDsChangedEnable = false })
		},
	} {
		b := newRig(t)
		change(b)
		b.heartbeat(b.conn, "c1", "G", "T", "*")
		b.quiet(b.conn)
		require.NotNil(t, b.clients.ConsumerGroup([]byte("G")), name)
	}
	b := newRig(t)
	text := strings.Replace(consumerText("G", "T", "*", b.clock.Now()), "CLUSTERING", "BROADCASTING", 1)
	b.heartbeatOf(b.conn, "c1", codec.Version, text, "")
	b.quiet(b.conn)
	require.Equal(t, codec.Broadcasting, b.clients.ConsumerGroup([]byte("G")).Model)
}

// A push that the pool had no room for is sent with the next tick.
func TestNotifierSurvivesAFullPool(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.pool.setFull(true)
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	b.quiet(b.conn)
	b.pool.setFull(false)
	b.TickClients(b.clock.Now())
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
}

func TestSilentClientsExpire(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	other := newFakeConn("127.0.0.1:60803")
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	b.heartbeatOf(other, "c2", codec.Version, consumerText("G", "T", "*", b.clock.Now())+","+consumerText("H", "T", "*", b.clock.Now()), `{"groupName":"PG"}`)
	b.pool.wait()
	for len(b.conn.sent) > 0 {
		b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	}
	b.TickClients(b.clock.move(119 * time.Second))
	b.heartbeat(b.conn, "c1", "G", "T", "*")
	b.heartbeat(other, "c2", "H", "T", "*")
	b.quiet(b.conn)
	b.TickClients(b.clock.move(2 * time.Second))
	require.Len(t, b.clients.Members("G"), 1)
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	require.Empty(t, b.clients.Producers("PG"))
	require.Nil(t, b.clients.ProducerConn("c2"))
	require.Len(t, b.clients.Members("H"), 1, "of one connection only what is silent goes")
	require.False(t, other.Closed())
	b.TickClients(b.clock.move(time.Hour))
	require.True(t, other.Closed())
	require.True(t, b.conn.Closed())
	require.Empty(t, b.clients.conns)
	require.Empty(t, b.clients.consumers)
	require.Zero(t, b.clients.memberships)
	require.Zero(t, b.clients.subscriptions)
}

func TestClientComesBackOnAnotherConnection(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	other := newFakeConn("127.0.0.1:60803")
	b.heartbeatOf(b.conn, "c1", codec.Version, consumerText("G", "T", "*", b.clock.Now()), `{"groupName":"PG"}`)
	b.pushed(b.conn, codec.NotifyConsumerIDsChanged)
	b.heartbeatOf(other, "c1", codec.Version, consumerText("G", "T", "*", b.clock.Now()), `{"groupName":"PG"}`)
	b.quiet(b.conn, other)
	require.Len(t, b.clients.Members("G"), 1)
	require.Equal(t, remoting.Conn(other), b.clients.ProducerConn("c1"))
	require.True(t, b.clients.ConsumerGroup([]byte("G")).HasMember(other))
	b.ConnClosed(b.conn)
	require.Len(t, b.clients.Members("G"), 1)
	require.Equal(t, remoting.Conn(other), b.clients.ProducerConn("c1"))
	require.Len(t, b.clients.Producers("PG"), 1)
	b.ConnClosed(other)
	require.Empty(t, b.clients.conns)
	require.Zero(t, b.clients.memberships)

	b.heartbeat(b.conn, "c1", "G", "T", "*")
	b.heartbeat(b.conn, "renamed", "G", "T", "*")
	member, ok := b.clients.Member("G", "renamed")
	require.True(t, ok)
	require.Equal(t, codec.Version, member.Version)
	_, ok = b.clients.Member("G", "c1")
	require.False(t, ok)
}

func TestSecondFormOfHeartbeats(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	beat := func(fingerprint int, withoutSub bool) string {
		text := consumerText("G", "T", "*", b.clock.Now())
		if withoutSub {
			text = `{"groupName":"G","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionDataSet":[]}`
		}
		got := b.heartbeatOf(b.conn, "c1", codec.Version, text, "", fmt.Sprintf(`,"heartbeatFingerprint":%d,"withoutSub":%t`, fingerprint, withoutSub))
		return got.Fields["IS_SUB_CHANGE"]
	}
	require.Equal(t, "true", beat(7, true), "nothing is known of the group")
	require.Equal(t, "false", beat(7, false))
	require.Equal(t, "false", beat(7, true))
	require.NotNil(t, b.clients.ConsumerGroup([]byte("G")).Subscription([]byte("T")))
	require.Equal(t, "true", beat(8, false))
	require.Equal(t, "false", beat(8, true))
	require.Equal(t, "true", beat(0, false))
}

// Two members that overwrite each other's subscription are named in the log, once.
func TestDifferentSubscriptionsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	log := &logLines{}
	b := newRig(t, func(s *setup) { s.opts.Logger = log.logger() })
	other := newFakeConn("127.0.0.1:60803")
	for range 5 {
		b.clock.move(time.Second)
		b.heartbeat(b.conn, "c1", "G", "T", "A")
		b.heartbeat(other, "c2", "G", "T", "B")
	}
	require.Equal(t, 1, log.count("members of one group subscribe differently"))
	same := &logLines{}
	b = newRig(t, func(s *setup) { s.opts.Logger = same.logger() })
	for i := range 5 { // one after the other changes its mind
		b.heartbeat(b.conn, "c1", "G", "T", strconv.Itoa(i))
		b.heartbeat(other, "c2", "G", "T", strconv.Itoa(i))
		b.clock.move(time.Second)
	}
	require.Zero(t, same.count("members of one group subscribe differently"))
}

func TestCheckClientConfig(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	require.Equal(t, codec.Success, b.request(codec.CheckClientConfig, nil, "").Code)
	require.Equal(t, codec.Success, b.request(codec.CheckClientConfig, nil, `{"subscriptionData":{"expressionType":"TAG","subString":"a"}}`).Code)
	require.Equal(t, codec.Success, b.request(codec.CheckClientConfig, nil, `{"subscriptionData":{"subString":"a"}}`).Code)
	got := b.request(codec.CheckClientConfig, nil, `{"subscriptionData":{"expressionType":"SQL92","subString":"a > 1"}}`)
	require.Equal(t, codec.SystemError, got.Code)
	require.Equal(t, "The broker does not support consumer to filter message by SQL92", got.Remark)
}

func TestClientTablesAreBounded(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	var err error
	for i := 0; i <= maxMembershipsConn && err == nil; i++ {
		err = b.clients.RegisterProducer(Client{Conn: b.conn, ID: "c1"}, "G"+strconv.Itoa(i), b.clock.Now())
	}
	require.ErrorIs(t, err, errTooManyClients)
	require.Equal(t, maxMembershipsConn, b.clients.memberships)
	many := &codec.ConsumerData{GroupName: "G", SubscriptionDataSet: make([]codec.SubscriptionData, maxSubscriptionsOne+1)}
	_, err = b.clients.RegisterConsumer(Client{Conn: newFakeConn("127.0.0.1:1"), ID: "c2"}, many, true, b.clock.Now())
	require.Error(t, err)
	b.ConnClosed(b.conn)
	require.Empty(t, b.clients.groups)
	require.Empty(t, b.clients.producers)
	require.Zero(t, b.clients.memberships)
}

// Clients come and go on many goroutines while others look; the race detector watches.
func TestClientsUnderConcurrency(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.groupOf("G")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			conn := newFakeConn("127.0.0.1:" + strconv.Itoa(1000+i))
			for range 50 {
				data := &codec.ConsumerData{GroupName: "G", SubscriptionDataSet: []codec.SubscriptionData{{Topic: "T" + strconv.Itoa(i)}}}
				_, err := b.clients.RegisterConsumer(Client{Conn: conn, ID: strconv.Itoa(i)}, data, true, b.clock.Now())
				require.NoError(t, err)
				require.NoError(t, b.clients.RegisterProducer(Client{Conn: conn, ID: strconv.Itoa(i)}, "PG", b.clock.Now()))
				if g := b.clients.ConsumerGroup([]byte("G")); g != nil {
					g.Subscription([]byte("T0"))
					g.HasMember(conn)
				}
				_, err = b.clients.IDList([]byte("G"))
				require.NoError(t, err)
				b.clients.Members("G")
				b.ConnClosed(conn)
			}
		})
	}
	wg.Wait()
	b.pool.wait()
	require.Empty(t, b.clients.conns)
	require.Zero(t, b.clients.memberships)
	require.Zero(t, b.clients.subscriptions)
}

// A group of ten thousand members costs little to join and to ask.
func BenchmarkConsumerListOfTenThousand(b *testing.B) {
	c := NewClients(discardLog())
	now := time.Unix(0, 0)
	for i := range 10_000 {
		_, err := c.RegisterConsumer(Client{Conn: newFakeConn("127.0.0.1:1"), ID: strconv.Itoa(i)}, &codec.ConsumerData{GroupName: "G"}, true, now)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if body, err := c.IDList([]byte("G")); err != nil || body == nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	r := newRig(b)
	body := fmt.Sprintf(`{"clientID":"c1","consumerDataSet":[%s],"producerDataSet":[{"groupName":"PG"}]}`, consumerText("G", "T", "A || B", r.clock.Now()))
	frame := frameOf(codec.HeartBeat, nil, body, 0)
	require.Equal(b, codec.Success, r.run(frame).Code)
	req := r.requestOf(frame, true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Processor.heartbeat(req); err != nil {
			b.Fatal(err)
		}
	}
}
