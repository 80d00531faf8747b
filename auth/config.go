package auth

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// Config are the keys of a broker.conf or namesrv.conf that speak of users and rights. The zero value asks nobody for anything.
// Apache: AuthConfig, BrokerConfig.aclEnable.
type Config struct {
	Authentication bool
	Authorization  bool
	// The names of Java's classes. Those that Apache has are known, no others can be.
	AuthenticationProvider, AuthenticationMetadataProvider, AuthenticationStrategy string
	AuthorizationProvider, AuthorizationMetadataProvider, AuthorizationStrategy    string
	// AuthenticationWhitelist and AuthorizationWhitelist are request codes that are not checked, separated by ",".
	AuthenticationWhitelist, AuthorizationWhitelist string
	// InitUser is {"username":…,"password":…}: a super user that is created unless it is there.
	InitUser string
	// InnerCredentials is {"accessKey":…,"secretKey":…}: what this server signs its own requests with; also a super user.
	InnerCredentials string
	// Path is the folder of the users' file; empty is where the caller says. KeyFile is the file of the key that encrypts the
	// secrets in it; empty is auth.key in that folder.
	Path, KeyFile string
	// MigrateFromV1 makes users and policies of the accounts in plain_acl.yml, unless users of these names are there.
	MigrateFromV1 bool
	// ACL checks requests against plain_acl.yml, as Java up to 5.2. Home is the folder that holds conf/plain_acl.yml.
	ACL  bool
	Home string
	// Audit logs administration that changes something.
	Audit bool
}

// AddKeys puts the keys into a table of settings; at finds the Config in C.
func AddKeys[C any](keys codec.SettingKeys[C], at func(*C) *Config) codec.SettingKeys[C] {
	text := func(field func(*Config) *string) func(*C) *string { return func(c *C) *string { return field(at(c)) } }
	flag := func(field func(*Config) *bool) func(*C) *bool { return func(c *C) *bool { return field(at(c)) } }
	keys["authenticationEnabled"] = codec.BoolKey(flag(func(c *Config) *bool { return &c.Authentication }))
	keys["authorizationEnabled"] = codec.BoolKey(flag(func(c *Config) *bool { return &c.Authorization }))
	keys["authenticationProvider"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthenticationProvider }))
	keys["authenticationMetadataProvider"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthenticationMetadataProvider }))
	keys["authenticationStrategy"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthenticationStrategy }))
	keys["authenticationWhitelist"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthenticationWhitelist }))
	keys["authorizationProvider"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthorizationProvider }))
	keys["authorizationMetadataProvider"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthorizationMetadataProvider }))
	keys["authorizationStrategy"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthorizationStrategy }))
	keys["authorizationWhitelist"] = codec.TextKey(text(func(c *Config) *string { return &c.AuthorizationWhitelist }))
	keys["initAuthenticationUser"] = codec.SecretKey(text(func(c *Config) *string { return &c.InitUser }))
	keys["innerClientAuthenticationCredentials"] = codec.SecretKey(text(func(c *Config) *string { return &c.InnerCredentials }))
	keys["authConfigPath"] = codec.TextKey(text(func(c *Config) *string { return &c.Path }))
	keys["authSecretKeyFile"] = codec.TextKey(text(func(c *Config) *string { return &c.KeyFile }))
	keys["migrateAuthFromV1Enabled"] = codec.BoolKey(flag(func(c *Config) *bool { return &c.MigrateFromV1 }))
	keys["adminAuditEnable"] = codec.BoolKey(flag(func(c *Config) *bool { return &c.Audit }))
	return keys
}

// Secrets are the values of the keys that are shown as stars, those that are set.
func (c *Config) Secrets() map[string]string {
	secrets := map[string]string{"initAuthenticationUser": c.InitUser, "innerClientAuthenticationCredentials": c.InnerCredentials}
	maps.DeleteFunc(secrets, func(_, value string) bool { return value == "" })
	return secrets
}

// On reports whether requests are checked in any way.
func (c *Config) On() bool { return c.Authentication || c.ACL }

// keepsUsers reports whether users are kept, which may be prepared before requests are checked.
func (c *Config) keepsUsers() bool {
	return c.Authentication || c.AuthenticationMetadataProvider != "" || c.AuthorizationMetadataProvider != ""
}

// Validate refuses what would be checked by halves.
func (c *Config) Validate() error {
	if c.Authorization && !c.Authentication {
		return errors.New("authorizationEnabled=true without authenticationEnabled=true: anybody could claim to be any user; set both")
	}
	if c.ACL && c.Authentication {
		return errors.New("aclEnable=true and authenticationEnabled=true: two sets of users at once; keep one (migrateAuthFromV1Enabled=true takes over plain_acl.yml)")
	}
	if c.ACL && c.Home == "" {
		return errors.New("aclEnable=true: set rocketmqHome or ROCKETMQ_HOME to the folder that holds conf/plain_acl.yml")
	}
	if c.MigrateFromV1 && c.Home == "" {
		return errors.New("migrateAuthFromV1Enabled=true: set rocketmqHome or ROCKETMQ_HOME to the folder that holds conf/plain_acl.yml")
	}
	if c.MigrateFromV1 && !c.keepsUsers() {
		return errors.New("migrateAuthFromV1Enabled=true without authenticationEnabled=true: there is nowhere to migrate to")
	}
	for _, class := range []struct{ key, value, known string }{
		{"authenticationProvider", c.AuthenticationProvider, "DefaultAuthenticationProvider"},
		{"authenticationMetadataProvider", c.AuthenticationMetadataProvider, "LocalAuthenticationMetadataProvider"},
		{"authenticationStrategy", c.AuthenticationStrategy, "StatelessAuthenticationStrategy StatefulAuthenticationStrategy"},
		{"authorizationProvider", c.AuthorizationProvider, "DefaultAuthorizationProvider"},
		{"authorizationMetadataProvider", c.AuthorizationMetadataProvider, "LocalAuthorizationMetadataProvider"},
		{"authorizationStrategy", c.AuthorizationStrategy, "StatelessAuthorizationStrategy StatefulAuthorizationStrategy"},
	} {
		name := class.value[strings.LastIndexByte(class.value, '.')+1:]
		if name != "" && !contains(strings.Fields(class.known), name) {
			return fmt.Errorf("%s=%s: classes of Java's cannot be loaded here; known are %s, or leave the key out", class.key, class.value, class.known)
		}
	}
	if _, err := c.initUser(); err != nil {
		return err
	}
	_, err := c.inner()
	return err
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// initUser reads initAuthenticationUser; its name is empty when there is none. The error does not show the value.
func (c *Config) initUser() (codec.UserInfo, error) {
	var info codec.UserInfo
	if strings.TrimSpace(c.InitUser) == "" {
		return info, nil
	}
	if err := codec.UnmarshalJSON([]byte(c.InitUser), &info); err != nil || info.Username == "" || info.Password == "" {
		return info, errors.New(`initAuthenticationUser: want {"username":"…","password":"…"}`)
	}
	info.UserType, info.UserStatus = "Super", ""
	return info, nil
}

// credentials are an account as keys hold it. Apache: SessionCredentials.
type credentials struct {
	AccessKey     string `json:"accessKey"`
	SecretKey     string `json:"secretKey"`
	SecurityToken string `json:"securityToken"`
}

func (c *Config) inner() (credentials, error) {
	var cred credentials
	if strings.TrimSpace(c.InnerCredentials) == "" {
		return cred, nil
	}
	if err := codec.UnmarshalJSON([]byte(c.InnerCredentials), &cred); err != nil || cred.AccessKey == "" || cred.SecretKey == "" {
		return cred, errors.New(`innerClientAuthenticationCredentials: want {"accessKey":"…","secretKey":"…"}`)
	}
	return cred, nil
}

// InnerSigner returns what the server's own requests are signed with, nil for nothing. The Config has been validated.
func (c *Config) InnerSigner() *Signer {
	cred, err := c.inner()
	if err != nil || cred.AccessKey == "" {
		return nil
	}
	return NewSigner(cred.AccessKey, cred.SecretKey, cred.SecurityToken)
}

// codeSet reads a whitelist. Names of gRPC calls may stand in it too, which mean nothing here.
func codeSet(list string) map[int32]bool {
	var set map[int32]bool
	for _, word := range strings.Split(list, ",") {
		if code, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32); err == nil {
			if set == nil {
				set = make(map[int32]bool)
			}
			set[int32(code)] = true
		}
	}
	return set
}

// Dir returns the folder of the users' file in a store directory.
func (c *Config) Dir(storeRoot string) string {
	if c.Path != "" {
		return c.Path
	}
	return filepath.Join(storeRoot, "apogee")
}

// OpenToOthers reports whether other machines can reach what listens on an address.
func OpenToOthers(bind string) bool {
	ip, err := netip.ParseAddr(bind)
	return bind != "localhost" && (err != nil || !ip.IsLoopback())
}
