package broker

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// staticNamesrv is a name server that knows masters and their static topics.
type staticNamesrv struct {
	mu    sync.Mutex
	addrs map[string]string
	infos map[string]map[string]*codec.TopicQueueMappingInfo // by broker and topic
}

func openStaticNamesrv(t *testing.T) (n *staticNamesrv, addr string) {
	n = &staticNamesrv{addrs: map[string]string{}, infos: map[string]map[string]*codec.TopicQueueMappingInfo{}}
	opts := remoting.DefaultOptions()
	opts.Addrs = []string{"127.0.0.1:0"}
	var entries []remoting.Entry
	for _, code := range []int32{codec.RegisterBroker, codec.UnregisterBroker, codec.QueryDataVersion, codec.RegisterTopicInNamesrv,
		codec.GetBrokerClusterInfo, codec.GetRouteInfoByTopic} {
		entries = append(entries, remoting.Entry{Code: code, Pool: remoting.PoolAdmin, Handler: n.handle})
	}
	opts.Table = func(int) *remoting.Table { return remoting.NewTable(entries) }
	server, err := remoting.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), registerPatience)
		defer cancel()
		_ = server.Close(ctx)
	})
	return n, server.Addrs()[0].String()
}

func (n *staticNamesrv) handle(req *remoting.Request) (*codec.Command, error) {
	field := func(key string) string { v, _ := req.Field(key); return string(v) }
	resp := req.Response(codec.Success)
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	switch req.Code {
	case codec.RegisterBroker:
		body, err := codec.DecodeRegisterBrokerBody(req.Body, field("compressed") == "true", req.Version)
		if err != nil {
			return nil, err
		}
		n.addrs[field("brokerName")] = field("brokerAddr")
		n.infos[field("brokerName")] = body.TopicConfigSerializeWrapper.TopicQueueMappingInfoMap
	case codec.QueryDataVersion:
		resp.Header = &codec.QueryDataVersionResponse{Changed: true}
	case codec.GetBrokerClusterInfo:
		info := codec.ClusterInfo{BrokerAddrTable: map[string]codec.BrokerData{}}
		for name, addr := range n.addrs {
			info.BrokerAddrTable[name] = codec.BrokerData{BrokerName: name, BrokerAddrs: map[int64]string{0: addr}}
		}
		resp.Body, err = codec.MarshalJSON(info)
	case codec.GetRouteInfoByTopic:
		route := codec.TopicRouteData{TopicQueueMappingByBroker: map[string]*codec.TopicQueueMappingInfo{}}
		for name, infos := range n.infos {
			if info := infos[field("topic")]; info != nil {
				route.TopicQueueMappingByBroker[name] = info
			}
		}
		resp.Body, err = codec.MarshalJSON(route)
	}
	return resp, err
}

// knows reports whether a broker has registered that epoch of a static topic.
func (n *staticNamesrv) knows(broker, topic string, epoch int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	info := n.infos[broker][topic]
	return info != nil && info.Epoch == epoch
}

// setStatic has a broker take a mapping as mqadmin does.
func setStatic(t *testing.T, b *Broker, d *codec.TopicQueueMappingDetail) {
	t.Helper()
	body, err := codec.MarshalJSON(d)
	require.NoError(t, err)
	client := remoting.NewClient(remoting.DefaultClientOptions())
	defer client.Close()
	command := &codec.Command{Code: codec.UpdateAndCreateStaticTopic, Language: codec.LanguageGo, Version: codec.Version, Body: body}
	for _, kv := range [][2]string{{"topic", d.Topic}, {"defaultTopic", "TBW102"}, {"readQueueNums", "2"}, {"writeQueueNums", "2"}, {"perm", "6"},
		{"topicFilterType", "SINGLE_TAG"}, {"topicSysFlag", "0"}, {"order", "false"}, {"force", "false"}} {
		command.Extra = append(command.Extra, codec.Field{Key: kv[0], Value: kv[1]})
	}
	answer, err := client.Call(context.Background(), b.Addr.String(), command)
	require.NoError(t, err)
	require.Equal(t, codec.Success, answer.Code, answer.Remark)
}

// TestMappingsAreCleanedBetweenBrokers: a static topic was moved over three brokers. Of the leader's table the stretches go that hold nothing,
// of the first broker's all queues, since two others have led them since. They ask each other over the wire.
func TestMappingsAreCleanedBetweenBrokers(t *testing.T) {
	t.Parallel()
	names, addr := openStaticNamesrv(t)
	brokers := map[string]*Broker{}
	for _, name := range []string{"a", "b", "c"} {
		cfg := testConfig(t, t.TempDir())
		cfg.Name, cfg.NamesrvAddrs = name, addr
		brokers[name] = openBroker(t, cfg)
		t.Cleanup(func() { closeBroker(t, brokers[name]) })
	}
	set := func(broker string, epoch int64, over ...string) {
		hosted := map[int32][]codec.LogicQueueMappingItem{}
		for id := range int32(2) {
			for gen, name := range over {
				hosted[id] = append(hosted[id], codec.LogicQueueMappingItem{Gen: int32(gen), QueueID: id, Bname: name, LogicOffset: int64(gen) * 1000,
					EndOffset: 1, TimeOfStart: -1, TimeOfEnd: -1})
			}
			hosted[id][len(over)-1].EndOffset = -1
		}
		setStatic(t, brokers[broker], &codec.TopicQueueMappingDetail{Topic: "ST", Bname: broker, Scope: "__global__", Epoch: epoch, TotalQueues: 2,
			HostedQueues: hosted})
	}
	set("a", 1, "a")
	require.Equal(t, codec.Success, send(t, brokers["a"], "ST", "kept in queue 0").Code)
	set("a", 2, "a", "b")
	set("b", 2, "a", "b", "c")
	set("c", 2, "a", "b", "c")
	require.Eventually(t, func() bool {
		return names.knows("a", "ST", 2) && names.knows("b", "ST", 2) && names.knows("c", "ST", 2) && brokers["a"].store.MaxQueueOffset("ST", 0) == 1
	}, time.Minute, 5*time.Millisecond)

	night := time.Date(2026, 11, 29, 4, 10, 0, 0, time.Local)
	tables := func() (all string) {
		for _, name := range []string{"a", "b", "c"} {
			for id := range int32(2) {
				all += " " + name + strconv.Itoa(int(id)) + ":"
				for _, item := range brokers[name].mappings.Get([]byte("ST")).HostedQueues[id] {
					all += item.Bname
				}
			}
		}
		return all
	}
	round := func(name string) string {
		brokers[name].processor.CleanMappings(context.Background(), night)
		return tables()
	}
	require.Equal(t, " a0:ab a1:ab b0:abc b1:abc c0:abc c1:bc", round("c"))
	require.Equal(t, " a0:ab a1:ab b0:abc b1:abc c0:abc c1:c", round("c"))
	require.Equal(t, " a0:ab a1:ab b0:abc b1:abc c0:abc c1:c", round("b"), "it knows who leads")
	require.Equal(t, " a0: a1: b0:abc b1:abc c0:abc c1:c", round("a"))
}
