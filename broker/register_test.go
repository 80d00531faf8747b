package broker

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

const registerPatience = 10 * time.Second

// heard is a request that a fakeNamesrv got.
type heard struct {
	code    int32
	fields  map[string]string
	topics  map[string]*codec.TopicConfig
	version codec.DataVersion
	route   codec.TopicRouteData
}

// fakeNamesrv records what brokers say and answers with answer, or success.
type fakeNamesrv struct {
	t      testing.TB
	server *remoting.Server
	addr   string
	heard  chan heard

	mu     sync.Mutex
	answer func(code int32) (int32, string)
	holds  codec.DataVersion
}

func openFakeNamesrv(t testing.TB, addr string) *fakeNamesrv {
	f := &fakeNamesrv{t: t, heard: make(chan heard, 1000)}
	opts := remoting.DefaultOptions()
	opts.Addrs = []string{addr}
	opts.Table = func(int) *remoting.Table {
		return remoting.NewTable([]remoting.Entry{
			{Code: codec.RegisterBroker, Pool: remoting.PoolAdmin, Handler: f.handle},
			{Code: codec.UnregisterBroker, Pool: remoting.PoolAdmin, Handler: f.handle},
			{Code: codec.QueryDataVersion, Pool: remoting.PoolAdmin, Handler: f.handle},
			{Code: codec.RegisterTopicInNamesrv, Pool: remoting.PoolAdmin, Handler: f.handle},
		})
	}
	server, err := remoting.Open(opts)
	require.NoError(t, err)
	f.server, f.addr = server, server.Addrs()[0].String()
	t.Cleanup(f.close)
	return f
}

func (f *fakeNamesrv) close() {
	ctx, cancel := context.WithTimeout(context.Background(), registerPatience)
	defer cancel()
	_ = f.server.Close(ctx)
}

func (f *fakeNamesrv) handle(req *remoting.Request) (*codec.Command, error) {
	h := heard{code: req.Code, fields: map[string]string{}}
	for it := req.Fields(); it.Next(); {
		h.fields[string(it.Key)] = string(it.Value)
	}
	resp := req.Response(codec.Success)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch req.Code {
	case codec.RegisterBroker:
		body, err := codec.DecodeRegisterBrokerBody(req.Body, h.fields["compressed"] == "true", req.Version)
		if err != nil {
			return nil, err
		}
		h.topics, h.version = body.TopicConfigSerializeWrapper.TopicConfigTable, body.TopicConfigSerializeWrapper.DataVersion
		f.holds = h.version
	case codec.RegisterTopicInNamesrv:
		if err := codec.UnmarshalJSON(req.Body, &h.route); err != nil {
			return nil, err
		}
	case codec.QueryDataVersion:
		if err := codec.UnmarshalJSON(req.Body, &h.version); err != nil {
			return nil, err
		}
		resp.Header = &codec.QueryDataVersionResponse{Changed: h.version != f.holds}
	}
	if f.answer != nil {
		resp.Code, resp.Remark = f.answer(req.Code)
	}
	f.heard <- h
	return resp, nil
}

func (f *fakeNamesrv) answerWith(answer func(code int32) (int32, string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// next returns the next request, which must have that code.
func (f *fakeNamesrv) next(code int32) heard {
	f.t.Helper()
	select {
	case h := <-f.heard:
		require.Equal(f.t, code, h.code)
		return h
	case <-time.After(registerPatience):
		require.Fail(f.t, "nothing was said")
		return heard{}
	}
}

// registering is a broker's registrar with its topics.
type registering struct {
	*Registrar
	log  bytes.Buffer
	stop func()

	mu    sync.Mutex
	table codec.TopicConfigAndMapping
	asked int
}

func startRegistrar(t testing.TB, change func(*RegistrarOptions), namesrvs ...string) *registering {
	r := &registering{}
	r.table.TopicConfigTable = map[string]*codec.TopicConfig{"A": codec.NewTopicConfig("A")}
	opts := RegistrarOptions{Cluster: "C", Broker: "broker-a", BrokerID: 0, Addr: "10.0.0.1:10911", HAAddr: "10.0.0.1:10912",
		Namesrvs: strings.Join(namesrvs, ";"), Period: time.Hour, Topics: r.topics,
		Client: remoting.NewClient(remoting.DefaultClientOptions()), Logger: slog.New(slog.NewTextHandler(&lockedWriter{r: r}, nil))}
	change(&opts)
	r.Registrar = NewRegistrar(opts)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		_ = opts.Client.Close()
	})
	t.Cleanup(r.stop)
	return r
}

type lockedWriter struct{ r *registering }

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.r.log.Write(b)
}

func (r *registering) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func (r *registering) topics() codec.TopicConfigAndMapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	return r.table
}

// create adds a topic and says that the topics have changed.
func (r *registering) create(topic string) {
	r.add(topic)
	r.Changed()
}

// add adds a topic as the broker's table would: the old table is left alone.
func (r *registering) add(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	topics := map[string]*codec.TopicConfig{topic: codec.NewTopicConfig(topic)}
	for name, config := range r.table.TopicConfigTable {
		topics[name] = config
	}
	r.table.TopicConfigTable = topics
	r.table.DataVersion.Counter++
}

func TestRegistrarSaysWhatJavaSays(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(*RegistrarOptions) {}, ns.addr)
	h := ns.next(codec.RegisterBroker)
	require.NotEqual(t, "0", h.fields["bodyCrc32"])
	delete(h.fields, "bodyCrc32")
	require.Equal(t, map[string]string{"brokerId": "0", "clusterName": "C", "brokerAddr": "10.0.0.1:10911", "enableActingMaster": "false",
		"haServerAddr": "10.0.0.1:10912", "compressed": "false", "brokerName": "broker-a"}, h.fields)
	require.Contains(t, h.topics, "A")
	require.Len(t, h.topics, 1)
	r.AwaitFirst()
	require.Contains(t, r.logged(), "registered at name server")

	r.Unregister(t.Context())
	h = ns.next(codec.UnregisterBroker)
	require.Equal(t, map[string]string{"brokerId": "0", "clusterName": "C", "brokerAddr": "10.0.0.1:10911", "brokerName": "broker-a"}, h.fields)
	r.create("late")
	r.stop()
	require.Empty(t, ns.heard, "nothing is registered after the farewell")
}

func TestRegistrarSendsAllTopicsAfterChanges(t *testing.T) {
	t.Parallel()
	one, two := openFakeNamesrv(t, "127.0.0.1:0"), openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(o *RegistrarOptions) { o.Compressed = true }, one.addr, " "+two.addr, "", one.addr)
	for _, ns := range []*fakeNamesrv{one, two} {
		require.Equal(t, "true", ns.next(codec.RegisterBroker).fields["compressed"])
	}
	for i := range 200 {
		r.create("T" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
	}
	for _, ns := range []*fakeNamesrv{one, two} {
		calls := 0
		for {
			calls++
			if h := ns.next(codec.RegisterBroker); h.version.Counter == 200 {
				require.Len(t, h.topics, 201)
				break
			}
		}
		require.Less(t, calls, 50, "changes are gathered")
	}
}

func TestRegistrarRepeats(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(o *RegistrarOptions) { o.Period = time.Millisecond }, ns.addr)
	for range 5 {
		require.Len(t, ns.next(codec.RegisterBroker).topics, 1)
	}
	r.stop()
	require.Equal(t, 1, strings.Count(r.logged(), "registered at name server"))
}

func TestRegistrarAsksFirst(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(o *RegistrarOptions) { o.Period, o.QueryFirst = time.Millisecond, true }, ns.addr)
	ns.next(codec.RegisterBroker)
	for range 3 {
		ns.next(codec.QueryDataVersion)
	}
	ns.mu.Lock()
	ns.holds.Counter = 99 // it has started anew
	ns.mu.Unlock()
	for {
		if h := <-ns.heard; h.code == codec.RegisterBroker {
			break
		}
	}
	r.stop()
}

func TestRegistrarSurvivesUnreachableNameServers(t *testing.T) {
	t.Parallel()
	absent := openFakeNamesrv(t, "127.0.0.1:0")
	absent.close()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(o *RegistrarOptions) { o.Period = 20 * time.Millisecond }, absent.addr, ns.addr)
	for range 5 {
		ns.next(codec.RegisterBroker)
	}
	back := openFakeNamesrv(t, absent.addr)
	back.next(codec.RegisterBroker)
	require.Eventually(t, func() bool { return strings.Count(r.logged(), "registered at name server") == 2 }, registerPatience, time.Millisecond)
	require.Equal(t, 1, strings.Count(r.logged(), "cannot register at name server"), "told once")

	back.close()
	require.Eventually(t, func() bool { return strings.Count(r.logged(), "cannot register at name server") == 2 }, registerPatience, time.Millisecond)
	r.Unregister(t.Context())
	require.Eventually(t, func() bool {
		return len(ns.heard) > 0 && (<-ns.heard).code == codec.UnregisterBroker
	}, registerPatience, time.Millisecond)
}

func TestRegistrarTriesAgainWhenRefused(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	ns.answerWith(func(int32) (int32, string) { return codec.SystemError, "register broker failed" })
	r := startRegistrar(t, func(o *RegistrarOptions) { o.Period = time.Millisecond }, ns.addr)
	ns.next(codec.RegisterBroker)
	ns.next(codec.RegisterBroker)
	require.Contains(t, r.logged(), "name server answers 1: register broker failed")
	ns.answerWith(nil)
	require.Eventually(t, func() bool { return strings.Contains(r.logged(), "registered at name server") }, registerPatience, time.Millisecond)
}

func TestRegistrarWithoutNameServers(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, func(*RegistrarOptions) {}, "", " ")
	r.AwaitFirst()
	r.Changed()
	r.Unregister(t.Context())
	r.stop()
	require.Zero(t, r.asked)
}

func TestRegistrarEncodesOnceForAVersion(t *testing.T) {
	t.Parallel()
	table := codec.TopicConfigAndMapping{TopicConfigTable: map[string]*codec.TopicConfig{"A": codec.NewTopicConfig("A")}}
	b := registerBody{topics: func() codec.TopicConfigAndMapping { return table }}
	first, _, err := b.encoded()
	require.NoError(t, err)
	again, _, err := b.encoded()
	require.NoError(t, err)
	require.Same(t, &first[0], &again[0])
	table.DataVersion.Counter++
	other, version, err := b.encoded()
	require.NoError(t, err)
	require.Equal(t, int64(1), version.Counter)
	require.NotSame(t, &first[0], &other[0])
	b.forget()
	made, _, err := b.encoded()
	require.NoError(t, err)
	require.NotSame(t, &other[0], &made[0])
}

func TestAwaitChangedWaitsForThoseWhoCanBeReached(t *testing.T) {
	t.Parallel()
	absent := openFakeNamesrv(t, "127.0.0.1:0")
	absent.close()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(*RegistrarOptions) {}, absent.addr, ns.addr)
	ns.next(codec.RegisterBroker)
	for range 3 {
		r.create("T")
		ctx, cancel := context.WithTimeout(context.Background(), registerPatience)
		r.AwaitChanged(ctx)
		require.NoError(t, ctx.Err())
		cancel()
		require.NotEmpty(t, ns.heard, "the name server has been told before AwaitChanged returns")
		ns.next(codec.RegisterBroker)
	}
}
