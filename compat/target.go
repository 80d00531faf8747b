// Package compat is the conformance suite. It starts real processes, ours or Apache's, and speaks to them as clients do:
// with the official Go client, with the Java clients, and with frames built by hand. It imports none of the server's
// packages, so that it says the same about both servers.
//
// APOGEE_TARGET names the server under test: apogee (the default) or apache. APOGEE_APACHE_VERSION names a release of Apache's servers
// other than the one the suite is written for, so that what is new in it can be asked for.
// APOGEE_BIN names a ready binary of ours; without it one is built once per test process.
package compat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Kind says whose servers a Target runs.
type Kind string

// The servers the suite knows.
const (
	Apogee Kind = "apogee"
	Apache Kind = "apache"
)

// TargetKind is the server that APOGEE_TARGET asks for.
func TargetKind() (Kind, error) {
	switch v := Kind(os.Getenv("APOGEE_TARGET")); v {
	case "", Apogee:
		return Apogee, nil
	case Apache:
		return Apache, nil
	default:
		return "", fmt.Errorf("APOGEE_TARGET %q is neither apogee nor apache", v)
	}
}

const (
	stopTimeout  = 30 * time.Second
	readyTimeout = 4 * time.Minute
	logTailBytes = 6000
)

// Target is one name server and one broker, each a process that can be stopped, killed and started again on the same
// ports and the same store. Its methods are called from one goroutine at a time.
type Target struct {
	Kind        Kind
	Dir         string // everything the processes write
	ClusterName string
	BrokerName  string

	ports    ports
	conf     map[string]string
	together bool     // one process for both, as `apogee server`
	alone    bool     // no broker
	others   []string // more name servers for the broker
	forSpeed bool     // see ForSpeed
	damaged  bool     // see DamagedStore
	pinned   []string // what the servers' command lines begin with, if anything
	as       *account // whose signature requests bear, if anybody's
	nsConf   map[string]string
	launch   launcher
	// properties are Java's, "name=value", of the servers; javaProperties those of the Java clients.
	properties, javaProperties []string

	namesrv *process
	broker  *process
}

// launcher knows the command lines of one kind of server.
type launcher interface {
	server(t *Target) (*command, error)
	namesrv(t *Target) (*command, error)
	broker(t *Target) (*command, error)
}

// Option changes a Target before it starts.
type Option func(*Target)

// WithConf sets a key of broker.conf.
func WithConf(key, value string) Option {
	return func(t *Target) { t.conf[key] = value }
}

// WithNamesrvConf sets a key of namesrv.conf.
func WithNamesrvConf(key, value string) Option {
	return func(t *Target) { t.nsConf[key] = value }
}

// WithNames sets the names under which the broker registers.
func WithNames(cluster, broker string) Option {
	return func(t *Target) { t.ClusterName, t.BrokerName = cluster, broker }
}

// InOneProcess runs name server and broker in one process where the server can do so. Neither can then be stopped alone.
func InOneProcess() Option {
	return func(t *Target) { t.together = t.Kind == Apogee }
}

// WithoutBroker runs the name server alone.
func WithoutBroker() Option {
	return func(t *Target) { t.alone = true }
}

// WithNamesrv has the broker register with one more name server.
func WithNamesrv(addr string) Option {
	return func(t *Target) { t.others = append(t.others, addr) }
}

// DamagedStore says that the test damages the store, so that it is not whole at the end.
func DamagedStore() Option {
	return func(t *Target) { t.damaged = true }
}

// ForSpeed gives the servers the settings of their makers instead of those of the suite, and one core.
func ForSpeed() Option {
	return func(t *Target) {
		t.forSpeed = true
		for _, key := range []string{"mappedFileSizeCommitLog", "mappedFileSizeConsumeQueue", "maxHashSlotNum", "maxIndexNum",
			"brokerFastFailureEnable", "osPageCacheBusyTimeOutMills"} {
			t.conf[key] = ""
		}
		if _, err := exec.LookPath("taskset"); err == nil {
			t.pinned = []string{"taskset", "-c", "0"}
		}
	}
}

// Start runs a target of its own for one test, waits until it serves, and ends it with the test. A store of ours then has to be
// whole. The processes' logs are printed if the test fails.
func Start(t testing.TB, opts ...Option) *Target {
	t.Helper()
	kind, err := TargetKind()
	require.NoError(t, err)
	tg, err := newTarget(kind, t.TempDir(), opts...)
	require.NoError(t, err)
	tg.run(t)
	return tg
}

// run starts what newTarget made, and ends it with the test.
func (t *Target) run(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Error(err)
		} else if err := t.checkAtEnd(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Log(t.logs())
		}
	})
	require.NoError(tb, t.start())
}

func newTarget(kind Kind, dir string, opts ...Option) (*Target, error) {
	t := &Target{Kind: kind, Dir: dir, ClusterName: "CompatCluster", BrokerName: "compat-a", conf: map[string]string{}, nsConf: map[string]string{}}
	for _, opt := range opts {
		opt(t)
	}
	var err error
	if t.ports, err = pickPorts(); err != nil {
		return nil, err
	}
	switch kind {
	case Apogee:
		t.launch, err = newApogeeLauncher()
	case Apache:
		t.launch, err = newApacheLauncher()
	}
	if err != nil {
		return nil, err
	}
	return t, t.writeConf()
}

// Namesrv is the address of the name server, host:port.
func (t *Target) Namesrv() string { return loopback(t.ports.namesrv) }

// namesrvs are the addresses that the broker is given, separated by semicolons.
func (t *Target) namesrvs() string {
	return strings.Join(append([]string{t.Namesrv()}, t.others...), ";")
}

// Broker is the main address of the broker, host:port.
func (t *Target) Broker() string { return loopback(t.ports.broker) }

// VIP is the address of the broker's second port, which serves all but pulls.
func (t *Target) VIP() string { return loopback(t.ports.broker - 2) }

// StorePath is the broker's storePathRootDir.
func (t *Target) StorePath() string { return filepath.Join(t.Dir, "store") }

func (t *Target) start() error {
	if t.together {
		cmd, err := t.launch.server(t)
		if err != nil {
			return err
		}
		if t.broker, err = startProcess(cmd); err != nil {
			return err
		}
		if err := t.awaitNamesrv(t.broker); err != nil {
			return err
		}
		return t.awaitBroker()
	}
	if err := t.startNamesrv(); err != nil || t.alone {
		return err
	}
	return t.startBroker()
}

func (t *Target) startNamesrv() error {
	cmd, err := t.launch.namesrv(t)
	if err != nil {
		return err
	}
	if t.namesrv, err = startProcess(cmd.after(t.pinned)); err != nil {
		return err
	}
	return t.awaitNamesrv(t.namesrv)
}

func (t *Target) startBroker() error {
	if err := t.launchBroker(); err != nil {
		return err
	}
	return t.awaitBroker()
}

// launchBroker starts the broker's process and does not wait until it serves.
func (t *Target) launchBroker() error {
	cmd, err := t.launch.broker(t)
	if err != nil {
		return err
	}
	t.broker, err = startProcess(cmd.after(t.pinned))
	return err
}

// Close ends what still runs. Ours has to end cleanly when asked; Apache's servers take their time, and are killed.
// Safe to call twice.
func (t *Target) Close() error {
	var first error
	for _, p := range []*process{t.broker, t.namesrv} {
		if p == nil || !p.running() && p.told {
			continue
		}
		if t.Kind == Apogee {
			if err := p.stop(stopTimeout); err != nil && first == nil { // or it has ended by itself
				first = err
			}
		}
		p.kill()
	}
	return first
}

// StopBroker ends the broker with SIGTERM and waits for its exit, which has to be clean.
func (t *Target) StopBroker(tb testing.TB) {
	tb.Helper()
	require.False(tb, t.together, "the broker has no process of its own")
	require.NoError(tb, t.broker.stop(stopTimeout))
}

// KillBroker ends the broker with SIGKILL.
func (t *Target) KillBroker(tb testing.TB) {
	tb.Helper()
	require.False(tb, t.together, "the broker has no process of its own")
	t.broker.kill()
}

// StartBroker starts the broker again and waits until it serves.
func (t *Target) StartBroker(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, t.startBroker())
}

// StopNamesrv ends the name server with SIGTERM.
func (t *Target) StopNamesrv(tb testing.TB) {
	tb.Helper()
	require.False(tb, t.together, "the name server has no process of its own")
	require.NoError(tb, t.namesrv.stop(stopTimeout))
}

// StartNamesrv starts the name server again and waits until it serves. Brokers come back to it by themselves.
func (t *Target) StartNamesrv(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, t.startNamesrv())
}

// awaitNamesrv waits until the name server answers, or its process ends.
func (t *Target) awaitNamesrv(p *process) error {
	return poll(readyTimeout, func() error {
		if !p.running() {
			return permanent(fmt.Errorf("name server ended before it served: %w", p.exitErr()))
		}
		_, err := callOnce(t.Namesrv(), codeGetBrokerClusterInfo, nil, nil)
		return err
	})
}

// awaitBroker waits until the broker is in the name server's table and a topic created on it has a route.
func (t *Target) awaitBroker() error {
	return poll(readyTimeout, func() error {
		if !t.broker.running() {
			return permanent(fmt.Errorf("broker ended before it served: %w", t.broker.exitErr()))
		}
		in, err := t.registered()
		if err != nil {
			return err
		}
		if !in {
			return errors.New("broker is not registered")
		}
		if t.as != nil {
			return t.awaitUsers()
		}
		if err := createTopic(t.Broker(), probeTopic, 1); err != nil {
			return err
		}
		_, err = routeOf(t.Namesrv(), probeTopic)
		return err
	})
}

// logs is the end of what the processes logged.
func (t *Target) logs() string {
	var b strings.Builder
	for _, p := range []*process{t.namesrv, t.broker} {
		if p != nil {
			fmt.Fprintf(&b, "---- %s\n%s\n", p.name, tail(p.logPath, logTailBytes))
		}
	}
	if t.Kind == Apache {
		for _, name := range []string{"broker.log", "remoting.log"} {
			path := filepath.Join(t.Dir, "home", "logs", "rocketmqlogs", name)
			fmt.Fprintf(&b, "---- %s\n%s\n", name, tail(path, logTailBytes))
		}
	}
	return b.String()
}

var shared struct {
	once   sync.Once
	target *Target
	dir    string
	err    error
}

// Shared is the target that scenarios use together, with names of their own for topics and groups. It runs until the
// test process ends; see closeShared.
func Shared(t testing.TB) *Target {
	t.Helper()
	shared.once.Do(func() {
		var kind Kind
		if kind, shared.err = TargetKind(); shared.err != nil {
			return
		}
		if shared.dir, shared.err = os.MkdirTemp("", "apogee-compat-"); shared.err != nil {
			return
		}
		if shared.target, shared.err = newTarget(kind, shared.dir, InOneProcess()); shared.err != nil {
			return
		}
		shared.err = shared.target.start()
	})
	require.NoError(t, shared.err)
	return shared.target
}

// closeShared ends the shared target, if one was started, and returns the end of its logs.
func closeShared() (logs string, err error) {
	if shared.target != nil {
		if err = shared.target.Close(); err == nil {
			err = shared.target.checkAtEnd()
		}
		logs = shared.target.logs()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	return logs, err
}

// permanentError stops a poll.
type permanentError struct{ error }

func permanent(err error) error { return permanentError{err} }

// poll calls f until it returns nil, a permanent error, or the time is over; it then returns f's last error.
func poll(limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(pause+pause/8, 50*time.Millisecond) {
		err := f()
		var stop permanentError
		if err == nil || errors.As(err, &stop) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", limit, err)
		case <-time.After(pause):
		}
	}
}
