package auth

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestUsersSurviveARestart(t *testing.T) {
	t.Parallel()
	opts := secured()
	opts.Dir = t.TempDir()
	g := open(t, opts)
	admin(t, g, command(codec.AuthCreateUser, `{"password":"pässwörd 1"}`, "username", "alice"))
	admin(t, g, command(codec.AuthCreateACL, `{"policies":[{"entries":[{"resource":"Topic:A*","actions":["Sub","Pub"],"decision":"Allow","sourceIps":["10.0.0.0/8"]}]},
		{"policyType":"default","entries":[{"resource":"*","actions":["Get"],"decision":"Deny"}]}]}`, "subject", "User:alice"))
	users := admin(t, g, command(codec.AuthListUser, ""))
	acls := admin(t, g, command(codec.AuthListACL, ""))
	g = open(t, opts)
	require.Equal(t, users, admin(t, g, command(codec.AuthListUser, "")))
	require.Equal(t, acls, admin(t, g, command(codec.AuthListACL, "")))

	for _, name := range []string{fileName, keyName} {
		info, err := os.Stat(filepath.Join(opts.Dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	text, err := os.ReadFile(filepath.Join(opts.Dir, fileName))
	require.NoError(t, err)
	require.NotContains(t, string(text), "wörd")
	require.NotContains(t, string(text), "fxSecret12345")
}

func TestDamagedUsersAreNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"key is gone": {func(dir string) error { return os.Remove(filepath.Join(dir, keyName)) }, "auth.key is missing"},
		"key of others": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keyName), bytes.Repeat([]byte("ab"), 32), 0o600)
		}, "encrypted with another key"},
		"no key": {func(dir string) error { return os.WriteFile(filepath.Join(dir, keyName), []byte("x"), 0o600) }, "is no key"},
		"torn file": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fileName), []byte(`{"version":1,"users":[{`), 0o600)
		}, "auth.json is damaged"},
		"later version": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fileName), []byte(`{"version":9}`), 0o600)
		}, "has version 9"},
		"no secret": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fileName), []byte(`{"version":1,"users":[{"name":"a","secret":"xx"}]}`), 0o600)
		}, "the secret of user a"},
	} {
		opts := secured()
		opts.Dir = t.TempDir()
		open(t, opts)
		require.NoError(t, tc.damage(opts.Dir))
		opts.Logger, opts.Now = slog.New(slog.DiscardHandler), time.Now
		before, err := os.ReadFile(filepath.Join(opts.Dir, fileName))
		require.NoError(t, err)
		_, err = Open(opts)
		require.ErrorContains(t, err, tc.want, name)
		after, err := os.ReadFile(filepath.Join(opts.Dir, fileName))
		require.NoError(t, err)
		require.Equal(t, before, after, name)
	}
}

// A change that cannot be written is refused and does not count.
func TestUnwrittenChangeDoesNotCount(t *testing.T) {
	t.Parallel()
	opts := secured()
	opts.Dir = filepath.Join(t.TempDir(), "apogee")
	g := open(t, opts)
	require.NoError(t, os.Mkdir(filepath.Join(opts.Dir, fileName+".tmp"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(opts.Dir, fileName+".tmp", "x"), nil, 0o600)) // cannot be removed as a file
	_, err := serve(g, signed(t, "fxadmin", "fxSecret12345", command(codec.AuthCreateUser, `{"password":"p"}`, "username", "alice"), somewhere))
	refusal(t, err, codec.SystemError, systemErrorRemark)
	require.Equal(t, 1, g.book.Len())
	require.NoError(t, os.RemoveAll(filepath.Join(opts.Dir, fileName+".tmp")))
	admin(t, g, command(codec.AuthCreateUser, `{"password":"p"}`, "username", "alice"))
}

func TestHalfConfiguredIsRefused(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"authorizationEnabled=true without":             {Authorization: true},
		"aclEnable=true and authenticationEnabled=true": {ACL: true, Authentication: true, Home: "x"},
		"ROCKETMQ_HOME":                          {ACL: true},
		"nowhere to migrate to":                  {MigrateFromV1: true, Home: "x"},
		"authorizationStrategy=com.example.Mine": {Authentication: true, AuthorizationStrategy: "com.example.Mine"},
		"initAuthenticationUser":                 {Authentication: true, InitUser: `{"username":"x"}`},
		"innerClientAuthenticationCredentials":   {Authentication: true, InnerCredentials: `nonsense`},
		"there is no user":                       {Authentication: true},
	} {
		_, err := Open(Options{Config: c, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		require.ErrorContains(t, err, want)
	}
	for _, c := range []Config{{}, {Authentication: true, Authorization: true, InitUser: `{"username":"a","password":"b"}`,
		AuthenticationProvider:         "org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider",
		AuthenticationMetadataProvider: "org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider",
		AuthenticationStrategy:         "org.apache.rocketmq.auth.authentication.strategy.StatefulAuthenticationStrategy"}} {
		open(t, Options{Config: c})
	}
}

// Without aclEnable and authenticationEnabled there is nothing to call before a handler.
func TestNothingIsCheckedByDefault(t *testing.T) {
	t.Parallel()
	g := open(t, Options{})
	require.Nil(t, g.Check())
	_, err := serve(g, signed(t, "", "", command(codec.AuthListUser, ""), somewhere))
	require.ErrorContains(t, err, "No users are kept here")
}

func TestAccountsAreReadAnew(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	path := filepath.Join(home, plainFile)
	require.NoError(t, os.MkdirAll(filepath.Join(home, plainFolder), 0o755))
	at := time.Now().Add(-time.Hour)
	write := func(path, text string) {
		at = at.Add(time.Minute)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	account := func(name, perm string) string {
		return "accounts:\n  - accessKey: " + name + "\n    secretKey: secret123\n    defaultTopicPerm: " + perm + "\n"
	}
	write(path, account("worker1", "PUB"))
	var log strings.Builder
	g := open(t, Options{Config: Config{ACL: true, Home: home}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	send := func(name string) error {
		return g.checkPlain(signed(t, name, "secret123", command(codec.SendMessageV2, "", "b", "T"), somewhere))
	}
	require.NoError(t, send("worker1"))
	require.ErrorContains(t, send("worker2"), "No acl config for worker2")

	write(filepath.Join(home, plainFolder, "more.yml"), account("worker2", "PUB"))
	g.plain.refresh(time.Now())
	require.NoError(t, send("worker2"))

	for broken, reason := range map[string]string{
		"accounts:\n  - accessKey: a\n    secretKey: secret123\n":                                           "line 2: the accessKey=a",
		"accounts:\n  - accessKey: worker3\n    secretKey: secret123\n    topicPerm: [a=PUB]\n":             "line 4: an account has no key topicPerm",
		"accounts:\n  - accessKey: worker3\n    secretKey: secret123\n    whiteRemoteAddress: 10.0.0.300\n": "line 2: whiteRemoteAddress of worker3: address \"10.0.0.300\"",
		"accounts:\n  - accessKey: worker3\n    secretKey: secret123\n    topicPerms:\n    - justaname\n":   "parse resource permission failed for topic:justaname",
		"globalWhiteRemoteAddresses:\n  - 10.*.x\n":                                                         "globalWhiteRemoteAddresses: address \"10.*.x\"",
		"acounts: []\n": "line 1: field acounts not found",
		"accounts: [\n": "yaml: line",
	} {
		log.Reset()
		write(path, broken)
		g.plain.refresh(time.Now())
		require.Contains(t, strings.ReplaceAll(log.String(), `\"`, `"`), reason)
		require.Contains(t, log.String(), "plain_acl.yml")
		require.NotContains(t, log.String(), "secret123")
		require.NoError(t, send("worker1"), broken)
		require.NoError(t, send("worker2"), broken)
		_, err := OpenPlain(home, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, reason)
	}

	write(path, account("worker1", "SUB"))
	g.plain.refresh(time.Now())
	require.ErrorContains(t, send("worker1"), "No default permission for topic:T")

	write(path, account("worker1", "PUB")+"    topicPerms: [Orders=FLY]\n")
	require.NoError(t, os.Remove(filepath.Join(home, plainFolder, "more.yml")))
	log.Reset()
	g.plain.refresh(time.Now())
	require.NoError(t, send("worker1"))
	require.ErrorContains(t, send("worker2"), "No acl config for worker2", "its file has gone")
	require.Contains(t, log.String(), "it denies\" permission=FLY user=worker1")
	for _, end := range []func(){func() { write(path, "") }, func() { require.NoError(t, os.Remove(path)) }} {
		log.Reset()
		end()
		g.plain.refresh(time.Now())
		require.NoError(t, send("worker1"), "somebody is at the file")
		require.Contains(t, log.String()+g.plain.complained, "it is empty or gone")
	}
	write(path, account("worker3", "PUB"))
	g.plain.refresh(time.Now())
	require.NoError(t, send("worker3"))
	require.Error(t, send("worker1"))
}

func TestAccountsBecomeUsers(t *testing.T) {
	t.Parallel()
	opts := secured()
	opts.Home, opts.MigrateFromV1, opts.Dir = filepath.Join("testdata", "home"), true, t.TempDir()
	g := open(t, opts)
	require.Equal(t, 4, g.book.Len())
	require.JSONEq(t, `{"subject":"User:RocketMQ","policies":[{"policyType":"Custom","entries":[
		{"resource":"Topic:topicA","actions":["All"],"decision":"Deny"},
		{"resource":"Topic:topicB","actions":["Pub","Sub"],"decision":"Allow"},
		{"resource":"Topic:topicC","actions":["Sub"],"decision":"Allow"},
		{"resource":"Group:groupA","actions":["All"],"decision":"Deny"},
		{"resource":"Group:groupB","actions":["Pub","Sub"],"decision":"Allow"},
		{"resource":"Group:groupC","actions":["Sub"],"decision":"Allow"}]},
		{"policyType":"Default","entries":[
		{"resource":"Topic:*","actions":["All"],"decision":"Deny"},
		{"resource":"Group:*","actions":["Sub"],"decision":"Allow"}]}]}`,
		admin(t, g, command(codec.AuthGetACL, "", "subject", "User:RocketMQ")))
	require.True(t, g.book.find([]byte("rocketmq2")).super)
	admin(t, g, command(codec.AuthDeleteACL, "", "subject", "User:RocketMQ"))
	g = open(t, opts) // users that are there stay as they are
	require.Empty(t, admin(t, g, command(codec.AuthGetACL, "", "subject", "User:RocketMQ")))
}

func TestAdministrationIsLogged(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	opts := secured()
	opts.Audit, opts.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
	g := open(t, opts)
	for _, e := range g.Audit(g.Entries()) {
		if e.Code == codec.AuthCreateUser || e.Code == codec.AuthGetUser {
			for _, body := range []string{`{"password":"topsecret1"}`, `{}`} {
				_, _ = e.Handler(signed(t, "fxadmin", "fxSecret12345", command(e.Code, body, "username", "alice"), somewhere))
			}
		}
	}
	require.Contains(t, log.String(), `msg=administration user=fxadmin client=192.168.0.7:40000 request=auth_create_user code=3001 resource="Cluster username=alice" answer=success`)
	require.Contains(t, log.String(), `answer=no_permission remark="password can not be blank"`)
	require.NotContains(t, log.String(), "topsecret1")
	require.NotContains(t, log.String(), "auth_get_user")
}

func TestExplain(t *testing.T) {
	t.Parallel()
	info := codec.UserInfo{Username: "alice", UserType: "Normal", UserStatus: "enable"}
	policies := []codec.PolicyInfo{{PolicyType: "Custom", Entries: []codec.PolicyEntryInfo{
		{Resource: "Topic:Ord*", Actions: []string{"Sub"}, Decision: "Allow", SourceIPs: []string{"10.0.0.0/8"}},
		{Resource: "Group:Bad", Actions: []string{"All"}, Decision: "Deny"}}}}
	from := netip.MustParseAddr("10.1.2.3")
	x, err := Explain(info, policies, &Question{Code: codec.PullMessage, Topic: "Orders", Group: "Bad", From: from})
	require.NoError(t, err)
	require.False(t, x.Allowed)
	require.Equal(t, "the entry Group:Bad denies it", x.Reason)
	require.Len(t, x.Steps, 2)
	require.True(t, x.Steps[0].Allowed)
	require.Equal(t, "Topic:Ord*", x.Steps[0].Entry.Resource)
	x, err = Explain(info, policies, &Question{Actions: []string{"Pub", "Sub"}, Topic: "Orders", From: from})
	require.NoError(t, err)
	require.True(t, x.Allowed)
	x, err = Explain(info, policies, &Question{Actions: []string{"Sub"}, Topic: "Orders", From: netip.MustParseAddr("11.1.2.3")})
	require.NoError(t, err)
	require.Equal(t, "no policy speaks of Topic:Orders with Sub from 11.1.2.3", x.Reason)
	_, err = Explain(info, policies, &Question{Actions: []string{"Fly"}, Topic: "Orders", From: from})
	require.ErrorContains(t, err, `"Fly" is no action`)
	x, err = Explain(codec.UserInfo{}, nil, &Question{Actions: []string{"Sub"}, Topic: "Orders", From: from})
	require.NoError(t, err)
	require.Equal(t, "there is no such user", x.Reason)
}
