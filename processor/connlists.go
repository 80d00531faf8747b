package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/remoting"
)

// connLists are the parked requests of each connection, so that those of one that closes are found. A connection without any has no
// entry.
type connLists[T any] struct {
	mu    sync.Mutex // guards what follows and all links; no other lock is taken inside
	lists map[remoting.Conn]connList[T]
}

type connList[T any] struct {
	first *connLink[T]
	count int
}

// connLink is the place of a request in its connection's list.
type connLink[T any] struct {
	of         T
	prev, next *connLink[T]
}

func newConnLists[T any]() connLists[T] {
	return connLists[T]{lists: make(map[remoting.Conn]connList[T])}
}

// add puts a request into the list of a connection; false when that has the most it may have.
func (l *connLists[T]) add(conn remoting.Conn, link *connLink[T], most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.lists[conn]
	if list.count >= most {
		return false
	}
	if link.prev, link.next = nil, list.first; link.next != nil {
		link.next.prev = link
	}
	l.lists[conn] = connList[T]{first: link, count: list.count + 1}
	return true
}

func (l *connLists[T]) remove(conn remoting.Conn, link *connLink[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.lists[conn]
	list.count--
	if link.prev != nil {
		link.prev.next = link.next
	} else {
		list.first = link.next
	}
	if link.next != nil {
		link.next.prev = link.prev
	}
	link.prev, link.next = nil, nil
	if list.count == 0 {
		delete(l.lists, conn)
	} else {
		l.lists[conn] = list
	}
}

// first calls look with some request of a connection, while none is added or removed; false when it has none.
func (l *connLists[T]) first(conn remoting.Conn, look func(T)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.lists[conn]
	if list.first == nil {
		return false
	}
	look(list.first.of)
	return true
}
