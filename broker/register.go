package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

const (
	// firstBackOff is the wait after the first failed registration; it doubles up to the period.
	firstBackOff = time.Second
	// minChangeGap is the least time between two registrations for a change of topics; a slow one is followed by ten times
	// what it took, but never by more than maxChangeGap: somebody may wait for the change to be known.
	minChangeGap = 10 * time.Millisecond
	maxChangeGap = 300 * time.Millisecond
	// settleGap is the least time from a topic told by itself to the registration of all: whoever creates many topics one by one
	// has all of them registered once a second, or after ten times what that takes.
	settleGap = time.Second
	// registerWait bounds one call. Apache: 24 s for all name servers together.
	registerWait = 3 * time.Second
	// leaveWait bounds the farewell to a name server that was silent before.
	leaveWait = time.Second
)

// RegistrarOptions say who registers where.
type RegistrarOptions struct {
	Cluster, Broker string
	BrokerID        int64
	// Addr is what clients are given, HAAddr what slaves are given, both "host:port".
	Addr, HAAddr string
	// Advertised is what clients are given that come through other listeners of a name server, "name=host:port;…".
	Advertised string
	// Namesrvs is the list of name servers, "host:port" separated by ";".
	Namesrvs string
	// Finding says that the list is filled by SetNamesrvs: while it is empty, the broker is not registered.
	Finding bool
	// Period is the time between two registrations.
	Period time.Duration
	// Compressed sends the topics as zlib.
	Compressed bool
	// SplitSize registers parts of so many topics, one after the other; 0 splits only what is too long for a frame.
	SplitSize int
	// QueryFirst asks a name server for the version it holds and registers only when that is another one. Without it, as
	// Java by default, every period sends all topics.
	QueryFirst bool
	// Topics returns all topics as they are to be registered, permissions bounded by the broker's, and their version. It is
	// asked once a period and after Changed.
	Topics func() codec.TopicConfigAndMapping
	Client *remoting.Client
	Logger *slog.Logger
}

// Registrar keeps a broker registered at its name servers, each on its own: one that cannot be reached does not hold up the
// others. It sends all topics, every period and after changes; a topic that is new or different is told by itself before, where the
// name server is known to know the broker. Apache: BrokerOuterAPI.registerBrokerAll, registerSingleTopicAll.
type Registrar struct {
	opts  RegistrarOptions
	body  registerBody
	links registrarLinks

	// changing is held while a change is counted and handed to all name servers, so that these get changes in the order of their
	// numbers. changes counts the calls of Changed and ChangedTopics.
	changing sync.Mutex
	changes  atomic.Int64
	// mu guards progress, which is closed and replaced whenever a name server has been called.
	mu       sync.Mutex
	progress chan struct{}
}

// namesrvLink is the broker's side of one name server.
type namesrvLink struct {
	addr    string
	changed chan struct{} // holds one token when the topics have changed
	tried   chan struct{} // closed by first: the name server has been called once, or is not to be
	first   func()
	stop    func() // ends keep; it does nothing before that runs
	// told is the count of changes that the name server has seen, down whether the last call failed, registered whether it
	// succeeded.
	told             atomic.Int64
	down, registered atomic.Bool
	fresh            freshTopics

	// mu is held while the name server is called, so that nothing is registered after Unregister.
	mu   sync.Mutex
	left bool
	// known is whether the last call succeeded, asked whether there was one.
	known, asked bool
	// conn is the connection over which all topics were registered last, 0 when that failed. plain is one over which a single topic was
	// refused: Apache's name servers before 5.0 do not know the request.
	conn, plain int64
}

func newNamesrvLink(addr string) *namesrvLink {
	l := &namesrvLink{addr: addr, changed: make(chan struct{}, 1), tried: make(chan struct{}), stop: func() {}}
	l.first = sync.OnceFunc(func() { close(l.tried) })
	return l
}

// NewRegistrar returns a registrar that does nothing before Run.
func NewRegistrar(opts RegistrarOptions) *Registrar {
	r := &Registrar{opts: opts, progress: make(chan struct{}), body: registerBody{topics: opts.Topics, compressed: opts.Compressed,
		partTopics: opts.SplitSize, maxBytes: registrationBytes}}
	r.SetNamesrvs(strings.Split(opts.Namesrvs, ";"))
	return r
}

// AwaitFirst returns when each name server has been told once, with or without success. Run must be running.
func (r *Registrar) AwaitFirst() {
	for _, l := range r.links.now() {
		<-l.tried
	}
}

// Changed says that the topics have changed: they are registered soon. It does not wait.
func (r *Registrar) Changed() { r.changed(nil) }

// ChangedTopics says that these topics are new or different, and nothing else. It does not wait.
func (r *Registrar) ChangedTopics(topics []codec.QueuesOfTopic) { r.changed(topics) }

func (r *Registrar) changed(topics []codec.QueuesOfTopic) {
	r.body.forget()
	r.changing.Lock()
	defer r.changing.Unlock()
	number := r.changes.Add(1)
	for _, l := range r.links.now() {
		l.fresh.add(number, topics)
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

// AwaitChanged returns when every name server that can be reached has been told of all changes so far, or ctx ends.
func (r *Registrar) AwaitChanged(ctx context.Context) {
	want := r.changes.Load()
	for {
		r.mu.Lock()
		progress := r.progress
		r.mu.Unlock()
		if !slices.ContainsFunc(r.links.now(), func(l *namesrvLink) bool { return l.told.Load() < want && !l.down.Load() }) {
			return
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return
		}
	}
}

// Namesrvs returns the addresses of the name servers.
func (r *Registrar) Namesrvs() []string {
	links := r.links.now()
	addrs := make([]string, len(links))
	for i, l := range links {
		addrs[i] = l.addr
	}
	return addrs
}

// Registered reports whether some name server has taken the latest call, or there is none to be called nor found.
func (r *Registrar) Registered() bool {
	links := r.links.now()
	for _, l := range links {
		if l.registered.Load() {
			return true
		}
	}
	return len(links) == 0 && !r.opts.Finding
}

// called notes how the call of a name server went that knew of that many changes.
func (r *Registrar) called(l *namesrvLink, changes int64, err error) {
	if err == nil {
		l.told.Store(changes)
	}
	l.down.Store(err != nil)
	l.registered.Store(err == nil)
	r.progressed()
}

// progressed has AwaitChanged look again.
func (r *Registrar) progressed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.progress)
	r.progress = make(chan struct{})
}

// Unregister tells every name server that the broker goes; nothing is registered afterwards. It returns when all have
// answered or ctx ends.
func (r *Registrar) Unregister(ctx context.Context) {
	var calls sync.WaitGroup
	for _, l := range r.links.leave() {
		calls.Go(func() {
			ctx := ctx
			l.mu.Lock()
			defer l.mu.Unlock()
			l.left = true
			if !l.known {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, leaveWait)
				defer cancel()
			}
			if err := r.call(ctx, l.addr, r.unregistration()); err != nil && l.known {
				r.opts.Logger.Warn("unregister at name server", "namesrv", l.addr, "err", err)
			}
		})
	}
	calls.Wait()
}

// keep keeps the broker registered at one name server.
func (r *Registrar) keep(ctx context.Context, l *namesrvLink) {
	backOff := firstBackOff
	changed := true
	defer l.first()
	for {
		began := time.Now()
		err := r.register(ctx, l, changed)
		l.first()
		if ctx.Err() != nil {
			return
		}
		took := time.Since(began)
		p := pause{most: r.opts.Period, gap: min(max(minChangeGap, 10*took), maxChangeGap), settle: max(settleGap, 10*took)}
		if err != nil {
			p.most = min(backOff, r.opts.Period)
			p.gap, p.settle = p.most, p.most
			backOff = min(2*backOff, r.opts.Period)
		} else {
			backOff = firstBackOff
		}
		if changed = r.await(ctx, l, p); ctx.Err() != nil {
			return
		}
	}
}

// pause says how long to wait after a registration: at most most; at least gap when there is a change; settle when the change has been
// told by itself.
type pause struct{ most, gap, settle time.Duration }

// await waits for when all topics are to be registered again, and tells topics by themselves meanwhile. It reports whether there was a
// change.
func (r *Registrar) await(ctx context.Context, l *namesrvLink, p pause) (changed bool) {
	began := time.Now()
	due := began.Add(p.most)
	timer := time.NewTimer(p.most)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return changed
		case <-timer.C:
			return changed
		case <-l.changed:
		}
		next := began.Add(p.gap)
		switch n, told := r.tellFresh(ctx, l); {
		case told && n == 0: // all topics were registered since
			continue
		case told:
			next = time.Now().Add(p.settle)
		}
		if changed = true; next.Before(due) {
			due = next
			timer.Reset(time.Until(due))
		}
	}
}

// register registers once and logs when that goes otherwise than the time before.
func (r *Registrar) register(ctx context.Context, l *namesrvLink, changed bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return nil
	}
	r.changing.Lock()
	changes := r.changes.Load()
	l.fresh.clear()
	r.changing.Unlock()
	err := r.send(ctx, l, changed)
	if l.conn = r.opts.Client.ConnID(l.addr); err != nil {
		l.conn = 0
		l.fresh.spoil()
	}
	r.called(l, changes, err)
	if ctxErr := ctx.Err(); err != nil && errors.Is(ctxErr, context.Canceled) {
		return err
	}
	switch known := err == nil; {
	case known && !l.known:
		r.opts.Logger.Info("registered at name server", "namesrv", l.addr, "broker", r.opts.Broker, "addr", r.opts.Addr)
	case !known && (l.known || !l.asked):
		r.opts.Logger.Warn("cannot register at name server, trying again", "namesrv", l.addr, "err", err)
	}
	l.known, l.asked = err == nil, true
	return err
}

func (r *Registrar) send(ctx context.Context, l *namesrvLink, changed bool) error {
	bodies, version, err := r.body.encoded()
	if err != nil {
		return err
	}
	if r.opts.QueryFirst && !changed {
		same, err := r.sameVersion(ctx, l.addr, version)
		if err != nil || same {
			return err
		}
	}
	for _, body := range bodies {
		if err := r.callWithin(ctx, l.addr, r.registration(body)); err != nil {
			return err
		}
	}
	return nil
}

// sameVersion asks a name server whether it holds that version of the topics, which is a sign of life too.
func (r *Registrar) sameVersion(ctx context.Context, addr string, version codec.DataVersion) (bool, error) {
	body, err := codec.MarshalJSON(version)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	resp, err := r.opts.Client.Call(ctx, addr, request(codec.QueryDataVersion, body, &codec.QueryDataVersionHeader{
		BrokerName: r.opts.Broker, BrokerAddr: r.opts.Addr, ClusterName: r.opts.Cluster, BrokerID: r.opts.BrokerID}))
	if err != nil {
		return false, err
	}
	if resp.Code != codec.Success {
		return false, fmt.Errorf("name server answers %d: %s", resp.Code, resp.Remark)
	}
	changed, _ := resp.Field("changed")
	return string(changed) == "false", nil
}

func (r *Registrar) registration(body []byte) *codec.Command {
	acting := false
	var advertised *string
	if r.opts.Advertised != "" {
		advertised = &r.opts.Advertised
	}
	return request(codec.RegisterBroker, body, &codec.RegisterBrokerHeader{
		AdvertisedAddrs: advertised,
		BrokerName:      r.opts.Broker, BrokerAddr: r.opts.Addr, ClusterName: r.opts.Cluster, HAServerAddr: r.opts.HAAddr,
		BrokerID: r.opts.BrokerID, EnableActingMaster: &acting, Compressed: r.opts.Compressed, BodyCRC32: int32(codec.BodyCRC(body))})
}

func (r *Registrar) unregistration() *codec.Command {
	return request(codec.UnregisterBroker, nil, &codec.UnregisterBrokerHeader{
		BrokerName: r.opts.Broker, BrokerAddr: r.opts.Addr, ClusterName: r.opts.Cluster, BrokerID: r.opts.BrokerID})
}

// callWithin calls a name server, for as long as one call may take.
func (r *Registrar) callWithin(ctx context.Context, addr string, c *codec.Command) error {
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	return r.call(ctx, addr, c)
}

// call calls a name server; an answer other than success is an error.
func (r *Registrar) call(ctx context.Context, addr string, c *codec.Command) error {
	resp, err := r.opts.Client.Call(ctx, addr, c)
	if err != nil {
		return err
	}
	if resp.Code != codec.Success {
		return fmt.Errorf("name server answers %d: %s", resp.Code, resp.Remark)
	}
	return nil
}

func request(code int32, body []byte, header any) *codec.Command {
	return &codec.Command{Code: code, Language: codec.LanguageJava, Version: codec.Version, Header: header, Body: body}
}
