package auth

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// The golden files are what classes of Apache's answered: acl_signature.json AclUtils, needs.json.gz DefaultAuthorizationContextBuilder
// and decisions.json.gz AclAuthorizationHandler of 5.4.0, addresses.json RemoteAddressStrategyFactory and plain.json.gz
// PlainAccessValidator of 5.2.0, the last with the files in testdata/home.
func golden(t testing.TB, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		r, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	require.NoError(t, json.NewDecoder(r).Decode(v))
}

// parsed is a command as it comes out of a frame.
func parsed(t testing.TB, c *codec.Command, fields map[string]string) *codec.Command {
	t.Helper()
	for k, v := range fields {
		c.Extra = append(c.Extra, codec.Field{Key: k, Value: v})
	}
	out := new(codec.Command)
	require.NoError(t, codec.ParseFrame(codec.AppendFrame(nil, c), out))
	return out
}

// fakeConn is where a request of a test comes from; nothing else of it is used.
type fakeConn struct {
	remoting.Conn
	from netip.AddrPort
}

func (c fakeConn) RemoteAddr() netip.AddrPort { return c.from }

func requestOf(c *codec.Command, from string) *remoting.Request {
	return &remoting.Request{Command: *c, Conn: fakeConn{from: netip.MustParseAddrPort(from)}}
}

func TestSignaturesAreJavas(t *testing.T) {
	t.Parallel()
	var file struct {
		Requests []struct {
			Code      int32
			AccessKey string            `json:"access_key"`
			SecretKey string            `json:"secret_key"`
			Token     *string           `json:"security_token"`
			Before    map[string]string `json:"ext_fields_before"`
			After     map[string]string `json:"ext_fields_after"`
			Body      *string           `json:"body_utf8"`
			Signature string
		}
	}
	golden(t, "acl_signature.json", &file)
	require.NotEmpty(t, file.Requests)
	for _, want := range file.Requests {
		for _, serialize := range []codec.Serialize{codec.SerializeJSON, codec.SerializeRocketMQ} {
			var body []byte
			if want.Body != nil {
				body = []byte(*want.Body)
			}
			c := &codec.Command{Code: want.Code, Version: codec.Version, Body: body, Serialize: serialize}
			for k, v := range want.Before {
				c.Extra = append(c.Extra, codec.Field{Key: k, Value: v})
			}
			token := ""
			if want.Token != nil {
				token = *want.Token
			}
			require.NoError(t, NewSigner(want.AccessKey, want.SecretKey, token).Sign(c))
			got := map[string]string{}
			for _, f := range c.Extra {
				got[f.Key] = f.Value
			}
			require.Equal(t, want.After, got)

			in := parsed(t, &codec.Command{Code: want.Code, Version: codec.Version, Body: body, Serialize: serialize}, want.After)
			var content content
			content.gather(in)
			require.True(t, newMACs([]byte(want.SecretKey)).verify(&content, in, []byte(want.Signature)))
			require.False(t, newMACs([]byte(want.SecretKey+"x")).verify(&content, in, []byte(want.Signature)))
			require.False(t, newMACs([]byte(want.SecretKey)).verify(&content, in, nil))
		}
	}
}

// asked notes what a request asks for.
type asked []string

func (a *asked) ask(kind Kind, name []byte, actions Actions) error {
	text := string(name)
	if name == nil {
		text = "C0"
	}
	*a = append(*a, kind.String()+":"+text+" "+actions.String())
	return nil
}

// withoutRight are the codes that Java lets everybody use who is known.
var withoutRight = map[int32]bool{codec.LitePullMessage: true, codec.BatchAckMessage: true, codec.QueryAssignment: true,
	codec.UpdateAndCreateTopicList: true, codec.UpdateAndCreateStaticTopic: true, codec.UpdateAndCreateSubscriptionGroup: true,
	codec.UpdateAndCreateSubscriptionGroupList: true, codec.SetMessageRequestMode: true, codec.UpdateBrokerConfig: true,
	codec.UpdateNamesrvConfig: true, codec.CleanExpiredConsumeQueue: true, codec.CleanUnusedTopic: true, codec.DeleteExpiredCommitLog: true,
	codec.UpdateColdDataFlowCtrConfig: true, codec.RemoveColdDataFlowCtrConfig: true, codec.SetCommitLogReadMode: true,
	codec.UpdateControllerConfig: true, codec.SwitchTimerEngine: true,
	// Lite topics, which the recorded release does not know and 5.5.0 asks no right for.
	codec.PopLiteMessage: true, codec.LiteSubscriptionCtl: true, codec.GetBrokerLiteInfo: true, codec.GetParentTopicInfo: true,
	codec.GetLiteTopicInfo: true, codec.GetLiteClientInfo: true, codec.GetLiteGroupInfo: true, codec.TriggerLiteDispatch: true}

// clientOnly are the codes that a server sends to its clients.
var clientOnly = map[int32]bool{39: true, 40: true, 326: true}

func TestRequestsNeedTheRightsThatJavaAsksFor(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Code   int32
		Fields map[string]string
		Body   string
		Needs  []string
		Error  string
	}
	golden(t, "needs.json.gz", &cases)
	seen := map[int32]bool{}
	for _, tc := range cases {
		r := rules[tc.Code]
		switch {
		case withoutRight[tc.Code]:
			require.Empty(t, tc.Needs, "%d", tc.Code)
			require.NotNil(t, r, "%d", tc.Code)
			continue
		case clientOnly[tc.Code] || tc.Error != "":
			continue
		case r == nil:
			require.Empty(t, tc.Needs, "%d", tc.Code)
			continue
		}
		c := parsed(t, &codec.Command{Code: tc.Code, Body: []byte(tc.Body)}, tc.Fields)
		var got asked
		require.NoError(t, r.walk(c, &got))
		for i := range tc.Needs {
			tc.Needs[i] = strings.Replace(tc.Needs[i], ":null ", ": ", 1)
			if tc.Code == codec.AckMessage || tc.Code == codec.ChangeMessageInvisibleTime {
				// The retry topics of POP, which Java takes for a group's of that name.
				tc.Needs[i] = strings.Replace(tc.Needs[i], "Group:G1_T1", "Topic:T1", 1)
			}
		}
		if retry := tc.Fields["topic"]; (tc.Code == codec.AckMessage || tc.Code == codec.ChangeMessageInvisibleTime) &&
			(strings.HasPrefix(retry, "%RETRY%") || strings.HasPrefix(tc.Fields["consumerGroup"], "%RETRY%")) {
			if retry == "%RETRY%G1" && tc.Fields["consumerGroup"] == "G1" {
				require.Equal(t, []string{"Group:G1 Sub"}, []string(got))
			}
			if retry == "%RETRY%G1_T1" && tc.Fields["consumerGroup"] == "G1" {
				require.Equal(t, []string{"Group:G1 Sub", "Topic:T1 Sub"}, []string(got))
			}
			continue
		}
		if len(tc.Needs) == 0 {
			tc.Needs = nil
		}
		switch tc.Code {
		case codec.PullMessage, codec.QueryConsumerOffset, codec.UpdateConsumerOffset:
			if tc.Fields["topic"] == "%RETRY%G1_T1" { // Java asks for the group that reads only
				require.Len(t, tc.Needs, 1)
				require.Len(t, got, 2)
				require.Contains(t, got[0], "Group:G1_T1 ")
				require.Equal(t, tc.Needs[0], got[1])
				continue
			}
		}
		require.ElementsMatch(t, tc.Needs, []string(got), "%d %v", tc.Code, tc.Fields)
		seen[tc.Code] = true
	}
	for code := range rules {
		require.True(t, seen[code] || withoutRight[code], "%d", code)
	}
}

func TestDecisionsAreJavas(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Policies []codec.PolicyInfo
		Asks     []struct {
			Resource string
			Actions  []string
			IP       string
			Decision string
		}
	}
	golden(t, "decisions.json.gz", &cases)
	compared := map[string]int{}
	for _, tc := range cases {
		if len(tc.Policies) == 0 {
			continue
		}
		policies, err := parsePolicies(tc.Policies)
		require.NoError(t, err)
		a := (*acl)(nil).merged(policies)
		for _, ask := range tc.Asks {
			var mask Actions
			for _, name := range ask.Actions {
				mask |= actionOf(name)
			}
			r, ok := parseResource(ask.Resource)
			require.True(t, ok)
			e, _ := a.find(r.kind, []byte(r.name), mask, netip.MustParseAddr(ask.IP))
			got := "none"
			if e != nil {
				got = e.decision()
			}
			require.Equal(t, ask.Decision, got, "%+v asks %+v", tc.Policies, ask)
			compared[got]++
		}
	}
	require.Greater(t, compared["Allow"], 500)
	require.Greater(t, compared["Deny"], 500)
	require.Greater(t, compared["none"], 500)
}

func TestWhiteAddressesAreJavas(t *testing.T) {
	t.Parallel()
	var file struct {
		IPs      []string
		Patterns []struct {
			Pattern, Error string
			Matches        []string
		}
	}
	golden(t, "addresses.json", &file)
	for _, tc := range file.Patterns {
		p, err := parseAddressPattern(tc.Pattern)
		if tc.Error != "" {
			require.Error(t, err, tc.Pattern)
			require.ErrorContains(t, err, tc.Pattern)
			continue
		}
		require.NoError(t, err, tc.Pattern)
		matches := []string{}
		for _, ip := range file.IPs {
			if p != nil && p.match(netip.MustParseAddr(ip)) {
				matches = append(matches, ip)
			}
		}
		require.Equal(t, tc.Matches, matches, tc.Pattern)
	}
}

func TestPlainAccountsDecideAsJavas(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Code    int32
		Version int32
		Fields  map[string]string
		Body    string
		Remote  string
		Result  string
	}
	golden(t, "plain.json.gz", &cases)
	g := open(t, Options{Config: Config{ACL: true, Home: filepath.Join("testdata", "home")}})
	for _, tc := range cases {
		if tc.Code == codec.QueryConsumerOffset {
			continue // Java asks for no permission, here it is that of reading
		}
		if strings.HasPrefix(tc.Fields["topic"], "%RETRY%") && (tc.Code == codec.SendMessage || tc.Code == codec.SendMessageV2 || tc.Code == codec.SendBatchMessage) {
			continue // Java believes the group that the sender names, here it is the topic's, as in 5.4.0
		}
		c := parsed(t, &codec.Command{Code: tc.Code, Version: tc.Version, Body: []byte(tc.Body)}, tc.Fields)
		err := g.checkPlain(requestOf(c, tc.Remote))
		if tc.Result == "" {
			require.NoError(t, err, "%+v", tc)
			continue
		}
		require.Error(t, err, "%+v", tc)
		require.Equal(t, codec.SystemError, err.(*codec.Refusal).Code)
		if !strings.Contains(tc.Result, "ermission for") { // of several missing ones Java names any
			require.Equal(t, tc.Result, err.Error())
		} else {
			require.Contains(t, err.Error(), "ermission for")
		}
	}
}
