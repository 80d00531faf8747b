package compat

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const callTimeout = 10 * time.Second

// client is one connection with frames built by hand. Calls may come from several goroutines. One goroutine reads until
// the connection ends; close waits for it.
type client struct {
	conn   net.Conn
	opaque atomic.Int32
	done   chan struct{}
	err    error // why reading ended; read after done

	writeMu sync.Mutex
	mu      sync.Mutex
	waiting map[int32]chan *packet
	// pushed takes what the server sends by itself; the connection keeps the newest that fit.
	pushed chan *packet
	answer func(*packet) *packet
}

const pushedLimit = 1024

var (
	// tlsAddrs are the addresses to which the suite's own connections use TLS.
	tlsAddrs sync.Map
	// tlsClientPair is the certificate they show, if any.
	tlsClientPair atomic.Pointer[tls.Certificate]
)

// dial connects to host:port. Requests of the server are not answered.
func dial(addr string) (*client, error) { return dialAnswering(addr, nil) }

// dialAnswering connects to host:port; answer makes the response to each request of the server, on the reading goroutine,
// and returns nil to leave it unanswered.
func dialAnswering(addr string, answer func(*packet) *packet) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if _, ok := tlsAddrs.Load(addr); ok {
		config := &tls.Config{InsecureSkipVerify: true}
		if pair := tlsClientPair.Load(); pair != nil {
			config.Certificates = []tls.Certificate{*pair}
		}
		conn = tls.Client(conn, config)
	}
	c := &client{
		conn: conn, done: make(chan struct{}), waiting: map[int32]chan *packet{},
		pushed: make(chan *packet, pushedLimit), answer: answer,
	}
	go c.read()
	return c, nil
}

func (c *client) close() {
	_ = c.conn.Close()
	<-c.done
}

func (c *client) read() {
	defer close(c.done)
	r := bufio.NewReader(c.conn)
	for {
		p, err := readPacket(r)
		if err != nil {
			c.err = err
			return
		}
		if p.isResponse() {
			c.deliver(p)
			continue
		}
		if c.answer != nil && p.Flag&flagOneway == 0 {
			if res := c.answer(p); res != nil {
				res.Opaque, res.Flag = p.Opaque, res.Flag|flagResponse
				_ = c.write(res.encode())
			}
		}
		select {
		case c.pushed <- p:
		default:
		}
	}
}

func (c *client) deliver(p *packet) {
	c.mu.Lock()
	ch := c.waiting[p.Opaque]
	delete(c.waiting, p.Opaque)
	c.mu.Unlock()
	if ch != nil {
		ch <- p // room for one, and each is delivered once
	}
}

func (c *client) write(b []byte) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	_, err := c.conn.Write(b)
	return err
}

var errNoAnswer = errors.New("no answer")

// send writes a request and returns where its response will arrive.
func (c *client) send(p *packet) (<-chan *packet, error) {
	p.Opaque = c.opaque.Add(1)
	if p.Language == "" {
		p.Language, p.Version = "GO", goVersion
	}
	ch := make(chan *packet, 1)
	c.mu.Lock()
	c.waiting[p.Opaque] = ch
	c.mu.Unlock()
	return ch, c.write(p.encode())
}

// await waits for a response.
func (c *client) await(ch <-chan *packet, limit time.Duration) (*packet, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case res := <-ch:
		return res, nil
	case <-c.done:
		select {
		case res := <-ch:
			return res, nil
		default:
			return nil, fmt.Errorf("connection ended: %w", c.err)
		}
	case <-timer.C:
		return nil, fmt.Errorf("%w in %v", errNoAnswer, limit)
	}
}

// callPacket sends a request as it is and waits for its response.
func (c *client) callPacket(p *packet, limit time.Duration) (*packet, error) {
	ch, err := c.send(p)
	if err != nil {
		return nil, err
	}
	res, err := c.await(ch, limit)
	if err != nil {
		return nil, fmt.Errorf("request %d: %w", p.Code, err)
	}
	return res, nil
}

// call sends a request with a JSON header and waits for its response.
func (c *client) call(code int, ext map[string]string, body []byte) (*packet, error) {
	return c.callPacket(&packet{Code: code, Ext: ext, Body: body}, callTimeout)
}

// oneway sends a request that is not answered.
func (c *client) oneway(code int, ext map[string]string, body []byte) error {
	p := &packet{Code: code, Ext: ext, Body: body, Flag: flagOneway, Language: "GO", Version: goVersion}
	p.Opaque = c.opaque.Add(1)
	return c.write(p.encode())
}

// callOnce makes one request on a connection of its own.
func callOnce(addr string, code int, ext map[string]string, body []byte) (*packet, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.call(code, ext, body)
}
