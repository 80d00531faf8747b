package compat

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// pipe is a connection of a benchmark: it writes frames made beforehand and looks at answers with as little work as can be,
// so that the numbers are the server's.
type pipe struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte
	body []byte
}

func openPipe(addr string) (*pipe, error) {
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return &pipe{conn: conn, r: bufio.NewReaderSize(conn, 256<<10)}, nil
}

func (p *pipe) close() { _ = p.conn.Close() }

// firstOpaque has as many digits as all that follow it, so that a frame's opaque can be replaced in place.
const firstOpaque = 1_000_000_000

// frameMaker makes frames of one request that differ in a few fields. What is the same in all of them is encoded once.
type frameMaker struct {
	head  []byte // sizes to be filled in, and the header up to the opaque
	fixed []byte // the header from there on, without its end
}

func newFrameMaker(code int, ext map[string]string) *frameMaker {
	m := &frameMaker{
		head:  fmt.Appendf(make([]byte, 8), `{"code":%d,"language":"GO","version":317,"flag":0,"opaque":`, code),
		fixed: []byte(`,"extFields":{`),
	}
	for k, v := range ext {
		m.fixed = appendField(m.fixed, k, v)
	}
	return m
}

// field is a field of one frame: text, or a number without it.
type field struct {
	name string
	text []byte
	n    int64
}

// append appends a frame whose fields are those of m, and more. Texts have nothing in them that JSON would escape.
func (m *frameMaker) append(dst []byte, opaque int, body []byte, more ...field) []byte {
	at := len(dst)
	dst = strconv.AppendInt(append(dst, m.head...), int64(opaque), 10)
	dst = append(dst, m.fixed...)
	for i := range more {
		dst = append(append(append(dst, '"'), more[i].name...), `":"`...)
		if more[i].text != nil {
			dst = append(dst, more[i].text...)
		} else {
			dst = strconv.AppendInt(dst, more[i].n, 10)
		}
		dst = append(dst, `",`...)
	}
	dst = append(bytes.TrimSuffix(dst, []byte(",")), "}}"...)
	binary.BigEndian.PutUint32(dst[at+4:], uint32(len(dst)-at-8))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4+len(body)))
	return append(dst, body...)
}

func appendField(dst []byte, k, v string) []byte {
	dst = append(append(append(dst, '"'), k...), `":"`...)
	for i := range len(v) {
		if v[i] < 3 { // the separators of properties
			dst = append(dst, `\u000`...)
			dst = append(dst, '0'+v[i])
			continue
		}
		dst = append(dst, v[i])
	}
	return append(dst, `",`...)
}

// reply is an answer. Header and body live until the next one is read.
type reply struct {
	code, opaque int
	header, body []byte
}

// field returns the text of a field, nil without. It lives as long as the header.
func (a *reply) field(name string) []byte {
	at := 0
	for {
		i := bytes.Index(a.header[at:], []byte(name))
		if i < 0 {
			return nil
		}
		start := at + i
		at = start + len(name)
		if start == 0 || a.header[start-1] != '"' || !bytes.HasPrefix(a.header[at:], []byte(`":"`)) {
			continue
		}
		rest := a.header[at+3:]
		end := bytes.IndexByte(rest, '"')
		if end < 0 {
			return nil
		}
		return rest[:end]
	}
}

func (a *reply) number(name string) int64 { return digits(a.field(name)) }

// digits is the number at the start of b.
func digits(b []byte) (n int64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// read reads one answer.
func (p *pipe) read(a *reply) error {
	var head [8]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return err
	}
	total, headerLen := int(binary.BigEndian.Uint32(head[:])), int(binary.BigEndian.Uint32(head[4:])&0xFFFFFF)
	if total < 4+headerLen || total > maxFrameBytes {
		return fmt.Errorf("frame of %d bytes with a header of %d", total, headerLen)
	}
	if cap(p.body) < total-4 {
		p.body = make([]byte, total-4)
	}
	b := p.body[:total-4]
	if _, err := io.ReadFull(p.r, b); err != nil {
		return err
	}
	a.header, a.body = b[:headerLen], b[headerLen:]
	a.code, a.opaque = intAfter(a.header, `"code":`), intAfter(a.header, `"opaque":`)
	return nil
}

func intAfter(b []byte, name string) int {
	at := bytes.Index(b, []byte(name))
	if at < 0 {
		return -1
	}
	return int(digits(b[at+len(name):]))
}

// windowed keeps a window of requests on the way until the time is over. next appends the request that follows the answer a in
// its place of the window; a is nil for the first one and after an answer that the server is busy. Other answers than success
// are errors.
func (p *pipe) windowed(window int, until time.Time, next func(slot int, a *reply, dst []byte) []byte) error {
	p.out = p.out[:0]
	for slot := range window {
		p.out = next(slot, nil, p.out)
	}
	var a reply
	onTheWay := window
	for onTheWay > 0 {
		if p.r.Buffered() == 0 && len(p.out) > 0 {
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
			p.out = p.out[:0]
		}
		if err := p.read(&a); err != nil {
			return err
		}
		done := &a
		switch a.code {
		case resSuccess:
		case resSystemBusy:
			done = nil
		default:
			return fmt.Errorf("answer %s", a.header)
		}
		had := len(p.out)
		p.out = next(a.opaque-firstOpaque, done, p.out)
		if len(p.out) == had || time.Now().After(until) {
			p.out = p.out[:had]
			onTheWay--
		}
	}
	return nil
}

// records calls yield with the stored records of a body.
func records(body []byte, yield func(record []byte)) error {
	for len(body) > 0 {
		if len(body) < 4 {
			return fmt.Errorf("%d bytes behind the last record", len(body))
		}
		size := int(binary.BigEndian.Uint32(body))
		if size < 91 || size > len(body) {
			return fmt.Errorf("record of %d bytes in %d", size, len(body))
		}
		yield(body[:size])
		body = body[size:]
	}
	return nil
}

// sameBatch is the body of a batch of messages that are all the same.
func sameBatch(n int, body, properties string) []byte {
	var b []byte
	be := binary.BigEndian
	for range n {
		b = be.AppendUint32(b, uint32(22+len(body)+len(properties)))
		b = append(b, make([]byte, 12)...)
		b = append(be.AppendUint32(b, uint32(len(body))), body...)
		b = append(be.AppendUint16(b, uint16(len(properties))), properties...)
	}
	return b
}

// cpuTime is what a process has used of the cores, user and system.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100), err // USER_HZ
}
