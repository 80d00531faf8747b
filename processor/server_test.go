package processor

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// codeEcho is a request that no handler of ours has a part in.
const codeEcho = 31000

func echo(req *remoting.Request) (*codec.Command, error) {
	resp := req.Response(codec.Success)
	resp.Body = req.Body
	return resp, nil
}

// served is a processor behind a real server with a main and a VIP port.
type served struct {
	*rig
	server *remoting.Server
}

func newServed(t testing.TB, change ...func(*setup)) *served {
	t.Helper()
	s := &served{}
	change = append(change, realClock, func(set *setup) {
		set.opts.Submit = func(kind remoting.PoolKind, task interface{ Run() }) bool { return s.server.Pool(kind).Submit(task) }
	})
	s.rig = newRig(t, change...)
	opts := remoting.DefaultOptions()
	opts.Addrs = []string{"127.0.0.1:0", "127.0.0.1:0"}
	opts.Table = func(listener int) *remoting.Table {
		if listener == 0 {
			return remoting.NewTable(append(s.Table(), remoting.Entry{Code: codeEcho, Inline: true, Handler: echo}))
		}
		return remoting.NewTable(s.VIPTable())
	}
	opts.OnClose = func(c remoting.Conn, _ error) { s.ConnClosed(c) }
	opts.OnDrain = s.Drain
	server, err := remoting.Open(opts)
	require.NoError(t, err)
	s.server = server
	t.Cleanup(s.stop)
	return s
}

func (s *served) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(s.t, s.server.Close(ctx))
}

// wireClient is a client that writes frames and reads answers.
type wireClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (s *served) dial(listener int) *wireClient {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.server.Addrs()[listener].String())
	require.NoError(s.t, err)
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	s.t.Cleanup(func() { _ = conn.Close() })
	return &wireClient{t: s.t, conn: conn, in: bufio.NewReaderSize(conn, 1<<20)}
}

func (c *wireClient) send(frames ...[]byte) {
	c.t.Helper()
	var all []byte
	for _, frame := range frames {
		all = append(all, frame...)
	}
	_, err := c.conn.Write(all)
	require.NoError(c.t, err)
}

// read returns the next frame.
func (c *wireClient) read() []byte {
	c.t.Helper()
	frame := make([]byte, 4)
	_, err := io.ReadFull(c.in, frame)
	require.NoError(c.t, err)
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
	_, err = io.ReadFull(c.in, frame[4:])
	require.NoError(c.t, err)
	return frame
}

func (c *wireClient) next() *answer { return parseAnswerFrame(c.t, c.read()) }

// withOpaque sets the opaque of a request.
func withOpaque(t testing.TB, frame []byte, opaque int32) []byte {
	t.Helper()
	var c codec.Command
	require.NoError(t, codec.ParseFrame(frame, &c))
	out := codec.Command{Code: c.Code, Version: c.Version, Opaque: opaque, Flag: c.Flag, Body: c.Body}
	for it := c.Fields(); it.Next(); {
		out.Extra = append(out.Extra, codec.Field{Key: string(it.Key), Value: string(it.Value)})
	}
	return codec.AppendFrame(nil, &out)
}

// TestServedSendsAreAnsweredInOrder: inline answers of one connection leave in the order of the requests, each once, with a
// one-way request between them that is not answered.
func TestServedSendsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	const sends = 500
	s := newServed(t)
	s.topicOf("T", 4)
	c := s.dial(0)
	var frames [][]byte
	for i := range sends {
		head := sendFields("T", fields{"i": propText("UNIQ_KEY", "U"+strconv.Itoa(i))})
		frames = append(frames, withOpaque(t, frameOf(codec.SendMessageV2, head, "body", 0), int32(i)))
		if i%10 == 0 {
			frames = append(frames, frameOf(codec.SendMessageV2, head, "one-way", codec.FlagOneway))
		}
	}
	c.send(frames...)
	for i := range sends {
		var got codec.Command
		require.NoError(t, codec.ParseFrame(c.read(), &got))
		require.Equal(t, int32(i), got.Opaque)
		require.Equal(t, codec.Success, got.Code)
		key, _ := got.Field("transactionId")
		require.Equal(t, "U"+strconv.Itoa(i), string(key))
	}
	s.dispatched()
	require.Equal(t, int64(sends+sends/10), s.store.MaxQueueOffset("T", 0))
}

func TestServedTopicIsCreatedOnThePool(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	c := s.dial(1)
	c.send(frameOf(codec.SendMessageV2, sendFields("Fresh", nil), "body", 0))
	require.Equal(t, codec.Success, c.next().Code)
	c.send(frameOf(codec.SendMessage, sendFields("Fresh", nil), "body", 0))
	require.Equal(t, codec.SystemError, c.next().Code)
}

func TestServedPullWaitsForASend(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.topicOf("T", 4)
	consumer, producer := s.dial(0), s.dial(0)
	for i := range 50 {
		consumer.send(frameOf(codec.PullMessage, waitFields(fields{"queueOffset": strconv.Itoa(i)}), "", 0))
		if i%2 == 0 {
			require.Eventually(t, func() bool { return s.ParkedPulls() == 1 }, 10*time.Second, 100*time.Microsecond)
		}
		producer.send(frameOf(codec.SendMessageV2, sendFields("T", nil), "body"+strconv.Itoa(i), 0))
		require.Equal(t, codec.Success, producer.next().Code)
		got := consumer.next()
		require.Equal(t, codec.Success, got.Code, got.Remark)
		require.Equal(t, []string{"body" + strconv.Itoa(i)}, bodiesOf(t, got.Body))
	}
	require.Zero(t, s.ParkedPulls())
}

func TestServedPullIsDroppedWithItsConnection(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.topicOf("T", 4)
	c := s.dial(0)
	for range 20 {
		c.send(frameOf(codec.PullMessage, waitFields(nil), "", 0))
	}
	require.Eventually(t, func() bool { return s.ParkedPulls() == 20 }, 10*time.Second, time.Millisecond)
	require.NoError(t, c.conn.Close())
	require.Eventually(t, func() bool { return s.ParkedPulls() == 0 }, 10*time.Second, time.Millisecond)
}

func TestServedVIPPortHasNoPulls(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.topicOf("T", 4)
	c := s.dial(1)
	for _, code := range []int32{codec.PullMessage, codec.LitePullMessage} {
		c.send(frameOf(code, pullFields("G", "T", nil), "", 0))
		got := c.next()
		require.Equal(t, codec.RequestCodeNotSupported, got.Code)
		require.Equal(t, " request type "+strconv.Itoa(int(code))+" not supported", got.Remark)
	}
	c.send(frameOf(codec.SendMessageV2, sendFields("T", nil), "body", 0))
	require.Equal(t, codec.Success, c.next().Code)
}

// TestServedStopAnswersWhoWaits: closing the server answers parked pulls before it closes their connections.
func TestServedStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.topicOf("T", 4)
	c := s.dial(0)
	c.send(frameOf(codec.PullMessage, waitFields(nil), "", 0))
	require.Eventually(t, func() bool { return s.ParkedPulls() == 1 }, 10*time.Second, time.Millisecond)
	s.stop()
	require.Equal(t, codec.PullNotFound, c.next().Code)
	_, err := c.in.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

// TestServedLargeBodies: what is pulled leaves as slices of the log, whole and unchanged, also when the client reads slowly.
func TestServedLargeBodies(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.topicOf("T", 4)
	bodies := make([]string, 8)
	for i := range bodies {
		bodies[i] = string(make([]byte, 200_000)) + strconv.Itoa(i)
		s.put("T", 0, "", bodies[i])
	}
	c := s.dial(0)
	c.send(frameOf(codec.PullMessage, pullFields("G", "T", fields{"maxMsgNums": "1"}), "", 0))
	require.Equal(t, bodies[:1], bodiesOf(t, c.next().Body)) // the first read maps the queue, in a pool, and those behind it may overtake it
	for i := range bodies {
		c.send(frameOf(codec.PullMessage, pullFields("G", "T", fields{"queueOffset": strconv.Itoa(i), "maxMsgNums": "1"}), "", 0))
	}
	for i := range bodies {
		require.Equal(t, bodies[i:i+1], bodiesOf(t, c.next().Body))
	}
}
