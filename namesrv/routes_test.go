package namesrv

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

type fakeConn struct {
	remoting.Conn
	_ int // not of size zero, so that each has an address of its own
}

func newTestRoutes() *routes {
	settings := new(atomic.Pointer[Settings])
	opts := DefaultOptions()
	settings.Store(&opts.Settings)
	return newRoutes(settings, func(string) string { return "" })
}

func testRegistration(name string, id int64, addr string) *registration {
	acting := false
	return &registration{cluster: "C", name: name, addr: addr, id: id, haAddr: "ha-" + addr, timeout: defaultHeartbeatTimeout,
		actingMaster: &acting, conn: &fakeConn{}}
}

func tableOf(version codec.DataVersion, topics ...string) *codec.RegisterBrokerBody {
	body := &codec.RegisterBrokerBody{}
	body.TopicConfigSerializeWrapper.DataVersion = version
	body.TopicConfigSerializeWrapper.TopicConfigTable = make(map[string]*codec.TopicConfig)
	for _, topic := range topics {
		body.TopicConfigSerializeWrapper.TopicConfigTable[topic] = codec.NewTopicConfig(topic)
	}
	return body
}

func (r *routes) mustRegister(t testing.TB, reg *registration, body *codec.RegisterBrokerBody, now time.Time) master {
	m, outcome := r.register(reg, body, now)
	require.NotEqual(t, refused, outcome)
	return m
}

func (r *routes) mustRoute(t testing.TB, topic string) *codec.TopicRouteData {
	body, ok, err := r.body([]byte(topic), variant{0, dialectBare}, true)
	require.True(t, ok)
	require.NoError(t, err)
	require.NotNil(t, body, topic)
	route := new(codec.TopicRouteData)
	require.NoError(t, codec.UnmarshalJSON(body, route))
	return route
}

func (r *routes) requireNoRoute(t testing.TB, topic string) {
	body, ok, err := r.body([]byte(topic), variant{0, dialectBare}, true)
	require.True(t, ok)
	require.NoError(t, err)
	require.Nil(t, body)
}

func version(counter int64) codec.DataVersion {
	return codec.DataVersion{Counter: counter, TimestampMs: 5}
}

func TestFirstRegistrationOfOneTopicIsRefused(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	reg := testRegistration("a", 0, "h:1")
	_, outcome := r.register(reg, tableOf(version(1), "T"), now)
	require.Equal(t, refused, outcome)
	r.requireNoRoute(t, "T")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, reg, tableOf(version(2), "V"), now)
	r.mustRoute(t, "V")
	r.mustRoute(t, "T")
	slave := testRegistration("a", 1, "h:2")
	_, outcome = r.register(slave, tableOf(version(1), "T"), now)
	require.Equal(t, refused, outcome)
}

func TestOnlyTheMasterBringsTopics(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	told := r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	require.Equal(t, master{}, told)
	told = r.mustRegister(t, testRegistration("a", 1, "h:2"), tableOf(version(1), "X", "Y"), now)
	require.Equal(t, master{"h:1", "ha-h:1"}, told)
	r.requireNoRoute(t, "X")
	require.Equal(t, map[int64]string{0: "h:1", 1: "h:2"}, r.mustRoute(t, "T").BrokerDatas[0].BrokerAddrs)

	lone := newTestRoutes()
	old := testRegistration("b", 3, "h:3")
	old.actingMaster = nil // a broker that does not know of acting masters
	lone.mustRegister(t, old, tableOf(version(1), "T", "U"), now)
	lone.requireNoRoute(t, "T")
	lone.mustRegister(t, testRegistration("b", 3, "h:3"), tableOf(version(1), "T", "U"), now)
	lone.mustRoute(t, "T")
}

func TestAddressStandsUnderOneID(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.mustRegister(t, testRegistration("a", 1, "h:1"), tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	require.Equal(t, map[int64]string{0: "h:1"}, r.mustRoute(t, "T").BrokerDatas[0].BrokerAddrs)
}

func TestConflictOfTwoMasters(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	newer := codec.DataVersion{StateVersion: 2}
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(newer, "T", "U"), now)
	r.mustRegister(t, testRegistration("a", 0, "h:2"), tableOf(codec.DataVersion{StateVersion: 1}, "X", "Y"), now)
	require.Equal(t, map[int64]string{0: "h:1"}, r.mustRoute(t, "T").BrokerDatas[0].BrokerAddrs)
	r.requireNoRoute(t, "X")
	_, alive := r.touch("C", "h:2", now)
	require.False(t, alive)
	r.mustRegister(t, testRegistration("a", 0, "h:3"), tableOf(newer, "T", "U"), now)
	require.Equal(t, map[int64]string{0: "h:3"}, r.mustRoute(t, "T").BrokerDatas[0].BrokerAddrs)
}

func TestSameVersionNeedsNoTopics(t *testing.T) {
	t.Parallel()
	r, c := newTestRoutes(), newClock()
	reg := testRegistration("a", 0, "h:1")
	_, ok := r.refresh(reg, version(1), c.now())
	require.False(t, ok, "not known yet")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), c.now())
	c.advance(100 * time.Second)
	again := testRegistration("a", 0, "h:1")
	again.haAddr = "ha2"
	_, ok = r.refresh(again, version(1), c.now())
	require.True(t, ok)
	c.advance(100 * time.Second)
	require.Empty(t, r.expire(c.now()))
	require.Empty(t, r.connClosed(reg.conn), "it has another connection now")
	require.Equal(t, master{"h:1", "ha2"}, r.mustRegister(t, testRegistration("a", 1, "h:2"), tableOf(version(1), "T", "U"), c.now()))

	for what, change := range map[string]func(*registration){
		"address": func(r *registration) { r.addr = "h:9" }, "id": func(r *registration) { r.id = 5 }, "name": func(r *registration) { r.name = "b" },
		"cluster": func(r *registration) { r.cluster = "D" }, "zone": func(r *registration) { r.zone = "z" },
		"acting master": func(r *registration) { acting := true; r.actingMaster = &acting },
	} {
		other := testRegistration("a", 0, "h:1")
		change(other)
		_, ok = r.refresh(other, version(1), c.now())
		require.False(t, ok, what)
	}
	_, ok = r.refresh(reg, version(2), c.now())
	require.False(t, ok, "other version")
}

// A registration that holds only the topics that changed must not make the server believe that it has the others.
func TestPartOfTheTopicsIsNotAll(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	reg := testRegistration("a", 0, "h:1")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, reg, tableOf(version(3), "V"), now) // version 2 with W got lost
	_, ok := r.refresh(reg, version(3), now)
	require.False(t, ok)
	r.mustRegister(t, reg, tableOf(version(3), "T", "U", "V", "W"), now)
	r.mustRoute(t, "W")
	_, ok = r.refresh(reg, version(3), now)
	require.True(t, ok)
}

func TestDeletedTopicComesBackWithItsBroker(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	reg := testRegistration("a", 0, "h:1")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	r.deleteTopic("T", "nowhere")
	r.mustRoute(t, "T")
	r.deleteTopic("T", "C")
	r.requireNoRoute(t, "T")
	_, ok := r.refresh(reg, version(1), now)
	require.False(t, ok)
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	r.mustRoute(t, "T")
	r.deleteTopic("T", "")
	r.requireNoRoute(t, "T")
}

func TestTopicsStayUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	reg := testRegistration("a", 0, "h:1")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, reg, tableOf(version(2), "U", "V"), now)
	r.mustRoute(t, "T")
	settings := *r.settings.Load()
	settings.DeleteTopicWithBrokerRegistration = true
	r.settings.Store(&settings)
	r.mustRegister(t, reg, tableOf(version(3), "U", "V"), now)
	r.requireNoRoute(t, "T")
}

func TestWritePermission(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	reg := testRegistration("a", 0, "h:1")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	perm := func() int32 { return r.mustRoute(t, "T").QueueDatas[0].Perm }
	require.Equal(t, int32(6), perm())
	require.Equal(t, int32(2), r.changePerm("a", func(p int32) int32 { return p &^ codec.PermWrite }))
	require.Equal(t, int32(4), perm())
	require.Zero(t, r.changePerm("b", func(p int32) int32 { return 0 }))
	r.mustRegister(t, reg, tableOf(version(1), "T", "U"), now)
	require.Equal(t, int32(4), perm(), "the same version changes nothing")
	r.mustRegister(t, reg, tableOf(version(2), "T", "U"), now)
	require.Equal(t, int32(6), perm())
}

func TestActingMaster(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	settings := *r.settings.Load()
	settings.SupportActingMaster = true
	r.settings.Store(&settings)
	acting := true
	leader, slave := testRegistration("a", 0, "h:1"), testRegistration("a", 2, "h:2")
	leader.actingMaster, slave.actingMaster = &acting, &acting
	topics := []string{"T", memberTopicPrefix + "a"}
	r.mustRegister(t, leader, tableOf(version(1), topics...), now)
	r.mustRegister(t, slave, tableOf(version(1), topics...), now)
	require.Equal(t, map[int64]string{0: "h:1", 2: "h:2"}, r.mustRoute(t, "T").BrokerDatas[0].BrokerAddrs)
	r.unregister("C", "h:1", "a")
	route := r.mustRoute(t, "T")
	require.Equal(t, map[int64]string{0: "h:2"}, route.BrokerDatas[0].BrokerAddrs)
	require.Equal(t, codec.PermRead, route.QueueDatas[0].Perm)
	require.Equal(t, map[int64]string{2: "h:2"}, r.mustRoute(t, memberTopicPrefix+"a").BrokerDatas[0].BrokerAddrs)
	r.mustRegister(t, slave, tableOf(version(2), "T", "U"), now)
	require.Equal(t, codec.PermRead, r.mustRoute(t, "U").QueueDatas[0].Perm)
}

func TestUnregister(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, testRegistration("a", 1, "h:2"), tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, testRegistration("b", 0, "h:3"), tableOf(version(1), "T", "V"), now)
	r.unregister("C", "h:9", "a")
	r.unregister("C", "h:9", "none")
	r.unregister("C", "h:1", "a")
	route := r.mustRoute(t, "T")
	require.Equal(t, map[int64]string{1: "h:2"}, route.BrokerDatas[0].BrokerAddrs)
	require.Equal(t, codec.PermRead|codec.PermWrite, route.QueueDatas[0].Perm)
	r.unregister("C", "h:2", "a")
	require.Len(t, r.mustRoute(t, "T").BrokerDatas, 1)
	r.requireNoRoute(t, "U")
	require.Equal(t, map[string][]string{"C": {"b"}}, r.clusterInfo("").ClusterAddrTable)
	r.unregister("C", "h:3", "b")
	require.Empty(t, r.topics)
	require.Empty(t, r.clusters)
	require.Empty(t, r.brokers)
	require.Empty(t, r.lives)
}

func TestExpire(t *testing.T) {
	t.Parallel()
	r, c := newTestRoutes(), newClock()
	short := testRegistration("a", 0, "h:1")
	short.timeout = 10 * time.Second
	r.mustRegister(t, short, tableOf(version(1), "T", "U"), c.now())
	r.mustRegister(t, testRegistration("b", 0, "h:2"), tableOf(version(1), "T", "V"), c.now())
	c.advance(10 * time.Second)
	require.Empty(t, r.expire(c.now()))
	c.advance(time.Millisecond)
	expired := r.expire(c.now())
	require.Len(t, expired, 1)
	require.Equal(t, gone{brokerAddr{"C", "h:1"}, "a", 0, short.conn}, expired[0])
	r.requireNoRoute(t, "U")
	c.advance(110 * time.Second)
	require.Len(t, r.expire(c.now()), 1)
	r.requireNoRoute(t, "T")
}

func TestRegisterTopic(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	queue := func(broker string, perm int32) codec.QueueData {
		return codec.QueueData{BrokerName: broker, Perm: perm}
	}
	r.registerTopic("N", []codec.QueueData{queue("a", 6), queue("none", 6)})
	r.requireNoRoute(t, "N")
	r.registerTopic("N", []codec.QueueData{queue("a", 6)})
	require.Equal(t, int32(6), r.mustRoute(t, "N").QueueDatas[0].Perm)
	r.registerTopic("N", []codec.QueueData{queue("a", 2), queue("none", 6)})
	require.Equal(t, int32(2), r.mustRoute(t, "N").QueueDatas[0].Perm)
	r.registerTopic("M", nil)
	r.requireNoRoute(t, "M")
}

func TestStaticTopics(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	body := tableOf(version(1), "T", "U")
	body.TopicConfigSerializeWrapper.TopicQueueMappingInfoMap = map[string]*codec.TopicQueueMappingInfo{
		"T": {Bname: "a", CurrIDMap: map[int32]int32{0: 3}, Topic: "T", TotalQueues: 1}}
	r.mustRegister(t, testRegistration("a", 0, "h:1"), body, now)
	require.Equal(t, map[int32]int32{0: 3}, r.mustRoute(t, "T").TopicQueueMappingByBroker["a"].CurrIDMap)
	r.unregister("C", "h:1", "a")
	require.Empty(t, r.mappings)
}

func TestFilterServers(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	body := tableOf(version(1), "T", "U")
	body.FilterServerList = []string{"f:1"}
	r.mustRegister(t, testRegistration("a", 0, "h:1"), body, now)
	require.Equal(t, map[string][]string{"h:1": {"f:1"}}, r.mustRoute(t, "T").FilterServerTable)
	body.FilterServerList = []string{}
	r.mustRegister(t, testRegistration("a", 0, "h:1"), body, now)
	require.Empty(t, r.mustRoute(t, "T").FilterServerTable)
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	a := answers{bodies: make(map[string]routeBodies)}
	body := make([]byte, 1<<20)
	for i := range 3 * maxAnswerBytes >> 20 {
		v := variant{i % 3, i % 2}
		a.put(fmt.Sprint(i), v, body)
		require.LessOrEqual(t, a.bytes, maxAnswerBytes)
		require.NotNil(t, a.get([]byte(fmt.Sprint(i)), v))
	}
	a.put("x", variant{}, body)
	before := a.bytes
	a.put("x", variant{}, body[:5])
	require.Equal(t, before-len(body)+5, a.bytes)
	a.forget("x")
	require.Equal(t, before-len(body), a.bytes)
	a.reset()
	require.Zero(t, a.bytes)
}

// While topics come and go, whoever asks after a change must see it.
func TestAnswersAreNeverOld(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	reg := testRegistration("a", 0, "h:1")
	r.mustRegister(t, reg, tableOf(version(0), "T", "U"), now)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, _, _ = r.body([]byte("T"), variant{0, dialectBare}, false)
					runtime.Gosched()
				}
			}
		})
	}
	for i := range int64(60) {
		body := tableOf(version(i+1), "T", "U")
		body.TopicConfigSerializeWrapper.TopicConfigTable["T"].ReadQueueNums = int32(i)
		r.mustRegister(t, reg, body, now)
		text, _, err := r.body([]byte("T"), variant{0, dialectBare}, true)
		require.NoError(t, err)
		require.True(t, strings.Contains(string(text), fmt.Sprintf(`"readQueueNums":%d,`, i)))
	}
	close(done)
	readers.Wait()
}

func bigTable(topics int) *codec.RegisterBrokerBody {
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprintf("Topic-%05d", i)
	}
	return tableOf(version(1), names...)
}

func BenchmarkRoute(b *testing.B) {
	r := newTestRoutes()
	r.mustRegister(b, testRegistration("a", 0, "h:1"), bigTable(10000), newClock().now())
	topics := make([][]byte, 10000)
	for i := range topics {
		topics[i] = fmt.Appendf(nil, "Topic-%05d", i)
	}
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, _, _ = r.body(topics[i%10000], variant{0, dialectStandard}, false)
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.answers.forget("Topic-00000")
			_, _, _ = r.body(topics[0], variant{0, dialectStandard}, false)
		}
	})
}

func BenchmarkRegister10000Topics(b *testing.B) {
	body := bigTable(10000)
	data, err := codec.EncodeRegisterBrokerBody(body, false, codec.Version)
	require.NoError(b, err)
	now := newClock().now()
	reg := testRegistration("a", 0, "h:1")
	b.Run("same version", func(b *testing.B) {
		r := newTestRoutes()
		r.mustRegister(b, reg, body, now)
		b.ReportAllocs()
		for b.Loop() {
			v, ok := codec.PeekRegisterBrokerBody(data, false)
			_, known := r.refresh(reg, v, now)
			require.True(b, ok && known)
		}
	})
	b.Run("new version", func(b *testing.B) {
		r := newTestRoutes()
		b.ReportAllocs()
		for i := int64(2); b.Loop(); i++ {
			decoded, err := codec.DecodeRegisterBrokerBody(data, false, codec.Version)
			require.NoError(b, err)
			decoded.TopicConfigSerializeWrapper.DataVersion.Counter = i
			r.mustRegister(b, reg, decoded, now)
		}
	})
}
