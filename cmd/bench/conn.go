package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// answerTimeout is how long an answer may take when the run is over.
const answerTimeout = 5 * time.Second

// conn is a connection used by one goroutine that writes and one that reads, which may be the same. Frames are gathered and leave
// in one write.
type conn struct {
	net.Conn
	r     *bufio.Reader
	sign  func(*codec.Command) error // nil signs nothing
	out   []byte
	frame []byte
	resp  codec.Command
}

func (l *load) connect(ctx context.Context, addr string) (*conn, error) {
	within, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	nc, err := l.dial(within, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return &conn{Conn: nc, sign: l.sign(), r: bufio.NewReaderSize(nc, 256<<10)}, nil
}

// add gathers a request.
func (c *conn) add(cmd *codec.Command) error {
	if c.sign != nil {
		if err := c.sign(cmd); err != nil {
			return err
		}
	}
	c.out = codec.AppendFrame(c.out, cmd)
	return nil
}

// flush writes what was gathered.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// read returns the next answer, which lives until the one after it is read.
func (c *conn) read() (*codec.Command, error) {
	head, err := c.r.Peek(4)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head)) + 4
	if n < 8 || n > codec.MaxFrameBytes+4 {
		return nil, fmt.Errorf("%w: %d bytes", codec.ErrFrame, n)
	}
	if cap(c.frame) < n {
		c.frame = make([]byte, n)
	}
	if _, err := io.ReadFull(c.r, c.frame[:n]); err != nil {
		return nil, err
	}
	if err := codec.ParseFrame(c.frame[:n], &c.resp); err != nil {
		return nil, err
	}
	return &c.resp, nil
}

// maker makes the send requests of one connection.
type maker struct {
	topic   string
	queueID int64
	bornMs  int64
	batch   bool

	run    uint64
	sender uint32
	body   []byte // of one message
	whole  []byte // of a batch
	props  []byte
	cmd    codec.Command
}

func newMaker(run uint64, sender uint32, size int) *maker {
	m := &maker{run: run, sender: sender, body: make([]byte, size)}
	for i := range m.body {
		m.body[i] = 'a' + byte(i%26)
	}
	return m
}

// request makes one send of n messages, numbered from first, to q. It is valid until the next call.
func (m *maker) request(q queue, first uint32, n int, opaque int32, dueNs int64) *codec.Command {
	m.topic, m.queueID, m.bornMs, m.batch = q.topic, int64(q.id), dueNs/int64(time.Millisecond), n > 1
	m.cmd = codec.Command{Code: codec.SendMessageV2, Language: codec.LanguageGo, Opaque: opaque, Header: m, Body: m.body}
	m.whole = m.whole[:0]
	for i := range n {
		id := mark{m.run, m.sender, first + uint32(i), dueNs}
		id.put(m.body)
		m.uniqueKey(id)
		if m.batch {
			m.whole = codec.AppendBatchEntry(m.whole, 0, m.body, m.props)
		}
	}
	if m.batch {
		m.cmd.Code, m.cmd.Body = codec.SendBatchMessage, m.whole
	}
	return &m.cmd
}

// uniqueKey sets the properties that a producer's client adds: without a unique key a server has less to do than in life.
func (m *maker) uniqueKey(id mark) {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], id.run)
	binary.BigEndian.PutUint32(raw[8:], id.sender)
	binary.BigEndian.PutUint32(raw[12:], id.number)
	var text [32]byte
	hex.Encode(text[:], raw[:])
	m.props = codec.AppendPropertyBytes(m.props[:0], codec.PropUniqKey, text[:])
	m.props = codec.AppendProperty(m.props, codec.PropWait, "true")
}

// AppendFields writes the header of SEND_MESSAGE_V2. Apache: SendMessageRequestHeaderV2.
func (m *maker) AppendFields(w *codec.FieldWriter) {
	w.String("a", group)
	w.String("b", m.topic)
	w.String("c", "TBW102")
	w.Int("d", 4)
	w.Int("e", m.queueID)
	w.Int("f", 0)
	w.Int("g", m.bornMs)
	w.Int("h", 0)
	if !m.batch {
		w.Bytes("i", m.props)
	}
	w.Int("j", 0)
	w.Bool("k", false)
	w.Bool("m", m.batch)
}

// group is the producers' and consumers' one.
const group = "apogee-bench"

// pull is the header of PULL_MESSAGE. Apache: PullMessageRequestHeader.
type pull struct {
	q         queue
	group     string
	offset    int64
	suspendMs int64
}

// Bits of a pull's sysFlag. Apache: PullSysFlag.
const (
	pullMayWait      = 2
	pullSubscription = 4
)

// AppendFields writes the header's fields.
func (p *pull) AppendFields(w *codec.FieldWriter) {
	flag := int64(pullSubscription)
	if p.suspendMs > 0 {
		flag |= pullMayWait
	}
	w.String("consumerGroup", p.group)
	w.String("topic", p.q.topic)
	w.Int("queueId", int64(p.q.id))
	w.Int("queueOffset", p.offset)
	w.Int("maxMsgNums", 32)
	w.Int("sysFlag", flag)
	w.Int("commitOffset", 0)
	w.Int("suspendTimeoutMillis", p.suspendMs)
	w.String("subscription", "*")
	w.Int("subVersion", 0)
	w.String("expressionType", "TAG")
}
