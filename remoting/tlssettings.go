package remoting

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// TLSMode says what a server does with connections that begin with TLS and with those that do not. Apache: TlsMode.
type TLSMode string

// The modes, by Apache's names.
const (
	// TLSDisabled closes connections that begin with TLS.
	TLSDisabled TLSMode = "disabled"
	// TLSPermissive takes both.
	TLSPermissive TLSMode = "permissive"
	// TLSEnforcing closes connections that do not begin with TLS before anything of them is parsed.
	TLSEnforcing TLSMode = "enforcing"
)

// Apache's names of the settings. Apache: TlsSystemConfig.
const (
	keyTLSMode           = "tls.server.mode"
	keyTLSEnable         = "tls.enable"
	keyTLSFile           = "tls.config.file"
	keyTLSTestMode       = "tls.test.mode.enable"
	keyServerClientAuth  = "tls.server.need.client.auth"
	keyServerKey         = "tls.server.keyPath"
	keyServerKeyPassword = "tls.server.keyPassword"
	keyServerCert        = "tls.server.certPath"
	keyServerAuthClient  = "tls.server.authClient"
	keyServerTrust       = "tls.server.trustCertPath"
	keyClientKey         = "tls.client.keyPath"
	keyClientKeyPassword = "tls.client.keyPassword"
	keyClientCert        = "tls.client.certPath"
	keyClientAuthServer  = "tls.client.authServer"
	keyClientTrust       = "tls.client.trustCertPath"
	// keyUseTLS is tls.enable under the name that NettyClientConfig has for it.
	keyUseTLS = "useTLS"

	defaultTLSFile = "/etc/rocketmq/tls.properties"
	hiddenPassword = "******"
)

// tlsKeys are the settings with their defaults.
var tlsKeys = map[string]string{
	keyTLSMode: string(TLSPermissive), keyTLSEnable: "", keyTLSFile: defaultTLSFile, keyTLSTestMode: "true",
	keyServerClientAuth: "none", keyServerKey: "", keyServerKeyPassword: "", keyServerCert: "", keyServerAuthClient: "false",
	keyServerTrust: "", keyClientKey: "", keyClientKeyPassword: "", keyClientCert: "", keyClientAuthServer: "false", keyClientTrust: "",
}

// TLSSettings are the settings of TLS as configuration files, the environment and flags give them. Later ones win: defaults, Java
// properties of the environment, the file that tls.config.file names, Set. The zero value has the defaults.
type TLSSettings struct {
	given map[string]string
}

// Set gives a setting by Apache's name. The error says what is wanted and names neither key nor value.
func (s *TLSSettings) Set(key, value string) error {
	if key == keyUseTLS {
		key = keyTLSEnable
	}
	if _, known := tlsKeys[key]; !known {
		return errors.New("no setting of TLS has that name")
	}
	if err := checkTLSSetting(key, value); err != nil {
		return err
	}
	given := maps.Clone(s.given)
	if given == nil {
		given = make(map[string]string)
	}
	given[key] = value
	s.given = given
	return nil
}

// Given returns what Set was given, by key.
func (s *TLSSettings) Given() map[string]string { return maps.Clone(s.given) }

// value is a setting without what the file of tls.config.file says.
func (s *TLSSettings) value(key string) string {
	if v, ok := s.given[key]; ok {
		return v
	}
	if v, ok := JavaProperty(key); ok && checkTLSSetting(key, v) == nil {
		return v
	}
	if key == keyTLSEnable { // Apache: NettyClientConfig.useTLS
		return strconv.FormatBool(s.value(keyTLSMode) == string(TLSEnforcing))
	}
	return tlsKeys[key]
}

func checkTLSSetting(key, value string) error {
	switch key {
	case keyTLSMode:
		if !slices.Contains([]TLSMode{TLSDisabled, TLSPermissive, TLSEnforcing}, TLSMode(value)) {
			return errors.New("want one of [disabled permissive enforcing]")
		}
	case keyServerClientAuth:
		if !slices.Contains([]string{"none", "optional", "require"}, strings.ToLower(value)) {
			return errors.New("want one of [none optional require]")
		}
	case keyTLSTestMode, keyServerAuthClient, keyClientAuthServer, keyTLSEnable:
		if v := strings.ToLower(value); v != "true" && v != "false" {
			return errors.New("want true or false")
		}
	}
	return nil
}

// TLSKeys are the settings as keys of a configuration C which holds them in field. Passwords are not printed.
func TLSKeys[C any](field func(*C) *TLSSettings) codec.SettingKeys[C] {
	keys := make(codec.SettingKeys[C], len(tlsKeys)+1)
	for key := range tlsKeys {
		keys[key] = codec.SettingKey[C]{
			Get: func(c *C) string {
				v := field(c).value(key)
				if v != "" && (key == keyServerKeyPassword || key == keyClientKeyPassword) {
					return hiddenPassword
				}
				return v
			},
			Set: func(c *C, v string) error { return field(c).Set(key, v) },
		}
	}
	keys[keyUseTLS] = keys[keyTLSEnable]
	return keys
}

// TLSOptions are the settings put together. Apache: TlsSystemConfig.
type TLSOptions struct {
	Mode TLSMode
	// Client says that connections which this process opens use TLS. The default is true with TLSEnforcing.
	Client bool
	// TestMode has the server show a certificate signed by itself and clients trust any, whatever the rest says.
	TestMode              bool
	ClientAuth            string // none, optional or require
	ServerCert, ServerKey string // files
	ServerKeyPassword     string
	AuthClient            bool // certificates of clients are verified
	ServerTrust           string
	ClientCert, ClientKey string
	ClientKeyPassword     string
	AuthServer            bool // the certificate of the server is verified
	ClientTrust           string
}

// Options puts the settings together. It reads the file of tls.config.file if there is one.
func (s *TLSSettings) Options() (TLSOptions, error) {
	file := s.value(keyTLSFile)
	fromFile, err := tlsFileSettings(file)
	if err != nil {
		return TLSOptions{}, err
	}
	value := func(key string) string {
		if _, given := s.given[key]; !given && key != keyTLSMode && key != keyTLSEnable { // Java's file does not set these
			if v, ok := fromFile[key]; ok {
				return v
			}
		}
		return s.value(key)
	}
	isTrue := func(key string) bool { return strings.EqualFold(value(key), "true") }
	o := TLSOptions{Mode: TLSMode(value(keyTLSMode)), Client: isTrue(keyTLSEnable), TestMode: isTrue(keyTLSTestMode),
		ClientAuth: strings.ToLower(value(keyServerClientAuth)), ServerCert: value(keyServerCert), ServerKey: value(keyServerKey),
		ServerKeyPassword: value(keyServerKeyPassword), AuthClient: isTrue(keyServerAuthClient), ServerTrust: value(keyServerTrust),
		ClientCert: value(keyClientCert), ClientKey: value(keyClientKey), ClientKeyPassword: value(keyClientKeyPassword),
		AuthServer: isTrue(keyClientAuthServer), ClientTrust: value(keyClientTrust)}
	return o, nil
}

// tlsFileSettings reads a tls.properties; one that does not exist is empty. Keys of no meaning are passed over, as in Java.
func tlsFileSettings(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the file of %s: %w", keyTLSFile, err)
	}
	settings, err := codec.ParseSettings(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	values := make(map[string]string, len(settings))
	for _, s := range settings {
		if err := checkTLSSetting(s.Key, s.Value); err != nil {
			return nil, fmt.Errorf("%s:%d: %s=%s: %w", file, s.Line, s.Key, s.Value, err)
		}
		values[s.Key] = s.Value
	}
	return values, nil
}

// javaOptionVariables are where Apache's scripts and images take the options of the JVM from; later ones win, as on its command line.
var javaOptionVariables = []string{"JAVA_TOOL_OPTIONS", "JAVA_OPTS", "JAVA_OPT", "JAVA_OPT_EXT"}

// JavaProperty returns a system property of Java's as the environment gives it: a variable of its very name, otherwise -Dname=value
// in one of the variables that hold options for the JVM.
func JavaProperty(name string) (value string, ok bool) {
	if v, ok := os.LookupEnv(name); ok {
		return v, true
	}
	for _, variable := range javaOptionVariables {
		for _, option := range strings.Fields(os.Getenv(variable)) {
			if v, found := strings.CutPrefix(strings.Trim(option, `"'`), "-D"+name+"="); found {
				value, ok = strings.Trim(v, `"'`), true
			}
		}
	}
	return value, ok
}
