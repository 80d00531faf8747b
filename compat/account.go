package compat

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// account signs requests as the clients do.
type account struct{ name, secret string }

// The accounts of secured targets: who administers and what the servers sign with.
var (
	adminAccount = account{"compatadmin", "compatadminsecret"}
	innerAccount = account{"compatinner", "compatinnersecret"}
)

// Secured switches users and policies of the broker on, with adminAccount, whose signature the target's helpers bear.
func Secured() Option {
	const auth = "org.apache.rocketmq.auth."
	return func(t *Target) {
		t.as = &adminAccount
		for k, v := range map[string]string{
			"authenticationEnabled":                "true",
			"authorizationEnabled":                 "true",
			"authenticationMetadataProvider":       auth + "authentication.provider.LocalAuthenticationMetadataProvider",
			"authorizationMetadataProvider":        auth + "authorization.provider.LocalAuthorizationMetadataProvider",
			"initAuthenticationUser":               fmt.Sprintf(`{"username":%q,"password":%q}`, adminAccount.name, adminAccount.secret),
			"innerClientAuthenticationCredentials": fmt.Sprintf(`{"accessKey":%q,"secretKey":%q}`, innerAccount.name, innerAccount.secret),
		} {
			t.conf[k] = v
		}
	}
}

// SecuredNamesrv has the name server check requests too, which Apache's cannot.
func SecuredNamesrv() Option {
	return func(t *Target) {
		for _, key := range []string{"authenticationEnabled", "authorizationEnabled", "initAuthenticationUser", "innerClientAuthenticationCredentials"} {
			t.nsConf[key] = t.conf[key]
		}
		t.nsConf["clusterName"] = t.ClusterName
	}
}

// sign adds the account's fields.
func (a account) sign(p *packet) {
	p.Ext = maps.Clone(p.Ext)
	if p.Ext == nil {
		p.Ext = map[string]string{}
	}
	p.Ext["AccessKey"] = a.name
	delete(p.Ext, "Signature")
	mac := hmac.New(sha1.New, []byte(a.secret))
	for _, k := range slices.Sorted(maps.Keys(p.Ext)) {
		mac.Write([]byte(p.Ext[k]))
	}
	mac.Write(p.Body)
	p.Ext["Signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// call sends one signed request.
func (a account) call(addr string, code int, ext map[string]string, body []byte) (*packet, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	p := &packet{Code: code, Language: "JAVA", Version: 493, Ext: ext, Body: body}
	a.sign(p)
	return c.callPacket(p, callTimeout)
}

// ok sends one signed request that has to succeed.
func (a account) ok(t *testing.T, addr string, code int, ext map[string]string, body []byte) *packet {
	t.Helper()
	p, err := a.call(addr, code, ext, body)
	require.NoError(t, err)
	require.Equal(t, resSuccess, p.Code, p.Remark)
	return p
}

// refused sends one signed request that has to be refused with NO_PERMISSION and this remark.
func (a account) refused(t *testing.T, addr, remark string, code int, ext map[string]string, body []byte) {
	t.Helper()
	p, err := a.call(addr, code, ext, body)
	require.NoError(t, err)
	require.Equal(t, resNoPermission, p.Code, p.Remark)
	require.Equal(t, remark, p.Remark)
}

// writeTools writes the file that mqadmin reads its credentials from.
func (a account) writeTools(t *testing.T, home string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(home, "conf"), 0o755))
	text := "accessKey: " + a.name + "\nsecretKey: " + a.secret + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(home, "conf", "tools.yml"), []byte(text), 0o600))
}

// awaitUsers waits until the broker knows its administrator.
func (t *Target) awaitUsers() error {
	p, err := t.as.call(t.Broker(), codeAuthGetUser, ext("username", t.as.name), nil)
	if err == nil && p.Code != resSuccess {
		err = fmt.Errorf("code %d: %s", p.Code, p.Remark)
	}
	return err
}

// registered reports whether the name server knows the broker.
func (t *Target) registered() (bool, error) {
	if t.as == nil {
		return brokerRegistered(t.Namesrv(), t.BrokerName)
	}
	p, err := t.as.call(t.Namesrv(), codeGetBrokerClusterInfo, nil, nil)
	if err != nil {
		return false, err
	}
	if p.Code != resSuccess {
		return false, errors.New(p.Remark)
	}
	return strings.Contains(string(p.Body), `"brokerName":`+strconv.Quote(t.BrokerName)), nil
}
