package broker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// registrarLinks are the name servers that the broker is registered at, which may change while it runs.
type registrarLinks struct {
	list atomic.Pointer[[]*namesrvLink]

	// mu guards the fields below and the storing of list.
	mu sync.Mutex
	// run is the context of Run, nil before and after.
	run   context.Context
	keeps sync.WaitGroup
	// left is whether Unregister was called: no name server is added any more.
	left bool
}

func (ls *registrarLinks) now() []*namesrvLink {
	if list := ls.list.Load(); list != nil {
		return *list
	}
	return nil
}

// SetNamesrvs changes the name servers. The broker registers at new ones at once. Those that are no longer in the list hear nothing any
// more and forget the broker when its lease is over: until then clients that have the old list find it. Apache:
// BrokerOuterAPI.updateNameServerAddressList.
func (r *Registrar) SetNamesrvs(addrs []string) {
	ls := &r.links
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.left {
		return
	}
	before := ls.now()
	var next []*namesrvLink
	for _, addr := range addrs {
		addr = strings.TrimSpace(addr)
		if addr == "" || linkOf(next, addr) != nil {
			continue
		}
		l := linkOf(before, addr)
		if l == nil {
			l = newNamesrvLink(addr)
			r.keepLocked(l)
		}
		next = append(next, l)
	}
	ls.list.Store(&next)
	for _, l := range before {
		if linkOf(next, l.addr) == nil {
			l.stop()
			l.first()
		}
	}
	r.progressed()
}

// leave returns the name servers, to which none is added any more.
func (ls *registrarLinks) leave() []*namesrvLink {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.left = true
	return ls.now()
}

func linkOf(links []*namesrvLink, addr string) *namesrvLink {
	if i := slices.IndexFunc(links, func(l *namesrvLink) bool { return l.addr == addr }); i >= 0 {
		return links[i]
	}
	return nil
}

// keepLocked keeps the broker registered at a name server as long as Run runs and the name server is in the list.
func (r *Registrar) keepLocked(l *namesrvLink) {
	if r.links.run == nil {
		return
	}
	ctx, stop := context.WithCancel(r.links.run)
	l.stop = stop
	r.links.keeps.Go(func() {
		defer stop()
		r.keep(ctx, l)
	})
}

// Run registers at once, every period and after each change, until ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	ls := &r.links
	ls.mu.Lock()
	ls.run = ctx
	for _, l := range ls.now() {
		r.keepLocked(l)
	}
	ls.mu.Unlock()
	<-ctx.Done()
	ls.mu.Lock()
	ls.run = nil
	ls.mu.Unlock()
	ls.keeps.Wait()
}
