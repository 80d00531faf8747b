package processor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

var testHost = netip.MustParseAddrPort("127.0.0.2:20911")

// rig is a processor on a real store in a temporary directory, with a pool of its own and a clock that the test moves.
type rig struct {
	*Processor
	t     testing.TB
	clock *testClock
	conn  *fakeConn
	pool  *testPool
	close func()
	// started is the processor once it is whole.
	started atomic.Pointer[Processor]
	// told is the place of the last message that the processor has heard of, unless it is silent: it hears of none.
	told   atomic.Int64
	silent bool
	// closeFails says that the test broke the store.
	closeFails bool
}

type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) move(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// setup changes what a rig is made of.
type setup struct {
	opts  Options
	store store.Options
	topic store.TopicsOptions
	group store.GroupsOptions
	// maxOpen bounds the transactions.
	maxOpen int
}

func newRig(t testing.TB, change ...func(*setup)) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir(), change...)
}

// newRigIn is newRig with the store in a directory that may hold one already.
func newRigIn(t testing.TB, dir string, change ...func(*setup)) *rig {
	t.Helper()
	b := &rig{t: t, clock: &testClock{now: time.UnixMilli(1795226366000).UTC()}, pool: newTestPool()}
	b.conn = newFakeConn("127.0.0.1:60802")
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := &setup{store: store.DefaultOptions(dir)}
	s.store.SegmentBytes = 64 << 20
	s.store.StoreHost = testHost
	s.store.Now = b.clock.Now
	s.store.OnArrival = func(batch []store.Arrival) { // recovery of deliveries may write before there is a processor
		if p := b.started.Load(); p != nil {
			p.Arrived(batch)
		}
		for _, a := range batch {
			b.told.Store(max(b.told.Load(), a.PhysOffset))
		}
	}
	s.topic = store.TopicsOptions{
		Cluster: "FixtureCluster", Broker: "broker-a", AutoCreate: true, DefaultQueueNums: 8, ClusterTopic: true, BrokerTopic: true,
	}
	s.group = store.GroupsOptions{AutoCreate: true}
	s.opts = Options{
		Settings: DefaultSettings("broker-a"), StoreHost: testHost, Submit: b.pool.submit, Now: b.clock.Now,
		Random: func(n int32) int32 { return n - 1 }, Logger: log,
		IDs: codec.NewUniqueIDs(testHost.Addr(), 1, 2),
	}
	s.opts.Settings.ClusterName = "FixtureCluster"
	s.opts.Settings.BrokerIP = "127.0.0.2"
	for _, f := range change {
		f(s)
	}
	var err error
	// The tables come first: the store's dispatcher calls the processor as soon as it runs.
	s.opts.Topics, err = store.OpenTopics(filepath.Join(dir, "config", "topics.json"), s.topic)
	require.NoError(t, err)
	s.opts.Groups, err = store.OpenGroups(filepath.Join(dir, "config", "subscriptionGroup.json"), s.group)
	require.NoError(t, err)
	s.opts.Offsets, err = store.OpenOffsets(filepath.Join(dir, "config", "consumerOffset.json"), store.OffsetsOptions{})
	require.NoError(t, err)
	s.opts.Store, err = store.Open(s.store)
	require.NoError(t, err)
	s.opts.Schedule, err = store.OpenSchedule(filepath.Join(dir, "config", "delayOffset.json"), s.opts.Store, store.ScheduleOptions{})
	require.NoError(t, err)
	s.opts.Txn, err = store.OpenTxn(s.opts.Store, s.opts.Offsets, store.TxnOptions{
		TableOptions: store.TableOptions{Now: b.clock.Now}, Topics: s.opts.Topics, MaxOpen: s.maxOpen})
	require.NoError(t, err)
	s.opts.Pop, err = store.OpenPop(s.opts.Store, s.opts.Offsets, store.PopOptions{
		TableOptions: store.TableOptions{Now: b.clock.Now}, Cluster: "FixtureCluster", BrokerName: "broker-a"})
	require.NoError(t, err)
	b.Processor, err = New(s.opts)
	require.NoError(t, err)
	b.started.Store(b.Processor)
	b.silent = s.store.OnArrival == nil
	b.close = sync.OnceFunc(func() {
		b.pool.wait()
		err := s.opts.Store.Close()
		require.True(t, err == nil || b.closeFails, "%v", err)
		require.NoError(t, errors.Join(s.opts.Topics.Close(), s.opts.Groups.Close()))
	})
	t.Cleanup(b.close)
	return b
}

// topicOf creates a topic.
func (b *rig) topicOf(name string, queues int32, change ...func(*codec.TopicConfig)) {
	b.t.Helper()
	cfg := codec.NewTopicConfig(name)
	cfg.ReadQueueNums, cfg.WriteQueueNums = queues, queues
	for _, f := range change {
		f(cfg)
	}
	_, err := b.topics.Put(cfg)
	require.NoError(b.t, err)
}

// groupOf creates a group.
func (b *rig) groupOf(name string, change ...func(*codec.SubscriptionGroupConfig)) {
	b.t.Helper()
	cfg := codec.NewSubscriptionGroupConfig(name)
	for _, f := range change {
		f(cfg)
	}
	require.NoError(b.t, b.groups.Put(cfg))
}

// subscribe has the group subscribed to the topic as if by heartbeat.
func (b *rig) subscribe(group, topic, expression string, change ...func(*ConsumerGroup, *Subscription)) {
	b.t.Helper()
	data, err := codec.ParseSubscription(topic, expression, "")
	require.NoError(b.t, err)
	sub := &Subscription{Data: data}
	if expression != codec.SubAll {
		sub.Filter = store.NewTagFilter(data.CodeSet)
	}
	g := &ConsumerGroup{Name: group, Model: codec.Clustering, Type: codec.ConsumePassively, subscriptions: map[string]*Subscription{topic: sub},
		members: newMembers(&b.clients.mu)}
	for _, f := range change {
		f(g, sub)
	}
	b.clients.mu.Lock()
	b.clients.consumers[group] = g
	b.clients.mu.Unlock()
}

func (b *rig) set(change func(*Settings)) {
	s := b.Settings()
	change(&s)
	b.SetSettings(s)
}

// dispatched waits until all that is stored is visible in the queues.
func (b *rig) dispatched() {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.store.Dispatched() >= b.store.Written() }, 10*time.Second, 100*time.Microsecond)
}

// put stores a message and waits until it is visible, and those who wait for it know.
func (b *rig) put(topic string, queueID int32, tags, body string) store.PutResult {
	b.t.Helper()
	r := b.putUnseen(topic, queueID, tags, body)
	b.announced(&r)
	return r
}

// announced waits until a message is visible, and then until the processor has heard of it.
func (b *rig) announced(r *store.PutResult) {
	b.t.Helper()
	b.dispatched()
	require.Eventually(b.t, func() bool { return b.silent || b.told.Load() >= r.PhysOffset }, 10*time.Second, 100*time.Microsecond)
}

func (b *rig) putUnseen(topic string, queueID int32, tags, body string) store.PutResult {
	b.t.Helper()
	m := store.Message{Topic: topic, QueueID: queueID, BornHost: testHost, Body: []byte(body)}
	if tags != "" {
		m.Properties = codec.AppendProperty(nil, codec.PropTags, tags)
		m.TagsCode = codec.TagsCode([]byte(tags))
	}
	var r store.PutResult
	require.NoError(b.t, b.store.PutWait(&m, &r))
	return r
}

// stored returns the record at physOffset, decoded.
func (b *rig) stored(physOffset int64) *codec.Message {
	b.t.Helper()
	raw, err := b.store.MessageAt(physOffset)
	require.NoError(b.t, err)
	var m codec.Message
	_, err = codec.DecodeMessage(raw, &m)
	require.NoError(b.t, err)
	return &m
}

// at returns the message at a queue offset, decoded.
func (b *rig) at(topic string, queueID int32, queueOffset int64) *codec.Message {
	b.t.Helper()
	b.dispatched()
	physOffset, _, _, ok := b.store.QueueEntry(topic, queueID, queueOffset)
	require.True(b.t, ok, "%s queue %d has no entry %d", topic, queueID, queueOffset)
	return b.stored(physOffset)
}

func propMap(props []byte) map[string]string {
	m := make(map[string]string)
	for it := codec.NewPropertyIter(props); it.Next(); {
		m[string(it.Key)] = string(it.Value)
	}
	return m
}

func propText(pairs ...string) string {
	var text []byte
	for i := 0; i < len(pairs); i += 2 {
		text = codec.AppendProperty(text, pairs[i], pairs[i+1])
	}
	return string(text)
}

// fields are the extFields of a request or an answer.
type fields map[string]string

func (f fields) with(more fields) fields {
	all := fields{}
	for k, v := range f {
		all[k] = v
	}
	for k, v := range more {
		if v == absent {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	return all
}

// absent as a value leaves a field out.
const absent = "\x00absent"

// frameOf encodes a request.
func frameOf(code int32, head fields, body string, flag int32) []byte {
	c := codec.Command{Code: code, Language: codec.LanguageJava, Version: codec.Version, Opaque: 7, Flag: flag, Body: []byte(body)}
	for k, v := range head {
		c.Extra = append(c.Extra, codec.Field{Key: k, Value: v})
	}
	return codec.AppendFrame(nil, &c)
}

// requestOf parses a request as a server does.
func (b *rig) requestOf(frame []byte, inline bool) *remoting.Request {
	b.t.Helper()
	req := &remoting.Request{Conn: b.conn, Arrived: b.clock.Now()}
	require.NoError(b.t, codec.ParseFrame(frame, &req.Command))
	setInline(req, inline)
	return req
}

// setInline makes a request one that runs on an event loop, which only a server can do otherwise.
func setInline(req *remoting.Request, inline bool) {
	field := reflect.ValueOf(req).Elem().FieldByName("inline")
	*(*bool)(unsafe.Pointer(field.UnsafeAddr())) = inline
}

// answer is a response as the client reads it.
type answer struct {
	Code   int32
	Remark string
	Fields fields
	Body   []byte
}

// parseAnswer encodes and decodes a response, and releases what it borrowed.
func parseAnswer(t testing.TB, c *codec.Command) *answer {
	t.Helper()
	frame := codec.AppendFrame(nil, c)
	if c.Owner != nil {
		c.Owner.Release()
		c.Owner = nil
	}
	return parseAnswerFrame(t, frame)
}

func parseAnswerFrame(t testing.TB, frame []byte) *answer {
	t.Helper()
	var got codec.Command
	require.NoError(t, codec.ParseFrame(frame, &got))
	a := &answer{Code: got.Code, Remark: got.Remark, Fields: fields{}, Body: append([]byte(nil), got.Body...)}
	for it := got.Fields(); it.Next(); {
		a.Fields[string(it.Key)] = string(it.Value)
	}
	return a
}

// run has the processor's handler answer a request, first as on an event loop and then, if it says so, as on a pool. The answer
// is nil when the request was parked or one-way.
func (b *rig) run(frame []byte) *answer {
	b.t.Helper()
	var req *remoting.Request
	req = b.requestOf(frame, true)
	var entry remoting.Entry
	for _, e := range b.Table() {
		if e.Code == req.Code {
			entry = e
		}
	}
	require.NotNil(b.t, entry.Handler, "code %d", req.Code)
	resp, err := (*codec.Command)(nil), remoting.ErrHandOver
	if entry.Inline {
		resp, err = entry.Handler(req)
	}
	if errors.Is(err, remoting.ErrHandOver) {
		req = b.requestOf(frame, false)
		resp, err = entry.Handler(req)
	}
	return b.finish(req, resp, err)
}

// finish turns what a handler returned into an answer as the server does.
func (b *rig) finish(req *remoting.Request, resp *codec.Command, err error) *answer {
	b.t.Helper()
	require.NotErrorIs(b.t, err, remoting.ErrHandOver)
	if err != nil {
		require.Nil(b.t, resp)
		resp = req.Response(codec.SystemError)
		resp.Remark = err.Error()
		var refusal *codec.Refusal
		if errors.As(err, &refusal) {
			resp.Code, resp.Remark, resp.Header = refusal.Code, refusal.Remark, refusal.Header
		}
	}
	if resp == nil {
		return nil
	}
	return parseAnswer(b.t, resp)
}

func (b *rig) request(code int32, head fields, body string) *answer {
	b.t.Helper()
	return b.run(frameOf(code, head, body, 0))
}

// fakeConn is a connection that keeps what is sent on it.
type fakeConn struct {
	addr netip.AddrPort
	call func(c *codec.Command) (*codec.Command, error)

	mu     sync.Mutex
	closed bool
	unread bool // too much is
	sent   chan *answer
}

func newFakeConn(addr string) *fakeConn {
	return &fakeConn{addr: netip.MustParseAddrPort(addr), sent: make(chan *answer, 100_000)}
}

func (c *fakeConn) RemoteAddr() netip.AddrPort { return c.addr }
func (c *fakeConn) LocalAddr() netip.AddrPort  { return testHost }

func (c *fakeConn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unread
}

func (c *fakeConn) Send(cmd *codec.Command) error {
	frame := codec.AppendFrame(nil, cmd)
	if cmd.Owner != nil {
		cmd.Owner.Release()
		cmd.Owner = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return remoting.ErrClosed
	}
	var got codec.Command
	if err := codec.ParseFrame(frame, &got); err != nil {
		return err
	}
	a := &answer{Code: got.Code, Remark: got.Remark, Fields: fields{}, Body: append([]byte(nil), got.Body...)}
	for it := got.Fields(); it.Next(); {
		a.Fields[string(it.Key)] = string(it.Value)
	}
	c.sent <- a
	return nil
}

func (c *fakeConn) Call(cmd *codec.Command, _ time.Duration) (*codec.Command, error) {
	if c.call == nil {
		return nil, remoting.ErrTimeout
	}
	return c.call(cmd)
}

func (c *fakeConn) Close(error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *fakeConn) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// next waits for an answer that came by way of the connection.
func (c *fakeConn) next(t testing.TB) *answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	select {
	case a := <-c.sent:
		return a
	case <-ctx.Done():
		require.FailNow(t, "no answer came")
		return nil
	}
}

// none checks that nothing has been sent.
func (c *fakeConn) none(t testing.TB) {
	t.Helper()
	select {
	case a := <-c.sent:
		require.Nil(t, a, "unexpected answer")
	default:
	}
}

func TestNewNeedsAllItWorksWith(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorContains(t, err, "without store")
}

func TestTableHasNoCodeTwice(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	seen := map[int32]bool{}
	for _, e := range b.Table() {
		require.False(t, seen[e.Code], fmt.Sprint("code ", e.Code))
		seen[e.Code] = true
		require.NotNil(t, e.Handler)
	}
	for _, e := range b.VIPTable() {
		require.NotContains(t, []int32{codec.PullMessage, codec.LitePullMessage}, e.Code)
	}
}
