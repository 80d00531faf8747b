package compat

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bystander sends on a connection of its own while something bad goes on, and must not feel it.
type bystander struct {
	c     *client
	topic string
	next  int64
}

func newBystander(t testing.TB, tg *Target) *bystander {
	return &bystander{c: connect(t, tg.Broker()), topic: newTopic(t, tg, 1)}
}

func (b *bystander) serve(t testing.TB) {
	t.Helper()
	for range 5 {
		require.Equal(t, b.next, put(t, b.c, b.topic, 0, "undisturbed", ""))
		b.next++
	}
}

// closedBy waits until the server ends a connection.
func closedBy(t testing.TB, conn net.Conn, limit time.Duration) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(limit)))
	n, err := io.Copy(io.Discard, conn)
	require.Zero(t, n, "bytes before the end")
	if err != nil {
		netErr, isNet := err.(net.Error)
		require.False(t, isNet && netErr.Timeout(), "the server keeps the connection")
	}
}

// word is an integer of a frame.
func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func TestBadFrames(t *testing.T) {
	t.Parallel()
	good := (&packet{Code: codeGetMaxOffset, Language: "GO", Version: goVersion, Ext: ext("topic", probeTopic, "queueId", 0)}).encode()
	cases := []struct {
		name string
		b    []byte
	}{
		{"total length of more than 16 MiB", append(word(16<<20+1), good[4:]...)},
		{"total length of two gigabytes", append(word(0x7FFFFFFF), good[4:]...)},
		{"negative total length", append(word(0xFFFFFFF0), good[4:]...)},
		{"header longer than the frame", append(append(word(12), word(100)...), "{}{}{}{}"...)},
		{"header of 16 MiB in a small frame", append(append(word(12), word(0x00FFFFFF)...), "{}{}{}{}"...)},
		{"unknown serialisation type", frameOf(7, []byte(`{"code":105}`), nil)},
		{"header that is not JSON", frameOf(codecJSON, []byte("GET / HTTP/1.1\r\n\r\n"), nil)},
		{"JSON header cut off", frameOf(codecJSON, []byte(`{"code":10,"extFields":{"topic":"`), nil)},
		{"JSON header that is an array", frameOf(codecJSON, []byte(`[1,2,3]`), nil)},
		{"code that is no number", frameOf(codecJSON, []byte(`{"code":"abc","opaque":1}`), nil)},
		{"fields that are no object", frameOf(codecJSON, []byte(`{"code":105,"opaque":1,"extFields":[1]}`), nil)},
		{"binary header cut off", frameOf(codecRocketMQ, []byte{0, 105, 9, 0}, nil)},
		{"binary remark longer than the header", lyingBinary(func(b []byte) { binary.BigEndian.PutUint32(b[13:], 1<<20) })},
		{"binary fields longer than the header", lyingBinary(func(b []byte) { binary.BigEndian.PutUint32(b[17:], 1<<20) })},
		{"binary key longer than the fields", lyingBinary(func(b []byte) { binary.BigEndian.PutUint16(b[21:], 0x7000) })},
		{"another protocol", []byte("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tg := onShared(t)
			other := newBystander(t, tg)
			for _, addr := range []string{tg.Broker(), tg.Namesrv()} {
				conn, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				defer conn.Close()
				_, err = conn.Write(tc.b)
				require.NoError(t, err)
				closedBy(t, conn, 10*time.Second)
			}
			other.serve(t)
		})
	}
}

// lyingBinary is a request with a binary header that is changed before it is framed.
func lyingBinary(change func(header []byte)) []byte {
	p := &packet{Code: codeGetRoute, Codec: codecRocketMQ, Language: "GO", Version: goVersion, Ext: ext("topic", "T")}
	header := p.binaryHeader()
	change(header)
	return frameOf(codecRocketMQ, header, nil)
}

func TestBadPace(t *testing.T) {
	t.Parallel()
	t.Run("half a frame and then silence", func(t *testing.T) {
		tg := onShared(t)
		other := newBystander(t, tg)
		whole := (&packet{Code: codeSendMessage, Language: "GO", Version: goVersion, Ext: sendFields(other.topic, 0, ""), Body: []byte("late")}).encode()
		for _, cut := range []int{1, 4, 7, 8, 20, len(whole) - 1} {
			conn, err := net.Dial("tcp", tg.Broker())
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			_, err = conn.Write(whole[:cut])
			require.NoError(t, err)
			other.serve(t)
		}
	})

	t.Run("a frame byte by byte", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		p := &packet{Code: codeSendMessage, Language: "GO", Version: goVersion, Opaque: 1 << 20, Ext: sendFields(topic, 0, ""), Body: []byte("slowly")}
		ch := make(chan *packet, 1)
		c.mu.Lock()
		c.waiting[p.Opaque] = ch
		c.mu.Unlock()
		for _, b := range p.encode() {
			require.NoError(t, c.write([]byte{b}))
		}
		res, err := c.await(ch, callTimeout)
		require.NoError(t, err)
		require.Equal(t, resSuccess, res.Code)
	})

	t.Run("many frames in one write are all answered", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		var all []byte
		var answers []chan *packet
		for i := range 200 {
			p := &packet{Code: codeSendMessage, Language: "GO", Version: goVersion, Opaque: int32(1000 + i), Ext: sendFields(topic, 0, ""), Body: []byte("x")}
			ch := make(chan *packet, 1)
			c.mu.Lock()
			c.waiting[p.Opaque] = ch
			c.mu.Unlock()
			all, answers = append(all, p.encode()...), append(answers, ch)
		}
		require.NoError(t, c.write(all))
		seen := map[int64]bool{}
		for _, ch := range answers {
			res, err := c.await(ch, callTimeout)
			require.NoError(t, err)
			require.Equal(t, resSuccess, res.Code, res.Remark)
			seen[num(t, res, "queueOffset")] = true
		}
		require.Len(t, seen, 200)
	})

	t.Run("connections that come and go", func(t *testing.T) {
		tg := onShared(t)
		other := newBystander(t, tg)
		for range 300 {
			conn, err := net.Dial("tcp", tg.Broker())
			require.NoError(t, err)
			_ = conn.Close()
		}
		other.serve(t)
	})
}

// TestNeverRead has clients ask for much and read nothing. The server may stop reading from them or end their
// connections, but serves the others, and has room for them.
func TestNeverRead(t *testing.T) {
	tg := onOwn(t)
	asks := 1000 // of 256 KiB each, by four clients: a gigabyte, far more than socket buffers hold
	if tg.Kind == Apache {
		asks = 100 // its broker keeps every answer in memory; with the heap it has here more of them end it
	}
	other := newBystander(t, tg)
	topic := newTopic(t, tg, 1)
	c := connect(t, tg.Broker())
	for range 8 {
		put(t, c, topic, 0, strings.Repeat("f", 32<<10), "")
	}
	dispatched(t, c, topic, 0, 8)
	ask := (&packet{Code: codePullMessage, Language: "GO", Version: goVersion, Ext: pullFields(unique("G"), topic, 0, 0)}).encode()
	for range 4 {
		conn, err := net.Dial("tcp", tg.Broker())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(3*time.Second)))
		for range asks {
			if _, err := conn.Write(ask); err != nil {
				break
			}
		}
		other.serve(t)
	}
	require.Greater(t, len(pulled(t, c.ok(t, codePullMessage, pullFields(unique("G"), topic, 0, 0), nil))), 4)
	other.serve(t)
}

func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("waits two minutes")
	}
	t.Parallel()
	t.Run("a client that connects and says nothing is let go after 120 seconds", func(t *testing.T) {
		tg := onShared(t)
		var conns []net.Conn
		for _, addr := range []string{tg.Broker(), tg.VIP(), tg.Namesrv()} {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			conns = append(conns, conn)
		}
		before := time.Now()
		for _, conn := range conns {
			closedBy(t, conn, 150*time.Second)
			require.Greater(t, time.Since(before), 115*time.Second)
		}
		newBystander(t, tg).serve(t)
	})
}

// TestBadFields has requests whose fields or body are missing or of another kind. Apache's handlers stumble over a null
// and answer 1; nothing is stored and the connection goes on.
func TestBadFields(t *testing.T) {
	t.Parallel()
	send := sendFields("", 0, "")
	cases := []struct {
		name   string
		code   int
		fields map[string]string
		body   string
	}{
		{"send without a queue id", codeSendMessage, without(send, "queueId"), "x"},
		{"send with a queue id that is no number", codeSendMessage, with(send, "queueId", "abc"), "x"},
		{"send with a queue id beyond 32 bits", codeSendMessage, with(send, "queueId", "99999999999"), "x"},
		{"short send with a queue id that is no number", codeSendMessageV2, shortened(with(send, "queueId", "abc")), "x"},
		{"short send without any field", codeSendMessageV2, nil, "x"},
		{"send without a topic", codeSendMessage, without(send, "topic"), "x"},
		{"pull without an offset", codePullMessage, without(pullFields("G_bad", "", 0, 0), "queueOffset"), ""},
		{"pull with an offset that is no number", codePullMessage, with(pullFields("G_bad", "", 0, 0), "queueOffset", "abc"), ""},
		{"pull without any field", codePullMessage, nil, ""},
		{"offset query without a queue", codeQueryConsumerOffset, ext("consumerGroup", "G_bad", "topic", probeTopic), ""},
		{"end of a queue that is no number", codeGetMaxOffset, ext("topic", probeTopic, "queueId", "abc"), ""},
		{"heartbeat that is not JSON", codeHeartbeat, nil, "{{{"},
		{"heartbeat of another shape", codeHeartbeat, nil, `{"clientID":["a"],"consumerDataSet":{"a":1}}`},
		{"heartbeat without a body", codeHeartbeat, nil, ""},
		{"lock without a body", codeLockBatch, nil, ""},
		{"lock of another shape", codeLockBatch, nil, `[1,2]`},
		{"group that is not JSON", codeCreateGroup, nil, "not json"},
		{"topic with a queue number that is no number", codeCreateTopic, with(topicFields(unique("T"), 1), "readQueueNums", "many"), ""},
		{"view at a negative offset", codeViewMessageByID, ext("offset", -7), ""},
		{"view without an offset", codeViewMessageByID, nil, ""},
		{"query without a key", codeQueryMessage, ext("topic", probeTopic), ""},
		{"send-back of nothing", codeSendBack, nil, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tg := onShared(t)
			topic := newTopic(t, tg, 2)
			fields := with(tc.fields)
			for _, name := range []string{"topic", "b"} {
				if v, has := fields[name]; has && v == "" {
					fields[name] = topic
				}
			}
			c := connect(t, tg.Broker())
			res := c.must(t, tc.code, fields, []byte(tc.body))
			require.Equal(t, resSystemError, res.Code, res.Remark)
			put(t, c, topic, 0, "the connection still serves", "")
		})
	}
}
