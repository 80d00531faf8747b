package web

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxTextConns bounds the connections that are served at a time; more wait in the kernel's queue.
const maxTextConns = 256

// OpenText serves short answers to many clients, one for each connection, until Close. The caller says in errors where addr comes from.
func OpenText(addr string, handler http.Handler, log *slog.Logger) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: handler, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	server.SetKeepAlivesEnabled(false)
	return serve(&bounded{Listener: ln, free: make(chan struct{}, maxTextConns), closed: make(chan struct{})}, server, "serving text has ended", log), nil
}

// bounded accepts a connection once there is room for it.
type bounded struct {
	net.Listener
	free   chan struct{} // holds a token for each open connection
	closed chan struct{}
	once   sync.Once
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &boundedConn{Conn: c, left: sync.OnceFunc(func() { <-b.free })}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

type boundedConn struct {
	net.Conn
	left func()
}

func (c *boundedConn) Close() error {
	defer c.left()
	return c.Conn.Close()
}
