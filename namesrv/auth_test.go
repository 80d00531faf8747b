package namesrv

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
)

// signedFields are the fields of a request with the signature of a user.
func signedFields(t *testing.T, user, password string, code int32, fields map[string]string, body []byte) map[string]string {
	t.Helper()
	c := &codec.Command{Code: code, Body: body}
	for k, v := range fields {
		c.Extra = append(c.Extra, codec.Field{Key: k, Value: v})
	}
	require.NoError(t, auth.NewSigner(user, password, "").Sign(c))
	signed := map[string]string{}
	for _, f := range c.Extra {
		signed[f.Key] = f.Value
	}
	return signed
}

// A name server with users refuses who is none, serves their administration, and keeps its settings when one of them is changed: nothing
// of them is shown, all of them stay in the file and the file stays unreadable for others.
func TestUsersOfANameServer(t *testing.T) {
	t.Parallel()
	opts := options(t)
	file := filepath.Join(t.TempDir(), "namesrv.conf")
	text := "listenPort=0\nauthenticationEnabled=true\nauthorizationEnabled=true\n" +
		`initAuthenticationUser={"username":"admin","password":"back\\\\slash:=1"}` + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	require.NoError(t, opts.Load(file))
	s := open(t, opts)
	p := dial(t, s)
	const password = `back\slash:=1`
	ask := func(code int32, fields map[string]string, body []byte) (int32, map[string]string, []byte) {
		return code, signedFields(t, "admin", password, code, fields, body), body
	}
	p.refused(codec.NoPermission, "username cannot be null.", codec.GetRouteInfoByTopic, map[string]string{"topic": "T"}, nil)
	p.refused(codec.NoPermission, "username cannot be null.", codec.PutKVConfig, map[string]string{"namespace": "N", "key": "k", "value": "v"}, nil)
	p.ok(ask(codec.PutKVConfig, map[string]string{"namespace": "N", "key": "k", "value": "v"}, nil))
	require.Equal(t, 2.0, denials(t, s))

	p.ok(ask(codec.AuthCreateUser, map[string]string{"username": "reader"}, []byte(`{"password":"secret12"}`)))
	p.refused(codec.NoPermission, "User:reader has no permission to access Cluster:DefaultCluster from 127.0.0.1, no matched policies.", codec.UpdateNamesrvConfig,
		signedFields(t, "reader", "secret12", codec.UpdateNamesrvConfig, nil, []byte("enableTopicList=false")), []byte("enableTopicList=false"))

	p.ok(ask(codec.UpdateNamesrvConfig, nil, []byte("enableTopicList=false\nauthenticationEnabled=false\n")))
	shown := string(p.ok(ask(codec.GetNamesrvConfig, nil, nil)).Body)
	require.Contains(t, shown, "enableTopicList=false")
	require.NotContains(t, shown, "slash")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	again := options(t)
	require.NoError(t, again.Load(file))
	require.True(t, again.Auth.Authentication && again.Auth.Authorization)
	require.Equal(t, opts.Auth, again.Auth)
	require.False(t, again.EnableTopicList)
}

// denials adds up what the metrics say was refused.
func denials(t *testing.T, s *Server) (sum float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(s.Collector()))
	got, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range got {
		for _, m := range f.GetMetric() {
			if f.GetName() == "apogee_namesrv_auth_denied_total" {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// A name server that anybody may administer says so, unless only this machine reaches it.
func TestOpenAdministrationIsSaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bind       string
		said, want bool
	}{{"127.0.0.1", false, false}, {"localhost", false, false}, {"0.0.0.0", false, true}, {"0.0.0.0", true, false}} {
		var text bytes.Buffer
		opts := options(t)
		opts.BindAddress, opts.OpenIsSaid, opts.Logger = c.bind, c.said, slog.New(slog.NewTextHandler(&text, nil))
		s, err := Open(opts)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), waitAtMost)
		require.NoError(t, s.Close(ctx))
		cancel()
		require.Equal(t, c.want, strings.Contains(text.String(), "may administer it"), c.bind)
	}
}
