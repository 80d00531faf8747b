package broker

import (
	"fmt"
	"log/slog"
	"maps"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// NetConfig is what the configuration says of connections. Apache: TlsSystemConfig, NettyServerConfig, BrokerConfig.
type NetConfig struct {
	TLS remoting.TLSSettings
	// ProxySources is from whom a PROXY header is believed, as remoting.ParseProxySources reads it. The key is Apogee's own.
	ProxySources string
	// SplitRegistration registers SplitSize topics at a time; without it only what is too long for a frame is split.
	SplitRegistration bool
	SplitSize         int
	// Finding is how name servers are found that are not named by their addresses.
	Finding NamesrvFinding
}

func defaultNetConfig() NetConfig {
	return NetConfig{ProxySources: "private", SplitSize: 800, Finding: defaultNamesrvFinding()}
}

// withNetKeys adds the keys of NetConfig.
func withNetKeys(keys codec.SettingKeys[Config]) codec.SettingKeys[Config] {
	maps.Copy(keys, remoting.TLSKeys(func(c *Config) *remoting.TLSSettings { return &c.TLS }))
	keys["listeners"] = codec.TextKey(func(c *Config) *string { return &c.Listeners })
	keys["advertisedAddrs"] = codec.TextKey(func(c *Config) *string { return &c.Advertised })
	keys["proxyProtocolSources"] = codec.TextKey(func(c *Config) *string { return &c.ProxySources })
	keys["enableSplitRegistration"] = codec.BoolKey(func(c *Config) *bool { return &c.SplitRegistration })
	keys["splitRegistrationSize"] = codec.NumberKey(func(c *Config) *int { return &c.SplitSize }, 2, 1<<20)
	return withFindingKeys(keys)
}

// splitSize is the number of topics in a registration, 0 for all that fit.
func (c *Config) splitSize() int {
	if !c.SplitRegistration {
		return 0
	}
	return c.SplitSize
}

// openTLS reads certificates and keys.
func (c *Config) openTLS(log *slog.Logger) (*remoting.TLS, error) {
	opts, err := c.TLS.Options()
	if err != nil {
		return nil, err
	}
	return remoting.OpenTLS(opts, log)
}

// proxySources are the addresses whose PROXY headers are believed.
func (c *Config) proxySources() (remoting.ProxySources, error) {
	sources, err := remoting.ParseProxySources(c.ProxySources)
	if err != nil {
		return sources, fmt.Errorf("proxyProtocolSources=%s: %w", c.ProxySources, err)
	}
	return sources, nil
}
