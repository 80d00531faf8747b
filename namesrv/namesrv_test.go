package namesrv

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

const waitAtMost = 10 * time.Second

// clock is a clock that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// options are those of a server for a test, on a free port.
func options(t testing.TB) Options {
	dir := t.TempDir()
	opts := DefaultOptions()
	opts.BindAddress, opts.ListenPort = "127.0.0.1", 0
	opts.KVConfigPath, opts.ConfigStorePath = filepath.Join(dir, "kv", "kvConfig.json"), filepath.Join(dir, "namesrv.properties")
	opts.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return opts
}

func open(t testing.TB, opts Options) *Server {
	s, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitAtMost)
		defer cancel()
		require.NoError(t, s.Close(ctx))
	})
	return s
}

// peer is a client that speaks in frames.
type peer struct {
	t      testing.TB
	conn   net.Conn
	opaque int32
}

func dial(t testing.TB, s *Server) *peer {
	conn, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{t: t, conn: conn}
}

func (p *peer) send(frame []byte) {
	_, err := p.conn.Write(frame)
	require.NoError(p.t, err)
}

func (p *peer) receive() *codec.Command {
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(waitAtMost)))
	head := make([]byte, 4)
	_, err := io.ReadFull(p.conn, head)
	require.NoError(p.t, err)
	frame := append(head, make([]byte, binary.BigEndian.Uint32(head))...)
	_, err = io.ReadFull(p.conn, frame[4:])
	require.NoError(p.t, err)
	c := new(codec.Command)
	require.NoError(p.t, codec.ParseFrame(frame, c))
	return c
}

// call sends a request of a sender with that version and returns the answer.
func (p *peer) call(code, version int32, fields map[string]string, body []byte) *codec.Command {
	p.opaque++
	c := &codec.Command{Code: code, Version: version, Opaque: p.opaque, Body: body}
	for key, value := range fields {
		c.Extra = append(c.Extra, codec.Field{Key: key, Value: value})
	}
	p.send(codec.AppendFrame(nil, c))
	resp := p.receive()
	require.Equal(p.t, p.opaque, resp.Opaque)
	return resp
}

// ok is call for a sender of today whose request succeeds.
func (p *peer) ok(code int32, fields map[string]string, body []byte) *codec.Command {
	resp := p.call(code, codec.Version, fields, body)
	require.Equal(p.t, codec.Success, resp.Code, resp.Remark)
	return resp
}

func (p *peer) refused(want int32, remark string, code int32, fields map[string]string, body []byte) {
	resp := p.call(code, codec.Version, fields, body)
	require.Equal(p.t, want, resp.Code)
	require.Equal(p.t, remark, resp.Remark)
}

func fieldsOf(c *codec.Command) map[string]string {
	fields := map[string]string{}
	for it := c.Fields(); it.Next(); {
		fields[string(it.Key)] = string(it.Value)
	}
	return fields
}

// topicTable is the body of a registration.
func topicTable(counter int64, topics ...string) []byte {
	body := &codec.RegisterBrokerBody{}
	table := &body.TopicConfigSerializeWrapper
	table.DataVersion = codec.DataVersion{Counter: counter, TimestampMs: 1}
	table.TopicConfigTable = make(map[string]*codec.TopicConfig)
	for _, topic := range topics {
		table.TopicConfigTable[topic] = codec.NewTopicConfig(topic)
	}
	b, err := codec.EncodeRegisterBrokerBody(body, false, codec.Version)
	if err != nil {
		panic(err)
	}
	return b
}

func brokerFields(more ...string) map[string]string {
	fields := map[string]string{"brokerName": "broker-a", "brokerAddr": "10.0.0.1:10911", "clusterName": "C", "brokerId": "0", "haServerAddr": "10.0.0.1:10912"}
	for i := 0; i < len(more); i += 2 {
		fields[more[i]] = more[i+1]
	}
	return fields
}

func TestRouteOfRegisteredTopic(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	p := dial(t, s)
	p.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B"))
	const queues = `"cluster":"C","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":16,"topicSysFlag":0,"writeQueueNums":16}]}`
	bare := `{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"broker-a",` + queues
	standard := `{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a",` + queues
	for range 2 { // the second time from what is kept
		for _, c := range []struct {
			version int32
			fields  map[string]string
			want    string
		}{
			{317, map[string]string{"topic": "A"}, bare},
			{400, map[string]string{"topic": "A"}, bare},
			{401, map[string]string{"topic": "A"}, standard},
			{codec.Version, map[string]string{"topic": "B"}, standard},
			{317, map[string]string{"topic": "A", "acceptStandardJsonOnly": "true"}, standard},
			{317, map[string]string{"topic": "A", "acceptStandardJsonOnly": "false"}, bare},
		} {
			resp := p.call(codec.GetRouteInfoByTopic, c.version, c.fields, nil)
			require.Equal(t, codec.Success, resp.Code)
			require.Equal(t, c.want, string(resp.Body))
		}
	}
	p.refused(codec.TopicNotExist, "No topic route info in name server for the topic: none\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
		codec.GetRouteInfoByTopic, map[string]string{"topic": "none"}, nil)
	p.refused(codec.TopicNotExist, "No topic route info in name server for the topic: null"+faqSuffix, codec.GetRouteInfoByTopic, nil, nil)
}

func TestBrokerContainerCodesAreNotSupported(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	p.refused(codec.RequestCodeNotSupported, " request type 902 not supported", 902, nil, nil)
	p.refused(codec.RequestCodeNotSupported, " request type 903 not supported", 903, nil, nil)
	p.refused(codec.RequestCodeNotSupported, " request type 10 not supported", codec.SendMessage, nil, nil)
}

func TestConnectionEndTakesBrokerOut(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	broker, client := dial(t, s), dial(t, s)
	broker.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B"))
	client.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil)
	require.NoError(t, broker.conn.Close())
	require.Eventually(t, func() bool {
		return client.call(codec.GetRouteInfoByTopic, codec.Version, map[string]string{"topic": "A"}, nil).Code == codec.TopicNotExist
	}, waitAtMost, 5*time.Millisecond)
	require.Equal(t, `{"brokerAddrTable":{},"clusterAddrTable":{}}`, string(client.ok(codec.GetBrokerClusterInfo, nil, nil).Body))
	_, left := s.routes.registered.Load(nil)
	require.False(t, left)
}

// A broker that reconnects and registers before the end of its old connection is noticed stays.
func TestOldConnectionEndKeepsBroker(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	old, again := dial(t, s), dial(t, s)
	old.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B"))
	again.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B"))
	other := dial(t, s)
	other.ok(codec.RegisterBroker, brokerFields("brokerName", "other", "brokerAddr", "10.0.0.9:1"), topicTable(1, "X", "Y"))
	require.NoError(t, old.conn.Close())
	require.NoError(t, other.conn.Close())
	require.Eventually(t, func() bool { // closed after the old one
		return again.call(codec.GetRouteInfoByTopic, codec.Version, map[string]string{"topic": "X"}, nil).Code == codec.TopicNotExist
	}, waitAtMost, 5*time.Millisecond)
	again.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil)
}

func TestSilentBrokerExpires(t *testing.T) {
	t.Parallel()
	now := newClock()
	opts := options(t)
	opts.Now, opts.IdleTimeout = now.now, 24*time.Hour
	s := open(t, opts)
	p := dial(t, s)
	p.ok(codec.RegisterBroker, brokerFields("heartbeatTimeoutMillis", "1000"), topicTable(1, "A", "B"))
	now.advance(900 * time.Millisecond)
	p.ok(codec.BrokerHeartbeat, brokerFields(), nil)
	now.advance(900 * time.Millisecond)
	version, err := codec.MarshalJSON(codec.DataVersion{})
	require.NoError(t, err)
	p.ok(codec.QueryDataVersion, brokerFields(), version)
	now.advance(time.Second)
	s.expire()
	p.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil)
	now.advance(time.Millisecond)
	s.expire()
	_, err = p.conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	dial(t, s).refused(codec.TopicNotExist, "No topic route info in name server for the topic: A"+faqSuffix, codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil)
}

func TestScanFindsSilentBrokers(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.ScanInterval = 5 * time.Millisecond
	s := open(t, opts)
	broker, client := dial(t, s), dial(t, s)
	broker.ok(codec.RegisterBroker, brokerFields("heartbeatTimeoutMillis", "20"), topicTable(1, "A", "B"))
	require.Eventually(t, func() bool {
		return client.call(codec.GetRouteInfoByTopic, codec.Version, map[string]string{"topic": "A"}, nil).Code == codec.TopicNotExist
	}, waitAtMost, 5*time.Millisecond)
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.ListenPort = int(open(t, options(t)).Addr().Port())
	_, err := Open(opts)
	require.ErrorContains(t, err, opts.BindAddress)
}

func TestWaitForService(t *testing.T) {
	t.Parallel()
	now := newClock()
	opts := options(t)
	opts.Now, opts.NeedWaitForService, opts.IdleTimeout = now.now, true, 24*time.Hour
	p := dial(t, open(t, opts))
	p.ok(codec.RegisterBroker, brokerFields(), topicTable(1, "A", "B"))
	p.refused(codec.SystemError, "name server not ready", codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil)
	now.advance(opts.WaitForService)
	p.ok(codec.GetRouteInfoByTopic, map[string]string{"topic": "A"}, nil)
}

func TestZoneMode(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	p.ok(codec.RegisterBroker, brokerFields("__ZONE_NAME", "z1"), topicTable(1, "A", "B"))
	p.ok(codec.RegisterBroker, brokerFields("__ZONE_NAME", "z2", "brokerName", "broker-b", "brokerAddr", "10.0.0.2:1"), topicTable(1, "A", "B"))
	p.ok(codec.RegisterBroker, brokerFields("__ZONE_NAME", "z2", "brokerName", "broker-c", "brokerAddr", "10.0.0.3:1", "brokerId", "1", "enableActingMaster", "false"), topicTable(1, "A", "B"))
	ask := func(fields ...string) (names []string, text string) {
		more := map[string]string{"topic": "A"}
		for i := 0; i < len(fields); i += 2 {
			more[fields[i]] = fields[i+1]
		}
		resp := p.ok(codec.GetRouteInfoByTopic, more, nil)
		var route codec.TopicRouteData
		require.NoError(t, codec.UnmarshalJSON(resp.Body, &route))
		require.Len(t, route.QueueDatas, len(route.BrokerDatas))
		for i, b := range route.BrokerDatas {
			require.Equal(t, b.BrokerName, route.QueueDatas[i].BrokerName)
			names = append(names, b.BrokerName)
		}
		return names, string(resp.Body)
	}
	names, text := ask("__ZONE_MODE", "true", "__ZONE_NAME", "Z1")
	require.Equal(t, []string{"broker-a", "broker-c"}, names)
	require.Contains(t, text, `{0:"10.0.0.1:10911"}`)
	require.Contains(t, text, `"zoneName":"z1"`)
	names, _ = ask("__ZONE_MODE", "true", "__ZONE_NAME", "nowhere")
	require.Equal(t, []string{"broker-c"}, names)
	for _, fields := range [][]string{{"__ZONE_MODE", "true"}, {"__ZONE_NAME", "z1"}, {"__ZONE_MODE", "false", "__ZONE_NAME", "z1"}, {"__ZONE_MODE", "true", "__ZONE_NAME", " "}} {
		names, _ = ask(fields...)
		require.Equal(t, []string{"broker-a", "broker-b", "broker-c"}, names)
	}
}

func TestOptionsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "namesrv.conf")
	require.NoError(t, os.WriteFile(file, []byte("# a comment\nlistenPort = 9999\nbindAddress=127.0.0.1\nkvConfigPath=/x/kv.json\nserverChannelMaxIdleTimeSeconds=30\nenableTopicList=FALSE\nserverWorkerThreads=99\nnonsense=1\n"), 0o600))
	var log bytes.Buffer
	opts := DefaultOptions()
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	require.NoError(t, opts.Load(file))
	require.Equal(t, 9999, opts.ListenPort)
	require.Equal(t, "/x/kv.json", opts.KVConfigPath)
	require.Equal(t, 30*time.Second, opts.IdleTimeout)
	require.False(t, opts.EnableTopicList)
	require.Equal(t, file, opts.ConfigStorePath)
	require.Contains(t, opts.Text(), "\nserverWorkerThreads=99\n")
	require.Contains(t, log.String(), "key=nonsense")
	require.Contains(t, log.String(), "line=8")
	require.NotContains(t, log.String(), "serverWorkerThreads")
	other := DefaultOptions()
	require.Contains(t, other.Text(), "\nserverWorkerThreads=8\n")

	for _, line := range []string{"listenPort=x", "listenPort=70000", "enableTopicList=maybe", "scanNotActiveBrokerInterval=0"} {
		require.NoError(t, os.WriteFile(file, []byte("\n"+line), 0o600))
		require.ErrorContains(t, opts.Load(file), "namesrv.conf:2: ", line)
	}
	require.Error(t, opts.Load(file+".none"))
}
