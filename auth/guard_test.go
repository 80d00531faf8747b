package auth

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

const somewhere = "192.168.0.7:40000"

// secured is a guard with the super user of the fixtures.
func secured() Options {
	return Options{Config: Config{Authentication: true, Authorization: true, InitUser: `{"username":"fxadmin","password":"fxSecret12345"}`}}
}

// signed is a request as it arrives.
func signed(t testing.TB, user, password string, c *codec.Command, from string) *remoting.Request {
	t.Helper()
	c.Version = codec.Version
	if user != "" {
		require.NoError(t, NewSigner(user, password, "").Sign(c))
	}
	return requestOf(parsed(t, c, nil), from)
}

func command(code int32, body string, pairs ...string) *codec.Command {
	c := &codec.Command{Code: code, Body: []byte(body)}
	for i := 0; i+1 < len(pairs); i += 2 {
		c.Extra = append(c.Extra, codec.Field{Key: pairs[i], Value: pairs[i+1]})
	}
	return c
}

// serve checks a request and runs its handler, as a server does.
func serve(g *Guard, req *remoting.Request) (*codec.Command, error) {
	if check := g.Check(); check != nil {
		if err := check(req); err != nil {
			return nil, err
		}
	}
	for _, e := range g.Entries() {
		if e.Code == req.Code {
			return e.Handler(req)
		}
	}
	return nil, nil
}

// admin asks as the super user and wants success.
func admin(t testing.TB, g *Guard, c *codec.Command) string {
	t.Helper()
	resp, err := serve(g, signed(t, "fxadmin", "fxSecret12345", c, somewhere))
	require.NoError(t, err)
	require.Equal(t, codec.Success, resp.Code)
	return string(resp.Body)
}

func refusal(t testing.TB, err error, code int32, remark string) {
	t.Helper()
	var r *codec.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, remark, r.Remark)
	require.Equal(t, code, r.Code)
}

// What mqadmin asked Apache's broker about users and policies gets the same answers here, byte for byte.
func TestMqadminConversation(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("testdata", "mqadmin.jsonl"))
	require.NoError(t, err)
	defer f.Close()
	g := open(t, secured())
	lines := bufio.NewScanner(f)
	answered := 0
	for lines.Scan() {
		var e struct {
			Command, Remark, Body string
			Request               []byte
			Code                  int32
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		var c codec.Command
		require.NoError(t, codec.ParseFrame(e.Request, &c))
		resp, err := serve(g, requestOf(&c, "127.0.0.1:40000"))
		require.NoError(t, err, e.Command)
		require.Equal(t, e.Code, resp.Code, e.Command)
		require.Equal(t, e.Remark, resp.Remark, e.Command)
		require.Equal(t, e.Body, string(resp.Body), e.Command)
		answered++
	}
	require.NoError(t, lines.Err())
	require.Equal(t, 21, answered)
}

func TestWhoIsRefusedIsToldWhy(t *testing.T) {
	t.Parallel()
	g := open(t, secured())
	admin(t, g, command(codec.AuthCreateUser, `{"password":"secret12","userType":"Normal"}`, "username", "alice"))
	admin(t, g, command(codec.AuthCreateUser, `{"password":"secret12","userStatus":"disable"}`, "username", "ghost"))
	admin(t, g, command(codec.AuthCreateACL, `{"subject":"User:alice","policies":[{"entries":[
		{"resource":"Topic:Orders","actions":["Pub"],"decision":"Allow","sourceIps":["192.168.0.0/24"]},
		{"resource":"Topic:Secret*","actions":["All"],"decision":"Deny"}]},
		{"policyType":"Default","entries":[{"resource":"*","actions":["Sub","Get"],"decision":"Allow"}]}]}`, "subject", "User:alice"))
	send := func(topic string) *codec.Command { return command(codec.SendMessageV2, "body", "a", "PG", "b", topic) }
	for _, tc := range []struct {
		name, user, password, from string
		c                          *codec.Command
		remark                     string
	}{
		{"allowed", "alice", "secret12", somewhere, send("Orders"), ""},
		{"super", "fxadmin", "fxSecret12345", "10.0.0.1:1", send("Secret1"), ""},
		{"no credentials", "", "", somewhere, send("Orders"), "username cannot be null."},
		{"unknown", "bob", "secret12", somewhere, send("Orders"), "User:bob is not found."},
		{"disabled", "ghost", "secret12", somewhere, send("Orders"), "User:ghost is disabled."},
		{"wrong secret", "alice", "secret13", somewhere, send("Orders"), "check signature failed."},
		{"other source", "alice", "secret12", "10.0.0.1:1", send("Orders"),
			"User:alice has no permission to access Topic:Orders from 10.0.0.1, no matched policies."},
		{"other topic", "alice", "secret12", somewhere, send("Others"),
			"User:alice has no permission to access Topic:Others from 192.168.0.7, no matched policies."},
		{"denied", "alice", "secret12", somewhere, send("SecretPlan"),
			"User:alice has no permission to access Topic:SecretPlan from 192.168.0.7, the decision is deny."},
		{"default policy", "alice", "secret12", somewhere,
			command(codec.PullMessage, "", "topic", "Others", "consumerGroup", "CG"), ""},
		{"custom before default", "alice", "secret12", somewhere,
			command(codec.PullMessage, "", "topic", "Secret", "consumerGroup", "CG"),
			"User:alice has no permission to access Topic:Secret from 192.168.0.7, the decision is deny."},
		{"change of the broker", "alice", "secret12", somewhere, command(codec.UpdateBrokerConfig, "a=b"),
			"User:alice has no permission to access Cluster:DefaultCluster from 192.168.0.7, no matched policies."},
		{"unreadable heartbeat", "alice", "secret12", somewhere, command(codec.HeartBeat, "{"), "parse authorization context error."},
	} {
		err := g.check(signed(t, tc.user, tc.password, tc.c, tc.from))
		if tc.remark == "" {
			require.NoError(t, err, tc.name)
			continue
		}
		require.Error(t, err, tc.name)
		refusal(t, err, codec.NoPermission, tc.remark)
	}
	counted := map[string]int64{}
	g.Denied(func(cause string, n int64) { counted[cause] = n })
	require.Equal(t, map[string]int64{"no_access_key": 1, "unknown_user": 1, "disabled_user": 1, "bad_signature": 1, "no_policy": 3,
		"denied": 2, "unreadable": 1, "not_admin": 0}, counted)
}

// A signature is of the request it was made for: whoever changes a field or the body breaks it.
func TestChangedRequestIsRefused(t *testing.T) {
	t.Parallel()
	g := open(t, secured())
	req := signed(t, "fxadmin", "fxSecret12345", command(codec.SendMessageV2, "body", "b", "Orders"), somewhere)
	require.NoError(t, g.check(req))
	req.Body = []byte("evil")
	refusal(t, g.check(req), codec.NoPermission, "check signature failed.")

	c := command(codec.SendMessageV2, "body", "b", "Orders")
	require.NoError(t, NewSigner("fxadmin", "fxSecret12345", "").Sign(c))
	c.Extra = append(c.Extra, codec.Field{Key: "b", Value: "Payments"}) // the last of two counts
	refusal(t, g.check(requestOf(parsed(t, c, nil), somewhere)), codec.NoPermission, "check signature failed.")
}

func TestWhiteListsOpenCodes(t *testing.T) {
	t.Parallel()
	opts := secured()
	opts.AuthenticationWhitelist, opts.AuthorizationWhitelist = "105, 26,apache.rocketmq.v2.QueryRouteRequest", "105"
	g := open(t, opts)
	admin(t, g, command(codec.AuthCreateUser, `{"password":"secret12"}`, "username", "alice"))
	route := func() *codec.Command { return command(codec.GetRouteInfoByTopic, "", "topic", "T") }
	require.NoError(t, g.check(signed(t, "", "", route(), somewhere)))
	require.NoError(t, g.check(signed(t, "alice", "wrong", route(), somewhere)))
	refusal(t, g.check(signed(t, "alice", "secret12", command(codec.SendMessageV2, "", "b", "T"), somewhere)), codec.NoPermission,
		"User:alice has no permission to access Topic:T from 192.168.0.7, no matched policies.")

	// A code that needs no signature but a right is not open to who says to be somebody.
	opts.AuthorizationWhitelist = ""
	g = open(t, opts)
	admin(t, g, command(codec.AuthCreateUser, `{"password":"secret12"}`, "username", "alice"))
	admin(t, g, command(codec.AuthCreateACL, `{"policies":[{"entries":[{"resource":"*","actions":["All"],"decision":"Allow"}]}]}`, "subject", "User:alice"))
	require.NoError(t, g.check(signed(t, "alice", "secret12", route(), somewhere)))
	refusal(t, g.check(signed(t, "alice", "wrong", route(), somewhere)), codec.NoPermission, errNoIdentity.Remark)
	refusal(t, g.check(signed(t, "", "", route(), somewhere)), codec.NoPermission, errNoIdentity.Remark)
}

func TestUsersAndPoliciesAreValidated(t *testing.T) {
	t.Parallel()
	opts := secured()
	g := open(t, opts)
	admin(t, g, command(codec.AuthCreateUser, `{"password":"secret12"}`, "username", "alice"))
	admin(t, g, command(codec.AuthCreateACL, `{"policies":[{"entries":[{"resource":"Cluster:*","actions":["All"],"decision":"Allow"}]}]}`,
		"subject", "User:alice"))
	before, err := os.ReadFile(filepath.Join(g.opts.Dir, fileName))
	require.NoError(t, err)
	acl := func(entry string) *codec.Command {
		return command(codec.AuthCreateACL, `{"subject":"User:alice","policies":[{"entries":[`+entry+`]}]}`, "subject", "User:alice")
	}
	for _, tc := range []struct {
		c      *codec.Command
		code   int32
		remark string
	}{
		{command(codec.AuthCreateUser, `{"password":"p"}`, "username", ""), codec.InvalidParameter, "The username is blank"},
		{command(codec.AuthCreateUser, `{"password":"p"}`, "username", "  "), codec.NoPermission, "username can not be blank"},
		{command(codec.AuthCreateUser, `{}`, "username", "bob"), codec.NoPermission, "password can not be blank"},
		{command(codec.AuthCreateUser, `{"password":"p"}`, "username", "alice"), codec.NoPermission, "The user is existed"},
		{command(codec.AuthCreateUser, `{"password":"p","userType":"super"}`, "username", "bob"), codec.SystemError, "The super user can only be create by super user"},
		{command(codec.AuthUpdateUser, `{"userType":"Super"}`, "username", "alice"), codec.SystemError, "The super user can only be update by super user"},
		{command(codec.AuthUpdateUser, `{"password":"p"}`, "username", "fxadmin"), codec.NoPermission, "The super user can only be update by super user"},
		{command(codec.AuthUpdateUser, `{"password":"p"}`, "username", "bob"), codec.NoPermission, "The user is not exist"},
		{command(codec.AuthDeleteUser, "", "username", "fxadmin"), codec.NoPermission, "The super user can only be update by super user"},
		{command(codec.AuthDeleteUser, "", "username", ""), codec.NoPermission, "username can not be blank"},
		{command(codec.AuthGetUser, "", "username", ""), codec.InvalidParameter, "The username is blank"},
		{command(codec.AuthCreateACL, "", "subject", "User:alice"), codec.SystemError, "The body of acl is null"},
		{command(codec.AuthCreateACL, `{"policies":[{"entries":[]}]}`, "subject", "User:alice"), codec.NoPermission, "The policies is empty."},
		{command(codec.AuthCreateACL, `{"policies":[{"entries":[{"resource":"*","actions":["All"],"decision":"Allow"}]}]}`, "subject", "Role:x"),
			codec.NoPermission, "The subject type is null."},
		{command(codec.AuthCreateACL, `{"policies":[{"entries":[{"resource":"*","actions":["All"],"decision":"Allow"}]}]}`, "subject", "User:bob"),
			codec.NoPermission, "The subject of User:bob is not exist."},
		{acl(`{"resource":"Nothing:x","actions":["Pub"],"decision":"Allow"}`), codec.NoPermission, "The resource is null."},
		{acl(`{"resource":"Topic:x","actions":["Fly"],"decision":"Allow"}`), codec.NoPermission, "The actions is empty."},
		{acl(`{"resource":"Topic:x","actions":["Any"],"decision":"Allow"}`), codec.NoPermission, "The actions can not be Any."},
		{acl(`{"resource":"Topic:x","actions":["Pub"],"decision":"Perhaps"}`), codec.NoPermission, "The decision is null or illegal."},
		{acl(`{"resource":"Topic:x","actions":["Pub"],"decision":"Allow","sourceIps":[" "]}`), codec.NoPermission, "The source ip is empty."},
		{acl(`{"resource":"Topic:x","actions":["Pub"],"decision":"Allow","sourceIps":["10.0.0.0/33"]}`), codec.NoPermission, "The source ip is invalid."},
		{command(codec.AuthDeleteACL, "", "subject", "alice"), codec.NoPermission, "The subject is null."},
		{command(codec.AuthDeleteACL, "", "subject", "User:bob"), codec.NoPermission, "The subject is not exist."},
		{command(codec.AuthDeleteACL, "", "subject", "User:fxadmin"), codec.NoPermission, "The acl is not exist."},
		{command(codec.AuthDeleteACL, "", "subject", "User:alice", "resource", "Topik:x"), codec.NoPermission, "The resource type is null."},
		{command(codec.AuthGetACL, "", "subject", "User:bob"), codec.NoPermission, "The subject is not exist."},
	} {
		_, err := serve(g, signed(t, "alice", "secret12", tc.c, somewhere))
		refusal(t, err, tc.code, tc.remark)
	}
	after, err := os.ReadFile(filepath.Join(g.opts.Dir, fileName))
	require.NoError(t, err)
	require.Equal(t, before, after, "a refused request changes nothing")
}

func TestChecksAllocateNothing(t *testing.T) {
	opts := secured()
	g := open(t, opts)
	admin(t, g, command(codec.AuthCreateUser, `{"password":"secret12"}`, "username", "alice"))
	admin(t, g, command(codec.AuthCreateACL, `{"policies":[{"entries":[{"resource":"Topic:Ord*","actions":["Pub","Sub"],"decision":"Allow","sourceIps":["192.168.0.0/16"]},
		{"resource":"Group:*","actions":["Sub"],"decision":"Allow"}]}]}`, "subject", "User:alice"))
	for _, c := range []*codec.Command{
		command(codec.SendMessageV2, strings.Repeat("x", 1024), "a", "PG", "b", "Orders", "c", "TBW102", "d", "4", "e", "0", "i", "KEYS\x01k\x02"),
		command(codec.PullMessage, "", "topic", "Orders", "consumerGroup", "CG", "queueId", "0", "queueOffset", "5"),
	} {
		req := signed(t, "alice", "secret12", c, somewhere)
		require.NoError(t, g.check(req))
		require.Zero(t, int(testing.AllocsPerRun(200, func() { _ = g.check(req) })), "code %d", c.Code)
	}
}

// Ten thousand users with policies are created by requests, found again after a restart and decided about without looking at each
// other's.
func TestTenThousandUsers(t *testing.T) {
	t.Parallel()
	const count = 10_000
	opts := secured()
	opts.Dir = t.TempDir()
	g := open(t, opts)
	require.NoError(t, g.book.change(func(users map[string]*user) error {
		policies, err := parsePolicies([]codec.PolicyInfo{{Entries: []codec.PolicyEntryInfo{{Resource: "Topic:T1", Actions: []string{"Pub"}, Decision: "Allow"}}}})
		require.NoError(t, err)
		for i := range count {
			name := "user" + strconv.Itoa(i)
			users[name] = &user{name: name, secret: []byte("secret" + name), macs: newMACs([]byte("secret" + name)), acl: (*acl)(nil).merged(policies)}
		}
		return nil
	}))
	var many strings.Builder
	for i := range count {
		fmt.Fprintf(&many, `%s{"resource":"Topic:Many%d*","actions":["Pub"],"decision":"Allow"}`, map[bool]string{true: ","}[i > 0], i)
	}
	admin(t, g, command(codec.AuthUpdateACL, `{"policies":[{"entries":[`+many.String()+`]}]}`, "subject", "User:user7"))
	g = open(t, opts)
	require.Equal(t, count+1, g.book.Len())
	require.NoError(t, g.check(signed(t, "user9999", "secretuser9999", command(codec.SendMessageV2, "", "b", "T1"), somewhere)))
	require.NoError(t, g.check(signed(t, "user7", "secretuser7", command(codec.SendMessageV2, "", "b", "Many9998xyz"), somewhere)))
	require.Error(t, g.check(signed(t, "user7", "secretuser7", command(codec.SendMessageV2, "", "b", "Man"), somewhere)))
}

func BenchmarkCheckSend(b *testing.B) {
	g := open(b, secured())
	for _, size := range []int{0, 128, 1024, 16 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			req := signed(b, "fxadmin", "fxSecret12345", command(codec.SendMessageV2, strings.Repeat("x", size), "a", "PG", "b", "Orders",
				"c", "TBW102", "d", "4", "e", "0", "f", "0", "g", "1700000000000", "h", "0", "i", "KEYS\x01k\x02", "j", "0", "k", "false"), somewhere)
			b.ReportAllocs()
			for b.Loop() {
				if err := g.check(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
