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
// others. It always sends all topics, since a name server that does not know the broker refuses a single one.
// Apache: BrokerOuterAPI.registerBrokerAll.
type Registrar struct {
	opts  RegistrarOptions
	body  registerBody
	links registrarLinks

	// changes counts the calls of Changed.
	changes atomic.Int64
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

	// mu is held while the name server is called, so that nothing is registered after Unregister.
	mu   sync.Mutex
	left bool
	// known is whether the last call succeeded, asked whether there was one.
	known, asked bool
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
func (r *Registrar) Changed() {
	r.body.forget()
	r.changes.Add(1)
	for _, l := range r.links.now() {
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
		wait, gap := r.opts.Period, min(max(minChangeGap, 10*time.Since(began)), maxChangeGap)
		if err != nil {
			wait = min(backOff, r.opts.Period)
			gap = wait
			backOff = min(2*backOff, r.opts.Period)
		} else {
			backOff = firstBackOff
		}
		if changed = r.pause(ctx, l, gap, wait); ctx.Err() != nil {
			return
		}
	}
}

// pause waits for a change, but at least for gap, or until wait is over. It reports whether there was a change.
func (r *Registrar) pause(ctx context.Context, l *namesrvLink, gap, wait time.Duration) bool {
	gap = min(gap, wait)
	timer := time.NewTimer(gap)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	timer.Reset(wait - gap)
	select {
	case <-ctx.Done():
	case <-timer.C:
		select {
		case <-l.changed:
			return true
		default:
		}
	case <-l.changed:
		return true
	}
	return false
}

// register registers once and logs when that goes otherwise than the time before.
func (r *Registrar) register(ctx context.Context, l *namesrvLink, changed bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return nil
	}
	changes := r.changes.Load()
	err := r.send(ctx, l, changed)
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
