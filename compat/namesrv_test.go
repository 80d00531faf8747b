package compat

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoute(t *testing.T) {
	t.Parallel()
	t.Run("dialects of the route", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 2)
		c := connect(t, tg.Namesrv())
		ask := func(version int, fields map[string]string) string {
			res, err := c.callPacket(&packet{Code: codeGetRoute, Language: "JAVA", Version: version, Ext: fields}, callTimeout)
			require.NoError(t, err)
			require.Equal(t, resSuccess, res.Code, res.Remark)
			return string(res.Body)
		}
		bare := fmt.Sprintf(`"brokerAddrs":{0:%q}`, tg.Broker())
		quoted := fmt.Sprintf(`"brokerAddrs":{"0":%q}`, tg.Broker())
		require.Contains(t, ask(goVersion, ext("topic", topic)), bare)
		require.Contains(t, ask(400, ext("topic", topic)), bare)
		require.Contains(t, ask(401, ext("topic", topic)), quoted)
		require.Contains(t, ask(493, ext("topic", topic)), quoted)
		require.Contains(t, ask(goVersion, ext("topic", topic, "acceptStandardJsonOnly", true)), quoted)
	})

	t.Run("unknown topic", func(t *testing.T) {
		tg := onShared(t)
		topic := unique("T")
		connect(t, tg.Namesrv()).refused(t, resTopicNotExist, "No topic route info in name server for the topic: "+topic, codeGetRoute, ext("topic", topic), nil)
	})

	t.Run("the cluster", func(t *testing.T) {
		tg := onShared(t)
		body := string(connect(t, tg.Namesrv()).ok(t, codeGetBrokerClusterInfo, nil, nil).Body)
		require.Contains(t, body, fmt.Sprintf(`"brokerAddrs":{0:%q}`, tg.Broker()))
		require.Contains(t, body, fmt.Sprintf(`%q:[%q]`, tg.ClusterName, tg.BrokerName))
	})

	t.Run("lists of topics", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Namesrv())
		require.Contains(t, topicList(t, c, codeAllTopicsFromNamesrv, nil), topic)
		require.Contains(t, topicList(t, c, codeTopicsByCluster, ext("cluster", tg.ClusterName)), topic)
		require.Empty(t, topicList(t, c, codeTopicsByCluster, ext("cluster", "nowhere")))
		for _, code := range []int{311, 312} {
			require.NotContains(t, topicList(t, c, code, nil), topic)
		}
		unit := unique("T")
		connect(t, tg.Broker()).ok(t, codeCreateTopic, with(topicFields(unit, 1), "topicSysFlag", 1), nil)
		awaitRoute(t, tg, unit)
		require.Contains(t, topicList(t, c, 311, nil), unit)
	})

	t.Run("configuration by key and value", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Namesrv())
		ns := unique("NS")
		pair := ext("namespace", ns, "key", "colour")
		c.refused(t, resQueryNotFound, "No config item, Namespace: "+ns+" Key: colour", codeGetKV, pair, nil)
		c.refused(t, resQueryNotFound, "No config item, Namespace: "+ns, codeKVList, ext("namespace", ns), nil)
		c.ok(t, codePutKV, with(pair, "value", "grün"), nil)
		require.Equal(t, "grün", c.ok(t, codeGetKV, pair, nil).Ext["value"])
		require.JSONEq(t, `{"table":{"colour":"grün"}}`, string(c.ok(t, codeKVList, ext("namespace", ns), nil).Body))
		c.ok(t, codeDeleteKV, pair, nil)
		c.refused(t, resQueryNotFound, "No config item, Namespace: "+ns+" Key: colour", codeGetKV, pair, nil)
	})

	t.Run("its own configuration", func(t *testing.T) {
		tg := onShared(t)
		c := connect(t, tg.Namesrv())
		body := string(c.ok(t, codeGetNamesrvConfig, nil, nil).Body)
		require.Contains(t, body, fmt.Sprintf("listenPort=%d", tg.ports.namesrv))
		c.ok(t, codeUpdateNamesrvConfig, nil, []byte("scanNotActiveBrokerInterval=5001\n"))
		require.Contains(t, string(c.ok(t, codeGetNamesrvConfig, nil, nil).Body), "scanNotActiveBrokerInterval=5001")
		c.refused(t, resNoPermission, "Can not update config in black list.", codeUpdateNamesrvConfig, nil, []byte("kvConfigPath=elsewhere\n"))
	})
}

func topicList(t testing.TB, c *client, code int, fields map[string]string) []string {
	t.Helper()
	var list struct{ TopicList []string }
	require.NoError(t, unmarshal(c.ok(t, code, fields, nil).Body, &list))
	return list.TopicList
}

// guest is a broker made of frames that registers in a cluster of its own.
type guest struct {
	name, cluster, addr string
	topic               string
	counter             int
}

func newGuest() *guest {
	return &guest{name: unique("guest"), cluster: unique("guests"), addr: "127.0.0.1:1", topic: unique("T")}
}

func (g *guest) dataVersion() map[string]any {
	return map[string]any{"counter": g.counter, "stateVersion": 0, "timestamp": startedMs}
}

func (g *guest) register(t testing.TB, c *client, timeoutMs int) *packet {
	t.Helper()
	config := func(name string) map[string]any {
		return map[string]any{"topicName": name, "readQueueNums": 2, "writeQueueNums": 2, "perm": 6, "order": false,
			"topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "attributes": map[string]string{}}
	}
	body := mustJSON(map[string]any{
		"filterServerList": []string{},
		"topicConfigSerializeWrapper": map[string]any{
			"dataVersion":      g.dataVersion(),
			"topicConfigTable": map[string]any{g.topic: config(g.topic), g.name: config(g.name)},
		},
	})
	fields := with(g.fields(), "haServerAddr", "127.0.0.1:2", "compressed", false, "bodyCrc32", 0)
	if timeoutMs > 0 {
		fields["heartbeatTimeoutMillis"] = fmt.Sprint(timeoutMs)
	}
	res, err := c.callPacket(&packet{Code: codeRegisterBroker, Language: "JAVA", Version: 493, Ext: fields, Body: body}, callTimeout)
	require.NoError(t, err)
	require.Equal(t, resSuccess, res.Code, res.Remark)
	return res
}

func (g *guest) fields() map[string]string {
	return ext("brokerName", g.name, "brokerAddr", g.addr, "clusterName", g.cluster, "brokerId", 0)
}

func routeGone(tg *Target, topic string) error {
	if _, err := routeOf(tg.Namesrv(), topic); err == nil {
		return errors.New("the route is still there")
	} else if !strings.Contains(err.Error(), "code 17") {
		return err
	}
	return nil
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	t.Run("a broker is in the route until it unregisters", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		c := connect(t, tg.Namesrv())
		g.register(t, c, 0)
		r, err := routeOf(tg.Namesrv(), g.topic)
		require.NoError(t, err)
		require.Equal(t, g.addr, r.BrokerDatas[0].BrokerAddrs["0"])
		require.Equal(t, g.cluster, r.BrokerDatas[0].Cluster)
		require.Contains(t, string(c.ok(t, 901, ext("clusterName", g.cluster, "brokerName", g.name), nil).Body), fmt.Sprintf(`{0:%q}`, g.addr))
		c.ok(t, 104, g.fields(), nil)
		eventually(t, 10*time.Second, func() error { return routeGone(tg, g.topic) })
	})

	t.Run("or until its connection ends", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		c := connect(t, tg.Namesrv())
		g.register(t, c, 0)
		_, err := routeOf(tg.Namesrv(), g.topic)
		require.NoError(t, err)
		c.close()
		eventually(t, 10*time.Second, func() error { return routeGone(tg, g.topic) })
	})

	t.Run("or until it is silent for longer than it said", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		g.register(t, connect(t, tg.Namesrv()), 1000)
		_, err := routeOf(tg.Namesrv(), g.topic)
		require.NoError(t, err)
		eventually(t, 30*time.Second, func() error { return routeGone(tg, g.topic) })
	})

	t.Run("its version tells whether it has to register again", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		c := connect(t, tg.Namesrv())
		ask := func() (string, string) {
			res := c.ok(t, 322, g.fields(), mustJSON(g.dataVersion()))
			return res.Ext["changed"], string(res.Body)
		}
		changed, body := ask()
		require.Equal(t, "true", changed)
		require.Empty(t, body)
		g.register(t, c, 0)
		changed, body = ask()
		require.Equal(t, "false", changed)
		require.JSONEq(t, string(mustJSON(g.dataVersion())), body)
		g.counter++
		changed, _ = ask()
		require.Equal(t, "true", changed)
		c.ok(t, 904, g.fields(), nil)
	})

	t.Run("a topic that a later registration lacks stays", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		c := connect(t, tg.Namesrv())
		g.register(t, c, 0)
		first := g.topic
		g.topic = unique("T")
		g.counter++
		g.register(t, c, 0)
		for _, topic := range []string{first, g.topic} {
			_, err := routeOf(tg.Namesrv(), topic)
			require.NoError(t, err)
		}
	})

	t.Run("write permission is taken and given back", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		c := connect(t, tg.Namesrv())
		g.register(t, c, 0)
		perm := func() int {
			r, err := routeOf(tg.Namesrv(), g.topic)
			require.NoError(t, err)
			return r.QueueDatas[0].Perm
		}
		require.Equal(t, "2", c.ok(t, codeWipeWritePerm, ext("brokerName", g.name), nil).Ext["wipeTopicCount"])
		require.Equal(t, 4, perm())
		require.Equal(t, "2", c.ok(t, codeAddWritePerm, ext("brokerName", g.name), nil).Ext["addTopicCount"])
		require.Equal(t, 6, perm())
	})

	t.Run("a damaged body is refused", func(t *testing.T) {
		tg := onShared(t)
		g := newGuest()
		c := connect(t, tg.Namesrv())
		c.refused(t, resSystemError, "crc32 not match", codeRegisterBroker, with(g.fields(), "bodyCrc32", 12345, "haServerAddr", "", "compressed", false), []byte(`{}`))
		require.NoError(t, routeGone(tg, g.topic))
	})
}
