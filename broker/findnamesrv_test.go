package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestRegistrarFollowsTheListOfNameServers(t *testing.T) {
	t.Parallel()
	a, b, c := openFakeNamesrv(t, "127.0.0.1:0"), openFakeNamesrv(t, "127.0.0.1:0"), openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(o *RegistrarOptions) { o.Finding = true })
	require.False(t, r.Registered(), "none has been found yet")
	r.SetNamesrvs([]string{a.addr, " " + b.addr, b.addr, ""})
	a.next(codec.RegisterBroker)
	b.next(codec.RegisterBroker)
	r.AwaitFirst()
	require.True(t, r.Registered())
	require.Equal(t, []string{a.addr, b.addr}, r.Namesrvs())

	r.SetNamesrvs([]string{b.addr, c.addr})
	c.next(codec.RegisterBroker)
	require.Equal(t, []string{b.addr, c.addr}, r.Namesrvs())
	r.create("T")
	ctx, cancel := context.WithTimeout(t.Context(), registerPatience)
	defer cancel()
	r.AwaitChanged(ctx)
	require.NoError(t, ctx.Err())
	require.Len(t, b.next(codec.RegisterBroker).topics, 2)
	require.Len(t, c.next(codec.RegisterBroker).topics, 2)
	require.Empty(t, a.heard, "the one that is left is not told")

	r.Unregister(t.Context())
	b.next(codec.UnregisterBroker)
	c.next(codec.UnregisterBroker)
	require.Empty(t, a.heard)
	r.SetNamesrvs([]string{a.addr})
	r.stop()
	require.Empty(t, a.heard, "nothing is registered after the farewell")
}

// A wait for changes does not hang on a name server that has left the list.
func TestAwaitChangedForgetsNameServersThatLeave(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(*RegistrarOptions) {}, ns.addr)
	ns.next(codec.RegisterBroker)
	silent := make(chan struct{})
	defer close(silent)
	ns.answerWith(func(int32) (int32, string) { <-silent; return codec.Success, "" })
	r.create("T")
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.AwaitChanged(context.Background())
	}()
	r.SetNamesrvs(nil)
	<-done
}

func TestAddressServerAsJavaAsksIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ domain, subgroup, want string }{
		{"", "", "http://jmenv.tbsite.net:8080/rocketmq/nsaddr"},
		{"ns.example", "", "http://ns.example:8080/rocketmq/nsaddr"},
		{"127.0.0.1:9090", "mine", "http://127.0.0.1:9090/rocketmq/mine"},
	} {
		f := NamesrvFinding{Domain: tt.domain, Subgroup: tt.subgroup}
		require.Equal(t, tt.want, f.url())
	}
}

func TestAnswersOfAnAddressServer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		code       int
		want       []string
		err        string
	}{
		{"a list", "10.0.0.1:9876;ns-2:9876", 200, []string{"10.0.0.1:9876", "ns-2:9876"}, ""},
		{"its first line", "\n 10.0.0.1:9876; \r\nmore", 200, []string{"10.0.0.1:9876"}, ""},
		{"nothing", " \n", 200, nil, "names 0 name servers; want 1 to 256"},
		{"too many", strings.Repeat("a:1;", 257), 200, nil, "names 257 name servers; want 1 to 256"},
		{"a page", "<html>", 200, nil, `"<html>" is no host:port`},
		{"no port", "10.0.0.1", 200, nil, `"10.0.0.1" is no host:port`},
		{"an error", "10.0.0.1:9876", 503, nil, "answers 503 Service Unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tt.code)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer s.Close()
			got, err := fetchNamesrvs(t.Context(), s.Client(), s.URL)
			require.Equal(t, tt.want, got)
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
		})
	}
}

func TestFoundNameServersAreTakenWhenTheyChange(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	answer.Store("10.0.0.2:9876;10.0.0.1:9876")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/rocketmq/mine" {
			_, _ = io.WriteString(w, answer.Load().(string))
		}
	}))
	defer s.Close()
	cfg := DefaultConfig()
	cfg.NamesrvAddrs = ""
	cfg.Finding.ByAddressServer, cfg.Finding.Domain, cfg.Finding.Subgroup = true, strings.TrimPrefix(s.URL, "http://"), "mine"
	var log strings.Builder
	var got [][]string
	f := newNamesrvFinder(cfg, func(addrs []string) { got = append(got, addrs) }, slog.New(slog.NewTextHandler(&log, nil)))
	f.first(t.Context())
	for _, next := range []string{"10.0.0.1:9876;10.0.0.2:9876", "nonsense", "nonsense", "10.0.0.3:9876"} {
		answer.Store(next)
		f.once(t.Context())
	}
	require.Equal(t, [][]string{{"10.0.0.1:9876", "10.0.0.2:9876"}, {"10.0.0.3:9876"}}, got)
	require.Equal(t, 1, strings.Count(log.String(), "name servers cannot be found"), log.String())

	cfg.Finding.Own, cfg.NamesrvAddrs, got = "127.0.0.1:9876", "127.0.0.1:9876", nil
	newNamesrvFinder(cfg, func(addrs []string) { got = append(got, addrs) }, slog.New(slog.DiscardHandler)).first(t.Context())
	require.Equal(t, [][]string{{"10.0.0.3:9876", "127.0.0.1:9876"}}, got)

	cfg.NamesrvAddrs = "127.0.0.1:9876;10.0.0.9:9876"
	require.Nil(t, newNamesrvFinder(cfg, nil, slog.Default()).find, "a list that is named is not asked for")
}

func TestHostsOfNameServersAreLookedUp(t *testing.T) {
	t.Parallel()
	lookup := func(_ context.Context, host string) ([]string, error) {
		hosts := map[string][]string{"ns": {"10.0.0.1", "10.0.0.2", "fd00::1"}, "10.0.0.9": {"10.0.0.9"}}
		if hosts[host] == nil {
			return nil, errors.New("no such host")
		}
		return hosts[host], nil
	}
	got, err := lookupAll(t.Context(), "ns:9876; 10.0.0.9:1;", lookup)
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.1:9876", "10.0.0.2:9876", "[fd00::1]:9876", "10.0.0.9:1"}, got)
	_, err = lookupAll(t.Context(), "ns:9876;gone:9876", lookup)
	require.ErrorContains(t, err, "no such host")
	_, err = lookupAll(t.Context(), "ns", lookup)
	require.ErrorContains(t, err, `"ns": want host:port`)
}
